import itertools

import numpy as np
import pytest
from scipy.stats import ttest_rel

from ossicle.evaluate.intervals import Interval, bootstrap, paired, paired_t


def test_the_bootstrap_agrees_with_every_possible_resample():
    """Four recordings can be drawn in 4^4 = 256 equally likely ways: the interval is a quantile of those means."""
    value, groups = np.array([0.0, 1.0, 1.0, 0.3, 0.9, 0.2]), ["a", "a", "b", "c", "c", "d"]
    names = sorted(set(groups))
    clips = {name: [v for v, group in zip(value, groups, strict=True) if group == name] for name in names}
    means = [np.mean([v for name in drawn for v in clips[name]]) for drawn in itertools.product(names, repeat=4)]
    found = bootstrap(value, groups, resamples=40_000)
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.mean == pytest.approx(value.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)
    assert found.over == "4 recordings"


def test_it_covers_the_truth_where_drawing_clips_would_not():
    """60 recordings of 5 equal clips: 95 % intervals over recordings hold the truth, over clips they are too narrow."""
    chance, grouped, alone = np.random.default_rng(0), 0, 0
    for trial in range(150):
        value = np.repeat(chance.random(60) < 0.7, 5).astype(float)
        own = bootstrap(value, np.repeat(np.arange(60), 5), resamples=400, seed=trial)
        each = bootstrap(value, np.arange(300), resamples=400, seed=trial)
        grouped += own.low <= 0.7 <= own.high
        alone += each.low <= 0.7 <= each.high
    assert grouped / 150 > 0.9
    assert alone / 150 < 0.75


def test_the_same_seed_gives_the_same_interval():
    value, groups = np.random.default_rng(0).random(30), np.arange(30) // 2
    assert bootstrap(value, groups) == bootstrap(value, groups)
    assert bootstrap(value, groups) != bootstrap(value, groups, seed=1)


def test_pairing_averages_seeds_and_ignores_what_both_get_right():
    """Paired, two arms that miss the same clips differ less than their own intervals would let one see."""
    chance = np.random.default_rng(0)
    easy = chance.random(400) < 0.8
    a = np.stack([easy & (chance.random(400) < 0.98) for _ in range(3)])
    b = np.stack([easy | (chance.random(400) < 0.3) for _ in range(2)])
    found = paired(a, b, np.arange(400))
    assert found.mean == pytest.approx(b.mean() - a.mean())
    own = bootstrap(a.mean(0), np.arange(400))
    assert found.high - found.low < own.high - own.low
    assert not found.holds_zero
    assert found.sentence.startswith("more: +")
    assert paired(b, a, np.arange(400)).sentence.startswith("less: -")


def test_equal_arms_do_not_differ():
    right = np.random.default_rng(0).random(50) < 0.5
    found = paired(right, right, np.arange(50))
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert found.sentence == "no difference: +0.0 points (95 % interval +0.0 to +0.0, over 50 recordings)"


def test_a_difference_is_told_only_where_the_interval_excludes_zero():
    assert Interval(0.03, -0.001, 0.06, "5 folds").sentence.startswith("no difference: +3.0 points")
    assert Interval(0.03, 0.001, 0.06, "5 folds").sentence == (
        "more: +3.0 points (95 % interval +0.1 to +6.0, over 5 folds)"
    )


def test_the_paired_t_is_scipys():
    a, b = np.array([0.70, 0.72, 0.65, 0.80, 0.75]), np.array([0.74, 0.73, 0.71, 0.82, 0.80])
    found, reference = paired_t(a, b), ttest_rel(b, a)
    low, high = reference.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((low, high, reference.pvalue))
    assert found.mean == pytest.approx((b - a).mean())
    assert found.over == "5 folds"


def test_folds_that_all_differ_alike():
    assert paired_t([0.5, 0.5], [0.5, 0.5]) == Interval(0.0, 0.0, 0.0, "2 folds", 1.0)
    assert paired_t([0.25, 0.5], [0.5, 0.75]) == Interval(0.25, 0.25, 0.25, "2 folds", 0.0)


def test_what_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="needs two folds"):
        paired_t([0.5], [0.6])
    with pytest.raises(ValueError, match="scored on 3 and 4 clips"):
        paired(np.ones(3), np.ones(4), range(3))
    with pytest.raises(ValueError, match="one group a clip"):
        bootstrap(np.ones(3), range(4))
    with pytest.raises(ValueError, match="one group a clip"):
        bootstrap(np.ones(0), [])
    with pytest.raises(ValueError, match="all clips are of one recording"):
        paired([0, 0, 1], [1, 1, 0], ["a", "a", "a"])
