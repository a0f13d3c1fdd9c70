"""ESC-50 and its subset ESC-10 as released: `audio/{fold}-{src_file}-{take}-{target}.wav` and `meta/esc50.csv`.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015. Folds are the official ones.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import tables

TABLE = "meta/esc50.csv"
HEADER = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
ENDINGS = (".wav", ".ogg", ".flac")


def esc50(path: str | Path) -> Manifest:
    """All classes of the release at `path`, in the order of their stored targets; the clips are .wav or .ogg."""
    return _manifest("esc50", Path(path), _rows(Path(path)))


def esc10(path: str | Path) -> Manifest:
    """The clips that the release marks with its `esc10` flag: ten classes of forty."""
    return _manifest("esc10", Path(path), [row for row in _rows(Path(path)) if row["esc10"] == "True"])


def is_esc(path: Path) -> bool:
    """Whether `path` holds an ESC release."""
    return (path / TABLE).is_file() and (path / "audio").is_dir()


def only_esc10(path: Path) -> bool:
    """Whether every clip of the release at `path` is one of ESC-10's."""
    return all(row["esc10"] == "True" for row in _rows(path))


def _rows(root: Path) -> list[dict[str, str]]:
    if not is_esc(root):
        sentence = f"{root} is no ESC release: looked for {TABLE} and audio/ in it; give the folder that holds both"
        refuse([Problem("refuse", 45, sentence)])
    table = tables.read(root / TABLE)
    if table.header != HEADER:
        refuse([Problem("refuse", 49, f"has the columns {table.header}, not {HEADER}", TABLE)])
    short = [row for row in table.rows if len(row.cells) != len(HEADER) or not (row.cells[1] + row.cells[2]).isdigit()]
    refuse(Problem("refuse", 49, f"is no clip: {row.cells}", f"{TABLE} line {row.line}") for row in short)
    return [dict(zip(HEADER, row.cells, strict=True)) for row in table.rows]


def _manifest(name: str, root: Path, rows: list[dict[str, str]]) -> Manifest:
    targets = {row["category"]: int(row["target"]) for row in rows}
    return Manifest.of(name, (_clip(root, row) for row in rows), classes=sorted(targets, key=targets.__getitem__))


def _clip(root: Path, row: dict[str, str]) -> Clip:
    """The name leaves out the file's ending, so that a copy in another format is the same clip."""
    name = str(PurePosixPath("audio", row["filename"]).with_suffix(""))
    found = (file for ending in ENDINGS if (file := root / (name + ending)).is_file())
    path = next(found, root / "audio" / row["filename"])
    return Clip(path, name, (row["category"],), int(row["fold"]), row["src_file"])
