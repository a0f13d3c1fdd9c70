"""Batch -> {"loss": ()}: instance discrimination with a memory bank (NPID, Wu et al. 2018; for sound, DLS).

Each clip is a class of its own. Its feature v is pulled to its row m of the bank and pushed from all others:
P(i | v) = exp(v . m_i / T) / sum_j exp(v . m_j / T), and after the step m_i moves to v.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ossicle import draw
from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.model import Backbone
from ossicle.views import Views


class NPID(nn.Module):
    """The backbone, a linear projection to `dim`, and a bank of one unit vector a clip.

    `negatives` 0 takes the exact softmax over the whole bank; K > 0 takes noise-contrastive estimation with K rows
    drawn uniformly from the others, as the paper does. `momentum` is how much of a bank row survives an update.
    """

    bank: Tensor
    keys: Tensor
    scale: Tensor

    def __init__(
        self,
        backbone: Backbone,
        views: Views,
        keys: np.ndarray,
        *,
        dim: int = 128,
        temperature: float = 0.1,
        momentum: float = 0.5,
        negatives: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        if len(keys) < 2:
            raise ValueError(f"instance discrimination tells clips apart and got {len(keys)}: give it at least 2")
        if negatives >= len(keys):
            raise ValueError(
                f"negatives = {negatives} needs more than {negatives} clips and got {len(keys)}: lower it, or 0"
            )
        self.model, self.views = backbone, views
        self.temperature, self.momentum, self.negatives = temperature, momentum, negatives
        self.project = nn.Linear(backbone.dim, dim)
        rows = draw.uniform(keys, dim, seed=seed, name="bank") * 2 - 1
        self.register_buffer("bank", F.normalize(torch.from_numpy(rows).float()))
        self.register_buffer("keys", torch.from_numpy(keys.astype(np.int64)))
        self.register_buffer("scale", torch.zeros(()))
        self._fresh: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The loss of one batch; its features wait for `after_step`."""
        feature = F.normalize(self.project(self.model.encode(self.views(batch.wave, draw))))
        self._fresh = (batch.index, feature.detach())
        if self.negatives:
            loss, self.scale = nce(
                feature, self.bank, batch.index, self._draw_negatives(batch, draw), self.temperature, self.scale
            )
            return {"loss": loss}
        logits = feature @ self.bank.T / self.temperature
        return {"loss": F.cross_entropy(logits, batch.index)}

    @torch.no_grad()
    def after_step(self) -> None:
        """Moves the batch's rows: m <- normalize(momentum m + (1 - momentum) v). Only after a successful update."""
        if self._fresh is not None:
            index, feature = self._fresh
            self.bank[index] = F.normalize(self.momentum * self.bank[index] + (1 - self.momentum) * feature)
            self._fresh = None

    def memory(self) -> dict[str, Tensor]:
        """All state but the model's: what a later pretraining, on more or fewer clips, can `remember`."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("model.")}

    @torch.no_grad()
    def remember(self, memory: dict[str, Tensor]) -> int:
        """Takes over an earlier projection and the bank rows of clips that it knew; returns how many those are."""
        if memory["bank"].shape[1] != self.bank.shape[1]:
            return 0
        self.project.load_state_dict({name: memory[f"project.{name}"] for name in self.project.state_dict()})
        known = {key: row for row, key in enumerate(memory["keys"].tolist())}
        pairs = [(row, known[key]) for row, key in enumerate(self.keys.tolist()) if key in known]
        for mine, theirs in pairs:
            self.bank[mine] = memory["bank"][theirs]
        return len(pairs)

    def _draw_negatives(self, batch: Batch, draw: Draw) -> Tensor:
        """(B, K) rows, uniform over all but the clip's own: a draw among n - 1, shifted past it."""
        drawn = draw.integers("negatives", self.negatives, high=len(self.bank) - 1)
        return drawn + (drawn >= batch.index[:, None]).long()


def nce(
    feature: Tensor, bank: Tensor, index: Tensor, negatives: Tensor, temperature: float, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Noise-contrastive estimation of the softmax over the bank (NPID, eqs. 4 to 8): (loss (), Z / n ()).

    `feature` (B, d) and `bank` (n, d) are unit vectors, `negatives` (B, K) rows of the bank. With h = P / (P + K / n)
    and P = exp(v . m / T) / Z, the loss is -log h of the clip's own row - sum of log(1 - h) over the negatives,
    averaged over the batch. `scale` is Z / n: 0 means unknown, and is then set to the batch's mean of exp(v . m / T)
    and kept.
    """
    rows = torch.cat([index[:, None], negatives], 1)
    logits = torch.einsum("bd,bkd->bk", feature, bank[rows]) / temperature
    if not scale:
        scale = logits.detach().exp().mean()
    # h = sigmoid(log P - log(K / n)), and n cancels: P / (K / n) = exp(logit) / (scale K).
    odds = logits - scale.log() - math.log(negatives.shape[1])
    return -(F.logsigmoid(odds[:, 0]) + F.logsigmoid(-odds[:, 1:]).sum(1)).mean(), scale
