"""A tuned bundle -> its trade-off: false alarms an hour by threshold, what is promised, and the events found."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ossicle.deploy.tradeoff import NEVER, Choice, Tuning
from ossicle.durable import write as to_disk
from ossicle.report import figures
from ossicle.report.drawing import paint
from ossicle.report.figures import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write(tuning: Tuning, path: Path) -> None:
    """Draws into an .svg or .png file. ModuleNotFoundError where matplotlib is not installed."""
    to_disk(path, file(tuning, "png" if path.suffix == ".png" else "svg"))


def file(tuning: Tuning, kind: Literal["svg", "png"]) -> bytes:
    """A panel a class, as a file of its own."""
    panels = [(choice.label, partial(draw, choice, tuning.max_per_hour)) for choice in tuning.choices]
    said = f"From {tuning.hours:.3g} hours of background. Shaded: up to the one-sided 95 % bound of a Poisson rate."
    return figures.panelled(kind, panels, said)


def draw(choice: Choice, promise: float, axes: Axes) -> None:
    """False alarms an hour over the threshold, with lines at the promise and the choice; events found, in percent."""
    points = [point for point in choice.points if point.threshold != NEVER]
    on = [point.threshold for point in points]
    heard = [point.per_hour for point in points]
    figures.draw_line(axes, Line(on, heard, "false alarms an hour"), 1)
    axes.fill_between(on, heard, [point.at_most for point in points], color=paint("k0"), alpha=0.22, linewidth=0)
    axes.axhline(promise, color=paint("ink"), linewidth=0.9, linestyle=":", label="promised")
    if choice.chosen.threshold != NEVER:
        axes.axvline(choice.chosen.threshold, color=paint("ink"), linewidth=0.9, label="chosen")
    axes.set_ylim(0, 4 * promise)
    axes.set_xlim(min(on, default=0), 1)
    axes.set_xlabel("threshold")
    axes.set_ylabel("false alarms an hour")
    if points and points[0].found is not None:
        share = axes.twinx()
        figures.draw_line(share, Line(on, [point.found or 0.0 for point in points], color="k1"), 100)
        figures.draw_line(axes, Line([], [], "events found, %", "k1"), 1)  # for the legend
        share.set_ylim(0, 100)
        share.grid(visible=False)
        share.set_ylabel("events found, %")
