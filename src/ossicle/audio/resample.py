"""(t, C) stretches at one rate -> (t', C) stretches at another, by soxr; and which stretch of a file a part needs.

soxr's stream gives the same bits however its input is cut (measured). Its output n lies at source sample
n * rate / target, so a part that is decoded from a multiple of rate / gcd(rate, target) on lies on the whole file's own
grid, and with a margin for the filter it equals that part of the whole to float32 rounding (measured: 6e-7).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """Decode frames `first` up to `last` (None: the end), resample, drop `skip`, keep `length` (None: all)."""

    first: int
    last: int | None
    skip: int
    length: int | None


def part(start: float, stop: float | None, rate: int, target: int) -> Part:
    """From `start` to `stop` seconds: samples round(start * target) up to round(stop * target) of the whole."""
    if start < 0 or not math.isfinite(start) or (stop is not None and not stop > start):
        raise ValueError(f"a part runs from a start of 0 s or more to a later stop, not from {start} s to {stop} s")
    if target < 1:
        raise ValueError(f"a sample rate in Hz was wanted, not {target}")
    begin = round(start * target)
    length = None if stop is None or math.isinf(stop) else max(1, round(stop * target) - begin)
    if rate == target:
        return Part(begin, None if length is None else begin + length, 0, length)
    # The HQ filter's half length, 512 samples of the slower rate being several times what it needs.
    margin = 512 * max(1, -(-rate // target))
    shared = math.gcd(rate, target)
    first = max(0, begin * rate // target - margin) // (rate // shared) * (rate // shared)
    last = None if length is None else -(-(begin + length) * rate // target) + margin
    return Part(first, last, begin - first // (rate // shared) * (target // shared), length)


def resampled(stretches: Iterable[np.ndarray], rate: int, target: int) -> Iterator[np.ndarray]:
    """Stretches (t, C) float32 at `rate` -> at `target` Hz (soxr HQ: anti-aliased, linear phase, no delay)."""
    if rate == target:
        yield from stretches
        return
    import soxr

    stream = None
    for stretch in stretches:
        stream = stream or soxr.ResampleStream(rate, target, stretch.shape[1], dtype="float32", quality="HQ")
        yield stream.resample_chunk(stretch)
        rest = stretch[:0]
    if stream is not None:
        yield stream.resample_chunk(rest, last=True)


def cut(stretches: Iterable[np.ndarray], skip: int, length: int | None) -> Iterator[np.ndarray]:
    """Stretches (t, C) without their first `skip` samples, and no more than `length`; empty ones are left out."""
    for stretch in stretches:
        kept = stretch[skip:] if length is None else stretch[skip : skip + length]
        skip = max(0, skip - len(stretch))
        length = None if length is None else length - len(kept)
        if len(kept):
            yield kept
