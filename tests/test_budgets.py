"""What runs spent on learning, and that no side is called better where they spent unlike."""

import json
from pathlib import Path

import numpy as np
import pytest

from ossicle import evaluate, material, words
from ossicle.data.manifest import Clip, Manifest
from ossicle.evaluate import answers
from ossicle.evaluate.budgets import budget, set_back, uneven
from ossicle.report import arms, by_fold

SPENT = {"steps": 100, "clips": 800, "peeks": 3, "selected": "none", "seconds": 20.0, "cpu_seconds": 40.0}


def run(folder, right, **spent):
    """A run of twenty clips, each of its own recording, of which the first so many were told rightly."""
    clips = [Clip(Path("x"), str(i), ("low",), fold=1, group=str(i)) for i in range(20)]
    part = Manifest.of("made", clips, classes=("high", "low"))
    folder.mkdir()
    answers.write(folder / answers.FILE, part, np.eye(2)[(np.arange(20) < right).astype(int)], np.ones(20, bool))
    (folder / "result.json").write_text(json.dumps(SPENT | spent))
    return folder


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        ({}, ""),
        ({"steps": 101, "clips": 810}, ""),
        ({"steps": 60}, "60 against 100 steps"),
        ({"clips": 400}, "400 against 800 clips heard"),
        ({"seconds": 60.0}, ""),
        ({"cpu_seconds": 120.0}, "120 against 40 processor seconds"),
        ({"seconds": 12.0, "cpu_seconds": 24.0}, "24 against 40 processor seconds"),
        ({"steps": 200, "clips": 1600, "seconds": 41.2, "cpu_seconds": 80.0},
         "200 against 100 steps, 1600 against 800 clips heard, 80 against 40 processor seconds"),
        ({"selected": "valid"}, "3 against 0 looks that chose the weights"),
        ({"selected": "test", "openings": 7}, "7 against 0 looks that chose the weights"),
        ({"peeks": 9}, ""),
    ],
)  # fmt: skip
def test_what_two_runs_spent_is_compared(tmp_path, spent, said):
    """A busy machine stretches seconds, not the processor's; looks count where they chose."""
    sides = [budget([run(tmp_path / "one", 9, **spent)]), budget([run(tmp_path / "other", 9) / answers.FILE])]
    assert uneven(*sides) == said


def test_a_budget_is_the_mean_over_runs_and_silent_where_one_is(tmp_path):
    places = [run(tmp_path / "one", 9), run(tmp_path / "two", 9, steps=200)]
    assert budget(places)["steps"] == 150
    (tmp_path / "two" / "result.json").write_text(json.dumps({"seconds": 40.0}))
    assert budget(places) == {"seconds": 30.0}
    (tmp_path / "two" / "result.json").unlink()
    assert budget(places) == budget([]) == {}
    assert uneven({}, budget(places[:1])) == ""


def test_no_side_is_called_better_at_unequal_budgets(tmp_path):
    """The numbers are those of equal budgets, the verdict is not."""
    worse, better, longer = (
        run(tmp_path / name, right, **spent)
        for name, right, spent in (("worse", 4, {}), ("better", 16, {}), ("longer", 16, {"steps": 300}))
    )
    fair, unfair = (evaluate.compare([side], [worse])["recordings"] for side in (better, longer))
    assert fair["sentence"].startswith("more: +60.0 points")
    assert unfair["sentence"].startswith("at unequal budgets (300 against 100 steps): +60.0 points (95 % interval")
    assert {name: unfair[name] for name in ("mean", "low", "high", "over", "p")} == {
        name: fair[name] for name in ("mean", "low", "high", "over", "p")
    }
    assert "uneven" not in fair
    assert arms._sentence(unfair).endswith("; at unequal budgets: 300 against 100 steps")
    assert "at unequal budgets: 300 against 100 steps" in arms._interval({"recordings": unfair}, "recordings")
    assert "unequal" not in arms._interval({"recordings": fair}, "recordings")


ROW = {"variant": "base", "by": "test", "measure": "accuracy", "accuracy": [0.8], "mean": 0.8, "sd": None}
ROW |= {"pretraining": ["none"], "selected": ["none"], "steps": 100.0, "clips": 800.0, "seconds": 9.0}
BELOW = ROW | {"variant": "vfm", "accuracy": [0.75], "mean": 0.75, "pretraining": ["inductive"], "seconds": 90.0}
CERTAIN = {"against_first": {"recordings": {"mean": -0.05, "low": -0.07, "high": -0.03, "sentence": "less"}}}


def test_a_transfer_that_ends_below_its_base_is_warned_of():
    said = "ends 5.0 points below base in as many steps: what it took over from earlier learning sets it back here"
    assert set_back(BELOW, ROW) == f"{said}, or by chance"
    assert set_back(BELOW | CERTAIN, ROW) == said
    row = BELOW | CERTAIN | {"warning": said}
    assert f"  warning: {said}" in words.tabled({"rows": [ROW, row]}).splitlines()
    runs = [arms._arm(each["variant"], (), each | {"folds": [1]}) for each in (ROW, row)]
    assert said in arms.fold_table(runs)
    assert any(line[0] == "warning" and line[2] == said for line in by_fold._rows(runs))


@pytest.mark.parametrize(
    ("row", "base"),
    [
        (BELOW | {"mean": 0.8}, ROW),
        (BELOW | {"pretraining": ["none"]}, ROW),
        (BELOW, ROW | {"pretraining": ["inductive"]}),
        (BELOW | {"steps": 60.0}, ROW),
        (BELOW | {"clips": 400.0}, ROW),
        (BELOW | {"steps": None, "clips": None}, ROW),
        (BELOW | {"by": "validation"}, ROW),
    ],
)
def test_nobody_is_warned_where_transfer_or_budgets_are_not_what_differs(row, base):
    assert set_back(row, base) == ""


def test_rows_tell_steps_clips_and_looks():
    row = material.mean_cost([SPENT, SPENT | {"steps": 200}])
    assert (row["steps"], row["clips"], row["peeks"], row["seconds"]) == (150, 800, 3, 20)
    assert words.counted(row) == "150 steps, 800 clips heard, 3 looks at validation"
    score = {"variant": "one", "measure": "accuracy", "accuracy": [0.5], "mean": 0.5, "sd": None}
    stamps = {"pretraining": ["none"], "selected": ["test"]}
    said = words.tabled({"rows": [score | stamps | row]}).splitlines()
    assert said[1:] == [f"  {words.CHOSEN}", f"  {words.counted(row)}", "  20 s"]
    assert words.counted({"seconds": 3.0}) == ""
    assert "150 steps, 800 clips heard" in arms._cost(row)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"steps": 100}, {"steps": 98}, ""),
        ({"steps": 100}, {"steps": 97.9}, "100 against 97.9 steps"),
        ({"steps": 10.2}, {"steps": 9.8}, "10.2 against 9.8 steps"),
        ({"chosen": 0}, {"chosen": 0.2}, "0 against 0.2 looks that chose the weights"),
        ({"chosen": 3.0}, {"chosen": 3.07}, "3 against 3.07 looks that chose the weights"),
        ({"seconds": 2000, "cpu_seconds": 4000}, {"seconds": 1000, "cpu_seconds": 3400}, ""),
        ({"seconds": 2000, "cpu_seconds": 4000}, {"seconds": 2000, "cpu_seconds": 3390},
         "4000 against 3390 processor seconds"),
        ({"seconds": 1.0}, {"seconds": 0.84}, "1 against 0.84 s"),
    ],
)  # fmt: skip
def test_budgets_at_the_share_by_which_they_may_differ_and_what_is_told_looks_different(one, other, said):
    assert uneven(one, other) == said
