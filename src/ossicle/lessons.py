"""Teachers and clips to learn from -> a Lesson, (M, n, K) probabilities, or M features (n, D), asked once a clip.

Each teacher hears a clip as it would be evaluated: at its own rate, by its own front end and windows, in float32, and
its answer is the mean over these windows. It is asked before the first step, and what it says is kept in the cache, by
the SHA-256 of its weights and the content of the clip: another fold, another student and a run that goes on read it
there.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ossicle import machine
from ossicle.assemble import sound_alike
from ossicle.data.cache import BadFile
from ossicle.data.loader import DataError, Source, mixing
from ossicle.data.manifest import Clip
from ossicle.durable import write
from ossicle.evaluate import embed, predict
from ossicle.material import Material, Tell, quiet
from ossicle.model import Backbone, Classifier, load
from ossicle.objectives.distill import Lesson
from ossicle.recipe import Recipe, RecipeError, to_dict
from ossicle.teachers import Teacher, read
from ossicle.words import plural

What = Literal["probability", "feature"]
CHUNK = 256  # clips between two writes: what is lost when asking is stopped


def lesson(recipe: Recipe, found: Material, tell: Tell = quiet) -> Lesson | tuple[Tensor, ...]:
    """What the recipe's teachers give for its training part: answers by the student's labels, which are the data's or,
    where that has none, the first teacher's; or the features (n, D) of each.
    """
    if recipe.objective.name == "mimic":
        return tuple(torch.from_numpy(answers(teacher, found, "feature", tell)) for teacher in found.teachers)
    first = found.teachers[0]
    labels = found.manifest.classes or first.labels
    if recipe.objective.args.get("hear") != "views":
        said = np.stack([probabilities(teacher, found, labels, tell) for teacher in found.teachers])
        return Lesson(labels, first.multilabel, torch.from_numpy(said))
    for teacher in found.teachers:
        _refuse_deaf(recipe, teacher)
    present = tuple(_in_order(_awake(teacher), labels) for teacher in found.teachers)
    return Lesson(labels, first.multilabel, torch.zeros(0, 0, len(labels)), present)


def probabilities(teacher: Teacher, found: Material, labels: Sequence[str], tell: Tell = quiet) -> np.ndarray:
    """(n, K) float32: what a teacher says of each clip of the training part, by these labels. Bad files' rows are zero.

    DataError where an answer is no number.
    """
    return answers(teacher, found, "probability", tell)[:, [teacher.labels.index(label) for label in labels]]


def answers(teacher: Teacher, found: Material, what: What, tell: Tell = quiet) -> np.ndarray:
    """(n, K) probabilities by the teacher's own labels, or (n, D) features, as `probabilities` has them."""
    kept, began = Answers.of(teacher, found, what), time.monotonic()
    content = found.prepared.digests
    names = [_name(content[clip.path], clip) if clip.path in content else b"" for clip in found.parts.train.clips]
    known = kept.read()
    rows = {name: row for row, name in enumerate(names) if name and name not in known}
    if rows:
        known |= _asked(teacher, found, rows, kept, tell)
        taken = f"{len(rows)} clips in {time.monotonic() - began:.0f} s"
        tell("note", {"note": f"teacher {teacher.folder} was asked about {taken}"})
    nothing = np.zeros(len(next(iter(known.values()), teacher.labels)), np.float32)
    return np.stack([known.get(name, nothing) for name in names])


def _asked(
    teacher: Teacher, found: Material, rows: dict[bytes, int], kept: Answers, tell: Tell
) -> dict[bytes, np.ndarray]:
    """The answers about these rows of the training part, which are kept as they come."""
    model, part = _awake(teacher), found.parts.train
    paths = dict.fromkeys(part.clips[row].path for row in rows.values())
    heard: dict[str, Any] = {"sample_rate": model.sample_rate, "channels": mixing(model.channels)}
    bad = found.cache.prepare(paths, **heard, progress=_decoding(tell)).bad
    if bad:
        raise DataError(_unheard(teacher, bad))
    source = Source(part, found.cache, model.sample_rate, model.channels)
    made: dict[bytes, np.ndarray] = {}
    for start in range(0, len(rows), CHUNK):
        names = list(rows)[start : start + CHUNK]
        few = replace(source, manifest=part.select([rows[name] for name in names]))
        said = _said(model, few, kept.what, teacher.hop)
        if not np.isfinite(said).all():
            raise DataError(
                f"teacher {teacher.folder} gives answers that are no numbers: train it anew, or leave it out"
            )
        kept.add(names, said)
        made |= dict(zip(names, said, strict=True))
        tell("teach", {"done": len(made), "total": len(rows)})
    return made


def _decoding(tell: Tell) -> Callable[[int, int], None]:
    return lambda done, total: tell("decode", {"done": done, "total": total})


def _unheard(teacher: Teacher, bad: Mapping[Path, BadFile]) -> str:
    """A student hears these files, or they would be bad for it too."""
    first = next(iter(bad.values()))
    return (
        f"teacher {teacher.folder} cannot hear {plural(len(bad), 'file')} that the student learns from, {first.path} "
        f"for one: {first.reason}. Leave them out, or take a teacher that hears them"
    )


def _said(model: Backbone | Classifier, few: Source, what: What, hop: float | None) -> np.ndarray:
    if isinstance(model, Classifier):
        made: np.ndarray = getattr(predict(model, few, hop=hop), what)
        return made
    return embed(model, few, hop=hop)[0]


def _awake(teacher: Teacher) -> Backbone | Classifier:
    """The teacher, ready to answer. RecipeError where it was replaced since it was read."""
    model = load(teacher.folder).to(machine.device()).requires_grad_(False)
    if read(teacher.folder).sha256 != teacher.sha256:
        raise RecipeError(
            f"teacher {teacher.folder} was replaced after this run had begun with it: start the run again"
        )
    return model


def _in_order(model: Backbone | Classifier, labels: Sequence[str]) -> Classifier:
    """The same classifier, its classes in this order."""
    assert isinstance(model, Classifier), "teachers agree on classes"
    rows = [model.labels.index(label) for label in labels]
    model.head.weight = nn.Parameter(model.head.weight[rows], requires_grad=False)
    model.head.bias = nn.Parameter(model.head.bias[rows], requires_grad=False)
    model.labels = tuple(labels)
    return model


def _refuse_deaf(recipe: Recipe, teacher: Teacher) -> None:
    """RecipeError where a teacher does not hear by the student's front end, in every stage."""
    for heard in (stage.frontend or recipe.frontend for stage in recipe.stages):
        if not sound_alike(heard, teacher.frontend) or teacher.channels != recipe.channels:
            raise RecipeError(
                f"teacher {teacher.folder} hears {to_dict(teacher.frontend)} of {teacher.channels} channels, and the "
                f'student {to_dict(heard)} of {recipe.channels}: by hear = "clips" each hears in its own way'
            )


def _name(content: str, clip: Clip) -> bytes:
    return hashlib.blake2b(f"{content}:{clip.start}:{clip.stop}".encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Answers:
    """What is known of one teacher's answers: files in `folder`, each written once, of (n, 16) names and (n, K)
    probabilities or (n, D) features, as `what` has it. Who else writes there, or deletes, does no harm.
    """

    folder: Path
    what: What

    @classmethod
    def of(cls, teacher: Teacher, found: Material, what: What) -> Answers:
        """Those of these weights, asked in windows that far apart, in the cache of the sound."""
        asked = f"{teacher.sha256}:{teacher.hop}" + (":feature" if what == "feature" else "")
        name = hashlib.sha256(asked.encode()).hexdigest()[:32]
        return cls(found.cache.folder.parent / "answers-1" / name, what)

    def read(self) -> dict[bytes, np.ndarray]:
        """Each clip's row by its name; files that are damaged or gone count as never written."""
        known: dict[bytes, np.ndarray] = {}
        for path in sorted(self.folder.glob("*.npz")):
            with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                held = np.load(io.BytesIO(path.read_bytes()))
                known |= zip((bytes(name) for name in held["names"]), held["said"], strict=True)
        return known

    def add(self, names: Sequence[bytes], said: np.ndarray) -> None:
        """Keeps these clips' answers. OSError where the cache cannot be written."""
        held = io.BytesIO()
        np.savez(held, names=np.frombuffer(b"".join(names), np.uint8).reshape(len(names), -1), said=said)
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / f"{secrets.token_hex(8)}.npz"
        new = place.with_suffix(f".{os.getpid()}.new")
        write(new, held.getvalue())
        new.replace(place)
