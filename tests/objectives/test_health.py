"""What is measured of features, on some whose numbers are known, and what is told of a run from it."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ossicle import collapse, words
from ossicle.objectives.health import alignment, effective_rank, feature_sd, health, uniformity
from ossicle.report.found import Found
from ossicle.report.learning import learning


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(shape, dtype=torch.float64, generator=generator), dim=-1)


def test_features_spread_over_the_sphere_are_healthy():
    one, other = unit(2, 400, 64)
    told = health(one, other)
    assert told["feature_sd"].item() == pytest.approx(1, abs=0.01)
    assert 55 < told["effective_rank"].item() < 64
    assert told["alignment"].item() == pytest.approx(2, abs=0.05)
    assert told["uniformity"].item() == pytest.approx(-4, abs=0.2)
    assert not verdict(told)


def test_orthogonal_clips_fill_as_many_directions_as_there_are_clips():
    assert effective_rank(torch.eye(9, 30, dtype=torch.float64)).item() == pytest.approx(9)
    assert uniformity(torch.eye(9, 30, dtype=torch.float64)).item() == pytest.approx(-4)


def test_the_rank_is_the_definition_on_the_singular_values():
    """Roy and Vetterli 2007, definition 1, by a decomposition of the matrix itself: wide, tall, and as a batch."""
    for shape in ((5, 12), (12, 5)):
        rows = unit(3, *shape)
        value = torch.linalg.svdvals(rows)
        share = value / value.sum(-1, keepdim=True)
        assert torch.allclose(effective_rank(rows), torch.exp(-(share * share.log()).sum(-1)), rtol=1e-6)


def test_distances_are_the_papers_loops():
    one, other = unit(2, 6, 3)
    pairs = [math.exp(-2 * float((x - y).square().sum())) for i, x in enumerate(one) for y in one[:i]]
    assert uniformity(one).item() == pytest.approx(math.log(sum(pairs) / len(pairs)))
    wanted = sum(float((x - y).square().sum()) for x, y in zip(one, other, strict=True)) / 6
    assert alignment(one, other).item() == pytest.approx(wanted)
    assert alignment(one, one).item() == 0


def test_deviation_falls_with_the_cosine_between_clips():
    """Clips of mean cosine c have a sd of about sqrt(1 - c)."""
    near = F.normalize(unit(500, 128) + 3 * unit(1, 128, seed=1), dim=-1)
    cosine = (near.sum(0).square().sum() - 500) / (500 * 499)
    assert feature_sd(near).item() == pytest.approx(math.sqrt(1 - cosine), rel=0.02)


def verdict(told):
    return collapse.news([{"epoch": 1, **{name: float(value) for name, value in told.items()}}])


@pytest.mark.parametrize("size", [(2, 32), (8, 32), (128, 512), (64, 16)])
def test_collapse_is_told_for_what_it_is_and_spread_features_are_not_accused(size):
    """Constant and zero features, features on one line, and features without negative entries, as encoders give."""
    clips, dim = size
    point = torch.rand(1, dim).expand(clips, -1)
    for same in (point, torch.zeros(clips, dim), point + 1e-3 * torch.randn(clips, dim) * point.mean()):
        told = health(same, same)
        assert told["feature_sd"] < 0.01
        assert told["uniformity"].item() == pytest.approx(0, abs=1e-2)
        assert "on one point" in verdict(told)
    line = unit(1, dim) * torch.tensor([1.0, -2.0]).repeat(clips // 2)[:, None]
    told = health(line)
    assert told["effective_rank"].item() == pytest.approx(1, abs=1e-3)
    assert "on one line" in verdict(told)
    assert "alignment" not in told
    assert not verdict(health(unit(clips, dim).relu()))


def test_it_takes_no_gradient_and_values_that_are_not_finite():
    feature = torch.rand(4, 8).requires_grad_()
    assert not any(value.requires_grad for value in health(feature, feature * 2).values())
    odd = feature.detach().clone()
    odd[0, 0], odd[1, 1], odd[2] = math.nan, math.inf, -math.inf
    assert all(value.isfinite() for value in health(odd).values())


def rows(*measured):
    return [{"epoch": epoch + 1, "feature_sd": sd, "effective_rank": rank} for epoch, (sd, rank) in enumerate(measured)]


def test_a_run_is_told_when_it_collapses_and_when_it_recovers_and_not_between():
    log = rows((0.1, 4), (0.04, 4), (0.01, 4), (0.06, 4), (0.2, 1.2), (0.2, 4), (0.3, 1.2), (0.3, 1.3))
    said = collapse.story(log)
    assert [each.split(": ")[0] for each in said] == ["epoch 2", "epoch 6", "epoch 7"]
    assert "on one point (feature sd 0.04 of at most 1, effective rank 4). " in said[0]
    assert "lower lr" in said[0]
    assert "apart again" in said[1]
    assert "on one line" in said[2]
    assert [bool(collapse.news(log[: upto + 1])) for upto in range(8)] == [0, 1, 0, 0, 0, 1, 1, 0]
    assert not collapse.story(rows((0.17, 11), (0.67, 26), (0.6, 9)))  # as encoders begin, and go on
    assert collapse.news([]) == collapse.news([{"epoch": 1, "loss": 2.0}]) == ""


@pytest.mark.parametrize(
    ("now", "says"),
    [((0.2, 30), "closer together than in the first epoch, whose sd was 0.66"), ((0.6, 7), "fewer")],
)
def test_a_fall_to_a_third_is_told_and_half_is_enough_to_recover(now, says):
    said = collapse.story(rows((0.66, 30), (0.4, 20), now, (0.3, 14), (0.34, 16)))
    assert [each.split(": ")[0] for each in said] == ["epoch 3", "epoch 5"]
    assert says in said[0]


def test_a_page_tells_it_above_the_curves_and_a_terminal_shows_the_deviation():
    well, ill = rows((0.6, 30), (0.6, 31)), rows((0.6, 30), (0.01, 30))
    runs = [Found(Path("runs/made") / f"fold{number}", "run", {}, each) for number, each in enumerate((well, ill))]
    assert "collapse" not in str(learning({"": runs[:1]}))
    assert '<p class="note">epoch 2: the features collapse' in str(learning({"": runs[1:]}))
    assert "made/fold1, epoch 2: the features" in str(learning({"": runs}))
    assert words.news({"loss": 2.0, "feature_sd": 0.4567}) == "loss 2.000  feature sd 0.457"
