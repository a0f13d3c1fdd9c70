"""A finished run -> a bundle: checked on sounds of the run's own, with where it came from written inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ossicle import audio, recipe
from ossicle.datasets import DATASETS
from ossicle.durable import read_json
from ossicle.run import Run, RunError, is_run

if TYPE_CHECKING:
    from ossicle.deploy.check import Report
    from ossicle.model import Classifier

CLIPS = 8


def ship(
    folder: str | Path,
    bundle: str | Path,
    *,
    thresholds: Mapping[str, Any] | None = None,
    hop: float | None = None,
    frontend: bool = True,
) -> Report:
    """Exports the classifier of a run (or of a model's folder); `hop` is the stream's step in seconds.

    Without the `frontend` the model takes images, and frontend.json says how to work them out.

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
