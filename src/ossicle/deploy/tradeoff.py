"""What tuning found: for each class a trade-off of thresholds and false alarms, and the one that keeps a promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ossicle.deploy import poisson
from ossicle.deploy.config import CONFIG, BundleError, Config, answering
from ossicle.deploy.events import OFF
from ossicle.durable import flush
from ossicle.lock import alone_in
from ossicle.words import plural

NEVER = 2.0
"""A threshold that no probability reaches."""
SHOWN = (NEVER, 0.9999, 0.999, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Thresholds that a printed trade-off has besides the chosen one."""


@dataclass(frozen=True)
class Point:
    """At a `threshold`: false `alarms` in all hours, as many `per_hour`, `at_most` so many with 95 % confidence.

    `found` is the share of the annotated events that were told; None where there are none of this class.
    """

    threshold: float
    alarms: int
    per_hour: float
    at_most: float
    found: float | None = None


@dataclass(frozen=True)
class Alarm:
    """A false alarm, to listen to: where it began, in seconds, and its highest score."""

    path: Path
    start: float
    score: float


@dataclass(frozen=True)
class Choice:
    """A class's trade-off, `points` from the strictest threshold down, and the one that was `chosen`.

    `next` are the loudest false alarms at the threshold where the promise would not have held any more.
    """

    label: str
    points: tuple[Point, ...]
    chosen: Point
    next: tuple[Alarm, ...] = ()


@dataclass(frozen=True)
class Tuning:
    """What `tune` found of a `model`: thresholds that keep `choices` within `max_per_hour` each, from so many `hours`.

    `idle_hours` of digital silence and broken samples are not among them; `recordings` were heard, and `troubles` has
    a sentence for all that could not be, or not to its end.
    """

    config: Config
    model: str
    max_per_hour: float
    hours: float
    idle_hours: float
    recordings: int
    troubles: tuple[str, ...]
    choices: tuple[Choice, ...]

    @property
    def alarms(self) -> int:
        """False alarms of all these classes together, at their thresholds."""
        return sum(choice.chosen.alarms for choice in self.choices)

    def tuned(self) -> Config:
        """The bundle's config with these thresholds, and each class's promise among its provenance."""
        chosen = {choice.label: choice.chosen.threshold for choice in self.choices}
        on, off = (self._spread(name) for name in ("on", "off"))
        for number, label in enumerate(self.config.labels):
            if label in chosen:
                on[number], off[number] = chosen[label], OFF * chosen[label]
        promise: dict[str, Any] = {"max_per_hour": self.max_per_hour, "confidence": poisson.CONFIDENCE}
        promise |= {"hours": self.hours, "model": self.model}
        promised = {choice.label: promise | {"at_most": choice.chosen.at_most} for choice in self.choices}
        earlier = self.config.provenance.get("false_alarms", {})
        return replace(
            self.config,
            thresholds=self.config.thresholds | {"on": on, "off": off},
            provenance=self.config.provenance | {"false_alarms": earlier | promised},
        )

    def _spread(self, name: str) -> list[float]:
        given = np.asarray(self.config.thresholds[name], dtype=float)
        return [float(each) for each in np.broadcast_to(given, len(self.config.labels))]

    def write(self, folder: str | Path) -> Path:
        """Puts the thresholds into the config of the bundle's slot that answers, in one step; gives its path.

        BundleError where another model answers since it was heard, of which they promise nothing.
        """
        with alone_in(Path(folder)):
            place = answering(folder)
            if Config.read(place).files != self.config.files:
                raise BundleError(f"{folder} was updated while it was tuned, and answers by {place}: tune it again")
            with TemporaryDirectory(prefix=f".{place.name}.", suffix=".new", dir=place.parent) as new:
                self.tuned().write(Path(new))
                (Path(new) / CONFIG).replace(place / CONFIG)
            flush(place)
        return place / CONFIG

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        idle = f", and {self.idle_hours:.3g} of silence or broken samples" if self.idle_hours else ""
        yield f"heard     {self.hours:.3g} hours of background in {plural(self.recordings, 'recording')}{idle}"
        yield from (f"trouble   {trouble}" for trouble in self.troubles)
        for choice in self.choices:
            yield from ["", *_table(choice)]
        classes, hours = len(self.choices), f"{self.hours:.3g}"
        yield ""
        yield f"promised  at most {self.max_per_hour:g} false alarms an hour of each class, with 95 % confidence"
        yield f"together  {self.alarms} in {hours} hours, {self.alarms / self.hours:.3g} an hour of {_classes(classes)}"


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _table(choice: Choice) -> Iterator[str]:
    """A class: what was chosen and why, and the trade-off around it."""
    yield f"{choice.label}: {_chosen(choice)}"
    yield "  threshold  false alarms   an hour   at most   events found"
    for point in choice.points:
        if point.threshold in SHOWN or point == choice.chosen:
            found = "" if point.found is None else f"{point.found:.0%}"
            mark, name = "*" if point == choice.chosen else " ", _named(point.threshold)
            numbers = f"{point.alarms:>12}  {point.per_hour:>8.3g}  {point.at_most:>8.3g}"
            yield f"{mark} {name:>9}  {numbers}  {found:>13}".rstrip()
    if choice.next:
        moments = "; ".join(f"{alarm.path.name} at {alarm.start:.1f} s ({alarm.score:.4f})" for alarm in choice.next)
        yield f"  in the way of a lower threshold: {moments}"


def _chosen(choice: Choice) -> str:
    chosen = choice.chosen
    if chosen.threshold == NEVER:
        return "never told, as no threshold keeps the promise"
    found = "" if chosen.found is None else f", {chosen.found:.0%} of its events found"
    return f"threshold {_named(chosen.threshold)}{found}"


def _named(threshold: float) -> str:
    return "never" if threshold == NEVER else f"{threshold:g}"
