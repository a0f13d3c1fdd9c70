"""A learning-rate range test -> its curve: the loss that each rate met, smoothed, and the rate that it suggests."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ossicle.rates import RangeTest
from ossicle.report import figures
from ossicle.report.drawing import caption, paint, sheet, wrapped
from ossicle.report.figures import Line

WIDE, HIGH = 4.8, 3.0  # inches


def file(found: RangeTest, said: str, lr: float, kind: Literal["svg", "png"]) -> bytes:
    """The figure as a file of its own, `said` below it; `lr` is the rate that the recipe has."""
    with sheet(kind, WIDE, HIGH + 0.45 + 0.13 * wrapped(said, WIDE).count("\n")) as (whole, files):
        axes = whole.subplots()
        axes.plot(found.rate, found.loss, ".", color=paint("muted"), markersize=3, alpha=0.6)
        figures.draw_line(axes, Line(found.rate.tolist(), found.smooth.tolist()), 1)
        for rate, name, style in ((found.suggestion, "suggested", "-"), (lr, "the recipe's", ":")):
            if rate is not None:
                axes.axvline(rate, color=paint("ink"), linewidth=0.9, linestyle=style, label=f"{name}: {rate:.1e}")
        low, high = min(found.smooth.min(), found.loss.min()), np.quantile(found.smooth, 0.95)
        room = 0.25 * max(high - low, 1e-3 * abs(high), 1e-12)
        axes.set_ylim(low - room, max(high, found.smooth[0]) + room)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss, smoothed (dots: as it came)")
        axes.legend()
        caption(whole, said, WIDE)
    return files[0]
