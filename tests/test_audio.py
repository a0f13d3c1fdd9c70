"""Reading sound: every format, rate and part against references that were not made by the reader itself."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ossicle import audio

RATE = 22050
# format, subtype, rate, and how far from the samples that were written: a step of the format, or what is lossy in it
WRITTEN = [
    ("WAV", "PCM_U8", RATE, 2**-7),
    ("WAV", "PCM_16", RATE, 2**-15),
    ("WAV", "PCM_24", RATE, 2**-23),
    ("WAV", "PCM_32", RATE, 1e-7),
    ("WAV", "FLOAT", RATE, 0.0),
    ("WAV", "DOUBLE", RATE, 0.0),
    ("WAV", "ULAW", RATE, 0.03),
    ("WAV", "ALAW", RATE, 0.03),
    ("WAV", "MS_ADPCM", RATE, None),
    ("WAVEX", "PCM_16", 96000, 2**-15),
    ("RF64", "PCM_16", RATE, 2**-15),
    ("FLAC", "PCM_16", 192000, 2**-15),
    ("FLAC", "PCM_24", RATE, 2**-23),
    ("AIFF", "PCM_S8", RATE, 2**-7),
    ("AIFF", "PCM_16", 8000, 2**-15),
    ("AIFF", "FLOAT", RATE, 0.0),
    ("OGG", "VORBIS", RATE, None),
    ("OGG", "OPUS", 48000, None),
    ("MP3", "MPEG_LAYER_III", RATE, None),
]


def sound(seconds: float = 1.0, rate: int = RATE, channels: int = 2) -> np.ndarray:
    """(T, C) float32: low tones of their own in every channel, under a little noise."""
    time = np.arange(round(seconds * rate)) / rate
    tones = [0.5 * np.sin(2 * np.pi * (200 + 150 * channel) * time) for channel in range(channels)]
    noise = np.random.default_rng(0).standard_normal((len(time), channels))
    return (np.stack(tones, axis=1) + 0.002 * noise).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str = "FLOAT") -> Path:
    """`samples` (T, C) on disk."""
    with path.open("wb") as out:
        soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return path


@pytest.mark.parametrize(("format", "subtype", "rate", "step"), WRITTEN)
def test_reads_what_was_written_whatever_the_name(
    tmp_path: Path, format: str, subtype: str, rate: int, step: float | None
) -> None:
    samples = sound(rate=rate)
    path = write(tmp_path / "sound.txt", samples, rate, format, subtype)
    info, wave = audio.probe(path), audio.read(path, channels=2)
    assert (info.sample_rate, info.channels, info.format, info.subtype) == (rate, 2, format, subtype)
    assert wave.dtype == np.float32
    assert wave.flags.c_contiguous
    assert info.frames == wave.shape[1] >= len(samples)
    off = np.abs(wave[:, : len(samples)] - samples.T)
    if step is None:
        assert np.sqrt(np.mean(off**2)) < 0.1 * np.sqrt(
            np.mean(samples**2)
        )  # 20 dB: a shift by one sample would cost more
    else:
        assert off.max() <= step


@pytest.mark.parametrize(("format", "subtype", "rate", "step"), WRITTEN)
@pytest.mark.parametrize("target", [None, 16000])
def test_blocks_joined_are_the_whole(
    tmp_path: Path, format: str, subtype: str, rate: int, step: float | None, target: int | None
) -> None:
    path = write(tmp_path / "sound", sound(rate=rate), rate, format, subtype)
    whole = audio.read(path, sample_rate=target)
    for seconds in (0.013, 0.3, 10.0):
        joined = np.concatenate(list(audio.blocks(path, sample_rate=target, seconds=seconds)), axis=1)
        np.testing.assert_array_equal(joined, whole)


@pytest.mark.parametrize(("format", "subtype", "rate", "step"), WRITTEN)
@pytest.mark.parametrize("target", [None, 8000, 16000, 44100, 22051])
def test_a_part_is_that_part_of_the_whole(
    tmp_path: Path, format: str, subtype: str, rate: int, step: float | None, target: int | None
) -> None:
    path = write(tmp_path / "sound", sound(2.0, rate), rate, format, subtype)
    whole, at = audio.read(path, sample_rate=target, channels="first"), target or rate
    for start, stop in ((0.0, 0.3), (0.51234, 1.7), (1.2, None), (1.9, 5.0)):
        part = audio.read(path, sample_rate=target, channels="first", start=start, stop=stop)
        expected = whole[:, round(start * at) : None if stop is None else round(stop * at)]
        assert part.shape == expected.shape
        exact = at == rate and subtype not in ("OPUS", "MPEG_LAYER_III")
        assert np.abs(part - expected).max() <= (0.0 if exact else 2e-6)


def test_a_part_of_an_mp3_hears_bits_kept_in_earlier_frames(tmp_path: Path) -> None:
    """Bursts after silence, whose frames borrow all that the silent ones before them left."""
    time = np.arange(5 * 44100) / 44100
    bursts = 0.3 * np.random.default_rng(3).standard_normal(len(time)) * (np.sin(2 * np.pi * 3 * time) > 0.8)
    path = write(tmp_path / "bursts.mp3", bursts.clip(-1, 1)[:, None], 44100, "MP3", "MPEG_LAYER_III")
    whole = audio.read(path)
    for start in np.random.default_rng(4).uniform(0, 4.4, 30):
        part = audio.read(path, start=start, stop=start + 0.5)
        expected = whole[:, round(start * 44100) : round((start + 0.5) * 44100)]
        assert np.abs(part - expected).max() < 2e-6


def test_parts_that_are_not_there_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "sound.wav", sound(1.0))
    with pytest.raises(audio.AudioError, match="asked for from 3 s on, but it ends at 1 s"):
        audio.read(path, start=3.0)
    for start, stop in ((-1.0, None), (0.5, 0.5), (0.5, 0.2), (float("nan"), None)):
        with pytest.raises(ValueError, match="a part runs from a start of 0 s or more to a later stop"):
            audio.read(path, start=start, stop=stop)


@pytest.mark.parametrize(
    ("rate", "target"), [(44100, 16000), (44100, 22050), (8000, 32000), (96000, 16000), (44099, 8000)]
)
def test_a_tone_keeps_its_place_and_height_at_another_rate(tmp_path: Path, rate: int, target: int) -> None:
    """The analytic value: no delay, no gain, in the interior."""
    path = write(
        tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)[:, None], rate, subtype="DOUBLE"
    )
    wave = audio.read(path, sample_rate=target)[0]
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(target) / target)
    inside = slice(target // 10, -target // 10)
    assert len(wave) == target
    assert np.abs(wave[inside] - expected[inside]).max() < 1e-4


def test_resampling_agrees_with_an_independent_resampler(tmp_path: Path) -> None:
    signal = pytest.importorskip("scipy.signal")
    low = signal.butter(8, 5000, fs=44100, output="sos")
    noise = signal.sosfiltfilt(low, np.random.default_rng(1).standard_normal(44100))
    noise *= 0.5 / np.abs(noise).max()
    wave = audio.read(write(tmp_path / "noise.wav", noise[:, None], 44100), sample_rate=16000)[0]
    reference = signal.resample_poly(noise, 160, 441, window=("kaiser", 14.0))
    assert np.abs(wave - reference)[500:-500].max() < 2e-3


def test_channels(tmp_path: Path) -> None:
    stereo = sound(0.2)
    path = write(tmp_path / "stereo.wav", stereo)
    np.testing.assert_array_equal(audio.read(path, channels="first"), stereo.T[:1])
    np.testing.assert_array_equal(audio.read(path, channels=2), stereo.T)
    np.testing.assert_allclose(audio.read(path), stereo.mean(axis=1)[None], atol=1e-7)
    np.testing.assert_array_equal(audio.read(path, channels=1), audio.read(path))
    with pytest.raises(audio.AudioError, match="2 channels where 3 were wanted"):
        audio.read(path, channels=3)
    with pytest.raises(ValueError, match="channels is 'mix', 'first' or a number"):
        audio.read(path, channels="left")
    mono = write(tmp_path / "mono.wav", stereo[:, :1])
    np.testing.assert_array_equal(audio.read(mono, channels=2), np.repeat(stereo.T[:1], 2, axis=0))


def test_many_channels_are_mixed_in_bounded_stretches(tmp_path: Path) -> None:
    path = write(tmp_path / "many.wav", sound(0.5, 192000, 32), 192000)
    sizes = [block.shape for block in audio.blocks(path, seconds=3600.0)]
    assert all(shape[0] == 1 and shape[1] <= 2**22 // 32 for shape in sizes)


def test_a_failing_read_leaves_no_file_open(tmp_path: Path) -> None:
    handles = Path("/proc/self/fd")
    if not handles.is_dir():
        pytest.skip("no /proc")
    good, bad = write(tmp_path / "good.wav", sound(0.1)), tmp_path / "bad.wav"
    bad.write_bytes(good.read_bytes()[:100])
    before = len(list(handles.iterdir()))
    for _ in range(5):
        for path in (bad, tmp_path, tmp_path / "absent"):
            with pytest.raises(audio.AudioError):
                audio.read(path)
        next(audio.blocks(good, seconds=0.01)).sum()
    assert len(list(handles.iterdir())) == before


@pytest.mark.parametrize("policy", ["repeat", "zero"])
@given(have=st.integers(1, 50), length=st.integers(1, 50), at=st.floats(0.0, 1.0, exclude_max=True))
def test_fit(policy: str, have: int, length: int, at: float) -> None:
    wave = np.arange(1, have + 1, dtype=np.float32)[None].repeat(2, axis=0)
    fitted = audio.fit(wave, length, policy=policy, crop="random", at=at)
    assert fitted.shape == (2, length)
    assert fitted.dtype == wave.dtype
    if have >= length:
        np.testing.assert_array_equal(fitted[0], fitted[0, 0] + np.arange(length))
        assert fitted[0, 0] - 1 == int(at * (have - length + 1))
    elif policy == "zero":
        np.testing.assert_array_equal(fitted[0], np.concatenate([wave[0], np.zeros(length - have)]))
    else:
        np.testing.assert_array_equal(fitted[0], [1 + n % have for n in range(length)])


def test_fit_crops() -> None:
    wave = np.arange(10.0)[None]
    np.testing.assert_array_equal(audio.fit(wave, 4)[0], [0, 1, 2, 3])
    np.testing.assert_array_equal(audio.fit(wave, 4, crop="center")[0], [3, 4, 5, 6])
    np.testing.assert_array_equal(audio.fit(wave, 4, crop="random", at=0.999)[0], [6, 7, 8, 9])
    for wrong in ({"policy": "mirror"}, {"crop": "end"}):
        with pytest.raises(ValueError, match="policy is 'repeat' or 'zero'"):
            audio.fit(wave, 4, **wrong)
    with pytest.raises(ValueError, match="at least 1"):
        audio.fit(wave[:, :0], 4)


@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 50))
def test_windows_cover_everything_once_started(length: int, window: int, hop: int) -> None:
    starts = audio.window_starts(length, window, hop)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    if length <= window:
        assert starts == [0]
        return
    assert starts[-1] + window == length or starts[-1] + window > length - hop
    assert max(starts) + window <= length
    if hop <= window:
        heard = np.zeros(length, bool)
        for start in starts:
            heard[start : start + window] = True
        assert heard.all()
    assert all(start % hop == 0 for start in starts[:-1])
    assert len(starts) <= (length - window) // hop + 2


def test_silence_is_trimmed_at_both_ends_only() -> None:
    wave = np.zeros((1, 100), np.float32)
    wave[0, 30], wave[0, 60], wave[0, 90] = 0.5, 1.0, 1e-4
    assert audio.trim_silence(wave).shape == (1, 31)
    assert audio.trim_silence(wave, below_db=100).shape == (1, 61)
    assert audio.trim_silence(wave, margin=5).shape == (1, 41)
    assert audio.trim_silence(wave, margin=1000).shape == (1, 100)


@pytest.mark.parametrize("cut", [1, 7, 1000, 4000])
def test_facts_do_not_depend_on_how_the_sound_came(cut: int) -> None:
    tone = np.sin(np.arange(4000) / 5, dtype=np.float32)
    waves = [np.stack(pair) for pair in ((tone, -tone), (tone, 0 * tone), (tone * 3, tone), (tone * 0.1 + 0.2, tone))]
    waves += [np.sign(tone)[None], 0 * tone[None] + 0.3, 0 * tone[None], tone[None] * 0.5]
    for wave in waves:
        census = audio.Census()
        for start in range(0, 4000, cut):
            census.add(wave[:, start : start + cut])
        if cut > 1:  # one sample is no ground to judge two channels by
            assert census.notes() == audio.examine(wave)
    assert [len(audio.examine(wave)) for wave in waves] == [1, 1, 2, 1, 1, 2, 1, 0]
    assert audio.examine(np.array([[0.0, np.nan]], np.float32)) == ["samples that are not finite"]


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time, across sample boundaries."""

    def __init__(self, data: bytes, size: int = 7):
        self.data, self.size = io.BytesIO(data), size

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        return self.data.read(min(count, self.size))


@pytest.mark.parametrize(("format", "dtype", "scale"), [("s16le", "<i2", 32768.0), ("f32le", "<f4", 1.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_raw_samples_from_a_pipe(format: str, dtype: str, scale: float, channels: int) -> None:
    samples = (sound(0.1, channels=channels) * scale).astype(dtype)
    given = Trickle(samples.tobytes())
    blocks = list(audio.read_raw(given, channels=channels, format=format, block=100))
    assert {block.shape[1] for block in blocks[:-1]} == {100}
    joined = np.concatenate(blocks, axis=1)
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, samples.T.astype(np.float32) / np.float32(scale))


@pytest.mark.parametrize("begin", [b"RIFF", b"OggS", b"fLaC"])
def test_a_sound_file_is_no_raw_samples(begin: bytes) -> None:
    with pytest.raises(audio.AudioError, match="file came, not raw samples"):
        list(audio.read_raw(io.BytesIO(begin + bytes(100))))


def test_raw_samples_that_make_no_sense() -> None:
    def all_of(data: bytes, **how: object) -> Iterator[np.ndarray]:
        return audio.read_raw(io.BytesIO(data), **how)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"one of \['f32le', 's16le'\], not 'u8'"):
        next(all_of(b"", format="u8"))
    blocks = all_of(b"\1\0\2\0\3")
    assert next(blocks).shape == (1, 2)
    with pytest.raises(audio.AudioError, match=r"ended inside a sample \(1 of 2 bytes\)"):
        next(blocks)
    samples = np.array([0, 0, np.nan, 1], "<f4")
    np.testing.assert_array_equal(list(all_of(samples.tobytes(), format="f32le")), [samples[None]])
    assert list(all_of(b"")) == []


def test_paths_are_shown_safely() -> None:
    assert audio.shown("Ünïcode 🎵 'a'.wav") == "Ünïcode 🎵 'a'.wav"
    assert audio.shown("a\nb\x1b[31m\udcff") == "a\\nb\\x1b[31m\\udcff"
    assert str(audio.AudioError("a\nb", "empty file")) == "a\\nb: empty file"


def test_audio_and_the_cache_need_no_torch() -> None:
    """Not even if it cannot be imported."""
    program = "import sys; sys.modules['torch'] = None; import ossicle.audio, ossicle.data.cache, ossicle.data.decode"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_real_recordings_agree_with_soundfile() -> None:
    clips = sorted((Path(__file__).parents[2] / "shared/esc10/audio").glob("*.ogg"))[::50]
    if not clips:
        pytest.skip("no real recordings here")
    for clip in clips:
        reference, rate = soundfile.read(clip, dtype="float32", always_2d=True)
        np.testing.assert_array_equal(audio.read(clip, channels="first")[0], reference[:, 0])
        assert audio.probe(clip).sample_rate == rate
        with audio.Sound(clip) as opened:
            assert (opened.fault, opened.notes) == ("", [])
