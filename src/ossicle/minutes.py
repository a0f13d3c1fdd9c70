"""A recipe and a Budget -> the recipe whose stages fill it on this machine: `ossicle train DATA --minutes 10`.

Growing resolution is progressive resizing (Howard et al. 2018; of sound, Colangelo et al. 2019). What is written is an
ordinary recipe. It is not changed while it runs, so following it once more gives the same model, and whether the
promise was kept is told at the end.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ossicle import distributed, words
from ossicle.budget import MOST, Budget, allot, taken, worthwhile
from ossicle.data.cache import Cache
from ossicle.material import Tell, quiet
from ossicle.recipe import Recipe, RecipeError, Spec, Stage, from_dict
from ossicle.run import Run, is_run
from ossicle.trial import Trial, size
from ossicle.views import VIEWS

ASIDE = 0.03  # of what is left, for checkpoints and all else that is not measured
AFTER = 0.5  # of the first stage's rate, in the stages after it


def planned(
    recipe: Recipe,
    budget: Budget,
    runs: Mapping[Path, Recipe],
    *,
    opened: bool = False,
    cache: Cache | None = None,
    tell: Tell = quiet,
) -> Recipe:
    """The recipe with stages, rates and a precision by which its `runs`, a recipe a folder, fill the budget in all.

    The first of them is measured for all (`trial.Trial`); `opened` says that test folds are looked at too. Coarse
    stages come first where they are cheaper (`budget.worthwhile`) and training starts from nothing: weights that were
    learned at one resolution go on at it. Epochs are dealt by `budget.allot`, rates are `Trial.rate`'s and half of that
    in later stages, and from weights the recipe's own. Masks of SpecAugment become narrower by as much as the coarsest
    image is smaller: small images want less augmentation (Tan and Le 2021, EfficientNetV2).

    Where one of the runs was begun before, its plan is taken up as it is. RecipeError where the minutes are too few for
    an epoch (it says how many it takes), where such a run was begun without minutes or at another rate, under torchrun,
    and for variants.
    Raises what `train.fit` raises before work starts.
    """
    _refuse(recipe)
    if begun := next(filter(is_run, runs), None):
        return _taken_up(recipe, begun, budget, tell)
    folder, first = next(iter(runs.items()))
    coarse = not recipe.start if budget.progressive is None else budget.progressive
    with torch.random.fork_rng(devices=[]):
        trial = Trial(first, folder, budget, cache, tell, coarse)
        rows = worthwhile(trial.costs)
        rate, why = trial.rate(rows[0])
    costs, around = [trial.costs[row] for row in rows], trial.around(len(rows), opened=opened)
    share = (1 - ASIDE) / len(runs)
    epochs = allot(costs, share * budget.left - around)
    if not any(epochs):
        least = budget.spent + (around + costs[-1].begin + costs[-1].epoch) / share
        raise RecipeError(_too_few(budget.minutes, least, costs[-1].epoch))
    stages = _stages(recipe, [(trial.specs[row], n) for row, n in zip(rows, epochs, strict=True) if n], rate)
    lasts = budget.spent + len(runs) * (around + taken(costs, epochs))
    tell("note", {"note": f"{_shown(recipe, stages)}; rate {rate:g}, {why}; {_of(budget, lasts, len(runs))}"})
    for note in _reasons(trial, rows, stages, coarse=coarse):
        tell("note", {"note": note})
    return _with(recipe, stages, trial.precision, budget.minutes)


def _refuse(recipe: Recipe) -> None:
    if distributed.size() > 1:
        raise RecipeError("minutes are planned for one process: start it without torchrun")
    if recipe.variants or recipe.grid:
        raise RecipeError("minutes are planned for one recipe: leave out its variants and its grid")


def _taken_up(recipe: Recipe, folder: Path, budget: Budget, tell: Tell) -> Recipe:
    """The recipe with what an earlier sitting's minutes came to."""
    earlier = from_dict(Run.open(folder).recipe)
    promised = earlier.expect.get("minutes")
    if promised is None:
        raise RecipeError(f"{folder} was begun without minutes: choose another folder, or go on without")
    if budget.rate not in (None, rate := earlier.stages[0].lr):
        raise RecipeError(
            f"{folder} was begun at a rate of {rate:g}, and is to go on at {budget.rate:g}: leave the rate out, or "
            "choose another folder"
        )
    budget.minutes, budget.resumed = promised, True
    plan = _shown(recipe, earlier.stages)
    tell("note", {"note": f"{folder} was begun with {promised:g} minutes, and its plan is followed: {plan}"})
    precision = earlier.precision if recipe.precision == "auto" else recipe.precision
    return _with(recipe, earlier.stages, precision, promised)


def _with(recipe: Recipe, stages: tuple[Stage, ...], precision: Any, minutes: float) -> Recipe:
    """The recipe with what was planned; `expect` keeps what was promised."""
    views, expect = narrowed(recipe, stages), {**recipe.expect, "minutes": minutes}
    return replace(recipe, stages=stages, views=views, precision=precision, expect=expect)


def _stages(recipe: Recipe, plan: Sequence[tuple[Spec, int]], rate: float) -> tuple[Stage, ...]:
    """A stage for each front end and number of epochs, in all else like the recipe's first."""
    like = recipe.stages[0]
    if len(plan) == 1:
        return (replace(like, epochs=plan[0][1], lr=rate, frontend=None),)
    later = rate if recipe.start else AFTER * rate
    return tuple(
        replace(like, epochs=n, lr=later if number else rate, frontend=spec) for number, (spec, n) in enumerate(plan)
    )


def narrowed(recipe: Recipe, stages: Sequence[Stage]) -> tuple[Spec, ...]:
    """The recipe's views, SpecAugment's masks as much narrower as the first stage's sides are shorter."""
    small, whole = (size(stage.frontend or recipe.frontend) for stage in (stages[0], stages[-1]))
    shares = dict(zip(("freq", "time"), (a / b for a, b in zip(small, whole, strict=True)), strict=True))
    if small == whole:
        return recipe.views
    usual = {name: item.default for name, item in inspect.signature(VIEWS["specaugment"]).parameters.items()}

    def fitted(view: Spec) -> Spec:
        if view.name != "specaugment":
            return view
        return Spec(view.name, {**view.args} | {n: round(s * view.args.get(n, usual[n])) for n, s in shares.items()})

    return tuple(map(fitted, recipe.views))


def _too_few(minutes: float, least: float, epoch: float) -> str:
    enough = math.ceil(least / 6) / 10
    return (
        f"{minutes:g} minutes are too few: an epoch takes {epoch:.1f} s here, and with all that goes around it "
        f"{enough:g} minutes are needed. Give as many, or fewer clips (--few), or a smaller encoder "
        "(--set encoder.width=32)"
    )


def _shown(recipe: Recipe, stages: Sequence[Stage]) -> str:
    """`2 stages: 12 epochs at 36 x 122, 1 epoch at 64 x 216`."""
    sizes = [" x ".join(map(str, size(stage.frontend or recipe.frontend))) for stage in stages]
    said = [f"{words.plural(stage.epochs, 'epoch')} at {sides}" for stage, sides in zip(stages, sizes, strict=True)]
    return f"{words.plural(len(stages), 'stage')}: {', '.join(said)}"


def _of(budget: Budget, seconds: float, runs: int) -> str:
    each = f", for {runs} runs" if runs > 1 else ""
    return f"about {seconds / 60:.2g} of {budget.minutes:g} minutes{each}"


def _reasons(trial: Trial, rows: Sequence[int], stages: Sequence[Stage], *, coarse: bool) -> list[str]:
    """Why there are no coarse stages, and no more epochs, if that is so."""
    said = []
    if len(rows) == 1 and len(trial.costs) > 1:
        share = min(cost.epoch for cost in trial.costs[:-1]) / trial.costs[-1].epoch
        said.append(f"an epoch of coarse images takes {share:.2f} of a full one's time here: they are left out")
    elif len(trial.costs) == 1 and trial.recipe.start and not coarse:
        said.append("weights that were learned at one resolution go on at it: no coarse images")
    elif len(trial.costs) == 1 and coarse:
        said.append("the encoder, a view or the front end bears no coarser images")
    if sum(stage.epochs for stage in stages) >= MOST:
        said.append(f"{MOST} epochs are the most that are planned: the minutes would do for more")
    return said
