"""Clip and Manifest: what there is to learn from, as plain values. No audio is opened here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ossicle import draw
from ossicle.data.dealing import deal, some, turns
from ossicle.words import plural


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of one recording.

    `name` is its path below the data set's root, with forward slashes: together with `start` and `stop` it is who the
    clip is, on every machine. `labels` is empty where unknown; `no_event` says that somebody listened and found none of
    the classes. `group` is the recording that the clip was cut from; `start` and `stop` are seconds into the file
    (`stop=None`: to its end).
    """

    path: Path
    name: str
    labels: tuple[str, ...] = ()
    fold: int | None = None
    group: str = ""
    start: float = 0.0
    stop: float | None = None
    no_event: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> int:
        """63 bits that name this clip in draws and in the memory bank."""
        return draw.key(self.name, self.start, self.stop)

    @property
    def labelled(self) -> bool:
        """Whether it is known what can be heard, be it nothing."""
        return self.no_event or bool(self.labels)

    @property
    def recording(self) -> str:
        """The recording that this clip was cut from: its group or, where nothing tells, the file itself."""
        return self.group or self.name


@dataclass(frozen=True)
class Parts:
    """A manifest dealt into what is learnt from, what settings are chosen on, and what is looked at last."""

    train: Manifest
    valid: Manifest
    test: Manifest


@dataclass(frozen=True)
class Manifest:
    """Clips, the classes that their labels come from, and the folds they are dealt into.

    `classes` are in target order, `multilabel` says that a clip may have none or several, `notes` are sentences about
    what was repaired or looked odd on the way in. A part of a manifest keeps all its classes and folds, so that targets
    never shift.
    """

    name: str
    clips: tuple[Clip, ...]
    classes: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    multilabel: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        strange = {label for clip in self.clips for label in clip.labels} - set(self.classes)
        if strange:
            raise ValueError(f"{self.name}: labels {sorted(strange)} are none of its {len(self.classes)} classes")
        if not self.multilabel and any(len(clip.labels) != 1 for clip in self.clips if clip.labelled):
            raise ValueError(f"{self.name}: a clip has none or several labels; make the manifest with multilabel=True")

    @classmethod
    def of(
        cls,
        name: str,
        clips: Iterable[Clip],
        *,
        classes: Sequence[str] | None = None,
        multilabel: bool | None = None,
        notes: Iterable[str] = (),
    ) -> Manifest:
        """A manifest of these clips: classes sorted unless given, multi-label where a clip needs it, folds as found."""
        clips = tuple(clips)
        found = {label for clip in clips for label in clip.labels}
        if multilabel is None:
            multilabel = any(len(clip.labels) != 1 for clip in clips if clip.labelled)
        folds = {clip.fold for clip in clips if clip.fold is not None}
        named = tuple(sorted(found) if classes is None else classes)
        return cls(name, clips, named, tuple(sorted(folds)), multilabel, tuple(notes))

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def scorable(self) -> tuple[int, ...]:
        """The folds with a clip whose label is known, or all where there are no classes."""
        known = {clip.fold for clip in self.clips if clip.labelled or not self.classes}
        return tuple(fold for fold in self.folds if fold in known)

    def keys(self) -> np.ndarray:
        """(n,) uint64 clip keys."""
        return np.array([clip.key for clip in self.clips], dtype=np.uint64)

    def groups(self) -> np.ndarray:
        """(n,) uint64: the recording of each clip."""
        return np.array([draw.key(clip.recording) for clip in self.clips], dtype=np.uint64)

    def targets(self) -> np.ndarray:
        """(n,) int64, -1 where unknown; multi-label: (n, K) float32 of 0 and 1, NaN where unknown."""
        number = {label: k for k, label in enumerate(self.classes)}
        if not self.multilabel:
            return np.array([number[clip.labels[0]] if clip.labels else -1 for clip in self.clips], dtype=np.int64)
        target = np.zeros((len(self), len(self.classes)), dtype=np.float32)
        for row, clip in zip(target, self.clips, strict=True):
            row[:] = 0.0 if clip.labelled else np.nan
            row[[number[label] for label in clip.labels]] = 1.0
        return target

    def select(self, rows: Sequence[int] | np.ndarray) -> Manifest:
        """The clips at these rows (numbers, or a mask of n booleans), in this order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return replace(self, clips=tuple(self.clips[row] for row in rows))

    def labelled(self) -> Manifest:
        """The clips whose labels are known."""
        return self.select(np.array([clip.labelled for clip in self.clips], dtype=bool))

    def unlabelled(self) -> Manifest:
        """The same clips in the same folds, their labels forgotten."""
        clips = (replace(clip, labels=(), no_event=False) for clip in self.clips)
        return replace(self, clips=tuple(clips), classes=(), multilabel=False)

    def fingerprint(self) -> str:
        """32 hexadecimal digits of who the clips are and what is known of them; where they lie does not matter."""
        digest = hashlib.blake2b(json.dumps([self.classes, self.folds, self.multilabel]).encode(), digest_size=16)
        for clip in self.clips:
            known = (clip.name, clip.start, clip.stop, clip.labels, clip.no_event, clip.fold, clip.group)
            digest.update(json.dumps(known).encode())
        return digest.hexdigest()

    def split(self, fold: int | None = None, valid: int | Literal["next"] | None = None) -> Parts:
        """Test on `fold` (None: on nothing), choose on `valid` (None: on nothing), train on the rest.

        `"next"` is the official fold after `fold` that can be scored, and the first one after the last. Clips without a
        fold are trained on. A clip without labels stays in its fold, so that pretraining on `train` hears no test
        recording; where others have labels it is left out of `valid` and `test`, which could not score it, and a note
        says so.
        """
        test = self._known_fold(fold, fold)
        chosen = self._known_fold(valid, self._after(test) if valid == "next" else valid)
        if test is not None and test == chosen:
            raise ValueError(f"{self.name}: fold {test} cannot be both test and validation; choose another `valid`")
        folds = np.array([clip.fold or 0 for clip in self.clips], dtype=np.int64)
        train = self.select(~np.isin(folds, [part for part in (test, chosen) if part is not None]))
        return Parts(train, self._scored(folds, chosen), self._scored(folds, test))

    def _after(self, fold: int | None) -> int | None:
        known = [other for other in self.scorable if other != fold] or self.folds
        return min([other for other in known if fold is not None and other > fold] or known, default=None)

    def _known_fold(self, asked: object, fold: Any) -> int | None:
        if asked is not None and (fold not in self.folds or isinstance(fold, bool)):
            known = (
                f"known: {', '.join(map(str, self.folds))}" if self.folds else "it has none; see Manifest.with_folds"
            )
            raise ValueError(f"{self.name} has no fold {asked!r}; {known}")
        return fold

    def _scored(self, folds: np.ndarray, fold: int | None) -> Manifest:
        part = self.select(folds == (-1 if fold is None else fold))
        scored = part.labelled() if self.classes else part
        if len(scored) == len(part):
            return part
        note = f"{plural(len(part) - len(scored), 'clip')} of fold {fold} without a label: left out of its scores"
        return replace(scored, notes=(*scored.notes, note))

    def few(self, per_class: int, seed: int = 0) -> Manifest:
        """At most `per_class` labelled clips of each class (multi-label: at least), one recording after the other.

        No recording gives a second clip while another waits. The draw of a class depends on nothing but the seed and
        its clips, and with one label a clip, few(1) is part of few(2). "No event" counts as one more class.
        """
        if per_class < 1:
            raise ValueError(f"few({per_class}) asks for no clips; ask for 1 or more")
        column, chance = self._recordings(seed)
        own = draw.uniform(self.keys(), seed=seed, name="few")
        chosen: set[int] = set()
        notes = []
        for label in (*self.classes, None):
            rows = self._rows(label)
            if label is not None and len(rows) < per_class:
                notes.append(f"class {label!r} has {plural(len(rows), 'clip')}, fewer than the {per_class} asked for")
            order = rows[turns(column[rows], own[rows], chance[column[rows]])].tolist()
            waiting = [row for row in order if row not in chosen]
            chosen.update(waiting[: max(0, per_class - len(order) + len(waiting))])
        return replace(self.select(sorted(chosen)), notes=(*self.notes, *notes))

    def _rows(self, label: str | None) -> np.ndarray:
        """The rows of the clips with this label; None: with no event."""
        has = [clip.no_event if label is None else label in clip.labels for clip in self.clips]
        return np.flatnonzero(np.array(has, dtype=bool))

    def _recordings(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """(n,) each clip's recording by number, and a random number for each recording."""
        names, column = np.unique([clip.recording for clip in self.clips], return_inverse=True)
        keys = np.array([draw.key(name) for name in names], dtype=np.uint64)
        return column.astype(np.int64), draw.uniform(keys, seed=seed, name="recording")

    def with_folds(self, n: int, seed: int = 0) -> Manifest:
        """The same clips dealt anew into folds 1 to n, classes spread evenly, no recording in two folds.

        Recordings without any label are dealt only if none has labels; else they get no fold and are trained on.
        """
        column, chance, counts = self._dealt(seed)
        if not 2 <= n <= np.count_nonzero(counts.sum(1)):
            raise ValueError(f"{self.name}: its recordings cannot be dealt into {n} folds; ask for 2 or more, or fewer")
        fold = deal(counts, chance, n)
        clips = (replace(clip, fold=int(fold[i]) or None) for clip, i in zip(self.clips, column, strict=True))
        return replace(self, clips=tuple(clips), folds=tuple(range(1, n + 1)))

    def hold_out(self, share: float, seed: int = 0) -> np.ndarray:
        """(n,) bool: clips that make up that share of every class, to the nearest clip or fewer, no recording torn."""
        column, chance, counts = self._dealt(seed)
        return some(counts, chance, share)[column]

    def _dealt(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`_recordings`, and (R, K + 1) what each recording adds to each class."""
        column, chance = self._recordings(seed)
        counts = np.zeros((len(chance), len(self.classes) + 1))
        np.add.at(counts, column, self._shares())
        return column, chance, counts

    def _shares(self) -> np.ndarray:
        """(n, K + 1): what each clip adds to each class and, last, to "no event" (the plain count without labels)."""
        number = {label: k for k, label in enumerate(self.classes)}
        bare = not any(clip.labelled for clip in self.clips)
        shares = np.zeros((len(self), len(self.classes) + 1))
        for row, clip in zip(shares, self.clips, strict=True):
            row[[number[label] for label in clip.labels]] = 1.0
            row[-1] = clip.no_event or bare
        return shares

    def __add__(self, other: Manifest) -> Manifest:
        """Both sets' clips, classes of the left one first. Fold k of both is fold k of the sum.

        A stretch of a file that both hold is one clip, with what either knows of it. Other stretches of a file that has
        a fold join that fold, so that no file is trained and tested on. Where one name means two files, the right set's
        name is put in front of its clips' names.
        """
        taken = {clip.name: clip.path for clip in self.clips}
        clash = any(taken.get(clip.name, clip.path) != clip.path for clip in other.clips)
        added = [replace(c, name=f"{other.name}/{c.name}") for c in other.clips] if clash else other.clips
        kept: dict[tuple[Path, float, float | None], Clip] = {}
        for clip in (*self.clips, *added):
            stretch = (clip.path, clip.start, clip.stop)
            kept[stretch] = _both(kept.get(stretch, clip), clip)
        home = {clip.path: (clip.fold, clip.recording) for clip in kept.values() if clip.fold}
        clips = [_in(clip, *home.get(clip.path, (None, clip.group))) for clip in kept.values()]
        twice = len(self) + len(other) - len(clips)
        note = (f"{twice} clips stand in {self.name} and in {other.name} and are kept once",) if twice else ()
        return Manifest.of(
            f"{self.name}+{other.name}",
            clips,
            classes=tuple(dict.fromkeys(self.classes + other.classes)),
            multilabel=self.multilabel or other.multilabel,
            notes=(*self.notes, *other.notes, *note),
        )


def _both(one: Clip, two: Clip) -> Clip:
    """What two entries of one stretch of sound know of it together; ValueError where they disagree."""
    heard = [(set(clip.labels), clip.no_event) for clip in (one, two) if clip.labelled]
    folds = {clip.fold for clip in (one, two) if clip.fold}
    if heard[1:] not in ([], heard[:1]) or len(folds) > 1:
        said = " and ".join(f"{list(clip.labels)} in fold {clip.fold}" for clip in (one, two))
        raise ValueError(f"{one.name} stands in both sets, as {said}; leave one out")
    known = one if one.labelled else two
    fold = one.fold or two.fold
    return replace(one, labels=known.labels, no_event=known.no_event, fold=fold, group=one.group or two.group)


def _in(clip: Clip, fold: int | None, group: str) -> Clip:
    return clip if clip.fold else replace(clip, fold=fold, group=group)
