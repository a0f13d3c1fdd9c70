"""(T,) -> (t,) waves: stretches cut, textures looped, noise made and levels set, for scenes to be composed of."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

STEP = 0.01  # seconds between the places where a stretch may begin
FADE = 0.02  # seconds of the fade at either end of a stretch
SEAM = 0.25  # seconds over which the end of a texture goes over into its beginning


def rms(wave: np.ndarray) -> float:
    """The level of a wave, full scale being 1."""
    return float(np.sqrt(np.mean(np.square(wave))))


def leveled(wave: np.ndarray, level_db: float) -> np.ndarray:
    """The wave with an `rms` of `level_db` (dB of full scale); ValueError if it is silent."""
    present = rms(wave)
    if present == 0.0:
        raise ValueError("a wave of digital silence has no level to be set")
    return wave * (10 ** (level_db / 20) / present)


def stretch(wave: np.ndarray, length: int, rng: Generator, *, sample_rate: int) -> np.ndarray:
    """(T,) -> (length or fewer,): one of the loud parts, faded in and out.

    Drawn among the parts that hold at least half the energy of the one that holds most; a wave that is shorter is
    taken whole.
    """
    spare = max(0, len(wave) - length)
    starts = np.arange(0, spare + 1, max(1, int(STEP * sample_rate)))
    energy = np.concatenate([[0.0], np.cumsum(np.square(wave))])
    held = energy[np.minimum(starts + length, len(wave))] - energy[starts]
    start = rng.choice(starts[held >= held.max() / 2])
    part = wave[start : start + length].copy()
    n = min(int(FADE * sample_rate), len(part) // 2)
    part[:n] *= _rise(n)
    part[len(part) - n :] *= _rise(n)[::-1]
    return part


def loop(wave: np.ndarray, length: int, rng: Generator, *, sample_rate: int) -> np.ndarray:
    """(T,) -> (length,): a texture that goes on without a seam, from anywhere within it.

    Its end and its beginning are laid over each other with gains whose squares sum to 1, so that the power of a sound
    that does not resemble itself stays as it is.
    """
    n = min(int(SEAM * sample_rate), len(wave) // 2)
    period = wave[: len(wave) - n].copy()
    period[:n] = period[:n] * np.sqrt(_rise(n)) + wave[len(wave) - n :] * np.sqrt(_rise(n)[::-1])
    start = int(rng.integers(len(period)))
    return np.take(period, np.arange(start, start + length), mode="wrap")


def noise(length: int, slope_db: float, rng: Generator, *, sample_rate: int, low: float = 40.0) -> np.ndarray:
    """(length,) noise of unit power that falls by `slope_db` an octave (3: pink, 6: brown) above `low` Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / sample_rate)
    octaves = np.log2(np.maximum(frequency, low) / low)
    return leveled(np.fft.irfft(spectrum * 10 ** (-slope_db * octaves / 20) * (frequency > 0), length), 0.0)


def _rise(n: int) -> np.ndarray:
    """(n,) from 0 to 1 along a raised cosine; with its mirror image it sums to 1."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
