"""New clips -> what a bundle's model makes of them: features (n, D) of their windows, and whether there is any sound.

numpy and onnxruntime, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ossicle import audio
from ossicle.data.manifest import Clip, Manifest
from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.memory import Memory

HEARD = 8
"""Windows of a clip that are learned from, side by side from its start."""
FEW = 40
"""Up to so many windows in all, each is heard in other versions too."""
QUIET = 10 ** (-60 / 20)
"""A clip whose samples all stay under this, 60 dB under full scale, has no sound in it."""
BATCH = 8


@dataclass(frozen=True, eq=False)
class Lessons:
    """m new clips by `names`, of `labels` (K): those of the bundle, then `new` ones.

    `windows` are the clips as they would be heard, and `views` those and other versions of them: rolled in time, cut,
    with noise. `silent` and `steady` (m,) say which have no sound, or nothing but steady noise; `troubles` which were
    left out, and why.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    new: tuple[str, ...]
    windows: Memory
    views: Memory
    silent: np.ndarray
    steady: np.ndarray
    troubles: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Clips of each label that has any."""
        return {label: int(n) for label, n in zip(self.labels, self.windows.target.sum(0), strict=True) if n}


class LessonError(ValueError):
    """There is nothing to learn from these clips; says what would be."""


def heard(recognizer: Recognizer, arrived: Manifest) -> Lessons:
    """Hear the clips whose labels are known. LessonError where there are none, or none fits the model."""
    clips, troubles = _usable(recognizer, arrived)
    new = tuple(sorted({label for clip in clips for label in clip.labels} - set(recognizer.labels)))
    labels = (*recognizer.labels, *new)
    waves: list[tuple[Clip, np.ndarray]] = []
    for clip in clips:
        try:
            waves.append((clip, _wave(recognizer, clip)))
        except audio.AudioError as error:
            troubles.append(str(error))
    if not waves:
        raise LessonError(f"none of {len(clips)} clips can be heard, first: {troubles[-1]}")
    pieces = [_windows(recognizer, wave) for _, wave in waves]
    several = sum(map(len, pieces)) <= FEW
    target = np.array([[label in clip.labels for label in labels] for clip, _ in waves])
    seen = [_views(recognizer, piece) if several else piece for piece in pieces]
    features = np.split(_features(recognizer, np.concatenate(seen)), np.cumsum([len(each) for each in seen])[:-1])
    firsts = [each[: len(piece)] for each, piece in zip(features, pieces, strict=True)]
    return Lessons(
        tuple(clip.name for clip, _ in waves),
        labels,
        new,
        _memory(firsts, target),
        _memory(features, target),
        np.array([bool(np.abs(wave).max() <= QUIET) for _, wave in waves]),
        np.array([is_steady(wave, recognizer.sample_rate) for _, wave in waves]),
        tuple(troubles),
    )


def _usable(recognizer: Recognizer, arrived: Manifest) -> tuple[list[Clip], list[str]]:
    """The labelled clips that the model can be taught, and what is to be told of the others."""
    told = [clip for clip in arrived.clips if clip.labelled]
    notes = [f"{len(arrived) - len(told)} clips without a label are left out"] * (len(told) < len(arrived))
    several = recognizer.config.multilabel
    clips = [clip for clip in told if several or len(clip.labels) == 1]
    notes += [f"{len(told) - len(clips)} clips of none or several classes are left out: the model tells one class"] * (
        len(clips) < len(told)
    )
    if not clips:
        raise LessonError(
            f"{arrived.name} has no clip with a label to learn: put clips into a folder a class, or name their labels "
            f"in a table and give that by --labels{'; ' + notes[0] if notes else ''}"
        )
    return clips, notes


def _wave(recognizer: Recognizer, clip: Clip) -> np.ndarray:
    """(C, T): as much of a clip as is learned from."""
    config = recognizer.config
    most = clip.start + HEARD * config.window / config.sample_rate
    stop = most if clip.stop is None else min(most, clip.stop)
    return audio.read(clip.path, sample_rate=config.sample_rate, channels=config.mixing, start=clip.start, stop=stop)


def _windows(recognizer: Recognizer, wave: np.ndarray) -> np.ndarray:
    """(C, T) -> (n, C, window), as evaluation cuts it."""
    window, policy = recognizer.config.window, recognizer.config.policy
    starts = audio.window_starts(wave.shape[1], window, window)[:HEARD]
    return np.stack([audio.fit(wave[:, start : start + window], window, policy=policy) for start in starts])


def _views(recognizer: Recognizer, windows: np.ndarray) -> np.ndarray:
    """(n, C, T) -> (9 n, C, T): themselves, then three rolled, three of three fifths, and two with noise under them."""
    length, policy = windows.shape[-1], recognizer.config.policy
    made = [windows, *(np.roll(windows, int(part * length), -1) for part in (0.2, 0.45, 0.7))]
    for part in (0.0, 0.2, 0.4):
        cut = windows[..., int(part * length) : int((part + 0.6) * length)]
        made.append(np.stack([audio.fit(wave, length, policy=policy) for wave in cut]))
    loud = np.sqrt(np.square(windows).mean((1, 2), keepdims=True))
    noise = np.random.default_rng(0).normal(size=windows.shape)
    made += [windows + loud * 10 ** (-under / 20) * noise for under in (20, 10)]
    return np.concatenate(made).astype(np.float32)


def _features(recognizer: Recognizer, windows: np.ndarray) -> np.ndarray:
    parts = range(0, len(windows), BATCH)
    return np.concatenate([recognizer.scores(windows[start : start + BATCH])[1] for start in parts])


def _memory(features: Sequence[np.ndarray], target: np.ndarray) -> Memory:
    clip = np.repeat(np.arange(len(features)), [len(each) for each in features])
    return Memory(np.concatenate(features).astype(np.float32), clip, target, np.zeros(len(target), bool))


STEADY = 1.3
"""Steady noise has a steadiness of 1 (white, pink and brown, of 1 to 5 seconds: 0.82 to 1.12); the steadiest of
ESC-10's 400 clips, of rain, has 1.5.
"""
TONAL = 5.0
"""So many times the power of the frequencies a little above and below makes a tone; noise of a second has under 3."""
FAINT = 1e-10
"""Frequencies of less than this part of the loudest one's power are those that a resampler or a coder left out."""
_FRAME, _BANDS, _APART = 0.046, 24, 4
_BESIDE = (4 / 9, 1 / 36)
"""How the power of a frequency goes along with that of the next and the next but one, under a Hann window."""


def is_steady(wave: np.ndarray, sample_rate: int) -> bool:
    """Whether (C, T) is noise in which nothing happens: of whatever color, it never changes and holds no tone."""
    frame = 1 << round(np.log2(sample_rate * _FRAME))
    count = wave.shape[1] // frame
    if count < 8:
        return False
    frames = wave.mean(0)[: count * frame].reshape(count, frame) * np.hanning(frame + 1)[:-1]
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    power = power[:, 1:][:, power.mean(0)[1:] > FAINT * power.mean(0).max()]
    mean = power.mean(0)
    if len(mean) < _BANDS:
        return False
    around = np.maximum(mean[: -2 * _APART], mean[2 * _APART :])
    return bool((mean[_APART:-_APART] / around).max() <= TONAL) and steadiness(power) <= STEADY


def steadiness(power: np.ndarray) -> float:
    """(n, K) of n frames -> how much the power in bands varies from frame to frame, as a multiple of what chance makes
    of Gaussian noise that never changes.

    Power of such noise is exponentially distributed at each frequency, so that the mean of b of them, each over its own
    mean, has variance (1 + 2 sum_k (1 - k / b) r_k) / b, with r_k the correlation of those k apart.
    """
    edges = np.unique(np.round(np.geomspace(1, power.shape[1], _BANDS)).astype(int))
    found = []
    for low, high in pairwise(edges.tolist()):
        band, width = power[:, low:high], high - low
        wanted = (1 + 2 * sum((1 - k / width) * r for k, r in enumerate(_BESIDE, 1) if k < width)) / width
        found.append((band / band.mean(0)).mean(1).var(ddof=1) / wanted)
    return float(np.mean(found))
