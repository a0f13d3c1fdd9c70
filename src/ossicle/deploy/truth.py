"""A table of labelled events -> where each class is really heard, and which alarms are right. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ossicle.data.intake import Problem, refuse
from ossicle.datasets import tables
from ossicle.deploy.events import Event

ENOUGH = 0.5
NAMES = {"file": "source", "label": "event_label"}
"""What `ossicle listen --format csv` and DCASE's tables call these columns; others are in `tables.COLUMNS`."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Annotation:
    """A `label` is heard in `path` from `start` to `stop`, in seconds."""

    path: Path
    label: str
    start: float
    stop: float


def read(table: Path, beside: Path) -> list[Annotation]:
    """The rows of a table with columns such as filename, onset, offset and event_label.

    Names of files are looked up beside the table, and in the folder `beside`. IntakeError lists all wrong rows.
    """
    found = tables.read(table, usual="\t")
    names = {cell.casefold() for cell in found.header}
    named = {what: name for what, name in NAMES.items() if name in names and not names & set(tables.COLUMNS[what])}
    column = tables.find(found, named)
    if missing := [what for what in ("start", "stop", "label") if what not in column]:
        sentence = f"has no column for {' and '.join(missing)}; wanted are filename, onset, offset and event_label"
        refuse([Problem("refuse", 49, sentence, table.name)])
    problems: list[Problem] = []
    annotations = []
    for row in found.rows:
        try:
            annotations.append(_annotation(row, column, [table.parent, beside]))
        except ValueError as error:
            problems.append(Problem("refuse", 49, str(error), f"{table.name} line {row.line}"))
    refuse(problems)
    return annotations


def _annotation(row: tables.Row, column: dict[str, int], folders: Sequence[Path]) -> Annotation:
    if len(row.cells) <= max(column[what] for what in ("file", "start", "stop", "label")):
        raise ValueError(f"{list(row.cells)} lacks cells")
    name, label = row.cells[column["file"]], tables.legible(row.cells[column["label"]])
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(f"{name!r} is not in {' or '.join(map(str, folders))}")
    start, stop = (float(row.cells[column[what]]) for what in ("start", "stop"))
    if not 0 <= start <= stop < float("inf"):
        raise ValueError(f"an event from {start} to {stop} s: wanted an end that is not before the start")
    return Annotation(path.resolve(), label, start, stop)


def right(alarms: Iterable[Event], truths: Sequence[Span], collar: float) -> list[bool]:
    """Whether at least half of each alarm lies in events of its class, widened by `collar` seconds on either side.

    The detection criterion of Bilen et al. 2020 ("A framework for the robust evaluation of sound event detection",
    eq. 1, at 0.5) with the collar of Mesaros et al. 2016 ("Metrics for polyphonic sound event detection") around the
    events: a window that an event fills in part is told whole.
    """
    wide = _union([(start - collar, stop + collar) for start, stop in truths])
    return [_shared((alarm.start, alarm.stop), wide) >= ENOUGH * (alarm.stop - alarm.start) > 0 for alarm in alarms]


def found(truths: Sequence[Span], alarms: Sequence[Event]) -> int:
    """How many events any of these alarms overlaps; give it the right ones."""
    return sum(any(alarm.start <= stop and alarm.stop >= start for alarm in alarms) for start, stop in truths)


def _union(spans: list[Span]) -> list[Span]:
    union: list[Span] = []
    for start, stop in sorted(spans):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(stop, union[-1][1]))
        else:
            union.append((start, stop))
    return union


def _shared(span: Span, others: list[Span]) -> float:
    """Seconds of `span` that lie in others, which do not overlap each other."""
    return sum(max(0.0, min(span[1], stop) - max(span[0], start)) for start, stop in others)
