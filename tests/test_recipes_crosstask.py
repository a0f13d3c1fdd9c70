"""The recipes of cross-task pretraining: the numbers of tables 2 and 3, the three strategies, CMAM's rate, teachers."""

import math
from pathlib import Path

import pytest

from ossicle import recipe
from ossicle.schedules import SCHEDULES

RECIPES = Path(__file__).parents[1] / "recipes"
CLIPS = {"tut": 3 * 4680 // 4, "tau": 9185}
TABLE_2 = {  # of the document: TUT and TAU, %
    "base": (81.7, 66.5),
    "vfm-scratch": (None, None),
    "vfm-features": (72.1, 57.3),
    "vfm-finetuned": (None, None),
    "jrm-scratch": (83.0, 67.2),
    "jrm-features": (83.7, 63.4),
    "jrm-finetuned": (83.2, 66.8),
    "cmam-scratch": (83.2, 65.1),
    "cmam-features": (85.8, 68.8),
    "cmam-finetuned": (83.1, 65.3),
}
TABLE_3 = {
    "alone": (81.7, 66.5),
    "jrm-features": (82.0, 66.6),
    "jrm-finetuned": (82.1, 66.7),
    "cmam-features": (83.1, 67.2),
    "cmam-finetuned": (82.6, 66.8),
    "jrm-finetuned-and-cmam-features": (84.3, 67.7),
    "averaged": (None, None),
}


def ways(name):
    read = recipe.load(RECIPES / f"crosstask-{name}.toml")
    return {way["name"]: read.override({"variants": [], **way}) for way in read.variants}


@pytest.mark.parametrize("name", CLIPS)
def test_every_row_of_table_2_is_there_with_its_number(name):
    found = ways(name)
    assert [way for way in found if way != "cmam-finetuned-slowly"] == list(TABLE_2)
    for way, published in TABLE_2.items():
        expected = published[list(CLIPS).index(name)]
        assert found[way].expect == ({} if expected is None else {"accuracy": pytest.approx(expected / 100)})


@pytest.mark.parametrize("name", CLIPS)
def test_strategies_are_where_weights_come_from_and_at_what_rate_they_move(name):
    wanted = {"scratch": (None, 1.0), "features": ("runs/events", 0.0), "finetuned": ("runs/events", 1.0)}
    wanted |= {"slowly": ("runs/events", 0.03)}
    for way, read in ways(name).items():
        network, _, strategy = way.partition("-")
        assert read.encoder.name == ("small" if network == "base" else network)
        assert (read.start, read.stages[0].events) == wanted[strategy.split("-")[-1] or "scratch"]


@pytest.mark.parametrize("name", CLIPS)
def test_rates_and_lengths_are_the_documents(name):
    """CMAM's rate is k d^-0.5 min(n^-0.5, n 8000^-1.5) at k = 0.5 and d = 2048, in batches of 64 for 200 epochs."""
    steps = 200 * math.ceil(CLIPS[name] / 64)
    for way, read in ways(name).items():
        (stage,) = read.stages
        assert (read.batch, stage.epochs, read.optimizer.name, stage.body) == (64, 200, "adam", 1.0)
        for step in (0, 1000, 7999, 10_000):
            pace = stage.schedule.build(SCHEDULES, step=step, steps=steps, epochs=200)
            n = step + 1
            noam = 0.5 * 2048**-0.5 * min(n**-0.5, n * 8000**-1.5)
            wanted = noam if way.startswith("cmam") else 1e-3
            assert stage.lr * pace.rate == pytest.approx(wanted, rel=1e-3)
            assert pace.momentum is None


@pytest.mark.parametrize("name", CLIPS)
def test_every_row_of_table_3_is_taught_by_its_rows_of_table_2(name):
    found, teachers = ways(f"students-{name}"), ways(name)
    assert list(found) == list(TABLE_3)
    for way, published in TABLE_3.items():
        read, expected = found[way], published[list(CLIPS).index(name)]
        assert read.expect == ({} if expected is None else {"accuracy": pytest.approx(expected / 100)})
        assert (read.encoder, read.data, read.batch) == (teachers["base"].encoder, teachers["base"].data, 64)
        rows = "jrm-finetuned-and-cmam-features" if way == "averaged" else way
        asked = [] if way == "alone" else [f"runs/crosstask-{name}/{row}/fold{{fold}}" for row in rows.split("-and-")]
        assert list(read.objective.args.get("teachers", ())) == asked
        assert {place.split("/")[2] for place in asked} <= teachers.keys()
        copies = (400, "augmented") if "-and-" in way else (200, None)
        assert (read.stages[0].epochs, read.objective.args.get("how")) == copies
