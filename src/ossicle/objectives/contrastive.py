"""Batch -> {"loss": ()}: contrastive learning of two views a clip (SimCLR, Chen et al. 2020; for sound, Fonseca 2021).

Each view of a clip is to be told by its other view among all other views of the batch: with z the unit vectors of the
projection head, -log exp(z_i . z_j / T) / sum_{k != i} exp(z_i . z_k / T), over all 2B views i, j the other view of i's
clip. Several processes that learn together share their views: the batch is that of all of them.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ossicle import distributed
from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.model import Backbone
from ossicle.objectives.health import health
from ossicle.objectives.memory import kept, part
from ossicle.views import Views


class Contrastive(nn.Module):
    """The backbone, and a projection head of two layers, `hidden` and `dim` wide, which only pretraining goes on with.

    `keys` and `groups` (n,) name the clips and the recordings that they were cut from. `apart` "clips" is the paper's:
    every view is told from those of all other clips; "recordings" leaves clips of one recording out of each other's
    sum. Both views of a clip go through encoder and head in a pass of their own, so batch statistics are of one view.
    """

    groups: Tensor

    def __init__(
        self,
        backbone: Backbone,
        views: Views,
        keys: np.ndarray,
        groups: np.ndarray,
        *,
        temperature: float = 0.2,
        dim: int = 512,
        hidden: int = 512,
        apart: Literal["clips", "recordings"] = "clips",
    ):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature {temperature:g}: wanted above 0")
        if apart not in ("clips", "recordings"):
            raise ValueError(f"apart {apart!r}; known: clips, recordings")
        told = keys if apart == "clips" else groups
        if len(np.unique(told)) < 2:
            raise ValueError(f"{len(keys)} clips, none of which is to be told from another: add {apart}")
        self.model, self.views, self.temperature = backbone, views, temperature
        self.project = nn.Sequential(
            nn.Linear(backbone.dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )
        self.register_buffer("groups", torch.from_numpy(told.view(np.int64)), persistent=False)

    @property
    def others(self) -> int:
        """How many other clips a clip's two views mix in: different ones."""
        return 2 * self.views.others

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The loss of one batch or, in several processes, of all their batches as one: the same in each of them."""
        one, other = map(self.model.encode, self.views.both(batch.wave, draw, batch.others))
        return {"loss": self.loss(one, other, batch.index)} | health(one, other)

    def loss(self, one: Tensor, other: Tensor, index: Tensor) -> Tensor:
        """NT-Xent of the encoder's features (B, D) of both views of the clips `index` (B,), as ()."""
        vectors = [F.normalize(self.project(feature)) for feature in (one, other)]
        one, other = distributed.joined(torch.stack(vectors, 1)).unbind(1)
        return nt_xent(one, other, distributed.gather(self.groups[index]), self.temperature)

    def after_step(self) -> None:
        """Nothing to keep between steps."""

    def memory(self) -> dict[str, Tensor]:
        """The head: what a later pretraining can `remember`."""
        return kept(self)

    def remember(self, memory: dict[str, Tensor]) -> str:
        """Takes over an earlier head of the same widths, if there is one; says what goes on."""
        mine, theirs = self.project.state_dict(), part(part(memory, "contrastive"), "project")
        if mine.keys() != theirs.keys():
            return ""
        if any(theirs[name].shape != value.shape for name, value in mine.items()):
            return "its projection head is of other widths, and a fresh one is learned"
        self.project.load_state_dict(theirs)
        return "its projection head goes on"


def nt_xent(one: Tensor, other: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """The normalized, temperature-scaled cross-entropy of two views (B, d) of unit vectors (SimCLR, eq. 1), as ().

    Views whose clips are of one group (B,) are left out of each other's sum, but for the two of one clip.
    """
    feature, group = torch.cat([one, other]), torch.cat([groups, groups])
    pair = torch.arange(len(feature), device=feature.device).roll(len(one))
    out = group[:, None] == group
    out.scatter_(1, pair[:, None], False)
    return F.cross_entropy((feature @ feature.T / temperature).masked_fill(out, -math.inf), pair)
