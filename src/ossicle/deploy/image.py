"""(C, T) -> (C, M, F, N): an image from a wave as frontend.json says, step by step. numpy alone, in float64.

This is what firmware does that works out images itself, and what it can be compared with. `SAYS` explains each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

SAYS = {
    "trim": "cut off the ends whose samples, of all channels, stay `below` decibels under the largest magnitude; keep "
    "all of a wave that is nowhere louder than `silent`",
    "level": "take away each channel's mean, and divide by its largest magnitude plus `headroom`",
    "frame": "put `before` samples in front and `after` behind, zeros, or the wave mirrored at its ends without "
    "repeating these; cut frames of `win` samples every `hop`; multiply each by `window`",
    "power": "of each frame x, |sum over t of x[t] exp(-2 pi i k t / n_fft)|^2 for k = 0, 1, ... n_fft / 2",
    "root": "the square root of each value",
    "bands": "of each frame, a sum a row: weights[j] times the value of frequency first + j",
    "maps": "one map after the other: `bins` frequencies, the next `bins`, ...; what is left over is dropped",
    "log": "factor * ln(max(value, floor) + offset)",
    "range": "raise what is under the highest value of all channels by more than `below`; subtract the lowest; divide "
    "by the highest, or by `least` where that is more",
    "repeat": "repeat the frames from the first on, or cut them, until there are `frames`",
    "resize": "as `bands`, once over the frequencies (`bins`) and once over the frames (`frames`)",
}


def image(workings: Sequence[Mapping[str, Any]], wave: np.ndarray) -> np.ndarray:
    """(C, T) -> (C, M, F, N) float32, M, F and N as the `workings` make them. ValueError for a step nobody knows."""
    values = np.asarray(wave, np.float64)
    for step in workings:
        if step["do"] not in STEPS:
            raise ValueError(f"a front end wants the step '{step['do']}'; known: {', '.join(STEPS)}")
        values = STEPS[step["do"]](values, **{name: value for name, value in step.items() if name != "do"})
    return values.astype(np.float32)


def _trim(wave: np.ndarray, *, below: float, silent: float) -> np.ndarray:
    envelope = np.abs(wave).max(axis=0)
    if envelope.max() <= silent:
        return wave
    heard = np.flatnonzero((envelope >= envelope.max() * 10 ** (-below / 20)) & (envelope > 0))
    return wave[:, heard[0] : heard[-1] + 1]


def _level(wave: np.ndarray, *, headroom: float) -> np.ndarray:
    freed = wave - wave.mean(axis=1, keepdims=True)
    return freed / (np.abs(freed).max(axis=1, keepdims=True) + headroom)


def _frame(
    wave: np.ndarray, *, before: int, after: int, pad: str, win: int, hop: int, window: Sequence[float]
) -> np.ndarray:
    """(C, T) -> (C, N, win)."""
    place = np.arange(-before, wave.shape[1] + after)
    if pad == "mirror":
        last = wave.shape[1] - 1
        padded = wave[:, last - np.abs(place % max(1, 2 * last) - last)]
    else:
        padded = np.where((place >= 0) & (place < wave.shape[1]), wave[:, place.clip(0, wave.shape[1] - 1)], 0)
    return np.lib.stride_tricks.sliding_window_view(padded, win, axis=1)[:, ::hop] * np.asarray(window)


def _power(frames: np.ndarray, *, n_fft: int) -> np.ndarray:
    """(C, N, win) -> (C, 1, K, N)."""
    return np.square(np.abs(np.fft.rfft(frames, n_fft, axis=-1))).swapaxes(1, 2)[:, None]


def _bands(values: np.ndarray, *, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(..., K, N) -> (..., F, N)."""
    cut = [(np.asarray(row["weights"]), row["first"]) for row in rows]
    return np.stack([weights @ values[..., first : first + len(weights), :] for weights, first in cut], axis=-2)


def _maps(values: np.ndarray, *, maps: int, bins: int) -> np.ndarray:
    """(C, 1, K, N) -> (C, M, F, N)."""
    return values[:, 0, : maps * bins].reshape(len(values), maps, bins, -1)


def _log(values: np.ndarray, *, factor: float, offset: float, floor: float) -> np.ndarray:
    return factor * np.log(np.maximum(values, floor) + offset)


def _range(values: np.ndarray, *, below: float, least: float) -> np.ndarray:
    low = max(values.min(), values.max() - below)
    return (np.maximum(values, low) - low) / max(values.max() - low, least)


def _repeat(values: np.ndarray, *, frames: int) -> np.ndarray:
    return values[..., np.arange(frames) % values.shape[-1]]


def _resize(
    values: np.ndarray, *, bins: Sequence[Mapping[str, Any]], frames: Sequence[Mapping[str, Any]]
) -> np.ndarray:
    return _bands(_bands(values, rows=bins).swapaxes(-1, -2), rows=frames).swapaxes(-1, -2)


STEPS: dict[str, Callable[..., np.ndarray]] = {
    **{"trim": _trim, "level": _level, "frame": _frame, "power": _power, "root": np.sqrt, "bands": _bands},
    **{"maps": _maps, "log": _log, "range": _range, "repeat": _repeat, "resize": _resize},
}
