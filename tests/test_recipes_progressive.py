"""The recipes of progressive training: every number of the paper's tables, and all stages on made-up releases."""

import csv
import json
import statistics
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import assemble, evaluate, recipe, train
from ossicle.data.cache import Cache
from ossicle.datasets import esc, urbansound8k
from ossicle.frontends import FRONTENDS

RECIPES = Path(__file__).parents[1] / "recipes"
SETS = ("esc50", "urbansound8k")
WAYS = ("baseline", "mel", "resize")
SIZES = {"mel": [(64, 128), (96, 214), (128, 300)], "resize": [(64, 128), (96, 214), (128, 300)]}
RATES = {  # table 1: of the baseline, then of both others at each resolution
    "urbansound8k": ([1e-2, 5e-6, 1e-6], [1e-2, 1e-3, 5e-3, 5e-6, 5e-3, 5e-6]),
    "esc50": ([5e-3, 1e-4, 1e-6], [5e-3, 5e-4, 5e-3, 5e-6, 5e-3, 5e-6]),
}
EPOCHS = [20, 50, 120], [20, 20, 20, 20, 20, 70]


def ways(name):
    read = recipe.load(RECIPES / f"progressive-{name}.toml")
    return {way["name"]: read.override({"variants": [], **way}) for way in read.variants}


@pytest.mark.parametrize("name", SETS)
def test_every_rate_and_epoch_is_that_of_table_1(name):
    found = ways(name)
    assert tuple(found) == WAYS
    for way, read in found.items():
        staged = way != "baseline"
        assert [stage.lr for stage in read.stages] == RATES[name][staged]
        assert [stage.epochs for stage in read.stages] == EPOCHS[staged]
        assert [stage.body for stage in read.stages] == [1, 0.3333] * 3 if staged else [1, 0.3333, 0.3333]
        assert [stage.start for stage in read.stages] == ["last", *["best"] * (len(read.stages) - 1)]
        assert {(stage.schedule.name, *stage.schedule.args) for stage in read.stages} == {("one_cycle",)}
        assert (read.optimizer.name, read.optimizer.args["weight_decay"], read.encoder.args["depth"]) == (
            "adamw",
            0.1,
            34,
        )
        assert (read.keep, read.select, read.split.valid) == ("best", "valid", "next")


@pytest.mark.parametrize("name", SETS)
def test_what_is_expected_is_the_sum_of_its_splits(name):
    """Tables 2 and 3 cut numbers off after two digits, of percent."""
    for read in ways(name).values():
        splits = read.expect["splits"]
        assert len(splits) == (5 if name == "esc50" else 10)
        assert statistics.mean(splits) == pytest.approx(read.expect["accuracy"], abs=1.1e-4)
        assert statistics.stdev(splits) == pytest.approx(read.expect["sd"], abs=1.1e-4)


@pytest.mark.parametrize("name", SETS)
def test_stages_grow_and_end_as_the_baseline_hears(name):
    """The mel way has fewer filters and less time, the other the same image smaller; 22,000 / 256 frames a second."""
    found = ways(name)
    for way, sizes in SIZES.items():
        read = found[way]
        specs = [stage.frontend for stage in read.stages]
        assert [spec is None for spec in specs] == [False, True] * 3
        heard = [spec.build(FRONTENDS) for spec in specs[::2]]
        assert [(each.bins, each.frames(0)) for each in heard] == sizes
        assert specs[4] == read.frontend == found["baseline"].frontend
        assert {spec.name for spec in specs[:4:2]} == {"clipmel" if way == "mel" else "resized"}
        assert all(each.sample_rate == 22000 and each.seconds == heard[-1].seconds for each in heard)
    assert [int(seconds * 22000 / 256) for seconds in (1.5, 2.5, 3.5)] == [128, 214, 300]


def released(root, name):
    """A made-up release: three folds of two recordings of two classes, a second at most, which tell by their pitch."""
    module = esc if name == "esc50" else urbansound8k
    rows = []
    for fold, target, take in ((fold, target, take) for fold in (1, 2, 3) for target in (0, 1) for take in (0, 1)):
        number = 1000 + 100 * fold + 10 * target + take
        if name == "esc50":
            file = f"{fold}-{number}-A-{target}.wav"
            place, row = root / "audio" / file, (file, fold, target, ("dog", "rooster")[target], "True", number, "A")
        else:
            file = f"{number}-{target}-0-0.wav"
            place = root / "audio" / f"fold{fold}" / file
            row = (file, number, 0.0, 0.8, 1, fold, target, module.CLASSES[target])
        time = np.arange(0, 0.5 + 0.2 * take, 1 / 22000)
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, 0.3 * np.sin(2 * np.pi * (400, 3000)[target] * time * (1 + 0.01 * fold)), 22000)
        rows.append(row)
    table = root / module.TABLE
    table.parent.mkdir()
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([module.HEADER, *rows])
    return root


def small(read, root):
    """All but epochs, depth, width, batch, precision and place as the recipe has it, from no weights."""
    epochs = {f"stages.{number}.epochs": 1 for number in range(len(read.stages))}
    place = {"data.path": str(root), "start": None, "precision": "fp32"}
    return read.override(place | epochs | {"encoder.depth": 18, "encoder.width": 4, "batch": 4})


QUICK = "urbansound8k", "resize"
EACH = [(name, way) for name in SETS for way in WAYS]


@pytest.mark.parametrize(
    ("name", "way"), [pytest.param(*one, marks=[pytest.mark.slow] * (one != QUICK)) for one in EACH]
)
def test_all_stages_are_followed_on_a_made_up_release(tmp_path, name, way):
    read, cache = small(ways(name)[way], released(tmp_path / "data", name)), Cache(tmp_path / "cache")
    told = []
    result = train.fit(read, tmp_path / "run", cache=cache, tell=lambda kind, row: told.append((kind, row)))
    shapes = [row["image"][-2:] for kind, row in told if kind == "shape"]
    assert shapes == [size for size in SIZES.get(way, []) for _ in range(2)] or shapes == [(128, 300)] * 3
    assert result["steps"] == len(read.stages)  # four clips, an epoch a stage
    assert result["selected"] == "valid"
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all("valid_accuracy" in row for row in log)
    scored = evaluate.final(tmp_path / "run", cache=cache)
    assert (scored["clips"], scored["openings"]) == (4, 1)


def test_the_pages_own_recipe_can_be_followed():
    page = (RECIPES.parent / "docs" / "progressive.md").read_text().split("\n\n")
    (block,) = (block for block in page if block.startswith("    ") and "stages = [" in block)
    tree = tomllib.loads(block) | {"data": "esc50", "encoder": "resnet", "objective": "supervised"}
    told = []
    assemble.rehearse(
        recipe.from_dict(tree).override({"encoder": {"name": "resnet", "width": 4}}), lambda _, row: told.append(row)
    )
    assert [row["image"][-2:] for row in told] == SIZES["mel"]
