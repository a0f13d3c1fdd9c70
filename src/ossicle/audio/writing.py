"""(C, T) -> a file: 16-bit FLAC or WAV, as its name ends."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

ENDINGS = (".flac", ".wav")


def write(path: str | Path, wave: np.ndarray, *, sample_rate: int) -> None:
    """Samples of full scale 1.0, rounded to 16 bits; `read` gives them back within 1.6e-5.

    ValueError for another ending, and for samples that are not finite or lie beyond full scale, which would be clipped;
    OSError where the disk does not take it.
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

    content = io.BytesIO()  # written in one go, by Python, whose errors say what is wrong with a disk
    frames = np.round(wave.T * 32767).astype(np.int16)
    soundfile.write(content, frames, sample_rate, format=path.suffix[1:].upper(), subtype="PCM_16")
    path.write_bytes(content.getvalue())
