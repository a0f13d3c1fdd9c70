"""Logs of runs -> curves over epochs: loss, accuracy, whatever else was logged, and the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ossicle import collapse, schedules
from ossicle.recipe import Spec
from ossicle.report import figures
from ossicle.report.figures import Line
from ossicle.report.found import Found
from ossicle.report.page import Markup, figure, grid, tag

SKIPPED = frozenset({"stage", "epoch", "steps", "lr", "seconds", "waited", "clips"})
"""Columns of a log that are no curve of their own; those of the test fold are drawn by `epochs`."""
NAMES = {"loss": "training", "accuracy": "training", "valid_nll": "validation", "valid_accuracy": "validation"}
NAMES |= {"valid_class_accuracy": "class mean", "valid_knn_accuracy": "validation, 5 neighbors"}
FINE = 100


def learning(arms: Mapping[str, Sequence[Found]]) -> Markup | None:
    """Curves of each arm's runs: a single run's columns by name, or several runs faint and their mean strong."""
    arms = {name: [run for run in runs if run.rows] for name, runs in arms.items()}
    runs = [run for each in arms.values() for run in each]
    if not runs:
        return None
    epochs = max(max(run.epochs, int(run.rows[-1].get("epoch", 0))) for run in runs)
    found = [_panel(what, columns, arms, runs, epochs) for what, columns in _panels(runs).items()]
    if rates := [line for number, name in enumerate(arms) if (line := _rate(arms[name], name, number))]:
        alt = f"learning rate by epoch, at most {max(max(line.y) for line in rates):g}"
        found.append(figure(figures.curves(rates, what="learning rate", alt=alt, epochs=epochs)))
    told = [tag("p", sentence, class_="note") for sentence in _collapses(arms)]
    return tag("div", *told, grid(found)) if told else grid(found)


def _collapses(arms: Mapping[str, Sequence[Found]]) -> list[str]:
    """What the logs tell of features that collapse, each said with its run where there are several."""
    told = [(run, said) for runs in arms.values() for run in runs for said in collapse.story(run.rows)]
    several = sum(map(len, arms.values())) > 1
    return [f"{run.folder.parent.name}/{run.folder.name}, {said}" if several else said for run, said in told]


def _panel(
    what: str, columns: list[str], arms: Mapping[str, Sequence[Found]], runs: Sequence[Found], epochs: int
) -> Markup:
    """One measure's curves. Of several runs one column is drawn, validation's if there is one."""
    if len(runs) > 1:
        columns = [next((name for name in columns if name.startswith("valid")), columns[0])]
    drawn = _of_one(runs[0], columns) if len(runs) == 1 else _of_many(arms, columns[0])
    shares = any("accuracy" in name or name.endswith("mAP") for name in columns)
    classes = len(runs[0].get("data.classes", [])) if what == "accuracy" else 0
    chance = 1 / classes if classes > 1 else None
    shown = f"validation {what}" if all(name.startswith("valid_") for name in columns) else what
    alt = f"{shown} by epoch: {_told(drawn, shares)}"
    return figure(figures.curves(drawn, what=shown, alt=alt, epochs=epochs, shares=shares, chance=chance))


def _panels(runs: Sequence[Found]) -> dict[str, list[str]]:
    """The columns of the logs by what they measure; those of one panel share an axis."""
    columns = dict.fromkeys(
        name for run in runs for row in run.rows for name, value in row.items() if _curve(name, value)
    )
    single = any("accuracy" in name for name in columns)
    panels: dict[str, list[str]] = {}
    for name in columns:
        if name == "valid_class_accuracy" and all(row.get(name) == row.get("valid_accuracy") for row in runs[0].rows):
            continue
        if name in ("loss", "valid_nll"):
            panels.setdefault("loss", []).append(name)
        elif "accuracy" in name:
            panels.setdefault("accuracy", []).append(name)
        elif not name.endswith("mAP"):
            panels.setdefault(name.removeprefix("valid_").replace("_", " "), []).append(name)
        elif not single:
            panels.setdefault("mean AP", []).append(name)
    return panels


def _curve(name: str, value: Any) -> bool:
    return (
        name not in SKIPPED
        and not name.startswith("test_")
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    )


def _points(run: Found, column: str) -> dict[float, float]:
    return {row["epoch"]: row[column] for row in run.rows if "epoch" in row and _curve(column, row.get(column))}


def _of_one(run: Found, columns: Sequence[str]) -> list[Line]:
    lines = []
    for number, name in enumerate(columns):
        if points := _points(run, name):
            shown, color = NAMES.get(name, name.replace("_", " ")), figures.series_color(number)
            lines.append(Line(list(points), list(points.values()), shown, color))
    return lines


def _of_many(arms: Mapping[str, Sequence[Found]], column: str) -> list[Line]:
    faint, strong = [], []
    for number, (name, runs) in enumerate(arms.items()):
        color = figures.series_color(number)
        every = [points for run in runs if (points := _points(run, column))]
        faint += [Line(list(points), list(points.values()), "", color, faint=True) for points in every]
        shared = [epoch for epoch in (every[0] if every else {}) if all(epoch in points for points in every)]
        if shared:
            mean = [fmean(points[epoch] for points in every) for epoch in shared]
            strong.append(Line(shared, mean, name or "mean", color))
    return faint + strong


def _told(drawn: Sequence[Line], shares: bool) -> str:
    named = [line for line in drawn if not line.faint]
    return "; ".join(f"{line.name} from {_shown(line.y[0], shares)} to {_shown(line.y[-1], shares)}" for line in named)


def _shown(value: float, share: bool) -> str:
    return f"{100 * value:.1f} %" if share else f"{value:.3g}"


def _rate(runs: Sequence[Found], name: str, number: int) -> Line | None:
    """The learning rate that the schedules of an arm's first run give, whether or not they were followed to the end."""
    x, y, before = [], [], 0.0
    try:
        for stage in runs[0].get("recipe.stages", []) if runs else []:
            spec = dict(stage.get("schedule") or {"name": "one_cycle"})
            made = Spec(spec.pop("name"), spec)
            for step in range(FINE):
                pace = made.build(schedules.SCHEDULES, step=step, steps=FINE, epochs=stage["epochs"])
                x.append(before + stage["epochs"] * step / (FINE - 1))
                y.append(stage["lr"] * pace.rate)
            before += stage["epochs"]
    except (ValueError, KeyError, TypeError):
        return None
    return Line(x, y, name, figures.series_color(number)) if x else None
