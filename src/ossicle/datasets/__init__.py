"""Where recordings come from: each data set is a function of a path that returns a Manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ossicle.data.manifest import Manifest
from ossicle.datasets import esc

DATASETS: dict[str, Callable[..., Manifest]] = {
    "esc10": esc.esc10,
    "esc50": esc.esc50,
}


def load(source: str | Path) -> Manifest:
    """`"esc10:PATH"` reads PATH as that data set; a bare path is looked at to see what it is."""
    kind, colon, path = str(source).partition(":")
    if colon and kind in DATASETS:
        return DATASETS[kind](path)
    folder = Path(source)
    if esc.is_esc(folder):
        return esc.esc10(folder) if esc.only_esc10(folder) else esc.esc50(folder)
    raise ValueError(f"{source}: not recognized as a data set; known kinds: {', '.join(DATASETS)}")
