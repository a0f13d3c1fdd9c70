"""Where recordings come from: each data set is a function of a path that returns a Manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Manifest
from ossicle.datasets import (
    annotated,
    audioset,
    dcase2013,
    esc,
    folder,
    fsd50k,
    fsdnoisy18k,
    listing,
    scenes,
    synthetic,
    urbansound8k,
)
from ossicle.datasets.comparison import tabled
from ossicle.datasets.folder import cut
from ossicle.datasets.merged import merge
from ossicle.datasets.overview import compared, described, summary
from ossicle.datasets.release import TEST
from ossicle.recipe import Spec

__all__ = ["DATASETS", "compared", "described", "load", "merged", "recognize", "summary", "survey", "tested"]


def merged(sets: Sequence[str | Mapping[str, Any]], *, strict: bool = False) -> Manifest:
    """Two or more sets in one, each a source as `load` takes it or a table, `{ name = "esc50", path = "..." }`.

    See `merge` for what becomes of copies, recordings and folds.
    """
    if isinstance(sets, str):
        raise ValueError('sets is a text; wanted a list, [{ name = "esc50", path = "data/ESC-50" }, ...]')
    return merge([_built(one) for one in sets], strict=strict)


def unlabelled(of: str | Mapping[str, Any], *, segment: float | None = None) -> Manifest:
    """A data set, a source or a table as `merged` takes it, whose labels are forgotten; folds and recordings stay.

    `segment` cuts its clips into consecutive ones of so many seconds.
    """
    found = _spec(of).build(DATASETS).unlabelled()
    clips = found.clips if segment is None else tuple(piece for clip in found.clips for piece in cut(clip, segment))
    return replace(found, clips=clips)


def _built(one: str | Mapping[str, Any]) -> Manifest:
    found: Manifest = _spec(one).build(DATASETS)
    return found


def _spec(one: str | Mapping[str, Any]) -> Spec:
    if isinstance(one, str):
        kind, path = recognize(one)
        return Spec(kind, {"path": path})
    if "name" not in one:
        raise ValueError(f'{dict(one)} names no data set; wanted {{ name = "esc50", path = "data/ESC-50" }}')
    return Spec(one["name"], {key: one[key] for key in one if key != "name"})


DATASETS: dict[str, Callable[..., Manifest]] = {
    "esc10": esc.esc10,
    "esc50": esc.esc50,
    "urbansound8k": urbansound8k.urbansound8k,
    "dcase2013": dcase2013.dcase2013,
    "tut2017": scenes.tut2017,
    "tau": scenes.tau,
    "fsdnoisy18k": fsdnoisy18k.fsdnoisy18k,
    "fsd50k": fsd50k.fsd50k,
    "audioset": audioset.audioset,
    "folder": folder.folder,
    "csv": listing.listing,
    "annotations": annotated.annotated,
    "synthetic": synthetic.synthetic,
    "merged": merged,
    "unlabelled": unlabelled,
}
PLACED = [kind for kind in DATASETS if kind not in ("merged", "unlabelled")]
ONE_TEST = frozenset({"tau", "fsdnoisy18k", "fsd50k", "audioset"})  # one test set, and a fold to choose settings on
TABLES = (".csv", ".tsv", ".txt")


def load(source: str | Path) -> Manifest:
    """Reads `source` as the data set that `recognize` sees in it."""
    kind, path = recognize(source)
    return DATASETS[kind](path)


def tested(source: Spec) -> tuple[int, ...]:
    """The folds that a table over this data set tests on: those with labelled clips (of no labels all), or the one that
    its release tests on. Of several sets in one, those of the sets with labels.
    """
    if source.name in ONE_TEST:
        return (TEST,)
    if source.name != "merged":
        return source.build(DATASETS).scorable
    sets = [_spec(one) for one in source.args.get("sets", ())]
    labelled = [one for one in sets if one.build(DATASETS).classes] or sets
    return tuple(sorted({fold for one in labelled for fold in tested(one)}))


def survey(sources: Sequence[str | Path], *, listen: bool = False) -> tuple[dict[str, Any], str]:
    """What is in one source or in several, as values for JSON and as text. `listen` finds copies by ear too."""
    if len(sources) == 1:
        found = summary(load(sources[0]), listen=listen)
        return found, described(found)
    found = compared([load(source) for source in sources], listen=listen)
    return found, tabled(found)


def recognize(source: str | Path) -> tuple[str, str]:
    """(kind, path): `"esc10:PATH"` says itself what it is; a bare path is looked at.

    A folder may be a release of ESC, UrbanSound8K, DCASE 2013, TUT 2017, TAU, FSDnoisy18k, FSD50K or AudioSet,
    recordings with label tables beside them, or a folder a class or of sound alone; a file is a table that lists clips.
    IntakeError where nothing fits.
    """
    kind, colon, path = str(source).partition(":")
    if colon and kind in PLACED:
        return kind, path
    place = Path(source)
    if place.is_dir():
        return _looked_at(place), str(place)
    if not place.is_file() or place.suffix.casefold() not in TABLES:
        what = "is not there" if not place.exists() else "is no table of clips"
        known = ", ".join(f"{kind}:PATH" for kind in PLACED)
        refuse([Problem("refuse", 45, f"{source} {what}; give a folder, a .csv or .tsv, or one of {known}")])
    return "csv", str(place)


def _looked_at(place: Path) -> str:
    """What a folder holds."""
    if esc.is_esc(place):
        return "esc10" if esc.only_esc10(place) else "esc50"
    if urbansound8k.is_urbansound8k(place):
        return "urbansound8k"
    if dcase2013.is_dcase2013(place):
        return "dcase2013"
    if scenes.is_tut2017(place):
        return "tut2017"
    if scenes.is_tau(place):
        return "tau"
    if fsdnoisy18k.is_fsdnoisy18k(place):
        return "fsdnoisy18k"
    if fsd50k.is_fsd50k(place):
        return "fsd50k"
    if audioset.is_audioset(place):
        return "audioset"
    return "annotations" if annotated.is_annotated(place) else "folder"
