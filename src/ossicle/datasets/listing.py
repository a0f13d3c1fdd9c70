"""A table that lists clips -> a Manifest. Every line that is wrong is named, all at once."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import tables
from ossicle.datasets.scan import NO_EVENT, UNKNOWN, is_audio, no_event
from ossicle.datasets.tables import Row


def listing(
    path: str | Path,
    *,
    root: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    max_missing: float = 0.01,
) -> Manifest:
    """The clips that a CSV or TSV lists. Paths are relative to `root`, or to where the table and the sounds are found.

    Columns are known by their usual names; `columns` names others, as in {"label": "ebird_code"}. A column called
    `labels` holds several, between commas, semicolons or bars; `label` holds one. `?` is an unknown label, and
    `background`, `noise`, `silence` or `other` mean no event. Files that are missing are left out and noted, and
    refused above the share `max_missing`. IntakeError names every line that is wrong.
    """
    table = tables.read(Path(path))
    return _Reader(table, tables.find(table, columns or {}), root, max_missing).manifest()


def write(manifest: Manifest, path: str | Path) -> None:
    """A table that `listing` reads back on this machine: `?` is an unknown label, `background` no event."""
    with Path(path).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows(rows(manifest))


def rows(manifest: Manifest) -> list[list[str]]:
    """The header and the lines of that table."""
    header = ["filename", "clip_name", "labels" if manifest.multilabel else "label", "fold", "group", "start", "stop"]
    return [header, *(_line(clip) for clip in manifest.clips)]


def _line(clip: Clip) -> list[str]:
    label = ",".join(clip.labels) or (NO_EVENT if clip.no_event else UNKNOWN)
    known = (clip.path.absolute(), clip.name, label, clip.fold, clip.group, clip.start, clip.stop)
    return ["" if value is None else str(value) for value in known]


@dataclass
class _Reader:
    """Rows to clips, gathering on the way what is wrong with them."""

    table: tables.Table
    column: Mapping[str, int]
    root: str | Path | None
    max_missing: float
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        width = len(self.table.header)
        self.rows = [row for row in self.table.rows if len(row.cells) == width]
        for row in self.table.rows:
            if len(row.cells) != width:
                self._wrong(49, row, f"has {len(row.cells)} cells and the header {width}")
        self.several = "labels" in self.column
        self.folded = any(self._cell(row, "fold") for row in self.rows)
        self.base = Path(self.root) if self.root is not None else self._base()

    def manifest(self) -> Manifest:
        """The manifest, or IntakeError."""
        targets = self._targets()
        clips = self._merged([(row, clip) for row in self.rows if (clip := self._clip(row))])
        self._check_missing()
        if not clips and not self.problems:
            self._wrong(45, None, "lists no clips below its header")
        refuse(self.problems)
        found = {label for clip in clips for label in clip.labels}
        classes = sorted(found, key=lambda label: (targets.get(label, 0), label))
        notes = [*self.table.notes, *self.notes, *self._strangers(clips)]
        return Manifest.of(self.table.path.stem, clips, classes=classes, multilabel=self.several or None, notes=notes)

    def _wrong(self, bad_input: int, row: Row | None, sentence: str) -> None:
        where = self.table.path.name + (f" line {row.line}" if row else "")
        self.problems.append(Problem("refuse", bad_input, sentence, where))

    def _cell(self, row: Row, what: str) -> str:
        return row.cells[self.column[what]] if what in self.column else ""

    def _base(self) -> Path:
        """The folder that paths start from: of the likely ones, that which has the most of the first hundred files."""
        here = self.table.path.parent
        likely = (here, here / "audio", here.parent, here.parent / "audio")
        first = [self._cell(row, "file") for row in self.rows[:100]]
        return max(likely, key=lambda base: sum(_on_disk(base, name) is not None for name in first))

    def _clip(self, row: Row) -> Clip | None:
        name = self._cell(row, "file")
        path = _on_disk(self.base, name) if name else None
        labels, silent = self._labels(row)
        fold = self._fold(row, bool(labels or silent))
        start, stop = self._seconds(row, "start") or 0.0, self._seconds(row, "stop")
        if stop is not None and stop <= start:
            self._wrong(49, row, f"stops at {stop} s, which is not after its start at {start} s")
        if not name:
            self._wrong(49, row, "names no file")
        elif path is None:
            self.missing.append(name)
        if path is None:
            return None
        known = self._cell(row, "clip") or os.path.normpath(name.replace("\\", "/"))
        return Clip(path, known, labels, fold, self._cell(row, "group"), start, stop, silent, self._meta(row))

    def _meta(self, row: Row) -> dict[str, Any]:
        """Whatever else the row says; `seconds` is the duration that it promises."""
        taken = set(self.column.values())
        said = zip(self.table.header, row.cells, strict=True)
        meta: dict[str, Any] = {head: cell for i, (head, cell) in enumerate(said) if cell and i not in taken}
        seconds = self._seconds(row, "seconds")
        return meta if seconds is None else {**meta, "seconds": seconds}

    def _seconds(self, row: Row, what: str) -> float | None:
        cell = self._cell(row, what)
        number = cell.replace(",", ".") if self.table.delimiter == ";" else cell
        if re.fullmatch(r"(\d+\.?\d*|\.\d+)([eE]-?\d+)?", number):
            return float(number)
        if cell:
            self._wrong(49, row, f"{what} is {cell!r}, not a number of seconds")
        return None

    def _fold(self, row: Row, labelled: bool) -> int | None:
        cell = self._cell(row, "fold")
        if re.fullmatch("[1-9][0-9]{0,8}", cell):
            return int(cell)
        if cell or (self.folded and labelled):
            self._wrong(50, row, f"fold is {cell!r}; folds are whole numbers from 1 on")
        return None

    def _labels(self, row: Row) -> tuple[tuple[str, ...], bool]:
        """(labels, whether no event was found)."""
        what = next((what for what in ("labels", "label", "target") if what in self.column), None)
        if what is None:
            return (), False
        cell = tables.legible(self._cell(row, what))
        if not cell:
            advice = f"write {UNKNOWN} where it is unknown and {NO_EVENT} where nothing is heard"
            self._wrong(49, row, f"the {what} is empty; {advice}")
        names = [name.strip() for name in re.split("[,;|]", cell)] if what == "labels" else [cell]
        if what == "target":
            names = [_whole(cell)]
        heard = tuple(dict.fromkeys(name for name in names if name and name != UNKNOWN and not no_event(name)))
        return heard, not heard and any(no_event(name) for name in names)

    def _targets(self) -> dict[str, int]:
        """The numbers of the classes; refuses a name with two numbers and a number with two names."""
        if "target" not in self.column or self.several:
            return {}
        pairs: dict[str, int] = {}
        for row in self.rows:
            number = _whole(self._cell(row, "target"))
            name = tables.legible(self._cell(row, "label")) if "label" in self.column else number
            if not re.fullmatch(r"-?\d+", number):
                if number not in ("", UNKNOWN):
                    self._wrong(55, row, f"target is {number!r}, not a whole number")
            elif pairs.setdefault(name, int(number)) != int(number):
                self._wrong(55, row, f"class {name!r} has target {number} here and {pairs[name]} before")
        order = sorted(set(pairs.values()))
        for one in order:
            names = [name for name in pairs if pairs[name] == one]
            if len(names) > 1:
                self._wrong(55, None, f"target {one} stands for {names}")
        if order != list(range(len(order))):
            self.notes.append(
                f"targets {_short(order)} of {self.table.path.name} became 0 to {len(order) - 1}, in order"
            )
        return pairs

    def _merged(self, clips: list[tuple[Row, Clip]]) -> list[Clip]:
        """One clip a stretch of a file: equal rows once, labels of a multi-label table together, the rest refused."""
        kept: dict[tuple[str, float, float | None], tuple[Row, Clip]] = {}
        for row, clip in clips:
            stretch = (clip.name, clip.start, clip.stop)
            first, before = kept.setdefault(stretch, (row, clip))
            if self.several and (before.fold, before.group) == (clip.fold, clip.group):
                labels = tuple(dict.fromkeys(before.labels + clip.labels))
                silent = before.no_event and clip.no_event
                kept[stretch] = (first, replace(before, labels=labels, no_event=silent))
            elif before != clip:
                said = f"{clip.name} stands here as {_said(clip)} and on line {first.line} as {_said(before)}"
                self._wrong(51, row, said)
        if len(kept) < len(clips):
            self.notes.append(
                f"{len(clips) - len(kept)} rows of {self.table.path.name} repeat a clip that stands above"
            )
        return [clip for _, clip in kept.values()]

    def _check_missing(self) -> None:
        lost = f"{len(self.missing)} of {len(self.rows)} files are missing"
        if len(self.missing) > self.max_missing * len(self.rows):
            self._wrong(52, None, f"{lost} below {self.base}, more than max_missing = {self.max_missing:.1%} allows")
            self.problems += [Problem("refuse", 52, "is missing", name) for name in self.missing]
        elif self.missing:
            self.notes.append(f"{lost} and left out: {_short(self.missing)}")

    def _strangers(self, clips: Iterable[Clip]) -> list[str]:
        """A sentence on sounds that lie beside the listed ones and are not listed."""
        listed = {clip.path for clip in clips}
        beside = (path for folder in {path.parent for path in listed} for path in folder.iterdir())
        strange = sorted(path.name for path in beside if is_audio(path.name) and path not in listed)
        where = f"lie beside the others and not in {self.table.path.name}"
        return [f"{len(strange)} files {where}: {_short(strange)}"] if strange else []


def _on_disk(base: Path, name: str) -> Path | None:
    """The file that a cell means: as written, with slashes turned, or with its accents composed the other way."""
    for spelled in (name, name.replace("\\", "/"), tables.legible(name)):
        for form in (spelled, unicodedata.normalize("NFC", spelled), unicodedata.normalize("NFD", spelled)):
            if "\0" not in form and (path := base / form).is_file():
                return path
    return None


def _whole(cell: str) -> str:
    """1.0 as 1; anything else as it is."""
    return re.sub(r"\.0*$", "", cell)


def _said(clip: Clip) -> str:
    fold = f" in fold {clip.fold}" if clip.fold else ""
    return (", ".join(clip.labels) or (NO_EVENT if clip.no_event else UNKNOWN)) + fold


def _short(things: Sequence[object]) -> str:
    return ", ".join(str(thing) for thing in things[:10]) + ", ..." * (len(things) > 10)
