"""A user's own background -> each class's threshold, so that false alarms stay under a promise. No torch.

What is promised: with 95 % confidence a class gives no more false alarms an hour than asked for, on sound of the kind
that was heard. Thresholds are tried from the strictest down, in an order that knows nothing of the recordings, and the
first whose one-sided Poisson bound is above the promise ends it; so that of all that were tried, none needs a
correction (a fixed sequence of tests: Maurer, Hothorn and Lehmacher 1995; as risk control: Angelopoulos et al. 2021,
"Learn then Test").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from ossicle.deploy import poisson, truth
from ossicle.deploy.bundle import load
from ossicle.deploy.config import Config
from ossicle.deploy.events import OFF, Event
from ossicle.deploy.overheard import Heard, Recording, hear
from ossicle.deploy.tradeoff import NEVER, Alarm, Choice, Point, Tuning
from ossicle.deploy.truth import Annotation, Span
from ossicle.words import plural

GRID: tuple[float, ...] = (NEVER, *(round(1 - n * step, 4) for step in (1e-4, 1e-3) for n in range(1, 10)))
GRID += tuple(round(1 - n / 100, 2) for n in range(1, 100))
"""The thresholds that are tried, in this order."""
LOWEST = 0.5
MINUTE = 60.0
"""A false alarm that goes on counts once more after so many seconds."""
BEYOND = 10
LOUDEST = 3


class TuneError(ValueError):
    """No promise can be made of this background; says what it would take."""


def tune(
    folder: str | Path,
    background: str | Path,
    *,
    max_per_hour: float,
    events: str | Path | None = None,
    labels: Sequence[str] = (),
    lowest: float = LOWEST,
    int8: bool = False,
    threads: int = 1,
) -> Tuning:
    """Hear the `background`, a folder or a file, as `listen` does, and choose the thresholds of `labels` (default all).

    The promise is for each class by itself. No threshold falls under `lowest`: under a half the model itself holds it
    more likely that the class is not there. A false alarm that goes on counts once more every minute. Where `events`
    is a table of labelled events, alarms at these are no false ones, and the share found is counted; recordings that
    only the table names are heard for that alone. With `int8` the bundle's model of 8 bit hears. A bundle has one
    set of thresholds, promised of the model that heard. Nothing is written: see `Tuning.write`.

    Raises TuneError where there is too little background to promise anything, IntakeError for a wrong table,
    BundleError for a wrong bundle.
    """
    if not (0 < max_per_hour < float("inf") and GRID[-1] <= lowest <= GRID[1]):
        raise ValueError(
            f"a promise of {max_per_hour} an hour down to {lowest}: wanted one above 0, and 0.01 to 0.9999"
        )
    recognizer, place = load(folder, threads, int8=int8), Path(background)
    if not place.exists():
        raise TuneError(f"{place} is not there: give a folder of recordings without events, or one recording")
    numbers = _numbers(recognizer.labels, labels)
    known, strange = _annotated(events, place, recognizer.labels)
    heard = hear(recognizer, [place.resolve()])
    more = hear(recognizer, sorted({note.path for note in known} - heard.paths))
    _all_heard(known, heard.recordings + more.recordings)
    sounds = heard.recordings
    idle = sum(recording.idle for recording in sounds) / 3600
    hours = sum(recording.seconds for recording in sounds) / 3600 - idle
    _enough(hours, idle, max_per_hour, heard)
    trial = Trial(recognizer.config, sounds, more.recordings, known, hours)
    troubles = strange + heard.troubles + more.troubles
    choices = tuple(trial.choice(number, max_per_hour, lowest) for number in numbers)
    return Tuning(recognizer.config, recognizer.model, max_per_hour, hours, idle, len(sounds), troubles, choices)


def _annotated(
    table: str | Path | None, background: Path, labels: Sequence[str]
) -> tuple[list[Annotation], tuple[str, ...]]:
    """The annotations of these labels, and what is to be told of others."""
    if table is None:
        return [], ()
    known = truth.read(Path(table), background if background.is_dir() else background.parent)
    strange = [note.label for note in known if note.label not in labels]
    names = ", ".join(sorted(set(strange)))
    told = f"{table}: {plural(len(strange), 'event')} of classes that the bundle does not have left out: {names}"
    return [note for note in known if note.label in labels], (told,) * bool(strange)


def _numbers(known: Sequence[str], labels: Sequence[str]) -> list[int]:
    if strange := [label for label in labels if label not in known]:
        raise ValueError(f"this bundle has no class '{strange[0]}'; it has {', '.join(known)}")
    return [number for number, label in enumerate(known) if not labels or label in labels]


def _all_heard(known: Sequence[Annotation], recordings: Sequence[Recording]) -> None:
    lasted = {recording.path.resolve(): recording.seconds for recording in recordings}
    for note in known:
        if note.path not in lasted:
            raise TuneError(f"{note.path} has annotated events and could not be heard: repair it, or take out its rows")
        if note.start >= lasted[note.path]:
            raise TuneError(
                f"{note.path} was heard for {lasted[note.path]:g} s, and has an annotated event from {note.start:g} to "
                f"{note.stop:g} s: correct its row, or the recording"
            )


def _enough(hours: float, idle: float, promise: float, heard: Heard) -> None:
    needed = poisson.hours_for(promise)
    if hours >= needed:
        return
    least = f"even if not one is heard in them there may be {poisson.upper(0) / hours:.3g} an hour; " if hours else ""
    without = f" ({idle:.3g} hours of digital silence or broken samples left out)" if idle else ""
    first = (
        f"; {plural(len(heard.troubles), 'recording')} had trouble, first {heard.troubles[0]}" if heard.troubles else ""
    )
    raise TuneError(
        f"{hours:.3g} hours of background{without} cannot promise {promise:g} false alarms an hour with 95 % "
        f"confidence: {least}it takes {needed:.3g} hours{first}"
    )


class Trial:
    """One class after another, at one threshold after another, in `hours` of background and in `others`."""

    def __init__(
        self,
        config: Config,
        background: Sequence[Recording],
        others: Sequence[Recording],
        known: Sequence[Annotation],
        hours: float,
    ) -> None:
        self._labels, self._background, self._others, self._hours = config.labels, background, others, hours
        self._seconds = config.window / config.sample_rate
        self._lengths = {name: config.thresholds[name] for name in ("min_seconds", "gap_seconds")}
        self._spans: defaultdict[tuple[Path, str], list[Span]] = defaultdict(list)
        for note in known:
            self._spans[note.path, note.label].append((note.start, note.stop))

    def choice(self, label: int, promise: float, lowest: float) -> Choice:
        points = tuple(self._points(label, promise))
        held = points[:1] + tuple(takewhile(lambda point: point.at_most <= promise, points[1:]))
        chosen = [point for point in held if point.threshold >= lowest][-1]
        next = self._loudest(label, points[len(held)].threshold) if len(held) < len(points) else ()
        return Choice(self._labels[label], points, chosen, next)

    def _points(self, label: int, promise: float) -> Iterator[Point]:
        """From the strictest threshold down to one with ten times as many alarms as promised."""
        for threshold in GRID:
            point = self._point(label, threshold)
            yield point
            if point.per_hour > BEYOND * promise:
                return

    def _point(self, label: int, threshold: float) -> Point:
        alarms = found = truths = 0
        for recordings, counts in ((self._background, True), (self._others, False)):
            for recording in recordings:
                false, right = self._told(recording, label, threshold)
                alarms += counts * sum(map(self._weight, false))
                spans = self._truths(recording, label)
                found, truths = found + truth.found(spans, right), truths + len(spans)
        at_most = poisson.upper(alarms) / self._hours
        return Point(threshold, alarms, alarms / self._hours, at_most, found / truths if truths else None)

    def _weight(self, alarm: Event) -> int:
        """An alarm, and one more for every minute that it goes on beyond its first window."""
        return 1 + max(0, int((alarm.stop - alarm.start - self._seconds) // MINUTE))

    def _loudest(self, label: int, threshold: float) -> tuple[Alarm, ...]:
        alarms = (
            Alarm(recording.path, event.start, event.score)
            for recording in self._background
            for event in self._told(recording, label, threshold)[0]
        )
        return tuple(sorted(alarms, key=lambda alarm: -alarm.score)[:LOUDEST])

    def _told(self, recording: Recording, label: int, threshold: float) -> tuple[list[Event], list[Event]]:
        """The false alarms and the right ones."""
        alarms = recording.events(label, threshold, OFF * threshold, **self._lengths)
        told: tuple[list[Event], list[Event]] = ([], [])
        rights = truth.right(alarms, self._truths(recording, label), self._seconds)
        for alarm, right in zip(alarms, rights, strict=True):
            told[right].append(alarm)
        return told

    def _truths(self, recording: Recording, label: int) -> list[Span]:
        return self._spans.get((recording.path.resolve(), self._labels[label]), [])
