"""Classifier -> a bundle: a folder that answers on a device as the model did where it was trained, or no folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ossicle import __version__
from ossicle.deploy.check import Report, check, cut, eager, waves
from ossicle.deploy.config import CONFIG, GOLDEN, MODEL, THRESHOLDS, Config, file_entry
from ossicle.deploy.onnx import OPSET, as_float32, to_onnx
from ossicle.durable import flush
from ossicle.model import Classifier


class ExportError(ValueError):
    """A bundle that is not written: its answers would not be the model's, or something else is in its place."""


def export(
    classifier: Classifier,
    folder: str | Path,
    *,
    clips: Mapping[str, np.ndarray] | None = None,
    provenance: Mapping[str, Any] | None = None,
    thresholds: Mapping[str, Any] | None = None,
    hop: int | None = None,
) -> Report:
    """Write a bundle, checked before it stands in its place; a bundle that was there is replaced, other files are not.

    `clips` (name -> (C, T) at the model's rate) are checked too, and the first is kept among the golden clips. `hop` is
    the stream's step in samples (default: half a window). Raises ExportError where the check fails, and leaves nothing.
    """
    folder = Path(folder)
    _refuse_strangers(folder)
    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        _write(classifier, new, clips or {}, provenance or {}, thresholds or {}, hop)
        report = check(classifier, new, clips=clips)
        if not report.ok:
            raise ExportError(f"{folder} was not written: the exported model is {report}")
        _put(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return report


def _write(
    classifier: Classifier,
    folder: Path,
    clips: Mapping[str, np.ndarray],
    provenance: Mapping[str, Any],
    thresholds: Mapping[str, Any],
    hop: int | None,
) -> None:
    config = Config(
        sample_rate=classifier.sample_rate,
        channels=classifier.channels,
        window=classifier.window,
        hop=hop or max(1, classifier.window // 2),
        policy=classifier.policy,
        labels=classifier.labels,
        multilabel=classifier.multilabel,
        thresholds={**THRESHOLDS, **thresholds},
        provenance=dict(provenance),
        versions=_versions(),
    )
    to_onnx(classifier, folder / MODEL)
    _write_golden(classifier, folder / GOLDEN, config, clips)
    files = {name: file_entry((folder / name).read_bytes()) for name in (MODEL, GOLDEN)}
    replace(config, files=files).write(folder)


def _write_golden(classifier: Classifier, path: Path, config: Config, clips: Mapping[str, np.ndarray]) -> None:
    """The first windows of noise, a tone and a real clip, with all that the trained model makes of them on the way."""
    kept = {name: wave for name, wave in waves(config, clips).items() if name in ("noise", "tone", *list(clips)[:1])}
    windows = np.concatenate([cut(wave, config)[1][:1] for wave in kept.values()])
    arrays: dict[str, Any] = {"name": np.array(list(kept)), "wave": windows, **eager(as_float32(classifier), windows)}
    np.savez_compressed(path, **arrays)
    flush(path)


def _versions() -> dict[str, str]:
    import onnx
    import onnxruntime

    others = {module.__name__: module.__version__ for module in (torch, onnx, onnxruntime, np)}
    return {"ossicle": __version__, "opset": str(OPSET)} | others


def _refuse_strangers(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not _is_bundle(folder)):
        raise ExportError(f"{folder} holds something that is no bundle and is not replaced; choose another folder")


def _is_bundle(folder: Path) -> bool:
    return {item.name for item in folder.iterdir()} <= {MODEL, CONFIG, GOLDEN}


def _put(new: Path, folder: Path) -> None:
    """Rename into place; a reader finds the old bundle or the new one, or for an instant none."""
    flush(new)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    flush(folder.parent)
