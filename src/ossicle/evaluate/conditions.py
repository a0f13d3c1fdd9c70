"""Answers to a part -> the same scores device by device and city by city, where its clips tell these of themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from ossicle.data.manifest import Manifest
from ossicle.evaluate.glance import score
from ossicle.evaluate.measures import known
from ossicle.evaluate.predict import Prediction

CONDITIONS = ("device", "city")
"""What `Clip.meta` may tell of how and where a clip was recorded."""
SCORES = ("clips", "accuracy", "class_accuracy", "mAP")


def by_condition(part: Manifest, found: Prediction, learned: Manifest | None = None) -> dict[str, Any]:
    """`{"device": {"a": {"clips": 330, "accuracy": 0.7, "class_accuracy": 0.69, "mAP": 0.72}, ...}, "city": ...}`.

    Of several labels a clip there is mAP alone. `class_accuracy` and mAP are means over the classes that were met under
    a condition. Where it is known what was `learned` from, `new` says that nothing of it was recorded so, as DCASE's
    task 1 tells its unseen devices and cities. A condition that no clip tells is left out, and so are clips which do
    not tell it.
    """
    asked = found.valid & known(part.targets())
    told = {}
    for name in CONDITIONS:
        value = np.array([str(clip.meta.get(name, "")) for clip in part.clips], dtype=object)
        seen = None if learned is None else {str(clip.meta.get(name, "")) for clip in learned.clips}
        rows = {each: np.flatnonzero(asked & (value == each)) for each in sorted(set(value[asked])) if each}
        told[name] = {
            each: _scores(part, found, own) | ({} if seen is None else {"new": each not in seen})
            for each, own in rows.items()
        }
    return {name: scores for name, scores in told.items() if scores}


def _scores(part: Manifest, found: Prediction, rows: np.ndarray) -> dict[str, Any]:
    whole = score(part.select(rows), Prediction(found.probability[rows], found.feature[rows], found.valid[rows]))
    return {name: whole[name] for name in SCORES if name in whole}
