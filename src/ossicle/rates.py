"""The learning-rate range test (Smith 2017): a step at each of many rates -> the loss by rate, and a rate to take.

As fastai has it: from 1e-7 to 10 in 100 steps by equal factors, the loss smoothed by an exponential mean, stopped where
that is above four times its lowest or is no number. Nothing is learned by it: what was there before is put back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

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


def find(
    recipe: Recipe, *, stage: int = 0, cache: Cache | None = None, steps: int = STEPS, tell: Tell = quiet
) -> RangeTest:
    """The range test of a recipe's `stage` on its training part, from fresh weights or those of its start.

    What a later stage would have learned by then is not there. Raises what `train.fit` raises before work starts, and
    RecipeError where the first loss already is no number, or under torchrun.
    """
    if distributed.size() > 1:
        raise RecipeError("the range test is for one process: start it without torchrun")
    assemble.rehearse(recipe)
    model = assemble.backbone(recipe).to(machine.device())
    found = material.gather(recipe, cache, sample_rate=model.sample_rate, channels=model.channels, tell=tell)
    example = model.frontend(model.mean.new_zeros(8, model.channels, model.window)).flatten(0, 1)
    asked = recipe.precision
    precision = machine.fastest_precision(model.encoder, example) if asked == "auto" else asked
    learner = Learner(recipe, found, precision, tell)
    for earlier in recipe.stages[:stage]:
        learner.ready(earlier)
    tested = range_test(learner, recipe.stages[stage], steps=steps, tell=tell)
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
    """Batches of two clips or more, epoch after epoch, with their draws."""
    recipe, loader = learner.recipe, learner.loader(assemble.stretch(learner.recipe, learner.backbone))
    for epoch in count():
        for slots in loader.epoch(epoch):
            batch = slots.usable(learner.device)
            if len(batch) > 1:
                yield batch, Draw(recipe.seed, epoch, batch.key, device=learner.device)
