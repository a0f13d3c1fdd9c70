"""Every recipe that is shipped: read, assembled on silence, and one step of each combination that is in use."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from ossicle import assemble, cli, optimizers, options, recipe, schedules, train
from ossicle.data.loader import Batch
from ossicle.data.manifest import Clip, Manifest
from ossicle.draw import Draw
from ossicle.objectives.distill import Lesson

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


def opening(path):
    lines = path.read_text().splitlines()
    return "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])


def commands(path):
    """The words of each `ossicle ...` in a recipe's head, without the first."""
    text = opening(path).replace("\\\n#", "")
    return [shlex.split(line)[2:] for line in text.splitlines() if line.startswith("#   ossicle ")]


def folders(command, recipes):
    """Where a command writes models: its folder and, of a recipe with variants, those of each below it."""
    out = command[command.index("-o") + 1] if "-o" in command else f"runs/{Path(command[1]).stem}"
    variants = recipe.load(recipes / Path(command[1]).name).variants if command[0] == "run" else ()
    return {out.partition("/fold")[0], *(f"{out}/{variant['name']}" for variant in variants)}


def ways(read):
    """A recipe's variants as recipes of their own; itself, where it has none."""
    return [read.override({"variants": [], **variant}) for variant in read.variants or ({},)]


def narrow(read):
    """The same with few channels where a network is too large for a quick test: shapes differ in D alone."""
    events = "events" in read.encoder.args
    large = events or read.encoder.name == "densenet" or read.encoder.args.get("depth", 0) > 18
    small = {"encoder.width": 4} if large else {}
    small |= {"encoder.events.width": 1 / 32} if events else {}
    small |= {"encoder.width": 1 / 32} if read.encoder.name == "vggish" else {}
    return read.override(small | ({"encoder.queries": 16} if read.encoder.name == "cmam" else {}))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_command_and_a_number_or_where_it_stands(path):
    assert f"ossicle run recipes/{path.name}" in opening(path)
    stands = r"\d+(\.\d)? %|[Cc]urve only|benchmarks/results/|recipes/[\w-]+\.toml"
    assert re.search(stands, opening(path).replace(path.name, "").replace("\n#", ""))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_commands_in_a_recipes_head_are_understood_and_what_they_set_can_be_set(path):
    for command in commands(path):
        _, bound, *_ = cli.app.parse_args(command, exit_on_error=False, print_error=False)
        if command[0] == "run":
            read = recipe.load(path.parent / bound.arguments["recipe"].name)
            assert ways(read.override(bound.arguments.get("learning", options.USUAL).changes()))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_a_recipe_starts_from_is_made_by_a_command_in_some_recipes_head(path):
    made = {place for each in RECIPES for command in commands(each) for place in folders(command, each.parent)}
    begun = {way.start for way in ways(recipe.load(path)) if way.start}
    taught = {name for way in ways(recipe.load(path)) for name in way.objective.args.get("teachers", ())}
    assert {place.partition("/fold")[0] for place in begun | taught} <= made


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_and_its_variants_assemble_on_silence(path):
    read = recipe.load(path)
    told = []
    for way in ways(read):
        assemble.rehearse(narrow(way), lambda kind, row: told.append(row))
    assert len(told) == sum(len(way.stages) for way in ways(read))
    assert all(row["feature"][0] == 2 for row in told)


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_assembles_at_its_full_width(path):
    told = []
    for way in {str(way.encoder): way for way in ways(recipe.load(path))}.values():
        assemble.rehearse(way, lambda kind, row: told.append(row))
    assert all(len(row["image"]) == 5 for row in told)


def combinations():
    """(front end, encoder, objective) of every recipe and variant, once each."""
    found = {}
    for path in RECIPES:
        for way in ways(recipe.load(path)):
            found.setdefault((way.frontend.name, way.encoder.name, way.objective.name), way)
    return found


@pytest.mark.parametrize("names", combinations(), ids="-".join)
def test_one_step_of_every_combination_in_use_learns_something(names):
    read = narrow(combinations()[names]).override({"start": None})
    if read.objective.args.get("negatives"):
        read = read.override({"objective.negatives": 2})
    clips = [Clip(Path(f"{n}.wav"), f"{n}.wav", labels=("ab"[n % 2],)) for n in range(4)]
    teachers = read.objective.args.get("teachers", ())
    lesson = Lesson(("a", "b"), False, torch.full((len(teachers), 4, 2), 0.5)) if teachers else None
    objective = assemble.objective(read, Manifest.of("made up", clips), lesson=lesson)
    window = objective.model.window
    rows = torch.arange(4)
    keys = np.array([clip.key for clip in clips], np.uint64)
    wave = torch.randn(4, objective.model.channels, window, generator=torch.Generator().manual_seed(0)) * 0.1
    others = wave.roll(1, 0)[:, None].expand(-1, objective.others, -1, -1) if getattr(objective, "others", 0) else None
    batch = Batch(wave, torch.full((4,), window), rows % 2, rows, keys, rows >= 0, others)
    stage, before = read.stages[0], [p.detach().clone() for p in objective.parameters()]
    optimizer = read.optimizer.build(optimizers.OPTIMIZERS, parts=[(objective.children(), stage.body)], lr=stage.lr)
    pace = stage.schedule.build(schedules.SCHEDULES, step=0, steps=stage.epochs, epochs=stage.epochs)
    optimizers.set_pace(optimizer, stage.lr * pace.rate, pace.momentum)
    loss = objective(batch, Draw(0, 0, keys))["loss"]
    loss.backward()
    gradients = [p.grad for p in objective.parameters() if p.requires_grad]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    assert any(bool(g.abs().sum() > 0) for g in gradients)
    optimizer.step()
    assert any(not torch.equal(old, new) for old, new in zip(before, objective.parameters(), strict=True))


@pytest.mark.slow
def test_pretraining_and_curves_of_dls_in_small(tmp_path):
    """All but sound, width, precision and number of epochs as the recipes have it, from the first step to the curve."""
    sound = {"name": "synthetic", "path": str(tmp_path / "sounds"), "per_class": 5}
    small = {"data": sound, "frontend.seconds": 0.5, "stages.0.epochs": 2, "precision": "fp32"}
    before = {"objective.negatives": 16, "batch": 16}
    read = narrow(recipe.load(RECIPES[0].parent / "dls-pretrain.toml")).override(small | before)
    pretrained = train.fit(read, tmp_path / "pre")
    read = ways(narrow(recipe.load(RECIPES[0].parent / "dls-esc10.toml")).override(small))[1]
    result = train.fit(read.override({"start": str(tmp_path / "pre")}), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert pretrained["clips"] == 2 * 50 > result["clips"] > 0
    assert (result["pretraining"], result["openings"]) == ("transductive", 2)
    assert all(0 <= row["test_accuracy"] <= 1 for row in rows)
