"""CSV and TSV as people write them -> a header and rows of cells with line numbers."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ossicle.data.intake import Problem, refuse
from ossicle.datasets.scan import is_audio

COLUMNS: dict[str, tuple[str, ...]] = {
    "file": ("filename", "file", "path", "filepath", "file_name", "file_path", "audio", "fname", "slice_file_name"),
    "clip": ("clip_name",),
    "label": ("label", "category", "class", "class_label", "scene_label", "species"),
    "labels": ("labels", "categories", "classes"),
    "target": ("target", "class_id", "classid", "label_id"),
    "fold": ("fold",),
    "group": ("group", "src_file", "recording", "recording_id", "source", "fsid"),
    "start": ("start", "start_time", "start_seconds", "begin", "onset", "begin time (s)"),
    "stop": ("stop", "end", "end_time", "end_seconds", "offset", "end time (s)"),
    "seconds": ("seconds", "duration", "length"),
}
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_ESCAPED = re.compile("[\udc80-\udcff]")


class Row(NamedTuple):
    """Cells without the spaces around them, and the line of the file that they end on."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A header and rows; `notes` say what was unusual about the text."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    delimiter: str = ","
    notes: tuple[str, ...] = ()


def text(path: Path) -> tuple[str, list[str]]:
    """A text file's content, whatever it is encoded in, and what was unusual about it."""
    raw = path.read_bytes()
    coding = next((name for bom, name in _BOMS.items() if raw.startswith(bom)), "utf-8")
    if coding == "utf-8" and b"\0" in raw[:200]:
        coding = "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"
    try:
        content = raw.decode(coding, "surrogateescape")
    except UnicodeDecodeError as error:
        refuse([Problem("refuse", 48, f"cannot be read as {coding}: {error.reason}", path.name)])
    unusual = [] if coding == "utf-8" else [coding.upper()]
    unusual += ["CRLF line ends"] * ("\r\n" in content)
    return content, unusual + ["bytes that are no UTF-8"] * bool(_ESCAPED.search(content))


def legible(cell: str) -> str:
    """A cell as composed text; bytes that are no UTF-8 are read as Windows wrote them."""
    if _ESCAPED.search(cell):
        cell = cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return unicodedata.normalize("NFC", cell)


def read(path: Path, *, usual: str = ",") -> Table:
    """The table in `path`: comma, semicolon, tab or bar between cells, quotes around those that hold any of them.

    What is between cells is noted unless it is the `usual` one, or a comma.
    """
    content, unusual = text(path)
    first = re.sub('"[^"]*"', "", content.lstrip().partition("\n")[0])
    delimiter = max(",;\t|", key=first.count)
    if delimiter not in (",", usual):
        unusual.append({";": "semicolons", "\t": "tabs", "|": "bars"}[delimiter] + " between cells")
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        raw = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        refuse([Problem("refuse", 48, f"is no table: {error}", f"{path.name} line {reader.line_num}")])
    rows = [Row(line, tuple(cell.strip() for cell in cells)) for line, cells in raw if any(map(str.strip, cells))]
    if not rows:
        refuse([Problem("refuse", 45, "is empty; it needs a header such as filename,label,fold", path.name)])
    spaced = sum(cell != cell.strip() for _, cells in raw for cell in cells)
    unusual += [f"spaces around {spaced} cells taken away"] * bool(spaced)
    notes = (f"{path.name} was read with {', '.join(unusual)}",) if unusual else ()
    return Table(path, rows[0].cells, tuple(rows[1:]), delimiter, notes)


def find(table: Table, columns: Mapping[str, str]) -> dict[str, int]:
    """Which column holds what, by the names in COLUMNS or those given. Refuses a table that names no files."""
    header, where = [cell.casefold() for cell in table.header], table.path.name
    twice = [name for name, n in Counter(header).items() if n > 1 and name]
    problems = [Problem("refuse", 49, f"two columns are called {name!r}", where) for name in twice]
    found: dict[str, int] = {}
    for what, names in COLUMNS.items():
        wanted = (columns[what].casefold(),) if what in columns else names
        place = next((header.index(name) for name in wanted if name in header), None)
        if place is not None:
            found[what] = place
        elif what in columns:
            sentence = f"has no column {columns[what]!r}; it has {list(table.header)}"
            problems.append(Problem("refuse", 49, sentence, where))
    if "file" not in found and not problems:
        problems.append(_no_files(table))
    refuse(problems)
    return found


def _no_files(table: Table) -> Problem:
    cells, where = list(table.header), table.path.name
    if any(is_audio(cell) for cell in cells):
        advice = "put a line such as filename,label,fold on top of it"
        return Problem("refuse", 48, f"starts with data, not with a header: {cells}; {advice}", where)
    advice = "call it filename, or pass columns={'file': its name}"
    return Problem("refuse", 49, f"has no column that names files among {cells}; {advice}", where)
