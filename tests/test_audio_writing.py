"""Writing sound: what libsndfile reads back, and what is refused."""

import numpy as np
import pytest
import soundfile

from ossicle import audio


@pytest.mark.parametrize(("ending", "form"), [(".flac", "FLAC"), (".wav", "WAV")])
def test_what_is_written_is_read_back(tmp_path, ending, form):
    wave = np.random.default_rng(0).uniform(-1, 1, (2, 1000))
    wave[:, 0] = 1.0, -1.0
    audio.write(tmp_path / f"a{ending}", wave, sample_rate=22_050)
    info = soundfile.info(tmp_path / f"a{ending}")
    assert (info.format, info.subtype, info.samplerate, info.channels) == (form, "PCM_16", 22_050, 2)
    assert np.abs(soundfile.read(tmp_path / f"a{ending}")[0].T - wave).max() < 2**-14


@pytest.mark.parametrize(
    ("name", "wave", "said"),
    [
        ("a.mp3", np.zeros((1, 8)), "known: .flac, .wav"),
        ("a.wav", np.zeros(8), r"\(channels, length\)"),
        ("a.wav", np.full((1, 8), 1.1), "up to 1.1"),
        ("a.wav", np.full((1, 8), np.nan), "up to nan"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, wave, said):
    with pytest.raises(ValueError, match=said):
        audio.write(tmp_path / name, wave, sample_rate=8000)
    assert not (tmp_path / name).exists()
