"""MP3 without a decoder: where its frames are, how many, and whether the last one is whole."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from ossicle.audio.splice import Header, read_at

LONGER = "an MP3 longer than its own header says (several joined?): read as far as the header goes"
NO_DELAY = "an MP3 that does not tell its encoder's delay: its sound starts some 10 to 50 ms late"


class _Frame(NamedTuple):
    size: int  # bytes
    side: int  # bytes of side information: where a Xing or Info tag would follow


_KBPS = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def is_mpeg(first: bytes) -> bool:
    """An MPEG audio sync word whose layer is not the reserved one (AAC's ADTS uses that)."""
    return len(first) > 1 and first[0] == 0xFF and first[1] & 0xE0 == 0xE0 and first[1] & 0x06 != 0


def _frame(header: bytes) -> _Frame | None:
    """A layer III frame (ISO 11172-3, 2.4.1.3; 13818-3 for the low rates), or None."""
    if len(header) < 4 or not is_mpeg(header) or header[1] & 0x06 != 0x02 or header[1] & 0x18 == 0x08:
        return None
    version = header[1] >> 3 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if bitrate in (0, 15) or rate == 3:
        return None
    hertz = (44100, 48000, 32000)[rate] >> (0 if version == 3 else 1 if version == 2 else 2)
    kbps = _KBPS[3 if version == 3 else 2][bitrate - 1]
    mono = header[3] >> 6 == 3
    size = (144 if version == 3 else 72) * kbps * 1000 // hertz + (header[2] >> 1 & 1)
    return _Frame(size, {(3, False): 32, (3, True): 17, (2, False): 17, (2, True): 9}[3 if version == 3 else 2, mono])


def look(file: BinaryIO, size: int, start: int) -> Header:
    """With a Xing or Info tag its count is checked by decoding; without one the frames are counted here.

    libsndfile would take the length from the first frame's bit rate and cut a file of varying rate there; so it is
    handed a tag of ours in front of the first frame.
    """
    first = _first_frame(read_at(file, start, 1 << 16))
    if first is None:
        return Header()
    at = start + first
    head = read_at(file, at, 256)
    frame = _frame(head)
    assert frame is not None
    tag = head[4 + frame.side :]
    if tag[:4] in (b"Xing", b"Info") and tag[7] & 1:
        counted = int.from_bytes(tag[12:16]) if tag[7] & 2 else size
        longer = (LONGER,) if size - at > counted * 1.05 + (1 << 17) else ()
        return Header(notes=longer if _tells_delay(tag) else (*longer, NO_DELAY))
    if head[36:40] == b"VBRI":
        return Header(notes=(NO_DELAY,))
    count, end = _count(file, at)
    fault = f"truncated: its last MP3 frame lacks {end - size} bytes" if end > size else ""
    return Header(fault, (NO_DELAY,), _contents(head, count - (end > size)), at)


def _first_frame(piece: bytes) -> int | None:
    """Where the first frame starts that another one follows."""
    for at in range(len(piece) - 4):
        frame = _frame(piece[at : at + 4]) if piece[at] == 0xFF else None
        if frame and (at + frame.size == len(piece) or _frame(piece[at + frame.size : at + frame.size + 4])):
            return at
    return None


def _tells_delay(tag: bytes) -> bool:
    """LAME's extension follows the optional count, bytes, table and quality, and holds the delay in 24 bits at +21."""
    flags = tag[7]
    at = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
    return tag[at : at + 4] in (b"LAME", b"Lavf", b"Lavc") and any(tag[at + 21 : at + 24])


def _count(file: BinaryIO, at: int) -> tuple[int, int]:
    """Frames from `at` on, and where the last one should end."""
    count, start, buffer = 0, at, b""
    while True:
        if at + 4 > start + len(buffer):
            start, buffer = at, read_at(file, at, 1 << 20)
        frame = _frame(buffer[at - start : at - start + 4])
        if frame is None:
            return count, at
        count, at = count + 1, at + frame.size


def _contents(head: bytes, count: int) -> bytes:
    """A silent frame like the file's own (no checksum, no padding) that holds a Xing tag with the number of frames."""
    header = bytes((0xFF, head[1] | 1, 0x90 | head[2] & 0x0C, head[3]))
    frame = _frame(header)
    assert frame is not None
    return (header + bytes(frame.side) + b"Xing" + struct.pack(">II", 1, count)).ljust(frame.size, b"\0")
