from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle.deploy.bundle import load
from ossicle.deploy.formats import FORMATS, named
from ossicle.deploy.listen import listen
from ossicle.deploy.output import Output

from .conftest import HOP, RATE, WINDOW, write_bundle

SECOND = np.full(RATE, 0.9, np.float32)
QUIET = np.zeros(RATE, np.float32)
KNOCK = np.concatenate([QUIET, SECOND, QUIET])


class Heard:
    """Everything that `listen` wrote and reported."""

    def __init__(self, bundle, sources, **options):
        self.lines, self.reports = [], []
        output = Output(named(options.pop("format", "jsonl")), self.lines.append)
        options = {"report": lambda line: self.reports.append(json.loads(line))} | options
        self.code = listen(load(bundle), sources, output, **options)

    def events(self, label="loud"):
        return [event for event in map(json.loads, self.lines) if event.get("label") == label]


def put(path: Path, wave, rate=RATE, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **how)
    return path


def test_a_file_becomes_events(loudness, tmp_path):
    heard = Heard(loudness, [put(tmp_path / "a.flac", KNOCK)])
    (event,) = heard.events()
    assert event["source"] == str(tmp_path / "a.flac")
    assert event["start"] == pytest.approx(1, abs=HOP / RATE)
    assert event["stop"] == pytest.approx(2, abs=WINDOW / RATE)
    assert heard.code == 0
    assert heard.reports == []


def test_any_file_at_any_rate_says_the_same(loudness, tmp_path):
    stereo = np.repeat(np.repeat(KNOCK, 4)[:, None], 2, axis=1)
    paths = [put(tmp_path / "a.wav", KNOCK), put(tmp_path / "b.flac", stereo, 4 * RATE)]
    one, other = Heard(loudness, paths).events()
    assert one["start"] == pytest.approx(other["start"], abs=HOP / RATE)
    assert one["stop"] == pytest.approx(other["stop"], abs=HOP / RATE)


def test_a_folder_is_heard_by_content_and_in_order(loudness, tmp_path):
    for name in ("b/z.wav", "b/a.flac", "a/no-extension", "c.wav"):
        put(tmp_path / "sounds" / name, KNOCK, format="FLAC" if "flac" in name else "WAV")
    (tmp_path / "sounds" / "notes.txt").write_text("not sound")
    (tmp_path / "sounds" / ".hidden.wav").write_text("not sound")
    heard = Heard(loudness, [tmp_path / "sounds"])
    names = [str(Path(event["source"]).relative_to(tmp_path / "sounds")) for event in heard.events()]
    assert names == ["c.wav", "a/no-extension", "b/a.flac", "b/z.wav"]
    assert heard.reports == []


def test_bad_files_are_reported_once_each_and_stop_nothing(loudness, tmp_path):
    folder = tmp_path / "sounds"
    put(folder / "b.wav", KNOCK)
    (folder / "a.wav").write_text("<!DOCTYPE html><html>")
    (folder / "c.wav").write_bytes(b"")
    broken = KNOCK.copy()
    broken[2 * RATE] = np.nan
    put(folder / "d.wav", broken, subtype="FLOAT")
    whole = put(folder / "e.wav", KNOCK).read_bytes()
    (folder / "e.wav").write_bytes(whole[: len(whole) * 3 // 4])
    heard = Heard(loudness, [folder, tmp_path / "missing.wav"])
    assert [Path(report["path"]).name for report in heard.reports] == [
        "a.wav",
        "c.wav",
        "d.wav",
        "e.wav",
        "missing.wav",
    ]
    assert all(set(report) == {"path", "stage", "reason"} and report["reason"] for report in heard.reports)
    assert "b.wav" in {Path(event["source"]).name for event in heard.events()}
    assert heard.code == 1


def test_what_was_heard_before_a_file_broke_off_is_still_told(loudness, tmp_path):
    path = put(tmp_path / "a.wav", np.concatenate([QUIET, SECOND, SECOND, SECOND]))
    path.write_bytes(path.read_bytes()[: 44 + 2 * 3 * RATE])
    heard = Heard(loudness, [path])
    (event,) = heard.events()
    assert event["stop"] == pytest.approx(3, abs=0.01)
    (report,) = heard.reports
    assert "truncated" in report["reason"]


def test_a_folder_without_sound_is_reported(loudness, tmp_path):
    (tmp_path / "empty").mkdir()
    heard = Heard(loudness, [tmp_path / "empty"])
    assert "no sound among the 0 files" in heard.reports[0]["reason"]
    assert heard.code == 1


def test_a_folder_that_cannot_be_looked_into_is_reported(loudness, tmp_path, monkeypatch):
    for name in ("a.wav", "closed/b.wav"):
        put(tmp_path / "sounds" / name, KNOCK)
    look = os.scandir

    def refused(path):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refused)
    heard = Heard(loudness, [tmp_path / "sounds"])
    assert [(Path(report["path"]).name, report["stage"]) for report in heard.reports] == [("closed", "open")]
    assert "Permission denied" in heard.reports[0]["reason"]
    assert len(heard.events()) == heard.code == 1


@pytest.mark.parametrize(("encoding", "channels"), [("s16le", 1), ("f32le", 1), ("s16le", 2)])
def test_raw_samples_say_what_the_file_says(loudness, tmp_path, encoding, channels):
    path = put(tmp_path / "a.wav", KNOCK)
    frames = np.repeat(KNOCK[:, None], channels, axis=1)
    raw = (frames * 2**15).astype("<i2").tobytes() if encoding == "s16le" else frames.astype("<f4").tobytes()
    piped = Heard(loudness, ["-"], pipe=io.BytesIO(raw), encoding=encoding, channels=channels)
    keys = ("label", "start", "stop")
    of_file, of_pipe = (
        [tuple(event[key] for key in keys) for event in heard.events()] for heard in (Heard(loudness, [path]), piped)
    )
    assert of_pipe == of_file != []
    assert {event["source"] for event in piped.events()} == {"-"}


def test_what_is_no_number_in_a_pipe_is_reported_and_warns_of_nothing(loudness):
    signaling = np.array([0x7FA00000] * 3, "<u4").tobytes()  # a NaN that processors complain of
    samples = SECOND.astype("<f4").tobytes()
    (report,) = Heard(loudness, ["-"], pipe=io.BytesIO(samples + signaling + samples), encoding="f32le").reports
    assert (report["kind"], report["start"], report["samples"]) == ("broken", 1.0, 3)


def test_events_of_a_pipe_come_while_it_is_open(loudness):
    class Endless(io.RawIOBase):
        """Knocks until the listener has heard two, then is switched off as by Ctrl-C."""

        def __init__(self):
            self.raw = io.BytesIO(np.tile((KNOCK * 2**15).astype("<i2"), 20).tobytes())

        def read(self, size=-1):
            if len([line for line in lines if '"loud"' in line]) == 2:
                raise KeyboardInterrupt
            return self.raw.read(size)

    lines: list[str] = []
    assert listen(load(loudness), ["-"], Output(FORMATS["jsonl"], lines.append), pipe=Endless()) == 0
    assert sum('"loud"' in line for line in lines) == 2
    assert lines[-1].startswith('{"source": "-", "label": "quiet"'), "the event that had begun is told"


def test_formats_and_thresholds(loudness, tmp_path):
    path = put(tmp_path / "a, b.wav", KNOCK)
    table = list(csv.DictReader(Heard(loudness, [path], format="csv").lines))
    assert {row["source"] for row in table} == {str(path)}
    assert {row["label"] for row in table} == {"loud", "quiet"}
    assert any("loud" in line for line in Heard(loudness, [path], format="text").lines)
    assert Heard(loudness, [path], on=0.95).events() == []
    assert Heard(loudness, [path], min_seconds=2).events() == []
    with pytest.raises(ValueError, match="unknown format 'xml'; known: jsonl, csv, text, audacity, raven"):
        Heard(loudness, [path], format="xml")


def test_a_pipe_without_sound_is_no_quiet_success(loudness):
    heard = Heard(loudness, ["-"], pipe=io.BytesIO(b""))
    assert "0 samples came" in heard.reports[0]["reason"]
    assert heard.code == 1


def test_faults_are_told_with_their_exact_place(loudness, tmp_path):
    silent = np.concatenate([SECOND * np.tile([1, -1], RATE // 2), np.zeros(70 * RATE, np.float32)])
    (report,) = Heard(loudness, [put(tmp_path / "a.wav", silent)]).reports
    assert {key: report[key] for key in ("kind", "start", "stop", "samples", "ongoing")} == {
        "kind": "silence",
        "start": 1.0,
        "stop": 71.0,
        "samples": 70 * RATE,
        "ongoing": False,
    }


def test_a_recording_of_nothing_is_told_however_short(loudness, tmp_path):
    heard = Heard(loudness, [put(tmp_path / "muted.wav", QUIET)])
    assert "is the microphone muted" in heard.reports[0]["reason"]


PEAK = """
import resource, sys
from ossicle.deploy.bundle import load
from ossicle.deploy.formats import FORMATS
from ossicle.deploy.listen import listen
from ossicle.deploy.output import Output
recognizer = load(sys.argv[1])
recognizer([0.0] * 8000)
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lines = []
assert listen(recognizer, sys.argv[2:], Output(FORMATS['jsonl'], lines.append)) == 0
print(len(lines), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_ten_hours_fit_in_300_mb(tmp_path, loudness_model):
    bundle = write_bundle(tmp_path / "bundle", loudness_model, window=RATE, hop=RATE)
    minute = (np.concatenate([SECOND, np.tile(QUIET, 59)]) * 127).astype(np.int16) * 256
    with soundfile.SoundFile(tmp_path / "day.flac", "w", RATE, 1) as file:
        for _ in range(600):
            file.write(minute)
    command = [sys.executable, "-c", PEAK, str(bundle), str(tmp_path / "day.flac")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    events, kilobytes = map(int, answer.stdout.split())
    assert events == 1200
    assert kilobytes < 300_000
