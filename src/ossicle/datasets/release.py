"""Data sets as they were released: a table under its own header -> clips, one a row, with everything wrong named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip
from ossicle.datasets import tables
from ossicle.datasets.scan import is_audio

SHOWN = 10
TEST, VALID = 1, 2  # the folds of a release with one test set and one validation set


class Wrong(ValueError):
    """Why a row is no clip; `bad_input` is the row of the project's list of bad inputs."""

    def __init__(self, bad_input: int, sentence: str) -> None:
        self.bad_input = bad_input
        super().__init__(sentence)


class Record(NamedTuple):
    """A row of a release's table: the line it ends on, and its cells by the names in the header."""

    where: str
    cells: dict[str, str]


def records(
    root: Path, name: str, header: tuple[str, ...], *, usual: str = ",", headed: bool = True
) -> tuple[list[Record], list[str]]:
    """The rows of the table `name` below `root`, `usual` between their cells, and what was odd about its text.

    IntakeError if its first line is not `header`, or if a row has more or fewer cells. Where it is not `headed`, the
    first line is a row like the others, and lines that begin with # are comments.
    """
    table = tables.read(root / name, usual=usual)
    if not headed:
        rows = (tables.Row(1, table.header), *table.rows)
        table = replace(table, header=header, rows=tuple(row for row in rows if not row.cells[0].startswith("#")))
    if any(is_audio(cell) for cell in table.header):
        hint = f"put this line on top of it: {','.join(header)}"
        refuse([Problem("refuse", 48, f"starts with data, not with a header: {list(table.header)}; {hint}", name)])
    if table.header != header:
        refuse([Problem("refuse", 49, f"has the columns {table.header}, not {header}", name)])
    uneven = [row for row in table.rows if len(row.cells) != len(header)]
    counted = f"cells, and the header has {len(header)}"
    refuse(Problem("refuse", 49, f"has {len(row.cells)} {counted}", f"{name} line {row.line}") for row in uneven)
    found = [Record(f"{name} line {row.line}", dict(zip(header, row.cells, strict=True))) for row in table.rows]
    return found, list(table.notes)


def clips(rows: Iterable[Record], make: Callable[[dict[str, str]], Clip]) -> tuple[list[Clip], list[str]]:
    """What `make` makes of each row, and a note on rows that repeat one; IntakeError names every row that is Wrong."""
    made: dict[str, tuple[Clip, str]] = {}
    problems, repeated = [], []
    for where, cells in rows:
        try:
            clip = make(cells)
        except Wrong as wrong:
            problems.append(Problem("refuse", wrong.bad_input, str(wrong), where))
            continue
        first, line = made.setdefault(clip.name, (clip, where))
        if first != clip:
            problems.append(Problem("refuse", 51, f"{clip.name} stands here and, as another, in {line}", where))
        elif line != where:
            repeated.append(where)
    refuse(problems)
    notes = [f"{len(repeated)} rows repeat a clip that stands above: {short(repeated)}"] if repeated else []
    return [clip for clip, _ in made.values()], notes


def on_disk(found: list[Clip], max_missing: float, listed: Iterable[str] = ()) -> tuple[list[Clip], list[str]]:
    """The clips whose files are there, and notes on those that are not and on sounds that no row lists.

    `listed` are file names without ending that count as listed though no clip bears them. IntakeError names the missing
    files if they are more than the share `max_missing`.
    """
    there, lost = present(found, max_missing)
    known = {*listed, *(clip.path.stem for clip in found)}
    folders = sorted({clip.path.parent for clip in there})
    beside = (path for folder in folders for path in sorted(folder.iterdir()))
    strange = [path.name for path in beside if is_audio(path.name) and path.stem not in known]
    return there, lost + [f"{len(strange)} files are in no row and left out: {short(strange)}"] * bool(strange)


def present(found: list[Clip], max_missing: float, table: str = "") -> tuple[list[Clip], list[str]]:
    """The clips whose files are there, and a note on those that are not.

    IntakeError names these if they are more than the share `max_missing`, and the `table` that lists them.
    """
    missing = {clip.name: None for clip in found if not clip.path.is_file()}
    lost = f"{len(missing)} of {len(found)} files are missing"
    if len(missing) > max_missing * len(found):
        told = f"{lost}, more than max_missing = {max_missing:.1%} allows"
        refuse([Problem("refuse", 52, told, table), *(Problem("refuse", 52, "is missing", name) for name in missing)])
    there = [clip for clip in found if clip.name not in missing]
    note = f"{lost} and left out: {short(list(missing))}"
    return there, [f"{table}: {note}" if table else note] * bool(missing)


def number(cell: str, what: str, most: int, *, least: int = 0, bad_input: int = 49) -> int:
    """A whole number within limits; Wrong if the cell holds none."""
    if not re.fullmatch("[0-9]{1,9}", cell) or not least <= int(cell) <= most:
        raise Wrong(bad_input, f"{what} is {cell!r}; wanted a whole number from {least} to {most}")
    return int(cell)


def freesound(cell: str) -> str:
    """The Freesound ID that a file is named by, with its ending or without; Wrong if the cell holds none."""
    return str(number(cell.removesuffix(".wav"), "fname", 10**9 - 1, least=1))


def short(names: list[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
