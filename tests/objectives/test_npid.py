import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.objectives.npid import NPID, nce


class Plain(nn.Module):
    """A backbone of one matrix."""

    dim = 6

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6, dtype=torch.float64))

    def encode(self, image):
        return image @ self.weight


def as_is(wave, draw):
    return wave


def batch_of(rows, size=8):
    rows = torch.tensor(rows)
    ones = torch.ones(len(rows))
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(len(rows), size, dtype=torch.float64, generator=generator)
    return Batch(wave, ones.long(), ones.long(), rows, rows.numpy().astype(np.uint64), ones.bool())


def npid(n=20, **options):
    torch.manual_seed(1)
    return NPID(Plain(), as_is, np.arange(n, dtype=np.uint64), dim=4, **options).double()


def test_exact_loss_and_gradient_are_the_papers_sum():
    objective, batch = npid(temperature=0.3), batch_of([3, 17, 5])
    objective(batch, Draw(0, 0, batch.key))["loss"].backward()
    weight = objective.model.weight.detach().clone().requires_grad_()
    total = 0.0
    for wave, row in zip(batch.wave, batch.index.tolist(), strict=True):
        feature = (wave @ weight) @ objective.project.weight.detach().T + objective.project.bias.detach()
        v = feature / feature.norm()
        scores = [torch.exp(v @ m / 0.3) for m in objective.bank]
        total = total - torch.log(scores[row] / sum(scores)) / 3
    total.backward()
    assert objective(batch, Draw(0, 0, batch.key))["loss"].item() == pytest.approx(total.item(), rel=1e-12)
    assert torch.allclose(objective.model.weight.grad, weight.grad, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("scale", [0.0, 1.7])
def test_nce_is_the_papers_sum(scale):
    generator = torch.Generator().manual_seed(2)
    bank = F.normalize(torch.randn(30, 4, dtype=torch.float64, generator=generator))
    feature = F.normalize(torch.randn(3, 4, dtype=torch.float64, generator=generator)).requires_grad_()
    index, negatives = torch.tensor([4, 0, 29]), torch.randint(0, 30, (3, 7), generator=generator)
    loss, kept = nce(feature, bank, index, negatives, 0.4, torch.tensor(scale, dtype=torch.float64))
    n, k, t = 30, 7, 0.4
    rows = [[int(i), *js.tolist()] for i, js in zip(index, negatives, strict=True)]
    z = n * (
        scale
        or float(
            np.mean([math.exp((f.detach() @ bank[j]) / t) for f, js in zip(feature, rows, strict=True) for j in js])
        )
    )
    total = 0.0
    for f, js in zip(feature, rows, strict=True):
        p = [torch.exp(f @ bank[j] / t) / z for j in js]
        total = total - torch.log(p[0] / (p[0] + k / n)) - sum(torch.log((k / n) / (q + k / n)) for q in p[1:])
    assert float(kept) == pytest.approx(z / n, rel=1e-12)
    assert loss.item() == pytest.approx(total.item() / 3, rel=1e-12)
    mine = torch.autograd.grad(loss, feature)[0]
    assert torch.allclose(mine, torch.autograd.grad(total / 3, feature)[0], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("k", [1, 64])
def test_nces_first_loss_in_closed_form(k):
    """Where all scores are alike, P = 1/n and the loss is (K + 1) ln(K + 1) - K ln K; 5.167 at K = 64."""
    bank = torch.zeros(200, 4, dtype=torch.float64)
    feature = torch.ones(5, 4, dtype=torch.float64)
    negatives = torch.zeros(5, k, dtype=torch.long)
    loss, _ = nce(feature, bank, torch.arange(5), negatives, 0.4, torch.tensor(0.0, dtype=torch.float64))
    assert loss.item() == pytest.approx((k + 1) * math.log(k + 1) - k * math.log(k), rel=1e-12)


def test_the_exact_first_loss_in_closed_form():
    """A feature orthogonal to the whole bank finds all clips equally likely: ln n."""
    objective = npid(n=50)
    objective.bank.zero_()
    batch = batch_of([0, 1])
    assert objective(batch, Draw(0, 0, batch.key))["loss"].item() == pytest.approx(math.log(50), rel=1e-6)


def test_negatives_are_never_the_clip_itself_and_else_uniform():
    objective, batch = npid(n=8, negatives=7), batch_of([2])
    drawn = torch.cat([objective._draw_negatives(batch, Draw(0, epoch, batch.key))[0] for epoch in range(400)])
    counts = torch.bincount(drawn, minlength=8)
    assert counts[2] == 0
    others = counts[[0, 1, 3, 4, 5, 6, 7]].double()
    assert float(((others - 400) ** 2 / 400).sum()) < 22.5  # chi-squared, 6 degrees of freedom, p = 0.001


def test_the_bank_moves_only_after_the_step_and_only_where_it_should():
    objective, batch = npid(momentum=0.25), batch_of([3, 7])
    before = objective.bank.clone()
    objective(batch, Draw(0, 0, batch.key))
    assert torch.equal(objective.bank, before)
    with torch.no_grad():
        feature = F.normalize(objective.project(objective.model.encode(batch.wave)))
    objective.after_step()
    wanted = 0.25 * before[[3, 7]] + 0.75 * feature
    assert torch.allclose(objective.bank[[3, 7]], wanted / wanted.norm(dim=1, keepdim=True))
    rest = [row for row in range(20) if row not in (3, 7)]
    assert torch.equal(objective.bank[rest], before[rest])
    after = objective.bank.clone()
    objective.after_step()
    assert torch.equal(objective.bank, after)


def test_a_clips_first_row_depends_on_the_clip_alone():
    many = NPID(Plain(), as_is, np.arange(20, dtype=np.uint64), dim=4)
    few = NPID(Plain(), as_is, np.array([7, 3], np.uint64), dim=4)
    assert torch.equal(few.bank, many.bank[[7, 3]])
    assert torch.allclose(many.bank.norm(dim=1), torch.ones(20))


def test_memory_keeps_the_rows_of_clips_that_are_known():
    old = npid(n=6)
    old.bank.copy_(F.normalize(torch.randn(6, 4, dtype=torch.float64)))
    new = NPID(Plain(), as_is, np.array([9, 5, 2], np.uint64), dim=4).double()
    fresh = new.bank.clone()
    assert not any(name.startswith("model.") for name in old.memory())
    assert new.remember(old.memory()) == 2
    assert torch.equal(new.bank[1:], old.bank[[5, 2]])
    assert torch.equal(new.bank[0], fresh[0])
    assert torch.equal(new.project.weight, old.project.weight)


@pytest.mark.parametrize(("n", "options", "says"), [(1, {}, "at least 2"), (5, {"negatives": 5}, "more than 5 clips")])
def test_row_61_too_few_clips_are_refused(n, options, says):
    with pytest.raises(ValueError, match=says):
        npid(n=n, **options)
