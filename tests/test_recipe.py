import pytest

from ossicle import recipe
from ossicle.recipe import Recipe, RecipeError, Spec, Split, Stage

TREE = {
    "data": {"name": "esc10", "path": "there"},
    "frontend": "logmel",
    "encoder": {"name": "resnet", "depth": 18},
    "objective": "npid",
    "stages": [{"epochs": 2, "lr": 1e-3}, {"epochs": 1, "schedule": {"name": "steps", "at": [0.5]}}],
}


def test_what_is_written_is_read_back():
    read = recipe.from_dict(TREE)
    assert recipe.from_dict(recipe.to_dict(read)) == read
    assert read.encoder == Spec("resnet", {"depth": 18})
    assert read.stages[0] == Stage(2, 1e-3)
    assert read.split == Split()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encodr": "resnet"}, "no key 'encodr'.*Did you mean 'encoder'"),
        ({"stages": [{"epochs": 2, "lr": "1e-3"}]}, r"stages\[0\]\.lr is the text '1e-3'; wanted: a number"),
        ({"stages": [{"epochs": 2.5}]}, r"stages\[0\]\.epochs is 2.5; wanted: a whole number"),
        ({"stages": [{"epochs": True}]}, "wanted: a whole number"),
        ({"stages": []}, "at least one stage"),
        ({"stages": [{"epochs": 0}]}, "at least one epoch"),
        ({"stages": [{"lr": 0.1}]}, r"stages\[0\] lacks epochs"),
        ({"batch": 1}, "at least 2 clips"),
        ({"policy": "wrap"}, "policy is the text 'wrap'; wanted: one of repeat, zero"),
        ({"split": {"valid": "last"}}, "wanted: one of next"),
        ({"encoder": {"depth": 18}}, "wanted: a name, or a table with one"),
        ({"views": "noise"}, "wanted: a list"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_row_62_a_recipe_that_is_wrong_is_refused_with_what_was_wanted(change, says):
    with pytest.raises(RecipeError, match=says):
        recipe.from_dict(TREE | change)


def test_row_62_in_a_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'data = "esc10"\nfrontend = "logmel"\nencoder = "resnet"\nobjective = "npid"\nstages = [{epochs = 1}]\n'
    )
    assert recipe.load(file).name == "mine"
    file.write_text("data = \n")
    with pytest.raises(RecipeError, match=r"mine\.toml is not valid TOML"):
        recipe.load(file)
    with pytest.raises(RecipeError, match="cannot be read"):
        recipe.load(tmp_path / "none.toml")


def test_build_names_what_is_known():
    table = {"logmel": lambda *, mels=64, sample_rate: (mels, sample_rate), "bands": dict}
    assert Spec("logmel", {"mels": 8}).build(table, sample_rate=16000, unasked=1) == (8, 16000)
    with pytest.raises(
        RecipeError, match=r"unknown component 'logmell'; known: logmel, bands\. Did you mean 'logmel'\?"
    ):
        Spec("logmell").build(table)
    with pytest.raises(RecipeError, match=r"'logmel' has no argument 'mel'; it takes: mels.*Did you mean 'mels'"):
        Spec("logmel", {"mel": 8}).build(table, sample_rate=16000)
    with pytest.raises(RecipeError, match="cannot be built"):
        Spec("logmel").build(table)


def test_override_by_dotted_key():
    base = recipe.from_dict(TREE)
    varied = base.override({"variants": [{"name": "one", "stages": [{"epochs": 1}]}, {"name": "two"}]})
    named = varied.override({"variants.1.stages.0.lr": 0.5, "variants.0.stages.0.lr": 0.25, "variants.0.name": "1st"})
    assert named.variants == (
        {"name": "1st", "stages": [{"epochs": 1}], "stages.0.lr": 0.25},
        {"name": "two", "stages.0.lr": 0.5},
    )
    changed = base.override({"name": "ignored", "encoder.width": 32, "stages.1.epochs": 7, "seed": 4})
    assert changed.encoder.args == {"depth": 18, "width": 32}
    assert (changed.stages[1].epochs, changed.seed, changed.name) == (7, 4, base.name)
    assert base.encoder.args == {"depth": 18}
    with pytest.raises(RecipeError, match=r"called 'stages\.9\.epochs'"):
        base.override({"stages.9.epochs": 7})


def test_start_takes_the_fold():
    base = recipe.from_dict(TREE | {"start": "runs/pre/fold{fold}", "split": {"fold": 3}})
    assert base.base_start == "runs/pre/fold3"
    assert isinstance(base, Recipe)
