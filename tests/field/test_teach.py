"""A run that is taught new clips, by few epochs; and its pretraining, by those without a label."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from ossicle import evaluate, train
from ossicle.data.cache import Cache
from ossicle.data.manifest import Manifest
from ossicle.datasets import load as sounds_in
from ossicle.field.teach import listed, teach
from ossicle.model import load
from ossicle.recipe import from_dict
from ossicle.run import Run, RunError
from ossicle.stops import Interrupted

RATE = 8000
QUICK = {"stages.0.lr": 1e-2, "stages.0.body": 0.3}
HERTZ = {"low": 300, "high": 2000, "owl": 900}


def tone(path, label, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *map(ord, label)])
    wave = 0.3 * np.sin(2 * np.pi * HERTZ[label] * rng.uniform(0.97, 1.03) * np.arange(RATE // 4) / RATE)
    soundfile.write(path, wave + 0.03 * rng.standard_normal(len(wave)), RATE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with sounds of two classes in three folds, a pretraining `pre`, and `rec` that came from it."""
    root = tmp_path_factory.mktemp("place")
    rows = ["filename,fold,label,group"]
    for number in range(18):
        label = ("low", "high")[number % 2]
        tone(root / "old" / f"{number}.wav", label, number)
        rows.append(f"{number}.wav,{number // 2 % 3 + 1},{label},{number}")
    (root / "old" / "clips.csv").write_text("\n".join(rows) + "\n")
    tree = {
        "data": {"name": "csv", "path": str(root / "old" / "clips.csv")},
        "split": {"fold": 1, "valid": 2},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.2, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "small", "width": 4, "attention": 8},
        "objective": {"name": "npid", "dim": 8},
        "views": ["roll"],
        "stages": [{"epochs": 1, "lr": 1e-2}],
        "batch": 4,
        "watch": 0,
        "precision": "fp32",
    }
    cache = Cache(root / "cache")
    train.fit(from_dict(tree), root / "pre", cache=cache)
    stages = {"objective": "supervised", "start": str(root / "pre"), "stages": [{"epochs": 8, "lr": 1e-2}]}
    train.fit(from_dict(tree | stages), root / "rec", cache=cache)
    return root, cache


def new(folder, count=3, label="owl", seed=100):
    for number in range(count):
        tone(folder / label / f"{number}.wav", label, seed + number)
    return folder


@pytest.fixture(scope="module")
def taught(place):
    root, cache = place
    return teach(root / "rec", new(root / "new"), out=root / "rec-2", epochs=8, changes=QUICK, cache=cache)


def test_a_new_class_is_told_and_the_old_ones_still_are(place, taught, tmp_path):
    _, cache = place
    assert (taught.clips, taught.new, taught.unlabelled, taught.pretraining) == ({"owl": 3}, ("owl",), 0, None)
    assert load(taught.folder).labels == ("high", "low", "owl")
    assert evaluate.final(taught.folder, cache=cache)["accuracy"] == 1.0
    later = sounds_in(new(tmp_path / "later", 4, seed=900))
    assert evaluate.final(taught.folder, later, cache)["accuracy"] == 1.0


def test_it_begins_from_the_runs_own_weights_and_rows(place, taught):
    root, _ = place
    recipe = from_dict(Run.open(taught.folder).recipe)
    assert (recipe.start, recipe.objective.args["head"]) == (str(root / "rec"), str(taught.folder / "head"))
    before, first, after = load(root / "rec"), load(taught.folder / "head"), load(taught.folder)
    assert all(torch.equal(first.backbone.state_dict()[k], v) for k, v in before.backbone.state_dict().items())
    known = [first.labels.index(label) for label in (*before.labels, "owl")]
    held, rows = (each.head.weight.detach() for each in (first, after))
    assert 0 < float((rows - held).norm()) < 0.5 * float(held.norm())
    assert known == [0, 1, 2]
    assert torch.equal(after.backbone.mean, before.backbone.mean)
    assert taught.result["pretraining"] == "inductive"
    heard = json.loads((taught.folder / "heard.json").read_text())
    assert len(heard) == len(json.loads((root / "rec" / "heard.json").read_text())) + 3


def test_its_recipe_can_be_followed_by_itself(place, taught, tmp_path):
    _, cache = place
    recipe = from_dict(Run.open(taught.folder).recipe)
    train.fit(recipe, tmp_path / "again", cache=cache)
    one, other = (load(folder).state_dict() for folder in (taught.folder, tmp_path / "again"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_one_that_was_stopped_goes_on_by_the_same_command(place, taught, tmp_path):
    root, cache = place

    def stop(kind, row):
        if kind == "step" and row["done"] == 3:
            raise KeyboardInterrupt

    how = {"out": tmp_path / "rec-2", "epochs": 8, "changes": QUICK, "cache": cache}
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        teach(root / "rec", root / "new", **how, tell=stop)
    again = teach(root / "rec", root / "new", **how)
    one, other = (load(folder).state_dict() for folder in (taught.folder, again.folder))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert teach(root / "rec", root / "new", **how).result == again.result, "done is done"


def test_a_folder_that_was_taught_other_clips_is_refused(place, taught, tmp_path):
    root, cache = place
    with pytest.raises(RunError, match="rec-2 was taught other clips than these: choose another folder"):
        teach(root / "rec", new(tmp_path / "other", seed=500), out=taught.folder, epochs=8, cache=cache)
    assert Run.open(taught.folder).data["clips"]["train"] > 6
    assert not list(taught.folder.glob("*.new"))


def test_clips_without_a_label_join_the_pretraining(place, tmp_path):
    root, cache = place
    for number in range(3):
        tone(tmp_path / "new" / f"{number}.wav", "owl", 300 + number)
    found = teach(root / "rec", tmp_path / "new", out=tmp_path / "rec-3", epochs=1, cache=cache)
    assert (found.clips, found.new, found.unlabelled) == ({}, (), 3)
    onward, run = Run.open(found.pretraining), Run.open(found.folder)
    assert (onward.recipe["start"], onward.data["clips"]["train"]) == (str(root / "pre"), 3)
    assert run.recipe["start"] == str(found.pretraining) == f"{tmp_path}/rec-3-pretraining"
    assert run.recipe["objective"]["head"] == str(root / "rec"), "no label is new"
    assert load(found.folder).labels == load(root / "rec").labels
    assert run.data["clips"] == Run.open(root / "rec").data["clips"]
    more = teach(found.folder, new(tmp_path / "owls", 2), out=tmp_path / "rec-4", epochs=1, cache=cache)
    assert more.new == ("owl",), "what was taught can be taught more"


def test_what_cannot_be_taught_is_refused(place, tmp_path):
    root, cache = place
    with pytest.raises(RunError, match=r"pre is an encoder, which knows no classes: ossicle train DATA --from .*pre"):
        teach(root / "pre", root / "old", out=tmp_path / "x", cache=cache)
    with pytest.raises(RunError, match=r"nothing to learn for .*rec: left out 12 new clips: held out.*6 new clips: kn"):
        teach(root / "rec", root / "old" / "clips.csv", out=tmp_path / "x", cache=cache)
    tone(tmp_path / "one" / "a.wav", "owl", 1)
    with pytest.raises(RunError, match="1 new clip without a label: pretraining tells clips apart, which takes 2"):
        teach(root / "rec", tmp_path / "one", out=tmp_path / "x", cache=cache)
    shutil.copytree(root / "rec", tmp_path / "bare")
    tree = json.loads((tmp_path / "bare" / "recipe.json").read_text())
    (tmp_path / "bare" / "recipe.json").write_text(json.dumps(tree | {"start": None}))
    tone(tmp_path / "one" / "b.wav", "owl", 2)
    with pytest.raises(RunError, match=r"2 new clips without a label: .*bare did not come from a pretraining here"):
        teach(tmp_path / "bare", tmp_path / "one", out=tmp_path / "x", cache=cache)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("name", "why"), [("notes.txt", "not empty and is no run"), ("recipe.json", "taught nothing")])
def test_a_folder_of_something_else_is_left_as_it_is(tmp_path, name, why):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match=f"{why}.*hoose another folder"):
        listed(Manifest.of("new", ()), tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == [name]
