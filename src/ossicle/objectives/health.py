"""feature (B, D) of one view or of each -> {"feature_sd": (), ...}: whether an encoder still tells clips apart.

A loss can look well while all clips come to lie on one point, or on one line (collapse). Four numbers of the unit
vectors tell, measured without a gradient on what the encoder gives, since that is what is kept after training.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOST = 256  # rows whose singular values are taken: their cost grows with the cube


@torch.no_grad()
def health(*views: Tensor) -> dict[str, Tensor]:
    """What is logged of each batch, as () each, the mean over the views (B, D) that are given.

    Several views have their alignment measured too: that of the first two. What is not finite counts as zero, so that
    a run that blows up stops for that reason and not here.
    """
    unit = F.normalize(torch.stack(views).double().nan_to_num(0.0, 0.0, 0.0), dim=-1)
    told = {
        "feature_sd": feature_sd(unit).mean(),
        "effective_rank": effective_rank(unit[:, :MOST]).mean(),
        "uniformity": uniformity(unit).mean(),
    }
    if len(views) > 1:
        told["alignment"] = alignment(unit[0], unit[1])
    return told


def feature_sd(unit: Tensor) -> Tensor:
    """(..., B, D) unit vectors -> (...): each dimension's deviation over the batch, averaged, times sqrt(D).

    1 where directions are spread evenly, 0 where all are one (Chen and He 2021, section 4.1). With c the mean cosine of
    two clips it is at most sqrt(1 - c), so that vectors without negative entries stay below 1.
    """
    return unit.std(-2, correction=0).mean(-1) * unit.shape[-1] ** 0.5


def effective_rank(unit: Tensor) -> Tensor:
    """(..., B, D) -> (...): how many directions the rows fill, as the exponential of the entropy of the normalized
    singular values (Roy and Vetterli 2007): 1 where all rows lie on one line, and at most min(B, D).
    """
    small = unit if unit.shape[-2] <= unit.shape[-1] else unit.mT
    value = torch.linalg.eigvalsh(small @ small.mT).clamp(min=0).sqrt()
    share = value / value.sum(-1, keepdim=True).clamp(min=torch.finfo(value.dtype).tiny)
    return torch.special.entr(share).sum(-1).exp()


def alignment(one: Tensor, other: Tensor) -> Tensor:
    """Two views (B, D) of unit vectors -> (): the mean squared distance of a clip's views (Wang and Isola 2020, eq. 7
    with alpha = 2): 0 where the two are the same, 2 where they have nothing in common.
    """
    return (one - other).square().sum(-1).mean()


def uniformity(unit: Tensor) -> Tensor:
    """(..., B, D) unit vectors -> (...): log of the mean of exp(-2 |x - y|^2) over pairs of clips (Wang and Isola 2020,
    eq. 8 with t = 2): 0 where all are one, and close to -4 where they are spread out in many dimensions.
    """
    clips = unit.shape[-2]
    length = unit.square().sum(-1)  # 1, or 0 where a feature is nothing but zeros
    distance = (length[..., None] + length[..., None, :] - 2 * unit @ unit.mT).clamp(min=0)
    apart = torch.exp(-2 * distance) * (1 - torch.eye(clips, dtype=unit.dtype, device=unit.device))
    return (apart.sum((-2, -1)) / max(clips * (clips - 1), 1)).log()
