"""(B, C, T) -> (B, C, K, N): power of the short-time Fourier transform, K = n_fft // 2 + 1 bins from 0 Hz up.

Two forms with one meaning. `Spectrum` is for training: a fast Fourier transform. `ConvolutionSpectrum` is for export: a
convolution whose kernel is made inside the graph from 2 n_fft numbers, because devices rarely have the transform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
    """The FFT form: (B, C, T) -> (B, C, K, N) float32, |STFT|^2 of the wave times `gain` (librosa's scale)."""

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        self.framing = framing
        self.register_buffer("window", framing.weights().float(), persistent=False)

    window: Tensor

    def forward(self, wave: Tensor) -> Tensor:
        framing = self.framing
        framing.check(wave.shape[-1])
        padded = F.pad(wave.flatten(0, 1)[:, None].float(), framing.padding, mode=framing.pad_mode)[:, 0]
        pieces = padded.unfold(-1, framing.win, framing.hop)
        frames = pieces.new_zeros(*pieces.shape[:-1], framing.n_fft)
        frames[..., : framing.win] = pieces * self.window
        parts = torch.view_as_real(torch.fft.rfft(frames))
        power = parts[..., 0].square() + parts[..., 1].square()
        return power.unflatten(0, wave.shape[:2]).mT
