"""(B, C, T) -> (B, C, 3, F, N): the power spectrum in decibels, its low, middle and high third as three colors.

Guzhov et al. 2020, "ESResNet: Environmental sound classification based on visual domain models". The published numbers
are the defaults: five seconds at 44.1 kHz give 3 x 341 x 394.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ossicle.frontends import workings
from ossicle.frontends.stft import Framing, SpectralFrontend


class Bands(SpectralFrontend):
    """10 log10(max(|STFT|^2 / n_fft, floor)) of the wave times `gain`: 32768 brings full scale 1 to 16-bit units.

    Each of the three maps holds (n_fft // 2 + 1) // 3 bins; what is left over at the top is dropped (bins 1023 and 1024
    of the published 1025). The published `floor` of 1e-18 stands for exact zeros: silence gives -180 dB. Levels are
    left as they come, where ESResNet first divides clips by their peak if that exceeds 1.
    """

    maps = 3
    efold = 10 / math.log(10)

    def __init__(
        self,
        *,
        sample_rate: int = 44100,
        seconds: float = 5.0,
        n_fft: int = 2048,
        win: int = 1654,
        hop: int = 561,
        window: str = "blackman_harris",
        gain: float = 32768.0,
        floor: float = 1e-18,
    ) -> None:
        if floor <= 0:
            raise ValueError(f"floor = {floor:g}: the logarithm of silence needs a positive one.")
        framing = Framing(n_fft, win, hop, window, gain=gain / n_fft**0.5)
        super().__init__(framing, sample_rate=sample_rate, seconds=seconds)
        self.bins, self.floor = framing.bins // 3, floor

    def picture(self, power: Tensor) -> Tensor:
        thirds = power[:, : 3 * self.bins].unflatten(1, (3, self.bins))
        return 10 * thirds.clamp(min=self.floor).log10()

    def workings(self) -> list[dict[str, Any]]:
        """Power, its thirds, decibels."""
        maps = {"do": "maps", "maps": self.maps, "bins": self.bins}
        return [*workings.power(self.framing), maps, workings.log(self.efold, floor=self.floor)]
