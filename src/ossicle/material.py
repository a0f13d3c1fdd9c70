"""What a recipe's data comes to on this machine: the parts of the manifest, decoded, and who heard what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np

from ossicle.choice import refuse_blind
from ossicle.data import noise
from ossicle.data.cache import Cache, Prepared
from ossicle.data.dealing import share
from ossicle.data.intake import look_over, refuse
from ossicle.data.loader import DataError, Source, prepare
from ossicle.data.manifest import Manifest, Parts
from ossicle.datasets import DATASETS
from ossicle.durable import read_json, write
from ossicle.recipe import Recipe, RecipeError
from ossicle.teachers import Teacher, agree, teachers_of
from ossicle.words import plural

FOLDS = 5
COST = ("seconds", "cpu_seconds", "hours", "bytes")
COUNTS = ("steps", "clips", "peeks")
Tell = Callable[[str, dict[str, Any]], None]


def quiet(kind: str, row: dict[str, Any]) -> None:
    """Says nothing: the default of everything that can report its progress."""


@dataclass(frozen=True)
class Material:
    """The manifest's parts, the cache that holds their sound, and what was found out on the way."""

    manifest: Manifest
    parts: Parts
    cache: Cache
    prepared: Prepared
    sample_rate: int
    channels: int = 1
    teachers: tuple[Teacher, ...] = ()

    def source(self, part: Manifest) -> Source:
        """A part's sound."""
        return Source(part, self.cache, self.sample_rate, self.channels, frozenset(self.prepared.bad))

    def bank(self) -> Source:
        """The training part's sound without what is asked about: a transductive one holds the other parts too."""
        asked = {clip.key for part in (self.parts.valid, self.parts.test) for clip in part.clips}
        apart = [clip.key not in asked for clip in self.parts.train.clips]
        return self.source(self.parts.train.select(np.array(apart, dtype=bool)))

    def describe(self) -> dict[str, Any]:
        """Plain values that say which data a run learned from; a resumed run must find them the same.

        `planted` is there where labels were made wrong on purpose, `teachers` where a student learns from some.
        """
        counts = {name: len(getattr(self.parts, name)) for name in ("train", "valid", "test")}
        return {
            "name": self.manifest.name,
            "fingerprint": self.manifest.fingerprint(),
            "content": hashlib.sha256("".join(sorted(self.digests(self.manifest))).encode()).hexdigest(),
            "classes": list(self.manifest.classes),
            "clips": counts,
            "bad": len(self.prepared.bad),
            **self.planted(),
            **self.taught(),
        }

    def taught(self) -> dict[str, Any]:
        """`teachers`: which weights, and which front end, are in which folder, if there are any."""
        named = {str(teacher.folder): teacher.sha256 for teacher in self.teachers}
        return {"teachers": named} if named else {}

    def planted(self) -> dict[str, Any]:
        """`planted`: how many clips to learn from had their labels changed, `of` how many labelled ones, if any had."""
        changed = noise.planted(self.parts.train)
        return {"planted": {"changed": changed, "of": len(self.parts.train.labelled())}} if changed else {}

    def digests(self, part: Manifest) -> list[str]:
        """The content of each file of a part, once each; bad files have none."""
        paths = dict.fromkeys(clip.path for clip in part.clips)
        return [self.prepared.digests[path] for path in paths if path in self.prepared.digests]

    def bytes(self, part: Manifest) -> int:
        """What the files of a part weigh, once each; bad files nothing."""
        return sum(self.prepared.sizes.get(path, 0) for path in dict.fromkeys(clip.path for clip in part.clips))

    def seconds(self, part: Manifest) -> float:
        """How much sound a part holds."""
        total = 0.0
        for clip in part.clips:
            if (whole := self.prepared.lengths.get(clip.path)) is not None:
                stop = whole / self.sample_rate if clip.stop is None else clip.stop
                total += max(0.0, stop - clip.start)
        return total


def gather(
    recipe: Recipe, cache: Cache | None = None, *, sample_rate: int, channels: int = 1, tell: Tell = quiet
) -> Material:
    """Reads, looks over, splits and decodes a recipe's data. Every problem that can be seen beforehand is raised at
    once.

    The test fold is decoded with the rest (so that bad files show before the work, and overlap with what pretraining
    heard can be told) and is given to no one here.
    """
    _refuse_tested(recipe)
    cache = cache or Cache()
    manifest, teachers = dealt(recipe.data.build(DATASETS), recipe), teachers_of(recipe)
    if recipe.objective.name == "distill":
        agree(teachers, manifest, hard=recipe.objective.args.get("hard", 0.0))
    supervised, split = recipe.objective.name == "supervised", recipe.split
    purpose: Literal["train", "pretrain"] = "train" if supervised else "pretrain"
    problems = look_over(manifest, purpose=purpose, fold=split.fold, valid=split.valid, batch=recipe.batch)
    for problem in problems:
        if problem.severity != "refuse":
            tell("note", {"note": str(problem)})
    refuse(problems)
    parts = divide(manifest, recipe, supervised=supervised)
    if len(parts.train) < 2:
        raise DataError(
            f"{plural(len(parts.train), 'clip')} left to train on; at least 2 are needed: add recordings or labels"
        )
    refuse_blind(recipe, parts)
    if split.label_noise:
        changed = f"{noise.planted(parts.train)} of {len(parts.train.labelled())} labelled training clips"
        tell("note", {"note": f"{changed} have had their labels changed ({split.noise_kind} noise)"})

    def report(prepared: Prepared) -> None:
        for note, paths in prepared.notes.items():
            tell("note", {"note": f"{note} ({len(paths)} files, {paths[0]} for one)"})
        for bad in prepared.bad.values():
            tell("bad", asdict(bad))

    prepared = prepare(
        manifest,
        cache,
        sample_rate=sample_rate,
        channels=channels,
        max_bad=recipe.max_bad,
        report=report,
        progress=lambda done, total: tell("decode", {"done": done, "total": total}),
    )
    return Material(manifest, parts, cache, prepared, sample_rate, channels, teachers)


def _refuse_tested(recipe: Recipe) -> None:
    """RecipeError where classes would be learned from the test fold itself."""
    if recipe.split.transductive and recipe.objective.name in ("supervised", "distill"):
        raise RecipeError(
            f"split.transductive lets pretraining hear the test fold, and '{recipe.objective.name}' learns classes: "
            "leave it out"
        )


def write_bad(folder: str | Path, rows: Iterable[Mapping[str, str]]) -> Path:
    """bad_files.jsonl: a line of JSON a bad file (path, stage, reason), whatever its name holds."""
    path = Path(folder) / "bad_files.jsonl"
    write(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return path


def dealt(manifest: Manifest, recipe: Recipe) -> Manifest:
    """The manifest with folds: its own or, where a recipe asks for one and no labelled clip has one, five, whatever the
    seed (fewer for fewer recordings). DataError where a single recording is all there is.
    """
    asked = recipe.split.fold is not None or recipe.split.valid is not None
    if manifest.scorable or not asked:
        return manifest
    recordings = len({clip.recording for clip in manifest.clips if clip.labelled or not manifest.classes})
    if recordings < 2:
        raise DataError(
            f"{manifest.name} has {plural(recordings, 'recording')}, and what is held out must be another than what "
            "is learned from: give more recordings, or hold none out (--valid none)"
        )
    return manifest.with_folds(min(FOLDS, recordings))


def divide(manifest: Manifest, recipe: Recipe, *, supervised: bool) -> Parts:
    """Train, validation and test part. Supervised training keeps labelled clips, `few` of each class where asked. A
    student keeps those, and every clip that had no label before.

    Label noise comes last, and to the training part alone: the same clips are there whatever its rate.
    """
    split = recipe.split
    parts = manifest.split(split.fold, split.valid)
    if split.transductive:
        parts = replace(parts, train=manifest)
    if supervised:
        parts = replace(parts, train=parts.train.labelled())
    if split.share < 1:
        parts = replace(parts, train=parts.train.select(share(parts.train.groups(), split.share, recipe.seed)))
    if supervised and split.few:
        parts = replace(parts, train=parts.train.few(split.few, recipe.seed))
    elif split.few and recipe.objective.name == "distill":
        kept = {clip.key for clip in parts.train.few(split.few, recipe.seed).clips}
        rows = [clip.key in kept or not clip.labelled for clip in parts.train.clips]
        parts = replace(parts, train=parts.train.select(np.array(rows, dtype=bool)))
    return replace(parts, train=noise.plant(parts.train, split.label_noise, split.noise_kind, recipe.seed))


def heard(start: str | Path | None) -> set[str] | None:
    """The content digests of all that a run learned from, its own ancestors included; None where nothing tells."""
    path = Path(start or "") / "heard.json"
    return set(json.loads(path.read_text())) if start and path.exists() else None


def known_to(start: str | Path | None, teachers: Iterable[Path] = ()) -> set[str] | None:
    """The content digests of all that a start and teachers learned from; None where one of them does not tell."""
    before = [heard(each) for each in (*([start] if start else []), *teachers)]
    return None if None in before else set().union(*(each for each in before if each))


def spent(start: str | Path | None) -> dict[str, float | None] | None:
    """What making the weights of a start took: seconds, cpu_seconds, and hours and bytes of the sound it heard.

    Sums over the run, what it had begun from and who had taught it, each as it tells; a recording heard twice counts
    twice. `weights` are the bytes of a model that tells nothing, where it all began from one. None without a start.
    """
    if start is None:
        return None
    folder = Path(start)
    if not (folder / "result.json").exists():
        bare = folder / "model.safetensors"
        return dict.fromkeys(COST) | {"weights": bare.stat().st_size if bare.exists() else None}
    own = read_json(folder / "result.json")
    before, teaching = (own.get(name) or {} for name in ("before", "teaching"))
    told = {name: [each[name] for each in (own, before, teaching) if each.get(name) is not None] for name in COST}
    return {name: sum(values) if values else None for name, values in told.items()} | {"weights": before.get("weights")}


def teaching(teachers: Iterable[str | Path]) -> dict[str, float | None] | None:
    """What making all teachers of a student took, as `spent` has it of each; None of what one of them does not tell,
    and without teachers. Asking them is not in it: answers are kept.
    """
    each = [cost for teacher in teachers if (cost := spent(teacher)) is not None]
    return {name: _sum([cost[name] for cost in each]) for name in COST} if each else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def mean_cost(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a run took and heard, under `before` what its start did, and under `teaching` what its teachers did: means
    over runs, None where one does not tell.

    `before` is None where no run began from another, and `teaching` where none had teachers.
    """
    earlier = {"before": (*COST, "weights"), "teaching": COST}
    told = {name: [result[name] for result in results if result.get(name)] for name in earlier}
    means = {name: _means(told[name], names) if told[name] else None for name, names in earlier.items()}
    return _means(results, (*COUNTS, *COST)) | means


def _means(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, float | None]:
    told = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    return {name: fmean(values) if len(values) == len(rows) > 0 else None for name, values in told.items()}


def stamp(start: str | None, test: list[str], teachers: Iterable[Path] = ()) -> str:
    """What pretraining heard of the test part: "transductive" if any of it, "inductive" if nothing, "none" without it.

    "leaky" if any of it was heard by a start that is `told` classes, be it with labels. "unknown" where the start is a
    bare model that does not tell. Teachers are asked the same, and the worst of all is what counts.
    """
    said = {"none"} if start is None else {_stamp(start, test)}
    said |= {_stamp(teacher, test) for teacher in teachers}
    return next(each for each in ("leaky", "transductive", "unknown", "inductive", "none") if each in said)


def told(run: str | Path) -> bool:
    """Whether classes are in what a run learned: its own or, of an encoder, those of who taught it or it began from."""
    done = Path(run) / "result.json"
    found = read_json(done) if done.exists() else {}
    return bool(found.get("told", found.get("kind") == "classifier"))


def _stamp(before: str | Path, test: list[str]) -> str:
    known = heard(before)
    if known is None:
        return "unknown"
    if not known.intersection(test):
        return "inductive"
    return "leaky" if told(before) else "transductive"
