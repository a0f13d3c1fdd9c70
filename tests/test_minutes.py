"""Recipes that fill minutes: what is written, followed, taken up again, refused. How long it takes is for no test."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ossicle import cli, learn, minutes, trial
from ossicle.budget import Budget, allot
from ossicle.data.cache import Cache
from ossicle.frontends import FRONTENDS
from ossicle.learner import Learner
from ossicle.model import load
from ossicle.plan import recognizer
from ossicle.recipe import Recipe, RecipeError, Stage, from_dict, to_dict
from ossicle.run import RunError
from ossicle.stops import Interrupted
from ossicle.train import fit
from ossicle.trial import Price, Trial, coarser, sane, size

RATE = 4000
SMALL = ["--set", "encoder.width=4", "--precision", "fp32", "--batch", "4", "--rate", str(RATE)]
RESNET = {"name": "resnet", "depth": 18, "width": 4}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six tones of a second, in two folds."""
    root, noise, rows = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0), ["filename,fold,label"]
    for number in range(12):
        tone = np.sin(2 * np.pi * (300, 900)[number % 2] * np.arange(RATE) / RATE)
        soundfile.write(root / f"{number}.wav", 0.3 * tone + 0.1 * noise.standard_normal(RATE), RATE)
        rows.append(f"{number}.wav,{number // 2 % 2 + 1},{('low', 'high')[number % 2]}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root / "clips.csv"


def recipe(sounds: Path, **changes: Any) -> Recipe:
    made = recognizer(sounds, sample_rate=RATE).override({"encoder": RESNET, "batch": 4, "precision": "fp32"})
    return made.override({"frontend.hop": 64, "frontend.n_fft": 256, "frontend.mels": 32} | changes)


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps cost a second for full images of 32 bins, and as much less as these have fewer; all else is for nothing."""

    def price(self: Trial, stage: Stage) -> Price:
        assert stage.frontend is not None
        return Price(0.0, (size(stage.frontend)[0] / 32) ** 2, 0.0)

    monkeypatch.setattr(Trial, "price", price)
    monkeypatch.setattr(Budget, "spent", property(lambda self: 0.0))


def ran(sounds: Path, out: Path, *asked: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main(["train", str(sounds), "-o", str(out), *SMALL, *asked])
    found = capsys.readouterr()
    return status, found.out, found.err


def plan(folder: Path) -> list[tuple[int, tuple[int, int]]]:
    """(epochs, image) of each stage that ran."""
    followed = from_dict(json.loads((folder / "recipe.json").read_text()))
    return [(stage.epochs, size(stage.frontend or followed.frontend)) for stage in followed.stages]


# -- measured ---------------------------------------------------------------------------------------------------------


def test_what_is_measured_makes_a_recipe_that_is_followed(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Minutes that are plenty, so that no machine is too slow, and a limit of four epochs in place of 200."""
    monkeypatch.setattr(minutes, "allot", partial(allot, most=4))
    monkeypatch.setattr(minutes, "MOST", 4)
    status, out, err = ran(sounds, tmp_path / "run", "--minutes", "60", capsys=capsys)
    assert status == 0, err
    assert sum(epochs for epochs, _ in plan(tmp_path / "run")) == 4
    assert "note: 1 stage: 4 epochs at 64 x 8; rate " in err
    assert "by the range test; about " in err
    assert "4 epochs are the most that are planned" in err
    assert "\n60 min promised, " in out
    followed = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (followed["expect"], followed["precision"]) == ({"minutes": 60.0}, "fp32")
    assert trial.RATES[0] <= followed["stages"][0]["lr"] <= trial.RATES[1]


def test_costs_are_of_real_steps_and_nothing_is_learned(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, taught = recipe(sounds), []
    update = Learner.update
    monkeypatch.setattr(Learner, "update", lambda self, *how, **by: taught.append(how[2]) or update(self, *how, **by))
    found = Trial(made, tmp_path / "run", Budget(5), Cache(tmp_path / "cache"), lambda kind, row: None, coarse=True)
    assert [size(spec) for spec in found.specs] == [(16, 32), (24, 48), (32, 63)]
    assert taught == [0.0] * 3 * (1 + trial.STEPS)
    fresh = Learner(made, found.found).objective.state_dict()
    learned = found.learner.objective.state_dict()
    weights = [name for name, _ in found.learner.objective.named_parameters()]
    assert all(torch.equal(fresh[name], learned[name]) for name in weights)
    assert all(price.step > 0 and price.look > 0 and price.begin > 0 for price in found.prices)
    assert found.budget.apart > 0
    cost, price = found.costs[-1], found.prices[-1]
    assert cost.epoch == pytest.approx(2 * price.step + 6 * price.look)  # six clips by fours, six looked at
    assert found.around(1, opened=True) > found.around(1, opened=False) > 0


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, [(16, 32), (24, 48)]),  # whose whole image is too narrow for bf16 already
        ({"frontend.mels": 64}, [(36, 36), (48, 48)]),  # 32 bins would leave two to the last stage
        ({"encoder": {"name": "crnn", "width": 4}}, [(32, 32), (32, 48)]),
        ({"encoder": {"name": "densenet"}, "frontend.mels": 36}, []),
        ({"frontend": {"name": "bands", "sample_rate": RATE, "seconds": 1.0}}, [(171, 4), (256, 6)]),
        ({"frontend": {"name": "clipmel", "frames": 80}, "policy": "zero"}, [(64, 40), (96, 60)]),
        ({"views": [{"name": "patch", "frames": 40}]}, [(24, 48)]),
        (
            {"frontend": {"name": "resized", "of": {"name": "logmel"}, "size": [80, 90]}},
            [(40, 45), (60, 68)],
        ),
    ],
)
def test_coarse_images_are_those_that_encoder_and_views_take(
    sounds: Path, changes: dict[str, Any], sizes: list[tuple[int, int]]
) -> None:
    made = recipe(sounds, **changes)
    assert [size(spec) for spec in coarser(made)] == sizes
    whole = made.frontend.build(FRONTENDS)
    for spec in coarser(made):
        assert (spec.name, spec.build(FRONTENDS).maps) == ("resized", whole.maps)


def test_the_rate_is_the_lower_suggestion_within_sane_limits(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [sane(rate) for rate in (1e-6, 3.14159e-3, 0.7)] == [3e-4, 3.1e-3, 1e-2]


# -- planned ----------------------------------------------------------------------------------------------------------


def written(made: Recipe, folder: Path, budget: Budget, **how: Any) -> tuple[Recipe, list[str]]:
    """The recipe for one run, and what was told."""
    notes = list[str]()
    found = minutes.planned(
        made,
        budget,
        {folder: made},
        tell=lambda kind, row: notes.append(row["note"]) if kind == "note" else None,
        **how,
    )
    return found, notes


@pytest.mark.usefixtures("priced")
def test_resolution_grows_and_the_last_stage_hears_what_was_asked_for(sounds: Path, tmp_path: Path) -> None:
    """Two steps an epoch: 2 x (1/2)^2, 2 x (3/4)^2 and 2 seconds, of which 0.97 x 30 s hold (9, 6, 6) epochs."""
    made = recipe(sounds)
    found, notes = written(made, tmp_path / "run", Budget(0.5, rate=4e-3))
    assert [size(stage.frontend) for stage in found.stages if stage.frontend] == [(16, 32), (24, 48), (32, 63)]
    assert (found.stages[-1].frontend, found.frontend) == (made.frontend, made.frontend)
    assert [stage.lr for stage in found.stages] == [4e-3, 2e-3, 2e-3]
    seconds = sum(stage.epochs * 2 * (size(stage.frontend)[0] / 32) ** 2 for stage in found.stages if stage.frontend)
    assert 0.97 * 30 - 2 < seconds + 0.97 <= 0.97 * 30 + 0.97
    first, second, third = (stage.epochs for stage in found.stages)
    assert notes[-1] == (
        f"3 stages: {first} epochs at 16 x 32, {second} epochs at 24 x 48, {third} epochs at 32 x 63; "
        f"rate 0.004, as given; about {seconds / 60:.2g} of 0.5 minutes"
    )
    assert from_dict(json.loads(json.dumps(to_dict(found)))) == found
    unplanned = {"stages", "views", "expect"}
    same = {name: value for name, value in to_dict(found).items() if name not in unplanned}
    assert same == {name: value for name, value in to_dict(made).items() if name not in unplanned}


@pytest.mark.usefixtures("priced")
def test_masks_are_narrowed_by_the_smallest_image(sounds: Path, tmp_path: Path) -> None:
    found, _ = written(recipe(sounds), tmp_path / "run", Budget(0.5, rate=1e-3))
    assert {view.name: dict(view.args) for view in found.views}["specaugment"] == {"freq": 10, "time": 10}
    assert found.views[:2] == recipe(sounds).views[:2]
    alike = recipe(sounds)
    assert minutes.narrowed(alike, alike.stages) == alike.views


@pytest.mark.usefixtures("priced")
def test_without_coarse_images_the_minutes_go_to_full_ones(sounds: Path, tmp_path: Path) -> None:
    found, _ = written(recipe(sounds), tmp_path / "run", Budget(0.5, rate=1e-3, progressive=False))
    assert [(stage.epochs, stage.frontend) for stage in found.stages] == [(14, None)]
    assert found.views == recipe(sounds).views


def test_coarse_images_that_cost_as_much_are_left_out(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, priced: None
) -> None:
    monkeypatch.setattr(Trial, "price", lambda self, stage: Price(0.0, 1.0, 0.0))
    found, notes = written(recipe(sounds), tmp_path / "run", Budget(0.5))
    assert [(stage.epochs, stage.frontend) for stage in found.stages] == [(14, None)]
    assert notes[-1] == "an epoch of coarse images takes 1.00 of a full one's time here: they are left out"
    assert "rate 0.001, the usual one, since a range test takes 100 s" in notes[-2]


@pytest.mark.usefixtures("priced")
def test_too_few_minutes_say_how_many_it_takes(sounds: Path, tmp_path: Path) -> None:
    """Two seconds an epoch, and three in a hundred aside."""
    made, folder = recipe(sounds), tmp_path / "run"
    with pytest.raises(RecipeError, match=r"^0.03 minutes are too few: an epoch takes 2.0 s here, .* 0.1 minutes are"):
        written(made, folder, Budget(0.03))
    assert not folder.exists()
    assert sum(stage.epochs for stage in written(made, folder, Budget(0.1))[0].stages) >= 1


@pytest.mark.usefixtures("priced")
def test_folds_share_the_minutes(sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, told = recipe(sounds), list[str]()
    runs = {tmp_path / str(number): made for number in range(3)}
    each = minutes.planned(made, Budget(1.5, rate=1e-3), runs, tell=lambda kind, row: told.append(str(row)))
    alone, _ = written(made, tmp_path / "run", Budget(0.5, rate=1e-3))
    assert each.stages == alone.stages
    assert "of 1.5 minutes, for 3 runs" in told[-1]
    status, out, err = ran(sounds, tmp_path / "both", "--folds", "--minutes", "0.4", "--lr", "3e-3", capsys=capsys)
    assert status == 0, err
    assert "0.4 min promised" in out
    assert plan(tmp_path / "both" / "fold1") == plan(tmp_path / "both" / "fold2")
    assert "for 2 runs" in err


# -- followed ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("priced")
def test_what_is_written_is_what_ran_and_a_stopped_run_goes_on_by_it(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, place = recipe(sounds), tmp_path / "run"
    planned, _ = written(made, place, Budget(0.1, rate=3e-3))
    assert len(planned.stages) > 1

    class Stopped(learn.Show):
        def hear_step(self, row: dict[str, Any]) -> None:
            if row["done"] == 3:
                signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(learn, "Show", Stopped)
        with pytest.raises(Interrupted):
            learn.learn(made, place, budget=Budget(0.1, rate=3e-3))
    before = (place / "recipe.json").read_bytes()
    monkeypatch.setattr(minutes, "Trial", None)  # nothing is measured from here on
    said = learn.learn(made, place, budget=Budget(7, rate=3e-3))
    assert "0.1 min promised; not timed" in said
    noted = f"{place} was begun with 0.1 minutes, and its plan is followed: {len(planned.stages)} stages: "
    told = capsys.readouterr().err
    assert noted in told, told
    assert (place / "recipe.json").read_bytes() == before
    followed = from_dict(json.loads(before))
    assert followed == planned
    fit(followed, tmp_path / "again")
    one, other = (load(folder).state_dict() for folder in (place, tmp_path / "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(RunError, match="batch"):
        learn.learn(replace(made, batch=6), place, budget=Budget(0.1))
    with pytest.raises(
        RecipeError, match=r"was begun at a rate of 0\.003, and is to go on at 0\.1: leave the rate out"
    ):
        learn.learn(made, place, budget=Budget(0.1, rate=0.1))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["--epochs", "3"], "leave out --epochs and --set stages"),
        (["--set", "stages.0.body=0.1"], "leave out --epochs and --set stages"),
        (["--set", "grid={batch = [2, 4]}"], "minutes are planned for one recipe"),
        (["--minutes", "-1"], "wanted a length of time above 0"),
    ],
)
def test_what_minutes_cannot_go_with_is_refused(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[str], sentence: str
) -> None:
    minutes = [] if "--minutes" in asked else ["--minutes", "1"]
    status, out, err = ran(sounds, tmp_path / "run", *minutes, *asked, capsys=capsys)
    assert (status, out) == (2, "")
    assert sentence in err


def test_a_run_that_was_begun_without_minutes_is_not_planned(sounds: Path, tmp_path: Path) -> None:
    made = recipe(sounds)
    tmp_path.joinpath("recipe.json").write_text(json.dumps(to_dict(made)))
    with pytest.raises(RecipeError, match="was begun without minutes"):
        written(made, tmp_path, Budget(1))
