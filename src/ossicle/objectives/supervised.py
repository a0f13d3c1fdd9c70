"""Batch -> {"loss": (), "accuracy": ()}: cross-entropy on one label a clip, or a yes or no for each of several."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.model import Classifier
from ossicle.views import Views


class Supervised(nn.Module):
    """A classifier and its loss.

    `smoothing` moves that share of each target to all classes alike (Szegedy et al. 2016); `mixup` is the alpha of
    Beta(alpha, alpha), from which each clip draws how much of another clip it is mixed with (Zhang et al. 2018, images
    and targets alike); `weights` "balanced" weighs a class by n / (K n_class). Clips without a label do not count.
    `head` is a run whose classifier's rows of the classes here are begun with; rows of classes new to it stay fresh.
    """

    weight: Tensor

    def __init__(
        self,
        classifier: Classifier,
        views: Views,
        counts: Tensor,
        *,
        smoothing: float = 0.0,
        mixup: float = 0.0,
        weights: Literal["equal", "balanced"] = "equal",
        head: str = "",
    ):
        super().__init__()
        self.model, self.views = classifier, views
        self.smoothing, self.mixup = smoothing, mixup
        self.others = 1 if mixup else 0
        self.head = head
        even = torch.ones(len(classifier.labels))
        balanced = counts.sum() / (len(counts) * counts.clamp(min=1))
        self.register_buffer("weight", balanced.float() if weights == "balanced" else even, persistent=False)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The loss and, for one label a clip, the share of clips whose top class is (most of) their target, and the
        weight that the loss is a mean over.
        """
        image, target = self.views(batch.wave, draw), self.soft(batch.target)
        if self.mixup and batch.others is not None and batch.other_target is not None:
            share = draw.beta("mixup", self.mixup)
            image = _blend(image, self.views(batch.others[:, 0], draw.at(view=1)), share)
            target = _blend(target, self.soft(batch.other_target[:, 0]), share)
        logits = self.model.head(self.model.backbone.encode(image))
        loss = soft_loss(logits, target, self.weight, multilabel=self.model.multilabel)
        if self.model.multilabel:
            return {"loss": loss}
        right = (logits.argmax(1) == target.argmax(1))[target.sum(1) > 0].float()
        weight = (target * self.weight).sum().clamp(min=torch.finfo(target.dtype).tiny)
        return {"loss": loss, "accuracy": right.mean(), "weight": weight}

    def soft(self, target: Tensor) -> Tensor:
        """(B,) class numbers or (B, K) zeros and ones -> (B, K) smoothed targets; a row of zeros where unknown."""
        classes = len(self.model.labels)
        if self.model.multilabel:
            return target * (1 - self.smoothing) + self.smoothing / 2
        hard = F.one_hot(target.clamp(min=0), classes).float()
        return (hard * (1 - self.smoothing) + self.smoothing / classes) * (target >= 0)[:, None]

    def after_step(self) -> None:
        """Nothing to keep between steps."""

    def memory(self) -> dict[str, Tensor]:
        """Nothing but the model."""
        return {}


def soft_loss(logits: Tensor, target: Tensor, weight: Tensor, *, multilabel: bool) -> Tensor:
    """(B, K) logits and soft targets -> (): -sum_k w_k t_k log p_k, as an average by weight over the clips that have a
    target.

    With `multilabel` it is binary cross-entropy a class, averaged over classes.
    """
    if multilabel:
        return F.binary_cross_entropy_with_logits(logits, target, weight=weight.expand_as(target))
    weighted = target * weight
    return -(weighted * logits.log_softmax(1)).sum() / weighted.sum().clamp(min=torch.finfo(logits.dtype).tiny)


def _blend(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    share = share.reshape(-1, *[1] * (one.ndim - 1))
    return share * one + (1 - share) * other
