"""(m, K) opinions, (m, D) features, (n, D) of what has labels -> which of m to label next: open, and unlike others."""

from __future__ import annotations

import numpy as np

CLEAR = 0.01
"""What a sound counts at least, however clear it is what it is."""
ALIKE = 1e-4
"""The gain up to which a sound tells nothing new: who has heard those taken has heard it."""
ASKED = 2048
"""How many sounds speak for all where there are more."""


def openness(opinion: np.ndarray, *, several: bool = False) -> np.ndarray:
    """(m, K) shares of belief -> (m,) from 0 to 1: how open it is what a clip is.

    1 - (p1 - p2), p1 and p2 the likeliest two classes; of several labels the class that is nearest to 1/2 counts, by
    1 - |2 p - 1|. 1 where there is nothing to choose between.
    """
    opinion = opinion.astype(np.float64)
    if opinion.shape[1] < (1 if several else 2):
        return np.ones(len(opinion))
    if several:
        return (1.0 - np.abs(2.0 * opinion - 1.0)).max(1)
    second, first = np.sort(opinion, axis=1)[:, -2:].T
    return 1.0 - (first - second)


def suggest(weight: np.ndarray, feature: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """(m,) weights, (m, D) features, (n, D) features of what has a label -> at most `count` rows of m, in turn.

    Each is the row by which the sum over all sounds of weight times cosine to the nearest that has a label, or was
    taken, grows most: greedy facility location (Wei, Iyer and Bilmes 2015, "Submodularity in data subset selection and
    active learning", section 4), where sounds of which it is open what they are count for more. So one is taken out of
    the midst of many that are alike, not twice, and not where a known one is.
    """
    unit = _unit(feature)
    rows = np.unique(np.linspace(0, len(unit) - 1, min(len(unit), ASKED)).astype(int)) if len(unit) else np.arange(0)
    cosine, weight = unit[rows] @ unit.T, np.maximum(weight[rows], CLEAR)
    near = (unit[rows] @ _unit(known).T).max(1, initial=0.0)
    taken: list[int] = []
    while len(taken) < min(count, len(unit)):
        gain = weight @ np.maximum(cosine - near[:, None], 0.0)
        best = int(gain.argmax())
        if gain[best] <= ALIKE:
            break
        taken.append(best)
        near = np.maximum(near, cosine[:, best])
    return np.array(taken, dtype=np.int64)


def _unit(feature: np.ndarray) -> np.ndarray:
    feature = feature.astype(np.float32)
    return feature / np.maximum(np.linalg.norm(feature, axis=1, keepdims=True), 1e-12)
