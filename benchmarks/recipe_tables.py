"""Recipes that were run -> tables for people: a part a recipe, a row a variant at a point of its grid.

Of what is not there yet, nothing is shown. Scores are over folds with seeds averaged; intervals are 95 %, of curves
over folds, of all else over recordings.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import record

from ossicle import folds, material, recipe
from ossicle.durable import read_json, write, write_json
from ossicle.evaluate import answers, bootstrap, compare, ensemble, paired_t
from ossicle.folds import Cell
from ossicle.words import BY_TEST

RECIPES = Path(__file__).parents[1] / "recipes"
SHOWN = (1, 2, 3, 5, 10, 15, 20, 30)
WAYS = {"knn": "5 neighbors", "linear": "linear probe"}
"""What an encoder is judged by, as `folds` names it; a classifier's own answers are under ""."""
COSTS = ("runs", "pretraining", "s", "s before", "s of teachers")  # the last where there are teachers

Arms = dict[str, list[Cell]]


@dataclass(frozen=True)
class Part:
    """A recipe's table: its folder, its title, the folds it is run with, and the seeds that may be there."""

    folder: str
    title: str
    recipe: str
    folds: tuple[int, ...] = (1, 2, 3, 4, 5)
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: tuple[tuple[str, str], ...] = ()  # rows to hold against each other
    rows: tuple[str, ...] = ()  # those of the table to show; () is all
    evaluate: bool | None = None  # as `folds.run` has it: whose test folds were opened
    given: bool = True  # whether the data are where `--data` says, or where the recipe does

    def command(self, data: str, cells: list[Cell]) -> str:
        """What made these runs, as a line for a shell."""
        every = len(self.folds) == 5
        seeds = "".join(f" --seeds {seed}" for seed in sorted({cell.seed for cell in cells}) if self.seeds)
        same = f"--set data.path={data} " * self.given + "--precision bf16 --jobs 2"
        opened = {None: "", True: " --evaluate", False: " --no-evaluate"}[self.evaluate]
        which = "--folds" if every else "--fold $fold"
        line = f"ossicle run recipes/{self.recipe}.toml {same} {which}{seeds}{opened} -o runs/{self.folder}"
        return line if every else f"for fold in {' '.join(map(str, self.folds))}; do {line}; done"

    def cells(self, data: str, place: Path) -> list[Cell]:
        """The runs that are there."""
        if not (own := RECIPES / f"{self.recipe}.toml").exists():
            return []
        read = recipe.load(own).override({"data.path": data} if self.given else {}).override({"precision": "bf16"})
        every = folds.cells(read, place / self.folder, folds=self.folds, seeds=self.seeds)
        return [cell for cell in every if (not self.rows or named(cell) in self.rows) and self._done(cell)]

    def _done(self, cell: Cell) -> bool:
        classifies = cell.recipe.objective.name in ("supervised", "distill")
        tested = classifies if self.evaluate is None else self.evaluate
        return (cell.folder / ("evaluation.json" if tested else "result.json")).exists()


def named(cell: Cell) -> str:
    """What a cell's row is called."""
    return ", ".join(filter(None, (cell.variant, folds.titled(cell.point))))


def arms(cells: Iterable[Cell]) -> Arms:
    """The runs of each row of a table, by its name."""
    found: Arms = {}
    for cell in cells:
        found.setdefault(named(cell), []).append(cell)
    return found


def curve(cells: list[Cell]) -> dict[int, dict[int, float]]:
    """Epoch -> fold -> the test accuracy, seeds averaged, in percent."""
    found: dict[int, dict[int, list[float]]] = {}
    for cell in cells:
        for line in (cell.folder / "log.jsonl").read_text().splitlines():
            logged = json.loads(line)
            if "test_accuracy" in logged:
                found.setdefault(logged["epoch"], {}).setdefault(cell.fold, []).append(100 * logged["test_accuracy"])
    return {epoch: {fold: float(np.mean(seeds)) for fold, seeds in sorted(by.items())} for epoch, by in found.items()}


def spread(values: list[float]) -> str:
    """`82.0 ± 6.5`."""
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def lead(mine: dict[int, float], other: dict[int, float]) -> str:
    """`+37.5 (20.1 to 54.9)`: points more than another arm, Student's t over the folds."""
    over = paired_t([other[fold] / 100 for fold in mine], [mine[fold] / 100 for fold in mine])
    return f"{100 * over.mean:+.1f} ({100 * over.low:.1f} to {100 * over.high:.1f})"


def curves(every: Arms) -> list[str]:
    """A line an arm and one of its lead over the first, epoch by epoch."""
    found = {name: curve(cells) for name, cells in every.items()}
    found = {name: each for name, each in found.items() if each}
    if not found:
        return []
    first = next(iter(found.values()))
    epochs = [epoch for epoch in SHOWN if epoch in first]
    lines = [f"| accuracy after | {' | '.join(map(str, epochs))} |", f"|---|{'---|' * len(epochs)}"]
    for name, each in found.items():
        lines.append(f"| {name} | {' | '.join(spread(list(each[epoch].values())) for epoch in epochs)} |")
        if each is not first and len(first[epochs[0]]) > 1:
            lines.append(f"| more than the first | {' | '.join(lead(each[e], first[e]) for e in epochs)} |")
    return [*lines, ""]


def files(row: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, list[Path]]:
    """What a row's runs answered, clip by clip, by what answered; without what some run has not kept."""
    kept = answers.VALID if row["by"] == "validation" else answers.TEST
    ways = WAYS if row["measure"].startswith("knn") else {"": ""}
    found = {said: [cell.folder / kept[way] for cell in cells] for way, said in ways.items()}
    return {said: each for said, each in found.items() if all(file.exists() for file in each)}


def held(part: Part, answered: Mapping[str, dict[str, list[Path]]]) -> list[str]:
    """What the part's pairs of rows differ by, where both are whole."""
    lines = []
    for one, other in part.pairs:
        here, there = answered.get(one, {}), answered.get(other, {})
        for way in (way for way in here if len(here[way]) == len(there.get(way, ()))):
            sentence = compare(here[way], there[way])["recordings"]["sentence"]
            lines.append(f"- {one} against {other}{f', {way}' * bool(way)}: {sentence}")
    return [*lines, ""] if lines else []


def across(made: Made, one: tuple[str, str], other: tuple[str, str]) -> list[str]:
    """A line for each way in which two rows of any parts answered, from the folds and seeds that both have."""
    sides = [{(cell.fold, cell.seed): cell.folder for cell in made.get(row, ())} for row in (one, other)]
    both = sorted(sides[0].keys() & sides[1].keys())
    if not both:
        return []
    ways = WAYS if (sides[0][both[0]] / answers.TEST["linear"]).exists() else {"": ""}
    which = f" (folds {' '.join(str(fold) for fold in sorted({fold for fold, _ in both}))})"
    which = "" if {fold for fold, _ in both} == {1, 2, 3, 4, 5} else which
    lines = []
    for way, said in ways.items():
        found, against = ([side[cell] / answers.TEST[way] for cell in both] for side in sides)
        names = " against ".join(name or place for place, name in (one, other))
        lines.append(f"- {names}{f', {said}' * bool(way)}{which}: {compare(found, against)['recordings']['sentence']}")
    return lines


def together(answered: Mapping[str, dict[str, list[Path]]], every: Arms) -> list[str]:
    """What each row gets right, seeds averaged, with its interval over recordings."""
    lines = []
    for name, ways in answered.items():
        seeds = len({cell.seed for cell in every[name]})
        for way, each in ways.items():
            title = ", ".join(filter(None, (name or "accuracy", way, f"{seeds} seeds" * (seeds > 1))))
            lines.append(f"- {title}: {averaged(each)}")
    return [*lines, ""] if lines else []


def averaged(files: Iterable[Path]) -> str:
    """`89.8 % (86.3 to 92.9, over 304 recordings)`: what got right answers; of a clip in several files, the mean."""
    right: dict[tuple[str, str, str], list[float]] = {}
    groups: dict[tuple[str, str, str], str] = {}
    for file in files:
        for clip, (recording, correct) in answers.read(file).items():
            right.setdefault(clip, []).append(correct)
            groups[clip] = recording
    return share(np.array([np.mean(each) for each in right.values()]), list(groups.values()))


def share(right: np.ndarray, groups: Sequence[str]) -> str:
    """(n,) clips told rightly or not, and their recordings -> the mean and its interval in words."""
    over = bootstrap(right, groups)
    return f"{100 * over.mean:.1f} % ({100 * over.low:.1f} to {100 * over.high:.1f}, over {over.over})"


def table(every: Arms, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a row: the mean over folds, what it cost, how it compares with the first; an encoder by both its ways."""
    both = any("linear" in row for row in rows)
    told = ("5 neighbors, %", "linear probe, %") if both else ("mean ± sd, %", "folds")
    against = tuple(f"{way} against the first" for way in WAYS.values()) if both else ("against the first",)
    costs = [_cost(row, every) for row in rows]
    shown_costs = len(COSTS) if any(cost[-1] for cost in costs) else len(COSTS) - 1
    head = ("", *told, *COSTS[:shown_costs], *against)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row, cost in zip(rows, costs, strict=True):
        blocks = [row, row.get("linear", {})] if both else [row]
        shown = [_folds(block) for block in blocks] if both else [spread(_scores(row)), _each(row)]
        name = ", ".join(filter(None, (row["variant"], BY_TEST if "test" in row.get("selected", ()) else "")))
        cells = (name, *shown, *cost[:shown_costs], *map(_against, blocks))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _scores(block: Mapping[str, Any]) -> list[float]:
    return [100 * score for score in block[block["measure"]]]


def _each(block: Mapping[str, Any]) -> str:
    return " ".join(f"{score:.1f}" for score in _scores(block))


def _folds(block: Mapping[str, Any]) -> str:
    """`63.8 ± 7.1 (58.8 68.8)`, its folds in brackets."""
    return f"{spread(_scores(block))} ({_each(block)})" if block else ""


def _cost(row: Mapping[str, Any], every: Arms) -> tuple[str, ...]:
    """`COSTS`: how many runs, what their beginning heard, and the processor seconds of a run, of its beginning and of
    its teachers.
    """
    cells = every[row["variant"]]
    taken = [read_json(cell.folder / "result.json") for cell in cells]
    before = [result.get("before") for result in taken]
    teaching = [_teaching(cell, result) for cell, result in zip(cells, taken, strict=True)]
    return str(row["runs"]), ", ".join(row["pretraining"]), *map(_seconds, (taken, before, teaching))


def _teaching(cell: Cell, result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a run's teachers took; of a result that is older than this, as they tell now."""
    named = cell.recipe.objective.args.get("teachers", ())
    return result["teaching"] if "teaching" in result else material.teaching(map(cell.recipe.own, named))


def _seconds(costs: Iterable[Mapping[str, Any] | None]) -> str:
    known = [cost["cpu_seconds"] for cost in costs if cost and cost["cpu_seconds"] is not None]
    return f"{np.mean(known):.0f}" if known else ""


def _against(block: Mapping[str, Any]) -> str:
    return str((block.get("against_first") or {}).get("recordings", {}).get("sentence", ""))


Made = dict[tuple[str, str], list[Cell]]
"""All runs of a benchmark by (folder of the part, name of the row)."""


def ensembles(sides: Iterable[Iterable[Cell]], out: Path) -> list[Path]:
    """The mean probability of several arms, one run of each side by side -> a folder in `out` for each."""
    return [
        ensemble([cell.folder for cell in cells], out / f"fold{cells[0].fold}-seed{cells[0].seed}")
        for cells in zip(*sides, strict=True)
    ]


def write_tables(
    name: str,
    description: str | None,
    parts: Iterable[Part],
    more: Callable[[Made, Path], list[str]] = lambda made, place: [],
) -> None:
    """The command line, and what it writes: results/NAME.json and .md, and after all parts what `more` says of them,
    given the folder of all runs.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/esc10")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    setting = record.surroundings()
    versions = ", ".join(f"{package} {version}" for package, version in setting["versions"].items())
    lines = [f"{setting['machine']}; {versions}; seconds are processor seconds a run.", ""]
    kept: dict[str, Any] = {"setting": setting}
    made: Made = {}
    for part in parts:
        if cells := part.cells(given.data, given.runs):
            every, rows = arms(cells), folds.tabulate(cells)["rows"]
            made |= {(part.folder, row): found for row, found in every.items()}
            command = part.command(given.data, cells)
            kept[part.folder] = {"command": command, "rows": rows}
            lines += [f"## {part.title}", "", f"`{command}`", "", *shown(part, every, rows)]
    lines += more(made, given.runs)
    write_json(record.RESULTS / f"{name}.json", kept)
    write(record.RESULTS / f"{name}.md", "\n".join(lines).encode())
    print("\n".join(lines))


def shown(part: Part, every: Arms, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A part's table, its curves, its pairs, and each row's own interval."""
    answered = {row["variant"]: files(row, every[row["variant"]]) for row in rows}
    return [*table(every, rows), *curves(every), *held(part, answered), *together(answered, every)]
