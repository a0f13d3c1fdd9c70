"""Tables over folds -> the same as text for papers and spreadsheets: a row a fold, a column a variant, percent.

Below the folds stand mean ± sd (ddof 1), the published number where a recipe expects one, both intervals of the
difference to the first variant and in what their budgets differ, what chose the weights, and what each variant cost.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from ossicle.report.arms import Arm, arms
from ossicle.report.found import Found, ReportError
from ossicle.report.page import plain

COSTS = {"steps": "optimizer steps", "clips": "clips heard", "peeks": "looks at validation", "seconds": "seconds"}
"""What a result tells of its budget, a run: its key and what it is called."""
CHOSE = {"test": "the test fold", "valid": "the validation part"}
Row = tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """One table under one measure: what was scored, the names of its columns, and its rows of as many cells."""

    data: str
    what: str
    head: Row
    rows: tuple[Row, ...]


def file(found: Sequence[Found], kind: Literal["md", "csv"]) -> bytes:
    """All tables here as one file. ReportError where there is none with a score in it."""
    made = [block for one in found if one.kind == "table" for block in blocks(one)]
    if not made:
        raise ReportError(
            "no table here has a score in it: run a recipe with --folds, and give the folder that holds its table.json"
        )
    return (_markdown if kind == "md" else _csv)(made).encode()


def blocks(found: Found) -> list[Block]:
    """A table by its measure; of encoders by neighbors, and then by a linear probe."""
    every = arms(found)
    data = plain(next(iter(found.runs), found).get("data.name", found.folder.name))
    sides = ([arm for arm in every if arm.accuracy], [arm.linear for arm in every if arm.linear])
    return [Block(data, side[0].measure, _head(side), tuple(_rows(side))) for side in sides if side]


def _head(side: Sequence[Arm]) -> Row:
    return ("fold", *(plain(arm.title) for arm in side))


def _rows(side: Sequence[Arm]) -> Iterator[Row]:
    for fold in sorted({fold for arm in side for fold in arm.accuracy}):
        yield (str(fold), *(_percent(arm.accuracy.get(fold)) for arm in side))
    means = [(arm.mean, arm.sd) for arm in side]
    published = [(_expected(arm, "accuracy"), _expected(arm, "sd")) for arm in side]
    yield from _told("mean ± sd", means, _spread)
    yield from _told("published", published, _spread)
    for over in ("recordings", "folds"):
        differences = [(arm.against or {}).get(over) for arm in side]
        yield from _told(f"against {plain(side[0].title)}, over {over}", differences, _interval)
    yield from _told("at unequal budgets", [(arm.against or {}).get("recordings") for arm in side], _uneven)
    yield from _told("warning", side, lambda arm: arm.warning)
    yield from _told("weights chosen on", side, lambda arm: CHOSE.get(arm.chosen, ""))
    for key, name in COSTS.items():
        yield from _told(name, [_mean(arm, key) for arm in side], lambda value: "" if value is None else f"{value:.0f}")


def _told(name: str, values: Sequence[Any], say: Callable[[Any], str]) -> Iterator[Row]:
    """A row, unless nothing is known of any variant."""
    said = [say(value) for value in values]
    if any(said):
        yield (name, *said)


def _expected(arm: Arm, key: str) -> float | None:
    return next((found for run in arm.runs if (found := run.get(f"recipe.expect.{key}")) is not None), None)


def _mean(arm: Arm, key: str) -> float | None:
    known = [run.get(f"result.{key}") for run in arm.runs]
    return fmean(known) if known and None not in known else None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _spread(found: tuple[float | None, float | None]) -> str:
    return " ± ".join(filter(None, map(_percent, found)))


def _interval(found: Mapping[str, float] | None) -> str:
    if not found:
        return ""
    mean, low, high = (f"{100 * found[key]:+.2f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def _uneven(found: Mapping[str, Any] | None) -> str:
    return str((found or {}).get("uneven", ""))


def _markdown(made: Sequence[Block]) -> str:
    return "\n".join(f"{block.data}: {block.what}, %\n\n{_table(block)}" for block in made)


def _table(block: Block) -> str:
    ruled = [block.head, ("---", *["---:"] * (len(block.head) - 1)), *block.rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in ruled)


def _csv(made: Sequence[Block]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for block in made:
        writer.writerow(("data", "measure", *block.head))
        writer.writerows((block.data, f"{block.what}, %", *row) for row in block.rows)
    return out.getvalue()
