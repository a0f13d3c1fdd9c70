"""Batch -> {"loss": (), "npid": (), "contrastive": ()}: instance discrimination and NT-Xent on one encoder.

Of each clip two views are made and encoded once. The loss is `weight` NT-Xent of the two plus (1 - `weight`) the mean
over both of instance discrimination's loss, each with its own projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.model import Backbone
from ossicle.objectives.contrastive import Contrastive
from ossicle.objectives.health import health
from ossicle.objectives.memory import kept
from ossicle.objectives.npid import NPID
from ossicle.recipe import Spec
from ossicle.views import Views


class Joint(nn.Module):
    """The backbone, and beside it all that NPID and Contrastive learn; `npid` and `contrastive` are their settings.

    A clip's row of the bank moves once a step, to the direction between its two views' features.
    """

    def __init__(
        self,
        backbone: Backbone,
        views: Views,
        keys: np.ndarray,
        groups: np.ndarray,
        *,
        weight: float = 0.5,
        npid: Mapping[str, Any] | None = None,
        contrastive: Mapping[str, Any] | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f"weight {weight:g}: wanted 0, instance discrimination alone, to 1, contrastive alone")
        context = {"backbone": backbone, "views": views, "keys": keys, "groups": groups, "seed": seed}
        self.model, self.views, self.weight = backbone, views, weight
        self.npid: NPID = _beside("npid", npid, NPID, context)
        self.contrastive: Contrastive = _beside("contrastive", contrastive, Contrastive, context)

    @property
    def others(self) -> int:
        """How many other clips a clip's two views mix in: different ones."""
        return 2 * self.views.others

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The loss of one batch and its two parts; the bank waits for `after_step`."""
        one, other = map(self.model.encode, self.views.both(batch.wave, draw, batch.others))
        rows = torch.stack([self.npid.embed(feature) for feature in (one, other)])
        npid = torch.stack([self.npid.loss(rows[view], batch.index, draw.at(view)) for view in (0, 1)]).mean()
        contrastive = self.contrastive.loss(one, other, batch.index)
        self.npid.fresh = batch.index, F.normalize(rows.detach().sum(0))
        loss = self.weight * contrastive + (1 - self.weight) * npid
        told = {"loss": loss, "npid": npid.detach(), "contrastive": contrastive.detach()}
        return told | health(one, other)

    def after_step(self) -> None:
        """Moves the bank's rows. Only after a successful update."""
        self.npid.after_step()

    def memory(self) -> dict[str, Tensor]:
        """What either of the two keeps, under its name."""
        return kept(self)

    def remember(self, memory: dict[str, Tensor]) -> str:
        """Takes over what an earlier run kept, be it a joint one or one of the two alone; says what goes on."""
        return "; ".join(filter(None, (self.npid.remember(memory), self.contrastive.remember(memory))))


def _beside(name: str, settings: Mapping[str, Any] | None, kind: type[nn.Module], context: dict[str, Any]) -> Any:
    """One of the two without the model and its views, which both share: those stay with `Joint`."""
    if not isinstance(settings, Mapping | None):
        raise ValueError(f"{name} is {settings!r}; wanted: a table of its settings, {{ temperature = 0.2 }} say")
    made = Spec(name, settings or {}).build({name: kind}, **context)
    del made.model, made.views
    return made
