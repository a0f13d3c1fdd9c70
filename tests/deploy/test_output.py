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
from ossicle.deploy.formats import FORMATS
from ossicle.deploy.listen import Shard, listen, settings
from ossicle.deploy.output import OutputError, to
from ossicle.lock import LockedError

from .conftest import RATE

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


def test_what_came_live_is_not_cut_off_by_files_that_come_after(loudness, folder, tmp_path):
    how = settings(load(loudness), format="csv", zone=UTC, shard=Shard())
    output = to(tmp_path / "e.csv", FORMATS["csv"], how, live=True)
    listen(load(loudness), ["-"], output, pipe=io.BytesIO((LOUD * 32767).astype("<i2").tobytes()))
    output.close()
    before = (tmp_path / "e.csv").read_bytes()
    with pytest.raises(OutputError, match=r"live: true -> false.*give another output"):
        hear(loudness, folder, tmp_path / "e.csv", "csv")
    assert (tmp_path / "e.csv").read_bytes() == before


def test_selections_that_come_live_are_counted_on(loudness, tmp_path):
    for _ in range(2):
        output = to(tmp_path / "e.txt", FORMATS["raven"], {}, live=True)
        listen(load(loudness), ["-"], output, pipe=io.BytesIO((LOUD * 32767).astype("<i2").tobytes()))
        output.close()
    assert [row["Selection"] for row in read(tmp_path / "e.txt", "\t")] == ["1", "2"]


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


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2])
def test_going_on_does_not_overwrite_the_recording_of_the_other_folder(loudness, folder, tmp_path, copy):
    shutil.copytree(folder, tmp_path / "other", copy_function=copy)
    before = None
    for _ in range(2):
        output = to(f"{tmp_path}/out/", FORMATS["csv"], {}, several=True)
        with pytest.raises(OutputError, match="one by one"):
            listen(load(loudness), [folder, tmp_path / "other"], output)
        output.close()
        assert before in (None, written(tmp_path / "out"))
        before = written(tmp_path / "out")
    assert len(before) == 7


def test_a_file_of_each_folder_that_is_no_sound_is_no_matter(loudness, folder, tmp_path):
    for name in ("sounds", "other"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "README").write_text("no sound")
    soundfile.write(tmp_path / "other" / "only here.wav", LOUD, RATE)
    output = to(f"{tmp_path}/out/", FORMATS["csv"], {}, several=True)
    assert listen(load(loudness), [folder, tmp_path / "other"], output) == 0
    assert len(written(tmp_path / "out")) == 8


def test_the_longest_names_are_told_in_names_that_a_disk_takes(loudness, tmp_path):
    (tmp_path / "sounds").mkdir()
    for last in "ab":
        soundfile.write(tmp_path / "sounds" / f"{'ü' * 125}{last}.wav", LOUD, RATE)
    assert hear(loudness, tmp_path / "sounds", f"{tmp_path}/out/", "raven") > 0
    assert len(written(tmp_path / "out")) == 2
    assert hear(loudness, tmp_path / "sounds", f"{tmp_path}/out/", "raven") == 0


def test_a_file_that_is_given_twice_is_told_once(loudness, folder, tmp_path):
    output = to(tmp_path / "e.csv", FORMATS["csv"], {}, several=True)
    listen(load(loudness), [folder / "a.wav", folder / "a.wav", folder], output)
    output.close()
    rows = read(tmp_path / "e.csv")
    assert len(rows) == len({(row["source"], row["label"], row["start"]) for row in rows})


def test_names_that_are_no_utf8_can_be_gone_on_with(loudness, tmp_path):
    (tmp_path / "sounds").mkdir()
    soundfile.write(os.fsencode(tmp_path / "sounds") + b"/odd\xff.wav", LOUD, RATE)
    assert hear(loudness, tmp_path / "sounds", tmp_path / "e.jsonl") > 0
    assert hear(loudness, tmp_path / "sounds", tmp_path / "e.jsonl") == 0
    assert json.loads((tmp_path / "e.jsonl").read_text().splitlines()[0])["source"].endswith("odd\udcff.wav")
