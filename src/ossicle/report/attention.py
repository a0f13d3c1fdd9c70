"""A run and a clip -> where its encoder listens: the clip's image and, over the same time, the weights of each head.

What is drawn is what an encoder's `attention` gives; a step of it stands for as many frames as its `strides` say. The
clip is one of the training part, so no test clip is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ossicle import audio
from ossicle.report import drawing, figures, resolutions
from ossicle.report.drawing import paint
from ossicle.report.found import Found, ReportError
from ossicle.report.page import attempt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ossicle.model import Backbone

WIDE, IMAGE, HEAD, MAP = 7.0, 1.8, 0.42, 0.62  # inches: the sheet, and the height of what stands on it
MAPS = (
    "In the maps, a row a layer, time runs up and to the right: what each example takes of each example (itself), and "
    "of each step of the convolutions (across), from 0 in white to"
)


@dataclass(frozen=True)
class Attended:
    """A clip's first window as an image (F, N), or (F, N, 3), of so many `seconds`, and what heads make of it: by the
    name of a layer (heads, n) `weights` of steps in time, or (pairs, heads, n, m) of one step for another.
    """

    clip: str
    image: np.ndarray
    seconds: float
    weights: dict[str, np.ndarray]
    strides: dict[str, int]

    @property
    def strips(self) -> dict[str, np.ndarray]:
        """Weights that pool over time."""
        return {name: each for name, each in self.weights.items() if each.ndim == 2}

    @property
    def maps(self) -> dict[str, np.ndarray]:
        """Weights of one step for another."""
        return {name: each for name, each in self.weights.items() if each.ndim == 4}

    def edges(self, name: str) -> np.ndarray:
        """(n + 1,) seconds: where each step of a layer's weights begins, and where the last one ends."""
        frames = self.strides[name] * np.arange(self.weights[name].shape[-1] + 1)
        return np.minimum(frames / self.image.shape[1], 1) * self.seconds

    @property
    def caption(self) -> str:
        """How to read it."""
        told = (
            f"{self.clip}, its first {self.seconds:.3g} s as the encoder hears them, and below, over the same time, "
            "how much each head takes of each step. A head's weights sum to 1 and are drawn up to its largest; all "
            "equal they would end at the line."
        )
        ends = " and ".join(f"{each.max():.2g} ({name})" for name, each in self.maps.items())
        return f"{told} {MAPS} {ends}, darker as the root of the weight." if ends else told


def attended(found: Sequence[Found], clip: str | None = None) -> Attended:
    """What the first run of these listens to in the clip of this name, or in one that is drawn from what it learned
    from. ReportError where there is no finished run, none of its layers attends, or the clip cannot be read.
    """
    from ossicle.model import Classifier, load

    runs = [run for one in found for run in (one.runs or (one,)) if run.kind == "run"]
    if not runs or runs[0].model is None:
        raise ReportError("no finished run here, with its weights: give the folder of one, runs/rec say")
    model = load(runs[0].folder)
    backbone = model.backbone if isinstance(model, Classifier) else model
    if not hasattr(backbone.encoder, "strides"):
        name = backbone.specs["encoder"].name
        raise ReportError(f"the encoder '{name}' of {runs[0].folder} weighs no steps in time; small, vfm, jrm, cmam do")
    shown = resolutions.clip_of(runs[0], clip)
    how: dict[str, Any] = {"channels": "mix" if backbone.channels == 1 else backbone.channels}
    wave = audio.read(shown.path, sample_rate=backbone.sample_rate, start=shown.start, stop=shown.stop, **how)
    image, weights = _heard(backbone, audio.fit(wave, backbone.window, policy=backbone.policy))
    return Attended(shown.name, image, backbone.frontend.seconds, weights, backbone.encoder.strides())


def _heard(backbone: Backbone, window: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(C, T) -> the image and the weights of each layer; of several channels their mean."""
    import torch

    with torch.no_grad():
        image = backbone.frontend(torch.from_numpy(np.ascontiguousarray(window))[None])
        weights = backbone.encoder.attention(((image - backbone.mean) / backbone.sd).flatten(0, 1))
    seen = image[0].mean(0).numpy()
    named = {"pool": weights} if isinstance(weights, torch.Tensor) else weights
    made = {name: each.mean(0).numpy() for name, each in named.items()}
    return seen.transpose(1, 2, 0) if len(seen) == 3 else seen.mean(0), made


def file(found: Sequence[Found], kind: Literal["svg", "png"], clip: str | None = None) -> bytes:
    """The drawing as a file of its own. ReportError where there is nothing to draw."""
    made, sentence = attempt(lambda: attended(found, clip))
    if made is None:
        raise ReportError(f"there is no attention to show: {sentence}")
    heads = [(name, head) for name, each in made.strips.items() for head in range(len(each))]
    rows = [(name, pair) for name, each in made.maps.items() for pair in range(len(each))]
    heights = [IMAGE, *(HEAD for _ in heads), *(MAP for _ in rows)]
    columns = max((each.shape[1] for each in made.maps.values()), default=1)
    with drawing.sheet(kind, WIDE, sum(heights) + 0.8) as (whole, files):
        places = whole.add_gridspec(len(heights), columns, height_ratios=heights)
        top = whole.add_subplot(places[0, :])
        _image(top, made)
        strips = [whole.add_subplot(places[row, :], sharex=top) for row, _ in enumerate(heads, 1)]
        for axes, (name, head) in zip(strips, heads, strict=True):
            _strip(axes, made, name, head)
        whole.align_ylabels(strips)
        for row, (name, pair) in enumerate(rows, 1 + len(heads)):
            _maps([whole.add_subplot(places[row, column]) for column in range(columns)], made, name, pair)
        drawing.caption(whole, made.caption, WIDE)
    return files[0]


def _image(axes: Axes, made: Attended) -> None:
    figures.show(axes, made.image, made.seconds)
    axes.set_xlim(0, made.seconds)
    axes.set_xlabel("time, s")


def _strip(axes: Axes, made: Attended, name: str, head: int) -> None:
    """One head's weights, each as wide as what it is of."""
    weights = made.weights[name][head]
    top = float(weights.max())
    axes.stairs(weights, made.edges(name), fill=True, color=paint("k0"))
    axes.axhline(1 / len(weights), color=paint("ink"), linewidth=0.6)
    axes.grid(visible=False)
    axes.set_ylim(0, 1.08 * top)
    axes.set_yticks([top], [f"{top:.2g}"])
    axes.tick_params(labelbottom=False)
    whose = f"head {head + 1}" if len(made.strips) == 1 else f"{name} {head + 1}"
    axes.set_ylabel(whose, rotation=0, ha="right", va="center")


def _maps(places: Sequence[Axes], made: Attended, name: str, pair: int) -> None:
    """One layer's weights, a map a head; all layers of a kind to one scale."""
    shade = np.sqrt(made.weights[name] / made.weights[name].max())
    for head, axes in enumerate(places):
        axes.imshow(shade[pair, head], origin="lower", aspect="auto", vmin=0, vmax=1, cmap="Greys", **figures.EXACT)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
        if pair == 0:
            axes.set_title(f"head {head + 1}", fontsize=drawing.FONT - 1)
        if head == 0:
            axes.set_ylabel(f"{name} {pair + 1}", rotation=0, ha="right", va="center")
