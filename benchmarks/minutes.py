"""Whether `ossicle train DATA --minutes M` keeps its word, and what the minutes are worth: ESC-10, fold by fold.

    python benchmarks/minutes.py --data ../shared/esc10 --out runs/minutes --minutes 1 2 4

Two ways to spend the same minutes, each run in a process of its own, as the command is, in turn:

- growing     what the command does: coarse images first, where they are cheaper
- full        as many epochs of whole images as the minutes hold, all else planned alike

Sound is decoded beforehand. Minutes are those on the clock, from the start of a run's process until it has ended; then
the held-out fold is opened, once. Runs that are there are not run again. All of it takes about
2 x folds x (sum of the minutes), 70 minutes as above, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import record
from record import Row, row

from ossicle import evaluate
from ossicle.durable import read_json, write_json
from ossicle.options import setting

WAYS = {"growing": None, "full": False}
FOLDS = (1, 2, 3, 4, 5)
WORD = 0.15  # by which a promise may be missed


@dataclass(frozen=True)
class Cell:
    """One run: so many minutes spent one way, the fold that is held out, and what else is asked (KEY=VALUE)."""

    out: Path
    data: str
    way: str
    minutes: float
    fold: int
    asked: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.out / f"{self.way}-{self.minutes:g}" / f"fold{self.fold}"

    @property
    def told(self) -> Path:
        """Where what it took is kept."""
        return self.folder.with_suffix(".json")


def work(cell: Cell, began: float) -> float:
    """Follows the command, whose clock runs since `began`; the seconds that were set apart for decoding."""
    from ossicle import plan
    from ossicle.budget import Budget
    from ossicle.learn import learn

    budget = Budget(cell.minutes, progressive=WAYS[cell.way], began=began)

    changes = {"split.fold": cell.fold} | dict(map(setting, cell.asked))
    recipe = plan.recognizer(cell.data, fold=cell.fold).override(changes)
    print(cell.folder, learn(recipe, cell.folder, budget=budget).splitlines()[-1], flush=True)
    if budget.resumed:
        raise SystemExit(f"{cell.folder} was stopped on its way and cannot be timed: remove it, and start again")
    return budget.apart


def timed(cell: Cell) -> None:
    """Keeps what the run takes, from the start of its process to its end."""
    load, began = record.surroundings()["load"], time.monotonic()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        apart = pool.submit(work, cell, began).result()
    write_json(cell.told, {"seconds": time.monotonic() - began - apart, "apart": apart, "load": load})


def decode(data: str) -> None:
    """Fills the cache, so that no run waits for it."""
    from ossicle import assemble, material, plan

    recipe = plan.recognizer(data)
    heard = assemble.backbone(recipe)
    material.gather(recipe, sample_rate=heard.sample_rate, channels=heard.channels)


def accuracy(cell: Cell) -> float:
    """On the held-out fold, percent."""
    done = cell.folder / "evaluation.json"
    return 100 * float((read_json(done) if done.exists() else evaluate.final(cell.folder))["accuracy"])


def rows(minutes: float, cells: Sequence[Cell]) -> list[Row]:
    """What both ways took of so many minutes, what they are worth, and how far apart."""
    by_way = {way: [cell for cell in cells if (cell.minutes, cell.way) == (minutes, way)] for way in WAYS}
    made = []
    for way, runs in by_way.items():
        taken = [read_json(cell.told)["seconds"] / 60 for cell in runs]
        kept = sum(abs(each / minutes - 1) <= WORD for each in taken)
        limits = f"{(1 - WORD) * minutes:.3g} to {(1 + WORD) * minutes:.3g}"
        made.append(row(f"minutes taken, {way}", limits, taken, "min", f"{kept} of {len(runs)} runs kept the promise"))
        found = [accuracy(cell) for cell in runs]
        note = f"mean {np.mean(found):.1f} over {len(runs)} folds, one run each; {planned(runs[0])}"
        made.append(row(f"accuracy, {way}", "", found, "%", note))
    sides = [[cell.folder for cell in by_way[way]] for way in WAYS]
    over = evaluate.compare(*sides)["recordings"]
    points = f"growing against full: {over['sentence']}"
    mean, low, high = (100 * over[name] for name in ("mean", "low", "high"))
    return [*made, Row("growing over full", "above 0", mean, "points", low, high, points)]


def planned(cell: Cell) -> str:
    """The first fold's plan."""
    stages = read_json(cell.folder / "recipe.json")["stages"]
    said = []
    for stage in stages:
        size = (stage["frontend"] or {}).get("size")
        said.append(f"{stage['epochs']} epochs at {' x '.join(map(str, size)) if size else 'full size'}")
    return f"fold {cell.fold}: {', '.join(said)}, rate {stages[0]['lr']:g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/esc10")
    parser.add_argument("--out", type=Path, default=Path("runs/minutes"))
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    parser.add_argument("--folds", type=int, nargs="+", default=FOLDS)
    parser.add_argument("--set", nargs="+", default=[], help="other keys of the recipe: encoder.width=32 say")
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    given = parser.parse_args()
    before, began = record.surroundings(), time.monotonic()
    source = given.data if ":" in given.data else f"esc10:{given.data}"
    decode(source)
    cells = [
        Cell(given.out, source, way, minutes, fold, tuple(given.set))
        for fold in given.folds
        for minutes in given.minutes
        for way in WAYS
    ]
    for cell in cells:
        if not cell.told.exists():
            timed(cell)
    context: dict[str, Any] = {"command": record.command()} | before | {"seconds": time.monotonic() - began}
    for minutes in given.minutes:
        record.keep("minutes", f"{minutes:g} min", rows(minutes, cells), context, given.results)


if __name__ == "__main__":
    main()
