"""predictions.csv: what a model answered to every clip that it was asked, so that two can be compared clip by clip."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ossicle.data.manifest import Manifest
from ossicle.evaluate.budgets import budget, uneven
from ossicle.evaluate.intervals import Interval, paired, paired_t
from ossicle.evaluate.measures import correct, known

FILE = "predictions.csv"
TEST = {"": FILE, "knn": FILE, "linear": "predictions-linear_probe.csv"}
"""The files of a run's test fold: by a classifier, or by an encoder's neighbors and linear probe."""
VALID = {"": "predictions-valid.csv", "knn": "predictions-valid.csv", "linear": "predictions-valid-linear_probe.csv"}
"""Those of its validation part."""
_TAKEN = ("valid", "linear_probe")  # what names a run's own files
HEADER = ["name", "start", "group", "fold", "target", "prediction", "correct"]


def write(
    path: str | Path, part: Manifest, probability: np.ndarray, valid: np.ndarray, *, fold: int | None = None
) -> None:
    """A line a clip that could be heard and whose labels are known: who it is, truth, answer, (n, K) probabilities.

    `correct` is 1 or 0, for several labels a clip the share of classes told rightly. Several labels are joined by a
    comma. `fold` stands for the clip's own: a validation part's clips bear the fold that their run is tested on, so
    that what one run was asked is not taken for what another one of the table was.
    """
    target = part.targets()
    right = correct(probability, target)
    with Path(path).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([*HEADER, *part.classes])
        for i in np.flatnonzero(valid & known(target)):
            clip, row = part.clips[i], probability[i]
            guess = row >= 0.5 if part.multilabel else np.arange(len(row)) == row.argmax()
            said = ",".join(label for label, chosen in zip(part.classes, guess, strict=True) if chosen)
            known_of = [
                clip.name,
                clip.start,
                clip.recording,
                clip.fold if fold is None else fold,
                ",".join(clip.labels),
                said,
                f"{right[i]:.6g}",
            ]
            writer.writerow([*known_of, *(f"{value:.6g}" for value in row)])


def tag(name: str) -> str:
    """What other data of this name adds to the names of files: `held: out/1` is `-held-out-1`, `valid` is `-valid_`."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-")
    return f"-{plain}_" if plain.startswith(_TAKEN) else f"-{plain}"


def read(path: str | Path) -> dict[tuple[str, str, str], tuple[str, float]]:
    """(fold, name, start) -> (recording, correct) of every clip in a predictions.csv."""
    with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        return {(row["fold"], row["name"], row["start"]): (row["group"], float(row["correct"])) for row in rows}


def compare(found: Iterable[str | Path], against: Iterable[str | Path]) -> dict[str, Any]:
    """How much better the runs in `found` answered than those `against`: folds side by side, seeds averaged. Each is a
    run's folder, for its predictions.csv, or another such file.

    "recordings": the paired bootstrap over recordings; "folds": the paired t, None with a single fold. Where the runs
    spent unlike on learning (`budgets`), their sentence names no winner, and `uneven` says in what. Raises ValueError
    when the two sides were not asked about the same clips.
    """
    sides = [[Path(place) for place in side] for side in (found, against)]
    (b, a), spent = map(_arm, sides), uneven(*map(budget, sides))
    if a.keys() != b.keys():
        odd = sorted(a.keys() ^ b.keys())
        raise ValueError(
            f"the two sides answered about different clips ({len(odd)} on one side only, {odd[0][1]!r} of fold "
            f"{odd[0][0]} for one): evaluate both on the same data and folds"
        )
    clips = sorted(a)
    better, worse = ([arm[clip][1] for clip in clips] for arm in (b, a))
    over = paired(np.array(worse), np.array(better), [a[clip][0] for clip in clips])
    folds = sorted({fold for fold, _, _ in clips})
    t = paired_t(_by_fold(a, folds), _by_fold(b, folds)) if len(folds) > 1 else None
    return {"recordings": _plain(over, spent), "folds": t and _plain(t, spent)}


def _arm(places: Iterable[Path]) -> dict[tuple[str, str, str], tuple[str, float]]:
    seen: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    recordings = {}
    for place in places:
        for clip, (recording, right) in read(place / FILE if place.is_dir() else place).items():
            seen[clip].append(right)
            recordings[clip] = recording
    return {clip: (recordings[clip], float(np.mean(right))) for clip, right in seen.items()}


def _by_fold(arm: dict[tuple[str, str, str], tuple[str, float]], folds: Sequence[str]) -> list[float]:
    return [float(np.mean([right for (own, _, _), (_, right) in arm.items() if own == fold])) for fold in folds]


def _plain(interval: Interval, spent: str) -> dict[str, Any]:
    if not spent:
        return asdict(interval) | {"sentence": interval.sentence}
    return asdict(interval) | {"sentence": f"at unequal budgets ({spent}): {interval.points}", "uneven": spent}
