"""A model and a part of its data -> rows for its log and, at its end, what it is worth on its validation part.

An encoder is scored by what it learned from: nearest neighbors, and at the end a linear probe too, which takes longer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ossicle.data.loader import Source
from ossicle.data.manifest import Manifest
from ossicle.evaluate import answers
from ossicle.evaluate.measures import knn, known, linear_probe, metrics
from ossicle.evaluate.predict import Prediction, calibrate, embed, predict
from ossicle.model import Backbone, Classifier


def watch(model: Backbone | Classifier, train: Source, valid: Source, *, hop: float | None = None) -> dict[str, Any]:
    """A row for the log: how a classifier, or 5-NN on an encoder with the training part as bank, does on validation.

    No clip is a neighbor of one of its own recording; official folds share few recordings, and folds made here none.
    """
    return {f"valid_{name}": value for name, value in glance(model, train, valid, hop=hop).items()}


def validate(
    model: Backbone | Classifier,
    train: Source,
    valid: Source,
    folder: Path,
    *,
    fold: int | None = None,
    hop: float | None = None,
) -> dict[str, Any]:
    """What a run's result says of its validation part when it is finished: `temperature`, to which a classifier is set,
    and under `valid` the row of `watch`, for an encoder with what a linear probe makes of its features
    ("valid_linear_accuracy" and so on). The probe learns from no recording that it is asked about.

    The answers are kept in predictions-valid.csv, a probe's in predictions-valid-linear_probe.csv, both with the test
    `fold` of the run.
    """
    fitted = {"temperature": calibrate(model, valid, hop=hop)} if isinstance(model, Classifier) else {}
    found = _answered(model, train, valid, hop, probed=True)
    for way, prediction in found.items():
        place = folder / answers.VALID[way]
        answers.write(place, valid.manifest, prediction.probability, prediction.valid, fold=fold)
    return fitted | {"valid": {f"valid_{name}": value for name, value in _told(valid.manifest, found).items()}}


def glance(model: Backbone | Classifier, train: Source, part: Source, *, hop: float | None = None) -> dict[str, Any]:
    """Scores of a part, `knn_` before the names of an encoder's; nothing where no label is known."""
    return _told(part.manifest, _answered(model, train, part, hop))


def score(part: Manifest, found: Prediction) -> dict[str, Any]:
    """`metrics` of the clips that could be heard."""
    keep = found.valid
    return metrics(found.probability[keep], part.targets()[keep], part.classes, multilabel=part.multilabel)


def _answered(
    model: Backbone | Classifier, train: Source, part: Source, hop: float | None, *, probed: bool = False
) -> dict[str, Prediction]:
    """The answers by what gave them: "" for a classifier, "knn" and, where asked, "linear" for an encoder."""
    target, bank_target = part.manifest.targets(), train.manifest.targets()
    if not known(target).any() or not known(bank_target).any():
        return {}
    if isinstance(model, Classifier):
        found = {"": predict(model, part, hop=hop)}
    else:
        bank, heard = embed(model, train, hop=hop)
        feature, valid = embed(model, part, hop=hop)
        known_of, group = (bank[heard], bank_target[heard], feature), train.manifest.groups()[heard]
        asked, classes = part.manifest.groups(), len(train.manifest.classes)
        found = {"knn": Prediction(knn(*known_of, classes=classes, groups=(group, asked)), feature, valid)}
        apart = ~np.isin(group, asked)
        if probed and known(bank_target[heard][apart]).any():
            probe = linear_probe(bank[heard][apart], bank_target[heard][apart], feature, classes=classes)
            found["linear"] = Prediction(probe, feature, valid)
    return {way: each for way, each in found.items() if known(target[each.valid]).any()}


def _told(part: Manifest, found: dict[str, Prediction]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for way, prediction in found.items():
        names = ("accuracy", "class_accuracy", "mAP", *(() if way else ("AUC", "d_prime", "nll")))
        whole = score(part, prediction)
        row |= {f"{way}_{name}".lstrip("_"): whole[name] for name in names if whole.get(name) is not None}
    return row
