"""Tables over variants, folds and seeds: what is run, what is not run again, and what the rows say."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from ossicle import folds, material, words
from ossicle.data.cache import Cache
from ossicle.durable import read_json, write_json
from ossicle.recipe import RecipeError, from_dict
from ossicle.train import fit

RATE = 8000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two classes of six recordings each, in two folds."""
    root = tmp_path_factory.mktemp("sounds")
    chance, rows = np.random.default_rng(0), ["filename,fold,label,group"]
    for number in range(12):
        label = ("low", "high")[number % 2]
        tone = np.sin(2 * np.pi * (300 if label == "low" else 2000) * np.arange(RATE // 2) / RATE)
        soundfile.write(root / f"{number}.wav", 0.3 * tone + 0.05 * chance.standard_normal(len(tone)), RATE)
        rows.append(f"{number}.wav,{number // 6 + 1},{label},{number}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root / "clips.csv"


@pytest.fixture(scope="module")
def thirds(sounds):
    """The same in three folds."""
    table = sounds.read_text().replace(",2,", ",3,").replace("3.wav,1", "3.wav,2").replace("4.wav,1", "4.wav,2")
    sounds.with_name("thirds.csv").write_text(table)
    return sounds.with_name("thirds.csv")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


def recipe_for(sounds, objective="supervised", **changes):
    tree = {
        "data": {"name": "csv", "path": str(sounds)},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "resnet", "depth": 18, "width": 4},
        "objective": objective,
        "stages": [{"epochs": 4, "lr": 1e-2}],
        "batch": 3,
        "precision": "fp32",
    }
    return from_dict(tree | changes)


def test_cells_are_variants_by_folds_by_seeds(sounds, tmp_path):
    recipe = recipe_for(sounds, variants=[{"name": "small", "encoder.width": 4}, {"name": "wide", "encoder.width": 8}])
    cells = folds.cells(recipe, tmp_path, seeds=[0, 7])
    assert [(c.variant, c.fold, c.seed) for c in cells] == [
        (variant, fold, seed) for variant in ("small", "wide") for fold in (1, 2) for seed in (0, 7)
    ]
    assert len({c.folder for c in cells}) == 8
    wide = next(c for c in cells if c.variant == "wide" and c.fold == 2 and c.seed == 7)
    assert (wide.recipe.encoder.args["width"], wide.recipe.split.fold, wide.recipe.seed) == (8, 2, 7)
    assert wide.folder == tmp_path / "wide" / "fold2-seed7"
    assert not wide.recipe.variants
    assert [c.folder.name for c in folds.cells(recipe_for(sounds), tmp_path)] == ["fold1", "fold2"]


def test_the_fold_that_settings_are_chosen_on_is_not_tested_on(thirds, tmp_path):
    recipe = recipe_for(thirds, split={"valid": 2})
    assert [cell.fold for cell in folds.cells(recipe, tmp_path)] == [1, 3]


def test_a_table_without_a_fold_to_test_on_is_refused(thirds, tmp_path):
    (thirds.with_name("one.csv")).write_text(thirds.read_text().replace(",2,", ",1,").replace(",3,", ",1,"))
    with pytest.raises(RecipeError, match="fold 1 is all that could be tested on"):
        folds.cells(recipe_for(thirds.with_name("one.csv"), split={"valid": 1}), tmp_path)


def test_a_score_that_is_not_known_is_in_no_row(sounds, tmp_path):
    """Clips that may bear several labels, and in one fold none bears any."""
    cells = folds.cells(recipe_for(sounds), tmp_path)
    for cell, score in zip(cells, (0.5, None), strict=True):
        cell.folder.mkdir(parents=True)
        write_json(cell.folder / "result.json", {"kind": "classifier", "pretraining": "none"})
        write_json(cell.folder / "evaluation.json", {"mAP": score, "openings": 1})
    (row,) = folds.tabulate(cells)["rows"]
    assert (row["folds"], row["mAP"]) == ([1], [0.5])


def test_a_row_that_began_from_an_earlier_run_and_ends_below_the_first_warns(sounds, tmp_path):
    recipe = recipe_for(sounds, variants=[{"name": "base"}, {"name": "cmam"}, {"name": "vfm"}])
    cells = folds.cells(recipe, tmp_path, folds=[1])
    for cell, begun, score in zip(cells, ("none", "inductive", "inductive"), (0.8, 0.9, 0.7), strict=True):
        cell.folder.mkdir(parents=True)
        write_json(cell.folder / "result.json", {"kind": "classifier", "pretraining": begun, "steps": 9, "clips": 99})
        write_json(cell.folder / "evaluation.json", {"accuracy": score, "openings": 1})
    base, cmam, vfm = folds.tabulate(cells)["rows"]
    assert vfm["warning"].startswith("ends 10.0 points below base in as many steps")
    assert "warning" not in base | cmam


def test_a_table_is_run_once_and_says_what_its_cells_say(sounds, cache, tmp_path, monkeypatch):
    recipe = recipe_for(sounds, variants=[{"name": "short", "stages.0.epochs": 1}, {"name": "long"}])
    short = folds.cells(recipe, tmp_path)[0]
    folds.work(short, cache=cache)
    stamp = (short.folder / "log.jsonl").stat().st_mtime_ns
    table = folds.run(recipe, tmp_path, cache=cache, keep_models=False)
    assert (short.folder / "log.jsonl").stat().st_mtime_ns == stamp
    assert (short.folder / "model").exists()
    assert not (tmp_path / "long" / "fold1" / "model").exists()
    rows = {row["variant"]: row for row in table["rows"]}
    assert (rows["long"]["folds"], rows["long"]["runs"], rows["long"]["openings"]) == ([1, 2], 2, 1)
    for row in rows.values():
        assert row["mean"] == pytest.approx(np.mean(row["accuracy"]))
        assert row["sd"] == pytest.approx(np.std(row["accuracy"], ddof=1))
    gained = rows["long"]["against_first"]["recordings"]
    assert gained["mean"] == pytest.approx(rows["long"]["mean"] - rows["short"]["mean"])
    monkeypatch.setattr(folds, "fit", None)  # nothing is left to do
    assert folds.run(recipe, tmp_path, cache=cache) == table


def test_a_pretrainings_test_fold_is_not_opened(sounds, cache, tmp_path):
    recipe = recipe_for(sounds, "npid", stages=[{"epochs": 1}])
    assert folds.run(recipe, tmp_path, cache=cache) == {"rows": []}
    assert (tmp_path / "fold2" / "model").exists()
    assert not (tmp_path / "fold2" / "evaluation.json").exists()


SHORT = {"stages": [{"epochs": 1, "lr": 1e-2}], "encoder": {"name": "small", "width": 4, "attention": 8}}
"""What is not there to learn well, but to be there."""


def both_ways(row):
    """A row's numbers by 5 neighbors and by a linear probe."""
    return {"knn": row, "linear": row["linear"]}


def test_encoders_test_folds_are_opened_where_that_is_asked_for_and_once(sounds, cache, tmp_path, monkeypatch):
    recipe = recipe_for(sounds, "npid", variants=[{"name": "one"}, {"name": "two", "seed": 1}], **SHORT)
    assert folds.run(recipe, tmp_path, cache=cache) == {"rows": []}
    table = folds.run(recipe, tmp_path, cache=cache, evaluate=True)
    rows = {row["variant"]: row for row in table["rows"]}
    assert [(row["by"], row["folds"], row["openings"]) for row in rows.values()] == [("test", [1, 2], 1)] * 2
    for way in ("knn", "linear"):
        one, two = (both_ways(rows[name])[way] for name in ("one", "two"))
        assert one["measure"] == f"{way}_accuracy"
        found = [read_json(tmp_path / "one" / f"fold{fold}" / "evaluation.json") for fold in (1, 2)]
        assert one[f"{way}_accuracy"] == [
            (each if way == "knn" else each["linear_probe"])["accuracy"] for each in found
        ]
        for over in ("recordings", "folds"):
            assert two["against_first"][over]["mean"] == pytest.approx(two["mean"] - one["mean"])
        assert "against_first" not in one
    told = words.tabled(table).splitlines()
    assert told[0].startswith("one knn_accuracy  ")
    assert [line.split()[0] for line in told if not line.startswith("    ")].count("linear_accuracy") == 2
    assert told[-1] == f"    {rows['two']['linear']['against_first']['folds']['sentence']}"
    monkeypatch.setattr(folds, "fit", None)  # nothing is left to do
    monkeypatch.setattr(folds, "final", None)
    assert folds.run(recipe, tmp_path, cache=cache, evaluate=True) == table
    (tmp_path / "two" / "fold2" / "evaluation.json").unlink()
    assert folds.tabulate(folds.cells(recipe, tmp_path))["rows"][0]["folds"] == [1, 2]


def test_settings_are_chosen_on_validation_parts_and_no_test_fold_is_opened(thirds, cache, tmp_path, monkeypatch):
    recipe = recipe_for(
        thirds, split={"valid": "next"}, variants=[{"name": "one"}, {"name": "two", "seed": 1}], **SHORT
    )
    table = folds.run(recipe, tmp_path, cache=cache, evaluate=False)
    assert not list(tmp_path.rglob("evaluation.json"))
    assert [(row["by"], row["openings"]) for row in table["rows"]] == [("validation", 0)] * 2
    for row in table["rows"]:
        results = [read_json(tmp_path / row["variant"] / f"fold{fold}" / "result.json") for fold in row["folds"]]
        assert row["accuracy"] == [result["valid"]["valid_accuracy"] for result in results]
    one, two = table["rows"]
    assert two["against_first"]["folds"]["mean"] == pytest.approx(two["mean"] - one["mean"])
    with monkeypatch.context() as nothing_is_left:
        nothing_is_left.setattr(folds, "fit", None)
        assert folds.run(recipe, tmp_path, cache=cache, evaluate=False) == table
    assert [row["by"] for row in folds.run(recipe, tmp_path, cache=cache)["rows"]] == ["test", "test"]


def test_variants_of_encoders_are_compared_on_the_validation_part(thirds, cache, tmp_path):
    variants = [{"name": "one"}, {"name": "two", "seed": 1}, {"name": "bare", "split.valid": None}]
    recipe = recipe_for(thirds, "npid", split={"valid": "next"}, variants=variants, **SHORT)
    table = folds.run(recipe, tmp_path, cache=cache)
    rows = {row["variant"]: row for row in table["rows"]}
    assert [(name, row["by"], row["openings"]) for name, row in rows.items()] == [
        ("one", "validation", 0),
        ("two", "validation", 0),
    ]
    for way in ("knn", "linear"):
        one, two = (both_ways(rows[name])[way] for name in ("one", "two"))
        valid = [read_json(tmp_path / "one" / f"fold{fold}" / "result.json")["valid"] for fold in (1, 2, 3)]
        assert one[f"{way}_accuracy"] == [each[f"valid_{way}_accuracy"] for each in valid]
        for over in ("recordings", "folds"):
            assert two["against_first"][over]["mean"] == pytest.approx(two["mean"] - one["mean"])
    (tmp_path / "one" / "fold2" / "predictions-valid.csv").unlink()
    rows = {row["variant"]: row for row in folds.tabulate(folds.cells(recipe, tmp_path))["rows"]}
    assert "earlier version" in rows["two"]["not_compared"]
    assert "against_first" in rows["two"]["linear"]


def test_each_fold_begins_from_its_own_pretraining(sounds, cache, tmp_path):
    folds.run(recipe_for(sounds, "npid", stages=[{"epochs": 1}]), tmp_path / "pre", cache=cache)
    recipe = recipe_for(sounds, stages=[{"epochs": 1}], start=str(tmp_path / "pre" / "fold{fold}"))
    row = folds.run(recipe, tmp_path / "rec", cache=cache)["rows"][0]
    assert row["pretraining"] == ["inductive"]
    heard = sum((sounds.parent / f"{number}.wav").stat().st_size for number in range(12)) / 2
    assert row["bytes"] == row["before"]["bytes"] == heard
    assert row["hours"] == row["before"]["hours"] == pytest.approx(6 * 0.5 / 3600)
    taken = [read_json(tmp_path / "pre" / f"fold{fold}" / "result.json") for fold in (1, 2)]
    assert row["before"]["seconds"] == pytest.approx(np.mean([result["seconds"] for result in taken]))
    other = recipe_for(sounds, stages=[{"epochs": 1}], start=str(tmp_path / "pre" / "fold1"))
    stamps = folds.run(other, tmp_path / "other", cache=cache)["rows"][0]["pretraining"]
    assert stamps == ["inductive", "transductive"]


def test_a_variant_that_overrides_nothing_known_is_refused(sounds, tmp_path):
    recipe = recipe_for(sounds, variants=[{"name": "odd", "encodr.width": 4}])
    with pytest.raises(RecipeError, match="nothing in the recipe is called"):
        folds.cells(recipe, tmp_path)


def test_what_a_start_took_is_followed_to_its_own_start(sounds, cache, tmp_path):
    """Scratch: nothing before it. A second pretraining adds to the first. A bare model tells its bytes alone."""
    short = {"stages": [{"epochs": 1}], "split": {"fold": 1}, "encoder": {"name": "small", "width": 4, "attention": 8}}
    one = fit(recipe_for(sounds, "npid", **short), tmp_path / "one", cache=cache)
    two = fit(recipe_for(sounds, "npid", start=str(tmp_path / "one"), **short), tmp_path / "two", cache=cache)
    last = fit(recipe_for(sounds, start=str(tmp_path / "two"), **short), tmp_path / "last", cache=cache)
    assert one["before"] is None
    assert two["before"] == {name: one[name] for name in material.COST} | {"weights": None}
    assert last["before"]["hours"] == pytest.approx(one["hours"] + two["hours"])
    assert last["before"]["bytes"] == one["bytes"] + two["bytes"]
    bare = tmp_path / "one" / "model"
    found = fit(recipe_for(sounds, start=str(bare), **short), tmp_path / "bare", cache=cache)["before"]
    weights = (bare / "model.safetensors").stat().st_size
    assert found == dict.fromkeys(material.COST) | {"weights": weights}
    assert material.spent(tmp_path / "bare")["weights"] == weights


def test_what_began_from_a_model_that_tells_nothing_tells_nothing_either(sounds, cache, tmp_path):
    """A start that may have heard the test fold is not forgotten one run later."""
    short = {"stages": [{"epochs": 1}], "split": {"fold": 1}, "encoder": {"name": "small", "width": 4, "attention": 8}}
    fit(recipe_for(sounds, "npid", **short), tmp_path / "one", cache=cache)
    two = fit(recipe_for(sounds, "npid", start=str(tmp_path / "one" / "model"), **short), tmp_path / "two", cache=cache)
    last = fit(recipe_for(sounds, start=str(tmp_path / "two"), **short), tmp_path / "last", cache=cache)
    assert (two["pretraining"], last["pretraining"]) == ("unknown", "unknown")


def test_after_an_error_no_other_cell_is_begun(sounds, tmp_path, monkeypatch):
    begun = []

    def work(cell, **how):
        begun.append(cell.seed)
        if cell.seed == 1:
            raise ValueError("one cell fails")
        return {}

    monkeypatch.setattr(folds, "work", work)
    monkeypatch.setattr(folds, "ProcessPoolExecutor", lambda jobs, *_: ThreadPoolExecutor(jobs))
    with pytest.raises(ValueError, match="one cell fails"):
        folds.run(recipe_for(sounds), tmp_path, folds=[1], seeds=range(12), jobs=2)
    assert len(begun) <= 4


def test_each_cell_is_told_once_and_by_its_number(sounds, tmp_path, monkeypatch):
    monkeypatch.setattr(folds, "work", lambda cell, **how: {})
    monkeypatch.setattr(folds, "ProcessPoolExecutor", lambda jobs, *_: ThreadPoolExecutor(jobs))
    for jobs in (1, 2, 9):
        told = []
        folds.run(
            recipe_for(sounds), tmp_path, seeds=[0, 7], jobs=jobs, tell=lambda _, row, told=told: told.append(row)
        )
        assert [(row["done"], row["total"]) for row in told] == [(number, 4) for number in range(4)]
        assert [row["folder"] for row in told] == [
            str(cell.folder) for cell in folds.cells(recipe_for(sounds), tmp_path, seeds=[0, 7])
        ]


def test_a_grid_is_every_combination_of_its_values(sounds, tmp_path):
    recipe = recipe_for(sounds, "npid", grid={"encoder.width": [4, 8], "objective.temperature": [0.1, 0.4]})
    cells = folds.cells(recipe, tmp_path, folds=[1])
    assert [(c.recipe.encoder.args["width"], c.recipe.objective.args["temperature"]) for c in cells] == [
        (4, 0.1),
        (4, 0.4),
        (8, 0.1),
        (8, 0.4),
    ]
    assert cells[1].folder == tmp_path / "width-4_temperature-0.4" / "fold1"
    assert not cells[0].recipe.grid
    with pytest.raises(RecipeError, match="list of values for each key"):
        recipe_for(sounds, grid={"encoder.width": 4})


def test_a_grid_of_encoders_tells_the_best_point_of_each_set_and_their_mean(thirds, cache, tmp_path):
    variants = [{"name": "one"}, {"name": "two", "seed": 1}]
    split, grid = {"valid": "next"}, {"objective.dim": [4, 8]}
    recipe = recipe_for(thirds, "npid", split=split, grid=grid, variants=variants, stages=[{"epochs": 1, "lr": 1e-2}])
    table = folds.run(recipe, tmp_path, folds=[1], cache=cache)
    rows = {(row["set"], row["point"]["objective.dim"]): row for row in table["rows"]}
    assert len(rows) == 4
    assert all(row["by"] == "validation" and row["measure"] == "knn_accuracy" for row in rows.values())
    for name in ("one", "two"):
        best = table["best"][name]
        assert (
            best["mean"]
            == max(rows[name, dim]["mean"] for dim in (4, 8))
            == rows[name, best["point"]["objective.dim"]]["mean"]
        )
    dims = [table["best"][name]["point"]["objective.dim"] for name in ("one", "two")]
    assert table["average"] == {"objective.dim": sum(dims) / 2}
    told = words.tabled(table).splitlines()
    assert told[-1] == f"on average: dim {sum(dims) / 2:g}"
    assert told[-3].startswith(f"best for one: dim {dims[0]} (")


@pytest.mark.slow
def test_cells_side_by_side_are_what_they_are_one_after_the_other(sounds, cache, tmp_path):
    recipe = recipe_for(sounds, variants=[{"name": "one"}, {"name": "two", "encoder.width": 8}])
    told = []
    alone = folds.run(recipe, tmp_path / "alone", cache=cache)
    both = folds.run(recipe, tmp_path / "both", cache=cache, jobs=2, tell=lambda kind, row: told.append(kind))
    assert [row["accuracy"] for row in both["rows"]] == [row["accuracy"] for row in alone["rows"]]
    assert told.count("cell") == 4


def test_a_start_names_the_fold_and_seed_that_it_is_for(sounds, tmp_path):
    recipe = recipe_for(sounds, start="pre/fold{fold}-seed{seed}")
    assert [cell.recipe.base_start for cell in folds.cells(recipe, tmp_path, folds=[2], seeds=[0, 7])] == [
        "pre/fold2-seed0",
        "pre/fold2-seed7",
    ]
    assert recipe_for(sounds, start="").base_start is None


def test_variants_are_compared_at_the_same_point_of_a_grid(sounds, cache, tmp_path):
    variants = [{"name": "one"}, {"name": "two", "seed": 3}]
    recipe = recipe_for(sounds, variants=variants, grid={"split.few": [1, 2]}, stages=[{"epochs": 1}])
    rows = {row["variant"]: row for row in folds.run(recipe, tmp_path, cache=cache)["rows"]}
    assert list(rows) == ["one, few 1", "one, few 2", "two, few 1", "two, few 2"]
    for few in (1, 2):
        assert "against_first" not in rows[f"one, few {few}"]
        difference = rows[f"two, few {few}"]["mean"] - rows[f"one, few {few}"]["mean"]
        assert rows[f"two, few {few}"]["against_first"]["folds"]["mean"] == pytest.approx(difference)
