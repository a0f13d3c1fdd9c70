"""Raw samples from a pipe -> (C, t) float32 blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from ossicle.audio.errors import AudioError

_KINDS: dict[str, tuple[np.dtype[Any], float]] = {
    "s16le": (np.dtype("<i2"), 2.0**-15),
    "f32le": (np.dtype("<f4"), 1.0),
}
_FILES = {b"RIFF": "WAV", b"OggS": "Ogg", b"fLaC": "FLAC", b"FORM": "AIFF", b"caff": "CAF"}
"""What a sound file begins with, which is no samples."""


class Readable(Protocol):
    """Gives up to so many bytes, none at the end, as a binary file does."""

    def read(self, count: int, /) -> bytes: ...


def read_raw(stream: Readable, *, channels: int = 1, format: str = "s16le", block: int = 4096) -> Iterator[np.ndarray]:
    """Interleaved samples "s16le" or "f32le" from a binary stream -> (channels, block) float32, the last one shorter.

    What the samples say is not looked at: a live source goes on after a broken one, and `deploy.stream` reports it.
    AudioError, after all whole samples were given, for a stream that ends inside one: then format or channels are
    probably not what was said; and at once for one that begins as a sound file does.
    """
    if format not in _KINDS:
        raise ValueError(f"raw samples are one of {sorted(_KINDS)}, not {format!r}")
    if channels < 1 or block < 1:
        raise ValueError(f"channels and block are at least 1, not {channels} and {block}")
    dtype, scale = _KINDS[format]
    frame, begun = dtype.itemsize * channels, False
    while data := _full(stream, block * frame):
        if not begun and (kind := _FILES.get(data[:4])):
            raise AudioError("-", f"a {kind} file came, not raw samples: give the file by its name", "check")
        begun = True
        whole = len(data) // frame
        wave = np.frombuffer(data, dtype, whole * channels).reshape(whole, channels).T.astype(np.float32, order="C")
        if scale != 1.0:  # what is no number stays as it came, and numpy does not warn of it
            wave *= np.float32(scale)
        if whole:
            yield wave
        if len(data) % frame:
            rest = f"{len(data) % frame} of {frame} bytes"
            raise AudioError("-", f"the stream ended inside a sample ({rest}): check its format and channels", "check")


def _full(stream: Readable, count: int) -> bytes:
    """`count` bytes, fewer only at the end: pipes and unbuffered streams give what they have."""
    pieces = []
    while count and (piece := stream.read(count)):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
