"""Tables over a grid with one number in it -> score against that number: a panel a measure, a line a variant.

Accuracy by labels, by wrong labels, by temperature: the mean over folds, seeds averaged first, and the interval of that
mean by Student's t over folds. Under three folds there is no interval worth drawing, and each fold is a ring.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ossicle.evaluate.intervals import paired_t
from ossicle.report import arms, figures, naming
from ossicle.report.drawing import drawing
from ossicle.report.figures import Line
from ossicle.report.found import Found, ReportError
from ossicle.report.naming import Named
from ossicle.report.page import Markup, figure, grid, plain, tag
from ossicle.words import BY_TEST, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = {"split.few": "labelled clips a class", "split.label_noise": "share of labels made wrong"}
"""What an axis is called, where a key's own last name would not tell."""
DECADE = 10
ENOUGH = 3  # folds, for an interval over them
APART = 0.1  # of the axis, from mark to mark
EDGE = 0.04  # of the axis, left free at both ends


@dataclass(frozen=True)
class Point:
    """A row of a table under one of its measures: whose it is, the grid's number, each fold's score, its folder."""

    arm: Named
    place: tuple[str, str, str]  # data, key, what
    number: float
    scores: tuple[float, ...]
    row: Mapping[str, Any]
    classes: int

    @property
    def mean(self) -> float:
        """The mean over folds."""
        return float(np.mean(self.scores))

    @property
    def half(self) -> float:
        """Half of the mean's 95 % interval; 0 where there are too few folds to tell."""
        if len(self.scores) < ENOUGH:
            return 0.0
        found = paired_t(np.zeros(len(self.scores)), self.scores)
        return found.high - found.mean


@dataclass(frozen=True)
class Panel:
    """One measure on one data set along one key: `lines` of an arm each, and all `points` that they were made of."""

    data: str
    key: str
    what: str
    lines: tuple[Line, ...]
    points: tuple[Point, ...]

    @property
    def along(self) -> str:
        """What the axis is called."""
        return KEYS.get(self.key, self.key.rpartition(".")[2].replace("_", " "))

    @property
    def told(self) -> str:
        """The figure in words."""
        return f"{self.what} on {self.data} by {self.along}: " + "; ".join(map(_ends, self.lines))

    @property
    def chance(self) -> float | None:
        """What guessing would give."""
        classes = {point.classes for point in self.points}
        return 1 / min(classes) if "mean AP" not in self.what and min(classes) > 1 else None


def panels(found: Sequence[Found]) -> list[Panel]:
    """The panels of all tables here whose grid has one number in it; an arm has one color in all of them."""
    places: dict[tuple[str, str, str], list[Point]] = {}
    for point in (point for one in found if one.kind == "table" for point in _points(one)):
        places.setdefault(point.place, []).append(point)
    titles = {place: naming.titles(list(dict.fromkeys(each.arm for each in made))) for place, made in places.items()}
    colors = naming.colors(title for named in titles.values() for title in named.values())
    return [Panel(*place, _lines(made, titles[place], colors), tuple(made)) for place, made in places.items()]


def _points(found: Found) -> Iterator[Point]:
    rows = [row for row in found.get("table.rows", []) if isinstance(row, dict)]
    pairs = [(row, arm) for row, arm in zip(rows, arms.arms(found), strict=False) if row.get("point")]
    key, others = _keys([row["point"] for row, _ in pairs])
    for row, arm in pairs if key else ():
        rest = titled({name: row["point"][name] for name in others})
        whose = found.folder, ", ".join(filter(None, (str(row.get("set", "")), rest)))
        first = next(iter(arm.runs), found)
        part = "" if row.get("by", "test") == "test" else f", {row['by']} part"
        for what, scores in _measures(row):
            place = f"{first.get('data.name', 'data')}{part}", key, what
            yield Point(whose, place, row["point"][key], scores, row, len(first.get("data.classes", [])))


def _keys(points: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The one key whose values are several numbers, "" without such a one, and what else differs from row to row."""
    shared = [name for name in points[0] if all(name in point for point in points)] if points else []
    varying = [name for name in shared if len({str(point[name]) for point in points}) > 1]
    numbers = [name for name in varying if all(type(point[name]) in (int, float) for point in points)]
    return (numbers[0], [name for name in varying if name != numbers[0]]) if len(numbers) == 1 else ("", [])


def _measures(row: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """What a row says of each fold, by what it is called; an encoder's linear probe comes second."""
    for block in (row, row.get("linear") or {}):
        name = str(block.get("measure", "accuracy"))
        if isinstance(scores := block.get(name), list) and scores:
            yield arms.MEASURES.get(name, name), tuple(scores)


def _lines(points: Sequence[Point], titles: Mapping[Named, str], colors: Mapping[str, str]) -> tuple[Line, ...]:
    by_arm: dict[Named, list[Point]] = {}
    for point in sorted(points, key=lambda each: each.number):
        by_arm.setdefault(point.arm, []).append(point)
    return tuple(_line(by_arm[arm], title, colors[title]) for arm, title in titles.items())


def _line(points: Sequence[Point], title: str, color: str) -> Line:
    halves = [point.half for point in points]
    rings = [point.scores for point in points if 1 < len(point.scores) < ENOUGH]
    numbers, means = [point.number for point in points], [point.mean for point in points]
    return Line(numbers, means, title, color, spread=halves if any(halves) else (), marked=True, rings=rings)


def section(found: Sequence[Found]) -> Markup | None:
    """The part of the page: a figure a measure, and what was counted."""
    if not (made := panels(found)):
        return None
    lines = {line.name: line for panel in made for line in panel.lines}.values()
    legend = tag("ul", *(tag("li", figures.dash(line.color), line.name) for line in lines), class_="legend")
    title = tag("header", tag("h2", f"By {' and by '.join(dict.fromkeys(panel.along for panel in made))}"))
    return tag("section", title, tag("p", caption(made), class_="note"), legend, grid(map(_shown, made)))


def _shown(panel: Panel) -> Markup:
    with drawing(3.5, 2.4, panel.told) as (axes, drawn):
        draw(panel, axes)
    return tag("div", tag("h4", panel.data), figure(drawn[0]))


def file(found: Sequence[Found], kind: Literal["svg", "png"]) -> bytes:
    """The same as a file of its own. ReportError where no table has a grid with one number in it."""
    if not (made := panels(found)):
        raise ReportError(
            "no table here has a grid with one number in it, [grid] with split.few = [5, 10] say: run such a recipe "
            "with --folds to its end, and give the folder that holds its table.json"
        )
    return figures.panelled(kind, [(panel.data, partial(draw, panel)) for panel in made], caption(made))


def draw(panel: Panel, axes: Axes) -> None:
    """Lines, percent, over axes that reach as far as they do."""
    low, high = _reach(panel)
    for line in panel.lines:
        figures.draw_line(axes, line, 100)
    if panel.chance and panel.chance > low:
        figures.draw_chance(axes, panel.chance)
    axes.set_ylim(100 * low, 100 * high)
    axes.set_xlabel(plain(panel.along), parse_math=False)
    axes.set_ylabel(plain(f"{panel.what}, %"), parse_math=False)
    _number_axis(axes, sorted({point.number for point in panel.points}))


def _reach(panel: Panel) -> tuple[float, float]:
    """The lowest and highest share drawn and a little more, within 0 and 1."""
    ends = [point.mean + side * point.half for point in panel.points for side in (-1, 1)]
    ends += [score for point in panel.points for score in point.scores if len(point.scores) < ENOUGH]
    more = 0.05 * (max(ends) - min(ends)) + 0.005
    return max(0.0, min(ends) - more), min(1.0, max(ends) + more)


def _number_axis(axes: Axes, numbers: Sequence[float]) -> None:
    """A mark at each number and its name where there is room; logarithmic where they span more than a decade."""
    log = numbers[0] > 0 and numbers[-1] / numbers[0] > DECADE
    place = np.log(numbers) if log else np.array(numbers)
    share = (place - place[0]) / max(place[-1] - place[0], np.finfo(float).tiny)
    axes.set_xscale("log" if log else "linear")
    axes.margins(x=EDGE)
    axes.minorticks_off()
    named: list[float] = []
    for at in share:
        named += [at] if not named or at - named[-1] >= APART else []
    axes.set_xticks(numbers, [f"{number:g}" if at in named else "" for number, at in zip(numbers, share, strict=True)])


def caption(made: Sequence[Panel]) -> str:
    """What a reader has to know of these lines."""
    points = [point for panel in made for point in panel.points]
    runs = sum({(point.arm, point.number): int(point.row.get("runs", 0)) for point in points}.values())
    few, many = (any((len(point.scores) < ENOUGH) == small for point in points) for small in (True, False))
    shade = " its shade is the 95 % interval of that mean, Student's t over folds;" if many else ""
    ring = (
        " a ring is one fold, where there are two;" if few and any(len(point.scores) == 2 for point in points) else ""
    )
    return (
        f"{runs} runs: a dot is the mean over folds, seeds averaged first;{shade}{ring} {_opened(points)} Shades that "
        "overlap do not say that two lines are alike: for that, the tables compare them clip by clip."
    )


def _opened(points: Sequence[Point]) -> str:
    looks = max(int(point.row.get("openings", 0)) for point in points)
    if not any(point.row.get("by") == "test" for point in points):
        return "no test fold was opened for it."
    if any("test" in point.row.get("selected", ()) for point in points):
        return f"{BY_TEST}, which was opened up to {looks} times."
    return f"each run's test fold was opened {'once' if looks == 1 else f'up to {looks} times'}."


def _ends(line: Line) -> str:
    first, last = (f"{100 * line.y[end]:.1f} % at {line.x[end]:g}" for end in (0, -1))
    return f"{line.name} {first}, {last}"
