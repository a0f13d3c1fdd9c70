"""(n, D) features, (n,) or (n, K) labels, some wrong -> (n, K) what each clip sounds like to the labels of others.

A clip never speaks for itself, nor do others of its recording: who has learned a wrong label believes in it, and those
who sound like it do not.
"""

from __future__ import annotations

import numpy as np

from ossicle.evaluate.measures import as_table, knn, known, linear_probe

NEIGHBORS = 20
"""How many are asked. Chosen by `benchmarks/review.py --choose`."""


def opinions(feature: np.ndarray, target: np.ndarray, group: np.ndarray, *, classes: int) -> np.ndarray:
    """(n, D) features, their targets, (n,) recordings -> (n, K) float32: shares of the votes of the nearest clips.

    A neighbor of cosine s votes with exp(s / 0.07) (Wu et al. 2018, section 3.4; on wrong labels Bahri et al. 2020,
    "Deep k-NN for noisy labels"). None is of the clip's own recording, nor of unknown target. ValueError where all
    are unknown.
    """
    return knn(feature, target, feature, classes=classes, k=NEIGHBORS, groups=(group, group))


def told_by(feature: np.ndarray, target: np.ndarray, asked: np.ndarray, *, classes: int) -> np.ndarray:
    """(n, D) features, their targets, (m, D) features of other recordings -> (m, K) float32: shares of belief.

    The mean of the nearest clips' votes and of a linear probe: few labels make votes alone too sure.
    """
    vote = knn(feature, target, asked, classes=classes, k=NEIGHBORS)
    return (vote + linear_probe(feature, target, asked, classes=classes)) / 2


def recordings(target: np.ndarray, group: np.ndarray, *, classes: int) -> np.ndarray:
    """(n,) or (n, K) targets and (n,) recordings -> (K,) how many recordings each class is known in."""
    told = known(target)
    names, recording = np.unique(group[told], return_inverse=True)
    counts = np.zeros((len(names), classes))
    np.add.at(counts, recording, as_table(target[told], classes))
    return (counts > 0).sum(0)


def doubt(opinion: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n, K) opinions, targets -> (n,) from 0 to 1: how little is believed of the label given; NaN where unknown.

    That is 1 - p of the class given (Northcutt et al. 2021, "Confident learning": self-confidence). Of several labels
    it is the largest of 1 - p over the classes that are there and p over those that are not.
    """
    told = known(target)
    truth = as_table(target[told], opinion.shape[1]) > 0.5
    against = np.where(truth, 1.0 - opinion[told], opinion[told] if target.ndim == 2 else 0.0)
    found = np.full(len(target), np.nan)
    found[told] = against.max(1)
    return found
