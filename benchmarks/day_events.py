"""Events that were told and events that there were -> precision, recall and F1, by three ways of counting. No torch.

`overlap`: an alarm is right where at least half of it lies in events of its class, and an event is found where a right
alarm touches it (Bilen et al. 2020, "A framework for the robust evaluation of sound event detection", with the window
as a collar around events): how `ossicle tune` counts. `onset`: an alarm is right where it begins within a collar of an
event of its class, one alarm to one event (Mesaros et al. 2016, "Metrics for polyphonic sound event detection"; onsets
alone, as DCASE 2017's rare sound events have them). `seconds`: by whole seconds, each class by itself (the same paper).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any, NamedTuple

from ossicle.datasets.soundscapes import Heard
from ossicle.deploy import truth
from ossicle.deploy.events import Event

Told = Sequence[Event]
There = Sequence[Heard]
Flags = tuple[list[bool], list[bool]]
Level = Callable[[float], float]

COLLAR = 1.0  # seconds
LEAST_DB = 6.0


class Count(NamedTuple):
    """Events `found` and `missed`, alarms `right` and `false`."""

    found: int = 0
    missed: int = 0
    right: int = 0
    false: int = 0

    def __add__(self, other: object) -> Count:
        assert isinstance(other, Count)
        return Count(*(mine + its for mine, its in zip(self, other, strict=True)))

    @property
    def rates(self) -> dict[str, float]:
        """Precision, recall and their harmonic mean, 0 where there is nothing to be counted."""
        precision = self.right / max(1, self.right + self.false)
        recall = self.found / max(1, self.found + self.missed)
        f1 = 2 * precision * recall / (precision + recall) if precision * recall else 0.0
        return {"precision": precision, "recall": recall, "f1": f1}


def overlap(there: There, told: Told, collar: float) -> Flags:
    """Of one class: which events were found, and which alarms are right."""
    spans = [(event.onset, event.offset) for event in there]
    right = truth.right(told, spans, collar)
    good = [alarm for alarm, is_right in zip(told, right, strict=True) if is_right]
    return [truth.found([span], good) == 1 for span in spans], right


def onset(there: There, told: Told, collar: float) -> Flags:
    """Of one class, one to one: the earliest pairs first, which with one collar for all makes as many as there can be.

    In order of time.
    """
    found, right = [False] * len(there), [False] * len(told)
    event = alarm = 0
    while event < len(there) and alarm < len(told):
        late = told[alarm].start - there[event].onset
        if abs(late) <= collar:
            found[event] = right[alarm] = True
        event, alarm = event + (late >= -collar), alarm + (late <= collar)
    return found, right


def by_level(there: There, told: Told, level: Level, way: Callable[[There, Told], Flags]) -> dict[float, Count]:
    """Level -> what was found and told at it, all classes together; `level` is that of a second."""
    counts: defaultdict[float, Count] = defaultdict(Count)
    for label in {event.label for event in there} | {event.label for event in told}:
        mine = sorted((event for event in there if event.label == label), key=lambda event: event.onset)
        its = sorted((event for event in told if event.label == label), key=lambda event: event.start)
        found, right = way(mine, its)
        for event, hit in zip(mine, found, strict=True):
            counts[level(event.onset)] += Count(found=hit, missed=not hit)
        for alarm, hit in zip(its, right, strict=True):
            counts[level((alarm.start + alarm.stop) / 2)] += Count(right=hit, false=not hit)
    return dict(counts)


def seconds(there: There, told: Told, level: Level) -> dict[float, Count]:
    """The same by whole seconds, each of which a class fills that is heard anywhere in it."""
    counts: defaultdict[float, Count] = defaultdict(Count)
    true = _filled((event.label, event.onset, event.offset) for event in there)
    said = _filled((event.label, event.start, event.stop) for event in told)
    for which, count in (
        (true & said, Count(1, 0, 1, 0)),
        (true - said, Count(missed=1)),
        (said - true, Count(false=1)),
    ):
        for at, times in Counter(level(second) for _, second in which).items():
            counts[at] += Count(*(times * n for n in count))
    return dict(counts)


def counted(there: There, told: Told, minute: float, window: float) -> dict[str, dict[str, dict[str, Any]]]:
    """Way of counting -> level -> counts and rates. A minute, of so many seconds, has the level of its events."""
    levels = {int(event.onset / minute): event.level_db for event in there}

    def level(second: float) -> float:
        return levels[int(second / minute)]

    ways = {
        f"overlap, collar {window:g} s": by_level(there, told, level, partial(overlap, collar=window)),
        f"onset, collar {window:g} s": by_level(there, told, level, partial(onset, collar=window)),
        f"onset, collar {COLLAR:g} s": by_level(there, told, level, partial(onset, collar=COLLAR)),
        "seconds": seconds(there, told, level),
    }
    return {name: rates(counts) for name, counts in ways.items()}


def rates(counts: Mapping[float, Count]) -> dict[str, dict[str, Any]]:
    """Each level's, those of all from 6 dB on, and of all."""
    parts = {f"{level:g} dB": [count] for level, count in sorted(counts.items())}
    parts[f"{LEAST_DB:g} dB and above"] = [count for level, count in counts.items() if level >= LEAST_DB]
    parts["all"] = [*counts.values()]
    totals = {name: sum(part, Count()) for name, part in parts.items()}
    return {name: total._asdict() | total.rates for name, total in totals.items()}


def false_alarms(there: There, told: Told, hours: float, window: float) -> dict[str, float]:
    """Each class's, an hour, by overlap."""
    found = {}
    for label in sorted({event.label for event in there}):
        mine = [event for event in told if event.label == label]
        _, right = overlap([event for event in there if event.label == label], mine, window)
        found[label] = right.count(False) / hours
    return found


def _filled(spans: Iterable[tuple[str, float, float]]) -> set[tuple[str, int]]:
    return {(label, second) for label, start, stop in spans for second in range(int(start), ceil(stop))}


def table(runs: Mapping[str, Any]) -> Iterator[str]:
    """Precision, recall and F1 by each way of counting and level."""
    yield "| run | counted by | level | events | alarms | precision | recall | F1 |"
    yield "|---|---|---|---|---|---|---|---|"
    rows = [(name, way, each) for name, run in runs.items() for way, each in run["found"].items()]
    for name, way, levels in rows:
        for level, row in levels.items():
            counts = f"{row['found'] + row['missed']} | {row['right'] + row['false']}"
            found = f"{row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f}"
            yield f"| {name} | {way} | {level} | {counts} | {found} |"


def alarms(runs: Mapping[str, Any]) -> Iterator[str]:
    """False alarms an hour, by overlap."""
    labels = sorted({label for run in runs.values() for label in run["false_alarms"]})
    yield f"| false alarms an hour | {' | '.join(labels)} |"
    yield "|---" * (len(labels) + 1) + "|"
    for name, run in runs.items():
        rates = [run["false_alarms"].get(label) for label in labels]
        yield f"| {name} | {' | '.join('' if rate is None else f'{rate:.2f}' for rate in rates)} |"
