"""(C, T) -> a file: 16-bit FLAC or WAV, as its name ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np

ENDINGS = (".flac", ".wav")


def write(path: str | Path, wave: np.ndarray, *, sample_rate: int) -> None:
    """Samples of full scale 1.0, rounded to 16 bits; `read` gives them back within 1.6e-5.

    ValueError for another ending, and for samples that are not finite or lie beyond full scale, which would be clipped.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path.name} ends in {path.suffix!r}; known: {', '.join(ENDINGS)}")
    if wave.ndim != 2 or not wave.size:
        raise ValueError(f"{path.name}: samples of shape (channels, length) were wanted, not {wave.shape}")
    if not np.abs(wave).max() <= 1.0:  # True for NaN too
        raise ValueError(
            f"{path.name}: samples from -1 to 1 were wanted, not up to {np.abs(wave).max():.3g}; scale them"
        )
    import soundfile

    soundfile.write(path, np.round(wave.T * 32767).astype(np.int16), sample_rate, subtype="PCM_16")
