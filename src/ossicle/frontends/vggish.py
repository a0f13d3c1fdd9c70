"""(B, C, T) -> (B, C, 1, F, N): the log-mel magnitudes that VGGish hears, 64 bands and 100 frames a second."""

from __future__ import annotations

from typing import Any

from ossicle.frontends.logmel import LogMel

SETTINGS: dict[str, Any] = {
    **{"sample_rate": 16000, "n_fft": 512, "win": 400, "hop": 160, "center": False},
    **{"mels": 64, "f_min": 125.0, "f_max": 7500.0, "scale": "htk", "sides": "mel", "norm": "none"},
    **{"power": 1.0, "log": "ln", "offset": 0.01},
}
"""Of a log-mel."""


class VGGishMel(LogMel):
    """ln(M |STFT| + 0.01) as the code that was released with VGGish has it (Hershey et al. 2017; Gemmeke et al. 2017).

    16 kHz, full scale 1; frames of 25 ms (400 samples, periodic Hann, a transform of 512) every 10 ms, of which the
    first begins with the wave and none is padded; magnitudes; 64 triangles from 125 to 7,500 Hz, equally wide in HTK's
    mels and straight over mels, with peaks of 1 (0 Hz is in none). A wave of T samples gives 1 + (T - 400) // 160
    frames: 998 in 10 s, and in 0.96 s only 94, no whole example of 96.
    """

    def __init__(self, *, seconds: float = 10.0) -> None:
        super().__init__(seconds=seconds, **SETTINGS)
