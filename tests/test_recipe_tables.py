"""The tables that benchmarks make of recipes that were run: their numbers, from made-up answers."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ossicle.durable import read_json
from ossicle.evaluate import answers, compare, ensemble

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RECIPE = """
data = { name = "synthetic", path = "sounds", per_class = 5 }
split = { fold = 1 }
frontend = "logmel"
encoder = "small"
objective = "OBJECTIVE"
stages = [{ epochs = 1 }]
[[variants]]
name = "one"
[[variants]]
name = "other"
"""
CLIPS = 20


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The scripts as they import one another when they are run."""
    sys.path.insert(0, str(BENCHMARKS))
    yield {name: import_module(name) for name in ("recipe_tables", "dls", "contrastive", "progressive", "record")}
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Where the few sounds are that the recipes are about."""
    return tmp_path_factory.mktemp("sounds")


@pytest.fixture
def tables(scripts, sounds, tmp_path, monkeypatch) -> ModuleType:
    """`recipe_tables`, with a recipe of two variants by each objective and nowhere to do harm."""
    for objective in ("supervised", "npid"):
        (tmp_path / f"{objective}.toml").write_text(RECIPE.replace("OBJECTIVE", objective))
    monkeypatch.setattr(scripts["recipe_tables"], "RECIPES", tmp_path)
    monkeypatch.setattr(scripts["record"], "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", ["x.py", "--data", str(sounds), "--runs", str(tmp_path)])
    (tmp_path / "results").mkdir()
    return scripts["recipe_tables"]


def answered(file: Path, fold: int, right: np.ndarray) -> None:
    """Clips of a fold, two of a recording, told rightly or not, as `answers.write` leaves them."""
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["name", "start", "group", "fold", "target", "prediction", "correct", "a", "b"])
        for number, correct in enumerate(right):
            said = "a" if correct else "b"
            row = [f"{fold}-{number}", 0.0, f"{fold}/{number // 2}", fold, "a", said, float(correct)]
            writer.writerow([*row, 0.9 * correct + 0.05, 0.95 - 0.9 * correct])


def ran(place: Path, right: dict[tuple[str, int, int], list[np.ndarray]]) -> None:
    """Evaluated runs (variant, fold, seed): a classifier's answers, or those of an encoder's neighbors and probe."""
    for (variant, fold, seed), ways in right.items():
        folder = place / variant / f"fold{fold}-seed{seed}"
        folder.mkdir(parents=True)
        encoder = len(ways) == 2
        spent = {"seconds": 5.0, "cpu_seconds": 4.0, "hours": 0.1, "bytes": 10.0}
        result = {"kind": "encoder" if encoder else "classifier", "pretraining": "none", "before": None, **spent}
        shares = [{"accuracy": float(each.mean())} for each in ways]
        told = shares[0] | {"openings": 1} | ({"linear_probe": shares[1]} if encoder else {})
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "evaluation.json").write_text(json.dumps(told))
        (folder / "log.jsonl").write_text("")
        for way, each in zip(("knn", "linear") if encoder else ("",), ways, strict=True):
            answered(folder / answers.TEST[way], fold, each)


def drawn(ways: int, variants: tuple[str, ...] = ("one", "other")) -> dict[tuple[str, int, int], list[np.ndarray]]:
    chance = np.random.default_rng(0)
    every = [(variant, fold, seed) for variant in variants for fold in (1, 2) for seed in (0, 1)]
    return {each: [chance.random(CLIPS) < 0.7 for _ in range(ways)] for each in every}


def test_what_teachers_took_has_a_column_where_there_are_any(tables, tmp_path) -> None:
    ran(tmp_path / "runs", drawn(1))
    part = tables.Part("runs", "A title", "supervised", folds=(1, 2))
    tables.write_tables("made", None, [part])
    page = tmp_path / "results" / "made.md"
    assert "| s | s before | against the first |" in page.read_text()
    for result in (tmp_path / "runs" / "other").glob("*/result.json"):
        result.write_text(json.dumps(read_json(result) | {"teaching": {"cpu_seconds": 70.0}}))
    tables.write_tables("made", None, [part])
    assert "| s | s before | s of teachers | against the first |" in page.read_text()
    assert "| 4 | none | 4 |  | 70 | " in page.read_text()
    assert "| 4 | none | 4 |  |  |  |" in page.read_text()


def test_a_classifiers_rows_are_means_over_folds_of_means_over_seeds(tables, tmp_path, capsys) -> None:
    right = drawn(1)
    ran(tmp_path / "runs", right)
    part = tables.Part("runs", "A title", "supervised", folds=(1, 2), pairs=(("other", "one"), ("none", "one")))
    tables.write_tables("made", None, [part, tables.Part("x", "Not run", "supervised"), tables.Part("y", "?", "none")])
    page = (tmp_path / "results" / "made.md").read_text()
    assert capsys.readouterr().out.strip() == page.strip()
    assert "Not run" not in page
    by_fold = {
        name: [100 * np.mean([right[name, fold, seed][0] for seed in (0, 1)]) for fold in (1, 2)]
        for name in ("one", "other")
    }
    one = by_fold["one"]
    assert (
        f"| one | {np.mean(one):.1f} ± {np.std(one, ddof=1):.1f} | {one[0]:.1f} {one[1]:.1f} | 4 | none | 4 |" in page
    )
    assert f"- one, 2 seeds: {np.mean(one):.1f} % (" in page
    assert f"{np.mean(by_fold['other']) - np.mean(one):+.1f} points" in page
    assert page.count("- other against one: ") == 1
    assert "`for fold in 1 2; do ossicle run recipes/supervised.toml " in page
    assert " --fold $fold --seeds 0 --seeds 1 -o runs/runs; done`" in page
    kept = read_json(tmp_path / "results" / "made.json")
    assert [row["variant"] for row in kept["runs"]["rows"]] == ["one", "other"]
    result = tmp_path / "runs" / "one" / "fold1-seed0" / "result.json"
    result.write_text(json.dumps(read_json(result) | {"selected": "test"}))
    tables.write_tables("made", None, [part])
    page = (tmp_path / "results" / "made.md").read_text()
    assert "| one, weights chosen on the test fold | " in page
    assert "| other | " in page


def test_an_encoders_rows_hold_neighbors_and_linear_probe(tables, tmp_path) -> None:
    right = drawn(2)
    ran(tmp_path / "runs", right)
    part = tables.Part("runs", "A title", "npid", folds=(1, 2), evaluate=True, pairs=(("other", "one"),))
    tables.write_tables("made", None, [part])
    page = (tmp_path / "results" / "made.md").read_text()
    assert "--evaluate -o runs/runs; done`" in page
    head, _, first, second = (line.split(" | ") for line in page.splitlines() if line.startswith("|"))
    assert head[1:3] == ["5 neighbors, %", "linear probe, %"]
    for way, column in enumerate(first[1:3]):
        mean = 100 * np.mean([right["one", fold, seed][way] for fold in (1, 2) for seed in (0, 1)])
        assert column.startswith(f"{mean:.1f} ± ")
    assert all("points (95 % interval" in column for column in second[-2:])
    for way, called in enumerate(("5 neighbors", "linear probe")):
        more = [np.mean([ways[way] for (name, *_), ways in right.items() if name == arm]) for arm in ("one", "other")]
        assert f"- one, {called}, 2 seeds: {100 * more[0]:.1f} % (" in page
        sentence = page.split(f"- other against one, {called}: ")[1].splitlines()[0]
        assert f"{100 * (more[1] - more[0]):+.1f} points" in sentence


def test_an_interval_is_that_of_recordings(tables, tmp_path) -> None:
    """Two clips of a recording that stand and fall together: as wide as for half as many clips, each by itself."""
    right = np.repeat(np.random.default_rng(1).random(100) < 0.6, 2)
    answered(tmp_path / "a.csv", 1, right)
    told = tables.averaged([tmp_path / "a.csv"])
    assert told == tables.share(right[::2].astype(float), [str(number) for number in range(100)])
    assert told.endswith("over 100 recordings)")


def test_a_part_shows_the_rows_it_is_about(tables, sounds, tmp_path) -> None:
    ran(tmp_path / "runs", drawn(1))
    part = tables.Part("runs", "A title", "supervised", folds=(1, 2), rows=("other",))
    assert {tables.named(cell) for cell in part.cells(str(sounds), tmp_path)} == {"other"}
    assert len(replace(part, rows=()).cells(str(sounds), tmp_path)) == 8


def test_the_parts_are_of_recipes_that_are_there(scripts, sounds) -> None:
    """Every row that a part names is one of its recipe's."""
    tables = scripts["recipe_tables"]
    rows: set[tuple[str, str]] = set()
    for name in ("dls", "contrastive", "progressive"):
        for part in scripts[name].PARTS:
            own = tables.recipe.load(BENCHMARKS.parent / "recipes" / f"{part.recipe}.toml")
            data = {"name": "synthetic", "path": str(sounds), "per_class": 5}
            cells = tables.folds.cells(own.override({"data": data}), "out", folds=(1,))
            known = {tables.named(cell) for cell in cells}
            assert {*part.rows, *(row for pair in part.pairs for row in pair)} <= known
            rows |= {(part.folder, row) for row in known}
    growing = scripts["progressive"]
    assert {row for pair in growing.ACROSS for row in pair} <= rows
    assert {(growing.MAIN, name) for pair in growing.JOINED for name in pair} <= rows


def test_two_models_are_of_one_fold_and_of_one_seed_or_of_two_where_they_are_alike(scripts) -> None:
    """Of one seed alone, there is no second model of the same kind."""
    growing, tables = scripts["progressive"], scripts["recipe_tables"]
    read = tables.recipe.load(BENCHMARKS.parent / "recipes" / "esc10-progressive.toml")
    arms = tables.arms(tables.folds.cells(read, "out", folds=(1, 2), seeds=(0, 1, 2)))
    for other, turn in (("resize", {0: 0, 1: 1, 2: 2}), ("mel", {0: 1, 1: 2, 2: 0})):
        pairs = growing.paired(arms["mel"], arms[other], shifted=other == "mel")
        found = [(one.fold, one.seed, two.variant, two.fold, two.seed) for one, two in pairs]
        assert found == [(fold, seed, other, fold, turn[seed]) for fold in (1, 2) for seed in turn]
    alone = [cell for cell in arms["mel"] if cell.seed == 0]
    assert growing.paired(alone, alone, shifted=True) == []


def test_an_ensemble_is_the_mean_probability_and_cost_what_all_of_it_cost(tables, tmp_path) -> None:
    right = drawn(1)
    ran(tmp_path / "runs", right)
    folders = [tmp_path / "runs" / name / "fold1-seed0" for name in ("one", "other")]
    joined = ensemble(folders, tmp_path / "both")
    read = [(folder / answers.FILE).read_text().splitlines()[1:] for folder in (*folders, joined)]
    for fields in zip(*read, strict=True):
        one, other, both = (np.array(line.split(",")[-2:], float) for line in fields)
        assert both == pytest.approx((one + other) / 2, abs=1e-6)
        assert fields[-1].split(",")[6] == str(int(both[0] >= both[1]))
    spent = read_json(joined / "result.json")
    assert (spent["seconds"], spent["cpu_seconds"], spent["pretraining"]) == (10.0, 8.0, "none")
    assert "at unequal budgets" in compare([joined], folders[:1])["recordings"]["sentence"]
    with pytest.raises(ValueError, match="no runs"):
        ensemble([], tmp_path / "none")
    several = tmp_path / "several" / answers.FILE
    several.parent.mkdir()
    several.write_text(f'{",".join(answers.HEADER)},a,b\n1.wav,0,1.wav,1,"a,b",a,0.5,0.9,0.1\n')
    with pytest.raises(ValueError, match=r"^1\.wav is labelled 'a,b': an ensemble is of runs with one label a clip"):
        ensemble([several.parent], tmp_path / "odd")
    with pytest.raises(ValueError, match="other clips"):
        ensemble([folders[0], tmp_path / "runs" / "one" / "fold2-seed0"], tmp_path / "odd")
