import math

import pytest

from ossicle.recipe import RecipeError, Spec
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


@pytest.mark.parametrize(("shape", "theirs"), [("cosine", "cos"), ("linear", "linear")])
@pytest.mark.parametrize("phases", [2, 3])
def test_phases_and_shapes_equal_torchs(phases, shape, theirs):
    """An independent implementation again; torch counts the warm-up as pct_start * steps - 1."""
    torch = pytest.importorskip("torch")
    steps, parameter = 200, torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps, pct_start=0.45, three_phase=phases == 3, anneal_strategy=theirs
    )
    for step in range(steps):
        found, wanted = one_cycle(step, steps, warm=89 / 199, phases=phases, shape=shape), optimizer.param_groups[0]
        assert found == pytest.approx((wanted["lr"], wanted["betas"][0]), rel=1e-6, abs=1e-9)
        optimizer.step()
        if step < steps - 1:
            cycle.step()


def test_three_phases_end_where_two_do():
    """Smith's cycle is back at its first rate after two of its thirds; what is left brings it to next to nothing."""
    paces = [one_cycle(step, 101, warm=0.45, phases=3) for step in range(101)]
    assert max(paces) == paces[45] == (1.0, 0.85)
    assert paces[90] == pytest.approx(paces[0]) == (1 / 25, 0.95)
    assert paces[100] == pytest.approx(one_cycle(100, 101)) == (1 / 25e4, 0.95)
    assert {pace.momentum for pace in paces[90:]} == {0.95}


@pytest.mark.parametrize("wrong", [{"phases": 4}, {"phases": 3, "warm": 0.6}, {"warm": 0.0}, {"shape": "round"}])
def test_phases_that_do_not_fit_are_refused(wrong):
    with pytest.raises(RecipeError, match="wanted 2 or 3 phases, cosine or linear"):
        Spec("one_cycle", wrong).build(SCHEDULES, step=0, steps=10)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_schedule_takes_short_runs(name, steps):
    for step in range(steps):
        pace = Spec(name).build(SCHEDULES, step=step, steps=steps, epochs=1)
        assert isinstance(pace, Pace)
        assert 0 < pace.rate <= 1


def test_steps_are_npids():
    paces = [Spec("steps", {"at": [0.6, 0.8]}).build(SCHEDULES, step=epoch, steps=200).rate for epoch in range(200)]
    assert paces == pytest.approx([1.0] * 120 + [0.1] * 40 + [0.01] * 40)


def warm(epochs, steps_an_epoch=3, **arguments):
    """The rate in the middle of each epoch, as a stage builds it."""
    spec, whole = Spec("warm_exponential", arguments), epochs * steps_an_epoch
    return [
        spec.build(SCHEDULES, step=step, steps=whole, epochs=epochs).rate for step in range(1, whole, steps_an_epoch)
    ]


def test_warm_exponential_is_esresnets():
    """Epochs 0 to 4 at a tenth, 5 to 14 on a line to the rate, then 0.985 to the power of the epochs since the 15th."""
    rates = warm(300)
    assert rates[:5] == [0.1] * 5
    assert rates[5:16] == pytest.approx([0.1 + 0.09 * n for n in range(11)])
    assert rates[15:] == pytest.approx([0.985 ** (epoch - 15) for epoch in range(15, 300)])


def test_a_shorter_stage_hears_the_beginning_of_warm_exponential():
    assert warm(30) == warm(300)[:30]
    assert warm(3) == [0.1] * 3


def test_warm_exponential_moves_once_an_epoch_and_its_parts_may_be_left_out():
    spec = Spec("warm_exponential", {"flat": 1, "rise": 0, "decay": 0.5})
    rates = [spec.build(SCHEDULES, step=step, steps=9, epochs=3).rate for step in range(9)]
    assert rates == [0.1] * 3 + [1.0] * 3 + [0.5] * 3
    assert warm(3, flat=0, rise=0, decay=1.0) == [1.0] * 3


def test_noam_is_the_transformers_formula_over_its_peak():
    """k d^-0.5 min(n^-0.5, n w^-1.5) at the published k = 0.5, d = 2048 and w = 8,000; the peak is known too."""
    peak = 0.5 * (2048 * 8000) ** -0.5
    assert peak == pytest.approx(1.235e-4, rel=1e-3)
    for step in (0, 1, 99, 7998, 7999, 8000, 12_000, 28_699):
        n = step + 1
        wanted = 0.5 * 2048**-0.5 * min(n**-0.5, n * 8000**-1.5)
        assert peak * SCHEDULES["noam"](step, 28_700, warm=8000).rate == pytest.approx(wanted, rel=1e-12)


def test_noams_share_is_of_all_steps():
    share, counted = ([SCHEDULES["noam"](step, 400, warm=warm) for step in range(400)] for warm in (0.25, 100))
    assert share == counted
    assert max(range(400), key=lambda step: share[step].rate) == 99
    assert share[399].rate == pytest.approx(0.5)


@pytest.mark.parametrize("wrong", [0, -0.1, 101, 8000])
def test_a_warm_up_that_never_ends_is_refused(wrong):
    with pytest.raises(RecipeError, match=r"stage of 100 steps: wanted a share below 1.*or at most as many"):
        Spec("noam", {"warm": wrong}).build(SCHEDULES, step=0, steps=100)


class TestOptimizers:
    """A quadratic has its steps in closed form: Adam's first is the rate itself, against the gradient's sign."""

    @staticmethod
    def step(name, gradient, **arguments):
        torch = pytest.importorskip("torch")
        from ossicle.optimizers import OPTIMIZERS, set_pace

        layer = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(layer.weight, 2.0)
        torch.nn.init.constant_(layer.bias, 2.0)
        optimizer = Spec(name, arguments).build(OPTIMIZERS, parts=[([layer], 1.0)], lr=0.5)
        set_pace(optimizer, 0.5, None)
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        return layer.weight.item(), layer.bias.item()

    def test_adams_decay_is_a_gradient_like_any_other_and_spares_nothing(self):
        assert self.step("adam", 0.0, weight_decay=5e-4) == pytest.approx((1.5, 1.5), abs=1e-4)
        assert self.step("adam", -1.0, weight_decay=0.75) == pytest.approx((1.5, 1.5), abs=1e-4)
        assert self.step("adam", 0.0) == (2.0, 2.0)

    def test_adamws_decay_is_beside_the_gradient_and_spares_vectors(self):
        assert self.step("adamw", 0.0, weight_decay=0.1) == pytest.approx((1.9, 2.0))
        assert self.step("adamw", -1.0, weight_decay=0.1) == pytest.approx((2.4, 2.5))

    def test_sgd_spares_vectors_too(self):
        assert self.step("sgd", 1.0, weight_decay=0.1) == pytest.approx((1.4, 1.5))


@pytest.mark.parametrize("steps", [3, 7, 8, 10])
@pytest.mark.parametrize(("phases", "warm"), [(2, 0.3), (2, 0.95), (3, 0.3), (3, 0.45)])
@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_few_steps_end_where_many_do(steps, phases, warm, shape):
    """However short the last phase is; under four steps there is no room for a third."""
    last = one_cycle(steps - 1, steps, warm=warm, phases=phases, shape=shape)
    assert last.rate == pytest.approx(1 / 25 if steps == 3 and phases == 3 else 4e-6)
    assert last.momentum == pytest.approx(0.95)
