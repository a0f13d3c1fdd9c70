"""How far a number can be trusted: the bootstrap over recordings, and Student's t over folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, as shares of one; `over` says over what. `p` is two-sided, where there is one."""

    mean: float
    low: float
    high: float
    over: str
    p: float | None = None

    @property
    def holds_zero(self) -> bool:
        """Whether zero lies in the interval, its ends included."""
        return self.low <= 0.0 <= self.high

    @property
    def points(self) -> str:
        """The interval as a difference, in points."""
        mean, low, high = (f"{100 * value:+.1f}" for value in (self.mean, self.low, self.high))
        return f"{mean} points (95 % interval {low} to {high}, over {self.over})"

    @property
    def sentence(self) -> str:
        """The difference and what it says: "no difference" where it holds zero."""
        verdict = "no difference" if self.holds_zero else "more" if self.mean > 0 else "less"
        return f"{verdict}: {self.points}"


def bootstrap(
    value: np.ndarray, groups: Sequence[object] | np.ndarray, *, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The mean of (n,) clips' values and its percentile interval, whole recordings drawn with replacement.

    `groups` names each clip's recording. Clips of one recording stand and fall together, so drawing clips would make
    the interval too narrow (Efron and Tibshirani 1993, chapter 8). Raises ValueError when there is nothing to resample,
    or a single recording, of which every resample is the same.
    """
    value = np.asarray(value, dtype=np.float64)
    if value.ndim != 1 or len(value) != len(groups) or not len(value):
        raise ValueError(
            f"one value and one group a clip were wanted; got shape {value.shape} and {len(groups)} groups"
        )
    names, member = np.unique(np.array([str(group) for group in groups]), return_inverse=True)
    if len(names) < 2:
        raise ValueError("all clips are of one recording, which tells nothing of others: there is no interval over it")
    total, count = np.bincount(member, value), np.bincount(member)
    random, even = np.random.default_rng(seed), np.full(len(names), 1.0 / len(names))
    means = []
    for _ in range(resamples):
        drawn = random.multinomial(len(names), even)
        means.append((drawn @ total) / (drawn @ count))
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(value.mean()), float(low), float(high), f"{len(names)} recordings")


def paired(
    a_correct: np.ndarray,
    b_correct: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """How much better `b` does than `a` on the same clips: (n,) or (seeds, n), averaged over seeds, by `bootstrap`.

    The two may have different numbers of seeds. Raises ValueError when they were not scored on the same clips.
    """
    a, b = (np.atleast_2d(np.asarray(arm, dtype=np.float64)).mean(0) for arm in (a_correct, b_correct))
    if a.shape != b.shape:
        raise ValueError(
            f"the two arms were scored on {len(a)} and {len(b)} clips; pair the same clips in the same order"
        )
    return bootstrap(b - a, groups, resamples=resamples, seed=seed)


def paired_t(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Interval:
    """How much more (folds,) scores `b` are than `a`: Student's t on the differences. ValueError under two folds."""
    from scipy.stats import t

    difference = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    folds = len(difference)
    if folds < 2:
        raise ValueError(f"a paired t needs two folds or more; got {folds}")
    mean, error = float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(folds)
    half = float(t.ppf(0.975, folds - 1)) * error
    p = float(2 * t.sf(abs(mean) / error, folds - 1)) if error else float(mean == 0)
    return Interval(mean, mean - half, mean + half, f"{folds} folds", p)
