"""Where recordings come from: each data set is a function of a path that returns a Manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Manifest
from ossicle.datasets import annotated, esc, folder, listing, synthetic
from ossicle.datasets.overview import described, summary

__all__ = ["DATASETS", "described", "load", "recognize", "summary"]

DATASETS: dict[str, Callable[..., Manifest]] = {
    "esc10": esc.esc10,
    "esc50": esc.esc50,
    "folder": folder.folder,
    "csv": listing.listing,
    "annotations": annotated.annotated,
    "synthetic": synthetic.synthetic,
}
TABLES = (".csv", ".tsv", ".txt")


def load(source: str | Path) -> Manifest:
    """Reads `source` as the data set that `recognize` sees in it."""
    kind, path = recognize(source)
    return DATASETS[kind](path)


def recognize(source: str | Path) -> tuple[str, str]:
    """(kind, path): `"esc10:PATH"` says itself what it is; a bare path is looked at.

    A folder may be an ESC release, recordings with label tables beside them, or a folder a class or of sound alone; a
    file is a table that lists clips. IntakeError where nothing fits.
    """
    kind, colon, path = str(source).partition(":")
    if colon and kind in DATASETS:
        return kind, path
    place = Path(source)
    if esc.is_esc(place):
        return ("esc10" if esc.only_esc10(place) else "esc50"), str(place)
    if place.is_dir():
        return ("annotations" if annotated.is_annotated(place) else "folder"), str(place)
    if not place.is_file() or place.suffix.casefold() not in TABLES:
        what = "is not there" if not place.exists() else "is no table of clips"
        known = ", ".join(f"{kind}:PATH" for kind in DATASETS)
        refuse([Problem("refuse", 45, f"{source} {what}; give a folder, a .csv or .tsv, or one of {known}")])
    return "csv", str(place)
