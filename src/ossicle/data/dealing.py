"""How clips are dealt out recording by recording: into folds or a share (R, K) -> (R,), and in turns (n,) -> (n,)."""

from __future__ import annotations

import math

import numpy as np

from ossicle import draw


def deal(counts: np.ndarray, chance: np.ndarray, n: int) -> np.ndarray:
    """(R, K) counts and (R,) random numbers -> (R,) fold numbers from 1 to n; 0 for a recording that counts nothing.

    Greedy, largest recording first, `chance` deciding among equals. With each class weighing 1 / its total, adding g to
    fold f raises the sum of squares by 2 f.g + g.g; so the fold that keeps the classes most even is the one with the
    least f.g, and among equals the smallest.
    """
    size = counts.sum(1)
    weight = 1.0 / np.maximum(counts.sum(0), 1.0)
    fold, held = np.zeros(len(counts), np.int64), np.zeros((n, counts.shape[1]))
    for recording in np.lexsort((chance, -size))[: np.count_nonzero(size)]:
        best = int(np.lexsort((held.sum(1), held @ (counts[recording] * weight)))[0])
        held[best] += counts[recording]
        fold[recording] = best + 1
    return fold


def some(counts: np.ndarray, chance: np.ndarray, share: float) -> np.ndarray:
    """(R, K) counts and (R,) random numbers -> (R,) bool: recordings that together hold that share of every class.

    In the order of their chance, each is taken that fits: no class gives more than its share, to the nearest clip.
    """
    room = np.rint(share * counts.sum(0))
    taken = np.zeros(len(counts), dtype=bool)
    for recording in np.argsort(chance, kind="stable"):
        if counts[recording].any() and (counts[recording] <= room).all():
            room -= counts[recording]
            taken[recording] = True
    return taken


def share(groups: np.ndarray, part: float, seed: int) -> np.ndarray:
    """(n,) recordings' names in numbers -> (n,) bool: the clips of that part of the recordings, one at least.

    Whatever the labels. A recording's chance is its own, so a smaller part of the same recordings is in a larger one.
    """
    names = np.unique(groups)
    chance = draw.uniform(names, seed=seed, name="share")
    taken = names[np.argsort(chance, kind="stable")[: math.ceil(round(part * len(names), 9))]]
    return np.isin(groups, taken)


def turns(recording: np.ndarray, clip_chance: np.ndarray, recording_chance: np.ndarray) -> np.ndarray:
    """(n,) recording numbers and random numbers of clips and of their recordings -> (n,) an order of the clips.

    Every recording has its first turn before any has its second; recordings come in the order of their chance, and the
    clips of one in the order of theirs.
    """
    order = np.lexsort((clip_chance, recording))
    sorted_recording = recording[order]
    turn = np.arange(len(order)) - np.searchsorted(sorted_recording, sorted_recording)
    return order[np.lexsort((recording_chance[order], turn))]
