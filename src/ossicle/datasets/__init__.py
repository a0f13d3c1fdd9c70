"""Where recordings come from: each data set is a function of a path that returns a Manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Manifest
from ossicle.datasets import annotated, esc, folder, listing
from ossicle.datasets.overview import described, summary

__all__ = ["DATASETS", "described", "load", "summary"]

DATASETS: dict[str, Callable[..., Manifest]] = {
    "esc10": esc.esc10,
    "esc50": esc.esc50,
    "folder": folder.folder,
    "csv": listing.listing,
    "annotations": annotated.annotated,
}
TABLES = (".csv", ".tsv", ".txt")


def load(source: str | Path) -> Manifest:
    """`"esc10:PATH"` reads PATH as that data set; a bare path is looked at to see what it is.

    A folder may be an ESC release, recordings with label tables beside them, a folder a class, or sound alone; a file
    is a table that lists clips. IntakeError says what was looked for.
    """
    kind, colon, path = str(source).partition(":")
    if colon and kind in DATASETS:
        return DATASETS[kind](path)
    place = Path(source)
    if esc.is_esc(place):
        return esc.esc10(place) if esc.only_esc10(place) else esc.esc50(place)
    if place.is_dir():
        return annotated.annotated(place) if annotated.is_annotated(place) else folder.folder(place)
    if not place.is_file() or place.suffix.casefold() not in TABLES:
        what = "is not there" if not place.exists() else "is no table of clips"
        known = ", ".join(f"{kind}:PATH" for kind in DATASETS)
        refuse([Problem("refuse", 45, f"{source} {what}; give a folder, a .csv or .tsv, or one of {known}")])
    return listing.listing(place)
