"""A finished run and a test part -> its result: `final` and `curve` are the only readers of a test fold.

How often `final` opened one is counted in its result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import material, recipe
from ossicle.data.cache import Cache
from ossicle.data.loader import Source, prepare
from ossicle.data.manifest import Manifest
from ossicle.datasets import DATASETS
from ossicle.durable import read_json, write_json
from ossicle.evaluate import answers, measures
from ossicle.evaluate.conditions import by_condition
from ossicle.evaluate.glance import glance, score
from ossicle.evaluate.intervals import bootstrap
from ossicle.evaluate.measures import knn, known, linear_probe
from ossicle.evaluate.predict import Prediction, embed, predict
from ossicle.model import Backbone, Classifier, load
from ossicle.run import Run


class EvaluationError(ValueError):
    """An evaluation that would tell nothing; the message says why and what to do."""


def curve(model: Backbone | Classifier, train: Source, test: Source, *, hop: float | None = None) -> dict[str, Any]:
    """The row of `watch` for a test fold: for drawing a published curve, never for choosing anything."""
    return {f"test_{name}": value for name, value in glance(model, train, test, hop=hop).items()}


@dataclass(frozen=True)
class _Exam:
    """What is asked: the clips, which rows are scored after learning from which (by a frozen encoder), and its name."""

    whole: Manifest
    deals: list[tuple[np.ndarray, np.ndarray]]
    own: bool

    @property
    def asked(self) -> np.ndarray:
        return np.sort(np.concatenate([test for _, test in self.deals]))

    @property
    def learned(self) -> Manifest | None:
        """What the run, or its bank, learned from, if it is asked about its own test fold."""
        return self.whole.select(self.deals[0][0]) if self.own and len(self.deals) == 1 else None


def final(
    folder: str | Path,
    manifest: Manifest | None = None,
    cache: Cache | None = None,
    *,
    k: int = 5,
    sigma: float = 0.07,
    hop: float | None = None,
) -> dict[str, Any]:
    """Scores a finished run on its test fold, or on other data, and writes evaluation.json and predictions.csv there.

    A classifier is scored as it is. An encoder stays frozen and is scored by the `k` nearest neighbors among its
    present features of the training part ("accuracy" is that one's) and by a linear probe; on other data, or trained
    without a test fold, fold by fold. Its features are those before NPID's projection, which tells classes apart less
    well (benchmarks/neighbors.py); `within_to_between` says of each class how far it spreads over the test clips.

    A clip longer than a window is heard in windows `hop` seconds apart (the recipe's unless given, else a window), and
    its answer or feature is their mean. Other data's name is added to the files' names. `openings` counts how often
    this was done; `pretraining` says whether pretraining heard the test clips, `heard` how many of their files were
    learned from anywhere; `thin` names classes whose accuracy says little; `conditions` are the scores by device and by
    city (`by_condition`). Raises EvaluationError, ValueError, DataError.
    """
    run = Run.open(folder)
    if not run.done:
        raise EvaluationError(f"{folder} is not finished: start it again with the same command, and evaluate it then.")
    followed, model, cache = recipe.from_dict(run.recipe), load(folder), cache or Cache()
    exam, hop = _exam(run, followed, model, manifest), followed.hop if hop is None else hop
    prepared = prepare(
        exam.whole, cache, sample_rate=model.sample_rate, channels=model.channels, max_bad=followed.max_bad
    )
    source = Source(exam.whole, cache, model.sample_rate, model.channels, frozenset(prepared.bad))
    part = exam.whole.select(exam.asked)
    content = sorted({prepared.digests[clip.path] for clip in part.clips if clip.path in prepared.digests})
    tag = "" if exam.own else answers.tag(exam.whole.name)
    origin = _origin(run, followed, model, exam, content) | {"hop": hop}
    if isinstance(model, Classifier):
        answered = {"classifier": predict(model, replace(source, manifest=part), hop=hop)}
        return _record(run, tag, part, origin, answered, exam.learned)
    vote = partial(knn, k=k, sigma=sigma)
    found = _frozen(model, source, exam, vote, hop)
    return _record(run, tag, part, origin | {"k": k, "sigma": sigma}, found, exam.learned)


def _exam(run: Run, followed: recipe.Recipe, model: Backbone | Classifier, manifest: Manifest | None) -> _Exam:
    built = material.dealt(followed.data.build(DATASETS) if manifest is None else manifest, followed)
    own = built.fingerprint() == run.data["fingerprint"]
    if manifest is None and not own:
        raise EvaluationError(
            f"{built.name} has changed since {run.folder} learned from it (clips, labels or folds), so its test fold "
            f"may hold clips that were trained on: put the data back, or give it as other data."
        )
    manifest = built
    if own and followed.split.fold is not None:
        split = replace(followed.split, transductive=False)  # the bank of a frozen encoder never holds the test clips
        parts = material.divide(manifest, replace(followed, split=split), supervised=False)
        bank = parts.train.labelled()
        whole = replace(parts.test, clips=(*bank.clips, *parts.test.clips))
        return _Exam(whole, [(np.arange(len(bank)), np.arange(len(bank), len(whole)))], own)
    if isinstance(model, Classifier):
        if own:
            raise EvaluationError(f"{run.folder} was trained on all of its data and has no test fold: give other data.")
        whole = _in_terms_of(model, manifest.labelled())
        return _Exam(whole, [(np.arange(0), np.arange(len(whole)))], own)
    whole = manifest.labelled()
    if not len(whole):
        raise EvaluationError(f"{manifest.name} has no labels to compare with: give labelled data, DIR or CSV.")
    whole = whole if whole.folds else whole.with_folds(material.FOLDS)
    fold = np.array([clip.fold or 0 for clip in whole.clips])
    return _Exam(whole, [(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in whole.folds], own)


def _in_terms_of(model: Classifier, manifest: Manifest) -> Manifest:
    """The same clips with the model's classes in the model's order, so that no label shifts."""
    if strange := sorted(set(manifest.classes) - set(model.labels)):
        raise EvaluationError(
            f"{manifest.name} has labels that the model never learned: {', '.join(strange)}. It knows: "
            f"{', '.join(model.labels)}. Rename the labels, or leave those clips out."
        )
    return replace(manifest, classes=model.labels, multilabel=model.multilabel)


def _frozen(
    model: Backbone, source: Source, exam: _Exam, vote: Callable[..., np.ndarray], hop: float | None
) -> dict[str, Prediction]:
    """The answers that an encoder's features give to the asked clips, by the name of how."""
    feature, valid = embed(model, source, hop=hop)
    target, group, classes = exam.whole.targets(), exam.whole.groups(), len(exam.whole.classes)
    found = {name: np.zeros((len(feature), classes), np.float32) for name in ("knn", "linear_probe")}
    for bank, test in exam.deals:
        bank = bank[valid[bank]]
        known_of = feature[bank], target[bank], feature[test]
        found["knn"][test] = vote(*known_of, classes=classes, groups=(group[bank], group[test]))
        found["linear_probe"][test] = linear_probe(*known_of, classes=classes)
    rows = exam.asked
    return {name: Prediction(answer[rows], feature[rows], valid[rows]) for name, answer in found.items()}


def _origin(
    run: Run, followed: recipe.Recipe, model: Backbone | Classifier, exam: _Exam, content: list[str]
) -> dict[str, Any]:
    """Whose result this is, and what the model had heard of the test clips before, by their files' content."""
    encoder, learned = isinstance(model, Backbone), material.heard(run.folder)
    taught = [Path(followed.own(each)) for each in followed.objective.args.get("teachers", ())]
    whole = encoder and learned is not None  # what its teachers heard is in it, wherever they are by now
    stamp = material.stamp(str(run.folder) if encoder else followed.base_start, content, () if whole else taught)
    if exam.own and not encoder:
        stamp = (run.result or {}).get("pretraining", stamp)
    heard = None if learned is None else len(learned.intersection(content))
    fold = followed.split.fold if exam.own else None
    origin = {"kind": model.kind, "data": exam.whole.name, "fold": fold, "pretraining": stamp, "heard": heard}
    return origin | {"selected": (run.result or {}).get("selected", "none")}


def _interval(part: Manifest, found: Prediction) -> dict[str, Any]:
    """The accuracy's 95 % interval, over recordings; nothing for a single one."""
    rows = np.flatnonzero(found.valid & known(part.targets()))
    recordings = [part.clips[row].recording for row in rows]
    if part.multilabel or len(set(recordings)) < 2:
        return {}
    over = bootstrap(measures.correct(found.probability[rows], part.targets()[rows]), recordings)
    return {"interval": {"low": over.low, "high": over.high, "over": over.over}}


def _record(
    run: Run,
    tag: str,
    part: Manifest,
    origin: dict[str, Any],
    found: dict[str, Prediction],
    learned: Manifest | None,
) -> dict[str, Any]:
    place = run.folder / f"evaluation{tag}.json"
    before = read_json(place) if place.exists() else (run.result or {}) if not tag else {}
    openings = before.get("openings", 0) + 1
    scores = {name: score(part, prediction) | _interval(part, prediction) for name, prediction in found.items()}
    first, *others = found
    bad = int((~found[first].valid).sum())
    result = origin | {"openings": openings, "bad": bad, "thin": _thin(part), "by": first} | scores[first]
    result |= {name: scores[name] for name in others}
    if conditions := by_condition(part, found[first], learned):
        result["conditions"] = conditions
    if origin["kind"] == Backbone.kind:
        for label, ratio in zip(part.classes, _spreads(part, found[first]), strict=True):
            result["classes"][label]["within_to_between"] = ratio
    try:
        for name, prediction in found.items():
            mark = "" if name == first else f"-{name}"
            answers.write(run.folder / f"predictions{tag}{mark}.csv", part, prediction.probability, prediction.valid)
        write_json(place, result)  # last: where it is there, the predictions are too
    except OSError as error:
        raise EvaluationError(
            f"{place} could not be written: {error.strerror or error}. Make room, try again."
        ) from error
    return result


def _spreads(part: Manifest, found: Prediction) -> list[float | None]:
    """Each class's `within_to_between` of the clips that could be heard."""
    keep = found.valid
    known_of = found.feature[keep], part.targets()[keep], part.groups()[keep]
    return measures.within_to_between(*known_of, classes=len(part.classes))


def _thin(part: Manifest) -> dict[str, str]:
    """Classes whose test clips all come from one recording: their accuracy cannot be estimated."""
    rows = {label: [clip for clip in part.clips if label in clip.labels] for label in part.classes}
    return {
        label: f"{len(clips)} test clip{'s' * (len(clips) > 1)} of one recording"
        for label, clips in rows.items()
        if clips and len({clip.recording for clip in clips}) == 1
    }
