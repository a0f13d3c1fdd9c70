"""A model or a bundle -> Size: parameters, multiply-adds, memory, file sizes and latency, layer by layer and in all.

Everything is counted on one window of sound (or one example), so the numbers are those of one answer on a device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ossicle import slots

if TYPE_CHECKING:
    from torch import Tensor, nn

GRAPH = "model.onnx"
MOST_BYTES, MOST_MULTIPLY_ADDS = 128_000, 30_000_000
"""What low-complexity acoustic scene classification allowed in DCASE's challenges of 2022 and 2023 (task 1): weights of
8 bit, and multiply-adds for an answer about one second.
"""


@dataclass(frozen=True)
class Row:
    """A layer: its parameters, the shape of what it makes, its multiply-adds, and the seconds it takes (the median).

    `frontend` says that it is a part of what turns sound into an image. Multiply-adds of a module's front end are those
    of the form that is exported, whose Fourier transform is a product with matrices; its seconds are those of the form
    that is run here, by a fast one.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    seconds: float | None = None
    frontend: bool = False


@dataclass(frozen=True)
class Latency:
    """Seconds from samples to answer on one thread: the first call, the median, and the slowest in twenty.

    `heard` is how many seconds of sound an answer is about, None where the example is no sound.
    """

    first: float
    median: float
    slow: float
    heard: float | None = None

    @property
    def times_real_time(self) -> float | None:
        """How many seconds of sound, window beside window, are heard in one second of work."""
        return self.heard / self.median if self.heard else None


@dataclass(frozen=True)
class Size:
    """What a model needs for one answer.

    `parameters` are all numbers of its layers; of a bundle, all that its graph holds. `weights` are those that a device
    keeps for the network: biases too, batch normalization folded into the layer right in front of it (elsewhere two
    numbers a channel), without the tables of a front end, the image's mean and deviation and the temperature.
    `peak_bytes` is the most that is alive at once of what is computed, input included and weights not, and
    `network_peak_bytes` that of the network alone, from the image on; `kept_bytes` is what one clip adds to a training
    step's memory. They are None for a bundle, whose runtime does not tell. `files` are the sizes of a folder's files in
    bytes.
    """

    rows: tuple[Row, ...]
    parameters: int
    weights: int
    latency: Latency
    peak_bytes: int | None = None
    network_peak_bytes: int | None = None
    kept_bytes: int | None = None
    files: Mapping[str, int] = field(default_factory=dict)

    @property
    def multiply_adds(self) -> int:
        """Those of the network alone: convolutions, linear layers, recurrences and all other products of matrices.

        Additions of biases, normalization, activations and poolings by mean or maximum are none.
        """
        return sum(row.multiply_adds for row in self.rows if not row.frontend)

    @property
    def frontend_multiply_adds(self) -> int | None:
        """Those of the front end alone; None where there is none, or none can be told from the network."""
        ears = [row.multiply_adds for row in self.rows if row.frontend]
        return sum(ears) if ears else None

    @property
    def fits(self) -> bool | None:
        """Whether the network keeps `MOST_BYTES` at 8 bit and `MOST_MULTIPLY_ADDS` a second of sound, window beside
        window; None of what is no sound.
        """
        heard = self.latency.heard
        return (
            None if heard is None else self.weights <= MOST_BYTES and self.multiply_adds <= MOST_MULTIPLY_ADDS * heard
        )


def size(model: nn.Module | str | Path, example: Tensor | None = None, *, repeats: int = 10) -> Size:
    """The size of a module, of a folder with a model or a run, or of a bundle.

    `example` (1, ...) is what a module that is no Backbone or Classifier is called with; those hear a window of noise.
    Latency is measured here and now, `repeats` times, so it is a number about this machine. ValueError without an
    example where one is needed; CheckpointError or OSError where a folder holds no model.
    """
    if not isinstance(model, str | Path):
        from ossicle.size.network import of_module

        return of_module(model, example, repeats)
    folder = slots.live(model)
    if (folder / GRAPH).exists():
        from ossicle.size.graph import of_bundle

        return replace(of_bundle(folder, repeats), files=_files(folder))
    from ossicle.model import load
    from ossicle.size.network import of_module

    place = folder / "model" if (folder / "recipe.json").exists() else folder
    return replace(of_module(load(folder), None, repeats), files=_files(place))


def time_calls(answer: Callable[[], Any], repeats: int, heard: float | None = None) -> Latency:
    """Calls `answer` once and then `repeats` times."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        answer()
        taken.append(time.perf_counter() - began)
    return Latency(taken[0], float(np.median(taken[1:])), float(np.quantile(taken[1:], 0.95)), heard)


def noise(channels: int, length: int) -> np.ndarray:
    """(1, C, T) float32: a quiet window for measuring, always the same."""
    return np.random.default_rng(0).normal(0, 0.1, (1, channels, length)).astype(np.float32)


def _files(folder: Path) -> dict[str, int]:
    return {item.name: item.stat().st_size for item in sorted(folder.iterdir()) if item.is_file()}
