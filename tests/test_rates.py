"""The learning-rate range test: on a parabola, whose answer is known, and on a recipe, which it leaves as it was."""

import math
import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ossicle import assemble, material
from ossicle.cli import main
from ossicle.data.cache import Cache
from ossicle.data.loader import Batch
from ossicle.learner import Learner
from ossicle.rates import HIGH, LOW, STEPS, RangeTest, alone, find, find_all, range_test, sweep
from ossicle.recipe import RecipeError, Stage, load

RATE = 4000
FACTOR = (HIGH / LOW) ** (1 / (STEPS - 1))  # from rate to rate


def parabola(curvature):
    """Gradient descent on curvature / 2 w^2 from w = 1: the loss before each step."""
    place = [1.0]

    def step(rate):
        loss = curvature / 2 * place[0] ** 2
        place[0] -= rate * curvature * place[0]
        return loss

    return step


@pytest.mark.parametrize("curvature", [1.0, 30.0, 1000.0])
def test_a_parabola_is_swept_until_twice_one_over_its_curvature(curvature):
    """Steps below 2 / curvature make the loss smaller and steps above it larger. The rates are a geometric series, so w
    is near exp(-curvature * rate / (1 - 1 / FACTOR)) before it is small, and the loss, its square, falls fastest by
    equal factors of the rate where twice that exponent is 1.
    """
    found = sweep(parabola(curvature), smooth=0.0)
    stable = 2 / curvature
    assert found.stopped
    assert stable < found.rate[-1] < stable * FACTOR**4
    assert np.array_equal(found.smooth, found.loss)
    falls = np.diff(found.loss) < 0
    assert falls.tolist() == (found.rate[:-1] < stable).tolist()
    assert found.lowest == pytest.approx(stable, rel=FACTOR - 1)
    assert found.suggestion == pytest.approx((1 - 1 / FACTOR) / (2 * curvature), rel=FACTOR - 1)


@pytest.mark.parametrize("curvature", [1.0, 30.0])
def test_the_smoothed_loss_is_an_exponential_mean_and_its_steepest_place_is_suggested(curvature):
    found = sweep(parabola(curvature))
    for number in (1, 2, 40):
        weight = [0.98 ** (number - 1 - n) for n in range(number)]
        assert found.smooth[number - 1] == pytest.approx(np.average(found.loss[:number], weights=weight))
    slope = {n: found.smooth[n + 1] - found.smooth[n - 1] for n in range(11, len(found.rate) - 6)}
    assert found.suggestion == found.rate[min(slope, key=slope.get)]
    assert found.suggestion < 2 / curvature < found.rate[-1]


def test_the_rates_are_from_a_ten_millionth_to_ten():
    found = sweep(lambda rate: 3.0)
    assert (len(found.rate), found.rate[0], found.rate[-1]) == (100, 1e-7, pytest.approx(10.0))
    assert np.allclose(found.rate[1:] / found.rate[:-1], FACTOR)
    assert not found.stopped
    assert found.suggestion is None


def test_it_stops_at_what_is_no_number():
    losses = iter([2.0] * 30 + [math.nan])
    found = sweep(lambda rate: next(losses))
    assert found.stopped
    assert found.loss.tolist() == [2.0] * 30
    assert sweep(lambda rate: math.inf).stopped


def test_a_few_steps_suggest_nothing():
    assert sweep(parabola(1.0), steps=16).suggestion is None


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A recipe for two classes of six clips."""
    root, noise = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for number in range(12):
        label = ("low", "high")[number % 2]
        tone = np.sin(2 * np.pi * (300, 900)[number % 2] * np.arange(RATE // 5) / RATE)
        (root / label).mkdir(exist_ok=True)
        soundfile.write(root / label / f"{number}.wav", 0.3 * tone + 0.1 * noise.standard_normal(len(tone)), RATE)
    (root / "made.toml").write_text(
        f"""
        data = {{ name = "folder", path = "{root}" }}
        frontend = {{ name = "logmel", sample_rate = {RATE}, seconds = 0.2, n_fft = 128, hop = 64, mels = 8 }}
        encoder = {{ name = "resnet", depth = 18, width = 4 }}
        objective = "supervised"
        batch = 4
        precision = "fp32"
        stages = [{{ epochs = 1, lr = 1e-2, body = 0.5 }}, {{ epochs = 1, lr = 1e-3 }}]
        """
    )
    return root / "made.toml"


def test_what_learns_is_left_as_it_was(path, tmp_path):
    recipe, cache = load(path), Cache(tmp_path)
    found = material.gather(recipe, cache, sample_rate=RATE)
    learner, chance = Learner(recipe, found), torch.get_rng_state()
    learner.ready(recipe.stages[0])
    before = {name: value.clone() for name, value in learner.objective.state_dict().items()}
    tested = range_test(learner, recipe.stages[0], steps=30)
    after = learner.objective.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), chance)
    assert not learner.optimizer.state
    assert np.isfinite(tested.loss).all()
    assert tested.smooth.min() < tested.loss[0]
    again = find(recipe, cache=cache, steps=30)
    assert np.array_equal(again.loss, tested.loss)


def test_stages_that_would_be_tested_alike_are_tested_once_and_each_as_if_it_were_the_first(path, tmp_path):
    ear = {"name": "logmel", "sample_rate": RATE, "seconds": 0.2, "n_fft": 128, "hop": 64, "mels": 16}
    stages = [
        {"epochs": 1, "lr": 1e-2},
        {"epochs": 3, "lr": 1e-3, "schedule": "constant"},
        {"epochs": 1, "lr": 1e-2, "frontend": ear},
        {"epochs": 1, "lr": 1e-2, "frozen": True, "start": "best"},
    ]
    variants = [{"name": "grown", "stages": stages, "keep": "best", "split.valid": 1}, {"name": "flat"}]
    recipe, cache, steps = load(path).override({"variants": variants}), Cache(tmp_path), []
    tried = find_all(recipe, cache=cache, steps=20, tell=lambda kind, row: steps.append(kind) if kind == "step" else 0)
    assert [(each.variant, each.key, each.lr) for each in tried] == [
        *(("grown", f"variants.0.stages.{number}.lr", stages[number]["lr"]) for number in range(4)),
        *(("flat", f"variants.1.stages.{number}.lr", lr) for number, lr in enumerate((1e-2, 1e-3))),
    ]
    losses = [each.found.loss.tolist() for each in tried]
    assert len({tuple(each) for each in losses}) == 5
    assert losses[0] == losses[1]
    assert len(steps) == sum(map(len, {tuple(each) for each in losses}))
    finer = recipe.override({"variants": [], "frontend": ear, "stages": [{"epochs": 1}], "split.valid": 1})
    assert losses[2] == find(finer, cache=cache, steps=20).loss.tolist()


def test_a_stage_is_tested_with_all_that_it_says_of_its_parts(path):
    """What is left out is what a range test has no use for, so that a new key of a stage is not forgotten."""
    kept = {"body": 0.5, "events": 0.0, "frozen": True}
    unused = {"epochs": 3, "lr": 1e-2, "schedule": {"name": "constant"}, "frontend": None, "start": "best"}
    assert {field.name for field in fields(Stage)} == kept.keys() | unused.keys()
    recipe = load(path).override({"stages": [{"epochs": 1}, unused | kept], "keep": "best", "split.valid": 1})
    assert alone(recipe, 1).stages == (Stage(1, **kept),)


def test_an_epoch_without_a_batch_is_refused_and_not_waited_for(path, tmp_path, monkeypatch):
    monkeypatch.setattr(Learner, "normalize", lambda learner: None)
    monkeypatch.setattr(Batch, "usable", lambda batch, device: [])
    with pytest.raises(RecipeError, match="no batch holds two clips"):
        find(load(path), cache=Cache(tmp_path), steps=5)


def test_the_command_suggests_draws_and_begins_no_run(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RangeTest, "suggestion", 0.0123)
    asked = ["run", str(path), "--seed", "2", "--set", "name=a b", "-o", "made"]
    assert main([*asked, "--find-lr"]) == 0
    said = capsys.readouterr().out
    for number in (0, 1):
        assert f"stages.{number}.lr: suggested lr 1.2e-02: where the smoothed loss falls fastest" in said
    assert "wrote made-lr.svg" in said
    assert Path("made-lr.svg").read_bytes().startswith(b"<?xml")
    assert not Path("made").exists()
    line = next(line for line in said.splitlines() if line.startswith("next  ossicle "))
    monkeypatch.setattr("ossicle.learn.learn", lambda recipe, out, **ways: f"{out} {recipe.seed} {recipe.stages}")
    assert main(shlex.split(line)[2:]) == 0
    assert "made 2 (Stage(epochs=1, lr=0.012," in (told := capsys.readouterr().out)
    assert told.count("lr=0.012,") == 2
    assert main(["run", str(path), "--find-lr", "--folds"]) == 2
    assert "leave out --folds" in capsys.readouterr().err


def test_a_schedule_that_cannot_be_followed_is_refused_before_work(path):
    wrong = load(path).override({"stages.1.schedule": {"name": "one_cycle", "phases": 5}})
    with pytest.raises(RecipeError, match="wanted 2 or 3 phases"):
        assemble.rehearse(wrong)
