"""(B, C, T) -> (B, C, 1, F, N): mel levels of clips as wholes, freed of silent ends, from 0 to 1, repeated or cut to N.

Colangelo et al. 2019, "Progressive training of convolutional neural networks for acoustic events classification".
Their N frames of 256 samples at 22 kHz are 128, 214 and 300: one and a half, two and a half, three and a half seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ossicle.audio.waves import SILENT
from ossicle.frontends import workings
from ossicle.frontends.logmel import LogMel, Scale
from ossicle.frontends.stft import ConvolutionSpectrum, Framing

FLAT = 1e-3  # dB; an image whose levels lie closer together shows rounding and no sound


class ClipMel(nn.Module):
    """What is done to each clip, in this order: its ends that stay `trim_db` under its own peak are cut off, as
    `audio.trim_silence` does (a clip without any sound stays whole); mel levels in decibels of all that is left, at
    most `top_db` under the highest; the lowest of them becomes 0 and the highest 1, of all channels together (one flat
    level gives zeros); and the image, not the wave, is repeated until it has `frames`, or cut after so many.

    A clip must come whole: `seconds` are those of the longest, shorter ones are followed by zeros (`policy = "zero"` in
    a recipe), and of longer ones each stretch of `seconds` counts as a clip. Zeros are silence at an end, so they make
    no difference, and no length need be told: training, evaluation, an exported file and a stream agree. The defaults
    are those of the paper and, where it is silent, of the library that it used: HTK's mels from 0 Hz up, triangles with
    peaks of 1, and levels of at least `offset`.

    Nothing is learned. The power of a clip is lost, so no other sound can be mixed into its image (`efold` is 0).
    """

    maps = 1
    efold = 0.0
    policy = "zero"
    place: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 22000,
        seconds: float = 5.0,
        frames: int = 300,
        n_fft: int = 1024,
        win: int | None = None,
        hop: int = 256,
        mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        scale: Scale = "htk",
        norm: Literal["slaney", "none"] | None = "none",
        power: float = 2.0,
        offset: float = 1e-10,
        window: str = "hann",
        trim_db: float = 60.0,
        top_db: float = 100.0,
    ) -> None:
        super().__init__()
        if frames < 1:
            raise ValueError(f"frames = {frames}: an image has at least 1.")
        if not (trim_db > 0 and top_db > 0):
            raise ValueError(f"trim_db = {trim_db:g} and top_db = {top_db:g}: both count down from a peak, above 0.")
        named: dict[str, Any] = {"f_min": f_min, "f_max": f_max, "scale": scale, "norm": norm, "power": power}
        framed: dict[str, Any] = {"n_fft": n_fft, "win": win, "hop": hop, "window": window, "center": False}
        heard: dict[str, Any] = {"sample_rate": sample_rate, "seconds": seconds}
        self.mel = LogMel(mels=mels, log="db", offset=offset, **heard, **named, **framed)
        self.framing = Framing(n_fft, n_fft if win is None else win, hop, window)
        self.sample_rate, self.seconds, self.bins, self.width = sample_rate, seconds, mels, frames
        self.trim_db, self.top_db = trim_db, top_db
        self.register_buffer("place", torch.arange(frames), persistent=False)

    def frames(self, length: int) -> int:
        """The frames of an image, the same for waves of any `length`."""
        return self.width

    def forward(self, wave: Tensor) -> Tensor:
        with torch.autocast(wave.device.type, enabled=False):
            return self.image(wave.float(), self.levels)

    def levels(self, rows: Tensor) -> Tensor:
        """(R, T) -> (R, 1, F, N), by what is fastest in training."""
        return torch.cat([self.mel.painted(power) for power in self.mel.spectrum.portions(rows)])

    def image(self, wave: Tensor, levels: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, C, T) -> (B, C, 1, F, N), with levels (R, 1, F, N) of padded rows (R, T) from whatever works them out."""
        start, length = self.heard(wave)
        rows = self.padded(wave, start, length).flatten(0, 1)
        whole = levels(rows).unflatten(0, wave.shape[:2])
        count = 1 + (length + sum(self.framing.padding) - self.framing.win) // self.framing.hop
        beyond = torch.arange(whole.shape[-1], device=wave.device) >= count[:, None]
        beyond = beyond[:, None, None, None]
        high = whole.masked_fill(beyond, -torch.inf).amax((1, 2, 3, 4), keepdim=True)
        low = whole.masked_fill(beyond, torch.inf).amin((1, 2, 3, 4), keepdim=True).maximum(high - self.top_db)
        taken = self.place % count[:, None]
        image = whole.gather(-1, taken[:, None, None, None].expand(*whole.shape[:-1], -1))
        return (image.maximum(low) - low) / (high - low).clamp(min=FLAT)

    def heard(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T) -> (B,) start and (B,) length of what is not silent at an end; all of it where nothing is heard."""
        envelope = wave.abs().amax(1)
        peak = envelope.amax(1, keepdim=True)
        sound = (envelope >= peak * 10 ** (-self.trim_db / 20)) & (envelope > 0) | (peak <= SILENT)
        start, behind = sound.byte().argmax(1), sound.flip(1).byte().argmax(1)
        return start, wave.shape[-1] - behind - start

    def padded(self, wave: Tensor, start: Tensor, length: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, before + T + after): what is heard, mirrored at both its ends however short it is.

        Position p of it, from -before on, is a triangle wave's: up to length - 1, back to 0, and up again.
        """
        before, after = self.framing.padding
        place = torch.arange(before + wave.shape[-1] + after, device=wave.device) - before
        turn = (length - 1)[:, None]
        mirrored = (place % (2 * turn).clamp(min=1) - turn).abs()  # `minimum` is slow on integers
        taken = start[:, None] + turn - mirrored
        return wave.gather(-1, taken[:, None].expand(-1, wave.shape[1], -1))

    def workings(self) -> list[dict[str, Any]]:
        """What is heard of the clip, its mel levels, from 0 to 1, repeated (see `ossicle.frontends.workings`)."""
        trim = {"do": "trim", "below": self.trim_db, "silent": SILENT}
        mel = self.mel.workings()[2:]  # what follows power
        level = {"do": "range", "below": self.top_db, "least": FLAT}
        return [trim, *workings.power(self.framing), *mel, level, {"do": "repeat", "frames": self.width}]

    def exportable(self) -> Exportable:
        """A module of equal output that ONNX can hold: the STFT as a convolution."""
        return Exportable(self)


class Exportable(nn.Module):
    """(B, C, T) -> (B, C, 1, F, N): the front end without complex numbers, loops and autocast, in float32."""

    def __init__(self, frontend: ClipMel) -> None:
        super().__init__()
        self.frontend = frontend
        self.spectrum = ConvolutionSpectrum(frontend.mel.framing)

    def forward(self, wave: Tensor) -> Tensor:
        return self.frontend.image(wave, lambda rows: self.frontend.mel.picture(self.spectrum(rows)))
