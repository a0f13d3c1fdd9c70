"""Recordings -> the score (n, K) of all their windows, heard by `listen` itself. numpy and onnxruntime, no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.events import Event, events
from ossicle.deploy.faults import Fault
from ossicle.deploy.formats import FORMATS, Place
from ossicle.deploy.listen import listen
from ossicle.deploy.output import Output
from ossicle.deploy.stream import Window

NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Recording:
    """The windows of a file: `score` (n, K), `start` and `stop` (n,) in seconds, `anew` (n,); see `stream.Window`.

    `seconds` of sound were heard; `idle` of them were digital silence or broken, and are no background.
    """

    path: Path
    seconds: float
    idle: float
    score: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    anew: np.ndarray

    def events(self, label: int, on: float, off: float, **lengths: float) -> list[Event]:
        """The events of one class, by number, as `events` has them under these thresholds."""
        score = self.score[:, label].astype(float)
        heard = np.flatnonzero(_matters(score, on, off))
        windows = (
            Window(float(self.start[n]), float(self.stop[n]), score[n : n + 1], NOTHING, bool(self.anew[n]))
            for n in heard
        )
        return list(events(windows, [str(label)], on=on, off=off, **lengths))


def _matters(score: np.ndarray, on: float, off: float) -> np.ndarray:
    """(n,) scores -> (n,), which windows can begin, lengthen or end an event.

    Those are the stretches at or above `off` that reach `on`, and the window after each. Any other finds nothing
    sounding and leaves it so.
    """
    loud = np.concatenate([[False], score >= off, [False]])
    begins, ends = np.flatnonzero(loud[1:] & ~loud[:-1]), np.flatnonzero(loud[:-1] & ~loud[1:])
    change = np.zeros(len(score) + 2, int)
    reach = np.maximum.reduceat(score, begins) >= on if len(begins) else np.zeros(0, bool)
    np.add.at(change, begins[reach], 1)
    np.add.at(change, ends[reach] + 1, -1)
    return np.cumsum(change)[: len(score)] > 0


@dataclass(frozen=True)
class Heard:
    """The recordings in the order in which they were heard, and `troubles`, a sentence for all that could not be."""

    recordings: tuple[Recording, ...]
    troubles: tuple[str, ...]

    @property
    def paths(self) -> set[Path]:
        """Of the recordings, as they lie on the disk."""
        return {recording.path.resolve() for recording in self.recordings}


def hear(recognizer: Recognizer, sources: Sequence[str | Path]) -> Heard:
    """Every sound file, and all sound in every folder, as `ossicle listen` hears them: see `listen.listen`."""
    notes, troubles = _Notes(), list[str]()

    def report(line: str) -> None:
        told = json.loads(line)
        troubles.append(f"{told['path']}: {told['reason']}")

    listen(Noting(recognizer, notes), sources, notes, report=report)
    return Heard(tuple(notes.recordings), tuple(troubles))


@dataclass
class _Windows:
    score: list[np.ndarray] = field(default_factory=list)
    spans: list[tuple[float, float, bool]] = field(default_factory=list)
    idle: float = 0.0


class _Notes(Output):
    """Keeps windows where others write events."""

    def __init__(self) -> None:
        super().__init__(FORMATS["jsonl"], lambda line: None)
        self.recordings: list[Recording] = []
        self._now = _Windows()

    def begin(self, name: str) -> None:
        self._now = _Windows()

    def window(self, window: Window) -> None:
        self._now.score.append(window.score)
        self._now.spans.append((window.start, window.stop, window.anew))

    def fault(self, fault: Fault, place: Place) -> None:
        self._now.idle += fault.stop - fault.start

    def end(self, name: str, seconds: float, path: Path | None = None) -> None:
        super().end(name, seconds, path)
        now = self._now
        if path is None or not now.score:
            return
        start, stop, anew = (np.array(values) for values in zip(*now.spans, strict=True))
        self.recordings.append(Recording(path, seconds, now.idle, np.stack(now.score), start, stop, anew))


class Notes(Protocol):
    """Whoever wants to know of windows."""

    def window(self, window: Window) -> None:
        """Told of each as it is recognized."""


class Noting(Recognizer):
    """A recognizer whose windows are noted, and whose events are left for later."""

    def __init__(self, recognizer: Recognizer, notes: Notes) -> None:
        vars(self).update(vars(recognizer))
        self._notes = notes

    def events(self, windows: Iterable[Window], **thresholds: Any) -> Iterator[Event]:
        for window in windows:
            self._notes.window(window)
        return iter(())
