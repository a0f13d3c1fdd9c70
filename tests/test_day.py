"""The day's sound, its counting and its telling, on toy sizes; what it finds is for no test."""

import argparse
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ossicle import audio
from ossicle.data.manifest import Clip
from ossicle.datasets import mixing
from ossicle.datasets.soundscapes import Heard, Source
from ossicle.deploy.events import Event
from ossicle.deploy.export import export
from ossicle.deploy.overheard import Recording
from ossicle.durable import read_json
from ossicle.model import Backbone, Classifier
from ossicle.recipe import Spec

RATE = 8000
TOY = Spec("logmel", {"sample_rate": RATE, "seconds": 2.0, "n_fft": 256, "hop": 128, "mels": 16})


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    yield {name: import_module(name) for name in ("day", "day_sound", "day_events", "day_choice")}
    sys.path.remove(str(Path(__file__).parents[1] / "benchmarks"))


def noise(seconds: float, seed: int) -> np.ndarray:
    return mixing.noise(round(seconds * RATE), 3.0, np.random.default_rng(seed), sample_rate=RATE) / 10


@pytest.fixture
def day(scripts):
    behind = {"rain": [Source("a", noise(5, 0))], "helicopter": [Source("b", noise(5, 1))]}
    events = {"dog": [Source("c", noise(0.5, 2))], "rooster": [Source("d", noise(4, 3))]}
    return scripts["day_sound"].Day(behind, events, minutes=6, length=60 * RATE, sample_rate=RATE)


def test_a_day_ends_as_it_began_and_is_made_anew_as_it_was(day):
    minutes = [minute for minute, _ in day]
    np.testing.assert_array_equal(minutes[0], minutes[-1])
    assert all(np.array_equal(one, other) for one, (other, _) in zip(minutes, day, strict=True))
    assert not np.array_equal(minutes[0], minutes[1])
    assert {minute.shape for minute in minutes} == {(60 * RATE,)}
    assert max(np.abs(minute).max() for minute in minutes) < 1.5


def test_events_are_where_and_as_loud_as_it_is_said(scripts, day):
    """Power over the background's in the same minute, of sounds that do not resemble each other."""
    for number, (minute, heard) in enumerate(day):
        background, *events = heard
        assert background.onset == number * 60
        assert len({event.level_db for event in events}) == 1
        mask = np.ones(len(minute), bool)
        spans = [slice(*(round((at - number * 60) * RATE) for at in (e.onset, e.offset))) for e in events]
        for span in spans:
            mask[span] = False
        quiet = np.mean(np.square(minute[mask][2 * RATE : -2 * RATE]))
        for event, span in zip(events, spans, strict=True):
            wanted = 1 + 10 ** (event.level_db / 10)
            assert 10 * np.log10(np.mean(np.square(minute[span])) / quiet / wanted) == pytest.approx(0, abs=1.0)


def test_backgrounds_go_over_into_one_another(day):
    """No seam: the loudness of a tenth of a second does not fall where one minute ends and another begins."""
    whole = np.concatenate([minute for minute, _ in day])
    for number in range(1, 6):
        levels = [
            mixing.rms(whole[at : at + RATE // 10])
            for at in range((60 * number - 2) * RATE, (60 * number + 3) * RATE, 400)
        ]
        assert min(levels) > 0.5 * min(levels[0], levels[-1])


def test_silent_sounds_are_left_out_and_ends_cut(scripts, tmp_path):
    waves = {"a": np.concatenate([np.zeros(RATE), noise(1, 0), np.zeros(RATE)]), "b": np.zeros(RATE)}
    for name, wave in waves.items():
        audio.write(tmp_path / f"{name}.wav", wave[None].astype(np.float32), sample_rate=RATE)
    clips = [Clip(tmp_path / f"{name}.wav", name, ("dog",), 1, name) for name in waves]
    found = scripts["day_sound"].sources(clips, RATE)
    assert [source.recording for source in found["dog"]] == ["a"]
    assert len(found["dog"][0].wave) == pytest.approx(RATE, rel=0.02)


def pairs(there: list[float], told: list[float], collar: float) -> int:
    """The largest matching, by augmenting paths (Kuhn 1955)."""
    partner: dict[int, int] = {}

    def placed(event: int, seen: set[int]) -> bool:
        for alarm in range(len(told)):
            if abs(told[alarm] - there[event]) <= collar and alarm not in seen:
                seen.add(alarm)
                if alarm not in partner or placed(partner[alarm], seen):
                    partner[alarm] = event
                    return True
        return False

    return sum(placed(event, set()) for event in range(len(there)))


def test_onsets_are_matched_as_well_as_can_be(scripts):
    chance = np.random.default_rng(0)
    for _ in range(200):
        there, told = (np.sort(chance.uniform(0, 20, chance.integers(9))).tolist() for _ in range(2))
        events = [Heard("dog", at, at + 1, 0.0, "") for at in there]
        found, right = scripts["day_events"].onset(events, [Event("dog", at, at + 1, 1.0) for at in told], 1.0)
        assert sum(found) == sum(right) == pairs(there, told, 1.0)


def test_each_level_counts_its_own(scripts):
    counting = scripts["day_events"]
    there = [Heard("dog", 10.0, 11.0, 0.0, ""), Heard("dog", 70.0, 71.0, 6.0, ""), Heard("cat", 90.0, 91.5, 6.0, "")]
    told = [Event("dog", 69.0, 71.0, 0.9), Event("cat", 30.0, 32.0, 0.8), Event("cat", 92.0, 93.0, 0.8)]
    found = counting.counted(there, told, 60.0, 2.0)
    near, strict = found["overlap, collar 2 s"], found["onset, collar 1 s"]
    assert [near["0 dB"][n] for n in ("found", "missed", "right", "false")] == [0, 1, 0, 1]
    assert [near["6 dB"][n] for n in ("found", "missed", "right", "false")] == [1, 1, 2, 0]
    assert (near["6 dB"]["precision"], near["6 dB"]["recall"]) == (1.0, 0.5)
    assert near["6 dB"]["f1"] == pytest.approx(2 / 3)
    assert (strict["all"]["found"], strict["all"]["missed"], strict["all"]["false"]) == (1, 2, 2)
    assert strict["6 dB and above"]["f1"] == pytest.approx(0.5)
    assert [found["seconds"]["all"][n] for n in ("found", "missed", "false")] == [1, 3, 4]
    assert counting.false_alarms(there, told, 0.5, 2.0) == {"cat": 2.0, "dog": 0.0}


def test_growth_is_a_line_and_its_doubt(scripts):
    hours = np.arange(1, 200) / 20
    sizes = 1e8 + 2e5 * hours + np.random.default_rng(0).normal(0, 1e5, len(hours))
    found = scripts["day"].slope([*zip(hours.tolist(), sizes.tolist(), strict=True)])
    kept = hours > 1
    (slope, _), covariance = np.polyfit(hours[kept], sizes[kept] / 1e6, 1, cov=True)
    assert (found["slope"], found["within"]) == pytest.approx((slope, 1.96 * covariance[0, 0] ** 0.5))
    assert abs(found["slope"] - 0.2) < 2 * found["within"]


def test_the_threshold_between_events_and_the_rest_is_chosen(scripts, day):
    """Windows of two seconds that any part of an event fills say so at one score, all others at a lower one."""
    day = replace(day, minutes=12, seed=1)
    there = [event for _, heard in day for event in heard]
    start = np.arange(0.0, 718.0)
    score = np.tile([0.0, 0.32, 0.22], (len(start), 1))
    for event in there:
        if event.label in day.events:
            number = ["rain", "dog", "rooster"].index(event.label)
            score[(start < event.offset) & (start + 2 > event.onset), number] = (0, 0.62, 0.91)[number]
    heard = Recording(Path("day"), 720.0, 0.0, score, start, start + 2, start < 0)
    best, total = scripts["day_choice"].choose(heard, there, ["rain", "dog", "rooster"], day, 2.0)
    assert best == {"dog": 0.6, "rooster": 0.9}
    assert total.rates["f1"] == 1.0
    loud = [event for event in there if event.label in day.events and event.level_db >= 6]
    assert total.found == len(loud)
    assert {event.label for event in loud} == {"dog", "rooster"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_short_day_is_heard_whole(scripts, day, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = Classifier(Backbone(TOY, Spec("small", {"width": 8, "attention": 8})), ("dog", "rain", "rooster")).eval()
    export(model, tmp_path / "bundle", thresholds={"on": 0.3, "off": 0.29})
    sounds = day.backgrounds | day.events
    monkeypatch.setattr(scripts["day"], "ship", lambda folder, out, **how: shutil.copytree(tmp_path / "bundle", out))
    monkeypatch.setattr(scripts["day"], "tested", lambda *asked: [])
    monkeypatch.setattr(scripts["day"], "sources", lambda clips, rate: sounds)
    asked = {"part": "test", "data": None, "hours": 0.1, "hop": None, "thresholds": None, "seed": 0}
    asked |= {"out": tmp_path / "day.json", "again": False}
    scripts["day"].measure_all([Path("toy")], argparse.Namespace(**asked))
    run = read_json(tmp_path / "day.json")["runs"]["toy"]
    assert run["same"] == {"windows": 59, "difference": 0.0}
    assert not run["torch"]
    assert run["verb"]["events"] > 0 == run["verb"]["differ"]
    assert run["times"]["listening"] > 1 < run["memory"]["first"]
    assert run["found"]["seconds"]["all"]["found"] > 0
    assert "| toy | 2, 1 s |" in (tmp_path / "day.md").read_text()
