"""A classifier's answers about an evaluation set, as DCASE's acoustic scene classification (task 1) takes them.

Until 2019 a submission is a line a clip, its file and its scene, without a header. From 2020 on it has the header
`filename`, `scene_label` and the classes, and the classes' probabilities in every line. Tabs are between cells, and
files are named without the folder `audio/` that holds them.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ossicle import durable, recipe
from ossicle.data.cache import Cache
from ossicle.data.loader import Source, prepare
from ossicle.data.manifest import Manifest
from ossicle.evaluate.exam import EvaluationError
from ossicle.evaluate.predict import predict
from ossicle.model import Classifier, load
from ossicle.run import Run

SCORED_SINCE = 2020


def submit(
    folder: str | Path,
    manifest: Manifest,
    out: str | Path,
    *,
    year: int = SCORED_SINCE,
    hop: float | None = None,
    cache: Cache | None = None,
) -> Path:
    """Writes what a run answers to every clip of a manifest, in the form of the challenge of that year; its path.

    Nothing is scored, and labels are not looked at. A clip longer than a window is heard as `final` hears it. Raises
    EvaluationError where the run is not finished, knows no classes or several a clip, or cannot hear a clip: a
    submission leaves none out.
    """
    run = Run.open(folder)
    model = load(folder) if run.done else None
    if not isinstance(model, Classifier) or model.multilabel:
        raise EvaluationError(f"{folder} is no finished recognizer of one class a clip: a submission needs one")
    followed, cache, part = recipe.from_dict(run.recipe), cache or Cache(), manifest.unlabelled()
    prepared = prepare(part, cache, sample_rate=model.sample_rate, channels=model.channels, max_bad=1.0)
    if prepared.bad:
        first = next(iter(prepared.bad.values()))
        raise EvaluationError(
            f"{len(prepared.bad)} files cannot be heard, and a submission leaves none out; the first is {first.path}: "
            f"{first.reason}. Fetch them anew."
        )
    found = predict(
        model,
        Source(part, cache, model.sample_rate, model.channels),
        hop=followed.hop if hop is None else hop,
    )
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    if year >= SCORED_SINCE:
        rows.writerow(("filename", "scene_label", *model.labels))
    for clip, row in zip(part.clips, found.probability, strict=True):
        scores = (f"{value:.6f}" for value in row) if year >= SCORED_SINCE else ()
        rows.writerow((clip.name.removeprefix("audio/"), model.labels[int(row.argmax())], *scores))
    durable.write(Path(out), text.getvalue().encode())
    return Path(out)
