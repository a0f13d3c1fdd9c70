"""Batch -> {"loss": ()}: a student's feature (B, D), through a linear map, points where its teachers' features point.

The regression of features of "FitNets: Hints for thin deep nets" (Romero et al. 2015, eq. 3) at the last layer, between
directions: with u a teacher's feature of the clip and v the student's, mapped, the loss is 1 - cos(u, v), half the
squared distance of the two at length 1. Navaneet et al. 2021 ("SimReg") found as much to be enough for teachers that
learned without labels, with a head for each of several. The map is left behind: the student is an encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.model import Backbone
from ossicle.views import Views


class Mimic(nn.Module):
    """An encoder, and what its `teachers`, runs, make of each clip: `features`, (n, D') each, of any scale and size.

    They stand outside of what is saved, as the teachers themselves do; the linear map is trained and saved.
    """

    bank: Tensor

    def __init__(self, backbone: Backbone, views: Views, features: Sequence[Tensor], *, teachers: Sequence[str]):
        super().__init__()
        self.model, self.views, self.teachers = backbone, views, tuple(teachers)
        self.sizes = [each.shape[1] for each in features]
        self.map = nn.Linear(backbone.dim, sum(self.sizes))
        self.register_buffer("bank", torch.cat(list(features), 1), persistent=False)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The loss, the mean over clips and teachers: 0 where all directions agree, 1 where they have nothing in
        common.
        """
        mine = self.map(self.model.encode(self.views(batch.wave, draw)))
        pairs = zip(mine.split(self.sizes, 1), self.bank[batch.index].split(self.sizes, 1), strict=True)
        return {"loss": torch.stack([1 - F.cosine_similarity(ours, theirs) for ours, theirs in pairs]).mean()}

    def after_step(self) -> None:
        """Nothing to keep between steps."""

    def memory(self) -> dict[str, Tensor]:
        """Nothing but the model."""
        return {}
