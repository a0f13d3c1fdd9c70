"""How many epochs of which resolution fill a number of seconds: what holds whatever they cost."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossicle import budget
from ossicle.budget import MOST, Budget, Cost, allot, taken, worthwhile
from ossicle.recipe import RecipeError

FULL = Cost(1.0, 10.0)


@st.composite
def costs(draw: st.DrawFn) -> list[Cost]:
    """One to three resolutions, each coarse one at least a fifth cheaper than the full one."""
    full = draw(st.floats(0.1, 1000))
    coarse = draw(st.lists(st.floats(0.05, budget.CHEAPER), max_size=2))
    begin = draw(st.floats(0, 0.05)) * full
    return [*(Cost(begin, share * full) for share in coarse), Cost(begin, full)]


@given(costs(), st.floats(0, 100))
@settings(deadline=None, max_examples=200)
def test_the_seconds_are_filled_and_never_exceeded(made: list[Cost], times: float) -> None:
    """What is left is less than the cheapest epoch, unless there are as many epochs as are ever planned."""
    seconds = times * made[-1].epoch
    epochs = allot(made, seconds)
    assert taken(made, epochs) <= seconds
    assert sum(epochs) <= MOST
    if not any(epochs):
        assert seconds < made[-1].begin + made[-1].epoch
        return
    assert epochs[-1] >= 1
    used = [cost for cost, n in zip(made, epochs, strict=True) if n]
    if sum(epochs) < MOST:
        assert seconds - taken(made, epochs) < min(cost.epoch for cost in used)
    elif any(epochs[:-1]):
        assert seconds - taken(made, epochs) < made[-1].epoch - used[0].epoch


@given(costs(), st.floats(0, 250), st.floats(0, 250))
@settings(deadline=None, max_examples=200)
def test_more_seconds_never_mean_fewer_full_epochs(made: list[Cost], some: float, others: float) -> None:
    less, more = (allot(made, times * made[-1].epoch) for times in sorted((some, others)))
    assert less[-1] <= more[-1]
    assert taken(made, less) <= taken(made, more) + made[-1].epoch


@given(costs(), st.floats(20, 100))
@settings(deadline=None, max_examples=100)
def test_epochs_are_dealt_by_their_shares(made: list[Cost], times: float) -> None:
    """Until the last one did not fit; after that, the cheaper ones get what is left, less than one full epoch."""
    epochs = allot(made, times * made[-1].epoch)
    if sum(epochs) == MOST or not all(epochs):
        return
    shares = budget.SHARES[-len(epochs) :]
    spare = math.ceil(made[-1].epoch / min(cost.epoch for cost in made))
    for (n, share), (m, other) in itertools.permutations(zip(epochs, shares, strict=True), 2):
        assert (n - spare) / share <= (m + 1) / other


def test_an_example_by_hand() -> None:
    """Coarse 3, middle 6, full 10: one of each is 19; dealt further are 3, 10, 6, 3, 3, 10, 6, ... by 0.4, 0.3, 0.3."""
    three = [Cost(0, 3), Cost(0, 6), Cost(0, 10)]
    dealt = {9.9: [0, 0, 0], 10: [0, 0, 1], 15.9: [0, 0, 1], 16: [0, 1, 1], 19: [1, 1, 1], 22: [2, 1, 1]}
    dealt |= {32: [2, 1, 2], 38: [2, 2, 2], 41: [3, 2, 2], 44: [4, 2, 2], 54: [4, 2, 3]}
    assert {seconds: allot(three, seconds) for seconds in dealt} == dealt
    assert allot(three, 31) == [3, 2, 1]  # a full epoch is due and does not fit, a middle and a coarse one do


def test_plenty_of_time_makes_coarse_epochs_full_ones() -> None:
    three = [Cost(1, 3), Cost(1, 6), Cost(1, 10)]
    found = [allot(three, seconds, most=10) for seconds in range(20, 140)]
    assert found[-1] == [0, 0, 10]
    assert max(map(sum, found)) == 10
    assert [epochs[-1] for epochs in found] == sorted(epochs[-1] for epochs in found)
    assert allot(three, 99, most=10) == [0, 1, 9]  # 1 + 6 + 1 + 90


@pytest.mark.parametrize(
    ("coarse", "kept"), [((2, 5), [0, 1, 2]), ((5, 8.5), [0, 2]), ((8.5, 9), [2]), ((11, 4), [1, 2])]
)
def test_a_coarse_stage_is_worthwhile_where_it_is_cheaper(coarse: tuple[float, ...], kept: list[int]) -> None:
    assert worthwhile([*(Cost(1, epoch) for epoch in coarse), FULL]) == kept
    assert worthwhile([FULL]) == [0]


def test_a_budget_counts_all_but_what_is_set_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget.time, "monotonic", lambda: 250.0)
    made = Budget(2.0, began=100.0, apart=24.0)
    assert (made.spent, made.left) == (126.0, -6.0)
    assert made.told() == "2 min promised, 2.10 min taken (+5 %), and 24 s of decoding beside that"
    made.resumed = True
    assert "not timed" in made.told()
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(RecipeError, match="wanted a length of time above 0"):
            Budget(wrong)
