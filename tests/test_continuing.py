"""A pretraining by any objective goes on with other recordings, with what it kept beside its encoder."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from ossicle import assemble, checkpoint, material, plan, train
from ossicle.data.cache import Cache
from ossicle.recipe import RecipeError, from_dict

RATE = 8000
HEAD = {"dim": 8, "hidden": 16, "apart": "recordings"}
OBJECTIVES = {
    "contrastive": {"name": "contrastive", **HEAD},
    "joint": {"name": "joint", "weight": 0.3, "npid": {"dim": 6}, "contrastive": HEAD},
}


def sounds(root, names):
    root.mkdir()
    noise = np.random.default_rng(0)
    for number, name in enumerate(names):
        tone = np.sin(2 * np.pi * 300 * (number + 1) * np.arange(RATE // 2) / RATE)
        soundfile.write(root / f"{name}.wav", 0.3 * tone + 0.05 * noise.standard_normal(len(tone)), RATE)
    return root


@pytest.fixture(scope="module", params=OBJECTIVES)
def place(request, tmp_path_factory):
    """A folder with an earlier run `pre`, other recordings in `new`, and a cache."""
    root = tmp_path_factory.mktemp("place")
    recipe = {
        "data": {"name": "folder", "path": str(sounds(root / "old", "abcdef"))},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "small", "width": 2, "attention": 8},
        "objective": OBJECTIVES[request.param],
        "views": [{"name": "patch", "frames": 20}, "mixback"],
        "stages": [{"epochs": 1, "lr": 0.1}],
        "optimizer": "sgd",
        "batch": 3,
        "precision": "fp32",
    }
    cache = Cache(root / "cache")
    train.fit(from_dict(recipe), root / "pre", cache=cache)
    sounds(root / "new", "uvwxyz")
    return request.param, root, cache


def test_it_goes_on_with_its_head_and_its_bank(place):
    name, root, cache = place
    recipe = plan.continuing(root / "new", root / "pre")
    assert (recipe.objective.name, recipe.optimizer.name, recipe.stages[0].lr) == (name, "sgd", pytest.approx(0.03))
    kept = checkpoint.load(root / "pre" / "memory")[0]
    part, notes = material.gather(recipe, cache, sample_rate=RATE).parts.train, []
    made = assemble.objective(recipe, part, lambda kind, row: notes.append(row["note"]))
    now = made.memory()
    assert now.keys() == kept.keys()
    assert all(torch.equal(now[key], value) for key, value in kept.items() if "project" in key)
    assert len(notes) == 1
    assert "pre: " in notes[0]
    assert "its projection head goes on" in notes[0]
    if name == "joint":
        assert torch.equal(now["npid.bank"][6:], kept["npid.bank"])
        assert "rows of 0 of the 6 clips" in notes[0]
        assert (recipe.objective.args["npid"], recipe.objective.args["weight"]) == ({"dim": 6, "keep": True}, 0.3)


def test_the_run_that_goes_on_is_trained_and_keeps_as_much(place):
    name, root, cache = place
    recipe = plan.continuing(root / "new", root / "pre").override({"stages.0.epochs": 1})
    train.fit(recipe, root / "more", cache=cache)
    before, after = (checkpoint.load(root / run / "memory")[0] for run in ("pre", "more"))
    head = next(key for key in before if key.endswith("project.0.weight"))
    assert 0 < float((after[head] - before[head]).norm()) < float(before[head].norm())
    assert len(after.get("npid.bank", ())) == (12 if name == "joint" else 0)


def test_pieces_of_long_recordings_are_told_apart_in_either_part(place):
    name, root, _ = place
    cut = plan.continuing(plan.data(root / "new", segment=0.2), root / "pre").objective.args
    parts = cut if name == "joint" else {"contrastive": cut}
    assert {part["apart"] for part in parts.values() if isinstance(part, dict)} == {"clips"}


def test_a_run_whose_memory_is_gone_is_refused(place, tmp_path):
    _, root, _ = place
    shutil.copytree(root / "pre", tmp_path / "pre", ignore=shutil.ignore_patterns("memory"))
    with pytest.raises(RecipeError, match="pre has no memory/, and what it remembers is gone: begin with --from"):
        plan.continuing(root / "new", tmp_path / "pre")
    tree = json.loads((tmp_path / "pre" / "recipe.json").read_text())
    (tmp_path / "pre" / "recipe.json").write_text(json.dumps(tree | {"objective": {"name": "supervised"}}))
    with pytest.raises(RecipeError, match="goes on with 'npid', 'contrastive' or 'joint'"):
        plan.continuing(root / "new", tmp_path / "pre")
