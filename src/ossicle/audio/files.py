"""A path -> (C, T) float32: probed, read whole or in part, or block by block, at any rate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ossicle.audio.errors import AudioError
from ossicle.audio.sound import AudioInfo, Sound


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """What a file's header says; the rare file that does not tell its length is decoded through to count it.

    AudioError if it is no sound file, or shorter than its header promises as far as that shows without decoding.
    """
    with Sound(path) as sound:
        if sound.fault:
            raise AudioError(sound.path, sound.fault, "check")
        if sound.known:
            return sound.info
        frames = sum(block.shape[1] for block in sound.blocks(channels="first"))
        return replace(sound.info, frames=frames)


def read(
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    channels: str | int = "mix",
    start: float = 0.0,
    stop: float | None = None,
) -> np.ndarray:
    """A sound file -> (C, T) float32, C-contiguous, full scale 1.0.

    `channels`: "mix" (C = 1; the mean, or the loudest channel where they cancel), "first" (C = 1), or a number C: a
    mono file is repeated to C channels, and a file with more or fewer is refused.
    `start`, `stop`: seconds; a part is decoded by seeking and is samples round(start * sample_rate) up to
    round(stop * sample_rate) of the whole file at that rate: bit for bit at the file's own rate, within 2e-6 of full
    scale (measured) at another rate, and for Opus and MP3, whose decoders remember. A `stop` behind the end gives what
    there is; a `start` behind it is an error.
    AudioError if the file cannot be read, ends before its header says, or holds samples that are not finite.
    """
    with Sound(path) as sound:
        return np.concatenate(
            list(sound.blocks(sample_rate=sample_rate, channels=channels, start=start, stop=stop)), axis=1
        )


def blocks(
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    channels: str | int = "mix",
    seconds: float = 10.0,
) -> Iterator[np.ndarray]:
    """A sound file -> (C, t) float32 blocks of about `seconds`, in bounded memory.

    Joined they are what `read` gives, bit for bit: soxr's stream does not depend on how its input is cut. A file that
    ends before its header says gives all it has, and then AudioError.
    """
    with Sound(path) as sound:
        yield from sound.blocks(sample_rate=sample_rate, channels=channels, seconds=seconds)
