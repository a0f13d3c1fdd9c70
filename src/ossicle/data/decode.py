"""A sound file -> float32 samples on disk, by child processes that answer JSON lines: `python -m ossicle.data.decode`.

An entry of the cache is one file: the samples, (T, C) little-endian float32, then what is known about them as JSON, the
JSON's length in four bytes, and four bytes of magic. It is written under another name, fsynced and renamed, so it is
there whole or not at all; its name is the digest of the sound file's own bytes, so it is right or unused.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import audio

SHORTEST = 0.01  # seconds; the shortest clip of a published set (UrbanSound8K) lasts 0.0545
MAGIC = b"OSS1"
_TRAILER = struct.Struct("<I4s")

Alive = Callable[[], None]


@dataclass(frozen=True)
class Entry:
    """What is known of a sound file by its content: `length` in samples at the asked rate, the rest as in the file."""

    digest: str
    length: int
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Entry:
        """From JSON; TypeError, KeyError or AttributeError if it is no entry."""
        entry = cls(**{**fields, "notes": tuple(fields["notes"])})
        if not (isinstance(entry.length, int) and entry.length > 0 and entry.digest.isalnum()):
            raise TypeError(f"no entry of the cache: {fields}")
        return entry


def place(folder: Path, digest: str, sample_rate: int, channels: str | int) -> Path:
    """Where a content's samples at that rate and with those channels lie."""
    return folder / digest[:2] / f"{digest}-{sample_rate}-{channels}.f32"


def width(channels: str | int) -> int:
    """Channels that an entry has."""
    return channels if isinstance(channels, int) else 1


def mark(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(size, mtime_ns): when it changes, the file did."""
    status = os.stat(path)  # noqa: PTH116 - called for every clip of every batch, with strings
    return status.st_size, status.st_mtime_ns


def look_up(file: Path, channels: str | int) -> Entry | None:
    """The entry in a file of the cache, or None if there is none, or not a whole one."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - _TRAILER.size))
            count, magic = _TRAILER.unpack(opened.read())
            opened.seek(size - _TRAILER.size - count)  # an error if that lies before the start
            entry = Entry.of(json.loads(opened.read(count)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error):
        return None
    whole = magic == MAGIC and size == 4 * entry.length * width(channels) + count + _TRAILER.size
    return entry if whole else None


def decode(
    path: str, folder: str, temporary: str, *, sample_rate: int, channels: str | int, alive: Alive = lambda: None
) -> tuple[Entry, tuple[int, int]]:
    """The entry of a sound file, decoded if the cache has none for its content, and the file's mark.

    AudioError if the sound is bad; any other OSError is the cache's: its disk is full, or may not be written.
    """
    source = Path(path)
    before = _marked(source)
    digest = audio.digest(source, alive)
    file = place(Path(folder), digest, sample_rate, channels)
    entry = look_up(file, channels)
    if entry is None:
        try:
            entry = _write(source, digest, Path(temporary), sample_rate, channels, alive)
            _must_be_unchanged(source, before)
            file.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, file)  # noqa: PTH105 - no Path is needed
        except audio.AudioError:
            _must_be_unchanged(source, before)
            raise
        finally:
            Path(temporary).unlink(missing_ok=True)
    _must_be_unchanged(source, before)
    return entry, before


def _marked(path: Path) -> tuple[int, int]:
    """Its mark; AudioError if there is none to be had."""
    try:
        return mark(path)
    except (OSError, ValueError):
        audio.digest(path)  # says why, as a sentence
        raise audio.AudioError(path, "it comes and goes while it is read", "open") from None


def _must_be_unchanged(path: Path, before: tuple[int, int]) -> None:
    if _marked(path) != before:
        raise audio.AudioError(path, "changed while it was read: prepare it again when it is at rest", "check")


def _write(source: Path, digest: str, temporary: Path, rate: int, channels: str | int, alive: Alive) -> Entry:
    census, length = audio.Census(), 0
    with audio.Sound(source) as sound:
        _must_be_whole(sound)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as out:
            for block in sound.blocks(sample_rate=rate, channels=channels, watch=census.add):
                out.write(np.ascontiguousarray(block.T, dtype="<f4").data)
                length += block.shape[1]
                alive()
            info, notes = sound.info, (*sound.notes, *census.notes())
            about = info.sample_rate, info.channels, census.length, info.format, info.subtype
            entry = Entry(digest, length, *about, notes)
            text = json.dumps(asdict(entry)).encode()
            out.write(text + _TRAILER.pack(len(text), MAGIC))
            out.flush()
            os.fsync(out.fileno())
    return entry


def _must_be_whole(sound: audio.Sound) -> None:
    """A file that is cut or too short is told before anything of it is decoded."""
    if sound.fault:
        raise audio.AudioError(sound.path, sound.fault, "check")
    if sound.known and 0 < sound.info.seconds < SHORTEST:
        count = f"{sound.info.frames} sample{'s' * (sound.info.frames > 1)}"
        raise audio.AudioError(sound.path, f"{count}: shorter than {SHORTEST:g} s", "check")


def patiently(action: Callable[[], Any], pauses: tuple[float, ...] = (0.1, 0.3, 1.0)) -> Any:
    """The action's result; a disk's or network's EIO and ESTALE, and nothing else, are tried again after each pause."""
    for pause in pauses:
        try:
            return action()
        except audio.AudioError as error:
            if getattr(error.__cause__, "errno", None) not in (errno.EIO, errno.ESTALE):
                raise
            time.sleep(pause)
    return action()


def answer(request: dict[str, Any], alive: Alive) -> dict[str, Any]:
    """What became of a request: {"entry", "mark"}, {"bad": [stage, reason]}, or {"cache": [errno, words]}."""
    try:
        entry, marked = patiently(lambda: decode(**request, alive=alive))
    except audio.AudioError as error:
        return {"bad": [error.stage, error.reason]}
    except MemoryError:
        return {"bad": ["decode", "its decoder wanted more memory than it was given"]}
    except OSError as error:
        return {"cache": [error.errno, error.strerror]}
    except Exception as error:  # a worker answers for every file, whatever it meets
        return {"bad": ["decode", f"its decoder failed ({type(error).__name__}: {error})"]}
    return {"entry": asdict(entry), "mark": marked}


def _limit(memory: int) -> None:
    """No more than `memory` bytes of address space beyond what is in use now, where the system knows of such limits."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Answers requests, one JSON line each, until its input ends. Whatever libraries print goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    answers = os.dup(1)
    os.dup2(2, 1)
    heard = 0.0

    def tell(message: dict[str, Any]) -> None:
        os.write(answers, json.dumps(message).encode() + b"\n")

    def alive() -> None:
        nonlocal heard
        if time.monotonic() > heard + 1.0:
            heard = time.monotonic()
            tell({"alive": True})

    import soundfile  # noqa: F401 - its library is mapped before the limit is set
    import soxr  # noqa: F401

    _limit(int(sys.argv[1]))
    tell({"ready": True})
    for line in sys.stdin.buffer:
        tell(answer(json.loads(line), alive))


if __name__ == "__main__":
    main()
