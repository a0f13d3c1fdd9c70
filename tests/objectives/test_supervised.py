import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.objectives.supervised import Supervised, soft_loss


class Model(nn.Module):
    """A classifier of one matrix, whose images are its waves."""

    def __init__(self, classes, multilabel=False):
        super().__init__()
        self.labels, self.multilabel = tuple("abcdef"[:classes]), multilabel
        self.head = nn.Linear(5, classes)
        self.backbone = self

    def encode(self, image):
        return image


def as_is(wave, draw):
    return wave


def batch_of(target, others=None, other_target=None):
    n = len(target)
    wave = torch.randn(n, 5, generator=torch.Generator().manual_seed(3))
    rows = torch.arange(n)
    return Batch(wave, rows, target, rows, np.arange(n, dtype=np.uint64), rows >= 0, others, other_target)


def supervised(classes=3, multilabel=False, counts=None, **options):
    torch.manual_seed(0)
    counts = torch.ones(classes) if counts is None else torch.tensor(counts)
    return Supervised(Model(classes, multilabel), as_is, counts, **options)


@pytest.mark.parametrize(("smoothing", "balanced"), [(0.0, False), (0.1, False), (0.0, True)])
def test_equals_torchs_cross_entropy(smoothing, balanced):
    """Not both at once: torch divides smoothed losses by the weights of the hard targets."""
    batch = batch_of(target := torch.tensor([0, 2, 1, 2]))
    weight = torch.tensor([4 / 3, 4 / 3, 4 / 6]) if balanced else None
    objective = supervised(counts=[1, 1, 2], smoothing=smoothing, weights="balanced" if balanced else "equal")
    logits = objective.model.head(batch.wave)
    wanted = F.cross_entropy(logits, target, weight=weight, label_smoothing=smoothing)
    assert objective(batch, Draw(0, 0, batch.key))["loss"].item() == pytest.approx(wanted.item(), rel=1e-6)


def test_clips_without_a_label_do_not_count():
    objective = supervised()
    whole, part = batch_of(torch.tensor([0, -1, 2])), batch_of(torch.tensor([0, 1, 2]))
    kept = [0, 2]
    logits = objective.model.head(part.wave)
    wanted = F.cross_entropy(logits[kept], torch.tensor([0, 2]))
    out = objective(whole, Draw(0, 0, whole.key))
    assert out["loss"].item() == pytest.approx(wanted.item(), rel=1e-6)
    assert out["accuracy"].item() == pytest.approx(
        float((logits[kept].argmax(1) == torch.tensor([0, 2])).float().mean())
    )


def test_multilabel_equals_torchs_binary_cross_entropy():
    target = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    objective, batch = supervised(multilabel=True), batch_of(target)
    wanted = F.binary_cross_entropy_with_logits(objective.model.head(batch.wave), target)
    assert objective(batch, Draw(0, 0, batch.key))["loss"].item() == pytest.approx(wanted.item(), rel=1e-6)


def test_mixup_mixes_images_and_targets_by_the_same_share():
    """A model that is linear has loss(mixed) = share * loss(one target) + (1 - share) * loss(other) at the mixed
    image.
    """
    target, other = torch.tensor([0, 1]), torch.tensor([[2], [2]])
    others = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(8))
    objective, batch = supervised(mixup=0.4), batch_of(target, others, other)
    draws = Draw(0, 0, batch.key)
    share = draws.beta("mixup", 0.4)
    mixed = share[:, None] * batch.wave + (1 - share[:, None]) * others[:, 0]
    logits = objective.model.head(mixed)
    one, two = (F.cross_entropy(logits, t, reduction="none") for t in (target, other[:, 0]))
    wanted = (share * one + (1 - share) * two).mean()
    assert objective(batch, draws)["loss"].item() == pytest.approx(wanted.item(), rel=1e-6)
    assert objective.others == 1


def test_soft_loss_without_any_target_is_zero_and_finite():
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = soft_loss(logits, torch.zeros(2, 3), torch.ones(3), multilabel=False)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.isfinite().all()
