"""Tampere's acoustic scenes as released: TUT Acoustic Scenes 2017, and TAU Urban Acoustic Scenes 2019 to 2022 Mobile.

A. Mesaros, T. Heittola and T. Virtanen, "TUT Database for Acoustic Scene Classification and Sound Event Detection",
EUSIPCO 2016; "A multi-device dataset for urban acoustic scene classification", DCASE 2018; T. Heittola, A. Mesaros and
T. Virtanen, "Acoustic scene classification in DCASE 2020 Challenge", DCASE 2020. Clips of one place are one group.
`evaluation_setup/` holds the official parts, `fold1_train`, `fold1_evaluate` and so on, tabs between cells.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import release, tables
from ossicle.datasets.release import TEST, VALID, Wrong
from ossicle.datasets.scan import is_audio

SETUP = "evaluation_setup"
TUT_TABLE, TUT_TEST, ERRORS = "meta.txt", f"{SETUP}/test.txt", "error.txt"
TUT_HEADER = ("filename", "scene_label", "identifier")
TUT_FOLDS = 4
TUT_CLASSES = (
    *("beach", "bus", "cafe/restaurant", "car", "city_center", "forest_path", "grocery_store", "home"),
    *("library", "metro_station", "office", "park", "residential_area", "train", "tram"),
)
TAU_TABLE, TAU_TRAIN, TAU_TEST = "meta.csv", f"{SETUP}/fold1_train.csv", f"{SETUP}/fold1_evaluate.csv"
TAU_ASKED = (f"{SETUP}/fold1_test.csv", f"{SETUP}/test.csv")  # of evaluation sets since 2020, and of those before
TAU_HEADER = ("filename", "scene_label", "identifier", "source_label")
TAU_CLASSES = (
    *("airport", "bus", "metro", "metro_station", "park", "public_square"),
    *("shopping_mall", "street_pedestrian", "street_traffic", "tram"),
)
SUBSETS = (5, 10, 25, 50, 100)


def tut2017(path: str | Path, *, errors: Literal["keep", "leave_out"] = "keep", max_missing: float = 0.01) -> Manifest:
    """The development set at `path`, 15 classes in four folds by location; or the evaluation set, without folds.

    Fold k holds what the official setup tests on in its fold k. Clips that two of its folds test on are kept in the one
    that holds more of their location. `meta` gives the stretches that error.txt marks in a clip as `errors`, pairs of
    seconds; `errors="leave_out"` leaves such clips out, from tests too. Clips of an evaluation set are without labels
    where evaluate.txt is not there.

    IntakeError names every wrong line, and the missing files if they are more than the share `max_missing`.
    """
    if errors not in ("keep", "leave_out"):
        raise ValueError(f"errors is {errors!r}; wanted 'keep' or 'leave_out'")
    root = Path(path)
    if not is_tut2017(root):
        sought = f"{TUT_TABLE} and {_tut_part(1)}, or {TUT_TEST}"
        refuse([Problem("refuse", 45, f"{root} is no TUT Acoustic Scenes 2017: looked for {sought} in it")])
    if not _is_whole_tut(root):
        return _asked("tut2017", root, TUT_TEST, TUT_CLASSES, max_missing)
    rows, notes = release.records(root, TUT_TABLE, TUT_HEADER, usual="\t", headed=False)
    faulty = _faulty(root)
    listed, repeated = release.clips(rows, lambda cells: _tut(root, cells, faulty))
    parts = {fold: _listed(root, _tut_part(fold), listed) for fold in range(1, TUT_FOLDS + 1)}
    dealt, torn = _at_home(listed, parts)
    kept = [clip for clip in dealt if errors == "keep" or "errors" not in clip.meta]
    there, odd = release.on_disk(kept, max_missing, {clip.path.stem for clip in listed})
    told = [*notes, *repeated, *torn, *_told(listed, faulty, errors), *odd]
    return Manifest.of("tut2017", there, classes=TUT_CLASSES, notes=told)


def is_tut2017(path: Path) -> bool:
    """Whether `path` holds the development set or the evaluation set."""
    return _is_whole_tut(path) or ((path / TUT_TEST).is_file() and (path / "audio").is_dir())


def _is_whole_tut(path: Path) -> bool:
    return (path / TUT_TABLE).is_file() and (path / _tut_part(1)).is_file()


def tau(
    path: str | Path,
    *,
    subset: Literal[5, 10, 25, 50, 100] | None = None,
    valid: float = 0.15,
    seed: int = 0,
    max_missing: float = 0.01,
) -> Manifest:
    """TAU Urban 2019, 2020 Mobile or 2022 Mobile at `path`, ten classes: fold 1 is the official test part, fold 2 for
    validation, and clips without a fold are trained on. An evaluation set has no folds, and labels once published.

    `valid` is the share of every class of the training part that is fold 2, whole locations, as `seed` decides. Of the
    training part a `subset` keeps what `split{subset}.csv` of DCASE 2024's task 1 lists (per cent; in split_setup/,
    evaluation_setup/ or beside meta.csv; the `test.csv` with it is the test part then); who is held out does not depend
    on it. Clips of no part are left out. `meta` tells each clip's `device` and `city`. Groups are `tau/lisbon-1000`:
    the years share recordings.

    IntakeError names every wrong line, and the missing files if they are more than the share `max_missing`.
    """
    if subset not in (None, *SUBSETS) or not 0 <= valid < 1:
        raise ValueError(f"subset is {subset!r} and valid {valid!r}; wanted one of {SUBSETS}, and a share, 0.15 say")
    root = Path(path)
    if not is_tau(root):
        sought = f"{TAU_TABLE} and {TAU_TEST}, or {' or '.join(TAU_ASKED)}"
        refuse([Problem("refuse", 45, f"{root} is no TAU Urban Acoustic Scenes: looked for {sought} in it")])
    if not _is_whole_tau(root):
        return _asked("tau", root, _tau_asked(root), TAU_CLASSES, max_missing)
    rows, notes = release.records(root, TAU_TABLE, TAU_HEADER, usual="\t")
    listed, repeated = release.clips(rows, lambda cells: _tau(root, cells))
    train, test, chosen = _tau_parts(root, subset, listed)
    official = [clip for clip in listed if clip.name in train]
    out = Manifest.of("train", official, classes=TAU_CLASSES).hold_out(valid, seed)
    held = {clip.group for clip, away in zip(official, out, strict=True) if away}
    dealt = [replace(clip, fold=VALID if clip.group in held else None) for clip in listed if clip.name in chosen]
    asked = [replace(clip, fold=TEST) for clip in listed if clip.name in test]
    there, odd = release.on_disk([*dealt, *asked], max_missing, {clip.path.stem for clip in listed})
    unused = len(listed) - len(train.keys() | chosen | test.keys())
    told = [f"{unused} clips are in neither part of the official split and are left out"] * bool(unused)
    told += [f"{len(dealt)} training clips, {len(official)} in all, are in split{subset}.csv"] * (subset is not None)
    return Manifest.of("tau", there, classes=TAU_CLASSES, notes=[*notes, *repeated, *told, *odd])


def is_tau(path: Path) -> bool:
    """Whether `path` holds a development set or an evaluation set."""
    return _is_whole_tau(path) or bool(_tau_asked(path))


def _is_whole_tau(path: Path) -> bool:
    return (path / TAU_TABLE).is_file() and (path / TAU_TEST).is_file()


def _tau_asked(path: Path) -> str:
    """The list of an evaluation set's clips; "" where `path` holds none, or what is left of a development set."""
    lists = [name for name in TAU_ASKED if (path / name).is_file() and (path / "audio").is_dir()]
    return "" if (path / TAU_TRAIN).is_file() else next(iter(lists), "")


def _tut_part(fold: int) -> str:
    return f"{SETUP}/fold{fold}_evaluate.txt"


def _tut(root: Path, cells: Mapping[str, str], faulty: Mapping[str, tuple[tuple[float, float], ...]]) -> Clip:
    name = cells["filename"]
    meta = {"errors": faulty[name]} if name in faulty else {}
    return Clip(root / name, name, (_known(cells, TUT_CLASSES),), group=_place(cells), meta=meta)


def _tau(root: Path, cells: Mapping[str, str]) -> Clip:
    place, device = _place(cells), cells["source_label"]
    city, dash, _ = place.rpartition("-")
    if not dash or not device:
        raise Wrong(49, f"identifier is {place!r} and source_label {device!r}; wanted lisbon-1000 and a, say")
    meta = {"city": city, "device": device}
    name = cells["filename"]
    return Clip(root / name, name, (_known(cells, TAU_CLASSES),), group=f"tau/{place}", meta=meta)


def _known(cells: Mapping[str, str], classes: tuple[str, ...]) -> str:
    if cells["scene_label"] not in classes:
        raise Wrong(55, f"scene_label is {cells['scene_label']!r}; classes are {', '.join(classes)}")
    return cells["scene_label"]


def _place(cells: Mapping[str, str]) -> str:
    if not cells["identifier"]:
        raise Wrong(49, "has no identifier, which tells where it was recorded")
    return cells["identifier"]


def _listed(root: Path, name: str, clips: Iterable[Clip] | None = None) -> dict[str, str]:
    """The files in one of the official lists, and their labels, "" where it tells none.

    The list has a header, `filename` and maybe `scene_label`, or none and these as its first cells. IntakeError if it
    is not there, names a file that is none of the `clips`, or has another label for one.
    """
    if not (root / name).is_file():
        refuse([Problem("refuse", 49, f"is missing in {root}: it tells an official part", name)])
    table = tables.read(root / name, usual="\t")
    bare = is_audio(table.header[0])
    header = TUT_HEADER if bare else table.header
    if "filename" not in header:
        refuse([Problem("refuse", 49, f"has the columns {header}, and none of them is filename", name)])
    cells = [table.header] * bare + [row.cells for row in table.rows]
    named = [dict(zip(header, each, strict=False)) for each in cells]
    found = {each["filename"]: each.get("scene_label", "") for each in named}
    labels = found if clips is None else {clip.name: clip.labels[0] for clip in clips}
    strange = [file for file in found if file not in labels]
    other = [file for file, label in found.items() if label and label != labels.get(file, label)]
    refuse(Problem("refuse", 52, f"lists {file}, which the table of all clips does not", name) for file in strange)
    refuse(Problem("refuse", 51, f"calls {file} {found[file]!r}, and it is {labels[file]!r}", name) for file in other)
    return found


def _faulty(root: Path) -> dict[str, tuple[tuple[float, float], ...]]:
    """What error.txt marks in each file, if it is there: from second to second."""
    if not (root / ERRORS).is_file():
        return {}
    table = tables.read(root / ERRORS, usual="\t")
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in (tables.Row(1, table.header), *table.rows):
        try:
            file, start, stop = row.cells[0], *map(float, row.cells[1:3])
        except ValueError:
            sentence = f"is {list(row.cells)}; wanted a file and where in it an error starts and ends, in seconds"
            refuse([Problem("refuse", 49, sentence, f"{ERRORS} line {row.line}")])
        found[file].append((start, stop))
    return {file: tuple(stretches) for file, stretches in found.items()}


def _told(clips: list[Clip], faulty: Iterable[str], errors: str) -> list[str]:
    strange = sorted({*faulty} - {clip.name for clip in clips})
    lost = f"{len(strange)} files in {ERRORS} are none that {TUT_TABLE} lists: {release.short(strange)}"
    marked = [clip.meta["errors"] for clip in clips if "errors" in clip.meta]
    count = f"{sum(map(len, marked))} stretches in {len(marked)} clips are marked as faulty in {ERRORS}"
    what = "these clips are left out" if errors == "leave_out" else 'they are kept (errors = "leave_out": not)'
    return [f"{count}; {what}"] * bool(marked) + [lost] * bool(strange)


def _at_home(clips: Iterable[Clip], parts: Mapping[int, Mapping[str, str]]) -> tuple[list[Clip], list[str]]:
    """Each clip in the fold that tests on it; of several, the one that tests on more of its location."""
    clips = list(clips)
    tested = {clip.name: [fold for fold, part in parts.items() if clip.name in part] for clip in clips}
    held = Counter((clip.group, fold) for clip in clips for fold in tested[clip.name])
    dealt = [
        replace(clip, fold=max(tested[clip.name], key=lambda fold: (held[clip.group, fold], -fold), default=None))
        for clip in clips
    ]
    several = sum(len(folds) > 1 for folds in tested.values())
    never = sum(not folds for folds in tested.values())
    notes = [f"{several} clips are tested on in several folds; each is kept where more of its location is"]
    return dealt, notes * bool(several) + [f"{never} clips are tested on in no fold"] * bool(never)


def _tau_parts(root: Path, subset: int | None, clips: list[Clip]) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """The official training part and test part, and what of the former is to be learned from."""
    train, test = _listed(root, TAU_TRAIN, clips), _listed(root, TAU_TEST, clips)
    chosen = set(train)
    if subset is not None:
        file = f"split{subset}.csv"
        below = [place for place in ("split_setup/", f"{SETUP}/", "") if (root / place / file).is_file()]
        if not below:
            advice = "it is released apart from the sound, with DCASE 2024's task 1; put it into split_setup/"
            refuse([Problem("refuse", 52, f"is missing in {root}: {advice}", file)])
        chosen = set(_listed(root, below[0] + file, clips))
        if (root / below[0] / "test.csv").is_file():
            test = _listed(root, f"{below[0]}test.csv", clips)
    both = [name for name in test if name in train or name in chosen]
    refuse(Problem("refuse", 51, "is in the training part and in the test part", name) for name in both)
    return train, test, chosen


def _asked(name: str, root: Path, file: str, classes: tuple[str, ...], max_missing: float) -> Manifest:
    """An evaluation set: the clips that systems are asked about, with their labels where these were published."""
    files, answers = _listed(root, file), Path(file).with_name(Path(file).name.replace("test", "evaluate")).as_posix()
    labels = _listed(root, answers) if (root / answers).is_file() else {}
    clips = [Clip(root / each, each, (labels[each],) if labels.get(each) else ()) for each in files]
    there, odd = release.on_disk(clips, max_missing)
    return Manifest.of(name, there, classes=classes if labels else (), notes=odd)
