"""Classifier -> a bundle: a folder that answers on a device as the model did where it was trained, or no folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ossicle import __version__, slots
from ossicle.deploy import example
from ossicle.deploy.bundle import Recognizer, recognizer
from ossicle.deploy.card import card
from ossicle.deploy.check import Report, check, cut, eager, waves
from ossicle.deploy.config import (
    CARD,
    CONFIG,
    EXAMPLE,
    FILES,
    FORMAT,
    FRONTEND,
    GOLDEN,
    INT8,
    MEMORY,
    MODEL,
    THRESHOLDS,
    Config,
    file_entry,
)
from ossicle.deploy.image import SAYS
from ossicle.deploy.memory import Memory, packed
from ossicle.deploy.onnx import OPSET, as_float32, to_onnx
from ossicle.deploy.quantize import Quantized, Standard, quantize
from ossicle.deploy.web import FOLDER, INDEX
from ossicle.durable import flush, write
from ossicle.model import Classifier
from ossicle.plain import json_text


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
    frontend: bool = True,
    standard: Standard | None = None,
    memory: Callable[[Recognizer], Memory] | None = None,
) -> Report:
    """Write a bundle, checked before it stands in its place; a bundle that was there is replaced, other files are not.

    `clips` (name -> (C, T) at the model's rate) are checked too, and the first is kept among the golden clips. `hop` is
    the stream's step in samples (default: half a window). Without the `frontend`, for firmware that works out images
    itself, the model takes these, and frontend.json says how they are made. With a `standard` there is a model of 8 bit
    too, unless none bears it. `memory` gives what the bundle's model makes of clips, for `ossicle adapt` to go by.
    Raises ExportError where the check fails, and leaves nothing.
    """
    folder = Path(folder).resolve()
    _refuse_strangers(folder)
    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        _write(classifier, new, clips or {}, provenance or {}, thresholds or {}, hop, frontend, standard, memory)
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
    frontend: bool,
    standard: Standard | None,
    memory: Callable[[Recognizer], Memory] | None,
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
        image=None if frontend else _image_shape(classifier),
    )
    to_onnx(classifier, folder / MODEL, frontend=frontend)
    if not frontend:
        _write_frontend(classifier, folder / FRONTEND, config)
    if memory is not None:
        write(folder / MEMORY, packed(memory(_exported(folder, config))))
    small = None if standard is None else _write_int8(folder, config, standard)
    if small is not None:
        config = replace(config, int8=small.told)
    _write_golden(classifier, folder / GOLDEN, config, clips)
    files = {item.name: file_entry(item.read_bytes()) for item in sorted(folder.iterdir())}
    config = replace(config, files=files)
    config.write(folder)
    write(folder / CARD, card(config).encode())
    write(folder / EXAMPLE, Path(example.__file__).read_bytes())


def _exported(folder: Path, config: Config) -> Recognizer:
    """The model as it was exported, on all processors."""
    files = {item.name: item.read_bytes() for item in folder.iterdir()}
    return recognizer(config, files, folder, MODEL, os.cpu_count() or 1)


def _write_int8(folder: Path, config: Config, standard: Standard) -> Quantized | None:
    files = {item.name: item.read_bytes() for item in folder.iterdir()}
    small = quantize(files[MODEL], standard, lambda model: recognizer(config, files | {INT8: model}, folder, INT8))
    if small is not None:
        write(folder / INT8, small.model)
    return small


def _image_shape(classifier: Classifier) -> tuple[int, ...]:
    """(C, M, F, N) of a window's image."""
    silence = torch.zeros(1, classifier.channels, classifier.window)
    return tuple(as_float32(classifier).backbone.frontend(silence).shape[1:])


def _write_frontend(classifier: Classifier, path: Path, config: Config) -> None:
    """frontend.json: the steps from a window to its image with all their numbers, and what each of them does."""
    steps = classifier.backbone.frontend.workings()
    heard = {"sample_rate": config.sample_rate, "channels": config.channels, "window": config.window}
    says = {step["do"]: SAYS[step["do"]] for step in steps}
    told = json_text({"format": FORMAT, **heard, "image": config.image, "says": says})
    lines = ",\n  ".join(json_text(step, indent=None) for step in steps)
    write(path, f'{told[:-2]},\n "steps": [\n  {lines}\n ]\n}}\n'.encode())


def _write_golden(classifier: Classifier, path: Path, config: Config, clips: Mapping[str, np.ndarray]) -> None:
    """The first windows of noise, a tone and a real clip, with all that the trained model makes of them on the way."""
    kept = {name: wave for name, wave in waves(config, clips).items() if name in ("noise", "tone", *list(clips)[:1])}
    windows = np.concatenate([cut(wave, config)[1][:1] for wave in kept.values()])
    arrays: dict[str, Any] = {"name": np.array(list(kept)), "wave": windows, **eager(as_float32(classifier), windows)}
    arrays |= _int8_answers(path.parent, config, windows) if config.int8 else {}
    np.savez_compressed(path, **arrays)
    flush(path)


def _int8_answers(folder: Path, config: Config, windows: np.ndarray) -> dict[str, np.ndarray]:
    """What the model of 8 bit makes of (n, C, window), one by one: it is held to that elsewhere."""
    small = recognizer(config, {item.name: item.read_bytes() for item in folder.iterdir()}, folder, INT8)
    score, feature = zip(*(small.scores(window[None]) for window in windows), strict=True)
    return {"int8_score": np.concatenate(score), "int8_feature": np.concatenate(feature)}


def _versions() -> dict[str, str]:
    import onnx
    import onnxruntime

    others = {module.__name__: module.__version__ for module in (torch, onnx, onnxruntime, np)}
    return {"ossicle": __version__, "opset": str(OPSET)} | others


def _refuse_strangers(folder: Path) -> None:
    if folder == Path.cwd():
        raise ExportError(f"{folder} is where you are, and a bundle is put in its place whole; choose a folder in it")
    if folder.exists() and not (folder.is_dir() and (_is_bundle(folder) or not any(folder.iterdir()))):
        raise ExportError(f"{folder} holds something that is no bundle and is not replaced; choose another folder")


def _is_bundle(folder: Path) -> bool:
    """A bundle with its updates, its page, and what a power cut left of one of these."""
    names = {item.name for item in folder.iterdir()}
    known = FILES | {INDEX, FOLDER, slots.POINTER, *slots.SLOTS}
    return {MODEL, CONFIG} <= names and all(name in known or slots.is_leftover(name) for name in names)


def _put(new: Path, folder: Path) -> None:
    """Rename into place; a reader finds the old bundle or the new one, or for an instant none."""
    flush(new)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
    flush(folder.parent)
