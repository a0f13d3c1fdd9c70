"""Runs that looked at their test folds after every epoch -> accuracy by epoch: a panel a data set, a line an arm.

The figure of published fine-tuning curves (DLS, fig. 4): the mean over folds, one standard deviation to both sides
shaded, seeds averaged first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from ossicle.report import arms, figures, naming
from ossicle.report.figures import Line
from ossicle.report.found import Found, ReportError
from ossicle.report.naming import Named
from ossicle.report.page import Markup, figure, grid, tag
from ossicle.words import CHOSEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = {"test_accuracy": "accuracy", "test_mAP": "mean AP", "test_knn_accuracy": "accuracy of 5 neighbors"}
"""What a log may say of a test fold, the first that is there being drawn."""


@dataclass(frozen=True)
class Panel:
    """A data set's curves: a line an arm over its `runs`, each line as far as all of its runs have come."""

    data: str
    what: str
    lines: tuple[Line, ...]
    runs: tuple[Found, ...]

    @property
    def epochs(self) -> int:
        """The last epoch drawn."""
        return max(int(line.x[-1]) for line in self.lines)

    @property
    def told(self) -> str:
        """The curves in words."""
        return f"{self.what} on the test folds of {self.data} by epoch: " + "; ".join(map(_ends, self.lines))


def panels(found: Sequence[Found]) -> list[Panel]:
    """The panels of all runs here that have such rows; an arm has one color in all of them."""
    sets: dict[tuple[str, str], dict[Named, list[Found]]] = {}
    for arm, run in _watched(found):
        place = str(run.get("data.name", "data")), _column(run)
        sets.setdefault(place, {}).setdefault(arm, []).append(run)
    titles = {place: naming.titles(list(named)) for place, named in sets.items()}
    colors = naming.colors(title for named in titles.values() for title in named.values())
    made = []
    for place, named in sets.items():
        drawn = [_line(titles[place][arm], runs, place[1], colors) for arm, runs in named.items()]
        runs = tuple(run for each in named.values() for run in each)
        made.append(Panel(place[0], MEASURES[place[1]], tuple(filter(None, drawn)), runs))
    return [panel for panel in made if panel.lines]


def _watched(found: Sequence[Found]) -> Iterator[tuple[Named, Found]]:
    """Runs with rows on their test fold, and whose they are: the folder of a table or run, the name of a variant."""
    for one in found:
        for arm in arms.arms(one) if one.runs else [arms.Arm("", (one,))]:
            yield from (((one.folder, arm.name), run) for run in arm.runs if _column(run))


def _column(run: Found) -> str:
    return next((name for name in MEASURES if any(name in row for row in run.rows)), "")


def _line(title: str, runs: Sequence[Found], column: str, colors: Mapping[str, str]) -> Line | None:
    """The mean over folds and its deviation, of the epochs that all runs have; None where that is none."""
    folds: dict[int, list[dict[int, float]]] = {}
    for run in runs:
        points = {row["epoch"]: row[column] for row in run.rows if row.get(column) is not None}
        folds.setdefault(int(run.get("recipe.split.fold", 0)), []).append(points)
    every = [points for seeds in folds.values() for points in seeds]
    shared = sorted(set(every[0]).intersection(*every))
    if not shared:
        return None
    means = [[fmean(points[epoch] for points in seeds) for seeds in folds.values()] for epoch in shared]
    spread = [stdev(each) for each in means] if len(folds) > 1 else []
    return Line(shared, [fmean(each) for each in means], title, colors[title], spread=spread)


def section(found: Sequence[Found]) -> Markup | None:
    """The part of the page: a figure a data set, and what was counted."""
    if not (made := panels(found)):
        return None
    lines = {line.name: line for panel in made for line in panel.lines}.values()
    legend = tag("ul", *(tag("li", figures.dash(line.color), line.name) for line in lines), class_="legend")
    title = tag("header", tag("h2", "Accuracy by epoch"))
    return tag("section", title, tag("p", caption(made), class_="note"), legend, grid(map(_shown, made)))


def _shown(panel: Panel) -> Markup:
    picture = figures.curves(panel.lines, alt=panel.told, legend=False, **_axes(panel))
    return tag("div", tag("h4", panel.data), figure(picture))


def file(found: Sequence[Found], kind: Literal["svg", "png"]) -> bytes:
    """The same as a file of its own. ReportError where no run has looked at its test fold on the way."""
    if not (made := panels(found)):
        raise ReportError("no run here looked at its test fold after every epoch: learn with curve = true")
    return figures.panelled(kind, [(panel.data, partial(_drawn, panel)) for panel in made], caption(made))


def _drawn(panel: Panel, axes: Axes) -> None:
    figures.draw_curves(axes, panel.lines, **_axes(panel))


def _axes(panel: Panel) -> dict[str, Any]:
    classes = {len(run.get("data.classes", [])) for run in panel.runs}
    chance = 1 / min(classes) if panel.what != "mean AP" and min(classes) > 1 else None
    return {"what": panel.what, "epochs": panel.epochs, "shares": True, "chance": chance}


def caption(made: Sequence[Panel]) -> str:
    """What a reader has to know of these curves."""
    runs = [run for panel in made for run in panel.runs]
    looks = sorted({_openings(run) for run in runs})
    often = f"{looks[0]} times" if len(looks) == 1 else f"{looks[0]} to {looks[-1]} times"
    chosen = any("test" in (run.get("recipe.select"), run.get("result.selected")) for run in runs)
    chose = CHOSEN if chosen else "nothing was chosen by it"
    left = sum(not run.done for run in runs)
    waiting = f" {left} runs are unfinished, and a line ends where the first of its runs does." if left else ""
    return (
        f"{len(runs)} runs: a line is the mean over folds, seeds averaged first; its shade is one standard deviation "
        f"over folds to both sides. Each run opened its test fold {often}; {chose}.{waiting}"
    )


def _openings(run: Found) -> int:
    """How often a run's test fold was looked at, the looks of an unfinished one counted in its log."""
    looks = sum(any(name in row for name in MEASURES) for row in run.rows)
    return int(run.get("evaluation.openings", run.get("result.openings", looks)))


def _ends(line: Line) -> str:
    return f"{line.name} from {100 * line.y[0]:.1f} % to {100 * line.y[-1]:.1f} %"
