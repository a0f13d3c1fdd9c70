"""Bad sound files, by the rows of the list of bad inputs: each told once with its reason, or repaired with a note.

One preparation decodes them all, in the child processes that a user's files go through.
"""

from __future__ import annotations

import io
import os
import re
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import audio
from ossicle.data.cache import Cache, Prepared

RATE = 16000
TIME = np.arange(RATE) / RATE
TONE = (0.5 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)
NOISE = (0.2 * np.random.default_rng(0).standard_normal(3 * RATE)).clip(-1, 1).astype(np.float32)


def coded(samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    """A sound file's bytes."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return out.getvalue()


def floats(samples: np.ndarray) -> bytes:
    return coded(samples, subtype="FLOAT")


def with_size(wav: bytes, size: int) -> bytes:
    """A WAV whose data chunk says another size."""
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


def with_rate(wav: bytes, rate: int) -> bytes:
    at = wav.index(b"fmt ") + 12
    return wav[:at] + struct.pack("<I", rate) + wav[at + 4 :]


def pages(ogg: bytes) -> list[bytes]:
    """The pages of an Ogg file (RFC 3533)."""
    found, at = [], 0
    while at < len(ogg):
        segments = ogg[at + 26]
        end = at + 27 + segments + sum(ogg[at + 27 : at + 27 + segments])
        found.append(ogg[at:end])
        at = end
    return found


def without_tag(mp3: bytes) -> bytes:
    """An MP3 without its first frame, the one that holds the Xing tag: as streams and old encoders leave it."""
    second = mp3.index(mp3[:2], 4)
    assert b"Xing" in mp3[:second]
    return mp3[second:]


def spoiled(value: float) -> np.ndarray:
    samples = TONE.copy()
    samples[1234] = value
    return samples


def stereo(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.stack([left, right], axis=1)


WAV, OGG, MP3, FLAC = coded(NOISE), coded(NOISE, format="OGG"), coded(NOISE, format="MP3"), coded(NOISE, format="FLAC")
OPUS, AIFF = coded(NOISE, format="OGG", subtype="OPUS"), coded(NOISE, format="AIFF")
STREAMED_FLAC = FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:]
ID3 = b"ID3\x03\0\0" + bytes((0, 0x7F, 0x7F, 0x7F)) + np.random.default_rng(1).bytes((1 << 21) - 1)

# (row, name, bytes, stage, what the reason says)
BAD: list[tuple[int, str, bytes, str, str]] = [
    (1, "empty.wav", b"", "open", "^empty file$"),
    (2, "no-samples.wav", coded(TONE[:0]), "check", "^0 samples$"),
    (2, "no-samples.ogg", coded(TONE[:0], format="OGG"), "check", "^0 samples$"),
    (3, "one-sample.wav", coded(TONE[:1]), "check", "^1 sample: shorter than 0.01 s$"),
    (6, "nan.wav", floats(spoiled(np.nan)), "check", r"NaN instead of a number at sample 1234 \(0.077 s\)"),
    (7, "inf.wav", floats(spoiled(-np.inf)), "check", "infinity instead of a number at sample 1234"),
    (7, "double.wav", coded(TONE * np.float64(1e300), subtype="DOUBLE"), "check", "infinity instead of a number"),
    (9, "1e29.wav", floats(spoiled(1e29)), "check", r"implausible level of \+580 dB of full scale at sample 1234"),
    (19, "gsm.wav", coded(TONE, 8000, subtype="GSM610"), "open", "WAV with GSM610 samples is not read here"),
    (24, "rate-0.wav", with_rate(WAV, 0), "open", "impossible sample rate"),
    (24, "rate-1.wav", with_rate(WAV, 1), "open", "a sample rate of 1 Hz; between 1 kHz and 1 MHz"),
    (24, "rate-4e9.wav", with_rate(WAV, 4_000_000_000), "open", "impossible sample rate"),
    (25, "channels-64.wav", coded(np.tile(TONE[:100, None], 64)), "open", "64 channels; at most 32"),
    (
        26,
        "cut.wav",
        WAV[: len(WAV) // 2],
        "check",
        r"truncated: its header promises 96000 bytes of sound and 47978 are",
    ),
    (26, "cut.aiff", AIFF[: len(AIFF) // 2], "check", "truncated: its header promises 96008 bytes"),
    (26, "cut-head.wav", WAV[:30], "check", "truncated: it ends before its sound begins"),
    (28, "cut.flac", FLAC[: len(FLAC) // 2], "decode", "damaged or truncated"),
    (28, "cut-streamed.flac", STREAMED_FLAC[: len(FLAC) // 2], "decode", "damaged or truncated"),
    (29, "cut.mp3", MP3[: len(MP3) // 3], "check", "truncated: its header promises 48000 samples and"),
    (29, "cut-no-tag.mp3", without_tag(MP3)[:4200], "check", "truncated: its last MP3 frame lacks"),
    (30, "cut.ogg", OGG[: len(OGG) // 2], "check", "truncated: its last Ogg page is cut"),
    (30, "cut.opus", OPUS[: len(OPUS) // 2], "check", "truncated: its last Ogg page is cut"),
    (30, "gap.ogg", b"".join(p for n, p in enumerate(pages(OGG)) if n != 3), "check", "truncated: its header promises"),
    (30, "head.ogg", pages(OGG)[0], "check", "truncated: it ends before its sound begins"),
    (
        35,
        "page.wav",
        b"<!DOCTYPE html><html><body>404</body></html>",
        "open",
        "not audio: starts with '<!DOCTYPE html'",
    ),
    (35, "zeros.wav", bytes(5000), "open", "nothing but zero bytes"),
    (36, "pointer.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "open", "run `git lfs pull`"),
    (37, "list.mp3", b"#EXTM3U\nhttp://example.org/a.mp3\n", "open", "a playlist, not audio: nothing is fetched"),
    (37, "concat.mp3", b"ffconcat version 1.0\nfile /etc/passwd\n", "open", "a playlist"),
    (37, "session.mp3", b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "open", r"a stream description \(SDP\)"),
    (38, "video.mp3", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "open", "an MP4 file .* no audio stream"),
    (38, "video.ogg", b"\x1aE\xdf\xa3" + bytes(100), "open", "a Matroska or WebM file: no audio stream"),
    (38, "locked.wav", b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel", "open", "Windows Media file: no audio stream"),
]

DC, SILENT = TONE * 0.2 + 0.3, np.zeros(RATE, np.float32)
CLIPPED = np.clip(TONE * 10, -1, 1)
OPPOSED = stereo(TONE, -TONE * 0.99)
# (row, name, bytes, what the note says; "" for none)
GOOD: list[tuple[int, str, bytes, str]] = [
    (4, "short.wav", coded(TONE[:872]), ""),
    (8, "loud.wav", floats(TONE * 10), "louder than full scale"),
    (10, "subnormal.wav", floats(TONE * np.float32(1e-39)), "digital silence"),
    (11, "silent.wav", coded(SILENT), "digital silence"),
    (13, "offset.wav", coded(DC), "a DC offset above 0.05"),
    (13, "constant.wav", coded(SILENT + 0.5), "a constant and no sound: counts as silence"),
    (14, "dead.wav", coded(stereo(TONE, SILENT)), "a dead channel beside a live one"),
    (15, "opposed.wav", coded(OPPOSED), r"channels that cancel when mixed \(opposite phase\): the loudest"),
    (16, "clipped.wav", coded(CLIPPED), "clipped: more than 10 % of the samples"),
    (17, "eight-bit.wav", coded(TONE, subtype="PCM_U8"), ""),
    (18, "24.wav", coded(TONE, subtype="PCM_24"), ""),
    (18, "32.wav", coded(TONE, subtype="PCM_32"), ""),
    (18, "double.aiff", coded(TONE, format="AIFF", subtype="DOUBLE"), ""),
    (19, "ulaw.wav", coded(TONE, subtype="ULAW"), ""),
    (19, "adpcm.wav", coded(TONE, subtype="IMA_ADPCM"), ""),
    (20, "192k.wav", coded(np.tile(TONE, 12), 192000), ""),
    (21, "8k.wav", coded(TONE, 8000), "recorded at 8000 Hz, below 16000 Hz: nothing above 4000 Hz is in it"),
    (25, "six.wav", coded(np.tile(TONE[:, None], 6)), "more than two channels: mixed into one"),
    (27, "streamed-f0.wav", with_size(WAV, 0xFFFFFFF0), "its header gives no length"),
    (27, "streamed-ff.wav", with_size(WAV, 0xFFFFFFFF), "its header gives no length"),
    (27, "streamed-sox.wav", with_size(WAV, 0x7FFFF000), "its header gives no length"),
    (27, "streamed-0.wav", with_size(WAV, 0), "its header gives no length"),
    (27, "streamed.flac", STREAMED_FLAC, "its header gives no length"),
    (30, "no-end.ogg", b"".join(pages(OGG)[:-1]), "an Ogg stream without an end mark"),
    (30, "no-end.opus", b"".join(pages(OPUS)[:-1]), "an Ogg stream without an end mark"),
    (31, "cover.mp3", ID3 + MP3, ""),
    (31, "tail.mp3", MP3 + b"TAG" + bytes(125), ""),
    (31, "no-tag.mp3", without_tag(MP3), ""),
    (32, "no-delay.mp3", without_tag(MP3), "an MP3 that does not tell its encoder's delay"),
    (33, "chained.ogg", OGG + coded(TONE, 22050, "OGG"), "several Ogg streams one after another: only the first"),
    (31, "joined.mp3", MP3 * 20, "an MP3 longer than its own header says"),
    (34, "really-ogg.wav", OGG, "named .wav, but its content is OGG"),
    (34, "really-wav.mp3", WAV, "named .mp3, but its content is WAV"),
]
ODD = [
    *(
        "ünï.wav",
        "u\u0308.wav",
        "ü.wav",
        "🎵.wav",
        "two words.wav",
        "new\nline.wav",
        "tab\t.wav",
        'a,"b".wav',
        "-rf.wav",
    ),
    *("$(reboot).wav", "'; ls.wav", "x" * 251 + ".wav", os.fsdecode(b"broken-\xff\xfe.wav"), "esc\x1b[31m.wav"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file of the tables, in folders of their own; links, pipes and devices; names of all kinds."""
    root = tmp_path_factory.mktemp("bad")
    for sub, table in (("bad", BAD), ("good", GOOD)):
        (root / sub).mkdir()
        for _, name, content, *_ in table:
            (root / sub / name).write_bytes(content)
    (root / "odd").mkdir()
    for name in ODD:
        (root / "odd" / name).write_bytes(coded(TONE))
    (root / "kinds").mkdir()
    (root / "kinds/folder.wav").mkdir()
    os.mkfifo(root / "kinds/pipe.wav")
    (root / "kinds/circle.wav").symlink_to("circle.wav")
    (root / "kinds/broken.wav").symlink_to("gone/away.wav")
    (root / "kinds/device.wav").symlink_to("/dev/zero")
    (root / "kinds/link.wav").symlink_to("../good/eight-bit.wav")
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(root / "kinds")  # a socket's name must be short
        made.bind("socket.wav")
        os.chdir(here)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def prepared(folder: Path, cache: Cache) -> Prepared:
    paths = [path for sub in ("bad", "good", "odd", "kinds") for path in sorted((folder / sub).iterdir())]
    return cache.prepare([*paths, folder / "absent.wav"], sample_rate=RATE, workers=1)


def named(row: int, name: str) -> str:
    return f"row-{row}-{name}"


@pytest.mark.parametrize(("row", "name", "content", "stage", "reason"), BAD, ids=[named(*case[:2]) for case in BAD])
def test_bad_files_are_told(
    folder: Path, prepared: Prepared, row: int, name: str, content: bytes, stage: str, reason: str
) -> None:
    path = folder / "bad" / name
    bad = prepared.bad[path]
    assert (bad.path, bad.stage) == (str(path), stage)
    assert re.search(reason, bad.reason), bad.reason
    assert "\n" not in bad.reason
    assert path not in prepared.lengths
    if row != 3:  # a sample is a sound; only a clip to learn from must be longer
        with pytest.raises(audio.AudioError):
            audio.read(path, sample_rate=RATE)


@pytest.mark.parametrize(("row", "name", "content", "note"), GOOD, ids=[named(*case[:2]) for case in GOOD])
def test_odd_files_are_used_and_noted(
    folder: Path, prepared: Prepared, cache: Cache, row: int, name: str, content: bytes, note: str
) -> None:
    path = folder / "good" / name
    assert path not in prepared.bad, prepared.bad.get(path)
    wave = cache.wave(path, sample_rate=RATE)
    assert wave.shape == (1, prepared.lengths[path])
    assert np.isfinite(wave).all()
    np.testing.assert_array_equal(wave, audio.read(path, sample_rate=RATE))
    told = [text for text, paths in prepared.notes.items() if str(path) in paths]
    if note:
        assert any(re.search(note, text) for text in told), told
    else:
        assert [text for text in told if "delay" not in text] == []


def wave_of(folder: Path, name: str) -> np.ndarray:
    return audio.read(folder / "good" / name, sample_rate=RATE)[0]


@pytest.mark.parametrize("row", [4, 5], ids=["row-4", "row-5"])
def test_short_clips_follow_the_stated_rule(folder: Path, row: int) -> None:
    """UrbanSound8K's shortest clip, 0.0545 s, for a front end's window and for a model's."""
    wave = audio.read(folder / "good/short.wav")
    for length in (1024, 5 * RATE):
        np.testing.assert_array_equal(audio.fit(wave, length)[0], np.resize(wave[0], length))
        zeros = audio.fit(wave, length, policy="zero")
        assert not zeros[0, wave.shape[1] :].any()
        np.testing.assert_array_equal(zeros[0, : wave.shape[1]], wave[0])


@pytest.mark.parametrize("peak", [5.0], ids=["row-8"])
def test_loud_floats_keep_their_scale(folder: Path, peak: float) -> None:
    np.testing.assert_array_equal(wave_of(folder, "loud.wav"), TONE * 10)


@pytest.mark.parametrize("level", [0.0, 1e-39], ids=["row-12", "row-10"])
def test_a_silent_clip_survives_trimming(level: float) -> None:
    wave = TONE[None] * np.float32(level)
    assert audio.trim_silence(wave).shape == wave.shape


@pytest.mark.parametrize("row", [14, 15], ids=["row-14", "row-15"])
def test_downmixing_never_loses_the_sound(folder: Path, row: int) -> None:
    if row == 14:
        np.testing.assert_allclose(wave_of(folder, "dead.wav"), TONE / 2, atol=2e-5)
    else:
        np.testing.assert_allclose(wave_of(folder, "opposed.wav"), TONE, atol=4e-5)
        head = next(audio.blocks(folder / "good/opposed.wav", seconds=0.1))
        np.testing.assert_allclose(head[0], TONE[:1600], atol=4e-5)


@pytest.mark.parametrize(
    ("name", "within"),
    [("eight-bit.wav", 2**-7), ("24.wav", 1e-6), ("32.wav", 1e-6), ("double.aiff", 1e-6)],
    ids=["row-17", "row-18-24", "row-18-32", "row-18-64"],
)
def test_every_depth_has_the_same_scale_and_center(folder: Path, name: str, within: float) -> None:
    wave = wave_of(folder, name)
    assert np.abs(wave - TONE).max() <= within
    assert abs(wave.mean()) < within


@pytest.mark.parametrize("rate", [96000, 192000], ids=["row-20-96k", "row-20-192k"])
def test_what_lies_above_the_new_rate_does_not_fold_down(tmp_path: Path, rate: int) -> None:
    high = 0.5 * np.sin(2 * np.pi * 9000 * np.arange(rate) / rate)
    (tmp_path / "high.wav").write_bytes(coded(high, rate, subtype="FLOAT"))
    folded = audio.read(tmp_path / "high.wav", sample_rate=RATE)[0, 1000:-1000]
    assert np.abs(folded).max() < 0.5e-4


@pytest.mark.parametrize("seconds", [3.0], ids=["row-27"])
def test_streamed_headers_are_read_to_the_end(folder: Path, seconds: float) -> None:
    for name in ("streamed-f0.wav", "streamed-ff.wav", "streamed-sox.wav", "streamed-0.wav", "streamed.flac"):
        assert audio.probe(folder / "good" / name).seconds == seconds
        np.testing.assert_allclose(wave_of(folder, name), NOISE, atol=2**-15)


def test_an_empty_data_chunk_before_others_stays_empty(tmp_path: Path) -> None:
    path = tmp_path / "row-2.wav"
    path.write_bytes(coded(TONE[:0]) + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(audio.AudioError, match="0 samples"):
        audio.read(path)


def test_row_30_streaming_gives_all_there_is_before_it_complains(folder: Path) -> None:
    for name, least in (("cut.wav", 1.4), ("cut.ogg", 0.8), ("cut.mp3", 0.8)):
        heard: list[int] = []
        blocks = audio.blocks(folder / "bad" / name, seconds=0.1)
        with pytest.raises(audio.AudioError, match="truncated"):
            heard.extend(block.shape[1] for block in blocks)
        assert sum(heard) / RATE > least
        assert audio.read(folder / "bad" / name, start=0.2, stop=0.6).shape == (1, round(0.4 * RATE))


def test_row_31_length_comes_from_decoding(folder: Path) -> None:
    """A file of varying rate without a tag, whose first frame tells a wrong length, is read to its end."""
    tagless, tagged = wave_of(folder, "no-tag.mp3"), wave_of(folder, "cover.mp3")
    assert len(tagged) == len(NOISE)
    assert len(tagless) >= len(NOISE)
    shift = np.argmax(np.correlate(tagless[: 2 * RATE], tagged[:RATE], "valid"))
    np.testing.assert_allclose(tagless[shift + 5000 : shift + 40000], tagged[5000:40000], atol=1e-5)
    assert audio.probe(folder / "good/no-tag.mp3").frames == len(tagless)


def test_row_32_an_impulse_keeps_its_place_in_a_tagged_mp3(tmp_path: Path) -> None:
    impulse = SILENT.copy()
    impulse[8000] = 0.9
    mp3 = coded(impulse, format="MP3")
    (tmp_path / "tagged.mp3").write_bytes(mp3)
    (tmp_path / "bare.mp3").write_bytes(without_tag(mp3))
    assert np.abs(audio.read(tmp_path / "tagged.mp3")).argmax() == 8000
    late = np.abs(audio.read(tmp_path / "bare.mp3")).argmax() - 8000
    assert 0.01 < late / RATE < 0.05


def test_row_33_the_first_of_chained_streams_is_whole(folder: Path) -> None:
    np.testing.assert_array_equal(wave_of(folder, "chained.ogg"), audio.read(folder / "good/really-ogg.wav")[0])


KINDS = {
    "folder.wav": (39, "a folder, not a sound file: left unopened"),
    "pipe.wav": (39, r"a named pipe \(FIFO\), not a sound file: left unopened"),
    "device.wav": (39, "a device, not a sound file: left unopened"),
    "socket.wav": (39, "a socket, not a sound file: left unopened"),
    "circle.wav": (40, "symbolic links that run in a circle"),
    "broken.wav": (40, "a broken link to gone/away.wav"),
}


@pytest.mark.parametrize("name", KINDS, ids=[f"row-{row}-{name}" for name, (row, _) in KINDS.items()])
def test_what_is_no_file_is_left_alone(folder: Path, prepared: Prepared, name: str) -> None:
    bad = prepared.bad[folder / "kinds" / name]
    assert bad.stage == "open"
    assert re.search(KINDS[name][1], bad.reason), bad.reason


def test_row_40_a_link_to_a_file_is_that_file(folder: Path, prepared: Prepared) -> None:
    assert prepared.digests[folder / "kinds/link.wav"] == prepared.digests[folder / "good/eight-bit.wav"]
    assert prepared.bad[folder / "absent.wav"].reason == "no such file"


@pytest.mark.parametrize("name", ODD, ids=[f"row-43-{n}" for n in range(len(ODD))])
def test_every_name_is_allowed(folder: Path, prepared: Prepared, cache: Cache, name: str) -> None:
    assert prepared.lengths[folder / "odd" / name] == RATE
    assert cache.wave(folder / "odd" / name, sample_rate=RATE).shape == (1, RATE)


def test_row_43_impossible_names_are_bad_files(cache: Cache, tmp_path: Path) -> None:
    names = ["x" * 300 + ".wav", "a\0b.wav", "/".join(["y" * 200] * 30)]
    bad = cache.prepare([tmp_path / name for name in names], sample_rate=RATE).bad
    assert [entry.stage for entry in bad.values()] == ["open"] * 3
    reasons = " | ".join(entry.reason for entry in bad.values())
    long = "a name longer than the file system allows"
    assert reasons == f"{long} | a name that no file can have | {long}"
