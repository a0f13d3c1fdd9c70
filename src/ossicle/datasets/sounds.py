"""(source, take) -> (T,) float64: ten everyday sounds made of formulas, which time and not spectrum tells apart.

`source` and `take` are random generators: what belongs to the thing that sounds (pitch, timbre, room) comes from the
first, what changes each time it is heard (timing, level, background) from the second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

SAMPLE_RATE = 16_000
SECONDS = 2.0
LENGTH = int(SAMPLE_RATE * SECONDS)
TIME = np.arange(LENGTH) / SAMPLE_RATE


def _between(rng: Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform, as pitch and rate are heard."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _timbre(source: Generator, partials: int = 5) -> np.ndarray:
    """(partials,) the weights of a tone's partials, the first never lost."""
    weight = source.uniform(0, 1, partials) / np.arange(1, partials + 1)
    weight[0] = max(weight[0], 0.3)
    return weight


def _tone(frequency: np.ndarray | float, timbre: np.ndarray) -> np.ndarray:
    """(T,) a tone of this frequency over time, in Hz, without the partials that would fold back."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency, TIME.shape)) / SAMPLE_RATE
    order = np.arange(1, len(timbre) + 1)
    heard = order[order < 0.47 * SAMPLE_RATE / np.max(frequency)]
    return timbre[heard - 1] @ np.sin(heard[:, None] * phase)


def _decay(start: float, seconds: float, attack: float = 0.004) -> np.ndarray:
    """(T,) an envelope that rises at `start` and falls by 60 dB in `seconds`."""
    since = np.maximum(TIME - start, 0)
    return (start <= TIME) * np.minimum(since / attack, 1) * np.exp(-6.9 * since / seconds)


def _gate(on: np.ndarray, smooth: float = 0.008) -> np.ndarray:
    """(T,) an on-off pattern with soft edges."""
    soft = np.hanning(int(smooth * SAMPLE_RATE) + 2)
    return np.convolve(on.astype(float), soft / soft.sum(), "same")


def _noise(rng: Generator, low: float, high: float) -> np.ndarray:
    """(T,) noise between two frequencies in Hz, of unit power."""
    spectrum = np.fft.rfft(rng.standard_normal(LENGTH))
    frequency = np.fft.rfftfreq(LENGTH, 1 / SAMPLE_RATE)
    spectrum[(frequency < low) | (frequency > high)] = 0
    wave = np.fft.irfft(spectrum, LENGTH)
    return wave / (wave.std() + 1e-12)


def _band(source: Generator) -> tuple[float, float]:
    """A band of about two octaves somewhere between 200 Hz and 7 kHz."""
    center = _between(source, 500, 3000)
    return center / _between(source, 1.6, 2.6), min(7000, center * _between(source, 1.6, 2.6))


def doorbell(source: Generator, take: Generator) -> np.ndarray:
    """Two ringing notes, the second a third to a sixth lower."""
    pitch, interval = _between(source, 500, 2000), _between(source, 1.25, 1.6)
    start, gap = take.uniform(0.05, 0.4), source.uniform(0.35, 0.7)
    ring, timbre = source.uniform(0.5, 0.9), _timbre(source, 4)
    second = _tone(pitch / interval, timbre) * _decay(start + gap, ring)
    return _tone(pitch, timbre) * _decay(start, ring) + second


def alarm(source: Generator, take: Generator) -> np.ndarray:
    """One steady pitch, on and off several times a second."""
    rate, duty = _between(source, 3, 7), source.uniform(0.35, 0.6)
    on = (TIME * rate + take.uniform()) % 1 < duty
    return _tone(_between(source, 500, 2200), _timbre(source)) * _gate(on)


def siren(source: Generator, take: Generator) -> np.ndarray:
    """A pitch that glides up and down without a break."""
    rate, depth = _between(source, 0.5, 1.6), source.uniform(0.25, 0.5)
    glide = np.sin(2 * np.pi * (rate * TIME + take.uniform()))
    return _tone(_between(source, 600, 1700) * 2 ** (depth * glide), _timbre(source))


def bark(source: Generator, take: Generator) -> np.ndarray:
    """Short rough bursts, irregular, each with a pitch that rises and falls."""
    pitch, length = _between(source, 300, 800), source.uniform(0.12, 0.22)
    timbre, (low, high) = _timbre(source, 8), _band(source)
    wave = np.zeros(LENGTH)
    for at in np.cumsum([take.uniform(0.02, 0.25), *take.uniform(0.28, 0.65, take.integers(1, 4))]):
        rise = np.sin(np.pi * np.clip((TIME - at) / length, 0, 1))
        wave += rise * (_tone(pitch * (1 + 0.5 * rise), timbre) + 0.4 * _noise(take, low, high))
    return wave


def knock(source: Generator, take: Generator) -> np.ndarray:
    """Three to six thuds in a row, then nothing."""
    low, high = _band(source)
    gap, length = source.uniform(0.13, 0.24), source.uniform(0.05, 0.12)
    starts = take.uniform(0.05, 0.5) + gap * np.arange(take.integers(3, 7)) * take.uniform(0.95, 1.05)
    envelope = np.sum([take.uniform(0.6, 1) * _decay(at, length, 0.001) for at in starts], axis=0)
    return envelope * _noise(take, low, high)


def clock(source: Generator, take: Generator) -> np.ndarray:
    """Ticks at an even pace all the way through, every second one softer."""
    low, high = _band(source)
    gap, length, soft = source.uniform(0.25, 0.5), source.uniform(0.02, 0.06), source.uniform(0.4, 1)
    starts = np.arange(take.uniform(0, gap), SECONDS, gap)
    envelope = np.sum([(soft if i % 2 else 1) * _decay(at, length, 0.001) for i, at in enumerate(starts)], axis=0)
    return envelope * _noise(take, low, high)


def engine(source: Generator, take: Generator) -> np.ndarray:
    """A roar that is cut by its own strokes, ten to twenty a second."""
    low, high = _band(source)
    rate = _between(source, 10, 22) * (1 + 0.1 * np.sin(2 * np.pi * (take.uniform(0.2, 0.6) * TIME + take.uniform())))
    stroke = 0.5 + 0.5 * np.cos(2 * np.pi * np.cumsum(rate) / SAMPLE_RATE)
    return stroke ** source.uniform(3, 6) * _noise(take, low, high)


def rain(source: Generator, take: Generator) -> np.ndarray:
    """A steady hiss with drops too many to count."""
    low, high = _band(source)
    drops = (take.uniform(size=LENGTH) < _between(source, 60, 200) / SAMPLE_RATE) * take.exponential(1, LENGTH)
    patter = np.convolve(drops, np.exp(-np.arange(80) / 16))[:LENGTH]
    return (source.uniform(0.4, 0.8) + 3 * patter) * _noise(take, low, high)


def bird(source: Generator, take: Generator) -> np.ndarray:
    """Phrases of quick chirps, each a glide of less than a tenth of a second."""
    pitch, rate, bend = _between(source, 900, 2500), _between(source, 9, 16), source.uniform(0.3, 0.6)
    bend *= source.choice([-1, 1])
    place = (TIME * rate + take.uniform()) % 1
    phrase = _gate((TIME / source.uniform(0.6, 1.0) + take.uniform()) % 1 < 0.65, 0.02)
    chirp = np.sin(np.pi * np.clip(place / 0.75, 0, 1))
    return phrase * chirp * _tone(pitch * 2 ** (bend * (place - 0.4)), _timbre(source, 3))


def bell(source: Generator, take: Generator) -> np.ndarray:
    """One stroke that rings on, its partials beating."""
    pitch, at, ring = _between(source, 450, 1800), take.uniform(0.05, 0.5), source.uniform(2.0, 3.5)
    ratios = source.uniform((1, 1.4, 2, 2.7), (1.01, 1.7, 2.5, 3.3))
    wave = np.zeros(LENGTH)
    for beat, ratio in zip(source.uniform(4, 9, 4), ratios, strict=True):
        swell = (1 + 0.3 * np.cos(2 * np.pi * beat * TIME)) / ratio
        wave += swell * np.sin(2 * np.pi * pitch * ratio * TIME) * _decay(at, ring / ratio)
    return wave


SOUNDS: dict[str, Callable[[Generator, Generator], np.ndarray]] = {
    "alarm": alarm,
    "bark": bark,
    "bell": bell,
    "bird": bird,
    "clock": clock,
    "doorbell": doorbell,
    "engine": engine,
    "knock": knock,
    "rain": rain,
    "siren": siren,
}


def heard(dry: np.ndarray, source: Generator, take: Generator) -> np.ndarray:
    """(T,) a sound as a microphone in a room hears it: colored, echoing, before a background, at any level."""
    wave = _room(_colored(dry, source), source)
    wave /= np.sqrt(np.mean(wave**2)) + 1e-12
    hiss = _colored(_noise(take, 60, 7800), take)
    hiss *= 10 ** (-take.uniform(10, 25) / 20) / (np.sqrt(np.mean(hiss**2)) + 1e-12)
    mixed = wave + hiss
    return mixed * 10 ** (-take.uniform(2, 20) / 20) / np.abs(mixed).max()


def _colored(wave: np.ndarray, rng: Generator, depth_db: float = 9.0) -> np.ndarray:
    """The wave through a random equalizer: a gain drawn at every octave, straight lines between, in dB."""
    frequency = np.fft.rfftfreq(LENGTH, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequency, 31.25) / 31.25)
    gain_db = np.interp(octaves, np.arange(9), rng.normal(0, depth_db, 9))
    return np.fft.irfft(np.fft.rfft(wave) * 10 ** (gain_db / 20), LENGTH)


def _room(wave: np.ndarray, rng: Generator) -> np.ndarray:
    """The wave and its reverberation: noise that decays by 60 dB in 0.1 to 0.5 s."""
    n = SAMPLE_RATE // 2
    tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / (n * rng.uniform(0.2, 1.0)))
    tail *= rng.uniform(0, 0.5) / np.sqrt(np.sum(tail**2))
    tail[0] += 1
    size = 1 << (LENGTH + n).bit_length()
    return np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(tail, size), size)[:LENGTH]
