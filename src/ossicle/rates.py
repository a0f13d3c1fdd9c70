"""The learning-rate range test (Smith 2017): a step at each of many rates -> the loss by rate, and a rate to take.

As fastai has it: from 1e-7 to 10 in 100 steps by equal factors, the loss smoothed by an exponential mean, stopped where
that is above four times its lowest or is no number. Nothing is learned by it: what was there before is put back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch

from ossicle import assemble, distributed, machine, material
from ossicle.data.cache import Cache
from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.learner import Learner
from ossicle.material import Tell, quiet
from ossicle.recipe import Recipe, RecipeError, Stage
from ossicle.stops import TrainingError

LOW, HIGH, STEPS = 1e-7, 10.0, 100
SMOOTH = 0.98
STOP = 4.0
ASIDE = 10, 5  # steps at the beginning, whose mean is of few losses, and at the end, where it is falling apart


@dataclass(frozen=True)
class RangeTest:
    """The rates (n,) that were taken, the loss that each met, and the smoothed loss; `stopped` where it went wrong."""

    rate: np.ndarray
    loss: np.ndarray
    smooth: np.ndarray
    stopped: bool

    @property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls fastest, by equal factors of the rate; None where it never falls.

        The first ten steps and the last five are left aside.
        """
        first, last = ASIDE
        if len(self.rate) < first + last + 2:
            return None
        slope = np.gradient(self.smooth[first:-last])
        falls = slope.min() < -1e-9 * np.abs(self.smooth).max()  # more than rounding does
        return float(self.rate[first + slope.argmin()]) if falls else None

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest; many take a tenth of it."""
        return float(self.rate[self.smooth.argmin()])


def sweep(
    step: Callable[[float], float], *, low: float = LOW, high: float = HIGH, steps: int = STEPS, smooth: float = SMOOTH
) -> RangeTest:
    """Takes a `step` at each rate, which tells the loss that it began from, until the smoothed loss goes wrong.

    `smooth` is the share of the past in the mean, which is corrected for having begun at 0.
    """
    rates, losses, means, mean = np.geomspace(low, high, steps), list[float](), list[float](), 0.0
    for number, rate in enumerate(rates, 1):
        loss = step(float(rate))
        if not math.isfinite(loss):
            break
        mean = smooth * mean + (1 - smooth) * loss
        losses.append(loss)
        means.append(mean / (1 - smooth**number))
        if means[-1] > STOP * min(means):
            break
    went = len(losses)
    stopped = went < steps or means[-1] > STOP * min(means)
    return RangeTest(rates[:went], np.array(losses), np.array(means), stopped)


@dataclass(frozen=True)
class Tried:
    """One learning rate of a recipe: its key there, the variant that it is of, what it is, and its test."""

    key: str
    variant: str
    lr: float
    found: RangeTest

    @property
    def title(self) -> str:
        """`variants.1.stages.0.lr (mel)`."""
        return f"{self.key} ({self.variant})" if self.variant else self.key


def find_all(recipe: Recipe, *, cache: Cache | None = None, steps: int = STEPS, tell: Tell = quiet) -> list[Tried]:
    """The range test of each stage of a recipe, and of each of its variants; stages that would be tested alike are
    tested once. All are from the weights that training begins with: what earlier stages would have learned is not
    there. Raises what `find` raises.
    """
    ways = [(str(way.get("name", "")), recipe.override({"variants": [], **way})) for way in recipe.variants]
    for _, way in ways or [("", recipe)]:
        assemble.rehearse(way)
    known: list[tuple[Recipe, RangeTest]] = []
    made = []
    for number, (name, way) in enumerate(ways or [("", recipe)]):
        below = f"variants.{number}." if ways else ""
        for at, stage in enumerate(way.stages):
            asked = alone(way, at)
            if not any(asked == other for other, _ in known):
                known.append((asked, find(asked, cache=cache, steps=steps, tell=tell)))
            found = next(found for other, found in known if other == asked)
            made.append(Tried(f"{below}stages.{at}.lr", name, stage.lr, found))
    return made


def alone(recipe: Recipe, number: int) -> Recipe:
    """A stage of a recipe without the others, and without what makes no difference to its test."""
    heard = [recipe.frontend, *(stage.frontend for stage in recipe.stages[: number + 1] if stage.frontend)]
    usual = Stage(1)
    same: dict[str, Any] = {name: getattr(usual, name) for name in ("epochs", "lr", "schedule", "frontend", "start")}
    stage = replace(recipe.stages[number], **same)
    rest: dict[str, Any] = {"name": "run", "variants": (), "grid": {}, "expect": {}, "keep": "last", "select": "valid"}
    return replace(recipe, frontend=heard[-1], stages=(stage,), **rest)


def find(recipe: Recipe, *, cache: Cache | None = None, steps: int = STEPS, tell: Tell = quiet) -> RangeTest:
    """The range test of a recipe's first stage on its training part, from fresh weights or those of its start.

    Raises what `train.fit` raises before work starts, and RecipeError where the first loss already is no number, or
    under torchrun.
    """
    if distributed.size() > 1:
        raise RecipeError("the range test is for one process: start it without torchrun")
    assemble.rehearse(recipe)
    model = assemble.backbone(recipe).to(machine.device())
    found = material.gather(recipe, cache, sample_rate=model.sample_rate, channels=model.channels, tell=tell)
    example = assemble.quiet_view(recipe, model, 8)[1].flatten(0, 1)
    asked = recipe.precision
    precision = machine.fastest_precision(model.encoder, example) if asked == "auto" else asked
    tested = range_test(Learner(recipe, found, precision, tell), recipe.stages[0], steps=steps, tell=tell)
    if not len(tested.rate):
        raise RecipeError('the loss is no number at the lowest rate: precision = "fp32", or look at the data')
    return tested


def range_test(learner: Learner, stage: Stage, *, steps: int = STEPS, tell: Tell = quiet) -> RangeTest:
    """Readies a learner for a stage, sweeps the rates, and leaves the learner ready, as if nothing had been learned."""
    learner.ready(stage)
    before = {name: value.clone() for name, value in learner.objective.state_dict().items()}
    coming, number = batches(learner), count()

    def step(rate: float) -> float:
        at, (batch, draws) = next(number), next(coming)
        tell("step", {"done": at + 1, "total": steps})
        try:
            return float(learner.update(batch, draws, rate, None, number=at)["loss"])
        except TrainingError:
            return math.nan

    try:
        with torch.random.fork_rng(devices=[]):
            learner.teach(stage)
            return sweep(step, steps=steps)
    finally:
        learner.objective.load_state_dict(before)
        learner.optimizer = learner.new_optimizer(stage)


def batches(learner: Learner) -> Iterator[tuple[Batch, Draw]]:
    """Batches of two clips or more, epoch after epoch, with their draws. RecipeError where an epoch has none."""
    recipe, loader = learner.recipe, learner.loader(assemble.stretch(learner.recipe, learner.backbone))
    for epoch in count():
        none = True
        for slots in loader.epoch(epoch):
            batch = slots.usable(learner.device)
            if len(batch) > 1:
                none = False
                yield batch, Draw(recipe.seed, epoch, batch.key, device=learner.device)
        if none:
            raise RecipeError("no batch holds two clips that can be heard: give more recordings, or a larger batch")
