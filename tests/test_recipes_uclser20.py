"""The recipes of contrastive learning as published, followed for an epoch on made-up FSDnoisy18k and FSD50K."""

import json
import runpy
from pathlib import Path

import pytest

from ossicle import checkpoint, evaluate, recipe, train
from ossicle.data.cache import Cache
from ossicle.layouts import PATCH

TESTS = Path(__file__).parent
RECIPES = sorted((TESTS.parent / "recipes").glob("uclser20-*.toml"))
ENCODERS = ("ResNet-18", "VGG", "CRNN")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Made-up releases, seven clips of each label and portion (one of which is 15 %), and room for runs."""
    root, made = tmp_path_factory.mktemp("uclser20"), runpy.run_path(str(TESTS / "datasets" / "test_fsd.py"))
    return made["noisy"](root / "noisy", 7, test=1).parent, made["many"](root / "many"), Cache(root / "cache")


def ways(name, place):
    """A recipe's variants by name, all but their width, length, precision and place as they are."""
    read = recipe.load(TESTS.parent / "recipes" / f"uclser20-{name}.toml")
    path = place[1] if read.data.name == "fsd50k" else place[0] / "noisy"
    small = {"data.path": str(path), "stages.0.epochs": 1, "stretch": min(read.stretch, 1.5), "precision": "fp32"}
    found = {way["name"]: read.override({"variants": [], **way} | small) for way in read.variants}
    return {name: way.override({"encoder.width": 8, "batch": 16}) for name, way in found.items()}


def follow(way, place, folder, start=None):
    return train.fit(way.override({"start": start and str(start)}), folder, cache=place[2])


@pytest.fixture(scope="module")
def pretrained(place):
    """A folder for each encoder."""
    folders = {name: place[0] / "pre" / name for name in ENCODERS}
    for name, way in ways("pretrain", place).items():
        follow(way, place, folders[name])
    return folders


def weights(folder):
    return checkpoint.load(folder / "model")[0]


def encoder(folder):
    return {name[name.index("encoder.") :]: value for name, value in weights(folder).items() if "encoder." in name}


def test_every_number_of_pretraining_is_the_published_one():
    read = recipe.load(RECIPES[-1])
    assert RECIPES[-1].stem == "uclser20-pretrain"
    assert {**read.frontend.args} == {**PATCH.args}
    assert [view.name for view in read.views] == ["crop", "mixback", "random_resized_crop", "compression", "noise"]
    (stage,) = read.stages
    at = [share * stage.epochs for share in stage.schedule.args["at"]]
    assert (stage.epochs, stage.lr, at, read.batch) == (500, 0.03, [325, 425], 128)
    assert read.objective.args["temperature"] == 0.2
    assert {(each.optimizer.name, each.optimizer.args["weight_decay"]) for each in map(recipe.load, RECIPES)} == {
        ("sgd", 1e-4)
    }


@pytest.mark.parametrize("task", ["noisy", "clean", "fsd50k"])
def test_every_number_of_the_tasks_is_the_published_one(task):
    read = recipe.load(TESTS.parent / "recipes" / f"uclser20-{task}.toml")
    assert read.frontend == recipe.load(RECIPES[-1]).frontend
    found = {way["name"]: read.override({"variants": [], **way}) for way in read.variants}
    assert len(found) == 9
    for name, way in found.items():
        (stage,) = way.stages
        assert (stage.epochs, [share * 200 for share in stage.schedule.args["at"]], way.batch) == (200, [80, 160], 128)
        linear, tuned = name.endswith("linear"), name.endswith("fine-tuned")
        assert (stage.frozen, bool(way.start)) == (linear, linear or tuned)
        assert stage.lr == (0.1 if linear else 0.01 if tuned else 0.03)
        assert (way.start or name).count(name.removesuffix("-linear").removesuffix("-fine-tuned")) == 1


@pytest.mark.parametrize("name", ENCODERS)
def test_pretraining_hears_the_noisy_part_and_is_asked_about_the_clean_one(place, pretrained, name):
    result = json.loads((pretrained[name] / "result.json").read_text())
    data = json.loads((pretrained[name] / "data.json").read_text())
    assert data["clips"] == {"train": 42, "valid": 21, "test": 3}
    assert (result["clips"], result["openings"], result["pretraining"]) == (42, 0, "none")
    assert 0 <= result["valid"]["valid_knn_class_accuracy"] <= 1


@pytest.mark.parametrize("name", ENCODERS)
def test_the_linear_layer_learns_above_an_encoder_that_stays_as_it_is(place, pretrained, tmp_path, name):
    result = follow(ways("clean", place)[f"{name}-linear"], place, tmp_path / "run", pretrained[name])
    before, after = encoder(pretrained[name]), encoder(tmp_path / "run")
    assert before.keys() == after.keys()
    assert any("running_mean" in key for key in before)
    assert all((before[key] == after[key]).all() for key in before)
    scored = evaluate.final(tmp_path / "run", cache=place[2])
    assert (result["clips"], result["pretraining"], scored["clips"]) == (18, "inductive", 3)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["noisy", "clean"])
def test_every_row_of_the_tasks_is_trained_and_scored(place, pretrained, tmp_path, task):
    for name, way in ways(task, place).items():
        start = way.start and pretrained[Path(way.start).parent.name]
        result = follow(way, place, tmp_path / name, start)
        assert result["pretraining"] == ("inductive" if start else "none")
        assert 0 <= evaluate.final(tmp_path / name, cache=place[2])["class_accuracy"] <= 1


@pytest.mark.slow
def test_every_ablation_is_trained_and_asked(place, tmp_path):
    for name, way in ways("ablations", place).items():
        assert 0 <= follow(way, place, tmp_path / name)["valid"]["valid_knn_accuracy"] <= 1


@pytest.mark.slow
def test_several_labels_a_clip_are_scored_by_map(place, tmp_path):
    data = {"data": {"name": "fsd50k", "path": str(place[1])}}
    for name, way in ways("pretrain", place).items():
        assert 0 <= follow(way.override(data), place, tmp_path / name)["valid"]["valid_knn_mAP"] <= 1
    for name, way in ways("fsd50k", place).items():
        start = way.start and tmp_path / Path(way.start).parent.name
        follow(way, place, tmp_path / f"{name} task", start)
        assert 0 <= evaluate.final(tmp_path / f"{name} task", cache=place[2])["mAP"] <= 1
