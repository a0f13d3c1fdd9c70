from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import slots
from ossicle.cli import main
from ossicle.deploy import poisson
from ossicle.deploy.bundle import load
from ossicle.deploy.config import BundleError, Config, file_entry, opened
from ossicle.deploy.events import OFF, answer, events
from ossicle.deploy.overheard import Recording, hear
from ossicle.deploy.stream import Window
from ossicle.deploy.tradeoff import NEVER
from ossicle.deploy.tune import GRID, Trial, TuneError, tune
from ossicle.deploy.verify import verify

from .conftest import RATE, write_bundle

PROMISE = 60
KNOCKS = {20: 0.935, 60: 0.855, 100: 0.725, 140: 0.625}
"""Level by second, over a background of 0.105: what the loudness model answers, from 0 to 1."""


@pytest.fixture
def loudness(tmp_path, loudness_model):
    """Hears half a second at a time, side by side."""
    return write_bundle(tmp_path / "bundle", loudness_model, window=RATE // 2, hop=RATE // 2)


def background(path, knocks=KNOCKS, minutes=3):
    wave = np.full(minutes * 60 * RATE, 0.105, np.float32)
    for second, level in knocks.items():
        wave[second * RATE : (second + 1) * RATE] = level
    wave[1::2] *= -1
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    return path


@pytest.fixture
def place(tmp_path):
    """Six minutes with four knocks in the first three."""
    background(tmp_path / "place" / "a.wav")
    background(tmp_path / "place" / "b" / "b.wav", knocks={})
    return tmp_path / "place"


@pytest.fixture
def table(tmp_path):
    """The loudest knock, and one in a recording of its own, were events."""
    path = tmp_path / "events.tsv"
    background(tmp_path / "more.wav", {10: 0.805, 30: 0.405}, minutes=1)
    rows = [("filename", "onset", "offset", "event_label"), ("a.wav", 20.2, 20.8, "loud")]
    rows += [("more.wav", 10, 11, "loud"), ("more.wav", 30, 31, "loud"), ("more.wav", 30, 31, "wolf")]
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    return path


def chosen(tuning):
    return {choice.label: choice.chosen.threshold for choice in tuning.choices}


def test_the_lowest_threshold_that_keeps_the_promise_is_found(loudness, place):
    """6 are promised in a tenth of an hour: one alarm allows up to 4.74 of them, two allow 6.30 (Garwood 1936)."""
    tuning = tune(loudness, place, max_per_hour=PROMISE)
    assert tuning.hours == pytest.approx(0.1)
    assert tuning.recordings == 2
    loud = tuning.choices[0]
    counts = {point.threshold: point.alarms for point in loud.points}
    assert [counts[on] for on in (0.94, 0.93, 0.86, 0.85, 0.73, 0.72, 0.63, 0.62)] == [0, 1, 1, 2, 2, 3, 3, 4]
    assert loud.chosen.threshold == 0.86
    assert loud.chosen.at_most == pytest.approx(47.4, abs=0.1)
    assert [(alarm.path.name, round(alarm.start)) for alarm in loud.next] == [("a.wav", 20), ("a.wav", 60)]


def test_an_alarm_without_end_counts_every_minute(loudness, place):
    """'quiet' is on at 0.895 in all six minutes: to let it be is no way to few alarms."""
    quiet = tune(loudness, place, max_per_hour=PROMISE).choices[1]
    counts = {point.threshold: point.alarms for point in quiet.points}
    assert quiet.chosen.threshold == 0.9
    assert counts[0.9] == 0
    assert counts[0.89] == 5 + 3, "five stretches around four knocks, and a recording of three minutes"


def test_thresholds_are_in_the_bundle_and_nothing_else_is_changed(loudness, place):
    before, files = opened(loudness)
    tuning = tune(loudness, place, max_per_hour=PROMISE, labels=["loud"])
    assert opened(loudness)[0] == before, "nothing is written by measuring"
    tuning.write(loudness)
    after, kept = opened(loudness)
    assert kept == files
    assert after.thresholds == before.thresholds | {"on": [0.86, 0.5], "off": [OFF * 0.86, 0.35]}
    assert after.provenance["false_alarms"]["loud"]["max_per_hour"] == PROMISE
    assert {path.name for path in loudness.iterdir()} == {*before.files, "config.json"}
    assert [path for path in loudness.parent.iterdir() if path.name.startswith(".")] == []
    assert verify(loudness).ok
    told = [event for path in place.rglob("*.wav") for event in load(loudness).listen(path) if event.label == "loud"]
    assert len(told) == tuning.choices[0].chosen.alarms, "listen gives what was counted"


def test_classes_keep_their_promises_when_another_is_tuned(loudness, place):
    tune(loudness, place, max_per_hour=PROMISE).write(loudness)
    first = opened(loudness)[0]
    tune(loudness, place, max_per_hour=2 * PROMISE, labels=["loud"]).write(loudness)
    second = opened(loudness)[0]
    promised = second.provenance["false_alarms"]
    assert promised["quiet"] == first.provenance["false_alarms"]["quiet"]
    assert promised["loud"]["max_per_hour"] == 2 * PROMISE
    assert promised["loud"]["model"] == "model.onnx"
    assert second.thresholds["on"][1] == first.thresholds["on"][1]
    assert second.thresholds["on"][0] < first.thresholds["on"][0]


def test_annotated_events_are_no_false_alarms_and_are_looked_for(loudness, place, table):
    tuning = tune(loudness, place, max_per_hour=PROMISE, events=table, labels=["loud"])
    (loud,) = tuning.choices
    assert loud.chosen.threshold == 0.73
    share = {point.threshold: point.found for point in loud.points}
    assert [share[on] for on in (0.94, 0.93, 0.8, 0.41, 0.4)] == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1])
    assert tuning.recordings == 2, "a recording that is there for its events is no background"
    assert "1 event of classes that the bundle does not have left out: wolf" in tuning.troubles[0]


def test_what_listen_wrote_can_be_the_table(loudness, place, tmp_path, capsys):
    assert main(["listen", str(loudness), str(place / "a.wav"), "--format", "csv", "--on", "0.9"]) == 0
    (tmp_path / "heard.csv").write_text(capsys.readouterr().out)
    (loud,) = tune(loudness, place, max_per_hour=PROMISE, events=tmp_path / "heard.csv", labels=["loud"]).choices
    assert loud.chosen.threshold == 0.73
    assert loud.chosen.found == 1


def test_a_wrong_table_is_refused(loudness, place, tmp_path):
    (tmp_path / "a.csv").write_text("filename,onset,offset,label\nno.wav,1,2,loud\na.wav,3,2,loud\na.wav,1,2\n")
    with pytest.raises(ValueError, match=r"(?s)'no.wav' is not in .*from 3.0 to 2.0 s.*lacks cells"):
        tune(loudness, place, max_per_hour=PROMISE, events=tmp_path / "a.csv")
    (tmp_path / "late.csv").write_text("filename,onset,offset,label\na.wav,180,181,loud\n")
    with pytest.raises(TuneError, match=r"a.wav was heard for 180 s, .* event from 180 to 181 s: correct"):
        tune(loudness, place, max_per_hour=PROMISE, events=tmp_path / "late.csv")
    (tmp_path / "b.csv").write_text("filename,label\na.wav,loud\n")
    with pytest.raises(ValueError, match="no column for start and stop"):
        tune(loudness, place, max_per_hour=PROMISE, events=tmp_path / "b.csv")


def test_silent_and_broken_recordings_are_no_background(loudness, place):
    soundfile.write(place / "c.wav", np.zeros(90 * RATE), RATE)
    (place / "d.wav").write_text("<!DOCTYPE html>")
    whole = background(place / "e.wav", {}).read_bytes()
    (place / "e.wav").write_bytes(whole[: len(whole) // 2])
    tuning = tune(loudness, place, max_per_hour=PROMISE)
    assert tuning.hours == pytest.approx(7.5 / 60, rel=1e-3)
    assert tuning.idle_hours == pytest.approx(1.5 / 60)
    assert tuning.recordings == 4
    named = [trouble.partition(": ")[0].rpartition("/")[2] for trouble in tuning.troubles]
    assert named == ["c.wav", "d.wav", "e.wav"]
    assert "silence" in tuning.troubles[0]


def test_too_little_background_is_told_with_what_it_takes(loudness, place, tmp_path):
    message = r"0.1 hours of background cannot promise 0.5 .* may be 30 an hour; it takes 5.99 hours"
    with pytest.raises(TuneError, match=message):
        tune(loudness, place, max_per_hour=0.5)
    with pytest.raises(TuneError, match="nowhere is not there: give a folder"):
        tune(loudness, tmp_path / "nowhere", max_per_hour=PROMISE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TuneError, match="no sound among the 0 files"):
        tune(loudness, tmp_path / "empty", max_per_hour=PROMISE)


def test_a_class_that_cannot_keep_it_is_never_told(loudness, tmp_path):
    path = background(tmp_path / "a.wav", dict.fromkeys(range(5, 170, 5), 1.0))
    loud, _ = tune(loudness, path, max_per_hour=PROMISE).choices
    assert loud.chosen.threshold == NEVER
    tuning = tune(loudness, path, max_per_hour=PROMISE, labels=["loud"])
    tuning.write(loudness)
    assert [event for event in load(loudness).listen(path) if event.label == "loud"] == []
    assert "loud: never told, as no threshold keeps the promise" in str(tuning)


def test_where_no_class_reaches_its_threshold_the_answer_is_unknown(loudness, place):
    knock, half = np.full(RATE, 0.8), np.full(RATE, 0.55)
    assert load(loudness).answer(half) == "loud"
    tune(loudness, place, max_per_hour=PROMISE).write(loudness)
    recognizer = load(loudness)
    assert [recognizer.answer(wave) for wave in (half, knock, np.full(RATE, 0.9), np.full(RATE, 0.05))] == [
        *("unknown", "unknown", "loud", "quiet")
    ]
    assert answer(np.array([0.3, 0.6, 0.7]), "abc", on=[0.3, 0.5, 0.8]) == "b", "the most probable that may be told"


def test_no_threshold_is_under_the_lowest(loudness, tmp_path):
    path = background(tmp_path / "a.wav", {})
    assert chosen(tune(loudness, path, max_per_hour=PROMISE, labels=["loud"])) == {"loud": 0.5}
    assert chosen(tune(loudness, path, max_per_hour=PROMISE, labels=["loud"], lowest=0.2)) == {"loud": 0.2}
    with pytest.raises(ValueError, match="no class 'wolf'; it has loud, quiet"):
        tune(loudness, path, max_per_hour=PROMISE, labels=["wolf"])
    with pytest.raises(ValueError, match=r"has no model.int8.onnx"):
        tune(loudness, path, max_per_hour=PROMISE, int8=True)
    with pytest.raises(ValueError, match="wanted one above 0"):
        tune(loudness, path, max_per_hour=0)


def test_the_verb_prints_the_trade_off_draws_it_and_tunes(loudness, place, table, tmp_path, capsys):
    figure = tmp_path / "trade.svg"
    line = ["tune", loudness, "--background", place, "--max-per-hour", PROMISE, "--events", table, "--draw", figure]
    assert main([*map(str, line)]) == 0
    out = capsys.readouterr().out
    assert "heard     0.1 hours of background in 2 recordings" in out
    assert "loud: threshold 0.73, 67% of its events found" in out
    assert "promised  at most 60 false alarms an hour of each class, with 95 % confidence" in out
    assert f"wrote {loudness / 'config.json'}" in out
    assert load(loudness).config.thresholds["on"][0] == 0.73
    assert "<svg" in figure.read_text()


def test_the_verb_refuses_and_leaves_the_bundle(loudness, place, capsys):
    before = (loudness / "config.json").read_bytes()
    assert main(["tune", str(loudness), "--background", str(place), "--max-per-hour", "0.5"]) == 2
    assert "it takes 5.99 hours" in capsys.readouterr().err
    assert (loudness / "config.json").read_bytes() == before


def test_recordings_have_the_windows_of_the_stream(loudness, place):
    recognizer = load(loudness)
    (recording,) = hear(recognizer, [place / "a.wav"]).recordings
    with soundfile.SoundFile(place / "a.wav") as file:
        windows = list(recognizer.stream(RATE).listen([file.read(dtype="float32")]))
    assert np.array_equal(recording.score, [window.score for window in windows])
    assert recording.start.tolist() == [window.start for window in windows]


@pytest.mark.parametrize("lengths", [{}, {"min_seconds": 1.5, "gap_seconds": 2.0}])
def test_windows_left_out_change_no_event(lengths):
    chance = np.random.default_rng(1)
    score = chance.choice([0.1, 0.5, 0.9], (400, 1), p=[0.6, 0.2, 0.2])
    start = np.cumsum(chance.choice([0.5, 0.5, 4.0], 400))
    recording = Recording(Path("any.wav"), 0.0, 0.0, score, start, start + 1, chance.random(400) < 0.1)
    windows = [Window(*row) for row in zip(start, start + 1, score, score, recording.anew, strict=True)]
    told = recording.events(0, 0.8, 0.4, **lengths)
    assert told == list(events(windows, ["0"], on=0.8, off=0.4, **lengths))
    assert len(told) > 10


def simulated(chance, hours, rate):
    """Windows of a second; false alarms come at `rate` an hour with a score that is even between 0.5 and 1."""
    windows = round(hours * 3600)
    score = np.where(chance.random(windows) < rate / 3600, chance.uniform(0.5, 1, windows), 0.0)
    start = np.arange(windows, dtype=float)
    return Recording(Path("any.wav"), windows, 0.0, score[:, None], start, start + 1, np.zeros(windows, bool))


def test_the_promise_holds_on_other_background():
    """In 60 places the true rate may be over the promise in 3; more than 8 would come with a chance of 0.003."""
    config = Config(8000, 1, 8000, 8000, "repeat", ("any",), False)
    chance, promise, hours, rate = np.random.default_rng(7), 20, 0.5, 300
    true, heard = [], []
    for _ in range(60):
        trial = Trial(config, [simulated(chance, hours, rate)], [], [], hours)
        on = trial.choice(0, promise, 0.01).chosen.threshold
        true.append(rate * min(1, max(0, (1 - on) / 0.5)))
        heard.append(len(simulated(chance, hours, rate).events(0, on, OFF * on)))
    assert np.sum(np.array(true) > promise) <= 8
    assert np.median(true) > promise / 4, "and it is no promise that any threshold would keep"
    assert np.sum([poisson.lower(count) / hours > promise for count in heard]) <= 2


def test_the_grid_falls_and_has_nothing_of_the_data():
    assert list(GRID) == sorted(GRID, reverse=True)
    assert len(GRID) == len(set(GRID)) == 118
    assert json.loads(json.dumps(GRID)) == list(GRID)


@pytest.mark.parametrize("count", [0, 1, 5, 30, 400])
def test_bounds_are_garwoods(count):
    chi2 = pytest.importorskip("scipy.stats").chi2
    assert poisson.upper(count) == pytest.approx(chi2.ppf(0.95, 2 * count + 2) / 2, rel=1e-9)
    assert poisson.lower(count) == pytest.approx(chi2.ppf(0.05, 2 * count) / 2 if count else 0, rel=1e-9)
    assert poisson.hours_for(0.5) == pytest.approx(-2 * np.log(0.05))


def test_what_answers_otherwise_by_now_is_not_given_the_thresholds(loudness, tmp_path):
    background(tmp_path / "place" / "a.wav")
    tuning = tune(loudness, tmp_path / "place", max_per_hour=PROMISE)

    def fill(folder):
        for item in [item for item in loudness.iterdir() if item.is_file()]:
            shutil.copy(item, folder)
        (folder / "memory.npz").write_bytes(b"more")
        config = Config.read(loudness)
        replace(config, files=config.files | {"memory.npz": file_entry(b"more")}).write(folder)

    before = slots.update(loudness, fill, live=loudness).joinpath("config.json").read_bytes()
    with pytest.raises(BundleError, match=r"was updated while it was tuned.*tune it again"):
        tuning.write(loudness)
    assert (loudness / "a" / "config.json").read_bytes() == before
