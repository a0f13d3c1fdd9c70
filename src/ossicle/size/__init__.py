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

if TYPE_CHECKING:
    from torch import Tensor, nn

GRAPH = "model.onnx"


@dataclass(frozen=True)
class Row:
    """A layer: its parameters, the shape of what it makes, its multiply-adds, and the seconds it takes (the median)."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    seconds: float | None = None


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

    `multiply_adds` are those of convolutions and linear layers (in a bundle, of all matrix products, the front end's
    Fourier transform among them). `peak_bytes` is the most that is alive at once of what is computed, input included
    and weights not; `kept_bytes` what one clip adds to a training step's memory. Both are None for a bundle, whose
    runtime does not tell. `files` are the sizes of a folder's files in bytes.
    """

    rows: tuple[Row, ...]
    parameters: int
    multiply_adds: int
    latency: Latency
    peak_bytes: int | None = None
    kept_bytes: int | None = None
    files: Mapping[str, int] = field(default_factory=dict)


def size(model: nn.Module | str | Path, example: Tensor | None = None, *, repeats: int = 10) -> Size:
    """The size of a module, of a folder with a model or a run, or of a bundle.

    `example` (1, ...) is what a module that is no Backbone or Classifier is called with; those hear a window of noise.
    Latency is measured here and now, `repeats` times, so it is a number about this machine. ValueError without an
    example where one is needed; CheckpointError or OSError where a folder holds no model.
    """
    if not isinstance(model, str | Path):
        from ossicle.size.network import of_module

        return of_module(model, example, repeats)
    folder = Path(model)
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
