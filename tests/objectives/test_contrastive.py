import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ossicle import assemble
from ossicle.data.loader import Batch
from ossicle.data.manifest import Clip, Manifest
from ossicle.draw import Draw
from ossicle.objectives.contrastive import Contrastive, nt_xent
from ossicle.recipe import RecipeError, from_dict


class Plain(nn.Module):
    """A backbone of one matrix."""

    dim = 6

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6, dtype=torch.float64))

    def encode(self, image):
        return image @ self.weight


class Shifted:
    """Views that add a draw and, where asked, the clip that they are given to mix in."""

    def __init__(self, others=0):
        self.others = others

    def __call__(self, wave, draw, others):
        shifted = wave + draw("shift", wave.shape[1]).double()
        return shifted if others is None else shifted + others.sum(1)

    def both(self, wave, draw, others=None):
        mixed = (None, None) if others is None else others.split(1, 1)
        return [self(wave, draw.at(view), mixed[view]) for view in (0, 1)]


def batch_of(rows, others=None):
    rows = torch.tensor(rows)
    wave = torch.randn(len(rows), 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(len(rows))
    return Batch(wave, ones.long(), ones.long(), rows, rows.numpy().astype(np.uint64), ones.bool(), others)


def contrastive(n=20, groups=None, others=0, **options):
    torch.manual_seed(1)
    keys = np.arange(n, dtype=np.uint64)
    groups = keys if groups is None else np.array(groups, np.uint64)
    return Contrastive(Plain(), Shifted(others), keys, groups, dim=4, hidden=12, **options).double()


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, dtype=torch.float64, generator=generator), dim=-1)


def as_loops(one, other, groups, temperature):
    """SimCLR, eq. 1, averaged over all 2B views; clips of one group are not each other's negatives."""
    views = [(z, clip) for side in (one, other) for clip, z in enumerate(side)]
    total = 0.0
    for i, (z, clip) in enumerate(views):
        below = 0.0
        for k, (w, elsewhere) in enumerate(views):
            if k == i or (clip != elsewhere and groups[clip] == groups[elsewhere]):
                continue
            score = torch.exp(torch.dot(z, w) / (z.norm() * w.norm()) / temperature)
            below = below + score
            if clip == elsewhere:
                own = score
        total = total - torch.log(own / below)
    return total / len(views)


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], [0, 1, 0, 2, 1], [3, 3, 3, 3, 3]])
def test_the_loss_and_its_gradient_are_the_papers_sum(groups):
    one, other = (unit(5, 7, seed=seed).requires_grad_() for seed in (0, 1))
    loss = nt_xent(one, other, torch.tensor(groups), 0.2)
    mine = torch.autograd.grad(loss, (one, other))
    wanted = as_loops(F.normalize(one), F.normalize(other), groups, 0.2)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12, abs=1e-12)
    for one_gradient, z in zip(mine, (one, other), strict=True):
        across = torch.autograd.grad(wanted, z, retain_graph=True)[0]
        along = z.detach() * (one_gradient * z.detach()).sum(1, keepdim=True)  # the loops divide by the lengths
        assert torch.allclose(one_gradient - along, across, rtol=1e-9, atol=1e-12)


def test_the_gradient_agrees_with_finite_differences():
    groups = torch.tensor([0, 1, 1])
    one, other = (unit(3, 3, seed=seed).requires_grad_() for seed in (2, 3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(F.normalize(a), F.normalize(b), groups, 0.2), (one, other))


@pytest.mark.parametrize("clips", [2, 7, 64])
def test_identical_embeddings_give_the_logarithm_of_the_others(clips):
    same = unit(1, 16).float().expand(clips, -1)
    assert nt_xent(same, same, torch.arange(clips), 0.2).item() == pytest.approx(math.log(2 * clips - 1), rel=1e-6)


def test_views_alike_and_clips_apart_give_the_least_loss():
    """Orthogonal clips: -log(e^(1/T) / (e^(1/T) + 2B - 2))."""
    one = torch.eye(6, dtype=torch.float64)
    wanted = math.log(1 + 10 * math.exp(-1 / 0.2))
    assert nt_xent(one, one, torch.arange(6), 0.2).item() == pytest.approx(wanted, rel=1e-12)


def test_the_objective_is_the_loss_of_two_passes_of_head_and_encoder():
    objective, batch, others = contrastive(), batch_of([3, 17, 5, 9]), None
    draws = Draw(0, 4, batch.key)
    found = objective(batch, draws)["loss"]
    head = contrastive().project
    sides = []
    for view in (0, 1):
        hidden = head[0](objective.model.encode(objective.views(batch.wave, draws.at(view), others)))
        hidden = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + head[1].eps).sqrt()
        sides.append(F.normalize(head[3](hidden.clamp(min=0))))
    assert found.item() == pytest.approx(as_loops(*sides, [0, 1, 2, 3], 0.2).item(), rel=1e-9)
    assert all(torch.count_nonzero(parameter.grad) for parameter in learned(objective, found))
    assert not any(name.startswith("groups") for name in objective.state_dict())


def learned(objective, loss):
    loss.backward()
    return [objective.model.weight, objective.project[3].weight]


def test_clips_of_one_recording_are_told_apart_unless_it_is_asked_not_to():
    batch, groups = batch_of([0, 1, 2, 3]), [0, 0, 1, 1]
    draws = Draw(0, 0, batch.key)
    plain, spread, joined = (
        contrastive(4, groups=given, apart=apart)(batch, draws)["loss"].item()
        for given, apart in ((None, "clips"), (groups, "clips"), (groups, "recordings"))
    )
    assert plain == spread
    assert joined < plain


def test_two_views_ask_for_two_clips_to_mix_in():
    assert contrastive(others=1).others == 2


def test_a_later_run_goes_on_with_the_head_and_its_running_statistics_if_it_is_as_wide():
    old, new = contrastive(), contrastive(9)
    batch = batch_of([3, 17, 5, 9])
    old(batch, Draw(0, 0, batch.key))
    torch.nn.init.ones_(new.project[3].weight)
    assert set(old.memory()) == {f"project.{name}" for name in old.project.state_dict()}
    assert new.remember(old.memory()) == "its projection head goes on"
    for name, value in old.project.state_dict().items():
        assert torch.equal(new.project.state_dict()[name], value), name
    keys = np.arange(9, dtype=np.uint64)
    wider = Contrastive(Plain(), Shifted(), keys, keys, dim=5, hidden=12)
    before = wider.memory()["project.3.weight"].clone()
    assert "of other widths" in wider.remember(old.memory())
    assert torch.equal(wider.project[3].weight, before)


@pytest.mark.parametrize(
    ("n", "options", "says"),
    [
        (1, {}, "1 clips, none of which"),
        (4, {"groups": [1, 1, 1, 1], "apart": "recordings"}, "add recordings"),
        (4, {"temperature": 0.0}, "wanted above 0"),
        (4, {"apart": "labels"}, "known: clips, recordings"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_sentences(n, options, says):
    with pytest.raises(ValueError, match=says):
        contrastive(n, **options)


def recipe(objective, **mix):
    return from_dict(
        {
            "data": "folder",
            "frontend": {"name": "logmel", "sample_rate": 8000, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16},
            "encoder": {"name": "small", "width": 2, "attention": 8},
            "objective": objective,
            "views": [{"name": "patch", "frames": 20}, {"name": "mixback", **mix}, "random_resized_crop"],
            "stages": [{"epochs": 1}],
        }
    )


def test_a_recipe_with_mix_back_is_assembled_for_an_objective_that_brings_others(tmp_path):
    train = Manifest("m", tuple(Clip(tmp_path / f"{number}.wav", str(number)) for number in range(6)), ())
    made = assemble.objective(recipe("contrastive"), train)
    assert (made.others, made.project[3].out_features) == (2, 512)
    shown = []
    assemble.rehearse(recipe("contrastive"), lambda kind, row: shown.append(row))
    assert shown[0]["view"] == (2, 1, 1, 16, 20)
    assert assemble.objective(recipe("npid", background="own"), train).views.others == 0
    with pytest.raises(RecipeError, match="which 'npid' does not bring"):
        assemble.objective(recipe("npid"), train)
