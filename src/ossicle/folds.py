"""Variants x grid x folds x seeds -> one table. A cell is a run folder of its own; a finished cell is not run again."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ossicle import distributed
from ossicle.data.cache import Cache
from ossicle.datasets import tested
from ossicle.durable import read_json, write_json
from ossicle.evaluate import answers, compare, final
from ossicle.evaluate.budgets import set_back
from ossicle.material import FOLDS, Tell, mean_cost, quiet
from ossicle.model import Classifier
from ossicle.recipe import Recipe, RecipeError, from_dict
from ossicle.train import fit
from ossicle.words import titled


@dataclass(frozen=True)
class Cell:
    """One run of a table: a variant at a point of the grid, on a fold, from a seed."""

    variant: str
    point: Mapping[str, Any]
    fold: int
    seed: int
    recipe: Recipe
    folder: Path


def cells(
    recipe: Recipe, out: str | Path, *, folds: Iterable[int] | None = None, seeds: Iterable[int] | None = None
) -> list[Cell]:
    """The cells of a recipe's table: its variants (itself, if it has none), the points of its grid, the data's folds
    that can be tested on (none that is for validation), and its own seed unless given.

    They lie in OUT/[variant/][point/]fold1[-seed0]; what was not asked for is left out of the path. RecipeError where
    no fold is left to test on.
    """
    out, asked_folds, asked_seeds = Path(out), list(folds or ()), list(seeds or ())
    variants: tuple[Mapping[str, Any], ...] = recipe.variants or ({"name": ""},)
    made = []
    for variant in variants:
        name, varied = str(variant.get("name", "")), recipe.override({"variants": [], **variant})
        for point in _points(varied.grid):
            asked = varied.override({"grid": {}, **point})
            among = asked_folds or _tested(asked)
            for fold, seed in itertools.product(among, asked_seeds or [asked.seed]):
                place = f"fold{fold}" + (f"-seed{seed}" if asked_seeds else "")
                chosen = asked.override({"split.fold": fold, "seed": seed})
                made.append(Cell(name, point, fold, seed, chosen, out / name / titled(point, "-", "_") / place))
    return made


def _tested(recipe: Recipe) -> list[int]:
    known = tested(recipe.data) or range(1, FOLDS + 1)
    if left := [fold for fold in known if fold != recipe.split.valid]:
        return left
    raise RecipeError(
        f"fold {recipe.split.valid} is all that could be tested on, and is for validation: choose another"
    )


def _points(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of a grid's values; one empty one of no grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    folds: Iterable[int] | None = None,
    seeds: Iterable[int] | None = None,
    jobs: int = 1,
    evaluate: bool | None = None,
    keep_models: bool = True,
    cache: Cache | None = None,
    tell: Tell = quiet,
) -> dict[str, Any]:
    """Runs what is missing of a recipe's table and writes OUT/table.json. `evaluate` opens the test fold of each run,
    once: of classifiers (None), of encoders too (True), or of none (False), as when settings are chosen. A row that did
    not open it is what the validation part says, if there is one.

    `jobs` cells run at a time, each in a process of its own with its share of the threads, telling no steps.
    `keep_models` False removes each cell's weights after its evaluation: a benchmark needs the numbers only.
    """
    every = distributed.after_first(lambda: cells(recipe, out, folds=folds, seeds=seeds))
    if jobs > 1:
        _side_by_side(every, jobs, tell, evaluate=evaluate, keep_model=keep_models, cache=cache)
    else:
        for number, cell in enumerate(every):
            tell("cell", {"done": number, "total": len(every), "folder": str(cell.folder)})
            work(cell, evaluate=evaluate, keep_model=keep_models, cache=cache, tell=tell)
    table = distributed.first(tabulate, every)
    distributed.first(write_json, Path(out) / "table.json", table)
    return table


def work(
    cell: Cell, *, evaluate: bool | None = None, keep_model: bool = True, cache: Cache | None = None, tell: Tell = quiet
) -> dict[str, Any]:
    """One cell: trained and, as `run` has it, evaluated; or read where that is done."""
    if (known := distributed.first(_known, cell, evaluate)) is not None:
        return known
    result = fit(cell.recipe, cell.folder, cache=cache, tell=tell)
    if not (result["kind"] == Classifier.kind if evaluate is None else evaluate):
        return result
    result = distributed.first(final, cell.folder, cache=cache)
    if not keep_model and distributed.rank() == 0:
        shutil.rmtree(cell.folder / "model", ignore_errors=True)
    return result


def _known(cell: Cell, evaluate: bool | None) -> dict[str, Any] | None:
    """What is there to be read of this very cell: its evaluation, or the result of one that wants none."""
    wanted = not _is_encoder(cell) if evaluate is None else evaluate
    done = cell.folder / ("evaluation.json" if wanted else "result.json")
    same = done.exists() and from_dict(read_json(cell.folder / "recipe.json")) == cell.recipe
    return read_json(done) if same else None


def _is_encoder(cell: Cell) -> bool:
    result = cell.folder / "result.json"
    return result.exists() and read_json(result)["kind"] != Classifier.kind


def _side_by_side(every: list[Cell], jobs: int, tell: Tell, **how: Any) -> None:
    """Hands out a cell when one is done: after Ctrl-C or an error nothing new begins."""
    threads, left, running = max(1, len(os.sched_getaffinity(0)) // jobs), enumerate(every), set[Future[Any]]()
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for _ in every:
            for number, cell in itertools.islice(left, jobs - len(running)):
                tell("cell", {"done": number, "total": len(every), "folder": str(cell.folder)})
                running.add(pool.submit(work, cell, **how))
            done = next(as_completed(running))
            running.remove(done)
            done.result()


@dataclass(frozen=True)
class Score:
    """What a cell is worth: on which part, by what measure, and the file that says so clip by clip."""

    by: str
    measure: str
    value: float
    file: Path


Pile = list[tuple[Cell, list[Score]]]  # the cells of one row, and the scores of each


def tabulate(every: Iterable[Cell]) -> dict[str, Any]:
    """Finished cells -> one row a variant and point: each fold's score (seeds averaged), mean, sd (ddof 1), and the
    paired difference to the first variant at the same point of the grid (for several labels a clip, of the share of
    classes told rightly).

    The score is a classifier's accuracy (mAP for several labels a clip). An encoder's is 5-NN's, and under `linear` are
    the same numbers of a linear probe. It is that on the test fold where all of the table's classifiers, or encoders,
    were evaluated on theirs, else on the validation part. `not_compared` says why there is no difference. A grid of
    encoders adds `best`, the best point of each variant, and `average`, the mean of these over variants, as DLS sets
    its parameters.
    """
    every = list(every)
    closed = {_is_encoder(cell) for cell in every if not (cell.folder / "evaluation.json").exists()}
    piles: dict[tuple[str, str], Pile] = {}
    for cell in every:
        if scores := _scores(cell, _is_encoder(cell) not in closed):
            piles.setdefault((cell.variant, titled(cell.point)), []).append((cell, scores))
    first = next(iter(piles), ("", ""))[0]
    made = {
        (variant, point): _row(pile, piles.get((first, point), []) if variant != first else [])
        for (variant, point), pile in piles.items()
    }
    for (_, point), row in made.items():
        if warning := set_back(row, made.get((first, point), row)):
            row["warning"] = warning
    rows = list(made.values())
    return {"rows": rows} | _chosen(rows)


def _scores(cell: Cell, opened: bool) -> list[Score]:
    """What there is to show of a cell; the linear probe of an encoder comes second."""
    place, done, encoder = cell.folder / "evaluation.json", cell.folder / "result.json", _is_encoder(cell)
    valid = read_json(done).get("valid", {}) if done.exists() else {}
    ways = {"knn": "valid_knn_", "linear": "valid_linear_"} if encoder else {"": "valid_"}
    told: dict[str, Mapping[str, Any]] = {way: _below(prefix, valid) for way, prefix in ways.items()}
    by, files = "validation", answers.VALID
    if place.exists() and (opened or not valid):
        found = read_json(place)
        told = {"knn": found, "linear": found["linear_probe"]} if encoder else {"": found}
        by, files = "test", answers.TEST
    return [score for way, found in told.items() for score in _score(by, way, found, cell.folder / files[way])]


def _score(by: str, way: str, found: Mapping[str, Any], file: Path) -> list[Score]:
    """Nothing where it is not known, as where clips may bear several labels and none bears any."""
    measure = "accuracy" if "accuracy" in found else "mAP"
    value = found.get(measure)
    return [] if value is None else [Score(by, f"{way}_{measure}".lstrip("_"), value, file)]


def _below(prefix: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def _row(pile: Pile, first: Pile) -> dict[str, Any]:
    cells = [cell for cell, _ in pile]
    results = [read_json(cell.folder / "result.json") for cell in cells]
    blocks = [_block(pile, first, way) for way in range(min(len(scores) for _, scores in pile))]
    return {
        "variant": ", ".join(filter(None, (cells[0].variant, titled(cells[0].point)))),
        "set": cells[0].variant,
        "point": dict(cells[0].point),
        "folds": sorted({cell.fold for cell in cells}),
        "by": pile[0][1][0].by,
        **blocks[0],
        **({"linear": blocks[1]} if blocks[1:] else {}),
        "runs": len(cells),
        "pretraining": sorted({result["pretraining"] for result in results}),
        "selected": sorted({result.get("selected", "none") for result in results}),
        "openings": max(_openings(cell) for cell in cells),
    } | mean_cost(results)


def _block(pile: Pile, first: Pile, way: int) -> dict[str, Any]:
    """One score's numbers: by fold, mean, deviation, and the difference to the `first` variant's."""
    by_fold: dict[int, list[float]] = {}
    for cell, scores in sorted(pile, key=lambda each: each[0].fold):
        by_fold.setdefault(cell.fold, []).append(scores[way].value)
    values = [float(np.mean(each)) for each in by_fold.values()]
    score = pile[0][1][way]
    return {
        "measure": score.measure,
        score.measure: values,
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    } | _against(pile, first, way)


def _against(pile: Pile, first: Pile, way: int) -> dict[str, Any]:
    """The paired difference, or why there is none."""
    if not first or any(len(scores) <= way for _, scores in first):
        return {}
    if pile[0][1][way].by != first[0][1][way].by:
        return {"not_compared": "one was scored on its test fold and the other on its validation part"}
    try:
        return {"against_first": compare(*([scores[way].file for _, scores in side] for side in (pile, first)))}
    except FileNotFoundError as error:
        return {"not_compared": f"{error.filename} is not there: that run is of an earlier version"}
    except ValueError as error:
        return {"not_compared": str(error)}


def _openings(cell: Cell) -> int:
    """How often the test fold was looked at."""
    done = cell.folder / "evaluation.json"
    return int(read_json(done if done.exists() else cell.folder / "result.json").get("openings", 0))


def _chosen(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The best point of each variant on its validation part, and the mean of these; nothing where tests were opened."""
    if not any(row["point"] for row in rows) or any(row["by"] == "test" for row in rows):
        return {}
    best = {name: max((row for row in rows if row["set"] == name), key=lambda row: row["mean"]) for name in _sets(rows)}
    points = [row["point"] for row in best.values()]
    numbers = [key for key in points[0] if all(isinstance(point[key], int | float) for point in points)]
    return {
        "best": {name: {"point": row["point"], "mean": row["mean"]} for name, row in best.items()},
        "average": {key: float(np.mean([point[key] for point in points])) for key in numbers},
    }


def _sets(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["set"] for row in rows))
