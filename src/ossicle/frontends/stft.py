"""(R, T) -> (R, K, N): power of the short-time Fourier transform, K = n_fft // 2 + 1 bins from 0 Hz up.

Two forms with one meaning. `Spectrum` is for training: a fast Fourier transform. `ConvolutionSpectrum` is for export: a
convolution whose kernel is made inside the graph from 2 n_fft numbers, because devices rarely have the transform.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOWS = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman_harris": (0.35875, 0.48829, 0.14128, 0.01168),
    "boxcar": (1.0,),
}
"""Coefficients a_j of w(t) = sum_j (-1)^j a_j cos(2 pi j t / length) (Harris 1978)."""


def window(name: str, length: int) -> Tensor:
    """(length,) float64: a periodic window, as spectral analysis wants it."""
    if name not in WINDOWS:
        raise ValueError(f"unknown window {name!r}; known: {', '.join(WINDOWS)}.")
    turn = torch.arange(length, dtype=torch.float64) * (2 * math.pi / length)
    return sum(((-1) ** j * a * torch.cos(j * turn) for j, a in enumerate(WINDOWS[name])), torch.zeros_like(turn))


@dataclass(frozen=True)
class Framing:
    """How a wave is cut into frames; all lengths in samples.

    The window of `win` samples sits in the middle of a frame of `n_fft`, as in librosa and torch.stft. With `center`
    the wave is padded so that frame t is centered on sample t * hop and there are 1 + T // hop frames (n_fft even);
    `pad_mode` says with what: "reflect" mirrors the wave, "constant" adds silence. Without `center` frame t covers the
    samples from t * hop to t * hop + win and nothing is padded. `gain` multiplies the wave.
    """

    n_fft: int
    win: int
    hop: int
    window: str = "hann"
    center: bool = True
    pad_mode: Literal["reflect", "constant"] = "reflect"
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.win <= self.n_fft:
            raise ValueError(f"a window of {self.win} samples does not fit n_fft = {self.n_fft}; choose win <= n_fft.")
        if self.hop < 1:
            raise ValueError(f"a hop of {self.hop} samples moves nowhere; choose hop >= 1.")
        if self.pad_mode not in ("reflect", "constant"):
            raise ValueError(f"unknown pad_mode {self.pad_mode!r}; known: reflect, constant.")

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def padding(self) -> tuple[int, int]:
        """Samples added before and after: those of a padded frame that its window reaches, no more."""
        if not self.center:
            return 0, 0
        before = self.n_fft // 2 - (self.n_fft - self.win) // 2
        return before, 2 * (self.n_fft // 2) - self.n_fft + self.win - before

    def frames(self, length: int) -> int:
        """How many frames a wave of `length` samples gives."""
        return 1 + (length + sum(self.padding) - self.win) // self.hop

    def pad(self, rows: Tensor) -> Tensor:
        """(R, T) -> (R, before + T + after)."""
        if not self.center:
            return rows  # torch would copy them
        return F.pad(rows[:, None], self.padding, mode=self.pad_mode)[:, 0]

    def cut(self, row: Tensor, start: int, frames: int) -> Tensor:
        """(T,) -> (t,): of the padded wave the samples that `frames` frames from number `start` on are made of."""
        before, length = self.padding[0], (frames - 1) * self.hop + self.win
        first = start * self.hop - before
        if 0 <= first <= len(row) - length:
            return row.narrow(0, first, length)
        return self.pad(row[None])[0].narrow(0, first + before, length)

    def check(self, length: int) -> None:
        """A sentence instead of an index error for waves that are too short to be framed."""
        shortest = self.win if not self.center else 1 + max(self.padding) if self.pad_mode == "reflect" else 1
        if length < shortest:
            raise ValueError(
                f"a wave of {length} samples is too short for a window of {self.win}: at least {shortest} are needed. "
                "Repeat or pad the clip first (`ossicle.audio.fit`)."
            )

    def weights(self) -> Tensor:
        """(win,) float64: the window times the gain."""
        return self.gain * window(self.window, self.win)


class Spectrum(nn.Module):
    """The FFT form: (R, T) -> (R, K, N) float32, |STFT|^2 of the wave times `gain` (librosa's scale); no gradients."""

    window: Tensor

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        self.framing = framing
        self.register_buffer("window", framing.weights().float(), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        return torch.cat(list(self.portions(rows)))

    def portions(self, rows: Tensor) -> Iterator[Tensor]:
        """(R, T) -> (r, K, N), a few rows at a time: what fits a processor's cache is worked on 2.5 times as fast."""
        framing, at_once = self.framing, self.at_once(rows)
        frames = rows.new_zeros(at_once, framing.frames(rows.shape[-1]), framing.n_fft)
        for part in rows.split(at_once):
            pieces, filled = framing.pad(part).unfold(-1, framing.win, framing.hop), frames[: len(part)]
            torch.mul(pieces, self.window, out=filled[..., : framing.win])
            parts = torch.view_as_real(torch.fft.rfft(filled))
            squares = parts.mul_(parts)
            yield (squares[..., 0] + squares[..., 1]).mT

    def at_once(self, rows: Tensor) -> int:
        """Rows whose frames are about 2^19 numbers; all of them where no processor's cache is at stake."""
        row = self.framing.frames(rows.shape[-1]) * self.framing.n_fft
        return max(1, min(len(rows), 2**19 // row if rows.device.type == "cpu" else len(rows)))


class ConvolutionSpectrum(nn.Module):
    """The exportable form of `Spectrum`, equal to it within 1e-5 of the spectrum's peak (rounding; about 1e-6).

    The kernel is cos and sin of 2 pi k t / n_fft times the window. Its angles are reduced modulo n_fft as integers and
    looked up in a table made in double precision, so none is off by more than one rounding however large k t is.
    `count` is a buffer because a runtime folds products of constants, but not the exporter's form of arange.
    """

    circle: Tensor
    window: Tensor
    count: Tensor

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        self.framing = framing
        turn = torch.arange(framing.n_fft, dtype=torch.float64) * (2 * math.pi / framing.n_fft)
        self.register_buffer("circle", torch.stack([turn.cos(), turn.sin()]).float(), persistent=False)
        self.register_buffer("window", framing.weights().float(), persistent=False)
        self.register_buffer("count", torch.arange(max(framing.bins, framing.win)), persistent=False)

    def kernel(self) -> Tensor:
        """(2 K, 1, win): cosines, then sines."""
        bins, time = self.count[: self.framing.bins, None], self.count[: self.framing.win]
        return (self.circle[:, bins * time % self.framing.n_fft] * self.window).flatten(0, 1)[:, None]

    def forward(self, rows: Tensor) -> Tensor:
        parts = F.conv1d(self.framing.pad(rows)[:, None], self.kernel(), stride=self.framing.hop)
        return parts.square().unflatten(1, (2, self.framing.bins)).sum(1)


class SpectralFrontend(nn.Module):
    """(B, C, T) -> (B, C, M, F, N) float32: what all front ends built on the power spectrum share.

    A front end adds `maps`, `bins`, `efold` (what a value of the image gains where power grows by a factor of e),
    `workings`, and `picture`, which turns power (R, K, N) into maps (R, M, F, N). Nothing is learned or random, and the
    state_dict is empty: a stage may change its front end and still load the last checkpoint. `seconds` is the window
    the model hears; `forward` takes any length that can be framed, and `part` works out a few of its frames.
    """

    maps: int
    bins: int
    efold: float

    def __init__(self, framing: Framing, *, sample_rate: int, seconds: float) -> None:
        super().__init__()
        framing.check(round(seconds * sample_rate))
        self.framing, self.sample_rate, self.seconds, self.hop = framing, sample_rate, seconds, framing.hop
        self.spectrum = Spectrum(framing)
        self.inside = Spectrum(replace(framing, center=False))  # of waves that are padded already

    def frames(self, length: int) -> int:
        """How many frames a wave of `length` samples gives."""
        return self.framing.frames(length)

    def leveled(self, rows: Tensor, whole: Tensor | None = None) -> Tensor:
        """(R, T) -> (R, T): each wave as it is framed, or as a piece of the `whole` (R, T') that it was cut from."""
        return rows

    def picture(self, power: Tensor) -> Tensor:
        """(R, K, N) -> (R, M, F, N), as a device works it out."""
        raise NotImplementedError

    def painted(self, power: Tensor) -> Tensor:
        """The same, by what is fastest in training."""
        return self.picture(power)

    def forward(self, wave: Tensor) -> Tensor:
        self.framing.check(wave.shape[-1])
        with torch.autocast(wave.device.type, enabled=False):
            rows = self.leveled(wave.flatten(0, 1).float())
            pictures = torch.cat([self.painted(power) for power in self.spectrum.portions(rows)])
        return pictures.unflatten(0, wave.shape[:2])

    def part(self, wave: Tensor, start: Tensor, frames: int) -> Tensor:
        """(B, C, T), (B,) -> (B, C, M, F, frames): the frames of `forward` from each clip's own `start` on, alone."""
        self.framing.check(wave.shape[-1])
        if frames == self.frames(wave.shape[-1]):
            return self(wave)
        starts = start.repeat_interleave(wave.shape[1]).tolist()
        with torch.autocast(wave.device.type, enabled=False):
            rows = wave.flatten(0, 1).float()
            mirrored = self.framing.pad_mode == "reflect"  # then leveled mirrors are mirrors of what was leveled
            rows = rows if mirrored else self.leveled(rows)
            cut = torch.stack([self.framing.cut(row, at, frames) for row, at in zip(rows, starts, strict=True)])
            cut = self.leveled(cut, rows) if mirrored else cut
            pictures = torch.cat([self.painted(power) for power in self.inside.portions(cut)])
        return pictures.unflatten(0, wave.shape[:2])

    def exportable(self) -> Exportable:
        """A module of equal output that ONNX can hold: the STFT as a convolution."""
        return Exportable(self)

    def workings(self) -> list[dict[str, Any]]:
        """The steps from a wave to an image, as plain values (see `ossicle.frontends.workings`)."""
        raise NotImplementedError


class Exportable(nn.Module):
    """(B, C, T) -> (B, C, M, F, N): a front end without complex numbers, loops and autocast, for tracing in float32."""

    def __init__(self, frontend: SpectralFrontend) -> None:
        super().__init__()
        self.frontend = frontend
        self.spectrum = ConvolutionSpectrum(frontend.framing)

    def forward(self, wave: Tensor) -> Tensor:
        rows = self.frontend.leveled(wave.flatten(0, 1))
        return self.frontend.picture(self.spectrum(rows)).unflatten(0, wave.shape[:2])
