"""Long recordings with label tables beside them (Raven selections, Audacity tracks) -> windows with labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import tables
from ossicle.datasets.folder import cut
from ossicle.datasets.scan import Scan, no_event

LABELS = ("annotation", "species", "label", "common name", "species code", "tags", "tag", "call type")


class Event(NamedTuple):
    """A labelled stretch of a recording, in seconds."""

    start: float
    stop: float
    label: str


def annotated(
    path: str | Path, *, segment: float = 3.0, enough: float = 0.5, column: str | None = None, links: bool = False
) -> Manifest:
    """Every recording below `path` in windows of `segment` seconds, labelled by the `.txt` tables beside it.

    `rec.wav` is described by `rec.txt` and `rec.*.txt`. A window takes a label that covers the share `enough` of it,
    or of which it holds that share; a window that labels touch less is unknown, one that none touches is no event, and
    a recording without a table is unlabelled. `column` names Raven's column of labels. IntakeError lists wrong lines.
    """
    scan = Scan(Path(path), links=links)
    recordings = [Clip(file, name) for file, name in scan]
    problems: list[Problem] = []
    if not recordings:
        problems.append(Problem("refuse", 45, f"0 recordings found: looked in {path} and below"))
    of = _tables([clip.path for clip in recordings])
    clips: list[Clip] = []
    for recording in recordings:
        beside = of.get(recording.path, [])
        events = {event for table in beside for event in parse(table, problems, column)}
        clips += _windows(recording, events, segment, enough, problems) if beside else cut(recording, segment)
    refuse(problems)
    scan.endings[".txt"] -= sum(map(len, of.values()))
    scan.endings = +scan.endings
    return Manifest.of(Path(path).resolve().name, clips, multilabel=True, notes=scan.notes())


def is_annotated(path: Path) -> bool:
    """Whether a recording below `path` has a table beside it."""
    return any(_tables([file]) for file, _ in Scan(path))


def _tables(recordings: list[Path]) -> dict[Path, list[Path]]:
    """The tables of each recording that has any: each belongs to the longest name that it starts with."""
    named = {(file.parent, file.stem): file for file in recordings}
    found: dict[Path, list[Path]] = {}
    for table in sorted({table for folder in {file.parent for file in recordings} for table in folder.glob("*.txt")}):
        stems = [table.name[: dot.start()] for dot in re.finditer(r"\.", table.name)]
        owner = next((named[table.parent, stem] for stem in reversed(stems) if (table.parent, stem) in named), None)
        if owner is not None:
            found.setdefault(owner, []).append(table)
    return found


def parse(table: Path, problems: list[Problem], column: str | None = None) -> Iterator[Event]:
    """The events of a Raven selection table or an Audacity label track; wrong lines are added to `problems`."""
    content, _ = tables.text(table)
    rows = [
        (n, [cell.strip() for cell in line.split("\t")])
        for n, line in enumerate(content.splitlines(), 1)
        if line.strip()
    ]
    place: list[int] | None = [0, 1, 2]
    if rows and not _is_number(rows[0][1][0]):
        place = _raven(rows.pop(0)[1], column)
    if place is None:
        wanted = f"Begin Time (s), End Time (s) and {column or 'one of ' + ', '.join(LABELS)}"
        problems.append(Problem("refuse", 48, f"is no Raven table with {wanted}, and no Audacity track", table.name))
        return
    for line, cells in rows:
        # Audacity writes the frequency range of a label on a line of its own that starts with a backslash.
        if cells[0] == "\\":
            continue
        event = _event(cells, place)
        if event is not None:
            yield event
        else:
            sentence = f"{cells} is no start, end and label, with the end not before the start"
            problems.append(Problem("refuse", 49, sentence, f"{table.name} line {line}"))


def _raven(header: list[str], column: str | None) -> list[int] | None:
    names = [cell.casefold() for cell in header]
    wanted = [name for name in ((column.casefold(),) if column else LABELS) if name in names]
    if not wanted or "begin time (s)" not in names or "end time (s)" not in names:
        return None
    return [names.index("begin time (s)"), names.index("end time (s)"), names.index(wanted[0])]


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\d+([.,]\d*)?|\\", cell) is not None


def _event(cells: list[str], place: list[int]) -> Event | None:
    if len(cells) <= max(place):
        return None
    start, stop, label = (cells[i] for i in place)
    if not (_is_number(start) and _is_number(stop) and label):
        return None
    begin, end = (float(cell.replace(",", ".")) for cell in (start, stop))
    return Event(begin, end, tables.legible(label)) if begin <= end else None


def _windows(
    recording: Clip, events: set[Event], segment: float, enough: float, problems: list[Problem]
) -> Iterator[Clip]:
    from ossicle import audio

    try:
        seconds = audio.probe(recording.path).seconds
    except audio.AudioError:
        yield recording
        return
    for event in sorted(event for event in events if event.start >= seconds):
        sentence = f"{event.label!r} at {event.start} s lies beyond the end of the recording at {seconds:.2f} s"
        problems.append(Problem("refuse", 23, sentence, recording.name))
    for window in cut(recording, segment):
        stop = seconds if window.stop is None else window.stop
        touching = [
            event for event in events if event.start < stop and max(event.stop, event.start + 1e-9) > window.start
        ]
        heard = {e.label for e in touching if held(e, window.start, stop, enough) and not no_event(e.label)}
        silent = not heard and all(no_event(event.label) for event in touching)
        yield replace(window, labels=tuple(sorted(heard)), no_event=silent)


def held(event: Event, start: float, stop: float, enough: float) -> bool:
    """Whether the event covers the share `enough` of a window, or the window holds as much of the event; in seconds."""
    overlap = min(event.stop, stop) - max(event.start, start)
    return overlap >= enough * min(event.stop - event.start, stop - start)
