"""A run -> which of its labels look wrong, and which unlabelled sounds are worth a label, on a page to decide about.

doubt.py    what each clip sounds like to the labels of others
suggest.py  which unlabelled sounds to take next
page.py     the page where one listens and decides, with review.js and review.css
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ossicle import audio, draw, material, recipe
from ossicle.data.cache import Cache
from ossicle.data.loader import Source, prepare
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import DATASETS, cut, load
from ossicle.evaluate import embed
from ossicle.evaluate.measures import correct
from ossicle.field.doubt import doubt, opinions, recordings, told_by
from ossicle.field.page import Card, publish
from ossicle.field.suggest import openness, suggest
from ossicle.material import Tell, quiet
from ossicle.model import Backbone, Classifier
from ossicle.model import load as load_model
from ossicle.report.looks import look
from ossicle.run import Run
from ossicle.words import percent, plural

LIKELY = 4
"""How many labels a clip is offered."""
ENOUGH = 5
"""Recordings of a class, under which its labels say little about one another."""
BY_HEART = 0.98
"""The share of labels that a classifier tells as given, above which it may have learned wrong ones too."""


class ReviewError(ValueError):
    """Nothing can be reviewed; the message says why and what to do."""


@dataclass(frozen=True)
class Review:
    """What was found: cards in the order of doubt and of worth, out of how many clips, notes, and the page's path."""

    doubts: tuple[Card, ...]
    suggestions: tuple[Card, ...]
    labelled: int
    pool: int
    notes: tuple[str, ...]
    page: Path


@dataclass(frozen=True)
class _Heard:
    """Clips that could be heard, their (n, D) features, and sentences about the others."""

    part: Manifest
    feature: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return len(self.part.classes)


def review(
    folder: str | Path,
    source: str | None = None,
    *,
    out: str | Path = "review",
    labels: str | None = None,
    most: int = 50,
    tell: Tell = quiet,
) -> Review:
    """Ranks a run's labels by doubt and unlabelled sounds by worth, and writes a page to decide about `most` of each.

    `source` holds recordings to suggest from, cut into windows of the model's length; without it the run's own
    unlabelled clips are. `labels` is labelled data in place of the run's. A test fold of the run's own is left alone:
    its labels are not looked at, and none of its recordings is suggested. ReviewError where there is nothing to say,
    PageError where the page cannot be written.
    """
    run = Run.open(folder)
    if not run.done:
        raise ReviewError(f"{folder} is not finished: start it again with the same command, and review it then")
    followed, model = recipe.from_dict(run.recipe), load_model(folder)
    fold = followed.split.fold if labels is None else None
    whole = material.dealt(followed.data.build(DATASETS), followed) if labels is None else load(labels)
    asked = whole.split(fold).train
    backbone = model.backbone if isinstance(model, Classifier) else model
    known = _hear(backbone, asked.labelled(), followed.hop, tell)
    pool = _hear(backbone, _pool(whole, asked, source, backbone), followed.hop, tell)
    if not len(known.part) and not len(pool.part):
        raise ReviewError(f"{whole.name} has no labels, and there are no other recordings to suggest from: name some")
    doubts = tuple(_doubts(known, most))
    suggestions = tuple(_suggestions(known, pool, [each for each in whole.folds if each != fold], most))
    notes = (*known.notes, *pool.notes, *_caveats(known, model))
    by = look(run.recipe["frontend"])
    page = publish(Path(out), whole.labelled(), doubts, suggestions, look=by, notes=notes)
    return Review(doubts, suggestions, len(known.part), len(pool.part), notes, page)


def _pool(whole: Manifest, asked: Manifest, source: str | None, model: Backbone) -> Manifest:
    """What could be suggested, in windows of the model's length."""
    if source is None:
        found = asked.select(np.array([not clip.labelled for clip in asked.clips], dtype=bool)).unlabelled()
    else:
        found = _strangers(load(source).unlabelled(), whole)
    seconds = model.window / model.sample_rate
    return replace(found, clips=tuple(piece for clip in found.clips for piece in cut(clip, seconds)))


def _strangers(found: Manifest, whole: Manifest) -> Manifest:
    """The clips of files and recordings that the data does not hold, without folds, by names that it does not have."""
    held, groups = (
        {_content(path) for path in {clip.path for clip in whole.clips}},
        {clip.group for clip in whole.clips},
    )
    new = {path for path in {clip.path for clip in found.clips} if _content(path) not in held}
    clips = [replace(clip, fold=None) for clip in found.clips if clip.path in new and clip.group not in groups - {""}]
    if {clip.name for clip in clips} & {clip.name for clip in whole.clips}:
        clips = [replace(clip, name=f"{found.name}/{clip.name}") for clip in clips]
    return replace(found, clips=tuple(clips), folds=())


def _content(path: Path) -> str:
    """What a file holds, as a digest; its name where it cannot be read, which decoding will report."""
    try:
        return audio.digest(path)
    except audio.AudioError:
        return str(path)


def _hear(model: Backbone, part: Manifest, hop: float | None, tell: Tell) -> _Heard:
    cache = Cache()

    def progress(done: int, total: int) -> None:
        tell("decode", {"done": done, "total": total})

    rate, channels = model.sample_rate, model.channels
    bad = prepare(part, cache, sample_rate=rate, channels=channels, max_bad=1.0, progress=progress).bad
    feature, heard = embed(model, Source(part, cache, rate, channels, frozenset(bad)), hop=hop)
    first = next(iter(bad.values()), None)
    notes = () if first is None else (f"{plural(len(bad), 'file')} left out, {first.path} for one: {first.reason}",)
    return _Heard(part.select(heard), feature[heard], notes)


def _doubts(known: _Heard, most: int) -> Iterator[Card]:
    """The labels that other recordings speak against, the most doubted first: none that another one does not share."""
    target, group = known.part.targets(), known.part.groups()
    counts = recordings(target, group, classes=known.classes)
    if known.classes < 2 or (counts > 1).sum() < 2:
        return
    opinion = opinions(known.feature, target, group, classes=known.classes)
    doubted = doubt(opinion, target)
    shared = [all(counts[known.part.classes.index(label)] > 1 for label in clip.labels) for clip in known.part.clips]
    order = [row for row in np.argsort(-doubted, kind="stable") if shared[row]]
    for row in order[:most]:
        yield _card(known.part.clips[row], opinion[row], known.part, "clips like it say")


def _suggestions(known: _Heard, pool: _Heard, folds: Sequence[int], most: int) -> Iterator[Card]:
    """The sounds to label next, dealt into the folds that are learned from."""
    opinion = np.zeros((len(pool.feature), known.classes), np.float32)
    if len(known.part) and len(pool.part):
        opinion = told_by(known.feature, known.part.targets(), pool.feature, classes=known.classes)
    weight = openness(opinion, several=known.part.multilabel and known.classes > 0)
    for row in suggest(weight, pool.feature, known.feature, most):
        yield _card(_dealt(pool.part.clips[row], folds), opinion[row], known.part, "perhaps")


def _dealt(clip: Clip, folds: Sequence[int]) -> Clip:
    """The clip in a fold, by chance if it has none, where there are folds: no recording is in two."""
    return clip if clip.fold or not folds else replace(clip, fold=folds[draw.key(clip.recording) % len(folds)])


def _card(clip: Clip, opinion: np.ndarray, part: Manifest, why: str) -> Card:
    order = np.argsort(-opinion, kind="stable")[:LIKELY]
    likely = tuple((part.classes[k], float(opinion[k])) for k in order if opinion[k] >= 0.005)
    said = ", ".join(f"{label} {percent(share)}" for label, share in likely)
    return Card(clip, likely, f"{why} {said}" if said else "unlike the others")


def _caveats(known: _Heard, model: Backbone | Classifier) -> Iterator[str]:
    """What to know before one trusts the ranking."""
    part = known.part
    if not len(part):
        yield "there are no labels yet: suggestions are sounds unlike one another, and there is nothing to doubt"
        return
    counts = recordings(part.targets(), part.groups(), classes=known.classes)
    few = [label for label, count in zip(part.classes, counts, strict=True) if count < ENOUGH]
    if known.classes < 2 or (counts > 1).sum() < 2:
        yield "labels cannot be doubted yet: give two classes at least, of two recordings each at least"
    elif few:
        said = f"{few[0]} and {len(few) - 1} more have" if few[1:] else f"{few[0]} has"
        yield f"{said} fewer than {ENOUGH} recordings with a label: doubts of them say little"
    if isinstance(model, Classifier) and model.labels == part.classes and (fits := _fits(model, known)) > BY_HEART:
        yield (
            f"the model tells {percent(fits)} of these labels as they are given, wrong ones too if it learned them by "
            "heart: the run of an encoder that learned from no labels may find others"
        )


def _fits(model: Classifier, known: _Heard) -> float:
    """The share of the labels given that a classifier tells from its features."""
    with torch.no_grad():
        probability = model.probability(model.head(torch.from_numpy(known.feature))).numpy()
    return float(correct(probability, known.part.targets()).mean())
