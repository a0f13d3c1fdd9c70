"""(F, K) matrices, windows and paddings -> the plain values by which firmware works out an image by itself.

`workings()` of a front end lists the steps of its `forward` in order, as `ossicle.deploy.image` reads them without
torch: there stands what each does. Numbers are the shortest decimals that give the same float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from ossicle.frontends.stft import Framing


def numbers(row: Tensor) -> list[float]:
    """(n,) -> n plain numbers."""
    return [float(str(value)) for value in row.detach().cpu().numpy().astype(np.float32)]


def rows(matrix: Tensor) -> list[dict[str, Any]]:
    """(F, K), each row nonzero in one place -> for each row the column of its `first` weight, and its `weights`."""
    found = []
    for row in matrix.float():
        kept = row.nonzero().flatten().tolist()
        found.append({"first": kept[0], "weights": numbers(row[kept[0] : kept[-1] + 1])})
    return found


def power(framing: Framing) -> list[dict[str, Any]]:
    """What `Spectrum` does: a wave's frames, and their power at each frequency."""
    before, after = framing.padding
    pad = {"reflect": "mirror", "constant": "zeros"}[framing.pad_mode]
    cut = {"before": before, "after": after, "pad": pad, "win": framing.win, "hop": framing.hop}
    return [{"do": "frame", **cut, "window": numbers(framing.weights())}, {"do": "power", "n_fft": framing.n_fft}]


def log(efold: float, *, offset: float = 0.0, floor: float = 0.0) -> dict[str, Any]:
    """A logarithm: what a value gains where it grows by a factor of e, what is added before, what it is at least."""
    return {"do": "log", "factor": efold, "offset": offset, "floor": floor}
