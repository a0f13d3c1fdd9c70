"""Clip and Manifest: what there is to learn from, as plain values. No audio is opened here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ossicle import draw

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of one recording.

    `name` is its path below the data set's root, with forward slashes: together with `start` and `stop` it is who the
    clip is, on every machine. `labels` is empty where unknown; `group` is the recording that the clip was cut from;
    `start` and `stop` are seconds into the file (`stop=None`: to its end).
    """

    path: Path
    name: str
    labels: tuple[str, ...] = ()
    fold: int | None = None
    group: str = ""
    start: float = 0.0
    stop: float | None = None
    meta: Mapping[str, Any] = field(default=_NOTHING, compare=False)

    @property
    def key(self) -> int:
        """63 bits that name this clip in draws and in the memory bank."""
        return draw.key(self.name, self.start, self.stop)


@dataclass(frozen=True)
class Manifest:
    """Clips, the classes that their labels come from, and the folds they are dealt into.

    `labelled` False means that the labels, if any, are not to be used; `multilabel` that a clip may have none or several.
    `notes` are sentences about what was repaired or looked odd on the way in.
    """

    name: str
    clips: tuple[Clip, ...]
    classes: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    multilabel: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    def keys(self) -> np.ndarray:
        """(n,) uint64 clip keys."""
        return np.array([clip.key for clip in self.clips], dtype=np.uint64)
