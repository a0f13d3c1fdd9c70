"""Every recipe that is shipped: read, assembled on silence, and one step of each combination that is in use."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ossicle import assemble, recipe
from ossicle.data.loader import Batch
from ossicle.data.manifest import Clip, Manifest
from ossicle.draw import Draw
from ossicle.objectives import OBJECTIVES

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


def opening(path):
    lines = path.read_text().splitlines()
    return "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_command_and_a_number_or_where_it_stands(path):
    assert f"ossicle run recipes/{path.name}" in opening(path)
    assert re.search(r"\d+(\.\d)? %|benchmarks/results/|recipes/[\w-]+\.toml", opening(path).replace(path.name, ""))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_and_its_variants_assemble_on_silence(path):
    read = recipe.load(path)
    told = []
    for variant in read.variants or ({},):
        assemble.rehearse(read.override({"variants": [], **variant}), lambda kind, row: told.append(row))
    assert len(told) == len(read.stages) * max(1, len(read.variants))
    assert all(row["feature"][0] == 2 for row in told)


def combinations():
    """(front end, encoder, objective) of every recipe, once each."""
    found = {}
    for path in RECIPES:
        read = recipe.load(path)
        found.setdefault((read.frontend.name, read.encoder.name, read.objective.name), read)
    return found


@pytest.mark.parametrize("names", combinations(), ids="-".join)
def test_one_step_of_every_combination_in_use_learns_something(names):
    read = combinations()[names].override({"start": None, "variants": []})
    clips = [Clip(Path(f"{n}.wav"), f"{n}.wav", labels=("ab"[n % 2],)) for n in range(4)]
    objective = assemble.objective(read, Manifest.of("made up", clips))
    window = objective.model.window
    rows = torch.arange(4)
    keys = np.array([clip.key for clip in clips], np.uint64)
    wave = torch.randn(4, 1, window, generator=torch.Generator().manual_seed(0)) * 0.1
    batch = Batch(wave, torch.full((4,), window), rows % 2, rows, keys, rows >= 0)
    loss = objective(batch, Draw(0, 0, keys))["loss"]
    loss.backward()
    gradients = [p.grad for p in objective.parameters() if p.requires_grad]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    assert any(bool(g.abs().sum() > 0) for g in gradients)
    assert names[2] in OBJECTIVES
