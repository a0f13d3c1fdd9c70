"""GUANO metadata of a WAV file: what the recorder wrote beside the sound, as named texts (specification 1.0)."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from ossicle.audio.opening import open_regular
from ossicle.audio.splice import read_at

_LONGEST = 1 << 20  # bytes: metadata is text that people write


def guano(path: str | os.PathLike[str]) -> dict[str, str]:
    """Field -> value of the `guan` chunk, {} where there is none. AudioError if the file cannot be opened.

    Names keep their namespace, `GUANO|Version`; surrounding blanks of values are gone.
    """
    file, size = open_regular(Path(path))
    with file:
        try:
            text = _chunk(file, size).decode("utf-8", "replace")
        except OSError:
            return {}
    fields = (line.partition(":") for line in text.split("\n") if ":" in line)
    return {name.strip(" \t\r\0"): value.strip(" \t\r\0") for name, _, value in fields}


def _chunk(file: BinaryIO, size: int) -> bytes:
    """The `guan` chunk's body, wherever it lies between the others."""
    magic = read_at(file, 0, 12)
    if magic[:4] not in (b"RIFF", b"RF64") or magic[8:] != b"WAVE":
        return b""
    at, long = 12, 0
    while at + 8 <= size:
        name, length = struct.unpack("<4sI", read_at(file, at, 8))
        if name == b"guan":
            return read_at(file, at + 8, min(length, _LONGEST))
        if name == b"ds64":
            long = int.from_bytes(read_at(file, at + 16, 8), "little")
        if name == b"data" and length == 0xFFFFFFFF and long:
            length = long
        at += 8 + length + length % 2
    return b""
