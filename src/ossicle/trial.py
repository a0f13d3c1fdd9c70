"""A recipe -> what it costs on this machine, in seconds: a stage of each resolution, and what stands around the epochs.

Measured by the recipe's own steps, at a rate of 0, so that nothing is learned by them.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ossicle import assemble, evaluate, machine, material, rates
from ossicle.budget import Budget, Cost
from ossicle.data.cache import Cache
from ossicle.encoders import ENCODERS
from ossicle.frontends import FRONTENDS
from ossicle.learner import Learner
from ossicle.material import Tell
from ossicle.recipe import Recipe, Spec, Stage, to_dict

SIDES = (1 / 2, 3 / 4)  # of a coarse image, as shares of the full one's
FINER = 1 / 16  # by which these grow as long as bf16 cannot be had at them
STEPS = 6  # that are timed at a resolution, after one that is not
PATIENCE = 0.02  # of the budget for these steps, at most, once there are two
CLIPS = 64  # by which a look is timed
TESTED = 0.1  # of the budget for a range test, at most
RATES = (3e-4, 1e-2)  # the least and the highest that is taken of it


@dataclass(frozen=True)
class Price:
    """Seconds at one resolution: to `begin` a stage, for a `step` of training, and to `look` at a clip."""

    begin: float
    step: float
    look: float


class Trial:
    """What a recipe costs here: `costs` of the front ends `specs`, from coarse to full, at the `precision` to take.

    `folder` is where it will run. Sound that the cache lacks is decoded, and the time for that set `apart`.
    """

    def __init__(self, recipe: Recipe, folder: Path, budget: Budget, cache: Cache | None, tell: Tell, coarse: bool):
        self.recipe, self.budget = recipe, budget
        self.rehearsed, _ = self.timed(lambda: assemble.rehearse(recipe))
        model = assemble.backbone(recipe).to(machine.device())
        rated: dict[str, Any] = {"sample_rate": model.sample_rate, "channels": model.channels}
        hear = _Apart(budget, tell)
        self.read, self.found = self.timed(lambda: material.gather(recipe, cache, **rated, tell=hear))
        example = assemble.quiet_view(recipe, model, 8)[1].flatten(0, 1)
        self.precision = machine.settle(folder, recipe.precision, model.encoder, example)["precision"]
        self.specs = [*(coarser(recipe) if coarse else ()), recipe.frontend]
        self.stages = tuple(replace(recipe.stages[0], frontend=spec) for spec in self.specs)
        asked = replace(recipe, stages=self.stages)
        self.built, self.learner = self.timed(lambda: Learner(asked, self.found, self.precision, tell))
        self.prices = [self.price(stage) for stage in self.stages]
        self.costs = [self.cost(price) for price in self.prices]

    def timed(self, call: Callable[[], Any]) -> tuple[float, Any]:
        """The seconds of a call, without those of decoding, and what it returns."""
        before = self.budget.spent
        made = call()
        return self.budget.spent - before, made

    def price(self, stage: Stage) -> Price:
        """The median of a few steps after the first, whatever that took longer being a part of how a stage begins."""
        began, taken = time.monotonic(), list[float]()
        self.learner.ready(stage)
        self.learner.teach(stage)
        begin, clock = time.monotonic() - began, time.monotonic()
        for number, (batch, draws) in enumerate(islice(rates.batches(self.learner), 1 + STEPS)):
            self.learner.update(batch, draws, 0.0, None, number=number)
            taken.append(time.monotonic() - clock)
            if number > 1 and sum(taken) > PATIENCE * 60 * self.budget.minutes:
                break
            clock = time.monotonic()
        step = median(taken[1:])
        return Price(begin + max(0.0, taken[0] - step), step, self.look())

    def look(self) -> float:
        """Seconds to answer for a clip, by clips to learn from: those that are asked about stay unheard."""
        learner = self.learner
        few = learner.source.manifest.select(np.arange(min(CLIPS, len(learner.source.manifest))))
        began = time.monotonic()
        evaluate.watch(learner.model, learner.source, replace(learner.source, manifest=few), hop=self.recipe.hop)
        return (time.monotonic() - began) / len(few)

    def cost(self, price: Price) -> Cost:
        """A stage's beginning, and an epoch with its share of the looks that the recipe asks for."""
        recipe, parts = self.recipe, self.found.parts
        looked = len(parts.valid) / recipe.watch if recipe.watch else 0.0
        if recipe.curve or (recipe.chooses and recipe.select == "test"):
            looked += len(parts.test)
        steps = self.learner.loader(self.learner.backbone.window).steps
        return Cost(price.begin, steps * price.step + looked * price.look)

    def around(self, stages: int, *, opened: bool) -> float:
        """Seconds of a run that are no epoch's: to assemble it, to look at validation at its end (for the temperature,
        and for the result) and, where test folds are `opened`, at its own.
        """
        parts, look = self.found.parts, self.prices[-1].look
        ends = 2 * len(parts.valid) * look + opened * (self.read + len(parts.test) * look)
        return stages * self.rehearsed + self.read + self.built + ends

    def rate(self, row: int) -> tuple[float, str]:
        """The rate for a first stage of this resolution, and where it is from. The range test is asked where training
        starts from nothing: the lower of the rate at which the smoothed loss falls fastest and a tenth of that at which
        it is lowest, the two that fastai suggests, within `RATES`.
        """
        usual, price = self.recipe.stages[0].lr, self.prices[row]
        if self.budget.rate is not None:
            return self.budget.rate, "as given"
        if self.recipe.start:
            return usual, "the usual one after pretraining"
        if (lasts := price.begin + rates.STEPS * price.step) > TESTED * 60 * self.budget.minutes:
            return usual, f"the usual one, since a range test takes {lasts:.0f} s"
        found = rates.range_test(self.learner, self.stages[row])
        if found.suggestion is None:
            return usual, "the usual one, since the range test finds none"
        return sane(min(found.suggestion, found.lowest / 10)), "by the range test"


def sane(rate: float) -> float:
    """The rate, to two digits, within `RATES`."""
    return float(f"{min(max(rate, RATES[0]), RATES[1]):.2g}")


class _Apart:
    """A `tell` that sets the time of decoding apart from a budget, and passes all on."""

    def __init__(self, budget: Budget, tell: Tell):
        self.budget, self.tell, self.began = budget, tell, math.inf

    def __call__(self, kind: str, row: dict[str, Any]) -> None:
        if kind == "decode":
            self.began = min(self.began, time.monotonic())
            if row["done"] == row["total"]:
                self.budget.apart += time.monotonic() - self.began
        self.tell(kind, row)


def coarser(recipe: Recipe) -> list[Spec]:
    """Front ends that make the recipe's image half and three quarters as large, as far as encoder and views take it.

    Sides grow a little where a stage of the encoder would have too little left for bf16 (`machine.too_narrow`). An
    encoder whose weights are for a number of bins keeps that, and hears fewer frames. Empty for a front end that
    `resized` does not know.
    """
    free = "bins" not in inspect.signature(ENCODERS[recipe.encoder.name]).parameters
    whole, narrow, found = size(recipe.frontend), _too_narrow(recipe, recipe.frontend), list[Spec]()
    for side in SIDES:
        for share in (side + more * FINER for more in count()):
            bins, frames = (math.ceil(share * length) for length in whole)
            smaller = _smaller(recipe.frontend, [bins if free else whole[0], frames])
            if share >= 1 or (thin := _too_narrow(recipe, smaller)) is None:
                break
            if thin <= bool(narrow):
                found += [smaller] if smaller not in found else []
                break
    return found


def size(frontend: Spec) -> tuple[int, int]:
    """(bins, frames) of its image of a window."""
    made = frontend.build(FRONTENDS)
    return made.bins, made.frames(round(made.seconds * made.sample_rate))


def _smaller(frontend: Spec, sides: list[int]) -> Spec:
    if frontend.name == "resized":
        return Spec("resized", {**frontend.args, "size": sides})
    return Spec("resized", {"of": to_dict(frontend), "size": sides})


def _too_narrow(recipe: Recipe, heard: Spec) -> bool | None:
    """Whether the image leaves too little for bf16 somewhere; None where it cannot be made or taken at all."""
    asked = replace(recipe, frontend=heard, stages=(replace(recipe.stages[0], frontend=None),))
    try:
        model = assemble.backbone(asked)
        return machine.too_narrow(model.encoder, assemble.quiet_view(asked, model, 2)[1].flatten(0, 1))
    except (ValueError, RuntimeError):
        return None
