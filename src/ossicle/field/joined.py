"""What a run learned from, and new clips -> one Manifest to learn on from: what was held out stays just what it was.

The clips of the run's training part keep their folds, those of its validation and test part stay alone in theirs, and
new ones get a fold of their own, behind all others. Written as a table (`datasets.listing.write`) it says all that is
learned from, also where the run's folds were dealt here, its clips drawn, or its labels made wrong on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from ossicle import material
from ossicle.data.audit import twins
from ossicle.data.intake import Problem, refuse
from ossicle.data.manifest import Clip, Manifest, Parts
from ossicle.datasets import DATASETS
from ossicle.recipe import Split, from_dict
from ossicle.run import Run, RunError
from ossicle.words import plural


@dataclass(frozen=True)
class Joined:
    """All clips to learn on from and to ask about, the `split` that tells which are which, and what the new ones are.

    `taught` are the new clips whose labels are learned, once each, `unlabelled` the others. `times` says how often an
    epoch hears the new clips of each class. `notes` are sentences on what was left out.
    """

    manifest: Manifest
    split: Split
    taught: Manifest
    unlabelled: Manifest
    times: dict[str, int]
    notes: tuple[str, ...]


def join(run: Run, new: Manifest) -> Joined:
    """The clips that a run learned from and was asked about, and new ones.

    A new clip of which file or recording is held out, or is known already, is left out. Those of a class that has less
    than the run's median class stand there several times, until it has about as much: each time as a clip of its own,
    which views vary in their own way.

    RunError where the run's data is not what it was or has no labels, IntakeError where labels contradict each other or
    are not of the run's kind.
    """
    whole, parts = _dealt(run)
    _refuse_unlike(whole, new, run)
    fresh, notes = _fresh(whole, parts, new)
    taught, unlabelled = fresh.labelled(), fresh.select([i for i, one in enumerate(fresh.clips) if not one.labelled])
    times = _times(parts.train, taught)
    apart = max(whole.folds) + 1 if whole.folds else None
    again = [replace(copy, fold=apart) for clip in taught.clips for copy in _repeated(clip, times)]
    known = [clip if clip.fold else replace(clip, fold=apart) for clip in parts.train.clips]
    clips = (*known, *parts.valid.clips, *parts.test.clips, *again)
    classes = tuple(dict.fromkeys(whole.classes + taught.classes))
    manifest = Manifest.of("taught", clips, classes=classes, multilabel=whole.multilabel)
    return Joined(manifest, Split(_fold(parts.test), _fold(parts.valid)), taught, unlabelled, times, notes)


def _dealt(run: Run) -> tuple[Manifest, Parts]:
    """The run's data as it was dealt, and the labelled clips of its parts, those that it drew."""
    recipe = from_dict(run.recipe)
    whole = material.dealt(recipe.data.build(DATASETS), recipe)
    if whole.fingerprint() != run.data["fingerprint"]:
        raise RunError(
            f"{whole.name} has changed since {run.folder} learned from it (clips, labels or folds), and what it knows "
            "is kept by hearing that again: put the data back, or train anew"
        )
    parts = material.divide(whole, recipe, supervised=True)
    if not len(parts.train):
        raise RunError(f"{run.folder} learned from no labels, so there is nothing to go on from: train anew")
    return whole, parts


def _fold(part: Manifest) -> int | None:
    return part.clips[0].fold if part.clips else None


def _refuse_unlike(whole: Manifest, new: Manifest, run: Run) -> None:
    """IntakeError where new clips have several labels or none, and the run knows one a clip."""
    odd = [clip for clip in new.clips if clip.labelled and len(clip.labels) != 1]
    if odd and not whole.multilabel:
        has = "several labels" if odd[0].labels else "no event"
        sentence = f"has {has}, and {run.folder} tells one class of each clip: give it one label, or leave it out"
        refuse([Problem("refuse", 51, sentence, clip.name) for clip in odd])


def _fresh(whole: Manifest, parts: Parts, new: Manifest) -> tuple[Manifest, tuple[str, ...]]:
    """The new clips that are neither held out nor known, under names that no other has, and what became of the rest."""
    content = twins(clip.path for clip in (*whole.clips, *new.clips))
    asked = {fold for fold in (_fold(parts.valid), _fold(parts.test)) if fold is not None}
    held = {mark for clip in whole.clips if clip.fold in asked for mark in _marks(clip, content)}
    known = {_stretch(clip, content): clip for clip in parts.train.clips}
    names = {clip.name for clip in whole.clips}
    kept: dict[object, Clip] = {}
    problems, left, twice = [], 0, 0
    for clip in sorted(_own(new), key=lambda one: not one.labelled):
        there = known.get(place := _stretch(clip, content)) or kept.get(place)
        if held.intersection(_marks(clip, content)):
            left += 1
        elif there is None:
            kept[place] = replace(clip, name=_name(clip.name, new.name, names))
        elif clip.labelled and (there.labels, there.no_event) != (clip.labels, clip.no_event):
            said = f"is {_said(clip)} here, and is known as {_said(there)} ({there.name}): leave it out"
            problems.append(Problem("refuse", 51, said, clip.name))
        else:
            twice += 1
    refuse(problems)
    told = {"held out, file or recording": left, "known already": twice}
    notes = tuple(f"left out {plural(count, 'new clip')}: {why}" for why, count in told.items() if count)
    return replace(new, clips=tuple(kept.values())), notes


def _own(new: Manifest) -> Iterator[Clip]:
    """The clips, each with its recording; one that no slash makes everybody's is of this set alone."""
    for clip in new.clips:
        local = "/" not in clip.recording or not clip.group
        yield replace(clip, fold=None, group=f"{new.name}/{clip.recording}" if local else clip.group)


def _marks(clip: Clip, content: dict[Path, str]) -> set[object]:
    """By what a clip is known to be of the same sound as another: its file's bytes, and its recording."""
    return {content.get(clip.path, clip.path.resolve()), *([clip.group] if clip.group else [])}


def _stretch(clip: Clip, content: dict[Path, str]) -> tuple[object, float, float | None]:
    return content.get(clip.path, clip.path.resolve()), clip.start, clip.stop


def _name(name: str, source: str, taken: set[str]) -> str:
    """The name, behind the source's where another file is called so; from then on it is taken."""
    while name in taken:
        name = f"{source}/{name}"
    taken.add(name)
    return name


def _said(clip: Clip) -> str:
    return ", ".join(clip.labels) or "no event"


def _times(learned: Manifest, taught: Manifest) -> dict[str, int]:
    """How often each class's new clips are heard in an epoch, so that the class has what the median one has."""
    have, added = _counts(learned), _counts(taught)
    usual = median(have.values())
    return {label: max(1, round((usual - have.get(label, 0)) / count)) for label, count in added.items()}


def _counts(part: Manifest) -> dict[str, int]:
    """The clips of each class that has any."""
    counts = {label: sum(label in clip.labels for clip in part.clips) for label in part.classes}
    return {label: count for label, count in counts.items() if count}


def _repeated(clip: Clip, times: dict[str, int]) -> Iterator[Clip]:
    most = max((times[label] for label in clip.labels), default=1)
    return (replace(clip, name=f"{clip.name}#{number}" if number else clip.name) for number in range(most))
