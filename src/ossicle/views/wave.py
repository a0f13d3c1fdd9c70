"""(B, C, T) -> (B, C, t): views of waves. t = T, except for `Crop`."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ossicle.draw import Draw

Sampling = Literal["random", "same", "separate"]


class Places:
    """Where each clip's piece begins, (B,): the two views of a clip (0 and 1, 2 and 3, and so on) are sampled alike.

    `sampling` "random" draws a place for each view, "same" one for both; "separate" takes the clip's beginning for the
    first view and its end for the second, as far apart as the clip allows.
    """

    def __init__(self, sampling: Sampling, name: str) -> None:
        if sampling not in ("random", "same", "separate"):
            raise ValueError(f"sampling {sampling!r}; known: random, same, separate.")
        self.sampling, self.name = sampling, name

    def __call__(self, draw: Draw, spare: int) -> Tensor:
        if self.sampling == "separate":
            return torch.full((len(draw.clips),), draw.view % 2 * spare, device=draw.device)
        view = draw.view // 2 * 2 if self.sampling == "same" else draw.view
        return draw.at(view).integers(self.name, high=spare + 1)


def pieces(signal: Tensor, start: Tensor, length: int) -> Tensor:
    """(B, ..., T), (B,) -> (B, ..., length): from each clip the `length` steps that begin at its own `start`."""
    parts = [clip.narrow(-1, at, length) for clip, at in zip(signal, start.tolist(), strict=True)]
    return torch.stack(parts)


def audible(clip: Tensor, start: int, length: int) -> int:
    """(C, T) -> where a piece of `length` begins that is not nearly silent: at `start`, or as the clip begins or ends.

    After ESResNet's guard (Guzhov et al. 2020): the first of the three whose standard deviation is at least half the
    clip's and, where none's is, the largest. (Theirs can end in a silent beginning although the end is loud.)
    """
    starts = (start, 0, clip.shape[-1] - length)
    deviation = torch.stack([clip.narrow(-1, at, length).std(correction=0) for at in starts])
    return starts[int(deviation.clamp(max=clip.std(correction=0) / 2).argmax())]


class Crop:
    """A piece of `seconds` from the wave, one place for all channels, sampled as `Places` has it; with `guard` it is
    `audible`.
    """

    domain = "wave"

    def __init__(self, *, seconds: float, sample_rate: int, guard: bool = False, sampling: Sampling = "random") -> None:
        self.length, self.guard, self.places = round(seconds * sample_rate), guard, Places(sampling, "crop")
        if self.length < 1:
            raise ValueError(f"a crop of {seconds:g} s holds no sample: wanted a positive length.")

    def __call__(self, wave: Tensor, draw: Draw) -> Tensor:
        spare = wave.shape[-1] - self.length
        if spare < 0:
            raise ValueError(f"crop of {self.length} samples from a wave of {wave.shape[-1]}: crop less or load more.")
        start = self.places(draw, spare)
        if self.guard:
            guarded = [audible(clip, at, self.length) for clip, at in zip(wave, start.tolist(), strict=True)]
            start = torch.tensor(guarded, device=start.device)
        return pieces(wave, start, self.length)


class Inversion:
    """With probability `p` the wave runs backwards in time, on all channels together."""

    domain = "wave"

    def __init__(self, *, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"inversion with probability {p:g}: wanted 0 to 1.")
        self.p = p

    def __call__(self, wave: Tensor, draw: Draw) -> Tensor:
        backwards = draw("inversion", 1, 1) < self.p
        return torch.where(backwards, wave.flip(-1), wave)


class Scale:
    """The wave stretched in time by `most` to the power of U(-1, 1), its pitch with it, and brought back to its length.

    A tone of f Hz that is stretched by 1.25 has f / 1.25 Hz. Values in between are linear interpolations. What came out
    shorter stands anywhere in the clip, between constants: its first and its last sample, averaged over channels. Of
    what came out longer a piece is taken that is `audible`. (Guzhov et al. 2020, their scaling, padding and crop.)
    """

    domain = "wave"

    def __init__(self, *, most: float = 1.25) -> None:
        if not 1 <= most < math.inf:
            raise ValueError(f"stretching by at most {most:g}: wanted 1 or more, a finite number.")
        self.most = most

    def __call__(self, wave: Tensor, draw: Draw) -> Tensor:
        length = wave.shape[-1]
        stretch = self.most ** draw("scale", low=-1.0, high=1.0)
        lengths = (length * stretch).long().clamp(min=1)
        places = draw.integers("scale.place", high=(lengths - length).abs() + 1)
        clips = zip(wave, lengths.tolist(), places.tolist(), strict=True)
        return torch.stack([_fitted(_stretched(clip, new), length, place) for clip, new, place in clips])


def _stretched(clip: Tensor, length: int) -> Tensor:
    """(C, T) -> (C, length), linearly."""
    return F.interpolate(clip[None], length, mode="linear", align_corners=False)[0]


def _fitted(clip: Tensor, length: int, place: int) -> Tensor:
    """(C, T) -> (C, length): a piece from about `place`, or the whole clip at `place` between constants."""
    have = clip.shape[-1]
    if have > length:
        return clip.narrow(-1, audible(clip, place, length), length)
    fitted = clip.new_empty(len(clip), length)
    fitted[:, :place], fitted[:, place + have :] = clip[:, 0].mean(), clip[:, -1].mean()
    fitted[:, place : place + have] = clip
    return fitted


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
