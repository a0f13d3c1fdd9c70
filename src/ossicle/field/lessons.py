"""New clips -> what a bundle's model makes of them: features (n, D) of their windows, and whether there is any sound.

numpy and onnxruntime, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import NamedTuple

import numpy as np

from ossicle import audio
from ossicle.data.intake import spelling
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
    sounds: list[_Sound] = []
    broken: list[str] = []
    begun, rest = _begin(_pieces(recognizer, clips, sounds, broken))
    if not begun:
        raise LessonError(f"none of {len(clips)} clips can be heard, first: {broken[0]}")
    several = sum(map(len, begun)) <= FEW
    feature = _features(recognizer, (_views(recognizer, each) if several else each for each in chain(begun, rest)))
    new = tuple(sorted({label for sound in sounds for label in sound.clip.labels} - set(recognizer.labels)))
    labels = (*recognizer.labels, *new)
    target = np.array([[label in sound.clip.labels for label in labels] for sound in sounds])
    counts = [sound.windows for sound in sounds]
    features = np.split(feature, np.cumsum(counts)[:-1] * (len(feature) // sum(counts)))
    return Lessons(
        tuple(sound.clip.name for sound in sounds),
        labels,
        new,
        _memory([each[:count] for each, count in zip(features, counts, strict=True)], target),
        _memory(features, target),
        np.array([sound.silent for sound in sounds]),
        np.array([sound.steady for sound in sounds]),
        (*arrived.notes, *troubles, *broken, *(odd.sentence for odd in spelling(labels if new else ()))),
    )


class _Sound(NamedTuple):
    """A clip that was read, of so many windows."""

    clip: Clip
    windows: int
    silent: bool
    steady: bool


def _pieces(
    recognizer: Recognizer, clips: Sequence[Clip], sounds: list[_Sound], broken: list[str]
) -> Iterator[np.ndarray]:
    """(n, C, window) of each clip, one after another; on the way `sounds` and `broken` tell what became of it."""
    for clip in clips:
        try:
            wave = _wave(recognizer, clip)
        except audio.AudioError as error:
            broken.append(str(error))
            continue
        windows = _windows(recognizer, wave)
        silent = bool(np.abs(wave).max() <= QUIET)
        sounds.append(_Sound(clip, len(windows), silent, is_steady(wave, recognizer.sample_rate)))
        yield windows


def _begin(pieces: Iterator[np.ndarray]) -> tuple[list[np.ndarray], Iterator[np.ndarray]]:
    """The first pieces, until they are more than a few windows, and the others, not read yet."""
    begun: list[np.ndarray] = []
    for piece in pieces:
        begun.append(piece)
        if sum(map(len, begun)) > FEW:
            break
    return begun, pieces


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


def _features(recognizer: Recognizer, pieces: Iterable[np.ndarray]) -> np.ndarray:
    """(n, D) of all pieces' windows, of which no more than a batch is held at once."""
    windows = chain.from_iterable(pieces)
    return np.concatenate([recognizer.scores(batch)[1] for batch in _batches(windows)])


def _batches(windows: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    while batch := list(islice(windows, BATCH)):
        yield np.stack(batch)


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
