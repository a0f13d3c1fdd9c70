"""ESC-50 and its subset ESC-10 as released: `audio/{fold}-{src_file}-{take}-{target}.wav` and `meta/esc50.csv`.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015. Folds are the official ones.
"""

from __future__ import annotations

import csv
from pathlib import Path

from ossicle.data.manifest import Clip, Manifest

TABLE = "meta/esc50.csv"


def esc50(path: str | Path) -> Manifest:
    """All classes of the release at `path`, in the order of their stored targets; the clips are .wav or .ogg."""
    return _read(Path(path), "esc50", esc10=False)


def esc10(path: str | Path) -> Manifest:
    """The clips that the release marks with its `esc10` flag: ten classes of forty."""
    return _read(Path(path), "esc10", esc10=True)


def is_esc(path: Path) -> bool:
    """Whether `path` holds an ESC release."""
    return (path / TABLE).is_file() and (path / "audio").is_dir()


def only_esc10(path: Path) -> bool:
    """Whether every clip of the release at `path` is one of ESC-10's."""
    return all(row["esc10"] == "True" for row in _rows(path))


def _read(root: Path, name: str, *, esc10: bool) -> Manifest:
    if not is_esc(root):
        raise ValueError(
            f"{root} is no ESC release: looked for {TABLE} and audio/ in it; give the folder that holds both"
        )
    rows = [row for row in _rows(root) if row["esc10"] == "True" or not esc10]
    targets = {row["category"]: int(row["target"]) for row in rows}
    return Manifest.of(name, (_clip(root, row) for row in rows), classes=sorted(targets, key=targets.__getitem__))


def _rows(root: Path) -> list[dict[str, str]]:
    with (root / TABLE).open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _clip(root: Path, row: dict[str, str]) -> Clip:
    """The name is the release's own, so that a copy in another format is the same clip."""
    name = f"audio/{Path(row['filename']).stem}"
    path = next(
        (p for ending in (".wav", ".ogg", ".flac") if (p := root / (name + ending)).is_file()),
        root / f"audio/{row['filename']}",
    )
    return Clip(path, name, (row["category"],), int(row["fold"]), row["src_file"])
