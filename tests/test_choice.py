"""Keeping the best epoch: by the validation part, stage by stage, through interruptions; by the test fold, and said."""

import json
import signal

import numpy as np
import pytest
import soundfile
import torch

from ossicle import checkpoint, evaluate, learner, train, words
from ossicle.choice import selected
from ossicle.data.cache import Cache
from ossicle.recipe import RecipeError, from_dict
from ossicle.report import report

RATE = 4000
FRONTEND = {"name": "logmel", "sample_rate": RATE, "seconds": 0.2, "n_fft": 128, "hop": 64, "mels": 8}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two classes of six recordings each, a fifth of a second long, in three folds."""
    root, noise = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    rows = ["filename,fold,label,group"]
    for number in range(12):
        tone = np.sin(2 * np.pi * (300, 900)[number % 2] * np.arange(RATE // 5) / RATE)
        soundfile.write(root / f"{number}.wav", 0.3 * tone + 0.1 * noise.standard_normal(len(tone)), RATE)
        rows.append(f"{number}.wav,{number // 2 % 3 + 1},{('low', 'high')[number % 2]},{number}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


def stage(epochs, **more):
    return {"epochs": epochs, "lr": 1e-2, "schedule": "constant"} | more


def recipe_for(sounds, *stages, **changes):
    tree = {
        "data": {"name": "csv", "path": str(sounds / "clips.csv")},
        "split": {"fold": 1, "valid": "next"},
        "frontend": FRONTEND,
        "encoder": {"name": "resnet", "depth": 18, "width": 4},
        "objective": "supervised",
        "stages": list(stages),
        "batch": 2,
        "precision": "fp32",
    }
    return from_dict(tree | changes)


def scripted(monkeypatch, *scores, part="valid"):
    """The accuracies that the looks at a part give, in their order."""
    left = iter(scores)
    name = {"valid": "watch", "test": "curve"}[part]
    monkeypatch.setattr(train.evaluate, name, lambda *_, **__: {f"{part}_accuracy": next(left)})


def weights(folder):
    return checkpoint.load(folder / "model")[0]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_model_is_that_of_the_best_epoch_the_first_of_equals(sounds, cache, tmp_path, monkeypatch):
    """With a constant rate, three epochs of which the second is best are a run of two."""
    train.fit(recipe_for(sounds, stage(2)), tmp_path / "two", cache=cache)
    scripted(monkeypatch, 0.5, 0.75, 0.75)
    notes = []
    best = train.fit(
        recipe_for(sounds, stage(3), keep="best"),
        tmp_path / "best",
        cache=cache,
        tell=lambda kind, row: notes.append(row["note"]) if kind == "note" else None,
    )
    scripted(monkeypatch, 0.5, 0.75, 0.75)
    last = train.fit(recipe_for(sounds, stage(3)), tmp_path / "last", cache=cache)
    assert same(weights(tmp_path / "best"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "last"), weights(tmp_path / "two"))
    assert notes == ["back to epoch 2, the best on the validation part (75.0 %)"]
    assert (best["kept"], best["selected"], best["peeks"], best["steps"], best["clips"]) == (2, "valid", 4, 6, 12)
    assert (last.get("kept"), last["selected"], last["peeks"]) == (None, "none", 4)


def test_a_stage_begins_from_the_best_of_the_one_before(sounds, cache, tmp_path, monkeypatch):
    """The first stage's best is its first epoch, heard by another front end than the second stage's."""
    train.fit(recipe_for(sounds, stage(1)), tmp_path / "one", cache=cache)
    begun, ready = [], learner.Learner.ready

    def look(session, at):
        begun.append({name: value.clone() for name, value in session.model.state_dict().items()})
        ready(session, at)

    monkeypatch.setattr(learner.Learner, "ready", look)
    scripted(monkeypatch, 1.0, 0.5, 0.25)
    finer = stage(1, frontend={**FRONTEND, "mels": 12}, start="best")
    result = train.fit(recipe_for(sounds, stage(2), finer), tmp_path / "run", cache=cache)
    one = weights(tmp_path / "one")
    del one["temperature"], begun[1]["temperature"]
    assert same(begun[1], one)
    assert result["selected"] == "valid"
    assert "kept" not in result
    assert not torch.equal(weights(tmp_path / "run")["backbone.mean"], one["backbone.mean"])


def test_resuming_equals_never_having_stopped(sounds, cache, tmp_path):
    """Stopped after every single step: what was best is in the checkpoint too."""
    stages = stage(2), stage(2, frontend={**FRONTEND, "mels": 12}, start="best")
    recipe = recipe_for(sounds, *stages, keep="best")
    whole = train.fit(recipe, tmp_path / "whole", cache=cache)

    def interrupt(kind, row):
        if kind == "step" and row["done"] < row["total"]:
            signal.raise_signal(signal.SIGINT)

    for _ in range(whole["steps"]):
        try:
            parts = train.fit(recipe, tmp_path / "parts", cache=cache, tell=interrupt)
        except train.Interrupted:
            continue
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    assert {name: parts[name] for name in ("kept", "peeks", "valid")} == {
        name: whole[name] for name in ("kept", "peeks", "valid")
    }


def test_choosing_on_the_test_fold_is_counted_and_said_and_stays_said(sounds, cache, tmp_path, monkeypatch):
    recipe = recipe_for(sounds, stage(3), keep="best", select="test", split={"fold": 1})
    scripted(monkeypatch, 0.5, 1.0, 0.5, part="test")
    result = train.fit(recipe, tmp_path / "run", cache=cache)
    assert (result["selected"], result["kept"], result["openings"], result["peeks"]) == ("test", 2, 3, 0)
    evaluated = evaluate.final(tmp_path / "run", cache=cache)
    assert (evaluated["selected"], evaluated["openings"]) == ("test", 4)
    assert f"  {words.CHOSEN}" in words.scored(evaluated).splitlines()
    assert f"  {words.CHOSEN}" in words.finished(result).splitlines()
    page = report([tmp_path / "run"], tmp_path / "page.html").read_text()
    assert "<strong>chosen on the test</strong>" in page
    assert "nothing was chosen by it" not in page
    again = recipe_for(sounds, stage(1), start=str(tmp_path / "run"), keep="best")
    assert selected(again) == "test"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text(json.dumps({}))
    assert selected(recipe_for(sounds, stage(1), start=str(tmp_path / "other"))) == "none"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": {"fold": 1}}, 'set split.valid to a fold, or "next"'),
        ({"split": {"valid": 1}, "select": "test"}, "set split.fold to a fold"),
        ({"watch": 0}, "set watch to 1"),
    ],
)
def test_nothing_to_choose_by_is_refused_before_work(sounds, cache, tmp_path, changes, said):
    with pytest.raises(RecipeError, match=said):
        train.fit(recipe_for(sounds, stage(1), keep="best", **changes), tmp_path / "run", cache=cache)
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_nothing_to_choose_is_refused(sounds):
    with pytest.raises(RecipeError, match=r"the first stage has none before it"):
        recipe_for(sounds, stage(1, start="best"))
    with pytest.raises(RecipeError, match=r'select = "test" has nothing to choose'):
        recipe_for(sounds, stage(1), select="test")


def test_looks_are_as_many_as_asked_and_one_at_the_end_of_a_stage_that_is_chosen_from(sounds, cache, tmp_path):
    recipe = recipe_for(sounds, stage(3), stage(1, start="best"), watch=2)
    result = train.fit(recipe, tmp_path / "run", cache=cache)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if "valid_accuracy" in row] == [2, 3, 4]
    assert result["peeks"] == 4


def test_where_the_test_fold_chooses_the_end_of_a_stage_asks_for_no_look_at_validation(sounds, cache, tmp_path):
    recipe = recipe_for(sounds, stage(1), stage(1, start="best"), watch=2, select="test")
    assert train.fit(recipe, tmp_path / "run", cache=cache)["openings"] == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [(row["epoch"], "test_accuracy" in row, "valid_accuracy" in row) for row in rows] == [
        (1, True, False),
        (2, False, True),
    ]


@pytest.mark.parametrize("objective", ["npid", "contrastive"])
def test_an_encoders_best_epoch_is_that_of_its_neighbors_and_survives_a_stop_in_the_second_stage(
    sounds, cache, tmp_path, objective
):
    """Bank, projection and head belong to the epoch that is gone back to."""
    finer = stage(2, frontend={**FRONTEND, "mels": 12}, start="best")
    views = [{"name": "noise", "sigma": 0.1}]
    recipe = recipe_for(sounds, stage(2), finer, objective=objective, views=views, keep="best", batch=4)
    whole = train.fit(recipe, tmp_path / "whole", cache=cache)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    scores = {row["epoch"]: row["valid_knn_accuracy"] for row in rows if row["stage"] == 1}
    assert whole["kept"] == max(scores, key=scores.get)
    assert whole["valid"]["valid_knn_accuracy"] == scores[whole["kept"]]

    def interrupt(kind, row):
        if kind == "step" and row["done"] == whole["steps"] - 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(train.Interrupted):
        train.fit(recipe, tmp_path / "parts", cache=cache, tell=interrupt)
    parts = train.fit(recipe, tmp_path / "parts", cache=cache)
    assert parts["kept"] == whole["kept"]
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    memory = [checkpoint.load(tmp_path / run / "memory")[0] for run in ("parts", "whole")]
    assert same(*memory)


def test_few_labels_leave_the_validation_part_whole(sounds, cache, tmp_path):
    split = {"fold": 1, "valid": "next", "few": 1}
    result = train.fit(recipe_for(sounds, stage(2), keep="best", split=split), tmp_path / "run", cache=cache)
    assert json.loads((tmp_path / "run" / "data.json").read_text())["clips"] == {"train": 2, "valid": 4, "test": 4}
    assert result["selected"] == "valid"
