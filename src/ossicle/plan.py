"""A source of recordings -> the Recipe that `pretrain` and `train` follow. Numbers that nobody gave are named here."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import mode
from typing import Any, Literal

from ossicle import audio
from ossicle.data.manifest import Manifest
from ossicle.datasets import DATASETS, ONE_TEST, recognize
from ossicle.datasets.release import TEST
from ossicle.durable import read_json
from ossicle.frontends import FRONTENDS
from ossicle.recipe import Recipe, RecipeError, Spec, Split, Stage, from_dict

SECONDS = 5.0  # of the window, at most
SAMPLE_RATE = 22_050  # at most
SHORTEST = 0.1
LOOKED_AT = 200  # clips whose headers tell how long they are and how often they were sampled
HOP = 512
MELS = 64
DEPTH = 18

PRETRAINING_EPOCHS = 60
PRETRAINING_LR = 1e-3
PRETRAINING_BATCH = 64
TEMPERATURE = 0.1
MOMENTUM = 0.5
CROP = 0.6  # of the window's seconds
NOISE = 0.5  # of the log image, in nepers

CONTRASTIVE_TEMPERATURE = 0.2
PATCH = 0.3  # of the window's seconds, for each of two views
FAINT_NOISE = 0.023  # published as 0.01 of a common logarithm

CONTINUED_EPOCHS = 20
CONTINUED_RATE = 0.3  # of the rate that was learned at last

# Chosen on validation parts of ESC-10 (benchmarks/few_epochs.py): a fresh head wants a fast rate, a pretrained body a
# slow one, and masks cost more than they give when there are few epochs.
FROM_PRETRAINING = Stage(15, lr=1e-2, body=0.03)
FROM_SCRATCH = Stage(50, lr=1e-3)
BATCH = 16


Unlabelled = Literal["npid", "contrastive", "joint"]


def data(source: str | Path | Spec, **options: Any) -> Spec:
    """The source as a recipe names it, if it is not named already. IntakeError where there is nothing to read."""
    if isinstance(source, Spec):
        return source
    kind, path = recognize(source)
    return Spec(kind, {"path": path, **options})


def frontend(source: Spec, *, seconds: float | None = None, sample_rate: int | None = None) -> Spec:
    """Log-mel energies, of a window and at a rate that suit the recordings where they are not given."""
    if seconds is None or sample_rate is None:
        usual = suited(source.build(DATASETS))
        seconds, sample_rate = seconds or usual[0], sample_rate or usual[1]
    return Spec("logmel", {"sample_rate": sample_rate, "seconds": seconds, "hop": HOP, "mels": MELS})


def suited(manifest: Manifest) -> tuple[float, int]:
    """(seconds, sample rate) for these clips: as long as nine in ten of them, at the commonest rate, within limits."""
    lengths, rates = [], []
    for clip in manifest.clips[:: max(1, len(manifest) // LOOKED_AT)]:
        with suppress(audio.AudioError):
            info = audio.probe(clip.path)
            lengths.append((info.seconds if clip.stop is None else clip.stop) - clip.start)
            rates.append(info.sample_rate)
    if not lengths:
        return SECONDS, SAMPLE_RATE
    long = sorted(lengths)[int(0.9 * (len(lengths) - 1))]
    return min(SECONDS, max(SHORTEST, round(long, 2))), min(SAMPLE_RATE, mode(rates))


def pretraining(
    source: str | Path | Spec,
    *,
    objective: Unlabelled = "npid",
    start: str | Path | None = None,
    fold: int | None = None,
    folds: bool = False,
    seconds: float | None = None,
    sample_rate: int | None = None,
) -> Recipe:
    """Instance discrimination (NPID) on pieces of the window, contrastive learning on pairs of them, or both, labels
    unused: on log-mel images by a ResNet-18, or with what an earlier run or converted weights hear and see by.
    """
    begun = None if start is None else _one_or_all(start, fold, folds)
    named = data(source)
    built = _built(named, begun, fold, seconds, sample_rate)
    pieces = "clips" if "segment" in named.args else "recordings"
    window = built["frontend"].build(FRONTENDS).seconds
    return Recipe(
        name="pretrain",
        data=named,
        **built,
        objective=_objective(objective, pieces),
        views=_views(objective, window),
        stages=(Stage(PRETRAINING_EPOCHS, PRETRAINING_LR),),
        batch=PRETRAINING_BATCH,
        watch=10,
        start=begun,
    )


def _objective(name: Unlabelled, apart: str) -> Spec:
    npid = {"temperature": TEMPERATURE, "momentum": MOMENTUM, "apart": apart}
    args: dict[str, dict[str, Any]] = {"npid": npid}
    args["contrastive"] = {"temperature": CONTRASTIVE_TEMPERATURE, "apart": apart}
    return Spec(name, dict(args) if name == "joint" else args[name])


def _views(objective: Unlabelled, window: float) -> tuple[Spec, ...]:
    """What makes one clip many: of a piece for NPID and, where two are told apart, as Fonseca et al. 2021 have it."""
    crop = Spec("crop", {"seconds": round((CROP if objective == "npid" else PATCH) * window, 3)})
    if objective == "npid":
        return crop, Spec("random_resized_crop"), Spec("noise", {"sigma": NOISE}), Spec("specaugment")
    faint = Spec("noise", {"sigma": FAINT_NOISE})
    return crop, Spec("mixback"), Spec("random_resized_crop"), Spec("compression"), faint


def continuing(source: str | Path | Spec, start: str | Path, *, fold: int | None = None, folds: bool = False) -> Recipe:
    """An earlier pretraining goes on with other recordings: its recipe on them alone, for fewer epochs, from what it
    learned. A bank's rows stay in its memory, as something to tell the new clips from; a head goes on learning.

    RecipeError where `start` is no finished pretraining, or one whose memory is gone.
    """
    begun = _one_or_all(start, fold, folds)
    built = inherited(begun, fold)
    done = _choices(begun, fold)[0] / "recipe.json"
    if not done.is_file():
        raise RecipeError(f"{start} is a model without its run, and what it remembers is gone: begin with --from")
    earlier = from_dict(read_json(done))
    if earlier.objective.name not in ("npid", "contrastive", "joint"):
        raise RecipeError(
            f"{start} learned by '{earlier.objective.name}'; --continue goes on with 'npid', 'contrastive' or 'joint'"
        )
    if not (done.parent / "memory").exists():
        raise RecipeError(f"{start} has no memory/, and what it remembers is gone: begin with --from")
    named, last = data(source), earlier.stages[-1]
    objective = _going_on(earlier.objective, {"apart": "clips"} if "segment" in named.args else {})
    stage = replace(last, epochs=CONTINUED_EPOCHS, lr=CONTINUED_RATE * last.lr, frontend=None)
    new: dict[str, Any] = {"data": named, "objective": objective, "stages": (stage,), "split": Split()}
    return replace(earlier, name="continue", start=begun, **built, **new)


def _going_on(objective: Spec, pieces: dict[str, Any]) -> Spec:
    """The same objective on other recordings. `pieces` is how clips that were cut from one recording are told apart."""
    news: dict[str, Any] = {"npid": {**pieces, "keep": True}, "contrastive": pieces}
    if objective.name == "joint":
        changed = {name: {**(objective.args.get(name) or {}), **new} for name, new in news.items()}
    else:
        changed = news[objective.name]
    return Spec(objective.name, {**objective.args, **changed})


def recognizer(
    source: str | Path | Spec,
    *,
    start: str | Path | None = None,
    fold: int | None = None,
    folds: bool = False,
    seconds: float | None = None,
    sample_rate: int | None = None,
) -> Recipe:
    """A classifier, from scratch or from an earlier run, whose front end and encoder it then takes over.

    Where `start` holds one pretraining a fold, each fold begins from its own. Without a test fold, the first fold is
    held out to calibrate on; of a release with one test set that is the test fold, and its own validation part is held
    out. RecipeError where `start` holds nothing to begin from.
    """
    named, alone = data(source), fold is None and not folds
    fold = TEST if alone and named.name in ONE_TEST else fold
    begun = None if start is None else _one_or_all(start, fold, folds)
    recipe = Recipe(
        name="train",
        data=named,
        **_built(named, begun, fold, seconds, sample_rate),
        objective=Spec("supervised"),
        views=(Spec("roll"),) if begun else (Spec("roll"), Spec("noise", {"sigma": NOISE}), Spec("specaugment")),
        stages=(FROM_PRETRAINING if begun else FROM_SCRATCH,),
        batch=BATCH,
        start=begun,
    )
    return recipe.override({"split.fold": fold, "split.valid": "next"}) if alone else recipe


def _built(
    named: Spec, begun: str | None, fold: int | None, seconds: float | None, sample_rate: int | None
) -> dict[str, Any]:
    """The front end and encoder of `begun`, or the usual ones; what the window and rate were asked to be, they are."""
    if begun is None:
        heard = frontend(named, seconds=seconds, sample_rate=sample_rate)
        return {"frontend": heard, "encoder": Spec("resnet", {"depth": DEPTH})}
    built = inherited(begun, fold)
    asked = {"seconds": seconds, "sample_rate": sample_rate}
    changed = {name: value for name, value in asked.items() if value is not None}
    return built | {"frontend": Spec(built["frontend"].name, {**built["frontend"].args, **changed})}


def _one_or_all(start: str | Path, fold: int | None, folds: bool) -> str:
    """`start`, paired with the folds where it holds one pretraining for each."""
    begun = pair(start)
    if "{fold}" in begun and fold is None and not folds:
        raise RecipeError(f"{start} holds one pretraining a fold: say which with --fold, or train all with --folds")
    return begun


def pair(start: str | Path) -> str:
    """`runs/pre` -> `runs/pre/fold{fold}` where it holds one run a fold (and `-seed{seed}` where seeds were asked for),
    else as it is.
    """
    names = [path.parent.name for path in Path(start).glob("fold[0-9]*/recipe.json")]
    if not names:
        return str(start)
    return str(Path(start) / ("fold{fold}-seed{seed}" if all("-seed" in name for name in names) else "fold{fold}"))


def inherited(start: str, fold: int | None) -> dict[str, Any]:
    """The front end, encoder, length policy and channels of the model to begin from (any fold's, where it is open)."""
    choices = _choices(start, fold)
    for folder in choices:
        for config in (folder / "model" / "config.json", folder / "config.json"):
            if config.is_file():
                found = json.loads(config.read_text(encoding="utf-8"))
                specs = {name: _spec(found[name]) for name in ("frontend", "encoder")}
                return specs | {name: found[name] for name in ("policy", "channels")}
    unfinished = any((folder / "recipe.json").is_file() for folder in choices)
    reason = "is a run that is not finished: start it again with the same command" if unfinished else "holds no model"
    raise RecipeError(f"{start} {reason}. --from takes a finished run, or a model's folder")


def _choices(start: str, fold: int | None) -> list[Path]:
    """The folders that `start` stands for: one, or those of every fold and seed that it names and that are open."""
    known = start if fold is None else start.replace("{fold}", str(fold))
    place = Path(known.replace("{fold}", "*").replace("{seed}", "*"))
    return [place] if str(place) == str(Path(known)) else sorted(place.parent.glob(place.name))


def _spec(tree: dict[str, Any]) -> Spec:
    return Spec(tree["name"], {name: value for name, value in tree.items() if name != "name"})
