"""A data set that needs no download: ten made-up everyday sounds in five folds, and unlabelled mixtures of them."""

from __future__ import annotations

import csv
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng

from ossicle.data.manifest import Manifest
from ossicle.datasets import listing
from ossicle.datasets.making import once
from ossicle.datasets.scan import UNKNOWN
from ossicle.datasets.sounds import SAMPLE_RATE, SOUNDS, heard

FOLDS = 5
VERSION = 1
TAKES = 2


class _Sound(NamedTuple):
    """What makes one file: for each sound in it, the class's number, its source's and the take's."""

    label: str
    fold: int | None
    group: str
    parts: tuple[tuple[int, int, int], ...]


def synthetic(path: str | Path, *, per_class: int = 40, unlabelled: int = 0, seed: int = 0) -> Manifest:
    """`per_class` clips of each class and `unlabelled` mixtures of two, 2 s at 16 kHz, made in `path` if not there yet.

    Two takes share a source and with it pitch, timbre, room and fold; the mixtures have sources of their own and no
    fold. A making that was stopped is done again; IntakeError if `path` holds something else.
    """
    root = Path(path)
    made = {"per_class": per_class, "seed": seed, "unlabelled": unlabelled, "version": VERSION}
    once(root / "synthetic.json", made, lambda: _make(root, per_class, unlabelled, seed))
    table = root / "clips.csv"
    return replace(listing.listing(table), name="synthetic", classes=tuple(SOUNDS), folds=tuple(range(1, FOLDS + 1)))


def _plan(per_class: int, unlabelled: int, seed: int) -> Iterator[_Sound]:
    for number, label in enumerate(SOUNDS):
        for take in range(per_class):
            source = take // TAKES
            yield _Sound(label, source % FOLDS + 1, f"{label}-{source}", ((number, source, take),))
    for i in range(unlabelled):
        numbers = default_rng((seed, i)).choice(len(SOUNDS), 2, replace=False)
        # Sources of labelled clips count from 0, those of mixtures from a million: none is heard in both.
        parts = tuple((int(number), 1_000_000 + i, i) for number in numbers)
        yield _Sound(UNKNOWN, None, f"mix-{i}", parts)


def _make(root: Path, per_class: int, unlabelled: int, seed: int) -> None:
    (root / "audio").mkdir(exist_ok=True)
    with (root / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filename", "label", "fold", "group"])
        for i, sound in enumerate(_plan(per_class, unlabelled, seed)):
            name = f"audio/{i:05d}.wav"
            _write(root / name, _mixed(sound, seed))
            writer.writerow([name, sound.label, sound.fold, sound.group])


def _mixed(sound: _Sound, seed: int) -> np.ndarray:
    """(T,) the sum of the parts, its peak below full scale."""
    total = np.zeros(1)
    for number, source, take in sound.parts:
        rngs = default_rng((seed, number, source, 0)), default_rng((seed, number, take, 1))
        total = total + heard(list(SOUNDS.values())[number](*rngs), *rngs)
    return total / max(1.0, float(np.abs(total).max()) / 0.99)


def _write(path: Path, samples: np.ndarray) -> None:
    """16-bit PCM, through the standard library: this module must not open audio to make it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
