"""AudioSet as released: `{balanced_train,unbalanced_train,eval}_segments.csv`, `class_labels_indices.csv`, and sound.

J. F. Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events", ICASSP 2017: 527 classes of
events, several a clip, in stretches of ten seconds from YouTube. The tables list them, and the sound is whatever could
be had, in files named by their video.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ossicle.data.dealing import share
from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import release
from ossicle.datasets.release import TEST, VALID, Wrong
from ossicle.datasets.scan import Scan

CLASSES = "class_labels_indices.csv"
CLASS_HEADER = ("index", "mid", "display_name")
EVAL = "eval_segments.csv"
TRAIN = {"balanced": "balanced_train_segments.csv", "unbalanced": "unbalanced_train_segments.csv"}
HEADER = ("YTID", "start_seconds", "end_seconds", "positive_labels")


def audioset(
    path: str | Path,
    *,
    part: Literal["all", "balanced", "unbalanced"] = "all",
    valid: float = 0.1,
    seed: int = 0,
    max_missing: float = 0.2,
) -> Manifest:
    """What there is of the release at `path`: fold 1 is eval and fold 2 for validation; the rest has no fold and is
    always trained on.

    `part` chooses the training tables; "all" reads those that are there. A `valid` share of their videos is fold 2, as
    `seed` decides, whichever files are there. The classes are in the order of class_labels_indices.csv. A clip's file
    is anywhere below `path`, a stretch already cut out, and called by its video, alone or with start or start and end
    behind it, with or without the Y in front that some tools add: `--PJHxphWEs.flac`, `Y--PJHxphWEs.wav`,
    `--PJHxphWEs_30.000.wav`, `--PJHxphWEs_30000_40000.flac` (milliseconds). `meta` tells how long it should last.

    Many videos are gone (a copy of 2023 lacks 16 % of balanced and of eval), so missing files are left out and counted,
    table by table, and refused above the share `max_missing` of one. IntakeError names every wrong line.
    """
    if part not in ("all", *TRAIN) or not 0 <= valid < 1:
        raise ValueError(f"part is {part!r} and valid {valid!r}; wanted all, {', '.join(TRAIN)}, and a share, 0.1 say")
    root = Path(path)
    if not is_audioset(root) or (part in TRAIN and not (root / TRAIN[part]).is_file()):
        tables = " or ".join(TRAIN.values()) if part == "all" else TRAIN[part]
        refuse([Problem("refuse", 45, f"{root} is no AudioSet: looked for {CLASSES} and {tables} in it")])
    files, notes = _files(root)
    classes, odd = _classes(root)
    names = [name for chosen, name in TRAIN.items() if part in ("all", chosen)] + [EVAL]
    told = [*notes, *odd]
    listed: dict[str, list[Clip]] = {}
    for name in names:
        if (root / name).is_file():
            listed[name], odd = _listed(root, name, classes, files)
            told += odd
    _refuse_shared(listed)
    learned = Manifest.of("learned", [clip for name, clips in listed.items() if name != EVAL for clip in clips])
    held = {clip.group for clip in learned.select(share(learned.groups(), valid, seed)).clips}
    there = []
    for name, clips in listed.items():
        present, odd = release.present(clips, max_missing, name)
        there += [replace(clip, fold=_fold(name, clip.group in held)) for clip in present]
        told += odd
    strange = sorted(set(files.values()) - {clip.name for clip in there})
    told += [f"{len(strange)} files are in no row that was read: {release.short(strange)}"] * bool(strange)
    return Manifest.of("audioset", there, classes=list(classes.values()), multilabel=True, notes=told)


def is_audioset(path: Path) -> bool:
    """Whether `path` holds the table of classes and one to train on."""
    return (path / CLASSES).is_file() and any((path / name).is_file() for name in TRAIN.values())


def _fold(table: str, held: bool) -> int | None:
    return TEST if table == EVAL else VALID if held else None


def _files(root: Path) -> tuple[dict[str, str], list[str]]:
    """The sound files below `root`, name by name without its ending; of two that are called alike the first."""
    scan, twice = Scan(root, links=True), []
    found: dict[str, str] = {}
    for path, name in scan:
        if found.setdefault(path.stem, name) != name:
            twice.append(name)
    notes = [f"{len(twice)} files are called as another one and left out: {release.short(twice)}"] * bool(twice)
    return found, [*scan.passed, *notes]


def _classes(root: Path) -> tuple[dict[str, str], list[str]]:
    """The classes' names by their ids (mids), in order. Names that several bear have the id behind them."""
    rows, notes = release.records(root, CLASSES, CLASS_HEADER)
    wrong = [
        Problem("refuse", 55, f"index is {cells['index']!r}; wanted {number}", where)
        for number, (where, cells) in enumerate(rows)
        if cells["index"] != str(number)
    ]
    refuse(wrong)
    count = Counter(cells["display_name"] for _, cells in rows)
    told = {cells["mid"]: cells["display_name"] for _, cells in rows}
    return {mid: name if count[name] == 1 else f"{name} ({mid})" for mid, name in told.items()}, notes


def _listed(
    root: Path, table: str, classes: Mapping[str, str], files: Mapping[str, str]
) -> tuple[list[Clip], list[str]]:
    """A table's clips, the missing ones too, and what was odd about it."""
    rows, notes = release.records(root, table, HEADER, headed=False)
    rows = [row for row in rows if row.cells["YTID"] != "YTID"]
    made, repeated = release.clips(rows, lambda cells: _clip(root, cells, classes, files))
    return made, [*notes, *repeated]


def _clip(root: Path, cells: dict[str, str], classes: Mapping[str, str], files: Mapping[str, str]) -> Clip:
    video, labels = cells["YTID"], cells["positive_labels"].split(",")
    if not re.fullmatch(r"[\w-]{11}", video, re.ASCII):
        raise Wrong(49, f"YTID is {video!r}; wanted the eleven letters that name a video")
    start, end = (_seconds(cells, name) for name in HEADER[1:3])
    if end <= start:
        raise Wrong(49, f"ends at {end:g} s, which is not after its start at {start:g} s")
    if strange := [mid for mid in labels if mid not in classes]:
        raise Wrong(49, f"{strange} are none of the {len(classes)} classes in {CLASSES}")
    name = next((files[stem] for stem in _stems(video, start, end) if stem in files), f"{video}.wav")
    heard = tuple(dict.fromkeys(classes[mid] for mid in labels))
    return Clip(root / name, name, heard, group=f"youtube/{video}", meta={"seconds": end - start})


def _seconds(cells: dict[str, str], name: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", cells[name], re.ASCII):
        raise Wrong(49, f"{name} is {cells[name]!r}, not a number of seconds")
    return float(cells[name])


def _stems(video: str, start: float, end: float) -> Iterator[str]:
    """What a stretch's file may be called."""
    for letter in ("", "Y"):
        yield f"{letter}{video}"
        for spelled in ("{:.3f}", "{:.1f}", "{:g}", "{:.0f}"):
            by = 1000 if spelled == "{:.0f}" else 1
            first, last = spelled.format(by * start), spelled.format(by * end)
            yield f"{letter}{video}_{first}"
            yield f"{letter}{video}_{first}_{last}"


def _refuse_shared(listed: Mapping[str, list[Clip]]) -> None:
    """No video may stand in two tables."""
    home: dict[str, str] = {}
    twice = [
        Problem("refuse", 57, f"stands in {home[clip.group]} too", f"{name}: {clip.group}")
        for name, clips in listed.items()
        for clip in clips
        if home.setdefault(clip.group, name) != name
    ]
    refuse(twice)
