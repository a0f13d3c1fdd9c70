"""Who teaches a student: runs or models, read without their weights, and whether all mean the same classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ossicle.checkpoint import CONFIG, MANIFEST
from ossicle.data.manifest import Manifest
from ossicle.durable import read_json
from ossicle.plain import digest
from ossicle.recipe import Recipe, RecipeError, Spec

TAUGHT = ("distill", "mimic")
"""The objectives of students, who learn what teachers say of a clip and what they make of it."""


@dataclass(frozen=True)
class Teacher:
    """A model in a folder, a run's or a model's own; an encoder has no `labels`. `frontend` is what it hears by, `hop`
    the seconds from window to window where it is asked about a clip longer than its own (None: a window); `sha256`
    names weights and config.
    """

    folder: Path
    labels: tuple[str, ...]
    multilabel: bool
    frontend: Spec
    channels: int
    hop: float | None
    sha256: str


def read(folder: str | Path) -> Teacher:
    """The teacher in a folder. RecipeError where there is no finished one."""
    folder = Path(folder)
    run = (folder / "recipe.json").is_file()
    place = folder / "model" if run else folder
    if not (place / CONFIG).is_file() or not (place / MANIFEST).is_file():
        reason = "is a run that is not finished" if run else "holds no model"
        raise RecipeError(f"teacher {folder} {reason}: give a finished run, or a model's folder")
    config = read_json(place / CONFIG)
    frontend = dict(config["frontend"])
    return Teacher(
        folder,
        tuple(config.get("labels", ())),
        bool(config.get("multilabel")),
        Spec(frontend.pop("name"), frontend),
        int(config["channels"]),
        read_json(folder / "recipe.json").get("hop") if run else None,
        digest((place / MANIFEST).read_bytes()),
    )


def teachers_of(recipe: Recipe) -> tuple[Teacher, ...]:
    """A recipe's teachers, `{fold}` and `{seed}` filled in; none where it is not for a student."""
    if recipe.objective.name not in TAUGHT:
        return ()
    named = recipe.objective.args.get("teachers")
    if not isinstance(named, list | tuple) or not named or not all(isinstance(name, str) for name in named):
        raise RecipeError(f'teachers is {named!r}; wanted: a list of runs, teachers = ["runs/rec"]')
    return tuple(read(recipe.own(name)) for name in named)


def agree(teachers: Sequence[Teacher], manifest: Manifest, *, hard: float = 0.0) -> None:
    """RecipeError where teachers, or the data's labels if it has any, are not of the same classes, or of none; their
    order may differ. `hard` asks for labels.
    """
    for teacher in teachers:
        if not teacher.labels:
            raise RecipeError(
                f"teacher {teacher.folder} is an encoder, which knows no classes: train it first, ossicle train "
                f"LABELLED --from {teacher.folder} -o runs/teacher, or learn its features by the objective 'mimic'"
            )
    first, *others = teachers
    for other in others:
        _refuse_unlike(str(first.folder), first, str(other.folder), other.labels, several=other.multilabel)
    if manifest.classes:
        _refuse_unlike(str(first.folder), first, manifest.name, manifest.classes, several=manifest.multilabel)
    elif hard:
        raise RecipeError(f"hard is {hard:g}, and {manifest.name} has no labels to learn from: set hard to 0")


def _refuse_unlike(name: str, teacher: Teacher, other: str, labels: Iterable[str], *, several: bool) -> None:
    mine, theirs = set(teacher.labels), set(labels)
    if mine != theirs:
        only = [f"{who} alone has {_listed(what)}" for who, what in ((name, mine - theirs), (other, theirs - mine))]
        raise RecipeError(
            f"teacher {name} and {other} do not have the same classes: {' and '.join(only)}. Rename the labels, or "
            "take a teacher that was trained on these"
        )
    if teacher.multilabel != several:
        ways = ("one label", "several labels")
        raise RecipeError(
            f"teacher {name} gives a clip {ways[teacher.multilabel]}, and {other} {ways[several]}: take another"
        )


def _listed(labels: Iterable[str], most: int = 8) -> str:
    labels = sorted(labels)
    return ", ".join([*labels[:most], "..."][: len(labels)]) or "none"
