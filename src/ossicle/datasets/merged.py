"""Several data sets -> one, each sound once, each recording under one name: what phase two of DLS learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

from ossicle.data import audit
from ossicle.data.manifest import Clip, Manifest
from ossicle.words import plural


def merge(sets: Sequence[Manifest], *, strict: bool = False) -> Manifest:
    """The sum of two or more sets. Fold k of each is fold k of the sum.

    A group such as `freesound/17` is that recording in every set; one without a slash means something in its own set
    only, and those of later sets get their set's name in front. Files of equal bytes are one recording, and each
    stretch of them is kept once, with its label if any has one. A clip without a fold joins that of its recording, and
    so does one without a label where labelled clips of its recording have another. Notes tell of sets that have no
    folds, count copies, and what stands in several folds: whichever of those is held out, the training part holds the
    recording too. `strict` leaves all such clips out, so that no fold has heard another's recordings.
    """
    if len(sets) < 2:
        raise ValueError(f"merging takes at least 2 sets, and {len(sets)} came: name more, or use the one as it is")
    named = [replace(one, name=name) for one, name in zip(sets, _names(sets), strict=True)]
    total = reduce(add, [named[0], *map(_own_groups, named[1:])])
    content = audit.twins(clip.path for clip in total.clips)
    total = _at_home(total, content)
    once, notes, torn = _once(total, content)
    torn |= {name for leak in audit.by_recording(total) for name in leak.clips}
    notes += [*_told(once, torn, strict), *_foldless(named, once)]
    clean = (clip for clip in once.clips if not (strict and clip.name in torn))
    merged = Manifest.of("merged", clean, classes=once.classes, multilabel=once.multilabel)
    return replace(merged, folds=total.folds, notes=(*total.notes, *notes))


def _names(sets: Iterable[Manifest]) -> list[str]:
    """The sets' names; a second set of one name is called `name-2`."""
    seen: Counter[str] = Counter()
    names = []
    for one in sets:
        seen[one.name] += 1
        names.append(one.name if seen[one.name] == 1 else f"{one.name}-{seen[one.name]}")
    return names


def _own_groups(one: Manifest) -> Manifest:
    def known(clip: Clip) -> Clip:
        local = clip.group and "/" not in clip.group
        return replace(clip, group=f"{one.name}/{clip.group}") if local else clip

    return replace(one, clips=tuple(map(known, one.clips)))


def _at_home(total: Manifest, content: Mapping[Path, str]) -> Manifest:
    """The clips of each family in one recording, where they have no fold, or no label and others have one."""
    family = _families(total.clips, content)
    home: dict[object, Clip] = {}
    for clip, whole in zip(total.clips, family, strict=True):
        for mark in (*_marks(clip, content), whole):
            home[mark] = min(home.get(mark, clip), clip, key=_rank)

    def housed(clip: Clip, whole: object) -> Clip:
        of = min((home[mark] for mark in (*_marks(clip, content), whole)), key=_rank)
        there = (clip.fold, clip.recording) == (of.fold, of.recording)
        stays = clip.fold and _rank(clip) == _rank(of)
        return clip if there or stays else replace(clip, fold=of.fold, group=of.recording)

    return replace(total, clips=tuple(map(housed, total.clips, family)))


def _families(clips: Iterable[Clip], content: Mapping[Path, str]) -> list[object]:
    """What names each clip's family: the clips that share a mark with it, or with one of these, and so on."""
    above: dict[object, object] = {}

    def top(mark: object) -> object:
        while above.setdefault(mark, mark) != mark:
            mark = above[mark]
        return mark

    marks = [_marks(clip, content) for clip in clips]
    for first, *others in marks:
        above.update((top(first), top(other)) for other in others)
    return [("family", top(first)) for first, *_ in marks]


def _marks(clip: Clip, content: Mapping[Path, str]) -> list[object]:
    """By what a clip is known to be of the same sound as others: its file's bytes, and its recording."""
    return [content.get(clip.path, clip.path), *([clip.group] if clip.group else [])]


def _rank(clip: Clip) -> tuple[bool, bool]:
    """Whom others join comes first: labelled clips before others, and of each those that have a fold."""
    return not clip.labelled, not clip.fold


def _once(total: Manifest, content: Mapping[Path, str]) -> tuple[Manifest, list[str], set[str]]:
    """Each stretch of equal files once; a note on the others; and the names of those kept that had several folds."""
    piles: dict[tuple[object, float, float | None], list[Clip]] = {}
    for clip in total.clips:
        piles.setdefault((content.get(clip.path, clip.path), clip.start, clip.stop), []).append(clip)
    kept = {min(pile, key=lambda clip: not clip.labelled): {clip.fold for clip in pile} for pile in piles.values()}
    copies = len(total) - len(kept)
    note = f"{copies} clips are copies, byte for byte, of clips in another place, and are left out"
    torn = {clip.name for clip, folds in kept.items() if len(folds) > 1}
    return replace(total, clips=tuple(kept)), [note] * bool(copies), torn


def _foldless(sets: Iterable[Manifest], once: Manifest) -> list[str]:
    """A sentence on each set without folds, where others have them and it has clips that are in none."""
    free = {clip.path for clip in once.clips if clip.fold is None}
    counts = {one.name: sum(clip.path in free for clip in one.clips) for one in sets if not one.folds}
    return [
        f"{name} has no folds: {plural(count, 'clip')} of it {'are' if count != 1 else 'is'} learned from whichever "
        "fold is held out; only a copy, byte for byte, of a clip in it would have been left out"
        for name, count in counts.items()
        if count and once.scorable
    ]


def _told(once: Manifest, torn: set[str], strict: bool) -> list[str]:
    clips = [clip for clip in once.clips if clip.name in torn]
    recordings = len({clip.recording for clip in clips})
    if not clips:
        return []
    count = f"{len(clips)} clips of {recordings} recordings that stand in several folds"
    if strict:
        return [f"{count} are left out (strict)"]
    return [f"{count} are kept: a fold that is held out shares them with what is learned from (strict leaves them out)"]
