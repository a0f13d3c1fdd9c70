"""Numbers -> SVG for the page, every figure with a text for those who cannot see it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ossicle.report.drawing import caption, drawing, paint, sheet, wrapped
from ossicle.report.page import Markup, plain, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

RANGE = 80.0  # dB
THUMBNAIL = 96, 128
EXACT: dict[str, Any] = {"interpolation": "none"}
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "P": "✚", "X": "✖", "v": "▼", "*": "★"}


def series_color(number: int) -> str:
    """The color of the n-th thing."""
    return f"k{number % 10}"


@dataclass(frozen=True)
class Line:
    """A curve: its points, its name in the legend ("" for none), its color, and whether it is one of many.

    `spread` is shaded to both sides of it; `marked`, its points are dots; `rings` are the single values at each point.
    """

    x: Sequence[float]
    y: Sequence[float]
    name: str = ""
    color: str = "k0"
    faint: bool = False
    spread: Sequence[float] = ()
    marked: bool = False
    rings: Sequence[Sequence[float]] = ()


def curves(
    lines: Sequence[Line],
    *,
    what: str,
    alt: str,
    epochs: int,
    shares: bool = False,
    chance: float | None = None,
    legend: bool = True,
) -> Markup:
    """Lines over epochs; shares are drawn in percent from 0 to 100, with a dotted line where guessing stands."""
    with drawing(3.5, 2.4, alt) as (axes, made):
        draw_curves(axes, lines, what=what, epochs=epochs, shares=shares, chance=chance)
        if legend:
            _legend(axes)
    return made[0]


def draw_curves(
    axes: Axes, lines: Sequence[Line], *, what: str, epochs: int, shares: bool = False, chance: float | None = None
) -> None:
    """The curves of a figure, without its legend."""
    for line in lines:
        draw_line(axes, line, 100 if shares else 1)
    if shares:
        axes.set_ylim(0, 100)
    elif all(value >= 0 for line in lines for value in line.y):
        axes.set_ylim(bottom=0)
    if chance:
        draw_chance(axes, chance)
    axes.set_xlim(0, max(epochs, 1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(plain(f"{what}, %" if shares else what), parse_math=False)


def draw_chance(axes: Axes, chance: float) -> None:
    """A dotted line where guessing stands, percent."""
    muted, side = paint("muted"), axes.get_yaxis_transform()
    axes.axhline(100 * chance, color=muted, linewidth=0.9, linestyle=":")
    above: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "right", "va": "bottom"}
    axes.annotate("chance", (1, 100 * chance), xycoords=side, color=muted, **above)


def draw_line(axes: Axes, line: Line, scale: float) -> None:
    """A curve with all that belongs to it, its values times `scale`."""
    style: dict[str, Any] = {"alpha": 0.4, "linewidth": 0.9} if line.faint else {"linewidth": 1.6}
    marker, color = "o" if line.marked or len(line.x) == 1 else None, paint(line.color)
    y = np.array(line.y, dtype=float) * scale
    axes.plot(line.x, y, color=color, label=plain(line.name) or None, marker=marker, markersize=4, **style)
    if line.spread:
        half = np.array(line.spread, dtype=float) * scale
        axes.fill_between(line.x, y - half, y + half, color=color, alpha=0.22, linewidth=0)
    for place, values in zip(line.x, line.rings, strict=False):
        single = np.array(values, dtype=float) * scale
        axes.plot(np.full(len(single), place), single, "o", mfc="none", mec=color, markersize=4.5, mew=0.9, alpha=0.8)


def panelled(
    kind: Literal["svg", "png"],
    panels: Sequence[tuple[str, Callable[[Axes], None]]],
    said: str,
    *,
    high: float | None = None,
) -> bytes:
    """Titled panels, each `high` inches, as a file of their own: two side by side, one legend above, words below."""
    columns = min(2, len(panels))
    down, wide, usual = -(-len(panels) // columns), *((4.8, 3.0) if columns == 1 else (7.2, 2.6))
    high = usual if high is None else high
    with sheet(kind, wide, high * down + 0.45 + 0.13 * wrapped(said, wide).count("\n")) as (whole, files):
        places = whole.subplots(down, columns, squeeze=False).ravel()
        for axes, (title, draw) in zip(places, panels, strict=False):
            draw(axes)
            axes.set_title(plain(title), parse_math=False)
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        shared_legend(whole, places[: len(panels)])
        caption(whole, said, wide)
    return files[0]


def folds(rows: Sequence[tuple[str, Sequence[float]]], *, what: str, alt: str) -> Markup:
    """One row a variant: each fold a ring, the mean a dot with one standard deviation to each side, in percent."""
    with drawing(4.6, 0.85 + 0.36 * len(rows), alt) as (axes, made):
        for place, (_, values) in enumerate(rows):
            scores, color = 100 * np.array(values, dtype=float), paint(series_color(place))
            axes.plot(
                scores, np.full(len(scores), place), "o", mfc="none", mec=color, markersize=4.5, mew=0.9, alpha=0.8
            )
            spread = scores.std(ddof=1) if len(scores) > 1 else 0.0
            axes.errorbar(scores.mean(), place + 0.24, xerr=spread, fmt="o", color=color, markersize=5, linewidth=1.5)
        name_rows(axes, [name for name, _ in rows])
        axes.set_xlabel(f"{what}, %   (ring: one fold; dot: mean ± standard deviation)")
    return made[0]


def differences(rows: Sequence[tuple[str, float, float, float]], *, what: str, alt: str) -> Markup:
    """One row a comparison: a difference and its interval, in points, against a line at zero."""
    with drawing(4.6, 0.85 + 0.36 * len(rows), alt) as (axes, made):
        axes.axvline(0, color=paint("muted"), linewidth=0.9)
        for place, (_, *numbers) in enumerate(rows):
            mean, low, high = (100 * number for number in numbers)
            color = paint(series_color(place + 1))
            axes.plot([low, high], [place, place], color=color, linewidth=1.6, solid_capstyle="butt")
            axes.plot([mean], [place], "o", color=color, markersize=5)
        name_rows(axes, [name for name, *_ in rows])
        axes.set_xlabel(plain(what), parse_math=False)
    return made[0]


def spectrogram(
    image: np.ndarray, *, seconds: float, ticks: Sequence[tuple[float, str]], axis: str, alt: str
) -> Markup:
    """(F, N) levels, or (F, N, 3), as an image over time, lowest at the bottom; `ticks` are (bin, its name)."""
    with drawing(3.4, 1.7, alt, (0.45, 0.42, 0.08, 0.06)) as (axes, made):
        show(axes, image, seconds)
        axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
        axes.set_xlabel("time, s")
        axes.set_ylabel(axis)
    return made[0]


def show(axes: Axes, image: np.ndarray, seconds: float) -> None:
    """(F, N) levels, or (F, N, 3), over time and its bins from below, which are not marked."""
    axes.imshow(tones(image), origin="lower", aspect="auto", extent=(0, seconds, 0, image.shape[0]), **EXACT)
    axes.grid(visible=False)
    axes.set_yticks([])


def tones(image: np.ndarray) -> np.ndarray:
    """(F, N) levels -> (F, N, 3) colors from dark to light; of (F, N, 3) levels each is one color's strength.

    The loudest 0.5 % are full, the faintest 2 % dark; in color, what lies 80 dB below the loudest is dark at least.
    """
    from matplotlib import colormaps

    low, high = np.quantile(image, [0.02, 0.995])
    low = max(low, high - RANGE) if image.ndim == 3 else low
    share = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return share if image.ndim == 3 else colormaps["magma"](share)[..., :3]


def thumbnail(image: np.ndarray, alt: str) -> Markup:
    """A small picture of levels without axes, averaged down to what can be seen of it."""
    from matplotlib.image import imsave

    for axis, most in enumerate(THUMBNAIL):
        image = _averaged(image, axis, most)
    out = io.BytesIO()
    imsave(out, np.ascontiguousarray(tones(image)), format="png", origin="lower")
    (height, width), data = image.shape[:2], base64.b64encode(out.getvalue()).decode()
    picture = tag("image", href=f"data:image/png;base64,{data}", width=width, height=height)
    return tag("svg", picture, role="img", aria_label=alt, viewBox=f"0 0 {width} {height}")


def _averaged(image: np.ndarray, axis: int, most: int) -> np.ndarray:
    """At most so many rows or columns, each the mean of as many of the image's."""
    size = image.shape[axis]
    if size <= most:
        return image
    edges = np.arange(most) * size // most
    count = np.diff(edges, append=size).reshape([-1 if place == axis else 1 for place in range(image.ndim)])
    return np.add.reduceat(image, edges, axis=axis) / count


def embedding(place: np.ndarray, kind: np.ndarray, right: np.ndarray, *, alt: str) -> Markup:
    """(n, 2) places of clips, colored by class; those answered wrongly are hollow. Distances have no unit."""
    with drawing(5.2, 4.2, alt) as (axes, made):
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
    return _swatch(list(MARKERS.values())[number // 10 % len(MARKERS)], series_color(number))


def dash(color: str) -> Markup:
    """A line's color, for a legend."""
    return _swatch("━", color)


def _swatch(mark: str, color: str) -> Markup:
    return tag("span", mark, class_="swatch", style=f"color: var(--{color})", aria_hidden="true")


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """A row of the figure a name, the first on top."""
    shown = [name if len(name) <= 24 else f"{name[:23]}…" for name in map(plain, names)]
    axes.set_yticks(range(len(names)), shown, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.06)


def _legend(axes: Axes) -> None:
    names = axes.get_legend_handles_labels()[1]
    if len(names) > 1:
        columns = max(1, min(3, 46 // (max(map(len, names)) + 5)))
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0)}
        _literally(axes.legend(**place, ncols=columns, borderpad=0.2, columnspacing=1.2))


LETTERS_AN_INCH = 12


def shared_legend(sheet: Figure, panels: Iterable[Axes]) -> None:
    """One legend above all panels of a figure, every name once."""
    found = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    if len(found) > 1:
        fit = int(
            sheet.get_figwidth() * LETTERS_AN_INCH / (max(map(len, found)) + 6)
        )  # 6: the dash and what is around it
        columns = max(1, min(4, fit))
        _literally(sheet.legend(found.values(), found.keys(), loc="outside upper center", ncols=columns))


def _literally(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)
