"""The first and last bytes of a sound file -> what its header promises, and whether the file keeps it.

libsndfile returns short arrays for most cut files without an error, believes a streamed header that says "no samples",
and takes the length of an MP3 without a table of contents from its first frame. So the few bytes that matter are read
here: RIFF and AIFF chunk sizes, Ogg page ends, FLAC's sample count; MP3's frames in mpeg.py.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import BinaryIO

from ossicle.audio import mpeg
from ossicle.audio.splice import Header, read_at

NO_LENGTH = "its header gives no length (a streamed recording): read to the end of the file"
CHAINED = "several Ogg streams one after another: only the first was read"
NO_END = "an Ogg stream without an end mark (the recorder stopped early?): what is there was read"

FLAC_UNKNOWN = (1 << 36) - 1  # the largest sample count that a FLAC header can hold
_STREAMED = 0x7FFF0000  # sizes from here on are what ffmpeg (2^32-1), sox (2^31-...) and others write into a pipe
_PAGE = 65307  # the longest Ogg page: 27 + 255 + 255 * 255 bytes


class Refused(ValueError):
    """Not a sound file, for the reason given."""


def look(file: BinaryIO, size: int) -> Header:
    """What an open file's header promises. `Refused` if it is no sound file of a kind that is read here."""
    start = _id3(read_at(file, 0, 10))
    first = read_at(file, start, 64)
    if first[:4] in (b"RIFF", b"RIFX", b"RF64") and first[8:12] == b"WAVE":
        return _wav(file, size, first[:4])
    if first[:4] == b"FORM" and first[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, size)
    if first[:4] == b"OggS":
        return _ogg(file, size)
    if first[:4] == b"fLaC":
        return _flac(file, start)
    if start or mpeg.is_mpeg(first):
        return mpeg.look(file, size, start)
    raise Refused(_stranger(first))


def _id3(first: bytes) -> int:
    """Bytes that an ID3v2 tag takes at the start: ten and a size of four 7-bit digits."""
    if first[:3] != b"ID3" or len(first) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(first[6:10], (21, 14, 7, 0), strict=True))


# What people put into data folders that is no sound, by its first bytes.
_STRANGERS = (
    (b"version https://git-lfs", "a Git LFS pointer instead of the sound: run `git lfs pull`"),
    (b"#EXTM3U", "a playlist, not audio: nothing is fetched, list the sound files themselves"),
    (b"[playlist]", "a playlist, not audio: nothing is fetched, list the sound files themselves"),
    (b"ffconcat version", "a playlist, not audio: nothing is fetched, list the sound files themselves"),
    (b"v=0", "a stream description (SDP), not audio: nothing is fetched, record the stream to a file first"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM file: no audio stream that is read here; convert it to FLAC first"),
    (b"0&\xb2u\x8ef\xcf\x11", "a Windows Media file: no audio stream that is read here; convert it to FLAC first"),
    (b"caff", "a Core Audio file, which is not read here: convert it to FLAC first"),
    (b".snd", "a Sun AU file, which is not read here: convert it to FLAC first"),
    (b"riff", "a Wave64 file, which is not read here: convert it to RF64 or FLAC first"),
    (b"wvpk", "a WavPack file, which is not read here: convert it to FLAC first"),
    (b"PK\x03\x04", "a ZIP archive, not audio: unpack it first"),
    (b"\x1f\x8b", "a gzip archive, not audio: unpack it first"),
)


def _stranger(first: bytes) -> str:
    """A sentence for a file that begins like no sound."""
    for magic, reason in _STRANGERS:
        if first.startswith(magic):
            return reason
    if first[4:8] == b"ftyp":
        return "an MP4 file (video, protected, or AAC): no audio stream that is read here; convert it to FLAC first"
    if first[:1] == b"\xff":
        return "an AAC stream, which is not read here: convert it to FLAC first"
    if not first.strip(b"\0"):
        return "not audio: nothing but zero bytes where the header should be"
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n")
    return f"not audio: starts with {text[:16].split(b'>')[0].decode('latin-1').rstrip()!a}"


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """(name, where its body starts, length) of each IFF chunk, as promised by the file."""
    at = 12
    while at + 8 <= size:
        name, length = struct.unpack(order + "4sI", read_at(file, at, 8))
        yield name, at + 8, length
        at += 8 + length + length % 2


def _wav(file: BinaryIO, size: int, magic: bytes) -> Header:
    order = ">" if magic == b"RIFX" else "<"
    long = 0
    for name, body, length in itertools.islice(_chunks(file, size, order), 1000):
        if name == b"ds64":
            long = struct.unpack("<Q", read_at(file, body + 8, 8).ljust(8, b"\0"))[0]
        if name == b"data" and magic == b"RF64" and length == 0xFFFFFFFF and long:
            return _kept(long, size - body)
        if name == b"data" and length == 0 and size > body and not _chunk_follows(file, body, size, order):
            mended = read_at(file, 0, body - 4) + struct.pack(order + "I", min(size - body, 0xFFFFFFFF))
            return Header(notes=(NO_LENGTH,), head=mended, at=body)
        if name == b"data" and length >= _STREAMED and length > size - body:
            return Header(notes=(NO_LENGTH,))
        if name == b"data":
            return _kept(length, size - body)
    return Header(fault="truncated: it ends before its sound begins")


def _chunk_follows(file: BinaryIO, at: int, size: int, order: str) -> bool:
    """Whether a chunk begins here, as after a data chunk that is really empty, and not samples."""
    name, length = struct.unpack(order + "4sI", read_at(file, at, 8).ljust(8, b"\0"))
    return name.isascii() and name.decode("ascii").isprintable() and at + 8 + length <= size


def _kept(promised: int, there: int) -> Header:
    """One byte of grace: writers forget the pad byte of an odd chunk."""
    if promised <= there + 1:
        return Header()
    return Header(fault=f"truncated: its header promises {promised} bytes of sound and {there} are there")


def _aiff(file: BinaryIO, size: int) -> Header:
    for name, body, length in itertools.islice(_chunks(file, size, ">"), 1000):
        if name == b"SSND":
            return Header(notes=(NO_LENGTH,)) if length >= _STREAMED > size else _kept(length, size - body)
    return Header(fault="truncated: it ends before its sound begins")


def _flac(file: BinaryIO, start: int) -> Header:
    """A sample count of zero means unknown (RFC 9639, 8.2). libsndfile then fails to seek, so the largest stands in."""
    head = read_at(file, start, 26)
    rest = int.from_bytes(head[18:26])
    if len(head) < 26 or rest & FLAC_UNKNOWN:
        return Header()
    return Header(notes=(NO_LENGTH,), head=head[:18] + (rest | FLAC_UNKNOWN).to_bytes(8), at=start + 26)


def _ogg(file: BinaryIO, size: int) -> Header:
    """The last page must be whole, carry the end-of-stream mark (RFC 3533), and belong to the first stream."""
    offset = max(0, size - 2 * _PAGE)
    tail = read_at(file, offset, 2 * _PAGE)
    page = tail[tail.rfind(b"OggS\0") :]
    if len(page) < 27 or len(page) < 27 + page[26] or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return Header(fault="truncated: its last Ogg page is cut")
    if page[5] & 2:
        return Header(fault="truncated: it ends before its sound begins")
    notes = (CHAINED,) if page[14:18] not in _serials(file, size) else ()
    return Header(notes=notes if page[5] & 4 else (*notes, NO_END))


def _serials(file: BinaryIO, size: int) -> set[bytes]:
    """The serial numbers of the streams that begin at the start of the file."""
    at, serials = 0, set()
    while at + 27 < size:
        page = read_at(file, at, 27 + 255)
        if page[:4] != b"OggS" or not page[5] & 2:
            break
        serials.add(page[14:18])
        at += 27 + page[26] + sum(page[27 : 27 + page[26]])
    return serials
