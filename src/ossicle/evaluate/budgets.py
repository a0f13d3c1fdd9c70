"""What runs spent on learning, and whether two sides of a comparison spent alike: else neither is called better, and
only then is one that began from earlier learning warned of.

Steps of the optimizer and clips heard are counts, and may differ by what a bad file or an uneven batch costs. Seconds
depend on what else a machine did, so time is the processor's own where both sides tell that. Looks at the validation
part count where they chose the weights. What a start had spent is told beside a result, and is not in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from ossicle.durable import read_json

COUNTS = {"steps": "steps", "clips": "clips heard", "chosen": "looks that chose the weights"}
CLOCKS = {"cpu_seconds": "processor seconds", "seconds": "s"}
CLOSE = 0.02
"""The share by which counts may differ."""
CLOSE_IN_TIME = 0.15
"""The share by which seconds may differ."""


def budget(places: Iterable[Path]) -> dict[str, float]:
    """What runs spent, as means over them: each of `COUNTS`, seconds and cpu_seconds, as far as all of them tell.

    A place is a run's folder, or a file in one.
    """
    folders = {place if place.is_dir() else place.parent for place in places}
    results = [_told(folder / "result.json") for folder in sorted(folders)]
    names = (*COUNTS, *CLOCKS)
    return {
        name: fmean(result[name] for result in results)
        for name in names
        if results and all(result.get(name) is not None for result in results)
    }


def _told(place: Path) -> dict[str, Any]:
    result = read_json(place) if place.exists() else {}
    chose = {"none": 0, "valid": result.get("peeks"), "test": result.get("openings")}
    return result | {"chosen": chose.get(result.get("selected", ""))}


def uneven(one: Mapping[str, float], other: Mapping[str, float]) -> str:
    """In what two budgets differ, `380 against 400 steps, 24 against 40 processor seconds`; "" where they are alike, or
    do not tell.
    """
    both = [name for name in one if name in other]
    counts = [name for name in COUNTS if name in both and _apart(one[name], other[name], CLOSE)]
    clock = next((name for name in CLOCKS if name in both), None)
    said = [f"{_number(one[name])} against {_number(other[name])} {COUNTS[name]}" for name in counts]
    if clock and _apart(one[clock], other[clock], CLOSE_IN_TIME):
        said.append(f"{_number(one[clock])} against {_number(other[clock])} {CLOCKS[clock]}")
    return ", ".join(said)


def set_back(row: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """The warning due to a table's `row` that began from earlier learning and ends below its `base`, which did not, at
    as many steps and clips; "" where it is not due, or where neither tells what it spent.

    Seconds do not count here: what was learned earlier often comes with a larger network.
    """
    told = [{name: each[name] for name in ("steps", "clips") if each.get(name) is not None} for each in (row, base)]
    alike = all(told) and not uneven(*told)
    fresh = base["pretraining"] == ["none"] and "none" not in row["pretraining"]
    same = (row["by"], row["measure"]) == (base["by"], base["measure"])
    if not (alike and fresh and same and row["mean"] < base["mean"]):
        return ""
    over = (row.get("against_first") or {}).get("recordings")
    doubt = ", or by chance" if over is None or over["high"] >= 0 else ""
    points, name = 100 * (base["mean"] - row["mean"]), base["variant"] or "the first"
    return (
        f"ends {points:.1f} points below {name} in as many steps: "
        f"what it took over from earlier learning sets it back here{doubt}"
    )


def _number(value: float) -> str:
    """With enough digits for two that are apart to look so."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _apart(one: float, other: float, share: float) -> bool:
    return abs(one - other) > share * max(one, other)
