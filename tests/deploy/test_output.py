from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import shutil
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import audio
from ossicle.deploy.bundle import load
from ossicle.deploy.clips import Clips
from ossicle.deploy.formats import FORMATS
from ossicle.deploy.listen import Shard, listen, settings
from ossicle.deploy.output import OutputError, to
from ossicle.deploy.stream import Window
from ossicle.lock import LockedError

from .conftest import RATE, WINDOW

NOISE = np.random.default_rng(0).uniform(-1, 1, RATE).astype(np.float32)
LOUD, QUIET = np.sign(NOISE) * 0.9, NOISE * 1e-3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven recordings of one to three knocks, in two folders."""
    for number, name in enumerate(["a.wav", "b.wav", "20240501_053000.wav", "x/a.wav", "x/c.wav", "x/d.wav", "z.wav"]):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        knocks = [part[: RATE // 4] for _ in range(number % 3 + 1) for part in (QUIET, LOUD, QUIET)]
        soundfile.write(path, np.concatenate(knocks), RATE)
    return tmp_path / "sounds"


def hear(bundle, folder, out, format="jsonl", *, shard="1/1", stop_after=None, **thresholds):
    """Listens to a folder into files; the windows it took. Stops dead at a window, as by the loss of power."""
    recognizer, part = load(bundle), Shard.of(shard)
    heard, scores = [], recognizer.scores

    def counted(wave):
        if len(heard) == stop_after:
            raise KeyboardInterrupt
        heard.append(wave)
        return scores(wave)

    recognizer.scores = counted
    how = settings(recognizer, format=format, zone=UTC, shard=part, **thresholds)
    output = to(out, FORMATS[format], how, several=True)
    try:
        listen(recognizer, [folder], output, zone=UTC, shard=part, report=print, **thresholds)
    except KeyboardInterrupt:
        assert len(heard) == stop_after
    finally:
        output.close()
    return len(heard)


def written(folder):
    """Every file of events below a folder, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "heard" not in path.name
    }


def read(table, between=","):
    return list(csv.DictReader(io.StringIO(table.read_text(), newline=""), delimiter=between))


@pytest.mark.parametrize(("format", "name"), [("csv", "e.csv"), ("raven", "e"), ("audacity", "")])
def test_listening_goes_on_where_it_was_stopped_and_ends_as_if_it_had_not_been(
    loudness, folder, tmp_path, format, name
):
    def run(place, **how):
        place.mkdir(exist_ok=True)
        return hear(loudness, folder, str(place / name), format, **how)

    total = run(tmp_path / "whole")
    wanted = written(tmp_path / "whole")
    for stop_after in (5, total - 1):
        place = tmp_path / f"stopped{stop_after}"
        run(place, stop_after=stop_after)
        rest = run(place)
        assert rest <= total - stop_after + 45, "what was heard to its end is not heard again"
        assert written(place) == wanted
        assert run(place) == 0


@pytest.mark.parametrize("write", [1, 2, 9, 20])
def test_a_full_disk_is_named_and_what_was_heard_stays(loudness, folder, tmp_path, monkeypatch, write):
    hear(loudness, folder, tmp_path / "whole.csv", "csv")
    real, count = os.write, itertools.count(1)

    def full(descriptor, content):
        if next(count) < write:
            return real(descriptor, content)
        real(descriptor, bytes(content)[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            hear(loudness, folder, tmp_path / "e.csv", "csv")
    hear(loudness, folder, tmp_path / "e.csv", "csv")
    assert (tmp_path / "e.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_events_that_somebody_took_away_are_missed(loudness, folder, tmp_path):
    hear(loudness, folder, tmp_path / "e.csv", "csv")
    (tmp_path / "e.csv").unlink()
    with pytest.raises(OutputError, match="delete both"):
        hear(loudness, folder, tmp_path / "e.csv", "csv")


def test_raven_counts_on_through_the_files(loudness, folder, tmp_path):
    hear(loudness, folder, tmp_path / "e.txt", "raven", stop_after=50)
    hear(loudness, folder, tmp_path / "e.txt", "raven")
    rows = read(tmp_path / "e.txt", "\t")
    assert [int(row["Selection"]) for row in rows] == list(range(1, len(rows) + 1))
    lengths = dict.fromkeys(row["Begin File"] for row in rows)
    before = 0.0
    for path in [
        folder / n for n in ("20240501_053000.wav", "a.wav", "b.wav", "z.wav", "x/a.wav", "x/c.wav", "x/d.wav")
    ]:
        mine = [row for row in rows if row["Begin File"] == path.name]
        offsets = {round(float(row["Begin Time (s)"]) - float(row["File Offset (s)"]), 3) for row in mine}
        assert round(before, 3) in offsets
        before += audio.probe(path).seconds
    assert len(lengths) == 6


def test_times_of_names_are_in_the_table(loudness, folder, tmp_path):
    hear(loudness, folder, tmp_path / "e.csv", "csv")
    rows = read(tmp_path / "e.csv")
    mine = [row for row in rows if "20240501" in row["source"] and row["label"] == "loud"]
    assert [row["time"][:17] for row in mine] == ["2024-05-01T05:30:"] * len(mine) != []
    assert all(row["time"].endswith("+00:00") for row in mine)
    assert {row["time"] for row in rows if "20240501" not in row["source"]} == {""}


def test_a_file_that_changed_is_heard_again(loudness, folder, tmp_path):
    hear(loudness, folder, tmp_path / "e.jsonl")
    soundfile.write(folder / "z.wav", LOUD, RATE)
    assert hear(loudness, folder, tmp_path / "e.jsonl") > 0
    assert hear(loudness, folder, tmp_path / "e.jsonl") == 0


@pytest.mark.parametrize("parts", [2, 12])
def test_shards_share_the_files(loudness, folder, tmp_path, parts):
    hear(loudness, folder, tmp_path / "whole.csv", "csv")
    wanted = sorted((tmp_path / "whole.csv").read_text().splitlines()[1:])
    got = []
    for part in range(1, parts + 1):
        out = tmp_path / f"{parts}" / f"{part}.csv"
        hear(loudness, folder, out, "csv", shard=f"{part}/{parts}")
        got += out.read_text().splitlines()[1:]
    assert sorted(got) == wanted


def test_shards_stay_the_same_where_files_are_added():
    names = [f"{n}.wav" for n in range(3000)]
    shares = [sum(Shard(part, 3).has(name) for name in names) for part in (1, 2, 3)]
    assert sum(shares) == 3000
    assert min(shares) > 900


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_impossible_shards_are_refused(text):
    with pytest.raises(ValueError, match="wanted I/N"):
        Shard.of(text)


def test_a_file_of_other_settings_or_of_somebody_else_is_not_gone_on_with(loudness, folder, tmp_path):
    hear(loudness, folder, tmp_path / "e.jsonl")
    before = (tmp_path / "e.jsonl").read_bytes()
    with pytest.raises(OutputError, match=r"thresholds.on: 0.5 -> 0.9"):
        hear(loudness, folder, tmp_path / "e.jsonl", on=0.9)
    with pytest.raises(OutputError, match=r"shard.part: 1 -> 2"):
        hear(loudness, folder, tmp_path / "e.jsonl", shard="2/2")
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(OutputError, match="delete it"):
        hear(loudness, folder, tmp_path / "mine.csv", "csv")
    assert (tmp_path / "e.jsonl").read_bytes() == before
    assert (tmp_path / "mine.csv").read_text() == "a,b\n"


def test_two_do_not_write_one_file(loudness, tmp_path):
    first = to(tmp_path / "e.jsonl", FORMATS["jsonl"], {})
    with pytest.raises(LockedError, match="in use"):
        to(tmp_path / "e.jsonl", FORMATS["jsonl"], {})
    first.close()
    to(tmp_path / "e.jsonl", FORMATS["jsonl"], {}).close()


def test_what_comes_live_is_added_to_what_is_there(loudness, tmp_path):
    samples = (np.concatenate([QUIET, LOUD, QUIET]) * 32767).astype("<i2").tobytes()
    for _ in range(2):
        output = to(tmp_path / "e.csv", FORMATS["csv"], {}, live=True)
        assert listen(load(loudness), ["-"], output, pipe=io.BytesIO(samples)) == 0
        output.close()
        with (tmp_path / "e.csv").open("a") as file:
            file.write("cut by the loss of po")
    lines = (tmp_path / "e.csv").read_text().splitlines()[:-1]
    assert lines[0] == FORMATS["csv"].heading
    assert len([line for line in lines if ",loud," in line]) == 2
    assert all(len(row) == 6 and row[5] for row in csv.reader(lines[1:]))


def test_what_one_file_cannot_hold_wants_a_folder(tmp_path):
    with pytest.raises(OutputError, match="give a folder, -o labels/"):
        to(tmp_path / "labels.txt", FORMATS["audacity"], {}, several=True)
    with pytest.raises(OutputError, match="wants -o FILE"):
        to(f"{tmp_path}/", FORMATS["csv"], {}, live=True)


def test_recordings_of_one_name_do_not_overwrite_each_other(loudness, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    output = to(f"{tmp_path}/out/", FORMATS["audacity"], {}, several=True)
    with pytest.raises(OutputError, match="one by one"):
        listen(load(loudness), [folder, tmp_path / "other"], output)


def test_names_that_are_no_utf8_can_be_gone_on_with(loudness, tmp_path):
    (tmp_path / "sounds").mkdir()
    soundfile.write(os.fsencode(tmp_path / "sounds") + b"/odd\xff.wav", LOUD, RATE)
    assert hear(loudness, tmp_path / "sounds", tmp_path / "e.jsonl") > 0
    assert hear(loudness, tmp_path / "sounds", tmp_path / "e.jsonl") == 0
    assert json.loads((tmp_path / "e.jsonl").read_text().splitlines()[0])["source"].endswith("odd\udcff.wav")


# -- clips -------------------------------------------------------------------------------------------------------------


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


def test_clips_of_earlier_times_count(tmp_path):
    for _ in range(2):
        clips = Clips(tmp_path, ["dog"], on=0.5, sample_rate=RATE, each=2)
        for start, score in [(0, 0.6), (3, 0.9), (6, 0.7)]:
            clips.keep("../a b\n.wav", window(start, score), np.zeros((1, 50)))
    assert kept(tmp_path / "dog") == [0.7, 0.9]


def test_clips_of_a_stream_are_its_windows(loudness, folder, tmp_path):
    recognizer = load(loudness)
    clips = Clips(tmp_path / "clips", recognizer.labels, on=0.5, sample_rate=RATE, each=3)
    output = to(tmp_path / "e.jsonl", FORMATS["jsonl"], {}, several=True)
    listen(recognizer, [folder], output, clips=clips)
    output.close()
    for label in ("loud", "quiet"):
        found = sorted((tmp_path / "clips" / label).glob("*.flac"))
        assert len(found) == 3
        for path in found:
            wave = audio.read(path)
            assert wave.shape == (1, WINDOW)
            score = dict(zip(recognizer.labels, recognizer(wave), strict=True))[label]
            assert score == pytest.approx(float(path.name[:6]), abs=1e-3)
