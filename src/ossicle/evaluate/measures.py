"""(n, K) probabilities or (n, D) features and (n,) or (n, K) targets -> what they are worth. NumPy and scikit-learn.

A target is a class number, -1 where unknown, or for several labels a clip a row of 0 and 1, NaN where unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def known(target: np.ndarray) -> np.ndarray:
    """(n,) bool: whose target is known."""
    return target >= 0 if target.ndim == 1 else ~np.isnan(target).any(1)


def as_table(target: np.ndarray, classes: int) -> np.ndarray:
    """(n,) class numbers or (n, K) rows, all known -> (n, K) float32 of 0 and 1."""
    if target.ndim == 2:
        return target.astype(np.float32)
    return np.eye(classes, dtype=np.float32)[target]


def metrics(
    probability: np.ndarray, target: np.ndarray, labels: Sequence[str], *, multilabel: bool = False
) -> dict[str, Any]:
    """What there is to say of (n, K) probabilities. Clips of unknown target are left out.

    One label a clip: accuracy, class_accuracy (the mean of the classes' recalls), nll and confusion (row: truth).
    Several, which are predicted from 0.5 on: AUC, the mean of the classes' areas under the ROC curve (`auc`), and
    d_prime of it. Always: mAP and, per class, precision, recall, average precision and support. A class without test
    clips is `absent` and part of no mean, and one that every clip has is part of AUC's neither; what cannot be told is
    None. Raises ValueError when no clip has a known target.
    """
    keep = known(target)
    if not keep.any():
        raise ValueError("there is nothing to score: no clip has a known label")
    probability, target = probability[keep].astype(np.float64), target[keep]
    truth = as_table(target, len(labels)) > 0.5
    guess = probability >= 0.5 if multilabel else as_table(probability.argmax(1), len(labels)) > 0.5
    per_class = {
        label: _of_class(*columns) for label, *columns in zip(labels, truth.T, guess.T, probability.T, strict=True)
    }
    present = [row for row in per_class.values() if row["support"]]
    summary: dict[str, Any] = {"clips": len(target)}
    if not multilabel:
        summary |= _of_choice(probability, target)
        summary["class_accuracy"] = float(np.mean([row["recall"] for row in present]))
    if multilabel:
        summary |= _of_ranks(probability, truth, per_class)
    summary["mAP"] = float(np.mean([row["ap"] for row in present])) if present else None
    summary["absent"] = [label for label, row in per_class.items() if not row["support"]]
    return summary | {"classes": per_class}


def _of_class(truth: np.ndarray, guess: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import average_precision_score

    hits = int((truth & guess).sum())
    return {
        "precision": hits / int(guess.sum()) if guess.any() else None,
        "recall": hits / int(truth.sum()) if truth.any() else None,
        "ap": float(average_precision_score(truth, probability)) if truth.any() else None,
        "support": int(truth.sum()),
    }


def _of_ranks(probability: np.ndarray, truth: np.ndarray, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """AUC and d_prime over the classes, each one's `auc` put into its row."""
    from sklearn.metrics import roc_auc_score

    for row, own, score in zip(rows.values(), truth.T, probability.T, strict=True):
        row["auc"] = float(roc_auc_score(own, score)) if own.any() and not own.all() else None
    areas = [row["auc"] for row in rows.values() if row["auc"] is not None]
    mean = float(np.mean(areas)) if areas else None
    return {"AUC": mean, "d_prime": None if mean is None else d_prime(mean)}


def d_prime(auc: float) -> float | None:
    """How many deviations apart the scores of clips with and without a class are, were both normal: sqrt(2) z(AUC).

    z is the normal distribution's quantile (Hershey et al. 2017). None where nothing overlaps, AUC is 0 or 1.
    """
    from scipy.special import ndtri

    return float(np.sqrt(2) * ndtri(auc)) if 0 < auc < 1 else None


def _of_choice(probability: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import confusion_matrix

    guess = probability.argmax(1)
    own = probability[np.arange(len(target)), target]
    return {
        "accuracy": float((guess == target).mean()),
        "nll": float(-np.log(np.maximum(own, 1e-12)).mean()),
        "confusion": confusion_matrix(target, guess, labels=range(probability.shape[1])).tolist(),
    }


def correct(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n,) float: 1 where the likeliest class is the target; for several labels, the share of classes told rightly."""
    if target.ndim == 1:
        return (probability.argmax(1) == target).astype(np.float64)
    return ((probability >= 0.5) == (target > 0.5)).mean(1)


def knn(
    bank_feature: np.ndarray,
    bank_target: np.ndarray,
    feature: np.ndarray,
    *,
    classes: int,
    k: int = 5,
    sigma: float = 0.07,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """(m, D) bank, its targets, (n, D) features -> (n, K) float32 shares of the votes of each one's k nearest.

    Nearness is the cosine s, a vote weighs exp(s / sigma) (Wu et al. 2018, section 3.4). Bank rows of unknown target
    have no vote; nor, where `groups` tells the recordings (m,) of the bank and (n,) of the features, has a row of the
    same recording, and who is left without a neighbor gets zeros. Raises ValueError on an empty bank, and on k or sigma
    that are not positive.
    """
    if k < 1 or not sigma > 0:
        raise ValueError(f"k = {k} and sigma = {sigma:g}: at least one neighbor votes, with a positive sigma")
    keep = known(bank_target)
    if not keep.any():
        raise ValueError("no neighbor can vote: no clip of the bank has a known label")
    bank, vote = _unit(bank_feature[keep]), as_table(bank_target[keep], classes)
    k = min(k, len(bank))
    shares = np.empty((len(feature), classes), dtype=np.float32)
    for start in range(0, len(feature), 512):
        cosine = _unit(feature[start : start + 512]) @ bank.T
        if groups is not None:
            cosine[groups[1][start : start + 512, None] == groups[0][keep]] = -np.inf
        nearest = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(cosine, nearest, 1)
        weight = np.exp((near - np.maximum(near.max(1, keepdims=True), -1.0)) / sigma)
        weight /= np.maximum(weight.sum(1, keepdims=True), 1e-12)
        shares[start : start + 512] = np.einsum("nk,nkc->nc", weight, vote[nearest])
    return shares


def within_to_between(
    feature: np.ndarray, target: np.ndarray, group: np.ndarray, *, classes: int
) -> list[float | None]:
    """(n, D) features, their targets, (n,) recordings -> of each class, how far it spreads for how far others are.

    The distance of two clips is 1 - s, s the cosine of their features. Within: its mean over pairs of the class's clips
    from different recordings. Between: its mean over pairs of a clip of the class and one of other classes. The ratio
    within / between is near 0 where a class lies together and far from others, and 1 where it lies spread among them.
    None for a class of one recording or without others, and where all features are alike.
    """
    keep = known(target)
    unit, truth = _unit(feature[keep]), as_table(target[keep], classes) > 0.5
    return [_spread(unit[own], unit[~own], group[keep][own]) for own in truth.T]


def _spread(own: np.ndarray, others: np.ndarray, group: np.ndarray) -> float | None:
    """By sums of unit vectors: the cosines of all pairs of two sets add up to the product of the sets' sums."""
    names, member = np.unique(group, return_inverse=True)
    each = np.zeros((len(names), own.shape[1]))
    np.add.at(each, member, own)
    total, pairs = own.sum(0), len(own) ** 2 - np.square(np.bincount(member)).sum()
    if not pairs or not len(others):
        return None
    within = 1.0 - (total @ total - np.square(each).sum()) / pairs
    between = 1.0 - total @ others.sum(0) / (len(own) * len(others))
    return float(within / between) if between > 1e-9 else None


def _unit(feature: np.ndarray) -> np.ndarray:
    feature = feature.astype(np.float64)
    return feature / np.maximum(np.linalg.norm(feature, axis=1, keepdims=True), 1e-12)


def linear_probe(
    train_feature: np.ndarray, train_target: np.ndarray, feature: np.ndarray, *, classes: int, seed: int = 0
) -> np.ndarray:
    """(m, D) features, their targets, (n, D) features -> (n, K) float32: logistic regression on standardized features.

    Classes without a training clip get probability 0. Raises ValueError when no training clip has a known target.
    """
    from sklearn.preprocessing import StandardScaler

    keep = known(train_target)
    if not keep.any():
        raise ValueError("a linear probe cannot be fitted: no training clip has a known label")
    if not len(feature):
        return np.zeros((0, classes), np.float32)
    scale = StandardScaler().fit(train_feature[keep])
    train, target, test = scale.transform(train_feature[keep]), train_target[keep], scale.transform(feature)
    if target.ndim == 2:
        columns = [_regression(train, column > 0.5, test, 2, seed)[:, 1] for column in target.T]
        return np.stack(columns, 1).astype(np.float32)
    return _regression(train, target, test, classes, seed).astype(np.float32)


def _regression(train: np.ndarray, target: np.ndarray, test: np.ndarray, classes: int, seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    probability = np.zeros((len(test), classes))
    found = np.unique(target).astype(int)
    if len(found) == 1:
        probability[:, found[0]] = 1.0
    else:
        fitted = LogisticRegression(max_iter=5000, random_state=seed).fit(train, target.astype(int))
        probability[:, found] = fitted.predict_proba(test)
    return probability


def temperature(
    logits: np.ndarray, target: np.ndarray, *, multilabel: bool = False, clip: np.ndarray | None = None
) -> float:
    """The T, from 0.05 to 20, for which the probabilities of (m, K) logits / T are likeliest (Guo et al. 2017).

    `clip` (m,) says which of the (n,) or (n, K) targets a row is a window of: a clip's probability is its windows'
    mean. 1 when no target is known.
    """
    from scipy.optimize import minimize_scalar

    clip = np.arange(len(logits)) if clip is None else clip
    keep = known(target)[clip]
    if not keep.any():
        return 1.0
    rows, windows = np.unique(clip[keep], return_inverse=True)
    truth = as_table(target[rows], logits.shape[1])

    def nll(log_t: float) -> float:
        probability = _probability(logits[keep] / np.exp(log_t), multilabel)
        mean = np.zeros(truth.shape)
        np.add.at(mean, windows, probability)
        mean = np.clip(mean / np.bincount(windows)[:, None], 1e-12, 1.0 - 1e-12)
        misses = (1 - truth) * np.log1p(-mean) if multilabel else 0.0
        return -float((truth * np.log(mean) + misses).sum()) / len(rows)

    found = minimize_scalar(nll, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def _probability(logits: np.ndarray, multilabel: bool) -> np.ndarray:
    from scipy.special import expit, softmax

    return expit(logits.astype(np.float64)) if multilabel else softmax(logits.astype(np.float64), axis=1)
