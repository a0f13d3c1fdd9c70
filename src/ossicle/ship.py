"""A finished run -> a bundle: checked on sounds of the run's own, with where it came from written inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ossicle import audio, recipe
from ossicle.data.cache import Cache
from ossicle.datasets import DATASETS
from ossicle.durable import read_json
from ossicle.run import Run, RunError, is_run

if TYPE_CHECKING:
    from ossicle.data.loader import Batch, Source
    from ossicle.data.manifest import Manifest
    from ossicle.deploy.bundle import Recognizer
    from ossicle.deploy.check import Report
    from ossicle.deploy.memory import Memory
    from ossicle.deploy.quantize import Standard
    from ossicle.model import Classifier

CLIPS = 8
CALIBRATION = 128
"""Windows of training clips by which the ranges of a model of 8 bit are set."""
JUDGED = 400
"""Clips on which it is compared with the model of float32, and by which updates on a device are judged."""
REMEMBERED, EACH, HEARD = 2048, 32, 8
"""What a bundle remembers of what was learned: so many clips at most, of each class, and windows of each clip."""


def ship(
    folder: str | Path,
    bundle: str | Path,
    *,
    thresholds: Mapping[str, Any] | None = None,
    hop: float | None = None,
    frontend: bool = True,
    int8: bool | None = None,
) -> Report:
    """Exports the classifier of a run (or of a model's folder); `hop` is the stream's step in seconds.

    Without the `frontend` the model takes images, and frontend.json says how to work them out. A model of 8 bit stands
    beside it if `int8`, which None leaves to whether the clips are there that the run learned from.

    Up to 8 clips of the run's data, where that is still there, are among what the bundle is checked on. RunError where
    there is no finished classifier, ExportError where the bundle answers otherwise than the model.
    """
    if not Path(folder).is_dir():
        raise RunError(f"{folder} is not there: give the folder of a finished run, or of a model")
    from ossicle.deploy.export import export
    from ossicle.model import Classifier, load

    if is_run(folder) and not Run.open(folder).done:
        raise RunError(f"{folder} is not finished: start it again with the same command, and export it then")
    model = load(folder)
    if not isinstance(model, Classifier):
        raise RunError(
            f"{folder} is an encoder that knows no classes: ossicle train DATA --from {folder}, and export that"
        )
    step = None if hop is None else max(1, round(hop * model.sample_rate))
    known = provenance(Path(folder)) if is_run(folder) else {}
    how: dict[str, Any] = {"thresholds": thresholds, "hop": step, "frontend": frontend}
    how["memory"] = memory(Path(folder), model)
    how["standard"] = None if int8 is False else standard(Path(folder), model, insist=int8 is True)
    return export(model, bundle, clips=samples(folder, model), provenance=known, **how)


def provenance(folder: Path) -> dict[str, Any]:
    """Where a run's model came from: its name, recipe, data, environment and result, and what its test said."""
    run = Run.open(folder)
    found = {"run": folder.name, "recipe": run.recipe, "data": run.data, "environment": run.environment}
    found["result"] = run.result
    test = folder / "evaluation.json"
    return found | ({"evaluation": read_json(test)} if test.exists() else {})


def samples(folder: str | Path, model: Classifier) -> dict[str, np.ndarray]:
    """(C, T) waves of a few clips that the run can name and read, one a class first; none where its data is gone."""
    waves: dict[str, np.ndarray] = {}
    if not is_run(folder):
        return waves
    try:
        manifest = recipe.from_dict(Run.open(folder).recipe).data.build(DATASETS)
    except ValueError:
        return waves
    for clip in manifest.few(1).clips if manifest.classes else manifest.clips:
        if len(waves) == CLIPS:
            break
        channels = "mix" if model.channels == 1 else model.channels
        try:
            waves[clip.name] = audio.read(
                clip.path, sample_rate=model.sample_rate, channels=channels, start=clip.start, stop=clip.stop
            )
        except audio.AudioError:
            continue
    return waves


def standard(folder: Path, model: Classifier, *, insist: bool = False) -> Standard | None:
    """What a model of 8 bit is calibrated by, clips that the run learned from, and judged on: its validation clips, or
    without any those too. None, or RunError where one insists, if they are not there as they were.
    """
    try:
        if not is_run(folder):
            raise RunError(f"{folder} is no run, so nothing tells what it learned from")
        return _standard(Run.open(folder), model)
    except (RunError, ValueError, OSError) as error:
        if insist:
            raise RunError(f"a model of 8 bit needs clips that the run learned from: {error}") from error
        return None


def _learned(run: Run) -> tuple[Manifest, Manifest]:
    """The labelled clips that a run learned from, and those that it held out to validate, if any."""
    from ossicle import material

    followed = recipe.from_dict(run.recipe)
    manifest = material.dealt(followed.data.build(DATASETS), followed)
    if manifest.fingerprint() != run.data["fingerprint"]:
        raise RunError(f"{manifest.name} has changed since {run.folder} learned from it")
    parts = material.divide(manifest, followed, supervised=followed.objective.name == "supervised")
    return parts.train.labelled(), parts.valid.labelled()


def memory(folder: Path, model: Classifier) -> Callable[[Recognizer], Memory] | None:
    """What a bundle remembers of the clips that a run learned from, so that its head can be refitted, and of others by
    which that is judged: its validation clips or, without any, others that it learned from. None where the run's clips
    are not there as they were.
    """
    try:
        if not is_run(folder):
            return None
        run = Run.open(folder)
        learned, held = _learned(run)
    except (RunError, ValueError, OSError):
        return None
    each = max(1, min(EACH, REMEMBERED // max(1, len(model.labels))))
    kept = learned.few(each)
    names = {(clip.name, clip.start) for clip in kept.clips}
    others = learned.select([(clip.name, clip.start) not in names for clip in learned.clips])
    guard, part = _some(held or others or kept, JUDGED), "validation" if len(held) else "training"
    hop = recipe.from_dict(run.recipe).hop
    return lambda recognizer: _remembered(recognizer, model, kept, hop, part).joined(
        replace(_remembered(recognizer, model, guard, hop, part), guard=np.ones(len(guard), bool))
    )


def _remembered(recognizer: Recognizer, model: Classifier, clips: Manifest, hop: float | None, part: str) -> Memory:
    """The features of the first windows of each clip that can be heard."""
    from ossicle.deploy.memory import Memory

    heard = np.zeros(len(clips), int)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for batch in _windows(_source(clips, model), model, hop):
        rows = batch.index.numpy()
        number = heard[rows] + [int(np.sum(rows[:place] == row)) for place, row in enumerate(rows)]
        np.add.at(heard, rows, 1)
        if (first := number < HEARD).any():
            found.append((rows[first], recognizer.scores(batch.wave.numpy()[first])[1]))
    if not found:
        raise RunError(f"not one of {len(clips)} clips could be read of which the bundle should remember something")
    clip, feature = (np.concatenate(each) for each in zip(*found, strict=True))
    there, clip = np.unique(clip, return_inverse=True)
    target = clips.select(there).targets()
    target = target > 0 if model.multilabel else target[:, None] == np.arange(len(model.labels))
    return Memory(feature, clip, target, np.zeros(len(there), bool), part)


def _standard(run: Run, model: Classifier) -> Standard:
    from ossicle.deploy.quantize import Standard

    followed = recipe.from_dict(run.recipe)
    learned, held = _learned(run)
    known, asked = _source(_some(learned, CALIBRATION), model), _source(_some(held or learned, JUDGED), model)
    waves = np.concatenate([batch.wave.numpy() for batch in _windows(known, model, None)])
    measure = "mAP" if model.multilabel else "accuracy"
    part = "validation" if len(held) else "training"
    return Standard(
        waves[:: -(-len(waves) // CALIBRATION)],
        lambda recognizer: _score(recognizer, asked, model, followed.hop, measure),
        {"measure": measure, "clips": len(asked.manifest), "part": part},
    )


def _some(part: Manifest, most: int) -> Manifest:
    """About so many clips, as many of each class."""
    return part.few(max(1, most // max(1, len(part.classes)))) if len(part) > most else part


def _source(part: Manifest, model: Classifier) -> Source:
    from ossicle.data.loader import Source, prepare

    cache = Cache()
    prepared = prepare(part, cache, sample_rate=model.sample_rate, channels=model.channels)
    return Source(part, cache, model.sample_rate, model.channels, frozenset(prepared.bad))


def _windows(source: Source, model: Classifier, hop: float | None) -> Iterator[Batch]:
    from ossicle.data.loader import windows

    apart = None if hop is None else max(1, round(hop * model.sample_rate))
    return windows(source, window=model.window, hop=apart, policy=model.policy, batch=16)


def _score(recognizer: Recognizer, source: Source, model: Classifier, hop: float | None, measure: str) -> float:
    """What a bundle's model reaches on clips: each one's answer is the mean over its windows, as in evaluation."""
    from ossicle.evaluate.glance import score
    from ossicle.evaluate.predict import Prediction

    shape = len(source.manifest), len(model.labels)
    total, count = np.zeros(shape, np.float32), np.zeros(shape[0])
    for batch in _windows(source, model, hop):
        np.add.at(total, batch.index.numpy(), recognizer.scores(batch.wave.numpy())[0])
        np.add.at(count, batch.index.numpy(), 1)
    found = Prediction(total / np.maximum(count, 1)[:, None].astype(np.float32), np.zeros((shape[0], 0)), count > 0)
    return float(score(source.manifest, found)[measure])
