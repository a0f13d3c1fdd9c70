"""Tables over folds -> box plots: a panel a table and measure, a row a variant, a ring a fold.

A box goes from the first quartile to the third, its line is the median, and its whiskers end at the farthest folds that
are no more than 1.5 boxes away from it (Tukey 1977). Seeds are averaged first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np

from ossicle.report import figures
from ossicle.report.arms import Arm, arms
from ossicle.report.drawing import drawing, paint
from ossicle.report.found import Found, ReportError
from ossicle.report.page import Markup, figure, grid, plain, tag
from ossicle.words import BY_TEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENOUGH = 4  # folds, for quartiles of them
ROW = 0.42  # inches a variant
HEIGHT = 0.56  # of a row


@dataclass(frozen=True)
class Panel:
    """One measure on one data set: each variant's scores, shares of one by fold."""

    data: str
    what: str
    rows: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def told(self) -> str:
        """The figure in words."""
        return f"{self.what} on {self.data} over folds: " + "; ".join(_told(*row) for row in self.rows)


def panels(found: Sequence[Found]) -> list[Panel]:
    """The panels of all tables here; of encoders one by neighbors and one by a linear probe."""
    return [panel for one in found if one.kind == "table" for panel in of_arms(arms(one), _data(one))]


def of_arms(every: Sequence[Arm], data: str) -> list[Panel]:
    """Those of one table: none where no variant has folds enough for a box."""
    sides = ([arm for arm in every if arm.accuracy], [arm.linear for arm in every if arm.linear])
    made = [
        Panel(data, side[0].measure + _chosen(side), tuple((arm.title, tuple(arm.accuracy.values())) for arm in side))
        for side in sides
        if side
    ]
    return [panel for panel in made if any(len(scores) >= ENOUGH for _, scores in panel.rows)]


def shown(every: Sequence[Arm], table: Found) -> Markup | None:
    """One table's panels, for its part of the page."""
    made = []
    for panel in of_arms(every, _data(table)):
        with drawing(4.6, 0.85 + ROW * len(panel.rows), panel.told) as (axes, drawn):
            draw(panel, axes)
        made.append(figure(drawn[0]))
    return tag("div", grid(made, "grid wide"), tag("p", caption(), class_="note")) if made else None


def file(found: Sequence[Found], kind: Literal["svg", "png"]) -> bytes:
    """The same as a file of its own. ReportError where no table has folds enough."""
    if not (made := panels(found)):
        raise ReportError(
            f"no table here has a variant that was scored on {ENOUGH} folds or more, and of fewer there are no "
            "quartiles: run a recipe with --folds to its end, and give the folder that holds its table.json"
        )
    high = 0.9 + ROW * max(len(panel.rows) for panel in made)
    return figures.panelled(kind, [(panel.data, partial(draw, panel)) for panel in made], caption(), high=high)


def draw(panel: Panel, axes: Axes) -> None:
    """Boxes, in percent, the first variant on top; of fewer folds than `ENOUGH` rings alone."""
    for place, (_, scores) in enumerate(panel.rows):
        values, color = 100 * np.array(scores), paint(figures.series_color(place))
        if len(values) >= ENOUGH:
            _box(axes, values, place, color)
        axes.plot(values, np.full(len(values), place), "o", mfc="none", mec=color, markersize=4.5, mew=0.9, alpha=0.8)
        axes.plot(values.mean(), place, "D", color=color, markersize=4.5)
    figures.name_rows(axes, [name for name, _ in panel.rows])
    axes.set_xlabel(plain(f"{panel.what}, %"), parse_math=False)


def _box(axes: Axes, values: np.ndarray, place: int, color: str) -> None:
    from matplotlib.cbook import boxplot_stats

    found = boxplot_stats(values)[0]
    low, high = found["q1"], found["q3"]
    axes.barh(place, high - low, HEIGHT, low, fill=False, edgecolor=color, linewidth=1.1)
    axes.plot(
        [found["med"]] * 2, [place - HEIGHT / 2, place + HEIGHT / 2], color=color, linewidth=2.4, solid_capstyle="butt"
    )
    for end, whisker in ((low, found["whislo"]), (high, found["whishi"])):
        axes.plot([end, whisker], [place, place], color=color, linewidth=1.1)


def caption() -> str:
    """How to read them."""
    return (
        "A ring is one fold, seeds averaged; a box holds the middle half of them, its line is their median and the "
        "diamond their mean. Boxes that overlap do not say that two variants are alike: for that, the tables compare "
        "them fold by fold and clip by clip."
    )


def _data(found: Found) -> str:
    return str(next(iter(found.runs), found).get("data.name", found.folder.name))


def _chosen(side: Sequence[Arm]) -> str:
    return f", {BY_TEST}" if any(arm.chosen == "test" for arm in side) else ""


def _told(name: str, scores: Sequence[float]) -> str:
    low, middle, high = (f"{100 * value:.1f}" for value in (min(scores), median(scores), max(scores)))
    return f"{name} {low} to {high} %, median {middle} %"
