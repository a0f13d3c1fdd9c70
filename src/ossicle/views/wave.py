"""(B, C, T) -> (B, C, t): views of waves. t = T, except for `Crop`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ossicle.draw import Draw


def pieces(signal: Tensor, start: Tensor, length: int) -> Tensor:
    """(B, ..., T), (B,) -> (B, ..., length): from each clip the `length` steps that begin at its own `start`."""
    parts = [clip.narrow(-1, at, length) for clip, at in zip(signal, start.tolist(), strict=True)]
    return torch.stack(parts)


class Crop:
    """A piece of `seconds` from anywhere in the wave, one place for all channels."""

    domain = "wave"

    def __init__(self, *, seconds: float, sample_rate: int) -> None:
        self.length = round(seconds * sample_rate)
        if self.length < 1:
            raise ValueError(f"a crop of {seconds:g} s holds no sample: wanted a positive length.")

    def __call__(self, wave: Tensor, draw: Draw) -> Tensor:
        spare = wave.shape[-1] - self.length
        if spare < 0:
            raise ValueError(f"crop of {self.length} samples from a wave of {wave.shape[-1]}: crop less or load more.")
        return pieces(wave, draw.integers("crop", high=spare + 1), self.length)


class Roll:
    """A circular shift in time, at most `seconds` to either side; any shift where seconds is None."""

    domain = "wave"

    def __init__(self, *, sample_rate: int, seconds: float | None = None) -> None:
        if seconds is not None and seconds < 0:
            raise ValueError(f"roll by at most {seconds:g} s: wanted 0 or more.")
        self.most = None if seconds is None else round(seconds * sample_rate)

    def __call__(self, wave: Tensor, draw: Draw) -> Tensor:
        length = wave.shape[-1]
        most = (length - 1) / 2 if self.most is None else min(self.most, (length - 1) / 2)
        shift = draw.integers("roll", low=-math.floor(most), high=math.ceil(most) + 1)
        return torch.stack([clip.roll(by, -1) for clip, by in zip(wave, shift.tolist(), strict=True)])


class Gain:
    """A level change of `low_db` to `high_db` decibels, one for all channels."""

    domain = "wave"

    def __init__(self, *, low_db: float = -6.0, high_db: float = 6.0) -> None:
        if low_db > high_db:
            raise ValueError(f"gain from {low_db:g} to {high_db:g} dB: wanted low_db <= high_db.")
        self.low_db, self.high_db = low_db, high_db

    def __call__(self, wave: Tensor, draw: Draw) -> Tensor:
        level_db = draw("gain", low=self.low_db, high=self.high_db)
        return wave * (10 ** (level_db / 20))[:, None, None]
