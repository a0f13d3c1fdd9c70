"""Minutes that are promised, what an epoch costs at each resolution -> how many epochs of each: arithmetic alone."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ossicle.spec import RecipeError

SHARES = (0.4, 0.3, 0.3)  # of the epochs, from coarse to full; fewer resolutions have the last of these
CHEAPER = 0.8  # of a full epoch's seconds, at most, for a coarse one to be worth it
MOST = 200  # epochs


@dataclass
class Budget:
    """A promise of `minutes`, from when this is made until the model is there. `apart` are seconds that do not count:
    those of decoding sound into the cache, which is done once for all runs. `resumed` says that an earlier sitting
    began, whose seconds nobody kept.

    `rate` is the learning rate where it is given and not to be found. `progressive` asks for coarse images first, or
    for none; None leaves it to `pricing`. RecipeError where the minutes are no length of time.
    """

    minutes: float
    rate: float | None = None
    progressive: bool | None = None
    apart: float = 0.0
    resumed: bool = False
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not (self.minutes > 0 and math.isfinite(self.minutes)):
            raise RecipeError(f"{self.minutes:g} minutes: wanted a length of time above 0")

    @property
    def spent(self) -> float:
        """Seconds since it was made that count."""
        return time.monotonic() - self.began - self.apart

    @property
    def left(self) -> float:
        """Seconds of the promise that are left, below zero where it is broken."""
        return 60 * self.minutes - self.spent

    def told(self) -> str:
        """The promise and what it took, in a line."""
        if self.resumed:
            return f"{self.minutes:g} min promised; not timed, because it was begun before"
        share = self.spent / (60 * self.minutes) - 1
        beside = f", and {self.apart:.0f} s of decoding beside that" if self.apart >= 1 else ""
        return f"{self.minutes:g} min promised, {self.spent / 60:.2f} min taken ({100 * share:+.0f} %){beside}"


@dataclass(frozen=True)
class Cost:
    """What a resolution costs, seconds: to `begin` a stage of it, and each `epoch` with its looks at validation."""

    begin: float
    epoch: float


def worthwhile(costs: Sequence[Cost]) -> list[int]:
    """Which of these resolutions, from coarse to full, are worth a stage: the last, and what is `CHEAPER` than that."""
    full = costs[-1].epoch
    return [*(row for row, cost in enumerate(costs[:-1]) if cost.epoch <= CHEAPER * full), len(costs) - 1]


def allot(costs: Sequence[Cost], seconds: float, *, most: int = MOST) -> list[int]:
    """How many epochs at each resolution, from coarse to full, take at most so many `seconds`; 0 where there is no
    stage, and nothing but 0 where not even one epoch of the full one fits. At most three resolutions.

    Each has an epoch to begin with, or the coarsest are left out until the rest has. Every further epoch goes to the
    one that is furthest behind its share of `SHARES`, the finer of equals, of those that still fit: so what is left at
    the end is less than the cheapest epoch. At `most` epochs, coarse ones become full ones as long as that fits, the
    coarsest first.
    """
    every = len(costs)
    used = next((n for n in range(min(every, most), 0, -1) if taken(costs[-n:], [1] * n) <= seconds), 0)
    epochs, kept, shares = [1] * used, costs[every - used :], SHARES[len(SHARES) - used :]
    while sum(epochs) < most and (fit := _within(kept, epochs, seconds)):
        epochs[min(reversed(fit), key=lambda row: (epochs[row] + 1) / shares[row])] += 1
    while sum(epochs) == most and (sharper := _sharper(kept, epochs, seconds)):
        epochs = sharper
    return [0] * (every - used) + epochs


def taken(costs: Sequence[Cost], epochs: Sequence[int]) -> float:
    """The seconds of so many epochs at each resolution; one without epochs has no stage to begin."""
    return sum(cost.begin + n * cost.epoch for cost, n in zip(costs, epochs, strict=True) if n)


def _within(costs: Sequence[Cost], epochs: Sequence[int], seconds: float) -> list[int]:
    """The rows that can have one more epoch."""
    left = seconds - taken(costs, epochs)
    return [row for row, cost in enumerate(costs) if cost.epoch <= left]


def _sharper(costs: Sequence[Cost], epochs: Sequence[int], seconds: float) -> list[int] | None:
    """The epochs with one of the coarsest become a full one; None where none is coarse, or that takes too long."""
    coarse = next((row for row, n in enumerate(epochs[:-1]) if n), None)
    if coarse is None:
        return None
    traded = [n - (row == coarse) + (row == len(epochs) - 1) for row, n in enumerate(epochs)]
    return traded if taken(costs, traded) <= seconds else None
