"""Variants x folds x seeds -> one table. Each cell is a run folder of its own; a finished cell is not run again."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import evaluate
from ossicle.data.cache import Cache
from ossicle.datasets import DATASETS
from ossicle.durable import read_json, write_json
from ossicle.material import FOLDS, Tell, quiet
from ossicle.model import Classifier
from ossicle.recipe import Recipe, from_dict
from ossicle.train import fit


@dataclass(frozen=True)
class Cell:
    """One run of a table."""

    variant: str
    fold: int
    seed: int
    recipe: Recipe
    folder: Path


def cells(
    recipe: Recipe, out: str | Path, *, folds: Iterable[int] | None = None, seeds: Iterable[int] | None = None
) -> list[Cell]:
    """The cells of a recipe's table: its variants (itself, if it has none), the data's folds, and its own seed unless
    given.

    They lie in OUT/[variant/]fold1[-seed0]; what does not vary is left out of the path.
    """
    out, seeds = Path(out), list(seeds or [recipe.seed])
    folds = list(folds or recipe.data.build(DATASETS).folds or range(1, FOLDS + 1))
    variants: tuple[Mapping[str, Any], ...] = recipe.variants or ({"name": ""},)
    made = []
    for variant, fold, seed in itertools.product(variants, folds, seeds):
        name = str(variant.get("name", ""))
        chosen = recipe.override({"variants": [], **variant, "split.fold": fold, "seed": seed})
        place = f"fold{fold}" + (f"-seed{seed}" if len(seeds) > 1 else "")
        made.append(Cell(name, fold, seed, chosen, out / name / place))
    return made


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    folds: Iterable[int] | None = None,
    seeds: Iterable[int] | None = None,
    keep_models: bool = True,
    cache: Cache | None = None,
    tell: Tell = quiet,
) -> dict[str, Any]:
    """Runs what is missing of a recipe's table and writes OUT/table.json. Each classifier's test fold is opened, once;
    a pretraining's is left for `evaluate.final`, and has no row.

    `keep_models` False removes each cell's weights after its evaluation: a benchmark needs the numbers only.
    """
    every = cells(recipe, out, folds=folds, seeds=seeds)
    for number, cell in enumerate(every):
        tell("cell", {"done": number, "total": len(every), "folder": str(cell.folder)})
        work(cell, keep_model=keep_models, cache=cache, tell=tell)
    table = tabulate(every)
    write_json(Path(out) / "table.json", table)
    return table


def work(cell: Cell, *, keep_model: bool = True, cache: Cache | None = None, tell: Tell = quiet) -> dict[str, Any]:
    """One cell: trained and, if it knows classes, evaluated; or read where that is done."""
    done = cell.folder / "evaluation.json"
    if done.exists() and from_dict(read_json(cell.folder / "recipe.json")) == cell.recipe:
        return read_json(done)
    result = fit(cell.recipe, cell.folder, cache=cache, tell=tell)
    if result["kind"] != Classifier.kind:
        return result
    result = evaluate.final(cell.folder, cache=cache)
    if not keep_model:
        shutil.rmtree(cell.folder / "model", ignore_errors=True)
    return result


def tabulate(every: Iterable[Cell]) -> dict[str, Any]:
    """Finished cells -> one row a variant: each fold's accuracy (mAP for several labels; seeds averaged), mean, sd
    (ddof 1), and the paired difference to the first variant.
    """
    by_variant: dict[str, list[Cell]] = {}
    for cell in every:
        if (cell.folder / "evaluation.json").exists():
            by_variant.setdefault(cell.variant, []).append(cell)
    rows = [_row(name, found) for name, found in by_variant.items()]
    first = next(iter(by_variant.values()), [])
    for row, found in zip(rows[1:], list(by_variant.values())[1:], strict=True):
        row["against_first"] = evaluate.compare([c.folder for c in found], [c.folder for c in first])
    return {"rows": rows}


def _row(name: str, found: list[Cell]) -> dict[str, Any]:
    results = [read_json(cell.folder / "evaluation.json") for cell in found]
    folds = sorted({cell.fold for cell in found})
    measure = "accuracy" if "accuracy" in results[0] else "mAP"
    by_fold: dict[int, list[float]] = {fold: [] for fold in folds}
    for result, cell in zip(results, found, strict=True):
        by_fold[cell.fold].append(result[measure])
    scores = [float(np.mean(values)) for values in by_fold.values()]
    return {
        "variant": name,
        "folds": folds,
        "measure": measure,
        measure: scores,
        "mean": float(np.mean(scores)),
        "sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "runs": len(found),
        "pretraining": sorted({r["pretraining"] for r in results}),
        "openings": max(r["openings"] for r in results),
        "seconds": float(np.mean([read_json(cell.folder / "result.json")["seconds"] for cell in found])),
    }
