"""A source of recordings -> the Recipe that `pretrain` and `train` follow. Numbers that nobody gave are named here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ossicle.datasets import recognize
from ossicle.recipe import Recipe, RecipeError, Spec, Stage

SECONDS = 5.0
SAMPLE_RATE = 22_050
HOP = 512
MELS = 64
DEPTH = 18

PRETRAINING_EPOCHS = 100
PRETRAINING_LR = 1e-3
PRETRAINING_BATCH = 64
TEMPERATURE = 0.1
MOMENTUM = 0.5
CROP = 0.6  # of the window's seconds
NOISE = 0.5  # of the log image, in nepers

EPOCHS_FROM_PRETRAINING = 15
EPOCHS_FROM_SCRATCH = 50
LR = 1e-3
BATCH = 16


def data(source: str | Path | Spec) -> Spec:
    """The source as a recipe names it, if it is not named already. IntakeError where there is nothing to read."""
    if isinstance(source, Spec):
        return source
    kind, path = recognize(source)
    return Spec(kind, {"path": path})


def frontend(*, seconds: float = SECONDS, sample_rate: int = SAMPLE_RATE) -> Spec:
    """Log-mel energies of a window of so many seconds."""
    return Spec("logmel", {"sample_rate": sample_rate, "seconds": seconds, "hop": HOP, "mels": MELS})


def pretraining(source: str | Path | Spec, *, seconds: float = SECONDS, sample_rate: int = SAMPLE_RATE) -> Recipe:
    """Instance discrimination (NPID) on log-mel images of pieces of the window, labels unused."""
    piece = Spec("crop", {"seconds": round(CROP * seconds, 3)})
    return Recipe(
        name="pretrain",
        data=data(source),
        frontend=frontend(seconds=seconds, sample_rate=sample_rate),
        encoder=Spec("resnet", {"depth": DEPTH}),
        objective=Spec("npid", {"temperature": TEMPERATURE, "momentum": MOMENTUM}),
        views=(piece, Spec("random_resized_crop"), Spec("noise", {"sigma": NOISE}), Spec("specaugment")),
        stages=(Stage(PRETRAINING_EPOCHS, PRETRAINING_LR),),
        batch=PRETRAINING_BATCH,
        watch=10,
    )


def recognizer(
    source: str | Path | Spec,
    *,
    start: str | Path | None = None,
    fold: int | None = None,
    folds: bool = False,
    seconds: float = SECONDS,
    sample_rate: int = SAMPLE_RATE,
) -> Recipe:
    """A classifier, from scratch or from an earlier run, whose front end and encoder it then takes over.

    Where `start` holds one pretraining a fold, each fold begins from its own. Without a test fold, the first fold is
    held out to calibrate on. RecipeError where `start` holds nothing to begin from.
    """
    begun = None if start is None else pair(start)
    if begun and "{fold}" in begun and fold is None and not folds:
        raise RecipeError(f"{start} holds one pretraining a fold: say which with --fold, or train all with --folds")
    heard = frontend(seconds=seconds, sample_rate=sample_rate)
    learned: dict[str, Any] = {"frontend": heard, "encoder": Spec("resnet", {"depth": DEPTH})}
    recipe = Recipe(
        name="train",
        data=data(source),
        **(learned if begun is None else inherited(begun, fold)),
        objective=Spec("supervised"),
        views=(Spec("roll"), Spec("noise", {"sigma": NOISE}), Spec("specaugment")),
        stages=(Stage(EPOCHS_FROM_PRETRAINING if begun else EPOCHS_FROM_SCRATCH, LR),),
        batch=BATCH,
        start=begun,
    )
    return recipe if fold is not None or folds else recipe.override({"split.valid": "next"})


def pair(start: str | Path) -> str:
    """`runs/pre` -> `runs/pre/fold{fold}` where it holds one run a fold, else as it is."""
    several = any(Path(start).glob("fold[0-9]*/recipe.json"))
    return str(Path(start) / "fold{fold}") if several else str(start)


def inherited(start: str, fold: int | None) -> dict[str, Any]:
    """The front end, encoder and length policy of the model to begin from (of any fold's, where the fold is open)."""
    place = Path(start.replace("{fold}", "*" if fold is None else str(fold)))
    choices = sorted(place.parent.glob(place.name)) if fold is None else [place]
    for folder in choices:
        for config in (folder / "model" / "config.json", folder / "config.json"):
            if config.is_file():
                found = json.loads(config.read_text(encoding="utf-8"))
                specs = {name: _spec(found[name]) for name in ("frontend", "encoder")}
                return specs | {"policy": found["policy"]}
    unfinished = any((folder / "recipe.json").is_file() for folder in choices)
    reason = "is a run that is not finished: start it again with the same command" if unfinished else "holds no model"
    raise RecipeError(f"{place} {reason}. --from takes a finished run, or a model's folder")


def _spec(tree: dict[str, Any]) -> Spec:
    return Spec(tree["name"], {name: value for name, value in tree.items() if name != "name"})
