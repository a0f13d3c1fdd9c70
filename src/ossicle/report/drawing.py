"""Axes to draw in -> SVG for the page, or a file: matplotlib draws, and colors become the page's own or its light ones.

On the page every color is a variable, so that figures follow its theme; a file of its own has the light theme's.
Nothing in a drawing depends on the time or on chance.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from ossicle.report.page import STYLE, Markup, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("ink", "muted", "line", "paper", *(f"k{number}" for number in range(10)))
"""The page's colors, by the name of their CSS variable."""
FONT = 8.5
_INKS: ContextVar[dict[str, str]] = ContextVar("inks")


def paint(name: str) -> str:
    """The color of a variable: in a drawing for the page, what stands for it until the drawing is done."""
    return _INKS.get({}).get(name, f"#fd00{NAMES.index(name):02x}")


@contextmanager
def drawing(
    width: float, height: float, alt: str, margins: tuple[float, ...] | None = None
) -> Iterator[tuple[Axes, list[Markup]]]:
    """Axes to draw in, inches; the list holds the finished SVG afterwards. `margins` are left, bottom, right, top."""
    made: list[Markup] = []
    with _blank(width, height, None if margins else "constrained") as drawn:
        axes = drawn.subplots()
        if margins:
            left, bottom, right, top = margins
            drawn.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
        yield axes, made
        out = io.BytesIO()
        drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    made.append(inline(out.getvalue().decode(), alt, round(width * 96)))


@contextmanager
def sheet(kind: Literal["svg", "png"], width: float, height: float) -> Iterator[tuple[Figure, list[bytes]]]:
    """A figure of its own, inches, in the light theme's colors on white; the list holds the finished file later."""
    made: list[bytes] = []
    inks = _INKS.set(_light())
    try:
        with _blank(width, height, "constrained") as drawn:
            yield drawn, made
            out, stamped = io.BytesIO(), {"Date": None} if kind == "svg" else {}
            drawn.savefig(out, format=kind, dpi=200, facecolor="white", metadata=stamped)
        made.append(out.getvalue())
    finally:
        _INKS.reset(inks)


def wrapped(said: str, width: float) -> str:
    """Words broken to a caption of so many inches."""
    return textwrap.fill(said, round(width * 15))


def caption(sheet: Figure, said: str, width: float) -> None:
    """Text below a figure of its own, broken to its width in inches."""
    lines = wrapped(said, width)
    sheet.supxlabel(lines, x=0.01, ha="left", fontsize=FONT - 1, color=paint("muted"), parse_math=False)


@contextmanager
def _blank(width: float, height: float, layout: Literal["constrained"] | None) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name may hold letters that the measuring font lacks
        yield Figure(figsize=(width, height), layout=layout)


def _light() -> dict[str, str]:
    """The colors of the page's light theme, which its style sheet names first."""
    root = STYLE.read_text(encoding="utf-8").partition("}")[0]
    return {name: color for name, color in re.findall(r"--(\w+): (#\w+)", root) if name in NAMES}


def _style() -> Any:
    colors = {
        "ink": ("text.color",),
        "muted": ("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"),
        "line": ("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"),
    }
    style: dict[str, Any] = {key: paint(name) for name, keys in colors.items() for key in keys}
    return style | {
        "svg.fonttype": "path" if _INKS.get({}) else "none",
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
