"""A source of recordings -> the Recipe that `pretrain`, `train` and `distill` follow. Numbers that nobody gave are
named here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import mode
from typing import Any, Literal

from ossicle import audio, teachers
from ossicle.data.manifest import Manifest
from ossicle.datasets import DATASETS, ONE_TEST, recognize
from ossicle.datasets.release import TEST
from ossicle.durable import read_json
from ossicle.frontends import FRONTENDS
from ossicle.recipe import Recipe, RecipeError, Spec, Split, Stage, from_dict, to_dict
from ossicle.starts import choices, inherited, one_or_all

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
NPID = {"temperature": 0.1, "momentum": 0.5}
CROP = 0.6  # of the window's seconds
NOISE = 0.5  # of the log image, in nepers

CONTRASTIVE = {"temperature": 0.2}
PATCH = 0.3  # of the window's seconds, for each of two views
FAINT_NOISE = 0.023  # published as 0.01 of a common logarithm

CONTINUED_EPOCHS = 20
CONTINUED_RATE = 0.3  # of the rate that was learned at last

# Chosen on validation parts of ESC-10 (benchmarks/few_epochs.py): a fresh head wants a fast rate, a pretrained body a
# slow one, and masks cost more than they give when there are few epochs.
FROM_PRETRAINING = Stage(15, lr=1e-2, body=0.03)
FROM_SCRATCH = Stage(50, lr=1e-3)
BATCH = 16

# 107 kB at 8 bit, and ahead of the published one of ten times that on ESC-10 and on scenes (docs/distillation.md).
POCKET = Spec("small", {"reading": "2d", "width": 8, "growth": [1, 2, 4, 8, 16], "attention": 32})
STUDENT = Stage(100, lr=3e-3)
FRAME, STEP = 0.025, 0.010  # seconds of a student's frames, and from one to the next, as published


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
    begun = None if start is None else one_or_all(start, fold, folds)
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
    args: dict[str, Any] = {"npid": {**NPID, "apart": apart}, "contrastive": {**CONTRASTIVE, "apart": apart}}
    return Spec(name, args if name == "joint" else args[name])


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
    begun = one_or_all(start, fold, folds)
    built = inherited(begun, fold)
    done = choices(begun, fold)[0] / "recipe.json"
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
    begun = None if start is None else one_or_all(start, fold, folds)
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


def student(
    source: str | Path | Spec | None,
    taught_by: Sequence[str | Path],
    *,
    unlabelled: Sequence[str | Path] = (),
    start: str | Path | None = None,
    fold: int | None = None,
    folds: bool = False,
    seconds: float | None = None,
    sample_rate: int | None = None,
) -> Recipe:
    """A small CNN on log-mel images, or what `start` hears and sees by, taught by one run or several: a classifier by
    classifiers, which learns what they say; an encoder by encoders, which learns their features.

    Its window is the first teacher's, which answers about whole windows, or that of `start`: `unlabelled` recordings,
    sources too, are cut into as long clips, keep their folds, and may be all there is to learn from. Where a teacher's
    folder holds one run a fold, each fold has its own. RecipeError where nothing is there to learn from or to test on.
    """
    if not taught_by:
        raise RecipeError("a student needs a teacher: give a run that knows classes, or an encoder, --teacher runs/rec")
    alone = fold is None and not folds
    placed = [one_or_all(each, fold, folds) for each in taught_by]
    read = [teachers.read(choices(place, fold)[0]) for place in placed]
    encoders, begun = _all_encoders(read), None if start is None else one_or_all(start, fold, folds)
    heard = (read[0].frontend if begun is None else inherited(begun, fold)["frontend"]).build(FRONTENDS)
    window = seconds or heard.seconds
    named, labelled = _joined(None if source is None else data(source), unlabelled, window)
    if folds and not (labelled or encoders):
        raise RecipeError(
            "--folds tests each student, and nothing here has labels: leave it out, or give labelled data"
        )
    fold = TEST if alone and source is not None and data(source).name in ONE_TEST else fold
    if begun is None:
        frontend = _fine(sample_rate or min(SAMPLE_RATE, heard.sample_rate), window)
        built: dict[str, Any] = {"frontend": frontend, "encoder": POCKET}
    else:
        built = _built(named, begun, fold, seconds, sample_rate) | {"start": begun}
    recipe = Recipe(
        name="distill",
        data=named,
        **built,
        objective=Spec("mimic" if encoders else "distill", {"teachers": placed}),
        views=(Spec("roll"), Spec("noise", {"sigma": NOISE}), Spec("specaugment")),
        stages=(STUDENT,),
        batch=BATCH,
        watch=10 if encoders else 1,
    )
    if encoders:
        return recipe
    valid = "next" if labelled else None
    return recipe.override({"split.fold": fold, "split.valid": valid}) if alone else recipe


def _all_encoders(taught_by: Sequence[teachers.Teacher]) -> bool:
    """Whether no teacher knows classes. RecipeError where some do and some do not."""
    kinds = {bool(each.labels): each.folder for each in taught_by}
    if len(kinds) > 1:
        raise RecipeError(
            f"{kinds[True]} knows classes and {kinds[False]} is an encoder: a student learns what teachers say or what "
            f"their features are. Take one kind, or train the encoder first: ossicle train LABELLED --from "
            f"{kinds[False]} -o runs/teacher"
        )
    return False in kinds


def _joined(named: Spec | None, unlabelled: Sequence[str | Path], window: float) -> tuple[Spec, bool]:
    """All sets as one, the labelled one first, and whether it has labels."""
    sets = [*([named] if named else []), *(_bare(path, window) for path in unlabelled)]
    if not sets:
        raise RecipeError("nothing to learn from: give labelled data, or recordings without labels by --unlabelled")
    labelled = named is not None and bool(named.build(DATASETS).classes)
    return (Spec("merged", {"sets": [to_dict(each) for each in sets]}) if sets[1:] else sets[0]), labelled


def _bare(source: str | Path, window: float) -> Spec:
    """A source without its labels, in clips of a window."""
    kind, path = recognize(source)
    if kind == "folder":
        return Spec("folder", {"path": path, "labels": False, "segment": window})
    return Spec("unlabelled", {"of": {"name": kind, "path": path}, "segment": window})


def _fine(sample_rate: int, seconds: float) -> Spec:
    """Log-mel energies of short frames, for an encoder that shrinks time by itself."""
    frame = round(FRAME * sample_rate)
    framed = {"win": frame, "n_fft": 1 << (frame - 1).bit_length(), "hop": round(STEP * sample_rate), "mels": MELS}
    return Spec("logmel", {"sample_rate": sample_rate, "seconds": seconds, **framed})


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
