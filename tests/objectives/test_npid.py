import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.objectives.npid import NPID, nce, softmax
from ossicle.objectives.recordings import Recordings


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


def npid(n=20, groups=None, **options):
    torch.manual_seed(1)
    keys = np.arange(n, dtype=np.uint64)
    groups = keys if groups is None else np.array(groups, np.uint64)
    return NPID(Plain(), as_is, keys, groups, dim=4, **options).double()


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


def test_the_exact_loss_and_gradient_leave_out_the_recordings_other_clips(monkeypatch):
    """Eq. 2 with a sum over the clip itself and the clips of other recordings, as a loop; blocks of 4 rows, so that
    some hold nothing but clips that are left out.
    """
    monkeypatch.setattr("ossicle.objectives.npid.BLOCK", 4)
    groups = [0, 0, 0, 0, 1, 2, 2, 3, 3, 0, 4, 1]
    objective, batch = npid(n=12, groups=groups, temperature=0.2), batch_of([1, 4, 10, 3])
    objective(batch, Draw(0, 0, batch.key))["loss"].backward()
    weight = objective.model.weight.detach().clone().requires_grad_()
    total = 0.0
    for wave, row in zip(batch.wave, batch.index.tolist(), strict=True):
        feature = (wave @ weight) @ objective.project.weight.detach().T + objective.project.bias.detach()
        v = feature / feature.norm()
        allowed = [j for j in range(12) if j == row or groups[j] != groups[row]]
        scores = {j: torch.exp(v @ objective.bank[j] / 0.2) for j in allowed}
        total = total - torch.log(scores[row] / sum(scores.values())) / 4
    total.backward()
    assert objective(batch, Draw(0, 0, batch.key))["loss"].item() == pytest.approx(total.item(), rel=1e-12)
    assert torch.allclose(objective.model.weight.grad, weight.grad, rtol=1e-9, atol=1e-14)


def test_the_softmax_of_a_bank_in_blocks_is_torchs_cross_entropy():
    """At a temperature where the exponentials of a plain sum would overflow in float32."""
    generator = torch.Generator().manual_seed(4)
    bank = F.normalize(torch.randn(70000, 8, generator=generator))
    feature = F.normalize(torch.randn(5, 8, generator=generator)).requires_grad_()
    index, none = torch.tensor([0, 69999, 40000, 32768, 32767]), (torch.zeros(0).long(), torch.zeros(0).long())
    loss = softmax(feature, bank, index, none, 0.005)
    mine = torch.autograd.grad(3 * loss, feature)[0]
    wanted = F.cross_entropy(feature @ bank.T / 0.005, index)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert torch.allclose(mine, torch.autograd.grad(3 * wanted, feature)[0], rtol=1e-3, atol=1e-4)


def test_nce_is_the_papers_sum_with_the_noise_of_the_rows_that_may_be_drawn():
    """NPID, eqs. 4 to 8, with P_n = 1 / (n - size of the clip's recording)."""
    groups = [0, 0, 0, 1, 1, *range(2, 17)]
    objective, batch = npid(n=20, groups=groups, negatives=7, temperature=0.4), batch_of([1, 3, 19])
    draws = Draw(0, 0, batch.key)
    v = objective.project(objective.model.encode(batch.wave)).detach()
    v = v / v.norm(dim=1, keepdim=True)
    place = draws.integers("negatives", 7, high=torch.tensor([17, 18, 19]))
    n, k, loss = 20, 7, objective(batch, draws)["loss"].item()
    outside = [[j for j in range(n) if groups[j] != groups[i]] for i in batch.index.tolist()]
    drawn = [[outside[b][p] for p in place[b].tolist()] for b in range(3)]
    rows = [[i, *js] for i, js in zip(batch.index.tolist(), drawn, strict=True)]
    z = n * np.mean([math.exp(float(v[b] @ objective.bank[j]) / 0.4) for b in range(3) for j in rows[b]])
    total = 0.0
    for b in range(3):
        noise = k / len(outside[b])
        p = [torch.exp(v[b] @ objective.bank[j] / 0.4) / z for j in rows[b]]
        total = total - torch.log(p[0] / (p[0] + noise)) - sum(torch.log(noise / (q + noise)) for q in p[1:])
    assert objective.scale.item() * n == pytest.approx(z, rel=1e-12)
    assert loss == pytest.approx(total.item() / 3, rel=1e-12)


@pytest.mark.parametrize("k", [1, 64])
def test_nces_first_loss_in_closed_form(k):
    """Where all scores are alike, P = 1/n and the loss is (K + 1) ln(K + 1) - K ln K; 5.167 at K = 64."""
    logits, share = torch.zeros(5, k + 1, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    loss = nce(logits, torch.tensor(1.0, dtype=torch.float64), share)
    assert loss.item() == pytest.approx((k + 1) * math.log(k + 1) - k * math.log(k), rel=1e-12)


def test_nces_gradient_nears_the_exact_softmaxs_as_negatives_grow():
    """With Z known, NCE's expected gradient tends to the softmax's as K grows (Mnih and Teh 2012, eq. 13)."""
    generator = torch.Generator().manual_seed(5)
    bank = F.normalize(torch.randn(30, 4, dtype=torch.float64, generator=generator))
    feature = F.normalize(torch.randn(1, 4, dtype=torch.float64, generator=generator)).requires_grad_()
    index, none = torch.tensor([3]), (torch.zeros(0).long(), torch.zeros(0).long())
    exact = torch.autograd.grad(softmax(feature, bank, index, none, 0.4), feature)[0]
    logits = feature @ bank.T / 0.4
    scale = logits.detach().exp().mean()
    every = torch.cat([logits[:, index], logits.repeat(1, 300)], 1)  # each row drawn 300 times, as expected of K = 9000
    estimated = torch.autograd.grad(nce(every, scale, torch.ones(1, dtype=torch.float64)), feature)[0]
    assert torch.allclose(estimated, exact, rtol=0.02, atol=0.02 * float(exact.norm()))


def test_the_exact_first_loss_in_closed_form():
    """A feature orthogonal to the whole bank finds all clips equally likely: ln n."""
    objective = npid(n=50)
    objective.bank.zero_()
    batch = batch_of([0, 1])
    assert objective(batch, Draw(0, 0, batch.key))["loss"].item() == pytest.approx(math.log(50), rel=1e-6)


def test_negatives_are_never_of_the_clips_recording_and_else_uniform():
    recordings = Recordings(torch.tensor([5, 5, 7, 1, 7, 5, 9, 2]))
    index = torch.tensor([2, 1])
    high = recordings.others(index)
    assert high.tolist() == [6, 5]
    keys = np.array([11, 12], np.uint64)
    places = [Draw(0, epoch, keys).integers("negatives", 7, high=high) for epoch in range(400)]
    drawn = torch.cat([recordings.elsewhere(index, place) for place in places], 1)
    for rows, allowed in zip(drawn, ([0, 1, 3, 5, 6, 7], [2, 3, 4, 6, 7]), strict=True):
        counts = torch.bincount(rows, minlength=8)
        assert counts[allowed].sum() == 2800
        expected = 2800 / len(allowed)
        assert float(((counts[allowed] - expected) ** 2 / expected).sum()) < 22.5  # chi-squared, p < 0.001


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-2, 3), min_size=2, max_size=30).filter(lambda groups: len(set(groups)) > 1))
def test_every_row_is_itself_a_mate_or_elsewhere(groups):
    recordings, n = Recordings(torch.tensor(groups)), len(groups)
    index = torch.arange(n)
    slot, mate = recordings.mates(index)
    for row in range(n):
        mates = sorted(mate[slot == row].tolist())
        many = int(recordings.others(index[[row]]))
        elsewhere = recordings.elsewhere(index[[row]], torch.arange(many)[None])[0].tolist()
        assert mates == [j for j in range(n) if groups[j] == groups[row] and j != row]
        assert sorted(elsewhere) == [j for j in range(n) if groups[j] != groups[row]]


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
    keys = np.arange(20, dtype=np.uint64)
    many, few = (NPID(Plain(), as_is, chosen, chosen, dim=4) for chosen in (keys, keys[[7, 3]]))
    assert torch.equal(few.bank, many.bank[[7, 3]])
    assert torch.allclose(many.bank.norm(dim=1), torch.ones(20))


def test_memory_keeps_the_rows_of_clips_that_are_known():
    old = npid(n=6)
    old.bank.copy_(F.normalize(torch.randn(6, 4, dtype=torch.float64)))
    keys = np.array([9, 5, 2], np.uint64)
    new = NPID(Plain(), as_is, keys, keys, dim=4).double()
    fresh = new.bank.clone()
    assert not any(name.startswith("model.") for name in old.memory())
    assert "rows of 2 of the 3 clips here" in new.remember(old.memory())
    assert torch.equal(new.bank[1:], old.bank[[5, 2]])
    assert torch.equal(new.bank[0], fresh[0])
    assert torch.equal(new.project.weight, old.project.weight)


def test_a_kept_memory_stays_as_something_to_be_told_from():
    old = npid(n=6, groups=[0, 0, 1, 2, 3, 3])
    old.bank.copy_(F.normalize(torch.randn(6, 4, dtype=torch.float64)))
    keys = np.array([9, 5, 8], np.uint64)
    new = NPID(Plain(), as_is, keys, np.array([3, 3, 7], np.uint64), dim=4, keep=True).double()
    assert "rows of 1 of the 3 clips here" in new.remember(old.memory())
    assert new.keys.tolist() == [9, 5, 8, 0, 1, 2, 3, 4]
    assert torch.equal(new.bank[[1, 3, 4, 5, 6, 7]], old.bank[[5, 0, 1, 2, 3, 4]])
    mate = new.recordings.mates(torch.tensor([0]))[1]
    assert mate.tolist() == [1, 7]  # clip 5 is here too; clip 4 of the same recording is remembered
    batch = batch_of([0, 1])
    assert new(batch, Draw(0, 0, batch.key))["loss"].isfinite()
    before = new.bank[3:].clone()
    new.after_step()
    assert torch.equal(new.bank[3:], before)


def test_rows_of_another_size_are_dropped_or_refused_where_they_are_to_stay():
    keys = np.array([9, 5], np.uint64)
    for keep in (False, True):
        new = NPID(Plain(), as_is, keys, keys, dim=3, keep=keep).double()
        if keep:
            with pytest.raises(ValueError, match="rows have 4 numbers, not 3: set dim = 4"):
                new.remember(npid(n=6).memory())
        else:
            assert new.remember(npid(n=6).memory()).endswith("not 3, and a fresh bank is learned")


def test_clips_of_one_recording_are_told_apart_where_that_is_asked():
    with pytest.raises(ValueError, match='apart = "clips"'):
        npid(n=4, groups=[1, 1, 1, 1])
    objective = npid(n=4, groups=[1, 1, 1, 1], apart="clips")
    objective.bank.zero_()
    batch = batch_of([0, 1])
    assert objective(batch, Draw(0, 0, batch.key))["loss"].item() == pytest.approx(math.log(4), rel=1e-6)


@pytest.mark.parametrize(("n", "options", "says"), [(1, {}, "at least 2"), (5, {"negatives": 5}, "more than 5 clips")])
def test_row_61_too_few_clips_are_refused(n, options, says):
    with pytest.raises(ValueError, match=says):
        npid(n=n, **options)
