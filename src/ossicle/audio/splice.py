"""A file whose header is mended in memory: the bytes that libsndfile is handed, and what was found about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Header:
    """`fault`: how the file falls short of its header ("" if it does not). `notes`: what was repaired or looked odd.

    The file is to be read as `head` followed by its own bytes from `at` on.
    """

    fault: str = ""
    notes: tuple[str, ...] = ()
    head: bytes = b""
    at: int = 0


def read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """`count` bytes from `offset` on, or as many as there are."""
    file.seek(offset)
    return file.read(count)


class Spliced:
    """`head` followed by a file's bytes from `at` on, as a file that libsndfile can read through callbacks.

    An exception must not leave a C callback, so an I/O error ends the data and is kept in `error` for who called.
    """

    def __init__(self, file: BinaryIO, size: int, head: bytes = b"", at: int = 0):
        self.file, self.head, self.at = file, head, at
        self.size = len(head) + size - at
        self.position = 0
        self.error: OSError | None = None

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = max(0, offset + (0, self.position, self.size)[whence])
        return self.position

    def readinto(self, buffer: memoryview) -> int:
        filled = 0
        if self.position < len(self.head):
            piece = self.head[self.position : self.position + len(buffer)]
            filled = len(piece)
            buffer[:filled] = piece
        while filled < len(buffer):
            piece = self._read(self.position + filled - len(self.head) + self.at, len(buffer) - filled)
            if not piece:
                break
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        self.position += filled
        return filled

    def _read(self, offset: int, count: int) -> bytes:
        try:
            return read_at(self.file, offset, count)
        except OSError as error:
            self.error = error
            return b""
