"""Batch -> {"loss": ()}: instance discrimination with a memory bank (NPID, Wu et al. 2018; for sound, DLS).

Each clip is a class of its own. Its feature v is pulled to its row m of the bank and pushed from all others:
P(i | v) = exp(v . m_i / T) / sum_j exp(v . m_j / T), and after the step m_i moves to v. Clips that were cut from one
recording sound alike for a reason and are not told apart: j runs over i itself and the clips of other recordings.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ossicle import distributed, draw
from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.model import Backbone
from ossicle.objectives.health import health
from ossicle.objectives.memory import kept, part
from ossicle.objectives.recordings import Recordings
from ossicle.views import Views

BLOCK = 8192  # rows of the bank that are worked on at once: a batch's scores of them fit in the processor's cache


class NPID(nn.Module):
    """The backbone, a linear projection to `dim`, and a bank of one unit vector a clip.

    `keys` and `groups` (n,) name the clips and the recordings that they were cut from; `apart` "clips" tells clips of
    one recording apart too, which suits long recordings cut into pieces. `negatives` 0 takes the exact softmax over the
    bank; K > 0 takes noise-contrastive estimation with K rows drawn uniformly from the others, as the paper does.
    `momentum` is how much of a bank row survives an update. `keep` says what becomes of an earlier bank's rows whose
    clips are not here: they stay, as something to be told from, or are dropped.
    """

    bank: Tensor
    keys: Tensor
    groups: Tensor
    scale: Tensor

    def __init__(
        self,
        backbone: Backbone,
        views: Views,
        keys: np.ndarray,
        groups: np.ndarray,
        *,
        dim: int = 128,
        temperature: float = 0.1,
        momentum: float = 0.5,
        negatives: int = 0,
        apart: Literal["recordings", "clips"] = "recordings",
        keep: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        if len(keys) < 2:
            raise ValueError(f"instance discrimination tells clips apart and got {len(keys)}: give it at least 2")
        if negatives >= len(keys):
            raise ValueError(
                f"negatives = {negatives} needs more than {negatives} clips and got {len(keys)}: lower it, or 0"
            )
        if temperature <= 0 or not 0 <= momentum < 1:
            raise ValueError(f"temperature {temperature:g}, momentum {momentum:g}: wanted above 0, and 0 to below 1")
        if apart not in ("recordings", "clips"):
            raise ValueError(f"apart {apart!r}; known: recordings, clips")
        self.model, self.views = backbone, views
        self.temperature, self.momentum, self.negatives, self.keep = temperature, momentum, negatives, keep
        self.project = nn.Linear(backbone.dim, dim)
        self.register_buffer("keys", torch.from_numpy(keys.view(np.int64)))
        self.register_buffer("groups", torch.from_numpy((keys if apart == "clips" else groups).view(np.int64)))
        self.recordings = Recordings(self.groups)
        self.register_buffer("bank", random_rows(keys, dim, seed))
        self.register_buffer("scale", torch.zeros(()))
        self.fresh: tuple[Tensor, Tensor] | None = None  # rows, and where `after_step` moves them

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The loss of one batch; its features wait for `after_step`."""
        feature = self.model.encode(self.views(batch.wave, draw))
        row = self.embed(feature)
        self.fresh = batch.index, row.detach()
        return {"loss": self.loss(row, batch.index, draw)} | health(feature)

    def embed(self, feature: Tensor) -> Tensor:
        """The encoder's features (B, D) -> (B, dim) unit vectors, as the bank holds them."""
        return F.normalize(self.project(feature))

    def loss(self, feature: Tensor, index: Tensor, draw: Draw) -> Tensor:
        """How well the unit vectors (B, dim) are told to be of the clips `index` (B,), as ()."""
        if not self.negatives:
            return softmax(feature, self.bank, index, self.recordings.mates(index), self.temperature)
        others = self.recordings.others(index)
        negatives = self.recordings.elsewhere(index, draw.integers("negatives", self.negatives, high=others))
        rows = torch.cat([index[:, None], negatives], 1)
        logits = torch.einsum("bd,bkd->bk", feature, self.bank[rows]) / self.temperature
        if not self.scale:
            self.scale = distributed.mean(logits.exp())
        return nce(logits, self.scale, others.to(logits) / len(self.bank))

    @torch.no_grad()
    def after_step(self) -> None:
        """Moves the batch's rows: m <- normalize(momentum m + (1 - momentum) v). Only after a successful update.

        Of several processes each moves the rows of all, in the same order.
        """
        if self.fresh is not None:
            index, feature = map(distributed.gather, self.fresh)
            order = index.argsort()
            index, feature = index[order], feature[order]
            self.bank[index] = F.normalize(self.momentum * self.bank[index] + (1 - self.momentum) * feature)
            self.fresh = None

    def memory(self) -> dict[str, Tensor]:
        """All state but the model's: what a later pretraining, on more or fewer clips, can `remember`."""
        return kept(self)

    @torch.no_grad()
    def remember(self, memory: dict[str, Tensor]) -> str:
        """Takes over an earlier projection and the rows of clips that it knew; says how many of these go on.

        With `keep` the rows of all other clips that it knew follow after those of the clips that are here. Rows of
        another size are of no use: without `keep` nothing is taken over, with it that is a ValueError.
        """
        memory = part(memory, "npid")
        if "bank" not in memory:
            return ""
        theirs_dim, dim = memory["bank"].shape[1], self.bank.shape[1]
        if theirs_dim != dim:
            if self.keep:
                raise ValueError(
                    f"the earlier bank's rows have {theirs_dim} numbers, not {dim}: set dim = {theirs_dim}"
                )
            return f"its bank's rows have {theirs_dim} numbers, not {dim}, and a fresh bank is learned"
        self.project.load_state_dict({name: memory[f"project.{name}"] for name in self.project.state_dict()})
        mine, theirs = self.keys.cpu().numpy(), memory["keys"].numpy()
        _, here, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
        self.bank[torch.from_numpy(here)] = memory["bank"][torch.from_numpy(there)].to(self.bank)
        if self.keep:
            gone = torch.from_numpy(np.setdiff1d(np.arange(len(theirs)), there))
            for name in ("bank", "keys", "groups"):
                old, own = memory[name], getattr(self, name)
                setattr(self, name, torch.cat([own, old[gone].to(own)]))
            self.recordings = Recordings(self.groups)
        return f"its projection goes on, and its bank's rows of {len(here)} of the {len(mine)} clips here"


def random_rows(keys: np.ndarray, dim: int, seed: int, block: int = 4096) -> Tensor:
    """(n,) clip keys -> (n, dim) float32 unit vectors, each clip's own, whoever else is there."""
    rows = torch.empty(len(keys), dim)
    for start in range(0, len(keys), block):
        drawn = draw.uniform(keys[start : start + block], dim, seed=seed, name="bank") * 2 - 1
        rows[start : start + block] = F.normalize(torch.from_numpy(drawn).float())
    return rows


def softmax(feature: Tensor, bank: Tensor, index: Tensor, mates: tuple[Tensor, Tensor], temperature: float) -> Tensor:
    """The mean of -log P(index | feature), with P the softmax over the bank (NPID, eq. 2), as ().

    `feature` (B, d) and `bank` (n, d) are unit vectors; `mates` are pairs of (slot of the batch, row of the bank) that
    its sum leaves out. The bank gets no gradient, so that of a feature is the mean row under P less the clip's own row,
    over T: it is summed up beside the loss, block by block, and no (B, n) table is ever kept.
    """
    return _Softmax.apply(feature, bank, index, mates, temperature)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, feature: Tensor, bank: Tensor, index: Tensor, mates: tuple[Tensor, Tensor], temperature: float
    ) -> Tensor:
        slot, mate = mates
        own = bank[index]
        right = (feature * own).sum(1, keepdim=True) / temperature
        peak = right.clone()  # of the scores so far, so that no exponential overflows; the own row is among them
        total, pull = torch.zeros_like(peak), torch.zeros_like(feature)
        for start in range(0, len(bank), BLOCK):
            rows = bank[start : start + BLOCK]
            logits = feature @ rows.T / temperature
            inside = (mate >= start) & (mate < start + len(rows))
            logits[slot[inside], mate[inside] - start] = -math.inf
            higher = torch.maximum(peak, logits.amax(1, keepdim=True))
            weight, fade = (logits - higher).exp_(), (peak - higher).exp_()
            total, pull, peak = total * fade + weight.sum(1, keepdim=True), pull * fade + weight @ rows, higher
        ctx.save_for_backward((pull / total - own) / (temperature * len(feature)))
        return (peak + total.log() - right).mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient * ctx.saved_tensors[0], None, None, None, None


def nce(logits: Tensor, scale: Tensor, share: Tensor) -> Tensor:
    """Noise-contrastive estimation of the softmax over a bank of n rows (NPID, eqs. 4 to 8), as ().

    `logits` (B, 1 + K) are v . m / T of a clip's own row and of K rows drawn uniformly from `share` (B,) of the bank:
    those that may be drawn for it. With P = exp(logit) / Z and noise of probability P_n = 1 / (share n), the posterior
    of the data is h = P / (P + K P_n); the loss is -log h of the own row - sum of log(1 - h) over the drawn ones,
    averaged over the batch. `scale` is Z / n, estimated from the first batch and kept (NPID, section 3.2).
    """
    # h = sigmoid(log P - log(K P_n)), and n cancels: P / (K P_n) = exp(logit) share / (scale K).
    odds = logits - (scale.log() + math.log(logits.shape[1] - 1) - share.log())[:, None]
    return -(F.logsigmoid(odds[:, 0]) + F.logsigmoid(-odds[:, 1:]).sum(1)).mean()
