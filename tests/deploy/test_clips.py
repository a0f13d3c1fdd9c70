"""`--clips`: the best segments of each class."""

from __future__ import annotations

import errno
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import audio
from ossicle.deploy.bundle import load
from ossicle.deploy.clips import Clips
from ossicle.deploy.formats import FORMATS
from ossicle.deploy.listen import listen
from ossicle.deploy.output import Output, to
from ossicle.deploy.stream import Window
from ossicle.deploy.when import from_name

from .conftest import RATE, WINDOW


def window(start, *score):
    return Window(start, start + 1, np.array(score, np.float32), np.zeros(1, np.float32))


def kept(folder):
    return sorted(float(path.name[:6]) for path in folder.glob("*.flac"))


def test_the_best_segments_of_each_class_are_kept_and_no_more(tmp_path):
    scores = np.random.default_rng(0).permutation(np.round(np.linspace(0.3, 0.99, 40), 4))
    clips = Clips(tmp_path, ["a/b", "dog"], on=[0.5, 0.6], sample_rate=RATE, each=5)
    for number, score in enumerate(scores.tolist()):
        clips.keep("garden.wav", window(2.0 * number, score, 1 - score), np.full((1, 100), score, np.float32))
        assert len(list(tmp_path.rglob("*.flac"))) <= 10
    assert kept(tmp_path / "a_b") == sorted(scores)[-5:]
    assert kept(tmp_path / "dog") == pytest.approx(sorted(s for s in 1 - scores if s >= 0.6)[-5:])
    best = next((tmp_path / "a_b").glob(f"{max(scores):.4f}*"))
    np.testing.assert_allclose(audio.read(best), np.full((1, 100), max(scores)), atol=1e-4)


def test_windows_that_touch_are_one_segment_and_its_best_stands_for_it(tmp_path):
    clips = Clips(tmp_path, ["dog"], on=0.5, sample_rate=RATE)
    for start, score in [(0.0, 0.6), (0.5, 0.9), (1.0, 0.7), (1.5, 0.8), (4.0, 0.55)]:
        clips.keep("garden.wav", window(start, score), np.full((1, 50), 3.0))
    clips.keep("loft.wav", window(4.5, 0.65), np.zeros((1, 50)))
    assert kept(tmp_path / "dog") == [0.55, 0.65, 0.9]
    assert {path.name.split(" ", 1)[1] for path in (tmp_path / "dog").iterdir()} == {
        "garden.wav 0.500s.flac",
        "garden.wav 4.000s.flac",
        "loft.wav 4.500s.flac",
    }


def test_clips_of_long_names_have_names_that_a_disk_takes(tmp_path):
    clips = Clips(tmp_path, ["dog"], on=0.5, sample_rate=RATE)
    for start in (0.0, 3.0):
        clips.keep("鳥" * 90, window(start, 0.9), np.zeros((1, 50)))
    assert kept(tmp_path / "dog") == [0.9, 0.9]


@pytest.mark.parametrize("stop", range(1, 6))
def test_what_is_heard_again_after_a_stop_changes_nothing(tmp_path, stop):
    """One recording that was heard to its end, and one that was not; each has a segment, and there is room for two."""
    scores = {"loft.wav": [0.7], "garden.wav": [0.75, 0.93128, 0.8, 0.1, 0.1, 0.6123]}

    def hear(folder, name, until=None):
        clips = Clips(folder, ["dog"], on=0.5, sample_rate=RATE, each=2)
        for number, score in enumerate(scores[name][:until]):
            clips.keep(name, window(0.5 * number, score), np.full((1, 50), 0.1))

    for folder, until in (("whole", None), ("stopped", stop)):
        hear(tmp_path / folder, "loft.wav")
        hear(tmp_path / folder, "garden.wav", until)
    hear(tmp_path / "stopped", "garden.wav")
    names = [{path.name for path in (tmp_path / folder / "dog").iterdir()} for folder in ("whole", "stopped")]
    assert names == [{"0.7000 loft.wav 0.000s.flac", "0.9313 garden.wav 0.500s.flac"}] * 2


def test_a_full_disk_is_named_and_takes_no_clip_that_was_there(tmp_path, monkeypatch):
    clips = Clips(tmp_path, ["dog"], on=0.5, sample_rate=RATE, each=1)
    clips.keep("garden.wav", window(0, 0.6), np.zeros((1, 50)))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        clips.keep("garden.wav", window(9, 0.9), np.zeros((1, 50)))
    assert kept(tmp_path / "dog") == [0.6]


def test_clips_of_a_microphone_say_when_it_began(loudness, tmp_path):
    recognizer = load(loudness)
    clips = Clips(tmp_path, ["loud", "quiet"], on=0.5, sample_rate=RATE)
    samples = np.full(RATE, 0.9 * 2**15).astype("<i2").tobytes()
    listen(recognizer, ["-"], Output(FORMATS["csv"], print), pipe=io.BytesIO(samples), clips=clips, zone=UTC)
    name = next((tmp_path / "loud").iterdir()).name
    began = from_name(name)
    assert began is not None
    assert abs(datetime.now(UTC).replace(tzinfo=None) - began) < timedelta(minutes=1)


def test_clips_of_earlier_times_count(tmp_path):
    for _ in range(2):
        clips = Clips(tmp_path, ["dog"], on=0.5, sample_rate=RATE, each=2)
        for start, score in [(0, 0.6), (3, 0.9), (6, 0.7)]:
            clips.keep("../a b\n.wav", window(start, score), np.zeros((1, 50)))
    assert kept(tmp_path / "dog") == [0.7, 0.9]


def test_clips_of_a_stream_are_its_windows(loudness, tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, RATE // 2)
    knocks = np.concatenate([part for _ in range(3) for part in (noise * 1e-3, np.sign(noise) * 0.9)])
    soundfile.write(tmp_path / "knocks.wav", knocks, RATE)
    recognizer = load(loudness)
    clips = Clips(tmp_path / "clips", recognizer.labels, on=0.5, sample_rate=RATE, each=3)
    output = to(tmp_path / "e.jsonl", FORMATS["jsonl"], {}, several=True)
    listen(recognizer, [tmp_path / "knocks.wav"], output, clips=clips)
    output.close()
    for label in ("loud", "quiet"):
        found = sorted((tmp_path / "clips" / label).glob("*.flac"))
        assert len(found) == 3
        for path in found:
            wave = audio.read(path)
            assert wave.shape == (1, WINDOW)
            score = dict(zip(recognizer.labels, recognizer(wave), strict=True))[label]
            assert score == pytest.approx(float(path.name[:6]), abs=1e-3)
