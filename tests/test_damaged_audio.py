"""Sound that is damaged, delivered badly, endless or in crumbs: nothing crashes, and memory stays bounded."""

from __future__ import annotations

import errno
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import audio
from ossicle.audio import splice
from ossicle.data import decode
from ossicle.data.cache import Cache

RATE = 16000
NOISE = (0.2 * np.random.default_rng(0).standard_normal(3 * RATE)).clip(-1, 1).astype(np.float32)


def coded(samples: np.ndarray, format: str = "WAV", subtype: str | None = None) -> bytes:
    """A sound file's bytes."""
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format=format, subtype=subtype)
    return out.getvalue()


def tagless(mp3: bytes) -> bytes:
    """Without the first frame, which holds the Xing tag."""
    return mp3[mp3.index(mp3[:2], 4) :]


def streamed(flac: bytes) -> bytes:
    """With a header that gives no number of samples."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    path.write_bytes(coded(NOISE))
    return path


def _openings(monkeypatch: pytest.MonkeyPatch, failures: list[int]) -> Callable[[], int]:
    """os.open fails with the given errors, one a call, and then works; -> how often it was called."""
    real, calls = os.open, []

    def flaky(path: str, *how: int, **more: int) -> int:
        calls.append(path)
        if failures:
            raise OSError(failures.pop(0), "so it goes")
        return real(path, *how, **more)

    monkeypatch.setattr("ossicle.audio.opening.os.open", flaky)
    return lambda: len(calls)


@pytest.mark.parametrize("row", [41], ids=["row-41"])
def test_only_passing_failures_are_tried_again(sound: Path, monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    pauses = (0.0, 0.0, 0.0)
    count = _openings(monkeypatch, [errno.EIO, errno.ESTALE, errno.EIO])
    assert decode.patiently(lambda: audio.read(sound), pauses).shape == (1, 3 * RATE)
    assert count() == 4
    count = _openings(monkeypatch, [errno.EACCES])
    with pytest.raises(audio.AudioError, match="permission denied: this user may not read it"):
        decode.patiently(lambda: audio.read(sound), pauses)
    assert count() == 1
    count = _openings(monkeypatch, [errno.ESTALE] * 9)
    with pytest.raises(audio.AudioError, match="stale handle"):
        decode.patiently(lambda: audio.read(sound), pauses)
    assert count() == 4


def test_row_41_an_error_in_the_middle_of_a_file_is_the_disk_s(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = splice.read_at

    def failing(file: io.BufferedReader, offset: int, count: int) -> bytes:
        if offset > 40000:
            raise OSError(errno.EIO, "Input/output error")
        return real(file, offset, count)

    monkeypatch.setattr(splice, "read_at", failing)
    with pytest.raises(audio.AudioError, match="input/output error: the disk or the network") as caught:
        audio.read(sound)
    assert isinstance(caught.value.__cause__, OSError)


def test_row_46_ten_hours_need_no_more_than_a_window(tmp_path: Path) -> None:
    """A sparse file of ten hours: its last second at once, and an hour of it in small blocks."""
    head, hours = coded(NOISE[:0])[:-4] + struct.pack("<I", 36000 * RATE * 2), 36000
    path = tmp_path / "long.wav"
    with path.open("wb") as out:
        out.write(head)
        out.truncate(len(head) + hours * RATE * 2)
    assert audio.probe(path).seconds == hours
    assert audio.read(path, start=hours - 1.0, sample_rate=22050).shape == (1, 22050)
    sizes = set()
    for number, block in enumerate(audio.blocks(path, seconds=10.0)):
        sizes.add(block.shape)
        if number == 360:
            break
    assert sizes == {(1, 10 * RATE)}


def test_row_47_many_short_clips(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.wav" for number in range(300)]
    for number, path in enumerate(paths):
        path.write_bytes(coded(NOISE[number : number + 1600]))
    prepared = Cache(tmp_path / "cache").prepare(paths, sample_rate=RATE)
    assert set(prepared.lengths.values()) == {1600}
    assert not prepared.bad


def test_a_thousand_damaged_files_crash_nothing(tmp_path: Path) -> None:
    """Bits flipped, pieces cut out, put in and cut off, in every format: finite sound, or an AudioError."""
    draw = np.random.default_rng(0)
    two = NOISE[:16000].reshape(-1, 2)
    seeds = [
        *(coded(two, subtype=subtype) for subtype in ("PCM_16", "FLOAT", "PCM_U8", "IMA_ADPCM")),
        *(coded(two, format=format) for format in ("WAVEX", "RF64", "FLAC", "AIFF", "OGG", "MP3")),
        *(coded(two, format="OGG", subtype="OPUS"), coded(two, format="AIFF", subtype="FLOAT")),
        *(tagless(coded(NOISE, format="MP3")), streamed(coded(NOISE, format="FLAC"))),
    ]
    path, heard = tmp_path / "damaged", 0
    for number in range(1000):
        path.write_bytes(damaged(seeds[number % len(seeds)], draw))
        try:
            wave = audio.read(path, sample_rate=8000)
        except audio.AudioError:
            continue
        heard += 1
        assert wave.shape[0] == 1
        assert wave.size > 0
        assert np.isfinite(wave).all()
    assert 100 < heard < 900


def damaged(content: bytes, draw: np.random.Generator) -> bytes:
    """The content with one to eight wounds of one kind; every other time near its head."""
    wounded, kind = bytearray(content), draw.integers(4)
    for _ in range(int(draw.integers(1, 9))):
        at = int(draw.integers(min(len(wounded), 150) if draw.integers(2) else len(wounded)))
        size = int(draw.integers(1, 40))
        if kind == 0:
            wounded[at] ^= 1 << int(draw.integers(8))
        elif kind == 1:
            wounded[at:at] = draw.bytes(size)
        elif kind == 2:
            del wounded[at : at + size]
        else:
            return bytes(wounded[: max(1, at)])
        if len(wounded) < 2:
            break
    return bytes(wounded)
