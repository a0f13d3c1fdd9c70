"""(m, K) opinions, (m, D) features, (n, D) of what has labels -> which of m to label next: open, and unlike others."""

from __future__ import annotations

import numpy as np

ALIKE = 1e-4
"""The distance, 1 - cosine, up to which two sounds are one: who has heard the one has heard the other."""


def openness(opinion: np.ndarray, *, several: bool = False) -> np.ndarray:
    """(m, K) shares of belief -> (m,) from 0 to 1: how open it is what a clip is.

    1 - (p1 - p2), p1 and p2 the likeliest two classes; of several labels the class that is nearest to 1/2 counts, by
    1 - |2 p - 1|. 1 where there is nothing to choose between.
    """
    opinion = opinion.astype(np.float64)
    if several:
        return (1.0 - np.abs(2.0 * opinion - 1.0)).max(1, initial=0.0)
    if opinion.shape[1] < 2:
        return np.ones(len(opinion))
    second, first = np.sort(opinion, axis=1)[:, -2:].T
    return 1.0 - (first - second)


def suggest(weight: np.ndarray, feature: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """(m,) weights, (m, D) features, (n, D) features of what has a label -> at most `count` rows of m, in turn.

    Each is the row whose weight times its distance to the nearest of those known, and of those taken before, is the
    largest: the greedy cover of Sener and Savarese (2018, algorithm 1) drawn to where the answer is open. Distance is
    1 - cosine. Of sounds that are alike one is taken, and of those that are like a known one none.
    """
    unit, near = _unit(feature), _unit(known)
    far = 1.0 - (unit @ near.T).max(1) if len(near) else np.ones(len(unit))
    taken: list[int] = []
    while len(taken) < count and (far > ALIKE).any():
        best = int(np.argmax(np.where(far > ALIKE, weight * far, -1.0)))
        taken.append(best)
        far = np.minimum(far, 1.0 - unit @ unit[best])
    return np.array(taken, dtype=np.int64)


def _unit(feature: np.ndarray) -> np.ndarray:
    feature = feature.astype(np.float64)
    return feature / np.maximum(np.linalg.norm(feature, axis=1, keepdims=True), 1e-12)
