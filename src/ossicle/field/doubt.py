"""(n, D) features, (n,) or (n, K) labels, some wrong -> (n, K) what each clip sounds like to the labels of others.

A clip never speaks for itself, nor do others of its recording: who has learned a wrong label believes in it, and those
who sound like it do not.
"""

from __future__ import annotations

import numpy as np

from ossicle.data.dealing import deal
from ossicle.evaluate.measures import as_table, knn, known, linear_probe

NEIGHBORS = 20
FOLDS = 5


def opinions(feature: np.ndarray, target: np.ndarray, group: np.ndarray, *, classes: int) -> np.ndarray:
    """(n, D) features, their targets, (n,) recordings -> (n, K) float32: the mean of two opinions of other recordings.

    One is the weighted vote of the nearest clips (Wu et al. 2018, section 3.4); the other is told by linear probes,
    each fitted without a fifth of the recordings and asked about those (Northcutt et al. 2021, "Confident learning",
    section 3). Rows of unknown target are asked, not heard. ValueError where fewer than two recordings are known.
    """
    vote = knn(feature, target, feature, classes=classes, k=NEIGHBORS, groups=(group, group))
    fold = _folds(target, group, classes)
    probed = np.zeros_like(vote)
    for one in np.unique(fold):
        asked = fold == one
        probed[asked] = linear_probe(feature[~asked], target[~asked], feature[asked], classes=classes)
    return (vote + probed) / 2


def told_by(feature: np.ndarray, target: np.ndarray, asked: np.ndarray, *, classes: int) -> np.ndarray:
    """(n, D) features, their targets, (m, D) features of other recordings -> (m, K) float32, the same two opinions."""
    vote = knn(feature, target, asked, classes=classes, k=NEIGHBORS)
    return (vote + linear_probe(feature, target, asked, classes=classes)) / 2


def _folds(target: np.ndarray, group: np.ndarray, classes: int) -> np.ndarray:
    """(n,) one of five folds for each clip, no recording in two, each class spread evenly."""
    names, recording = np.unique(group, return_inverse=True)
    counts, told = np.zeros((len(names), classes + 1)), known(target)
    np.add.at(counts[:, :classes], recording[told], as_table(target[told], classes))
    counts[:, classes] = np.bincount(recording, minlength=len(names))  # those without labels are asked too
    if len(np.unique(group[told])) < 2:
        raise ValueError("fewer than two recordings have labels: there is no other to ask about any of them")
    return deal(counts, np.random.default_rng(0).random(len(names)), min(FOLDS, len(names)))[recording]


def recordings(target: np.ndarray, group: np.ndarray, *, classes: int) -> np.ndarray:
    """(n,) or (n, K) targets and (n,) recordings -> (K,) how many recordings each class is known in."""
    told = known(target)
    names, recording = np.unique(group[told], return_inverse=True)
    counts = np.zeros((len(names), classes))
    np.add.at(counts, recording, as_table(target[told], classes))
    return (counts > 0).sum(0)


def doubt(opinion: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n, K) opinions, targets -> (n,) from 0 to 1: how little is believed of the label given; NaN where unknown.

    That is 1 - p of the given class (Northcutt et al. 2021: self-confidence). Of several labels it is the largest of
    1 - p over the classes that are there and p over those that are not.
    """
    told = known(target)
    truth = as_table(target[told], opinion.shape[1]) > 0.5
    against = np.where(truth, 1.0 - opinion[told], opinion[told] if target.ndim == 2 else 0.0)
    found = np.full(len(target), np.nan)
    found[told] = against.max(1)
    return found
