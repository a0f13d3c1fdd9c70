import math

import pytest

from ossicle.recipe import Spec
from ossicle.schedules import SCHEDULES, Pace, one_cycle


@pytest.mark.parametrize("steps", [11, 100, 1001])
def test_one_cycle_is_its_definition(steps):
    """Two cosines: 1/25 to 1 over 30 % of the way, then to 1/250,000; momentum 0.95 to 0.85 and back."""
    peak = 0.3 * (steps - 1)

    def between(start, end, share):
        return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)

    for step in range(steps):
        rate, momentum = one_cycle(step, steps)
        if step < peak:
            wanted = between(1 / 25, 1, step / peak), between(0.95, 0.85, step / peak)
        else:
            share = (step - peak) / (steps - 1 - peak)
            wanted = between(1, 1 / 25 / 1e4, share), between(0.85, 0.95, share)
        assert rate == pytest.approx(wanted[0], rel=1e-9)
        assert momentum == pytest.approx(wanted[1], rel=1e-9)


def test_one_cycle_equals_torchs():
    """An independent implementation: torch's two-phase OneCycleLR."""
    torch = pytest.importorskip("torch")
    steps, parameter = 200, torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps)
    for step in range(steps):
        # torch counts the warm-up as pct_start * steps - 1; with 200 steps that is 59 against our 0.3 * 199 = 59.7.
        assert one_cycle(step, steps, warm=59 / 199).rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        assert one_cycle(step, steps, warm=59 / 199).momentum == pytest.approx(
            optimizer.param_groups[0]["betas"][0], rel=1e-6
        )
        optimizer.step()
        if step < steps - 1:
            theirs.step()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_schedule_takes_short_runs(name, steps):
    for step in range(steps):
        pace = Spec(name).build(SCHEDULES, step=step, steps=steps)
        assert isinstance(pace, Pace)
        assert 0 < pace.rate <= 1


def test_steps_are_npids():
    paces = [Spec("steps", {"at": [0.6, 0.8]}).build(SCHEDULES, step=epoch, steps=200).rate for epoch in range(200)]
    assert paces == pytest.approx([1.0] * 120 + [0.1] * 40 + [0.01] * 40)
