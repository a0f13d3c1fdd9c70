"""`ossicle listen` as it is typed."""

from __future__ import annotations

import json
import queue
import sys

import numpy as np
import pytest
import soundfile

from ossicle import audio
from ossicle.cli import main

from .conftest import RATE
from .test_watch import Device

SOUND = np.random.default_rng(0).uniform(-1, 1, RATE)


@pytest.fixture
def place(tmp_path, loudness, monkeypatch):
    for name in ("sounds/20240501_053000.WAV", "sounds/b.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.concatenate([SOUND * 1e-3, np.sign(SOUND) * 0.9, SOUND * 1e-3]), RATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_everything_at_once(place, capsys):
    line = "listen bundle sounds -o out/e.csv --format csv --zone +02:00 --clips clips --clips-each 2 --shard 1/1"
    assert main(line.split()) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "6 events in out/e.csv\n"
    rows = (place / "out/e.csv").read_text().splitlines()
    assert len(rows) == 7
    assert "2024-05-01T05:30:00.000+02:00" in rows[1]
    assert {path.name for path in (place / "clips").iterdir()} == {"loud", "quiet"}
    assert all(audio.probe(path).sample_rate == RATE for path in (place / "clips").rglob("*.flac"))
    assert main(line.split()) == 0
    assert capsys.readouterr().err == "0 events in out/e.csv; 2 recordings heard before, and not again\n"
    assert len((place / "out/e.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize(("format", "suffix"), [("audacity", ".txt"), ("raven", ".selections.txt")])
def test_a_folder_of_tables(place, format, suffix):
    assert main(["listen", "bundle", "sounds", "--format", format, "-o", "labels/"]) == 0
    assert {path.name for path in (place / "labels").glob("*.txt")} == {
        f"{name}{suffix}" for name in ("20240501_053000.WAV", "b.wav")
    }


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("sounds --format audacity -o e.txt", "give a folder, -o e/"),
        ("sounds -o /dev/null", "redirect what is printed, > /dev/null"),
        ("sounds --zone Berlin", "no time zone 'Berlin'"),
        ("sounds --shard 3/2", "wanted I/N"),
        ("sounds --device Desk", "add --mic"),
        ("sounds --clips c --clips-each 0", "at least 1"),
        ("- -o labels/", "wants -o FILE"),
        ("sounds --format audacity", "give a folder, -o labels/"),
        ("sounds/b.wav sounds/b.wav --format audacity", "give a folder, -o labels/"),
        ("sounds --rate 48000", "a file says of itself"),
        ("sounds --encoding f32le", "a file says of itself"),
        ("- --rate 0", "a rate of 0 Hz"),
        ("- --rate -5", "a rate of -5 Hz"),
        ("sounds --clips sounds/clips", "give another folder"),
        ("sounds --clips sounds", "give another folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_heard(place, capsys, line, sentence):
    assert main(["listen", "bundle", *line.split()]) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.out == ""


def test_a_microphone_without_its_extra_names_it(place, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["listen", "bundle", "--mic"]) == 2
    assert 'pip install "ossicle[mic]"' in capsys.readouterr().err


def test_a_microphone_is_heard_until_ctrl_c(place, capsys, monkeypatch):
    """Two seconds of sound at another rate than the model's, then the key."""
    device = Device([[(800, 1 + n / 10, False) for n in range(20)]])
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    get = queue.Queue.get
    monkeypatch.setattr(queue.Queue, "get", lambda self, timeout: get(self, False) if self.qsize() else interrupt())
    assert main(["listen", "bundle", "--mic", "--device", "Desk", "--rate", "8000", "--on", "0.4"]) == 1
    told = capsys.readouterr()
    events = [json.loads(line) for line in told.out.splitlines()]
    assert {event["source"] for event in events} == {"microphone"}
    assert [event["stop"] for event in events if event.get("label") == "loud"] == [2.0]
    assert "digital silence" in told.err, "what the made-up microphone gives is one value"


def test_labels_of_a_microphone_are_those_of_one_recording(place, capsys, monkeypatch):
    device = Device([[(800, 1 + n / 10, False) for n in range(5)]])
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    get = queue.Queue.get
    monkeypatch.setattr(queue.Queue, "get", lambda self, timeout: get(self, False) if self.qsize() else interrupt())
    how = ["--mic", "--rate", "8000", "--on", "0.4", "--format", "audacity", "-o", "labels.txt"]
    assert main(["listen", "bundle", *how]) == 1
    assert "0.000000\t0.500000\tloud" in (place / "labels.txt").read_text().splitlines()
    assert main(["listen", "bundle", "sounds/b.wav", *how]) == 2
    assert "one recording a file" in capsys.readouterr().err


def interrupt():
    raise KeyboardInterrupt
