"""Batch -> {"loss": (), "divergence": (), "agreement": ()}: a student learns what its teachers say of a clip.

The loss of a clip is -sum_k q_k log p_k ("Cross-task pre-training for on-device acoustic scene classification", Zhang,
Zou and Li, eq. 7), q what the teachers say and p what the student says. Both may be softened by a temperature T, and
the loss is then multiplied by T^2, so that its gradient keeps its size (Hinton, Vinyals and Dean 2015).

Several teachers are heard in one of three ways. "average" takes the mean of their probabilities. "augmented" makes of
each teacher's answers a copy of the data (Fukuda et al. 2017, as the document has it): an epoch meets each clip with
one of the M teachers, and M epochs meet it with each of them once. The loss is linear in q, so the mean over the copies
is the loss of "average", at any temperature: the two have the same minimum and differ in the noise of a step's gradient
(and, where what is compared is epochs, in that "augmented" hears each clip M times in what the document calls one).
"logits" takes the mean of logits, a product of the teachers: less sure wherever one of them is unsure of a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.model import Classifier
from ossicle.views import Views


@dataclass(frozen=True)
class Lesson:
    """What teachers give: `said` (M, n, K), their probabilities for each clip to learn from, by the student's `labels`.

    Teachers who hear the student's views are `present` instead: classifiers with their labels in that order.
    """

    labels: tuple[str, ...]
    multilabel: bool
    said: Tensor
    present: tuple[Classifier, ...] = ()


class Distill(nn.Module):
    """A classifier, and what its teachers say. They stand outside of what is trained and saved.

    `teachers` are the runs that a `Lesson` is of. `hard` is the share of a labelled clip's loss that is cross-entropy
    with its label; a clip without a label learns from the teachers alone. `hear` "views" asks the teachers about the
    student's view at each step, "clips" takes what they say of the whole clip.
    """

    bank: Tensor

    def __init__(
        self,
        classifier: Classifier,
        views: Views,
        lesson: Lesson,
        *,
        teachers: Sequence[str],
        how: Literal["average", "augmented", "logits"] = "average",
        temperature: float = 1.0,
        hard: float = 0.0,
        hear: Literal["clips", "views"] = "clips",
    ):
        super().__init__()
        if how not in ("average", "augmented", "logits") or hear not in ("clips", "views"):
            raise ValueError("known: how = average, augmented or logits, and hear = clips or views")
        if not temperature > 0:
            raise ValueError(f"temperature {temperature:g}: wanted above 0; 1 takes the teachers at their word")
        if not 0 <= hard <= 1:
            raise ValueError(f"hard {hard:g}: wanted a share, 0, the teachers alone, to 1, the labels alone")
        self.model, self.views, self.teachers = classifier, views, tuple(teachers)
        self.how, self.temperature, self.hard = how, temperature, hard
        self.present = lesson.present
        bank = lesson.said if self.present else self.joined(lesson.said)
        self.register_buffer("bank", bank, persistent=False)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The loss; how far the student is from its teachers, the mean of KL(q || p) at this temperature; and the share
        of clips for which both name the same class first (of classes on the same side of a half, for several labels).
        """
        image = self.views(batch.wave, draw)
        logits = self.model.head(self.model.backbone.encode(image))
        taught = self.taught(image, batch, draw)
        entropy = cross_entropy(self.unheated(taught), taught, multilabel=self.model.multilabel)
        soft = cross_entropy(logits / self.temperature, taught, multilabel=self.model.multilabel)
        loss = self.temperature**2 * soft
        if self.hard:
            loss = loss.lerp(*self.told(logits, batch.target))
        agreement = self.alike(logits, taught)
        return {"loss": loss.mean(), "divergence": (soft - entropy).detach().mean(), "agreement": agreement}

    @torch.no_grad()
    def taught(self, image: Tensor, batch: Batch, draw: Draw) -> Tensor:
        """(B, K): the soft targets of these clips."""
        if self.present:
            answers = [teacher.probability(teacher.head(teacher.backbone.encode(image))) for teacher in self.present]
            said = self.joined(torch.stack(answers))
        else:
            said = self.bank[:, batch.index]
        return said[turn(draw, len(said)), torch.arange(len(batch), device=said.device)]

    def joined(self, said: Tensor) -> Tensor:
        """(M, n, K) probabilities, softened -> (1, n, K) of all teachers, or (M, n, K) where they take turns."""
        soft = softened(said, self.temperature, multilabel=self.model.multilabel)
        if self.how == "augmented":
            return soft
        if self.how == "average":
            return soft.mean(0, keepdim=True)
        logits = self.unheated(soft).mean(0, keepdim=True)
        return logits.sigmoid() if self.model.multilabel else logits.softmax(-1)

    def unheated(self, probability: Tensor) -> Tensor:
        """Logits that say just this."""
        return _logits(probability, multilabel=self.model.multilabel)

    def told(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) the loss by label, 0 without one, and (B,) its share."""
        if self.model.multilabel:
            known = ~target.isnan().any(1)
            return cross_entropy(logits, target.nan_to_num(), multilabel=True), self.hard * known
        known, truth = target >= 0, F.one_hot(target.clamp(min=0), logits.shape[1]).float()
        return cross_entropy(logits, truth, multilabel=False), self.hard * known

    def alike(self, logits: Tensor, taught: Tensor) -> Tensor:
        """(): the share of clips, or of classes, that the student answers as it is taught."""
        if self.model.multilabel:
            return ((logits > 0) == (taught > 0.5)).float().mean()
        return (logits.argmax(1) == taught.argmax(1)).float().mean()

    def after_step(self) -> None:
        """Nothing to keep between steps."""

    def memory(self) -> dict[str, Tensor]:
        """Nothing but the model."""
        return {}


def turn(draw: Draw, teachers: int) -> Tensor:
    """(B,): whose turn it is with each clip. Any `teachers` epochs from a multiple of that on give each one turn."""
    order = replace(draw, epoch=draw.epoch // teachers)("teacher", teachers).argsort(1)
    return order[:, draw.epoch % teachers]


def cross_entropy(logits: Tensor, taught: Tensor, *, multilabel: bool) -> Tensor:
    """(B, K) logits and soft targets -> (B,): -sum_k q_k log p_k; with `multilabel` binary, the mean over classes."""
    if multilabel:
        return F.binary_cross_entropy_with_logits(logits, taught, reduction="none").mean(1)
    return -(taught * logits.log_softmax(1)).sum(1)


def softened(probability: Tensor, temperature: float, *, multilabel: bool) -> Tensor:
    """Probabilities of logits z -> those of z / temperature; a temperature of 1 leaves them as they are."""
    if temperature == 1:
        return probability
    logits = _logits(probability, multilabel=multilabel) / temperature
    return logits.sigmoid() if multilabel else logits.softmax(-1)


def _logits(probability: Tensor, *, multilabel: bool) -> Tensor:
    """What a softmax, or a sigmoid a class, makes these probabilities of, as far as float32 tells them from 0 and 1."""
    if multilabel:
        return probability.logit(torch.finfo(probability.dtype).eps)
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()
