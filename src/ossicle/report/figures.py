"""Numbers -> SVG for the page: matplotlib draws, and colors become the page's own, so that figures follow its theme.

Every function returns markup with a text for those who cannot see it. Nothing in it depends on the time or on chance.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ossicle.report.page import Markup, plain, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = ("ink", "muted", "line", "paper", *(f"k{number}" for number in range(10)))
"""The page's colors, by the name of their CSS variable."""
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "P": "✚", "X": "✖", "v": "▼", "*": "★"}
FONT = 8.5


def paint(name: str) -> str:
    """The color that stands for a variable of the page until the drawing is done."""
    return f"#fd00{NAMES.index(name):02x}"


def series_color(number: int) -> str:
    """The color of the n-th thing."""
    return f"k{number % 10}"


@dataclass(frozen=True)
class Line:
    """A curve: its points, its name in the legend ("" for none), its color, and whether it is one of many."""

    x: Sequence[float]
    y: Sequence[float]
    name: str = ""
    color: str = "k0"
    faint: bool = False


def curves(
    lines: Sequence[Line], *, what: str, alt: str, epochs: int, shares: bool = False, chance: float | None = None
) -> Markup:
    """Lines over epochs; shares are drawn in percent from 0 to 100, with a dotted line where guessing stands."""
    with _drawing(3.5, 2.4, alt) as (axes, made):
        scale = 100 if shares else 1
        for line in lines:
            style: dict[str, Any] = {"alpha": 0.4, "linewidth": 0.9} if line.faint else {"linewidth": 1.6}
            marker = "o" if len(line.x) == 1 else None
            y = np.array(line.y, dtype=float) * scale
            axes.plot(
                line.x, y, color=paint(line.color), label=plain(line.name) or None, marker=marker, markersize=4, **style
            )
        if shares:
            axes.set_ylim(0, 100)
        elif all(value >= 0 for line in lines for value in line.y):
            axes.set_ylim(bottom=0)
        if chance:
            axes.axhline(100 * chance, color=paint("muted"), linewidth=0.9, linestyle=":")
            axes.text(epochs, 100 * chance + 1.5, "chance", color=paint("muted"), ha="right", va="bottom")
        axes.set_xlim(0, max(epochs, 1))
        axes.set_xlabel("epoch")
        axes.set_ylabel(plain(f"{what}, %" if shares else what), parse_math=False)
        _legend(axes)
    return made[0]


def folds(rows: Sequence[tuple[str, Sequence[float]]], *, what: str, alt: str) -> Markup:
    """One row a variant: each fold a ring, the mean a dot with one standard deviation to each side, in percent."""
    with _drawing(4.6, 0.85 + 0.36 * len(rows), alt) as (axes, made):
        for place, (_, values) in enumerate(rows):
            scores, color = 100 * np.array(values, dtype=float), paint(series_color(place))
            axes.plot(
                scores, np.full(len(scores), place), "o", mfc="none", mec=color, markersize=4.5, mew=0.9, alpha=0.8
            )
            spread = scores.std(ddof=1) if len(scores) > 1 else 0.0
            axes.errorbar(scores.mean(), place + 0.24, xerr=spread, fmt="o", color=color, markersize=5, linewidth=1.5)
        _names(axes, [name for name, _ in rows])
        axes.set_xlabel(f"{what}, %   (ring: one fold; dot: mean ± standard deviation)")
    return made[0]


def differences(rows: Sequence[tuple[str, float, float, float]], *, what: str, alt: str) -> Markup:
    """One row a comparison: a difference and its interval, in points, against a line at zero."""
    with _drawing(4.6, 0.85 + 0.36 * len(rows), alt) as (axes, made):
        axes.axvline(0, color=paint("muted"), linewidth=0.9)
        for place, (_, *numbers) in enumerate(rows):
            mean, low, high = (100 * number for number in numbers)
            color = paint(series_color(place + 1))
            axes.plot([low, high], [place, place], color=color, linewidth=1.6, solid_capstyle="butt")
            axes.plot([mean], [place], "o", color=color, markersize=5)
        _names(axes, [name for name, *_ in rows])
        axes.set_xlabel(plain(what), parse_math=False)
    return made[0]


def spectrogram(image: np.ndarray, *, seconds: float, ticks: Sequence[tuple[float, str]], alt: str) -> Markup:
    """(F, N) levels as an image over time, lowest band at the bottom; `ticks` are (bin, its frequency in kHz)."""
    with _drawing(3.4, 1.7, alt, (0.45, 0.42, 0.08, 0.06)) as (axes, made):
        low, high = np.quantile(image, [0.02, 0.995])
        bins = image.shape[0]
        axes.imshow(
            image,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, bins),
            cmap="magma",
            vmin=low,
            vmax=max(high, low + 1e-6),
            interpolation="none",
        )
        axes.grid(visible=False)
        axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
        axes.set_xlabel("time, s")
        axes.set_ylabel("frequency, kHz")
    return made[0]


def embedding(place: np.ndarray, kind: np.ndarray, right: np.ndarray, *, alt: str) -> Markup:
    """(n, 2) places of clips, colored by class; those answered wrongly are hollow. Distances have no unit."""
    with _drawing(5.2, 4.2, alt) as (axes, made):
        for number in np.unique(kind):
            color, marker = paint(series_color(number)), list(MARKERS)[number // 10 % len(MARKERS)]
            for chosen, fill in ((right, color), (~right, "none")):
                x, y = place[(kind == number) & chosen].T
                axes.scatter(x, y, s=22, marker=marker, facecolors=fill, edgecolors=color, linewidths=1.0)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("first direction (no unit)")
        axes.set_ylabel("second direction (no unit)")
    return made[0]


def swatch(number: int) -> Markup:
    """The n-th class's mark in an embedding, for a legend."""
    mark = list(MARKERS.values())[number // 10 % len(MARKERS)]
    return tag("span", mark, class_="swatch", style=f"color: var(--{series_color(number)})", aria_hidden="true")


def _names(axes: Axes, names: Sequence[str]) -> None:
    shown = [name if len(name) <= 24 else f"{name[:23]}…" for name in map(plain, names)]
    axes.set_yticks(range(len(names)), shown, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.06)


def _legend(axes: Axes) -> None:
    named = [text for text in axes.get_legend_handles_labels()[1] if text]
    if len(named) > 1:
        legend = axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderpad=0.2, columnspacing=1.2)
        for text in legend.get_texts():
            text.set_parse_math(False)


@contextmanager
def _drawing(
    width: float, height: float, alt: str, margins: tuple[float, ...] | None = None
) -> Iterator[tuple[Axes, list[Markup]]]:
    """Axes to draw in, inches; the list holds the finished SVG afterwards. `margins` are left, bottom, right, top."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    made: list[Markup] = []
    with matplotlib.rc_context(_style()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name may hold letters that the measuring font lacks
        drawn = Figure(figsize=(width, height), layout=None if margins else "constrained")
        FigureCanvasSVG(drawn)
        axes = drawn.subplots()
        if margins:
            left, bottom, right, top = margins
            drawn.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
        yield axes, made
        out = io.StringIO()
        drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    made.append(inline(out.getvalue(), alt, round(width * 96)))


def _style() -> Any:
    colors = {
        "ink": ("text.color",),
        "muted": ("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"),
        "line": ("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"),
    }
    style: dict[str, Any] = {key: paint(name) for name, keys in colors.items() for key in keys}
    return style | {
        "svg.fonttype": "none",
        "svg.hashsalt": "ossicle",
        "font.family": "DejaVu Sans",
        "font.size": FONT,
        "axes.labelsize": FONT,
        "xtick.labelsize": FONT,
        "ytick.labelsize": FONT,
        "legend.fontsize": FONT,
        "legend.frameon": False,
        "legend.labelcolor": paint("muted"),
        "legend.handlelength": 1.4,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.linewidth": 0.6,
        "axes.linewidth": 0.8,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "lines.solid_capstyle": "round",
    }


def inline(svg: str, alt: str, width: int) -> Markup:
    """A drawing as part of the page: the page's colors and fonts, no ids of its own but those in use, no addresses."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    for name in NAMES:
        svg = svg.replace(paint(name), f"var(--{name})")
    used = set(re.findall(r'(?:href="|url\()#([^")]*)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    box = re.search(r'viewBox="[^"]*"', svg)
    shown = tag("svg", role="img", aria_label=alt, style=f"--width: {width}px").removesuffix("></svg>")
    return Markup(re.sub(r"<svg[^>]*>", lambda _: f"{shown} {box[0] if box else ''}>", svg, count=1))
