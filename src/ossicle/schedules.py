"""Learning rates and momentum as pure functions of the step; `epochs`, where asked for, are those of the stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple


class Pace(NamedTuple):
    """What a schedule says of one step: a factor on the stage's rate, and the momentum (None: the optimizer's own)."""

    rate: float
    momentum: float | None = None


def one_cycle(
    step: int,
    steps: int,
    *,
    warm: float = 0.3,
    start: float = 25.0,
    end: float = 1e4,
    momentum: tuple[float, float] | None = (0.95, 0.85),
    phases: Literal[2, 3] = 2,
    shape: Literal["cosine", "linear"] = "cosine",
) -> Pace:
    """1/start up to 1 over the share `warm`, then down to 1/(start end): two phases (as fastai has them, and by it).

    Three `phases` are Smith's own (2018): down to 1/start over another share `warm`, and then on to 1/(start end). He
    has lines for cosines, and a third phase that is short: `warm` 0.45, say. Momentum (Adam's first beta) runs the
    other way, from `momentum[0]` to `momentum[1]` and back, and stays there. ValueError where phases do not fit.
    """
    if phases not in (2, 3) or shape not in ("cosine", "linear") or not 0 < warm * (phases - 1) <= 1:
        raise ValueError(
            f'phases = {phases}, shape = "{shape}", warm = {warm}: wanted 2 or 3 phases, cosine or linear, and a share '
            "for warm that leaves room: at most 1 in two phases, 0.5 in three"
        )
    low, last, rise = 1 / start, 1 / (start * end), max(1.0, warm * (steps - 1))
    turns = [(0.0, low, 0.0), (rise, 1.0, 1.0), (2 * rise, low, 0.0), (float(steps - 1), last, 0.0)]
    turns = turns if phases == 3 else [*turns[:2], turns[3]]
    legs = list(pairwise(turns))
    (since, rate, height), (until, next_rate, next_height) = next((leg for leg in legs if step < leg[1][0]), legs[-1])
    done = min(1.0, (step - since) / (until - since)) if until > since else 0.0
    share = (1 - math.cos(math.pi * done)) / 2 if shape == "cosine" else done
    turn = height + (next_height - height) * share
    calm = None if momentum is None else momentum[0] + (momentum[1] - momentum[0]) * turn
    return Pace(rate + (next_rate - rate) * share, calm)


def cosine(step: int, steps: int) -> Pace:
    """Half a cosine from 1 towards 0 (Loshchilov and Hutter 2017, one period)."""
    return Pace((1 + math.cos(math.pi * step / steps)) / 2)


def steps(step: int, steps: int, *, at: tuple[float, ...] = (0.6, 0.8), factor: float = 0.1) -> Pace:
    """`factor` more at each share of the way in `at`: NPID's 120 and 160 of 200 epochs are 0.6 and 0.8."""
    return Pace(factor ** sum(step >= share * steps for share in at))


def warm_exponential(
    step: int,
    steps: int,
    *,
    epochs: int,
    low: float = 0.1,
    flat: int = 5,
    rise: int = 10,
    decay: float = 0.985,
) -> Pace:
    """ESResNet's (Guzhov et al. 2020): `low` for `flat` epochs, a line up to 1 over `rise`, then `decay` more an epoch.

    It moves once an epoch. `epochs` is how many the stage has, so a stage of 30 hears the first tenth of the published
    300, and one of five or fewer never leaves `low`.
    """
    epoch = step * epochs // steps
    if epoch < flat + rise:
        return Pace(low + (1 - low) * max(0, epoch - flat) / max(1, rise))
    return Pace(decay ** (epoch - flat - rise))


def noam(step: int, steps: int, *, warm: float = 0.28) -> Pace:
    """A line up to 1 over `warm`, then down as 1 / sqrt(step) (Vaswani et al. 2017, eq. 3).

    That is k d^-0.5 min(n^-0.5, n w^-1.5), of the step n counted from 1 and w steps of warm-up, over its own peak. So
    the stage's rate is the peak, k (d w)^-0.5: 1.235e-4 at the k = 0.5, d = 2048 and w = 8,000 of Zhang, Zou and Li
    2020, who print d^0.5, which peaks at 0.25. `warm` below 1 is a share of all steps, and else a number of steps. The
    published 8,000 of 200 epochs in batches of 64 are 0.28 of them on TAU Urban 2019, and 0.73 on three folds of TUT
    2017. ValueError where warming up would take longer than all there is.
    """
    if not 0 < warm <= max(1, steps):
        raise ValueError(
            f"warm = {warm:g} in a stage of {steps} steps: wanted a share below 1, 0.28 say, or at most as many steps"
        )
    number, rise = step + 1, max(1.0, warm * steps if warm < 1 else warm)
    return Pace(min(number / rise, math.sqrt(rise / number)))


def constant(step: int, steps: int) -> Pace:
    """The stage's rate throughout."""
    return Pace(1.0)


SCHEDULES: dict[str, Callable[..., Pace]] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "steps": steps,
    "warm_exponential": warm_exponential,
    "noam": noam,
    "constant": constant,
}
