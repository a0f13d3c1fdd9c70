"""Data looked over before work starts: everything that is wrong or odd is said at once, as sentences."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Literal

from ossicle.data import audit
from ossicle.data.manifest import Clip, Manifest
from ossicle.words import plural

Severity = Literal["refuse", "warn", "note"]
Purpose = Literal["train", "pretrain"]
SHOWN = 10
HEADERS = 500


@dataclass(frozen=True)
class Problem:
    """One thing to know before work starts.

    `severity`: "refuse" stops the work, "warn" endangers the result, "note" tells what was repaired. `row` is the row
    of the project's list of bad inputs (0: none), `where` the clip, line or class that it is about.
    """

    severity: Severity
    row: int
    sentence: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}" if self.where else self.sentence


class IntakeError(ValueError):
    """Data that cannot be worked with as it is; `problems` holds every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(told(problems))


def told(problems: Iterable[Problem]) -> str:
    """One line a problem, of each kind the first ten and how many more there are."""
    lines = []
    for _, alike in groupby(problems, key=lambda problem: (problem.severity, problem.row)):
        kind = list(alike)
        lines += [str(problem) for problem in kind[:SHOWN]]
        lines += [f"... and {len(kind) - SHOWN} more like this"] * (len(kind) > SHOWN)
    return "\n".join(line.encode("utf-8", "backslashreplace").decode() for line in lines)


def refuse(problems: Iterable[Problem]) -> None:
    """IntakeError naming every problem that stops the work, if there is one."""
    stopping = [problem for problem in problems if problem.severity == "refuse"]
    if stopping:
        raise IntakeError(sorted(stopping, key=lambda problem: problem.row))


def look_over(
    manifest: Manifest,
    *,
    purpose: Purpose = "train",
    fold: int | None = None,
    valid: int | Literal["next"] | None = None,
    batch: int | None = None,
    labels: Sequence[str] | None = None,
    strict: bool = False,
) -> list[Problem]:
    """All that is known to be wrong or odd about training or pretraining on this manifest, most severe first.

    `labels` are those of a model that is to be trained further; `strict` refuses leaks that otherwise only warn.
    """
    problems = [Problem("note", 0, note) for note in manifest.notes]
    problems += [*_names(manifest), *_rates(manifest), *_ends(manifest), *_leaks(manifest, strict)]
    try:
        parts = manifest.split(fold, valid)
    except ValueError as error:
        return _sorted([*problems, Problem("refuse", 50, str(error))])
    if purpose == "train":
        problems += [*_classes(manifest, parts.train, fold, labels), *_estimable(manifest), *spelling(manifest.classes)]
        problems += [*_held("test", fold, parts.test), *_held("validation", valid, parts.valid)]
    return _sorted([*problems, *_size(parts.train, purpose, batch)])


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (("refuse", "warn", "note").index(problem.severity), problem.row))


def _held(use: str, fold: int | Literal["next"] | None, part: Manifest) -> Iterator[Problem]:
    if fold is not None and len(part) == 0:
        which = "the next fold" if fold == "next" else f"fold {fold}"
        yield Problem("warn", 50, f"{which} of {part.name} has no labelled clip: there is no {use} part to score")


def _size(train: Manifest, purpose: Purpose, batch: int | None) -> Iterator[Problem]:
    n = len(train)
    if n == 0:
        yield Problem(
            "refuse", 45, f"{train.name} leaves no clips to train on; it needs 1 or more outside the test fold"
        )
    elif n == 1 and purpose == "pretrain":
        yield Problem("refuse", 45, f"{train.name} has 1 clip; pretraining tells clips apart, so it needs 2 or more")
        return
    if batch is None or n == 0:
        return
    clips = plural(n, "training clip")
    if n < batch:
        yield Problem("warn", 60, f"{clips} fill no batch of {batch}: an epoch is one step of them all")
    if n // math.ceil(n / batch) < 2:
        sentence = f"{clips} in batches of {batch} leave a batch of one clip"
        advice = "batch normalization cannot use it; ask for a batch of 3 or more, or give more clips"
        yield Problem("refuse", 60, f"{sentence}: {advice}")


def _classes(manifest: Manifest, train: Manifest, fold: int | None, labels: Sequence[str] | None) -> Iterator[Problem]:
    known, k = manifest.labelled(), len(manifest.classes)
    if labels is not None and tuple(labels) != manifest.classes:
        yield Problem("refuse", 55, _differ(manifest.classes, tuple(labels)))
    if not len(known):
        yield Problem(
            "refuse", 56, f"none of {plural(len(manifest), 'clip')} has a label; pretraining alone can use them"
        )
    elif k == 0 or (k == 1 and not (manifest.multilabel and any(clip.no_event for clip in known.clips))):
        yield Problem(
            "refuse", 56, f"there is nothing to tell apart: classes are {list(manifest.classes)}; give 2 or more"
        )
    elif k > 100 and k > len(known) / 2:
        yield Problem("refuse", 56, f"{k} classes in {len(known)} labelled clips: is that the column of the labels?")
    have, need = _count(train), _count(manifest)
    for label in manifest.classes:
        if need[label] and not have[label]:
            yield Problem("refuse", 53, f"class {label!r} has 0 training clips in fold {fold}", label)


def _count(manifest: Manifest) -> Counter[str]:
    return Counter(label for clip in manifest.clips for label in clip.labels)


def _differ(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    pairs = enumerate(zip_longest(ours, theirs))
    first, (our, their) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
    sizes = f"the data has {len(ours)} classes and the model {len(theirs)}"
    return (
        f"{sizes}, and target {first} is {our!r} in the data and {their!r} in the model; train a new head for this data"
    )


def _estimable(manifest: Manifest) -> Iterator[Problem]:
    """Classes whose accuracy no fold can estimate."""
    clips: dict[str, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        for label in clip.labels:
            clips[label].append(clip)
    for label, own in clips.items():
        recordings, folds = {clip.recording for clip in own}, {clip.fold for clip in own}
        reason = ""
        if len(own) == 1:
            reason = "has 1 clip"
        elif len(recordings) == 1:
            reason = f"has {len(own)} clips, all from 1 recording"
        elif len(manifest.folds) > 1 and len(folds) == 1:
            reason = f"has all its {len(own)} clips in fold {folds.pop()}"
        if reason:
            yield Problem("warn", 54, f"class {label!r} {reason}: its accuracy cannot be estimated", label)


def _alike(names: Iterable[str], form: Callable[[str], str]) -> Iterator[list[str]]:
    piles: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        piles[form(name)].append(name)
    return (pile for pile in piles.values() if len(pile) > 1)


def _plain(label: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", label).casefold() if c not in " _-")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def spelling(classes: Iterable[str]) -> Iterator[Problem]:
    """Warnings of classes that only case, spaces, dashes or how letters are composed tell apart."""
    for pile in _alike(classes, _plain):
        yield Problem("warn", 49, f"classes {pile} differ only in how they are written; are they one?", pile[0])


def _names(manifest: Manifest) -> Iterator[Problem]:
    names = [clip.name for clip in manifest.clips]
    for pile in _alike(names, _composed):
        yield Problem("warn", 43, f"{pile[0]!a} and {pile[1]!a} look the same and are two files", pile[0])
    for pile in _alike((_composed(name) for name in names), str.casefold):
        yield Problem(
            "refuse", 44, f"{pile} differ only in case: many disks hold just one of them; rename one", pile[0]
        )


def _sample(clips: Iterable[Clip]) -> list[Clip]:
    """At most HEADERS clips, taken in turn from every class, in an order of their own."""
    piles: dict[tuple[str, ...], list[Clip]] = defaultdict(list)
    for clip in clips:
        piles[clip.labels].append(clip)
    each = max(4, HEADERS // max(1, len(piles)))
    return [clip for pile in piles.values() for clip in sorted(pile, key=lambda clip: clip.key)[:each]]


def _headers(clips: Iterable[Clip]) -> Iterator[tuple[Clip, int, float]]:
    """(clip, sample rate, seconds of its file) where the header can be read; decoding reports the others."""
    from ossicle import audio

    for clip in clips:
        try:
            info = audio.probe(clip.path)
        except (audio.AudioError, OSError):
            continue
        yield clip, info.sample_rate, info.seconds


def _rates(manifest: Manifest) -> Iterator[Problem]:
    """A class whose sample rate few others have can be told by its bandwidth alone."""
    rates = {clip: rate for clip, rate, _ in _headers(_sample(clip for clip in manifest.clips if clip.labels))}
    for label in manifest.classes if len(set(rates.values())) > 1 else ():
        own = Counter(rate for clip, rate in rates.items() if label in clip.labels)
        rest = Counter(rate for clip, rate in rates.items() if label not in clip.labels)
        if own.total() < 3 or not rest:
            continue
        rate, count = own.most_common(1)[0]
        if count / own.total() - rest[rate] / rest.total() > 0.5:
            share = f"{count} of {own.total()} files at {rate} Hz, the other classes {rest[rate]} of {rest.total()}"
            yield Problem("warn", 22, f"class {label!r} has {share}: a model can tell it by its bandwidth alone", label)


def _ends(manifest: Manifest) -> Iterator[Problem]:
    """Durations that a table promises and the file's header denies."""
    promised = [clip for clip in manifest.clips if clip.stop is not None or "seconds" in clip.meta]
    for clip, _, seconds in _headers(_sample(promised)):
        said = float(clip.meta.get("seconds", seconds))
        if abs(said - seconds) > 0.02 * max(said, seconds) + 0.05:
            sentence = f"lasts {seconds:.2f} s by its header and {said:.2f} s by the table; is its sample rate right?"
            yield Problem("warn", 23, sentence, clip.name)
        if max(clip.start, clip.stop or 0.0) > seconds + 0.05:
            sentence = (
                f"a stretch from {clip.start} to {clip.stop} s lies beyond the end of the file at {seconds:.2f} s"
            )
            yield Problem("warn", 23, sentence, clip.name)


def _leaks(manifest: Manifest, strict: bool) -> Iterator[Problem]:
    severity: Severity = "refuse" if strict else "warn"
    recordings = audit.by_recording(manifest)
    if recordings:
        names = ", ".join(leak.shared for leak in recordings[:SHOWN])
        yield Problem(severity, 57, f"{len(recordings)} recordings have clips in several folds: {names}", names)
    copies = audit.by_content(manifest) if len(manifest.folds) > 1 else []
    for leak in copies:
        yield Problem(severity, 58, f"{' = '.join(leak.clips)}: the same bytes in folds {leak.folds}", leak.clips[0])
