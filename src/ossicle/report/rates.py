"""Learning-rate range tests -> their curves: the loss that each rate met, smoothed, and the rate that it suggests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from ossicle.rates import Tried
from ossicle.report import figures
from ossicle.report.drawing import paint
from ossicle.report.figures import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def file(tried: Sequence[Tried], said: str, kind: Literal["svg", "png"]) -> bytes:
    """A panel a rate as a file of its own, `said` below them."""
    return figures.panelled(kind, [(_title(each), partial(draw, each)) for each in tried], said)


def draw(tried: Tried, axes: Axes) -> None:
    """One curve, with lines at the rate that it suggests and at the recipe's."""
    found = tried.found
    axes.plot(found.rate, found.loss, ".", color=paint("muted"), markersize=3, alpha=0.6)
    figures.draw_line(axes, Line(found.rate.tolist(), found.smooth.tolist()), 1)
    for rate, name, style in ((found.suggestion, "suggested", "-"), (tried.lr, "the recipe's", ":")):
        if rate is not None:
            axes.axvline(rate, color=paint("ink"), linewidth=0.9, linestyle=style, label=name)
    low, high = min(found.smooth.min(), found.loss.min()), np.quantile(found.smooth, 0.95)
    room = 0.25 * max(high - low, 1e-3 * abs(high), 1e-12)
    axes.set_ylim(low - room, max(high, found.smooth[0]) + room)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss, smoothed (dots: as it came)")


def _title(tried: Tried) -> str:
    rate, place = tried.found.suggestion, tried.key[tried.key.index("stages.") :]
    return f"{', '.join(filter(None, (tried.variant, place)))}: {'none' if rate is None else f'{rate:.1e}'}"
