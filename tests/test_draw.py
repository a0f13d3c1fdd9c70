import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ossicle import draw
from ossicle.draw import Draw

CLIPS = np.array([draw.key("clip", number) for number in range(64)], np.uint64)


@given(order=st.permutations(range(16)), keep=st.integers(1, 16))
@settings(max_examples=30, deadline=None)
def test_a_clips_draws_do_not_depend_on_its_neighbors(order, keep):
    whole, chosen = Draw(3, 5, CLIPS[:16]), list(order)[:keep]
    some = Draw(3, 5, CLIPS[chosen])
    assert torch.equal(whole("gain", 2)[chosen], some("gain", 2))
    assert torch.equal(whole.integers("place", high=1000)[chosen], some.integers("place", high=1000))
    assert torch.equal(whole.normal("noise", 3, 4)[chosen], some.normal("noise", 3, 4))
    assert torch.equal(whole.beta("mixup", 0.3)[chosen], some.beta("mixup", 0.3))


@pytest.mark.parametrize(
    "other",
    [Draw(4, 5, CLIPS), Draw(3, 6, CLIPS), Draw(3, 5, CLIPS, view=1), Draw(3, 5, CLIPS + np.uint64(1))],
    ids=["seed", "epoch", "view", "clips"],
)
def test_every_coordinate_matters(other):
    assert not np.isclose(Draw(3, 5, CLIPS)("gain"), other("gain")).any()
    assert not np.isclose(Draw(3, 5, CLIPS)("gain"), Draw(3, 5, CLIPS)("roll")).any()


def test_uniform_is_uniform_and_uncorrelated():
    clips = np.arange(4096)
    numbers = draw.uniform(clips, 32, seed=0, name="test")
    share, _ = np.histogram(numbers, bins=16, range=(0, 1))
    expected = numbers.size / 16
    assert ((share - expected) ** 2 / expected).sum() < 37.7  # chi-squared, 15 degrees of freedom, p = 0.001
    neighbors = np.corrcoef(np.vstack([numbers[:-1].ravel(), numbers[1:].ravel()]))[0, 1]
    assert abs(neighbors) < 4 / np.sqrt(numbers.size)


def test_integers_cover_their_range_and_take_a_bound_for_each_clip():
    drawn = Draw(0, 0, np.arange(1000)).integers("k", 3, low=2, high=5)
    assert set(drawn.unique().tolist()) == {2, 3, 4}
    high = torch.arange(1, 65)
    assert (Draw(0, 0, CLIPS).integers("k", high=high) < high).all()


def test_normal_has_mean_zero_and_deviation_one():
    field = Draw(0, 0, CLIPS).normal("noise", 100, 10)
    assert abs(field.mean()) < 4 / np.sqrt(field.numel())
    assert abs(field.std() - 1) < 0.01


def test_beta_has_the_variance_of_beta():
    numbers = Draw(0, 0, np.arange(4000)).beta("mixup", 0.4)
    assert abs(numbers.mean() - 0.5) < 0.03
    assert abs(numbers.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01


def test_keys_are_the_same_everywhere():
    # SplitMix64's published sequence for seed 1234567: finalizer(seed + k * golden gamma).
    states = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert draw.mix(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert draw.key("a", 1) != draw.key("a", "2")
    assert 0 <= draw.key("b\udcff") < 2**63
