"""A count of rare events -> what their rate may be. numpy only.

Garwood (1936), "Fiducial limits for the Poisson distribution": the bounds are exact, for no events too.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

CONFIDENCE = 0.95


def upper(count: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided bound: a mean above it would have given `count` or fewer with a chance under 1 - confidence."""
    return _mean(count, 1 - confidence)


def lower(count: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided bound: a mean below it would have given `count` or more with a chance under 1 - confidence."""
    return _mean(count - 1, confidence) if count else 0.0


def hours_for(per_hour: float, confidence: float = CONFIDENCE) -> float:
    """The hours without a single event from which a rate of at most `per_hour` can be promised."""
    return upper(0, confidence) / per_hour


@lru_cache(maxsize=4096)
def _mean(count: int, chance: float) -> float:
    """The mean at which `count` or fewer come with this chance, by bisection: the chance falls as the mean grows."""
    low, high = 0.0, count + 10 * math.sqrt(count + 1) + 10
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(count, middle) > chance else (low, middle)
    return high


def _at_most(count: int, mean: float) -> float:
    """The chance of `count` or fewer."""
    k = np.arange(count + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    return float(np.exp(k * math.log(mean) - mean - factorials).sum())
