"""Windows with score (K,) -> events: label, start, stop and score, each told once. numpy only.

A class is on from the first window that reaches `on` until one falls under `off` (Schmitt 1938's trigger), so
a score that wavers around one threshold is one event and not ten. Where sound is missing every event ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ossicle.deploy.stream import Window

OFF = 0.7
"""Where an event ends, as a part of where it begins."""
UNKNOWN = "unknown"
EXACT = 1e-6
"""Seconds, less than a sample, that tell no two lengths apart: 4.1 s to 5.1 s is a second, if not to the last bit."""


@dataclass(frozen=True)
class Event:
    """`label` was heard from `start` to `stop` (seconds); `score` is the highest of its windows' probabilities."""

    label: str
    start: float
    stop: float
    score: float


def events(
    windows: Iterable[Window],
    labels: Sequence[str],
    *,
    on: float | Sequence[float] = 0.5,
    off: float | Sequence[float] = 0.35,
    min_seconds: float = 0.0,
    gap_seconds: float = 0.0,
) -> Iterator[Event]:
    """The events of a stream, each yielded once, as soon as no later window can lengthen it.

    `windows` come in order of their start and may be live; `on` and `off` are one number or one a label, `off` not
    above `on`. Stretches of one class that overlap, touch or lie at most `gap_seconds` apart are one event; events
    shorter than `min_seconds` are left out. Events that end together come in the order of `labels`.
    """
    on, off = _thresholds(on, off, len(labels))
    tracks = [_Track(label, high, low, gap_seconds) for label, high, low in zip(labels, on, off, strict=True)]
    for window in windows:
        for track, score in zip(tracks, window.score.tolist(), strict=True):
            event = track.hear(window, score)
            if event and _reaches(event, min_seconds):
                yield event
    for track in tracks:
        if track.event and _reaches(track.event, min_seconds):
            yield track.event


def answer(score: np.ndarray, labels: Sequence[str], *, on: float | Sequence[float] = 0.5) -> str:
    """(K,) probabilities -> the label of the highest that reaches its threshold, or UNKNOWN where none does."""
    reached = np.where(np.asarray(score) >= np.asarray(on, dtype=float), score, -1.0)
    best = int(np.argmax(reached))
    return labels[best] if reached[best] >= 0 else UNKNOWN


def _reaches(event: Event, seconds: float) -> bool:
    return event.stop - event.start > seconds - EXACT


def _thresholds(on: float | Sequence[float], off: float | Sequence[float], classes: int) -> list[list[float]]:
    both = [np.asarray(threshold, dtype=float) for threshold in (on, off)]
    for name, threshold in zip(("on", "off"), both, strict=True):
        if threshold.ndim and threshold.shape != (classes,):
            raise ValueError(f"{name} has {threshold.size} thresholds for {classes} labels; give one, or one a label")
    if not np.all(both[1] <= both[0]):
        raise ValueError(f"off = {off} is not at or below on = {on}: an event would end before it began; give both")
    return [np.broadcast_to(threshold, classes).tolist() for threshold in both]


class _Track:
    """One class: `event` is the one that later windows may still lengthen."""

    def __init__(self, label: str, on: float, off: float, gap: float) -> None:
        self.label, self.on, self.off, self.gap = label, on, off, gap
        self.event: Event | None = None
        self.sounding = False

    def hear(self, window: Window, score: float) -> Event | None:
        """Take one window; gives the event that it and all later ones are too late to lengthen, if any."""
        self.sounding = self.sounding and not window.anew
        self.sounding, continues = score >= (self.off if self.sounding else self.on), self.sounding
        within = self.event is not None and window.start < self.event.stop + self.gap + EXACT
        if self.event and self.sounding and (continues or within):
            stop, best = max(self.event.stop, window.stop), max(self.event.score, score)
            self.event = replace(self.event, stop=stop, score=best)
            return None
        if within and not self.sounding:
            return None
        ended, self.event = self.event, Event(self.label, window.start, window.stop, score) if self.sounding else None
        return ended
