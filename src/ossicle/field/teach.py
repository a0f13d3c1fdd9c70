"""A finished classifier and new recordings -> a run that knows both: few epochs on what it learned from and the new.

Labelled clips join its training set. It goes on from its own weights and from its head refitted to them (`refit`), that
knows the new classes and was held to the old ones: so the epochs that follow move little, and most of it in the body.
Clips without a label join the pretraining that the run came from, which first goes on for as many epochs, in a folder
beside the new run's. What is learned from stands in clips.csv in the run, and what is begun with in head/, so that its
recipe can be followed by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ossicle import plan
from ossicle.checkpoint import CONFIG
from ossicle.data.cache import Cache
from ossicle.data.manifest import Manifest
from ossicle.datasets.listing import write
from ossicle.durable import read_json
from ossicle.field.arrivals import arrivals
from ossicle.field.first import First, first
from ossicle.field.gate import MARGIN
from ossicle.field.joined import Joined, join
from ossicle.frontends import FRONTENDS
from ossicle.material import Tell, quiet
from ossicle.model import Classifier
from ossicle.recipe import Recipe, Spec, Split, Stage, from_dict, to_dict
from ossicle.run import CLIPS, HEAD, Run, RunError, is_run
from ossicle.starts import inherited
from ossicle.train import fit
from ossicle.words import plural

# Chosen on validation parts of ESC-10, with five clips of a class that was held out.
EPOCHS = 5
LR = 1e-4
BODY = 0.1  # of the rate by which the run's body was learned at last
ANEW = 0.3  # the same, where the encoder has moved and the head is to follow it at the rate of a fresh one


@dataclass(frozen=True)
class Taught:
    """The run in `folder` that was taught, with its `result`: so many `clips` of each class, of which some are `new`;
    `unlabelled` ones were heard by the `pretraining` in a folder beside it, where there were any for one to hear.
    `notes` tell what was left out.
    """

    folder: Path
    result: Mapping[str, Any]
    clips: Mapping[str, int]
    new: tuple[str, ...]
    unlabelled: int
    pretraining: Path | None
    notes: tuple[str, ...]


def teach(
    run: str | Path,
    new: str | Path | Manifest,
    *,
    out: str | Path,
    labels: str | Path | None = None,
    epochs: int = EPOCHS,
    changes: Mapping[str, Any] | None = None,
    cache: Cache | None = None,
    tell: Tell = quiet,
) -> Taught:
    """Teaches what a `run` knows, and what is `new` to it (see `arrivals`), to a run in the folder `out`; one that was
    stopped goes on. `changes` override its recipe by dotted key.

    RunError where `run` is no finished classifier, where nothing is left to learn, or `out` was taught other clips;
    IntakeError for clips that cannot be learned; else what `fit` raises.
    """
    known = classifier(run)
    joined = join(known, new if isinstance(new, Manifest) else arrivals(new, labels))
    return learn(first(known, joined), joined, Path(out), epochs=epochs, changes=changes, cache=cache, tell=tell)


def learn(
    known: First,
    joined: Joined,
    out: Path,
    *,
    margin: float = MARGIN,
    epochs: int = EPOCHS,
    changes: Mapping[str, Any] | None = None,
    cache: Cache | None = None,
    tell: Tell = quiet,
) -> Taught:
    """`teach`, of what is known; the head that is begun with may cost `margin` of the guard's accuracy."""
    run, taught = known.run, len(joined.taught)
    begun, why = _pretraining(run, joined.unlabelled)
    notes = (*joined.notes, *known.lessons.troubles, *why)
    for note in notes:
        tell("note", {"note": note})
    if begun is None and not taught:
        raise RunError(f"there is nothing to learn for {run.folder}: {'; '.join(notes) or 'no new clip came'}")
    heard = Path(f"{out}-pretraining")
    if begun is not None:
        onward = _onward(begun, run, listed(joined.unlabelled, heard), epochs)
        fit(onward, heard, cache=cache, tell=tell)
    table = listed(joined.manifest, out)
    head = _begin(known, out / HEAD, margin) if taught else run.folder
    recipe = lesson(run, joined.split, table, epochs, head=head, moved=None if begun is None else heard)
    result = fit(recipe.override(changes or {}), out, cache=cache, tell=tell)
    counts = {label: sum(label in clip.labels for clip in joined.taught.clips) for label in joined.times}
    fresh = tuple(label for label in counts if label not in run.data["classes"])
    return Taught(out, result, counts, fresh, len(joined.unlabelled) if begun else 0, heard if begun else None, notes)


def _begin(known: First, place: Path, margin: float) -> Path:
    """The folder of the model to begin from, refitted unless that was done before."""
    if not (place / CONFIG).exists():
        known.ears.with_head(known.head(margin), known.lessons.labels).save(place)
    return place


def lesson(run: Run, split: Split, table: Path, epochs: int, *, head: Path, moved: Path | None) -> Recipe:
    """What the new run follows: the earlier one's views, batch and last front end, for few epochs, with this head to
    begin with. Where the pretraining has `moved` on into another folder, the encoder is that one's.
    """
    earlier = from_dict(run.recipe)
    last = earlier.stages[-1]
    lr, share = (LR, BODY) if moved is None else (max(last.lr, plan.FROM_PRETRAINING.lr), ANEW)
    stage = Stage(epochs, lr, share * last.lr * last.body / lr, last.events, frozen=last.frozen)
    args = earlier.objective.args if earlier.objective.name == "supervised" else {}
    return Recipe(
        name="teach",
        data=Spec("csv", {"path": str(table)}),
        split=split,
        objective=Spec("supervised", {**args, "head": str(head)}),
        stages=(stage,),
        start=str(moved or run.folder),
        watch=0,
        **inherited(str(run.folder), None),
        **{name: getattr(earlier, name) for name in KEPT},
    )


KEPT = ("views", "batch", "optimizer", "seed", "stretch", "hop", "precision", "compile", "clip_norm", "max_bad")
"""What a lesson has of the recipe that the run was made by."""


def listed(manifest: Manifest, folder: Path) -> Path:
    """The table of these clips in a run's folder. RunError where another one is there, or something else."""
    path = folder / CLIPS
    Run(folder).refuse_strangers()
    if is_run(folder) and not path.exists():
        raise RunError(f"{folder} is a run that was taught nothing: choose another folder")
    new = path.with_suffix(".new")
    folder.mkdir(parents=True, exist_ok=True)
    write(manifest, new)
    if path.exists() and path.read_bytes() != new.read_bytes():
        new.unlink()
        raise RunError(f"{folder} was taught other clips than these: choose another folder")
    new.replace(path)
    return path


def classifier(folder: str | Path) -> Run:
    """A finished run that knows classes, or RunError."""
    run = Run.open(folder)
    if not run.done:
        raise RunError(f"{folder} is not finished: start it again with the same command, and teach it then")
    if (run.result or {}).get("kind") != Classifier.kind:
        raise RunError(f"{folder} is an encoder, which knows no classes: ossicle train DATA --from {folder} first")
    return run


def _pretraining(known: Run, unlabelled: Manifest) -> tuple[Path | None, tuple[str, ...]]:
    """The run that new clips without a label can join, if there are any, and why not where they cannot."""
    begun = _begun(from_dict(known.recipe)) if len(unlabelled) else None
    if begun is not None and len(unlabelled) > 1:
        return begun, ()
    why = f"{known.folder} did not come from a pretraining here that they could join"
    why = "pretraining tells clips apart, which takes 2 or more" if begun else why
    count = plural(len(unlabelled), "new clip")
    return None, (f"left out {count} without a label: {why}",) * bool(len(unlabelled))


def _begun(recipe: Recipe) -> Path | None:
    """The pretraining that a run's weights came from, over all that it stands on; None where there is none to go on."""
    while (start := recipe.base_start) and is_run(start):
        recipe = from_dict(read_json(Path(start, "recipe.json")))
        if recipe.objective.name in get_args(plan.Unlabelled):
            return Path(start) if Path(start, "memory").exists() else None
    return None


def _onward(begun: Path, known: Run, table: Path, epochs: int) -> Recipe:
    """That pretraining goes on with new clips, cut into as long ones as the run hears at once."""
    window = inherited(str(known.folder), None)["frontend"].build(FRONTENDS).seconds
    bare = Spec("unlabelled", {"of": to_dict(Spec("csv", {"path": str(table)})), "segment": window})
    earlier = from_dict(known.recipe)
    changes = {"stages.0.epochs": epochs, "seed": earlier.seed, "precision": earlier.precision}
    return plan.continuing(bare, begun).override(changes)
