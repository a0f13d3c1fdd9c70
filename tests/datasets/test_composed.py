"""Scenes composed of tones, each recording a pitch of its own: what is heard where is read off the files' spectra."""

import csv
import hashlib
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle import audio
from ossicle.data import audit
from ossicle.data.intake import IntakeError
from ossicle.data.manifest import Clip, Manifest
from ossicle.datasets import load, mixing
from ossicle.datasets.composed import compose
from ossicle.datasets.soundscapes import SCENES, Often, Scene

RATE, SECONDS = 16_000, 5.0
LABELS = ("bell", "hum", "horn")
TWO = {
    "street": Scene({}, {"bell": Often(1.0, 6.0), "horn": Often(1.0, 0.0)}),
    "hall": Scene({"hum": 0.5}, {"bell": Often(2.0, 6.0)}),
}
SMALL = {"scenes": TWO, "per_scene": 6, "mixtures": 4, "unlabelled": 2, "seconds": SECONDS, "sample_rate": RATE}


def pitch(recording):
    """Hz: a whole number of periods in a tenth of a second, and 200 Hz from the next recording's."""
    return 600 + 200 * recording


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """24 recordings of 3 s: in each of two folds, four of each label."""
    root, clips = tmp_path_factory.mktemp("tones"), []
    for recording in range(24):
        fold, label = recording % 2 + 1, LABELS[recording // 2 % 3]
        path = root / f"{recording}.wav"
        wave = 0.5 * np.sin(2 * np.pi * pitch(recording) * np.arange(3 * RATE) / RATE)
        audio.write(path, wave[None], sample_rate=RATE)
        clips.append(Clip(path, path.name, (label,), fold, str(recording)))
    return Manifest.of("tones", clips)


@pytest.fixture(scope="module")
def made(tones, tmp_path_factory):
    """The folder, and its scenes."""
    root = tmp_path_factory.mktemp("made") / "scenes"
    return root, compose(tones, root, **SMALL)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def clips(root):
    """(table, row, samples) of every clip in the folder."""
    for table in ("scenes", "events", "unlabelled"):
        for row in rows(root / f"{table}.csv"):
            yield table, row, soundfile.read(root / row["filename"])[0]


def audible(wave):
    """The recordings whose pitches stand 20 dB over what is beside them in some quarter of a second."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, RATE // 4)[:: RATE // 8]
    power = np.abs(np.fft.rfft(frames * np.hanning(RATE // 4))) ** 2
    at = [pitch(recording) // 4 for recording in range(24)]
    over = [power[:, k] / np.median(power[:, k - 24 : k + 25], 1) for k in at]
    return {str(recording) for recording, ratio in enumerate(over) if ratio.max() > 100}


def test_what_is_made(made):
    root, scenes = made
    assert scenes.classes == ("hall", "street")
    assert scenes.folds == (1, 2)
    assert scenes == load(root / "scenes.csv")
    events, unlabelled = load(root / "events.csv"), load(root / "unlabelled.csv")
    assert (len(scenes), len(events), len(unlabelled)) == (4 * 2 * 6, 4 * 4, 4 * 2 * 2)
    assert events.multilabel
    assert set(events.classes) == set(LABELS)
    assert not unlabelled.classes
    assert scenes.notes == events.notes == unlabelled.notes == ()
    for _, row, wave in clips(root):
        assert wave.shape == (SECONDS * RATE,)
        assert 1e-3 < np.abs(wave).max() <= 0.99 + 2**-15
        assert soundfile.info(root / row["filename"]).samplerate == RATE


def test_every_scene_is_as_frequent_in_every_place(made):
    _, scenes = made
    assert len({clip.group for clip in scenes.clips}) == 4
    for group in {clip.group for clip in scenes.clips}:
        part = scenes.select(np.array([clip.group == group for clip in scenes.clips]))
        assert np.bincount(part.targets()).tolist() == [6, 6]
        assert len({clip.fold for clip in part.clips}) == 1


def test_a_recording_is_heard_in_one_place_and_in_its_own_fold(made, tones):
    """By the sound of the files, not by their tables."""
    root, _ = made
    fold = {clip.group: clip.fold for clip in tones.clips}
    home = {}
    for _, row, wave in clips(root):
        for recording in audible(wave):
            assert fold[recording] == int(row["fold"])
            assert home.setdefault(recording, row["group"]) == row["group"]
    assert len(home) == 24
    assert all(audit.by_recording(load(root / f"{table}.csv")) == [] for table in ("scenes", "events", "unlabelled"))


def test_the_tables_tell_what_is_heard(made, tones):
    root, _ = made
    label = {clip.group: clip.labels[0] for clip in tones.clips}
    told = {}
    for event in rows(root / "heard.csv"):
        assert label[event["recording"]] == event["label"]
        told.setdefault(event["filename"], set()).add(event["recording"])
    for table, row, wave in clips(root):
        heard = told.get(row["filename"], set())
        assert audible(wave) == heard
        found = {label[recording] for recording in heard}
        if table == "events":
            assert set(row["labels"].split(",")) == (found or {"background"})
        elif table == "scenes":
            assert found <= TWO[row["label"]].labels
            assert row["filename"].startswith(f"scenes/{row['label']}-")
        else:
            assert row["label"] == "?"
            assert not any(name in row["filename"].split("/")[1] for name in TWO)


def test_a_second_has_the_labels_of_what_fills_half_of_it_or_is_half_in_it(made):
    root, _ = made
    heard = {}
    for event in rows(root / "heard.csv"):
        grid = np.arange(0, SECONDS, 1e-3) + 5e-4  # the middles of its milliseconds
        there = (grid >= float(event["onset"])) & (grid < float(event["offset"]))
        heard.setdefault(event["filename"], []).append((event["label"], there))
    seconds, unknown = load(root / "seconds.csv"), 0
    assert seconds.multilabel
    assert not seconds.notes
    assert len(seconds) == 4 * 4 * SECONDS
    for row in rows(root / "seconds.csv"):
        part = slice(int(row["start"]) * 1000, int(row["stop"]) * 1000)
        touching = [(label, there) for label, there in heard.get(row["filename"], []) if there[part].any()]
        shares = [(label, there[part].sum() / min(1000, there.sum())) for label, there in touching]
        if any(abs(share - 0.5) < 0.01 for _, share in shares):
            continue  # milliseconds do not tell
        expected = {label for label, share in shares if share > 0.5}
        unknown += bool(touching) and not expected
        assert row["labels"] == (",".join(sorted(expected)) or ("?" if touching else "background"))
        assert row["fold"] == row["filename"].partition("/")[2][0]
    assert unknown


def levels_db(wave, events):
    """Each event's level over what is left when all are taken out: sines fitted where they are told to be.

    The 20 ms at either end of an event, where it rises and falls, are left out of the fit.
    """
    time, inside, steady = np.arange(len(wave)) / RATE, [], np.ones(len(wave), bool)
    for event in events:
        onset, offset = float(event["onset"]), float(event["offset"])
        inside.append((onset <= time) & (time < offset))
        steady &= ~((np.abs(time - onset) < 0.02) | (np.abs(time - offset) < 0.02))
    phase = [2 * np.pi * pitch(int(event["recording"])) * time for event in events]
    waves = [wave * on for p, on in zip(phase, inside, strict=True) for wave in (np.sin(p), np.cos(p))]
    sines = np.stack(waves, 1)
    found, *_ = np.linalg.lstsq(sines[steady], wave[steady], rcond=None)
    rest = np.sqrt(np.mean((wave - sines @ found)[steady] ** 2))
    return 20 * np.log10(np.hypot(found[::2], found[1::2]) / np.sqrt(2) / rest)


def test_events_are_as_loud_as_told_and_as_asked(made):
    root, _ = made
    told = {}
    for event in rows(root / "heard.csv"):
        told.setdefault(event["filename"], []).append(event)
    scenes = [(wave, told.get(row["filename"], [])) for table, row, wave in clips(root) if table == "scenes"]
    compared = 0
    for wave, events in scenes:
        if not events or any(event["label"] == "hum" for event in events):
            continue
        wanted = [float(event["level_db"]) for event in events]
        assert np.allclose(levels_db(wave, events), wanted, atol=0.5, rtol=0)
        for event, level_db in zip(events, wanted, strict=True):
            middle = 6.0 if event["label"] == "bell" else 0.0
            assert abs(level_db - middle) <= 6.0
        compared += len(events)
    assert compared > 30


def digests(root):
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).digest() for path in root.rglob("*.*")}


def test_the_seed_gives_the_same_bytes_and_more_clips_leave_the_others(made, tones, tmp_path):
    root, _ = made
    compose(tones, tmp_path / "same", **SMALL)
    assert digests(root) == digests(tmp_path / "same")
    compose(tones, tmp_path / "fewer", **{**SMALL, "per_scene": 1, "mixtures": 1, "unlabelled": 1})
    whole, fewer = digests(root), digests(tmp_path / "fewer")
    sounds = [name for name in fewer if name.endswith(".flac")]
    assert len(sounds) == 4 * (2 + 1 + 2)
    assert all(fewer[name] == whole[name] for name in sounds)
    compose(tones, tmp_path / "other", seed=1, **{**SMALL, "per_scene": 1, "mixtures": 1, "unlabelled": 1})
    assert not set(digests(tmp_path / "other").values()) & set(whole.values())


def test_what_is_there_is_not_made_again(made, tones):
    root, scenes = made
    before = (root / "scenes.csv").stat().st_mtime_ns
    assert compose(tones, root, **SMALL) == scenes
    assert (root / "scenes.csv").stat().st_mtime_ns == before
    with pytest.raises(IntakeError, match="give another folder"):
        compose(tones, root, **{**SMALL, "seed": 1})


def test_a_clip_that_would_clip_is_softer(tones, tmp_path):
    loud = {"bar/restaurant": Scene({}, {"horn": Often(3.0, 60.0)})}
    made = compose(tones, tmp_path / "loud", **{**SMALL, "scenes": loud, "per_scene": 2})
    assert made.classes == ("bar/restaurant",)
    peaks = [np.abs(wave).max() for table, _, wave in clips(tmp_path / "loud") if table == "scenes"]
    assert max(peaks) == pytest.approx(0.99, abs=2**-14)


def test_what_scenes_cannot_be_made_of(tones, tmp_path):
    bare = Manifest.of("bare", [replace(clip, fold=None) for clip in tones.clips])
    with pytest.raises(ValueError, match="in folds, were wanted"):
        compose(bare, tmp_path / "a", **SMALL)
    torn = Manifest.of("torn", [replace(clip, group="0" if clip.group == "3" else clip.group) for clip in tones.clips])
    with pytest.raises(ValueError, match=r"1 recordings stand in several folds \(0 for one\)"):
        compose(torn, tmp_path / "t", **SMALL)
    with pytest.raises(ValueError, match=r"fold 1 has too little of .*5 places a fold"):
        compose(tones, tmp_path / "b", **SMALL, places=5)
    audio.write(tmp_path / "0.wav", np.zeros((1, RATE)), sample_rate=RATE)
    mute = Manifest.of("mute", [replace(clip, path=tmp_path / "0.wav") for clip in tones.clips])
    with pytest.raises(IntakeError, match=r"0\.wav: is digital silence"):
        compose(mute, tmp_path / "c", **SMALL)


def test_a_loop_has_no_seam():
    """A sine that does not fit its own length, and noise: neither a click nor a dip."""
    sine = np.sin(2 * np.pi * 100.3 * np.arange(RATE) / RATE)
    long = mixing.loop(sine, 5 * RATE, np.random.default_rng(0), sample_rate=RATE)
    assert np.abs(np.diff(long)).max() < 2 * np.abs(np.diff(sine)).max()
    hiss = np.random.default_rng(1).standard_normal(RATE)
    long = mixing.loop(hiss, 5 * RATE, np.random.default_rng(0), sample_rate=RATE)
    parts = [mixing.rms(part) for part in long.reshape(-1, RATE // 8)]
    assert 20 * np.log10(max(parts) / min(parts)) < 1.0


def test_a_stretch_is_taken_where_the_sound_is():
    wave = np.zeros(4 * RATE)
    wave[2 * RATE : 3 * RATE] = np.random.default_rng(0).standard_normal(RATE)
    for seed in range(5):
        part = mixing.stretch(wave, RATE, np.random.default_rng(seed), sample_rate=RATE)
        assert len(part) == RATE
        assert (part**2).sum() > 0.4 * (wave**2).sum()
        assert abs(part[0]) < 1e-3 > abs(part[-1])


@pytest.mark.parametrize("slope_db", [0.0, 3.0, 6.0])
def test_made_noise_falls_as_asked(slope_db):
    wave = mixing.noise(10 * RATE, slope_db, np.random.default_rng(0), sample_rate=RATE)
    power = np.abs(np.fft.rfft(wave)) ** 2
    octaves = [10 * np.log10(power[10 * low : 20 * low].mean()) for low in (250, 500, 1000, 2000, 4000)]
    assert np.allclose(-np.diff(octaves), slope_db, atol=0.3)
    assert mixing.rms(wave) == pytest.approx(1.0)


def test_scenes_share_their_events():
    """No label tells a scene, and there are six scenes or more."""
    assert len(SCENES) >= 6
    for label in set().union(*(scene.labels for scene in SCENES.values())):
        assert sum(label in scene.labels for scene in SCENES.values()) >= 2
    assert all(sum(scene.backgrounds.values()) <= 1 for scene in SCENES.values())


def test_who_hears_every_event_weighs_scenes_as_poisson_says(monkeypatch):
    from scipy.stats import poisson

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    likelihood = import_module("scenes").likelihood
    one = Scene({"rain": 0.25}, {"dog": Often(2.5, 6), "horn": Often(0.5, 0)})
    other = Scene({"rain": 0.5}, {"dog": Often(1.0, 6), "horn": Often(1.5, 0)})
    ratio = likelihood(one, "rain", Counter(dog=3)) - likelihood(other, "rain", Counter(dog=3))
    dog, horn = (poisson.logpmf(n, a) - poisson.logpmf(n, b) for n, a, b in [(3, 2.5, 1.0), (0, 0.5, 1.5)])
    assert ratio == pytest.approx(np.log(0.25 / 0.5) + dog + horn)
    assert likelihood(one, "", Counter()) == pytest.approx(np.log(0.75) - 3.0)
    assert likelihood(one, "fire", Counter()) == likelihood(one, "", Counter(cat=1)) == -np.inf


@pytest.mark.slow
def test_scenes_of_real_events(esc10, tmp_path):
    events = load(f"esc10:{esc10}")
    scenes = compose(events, tmp_path / "scenes", per_scene=1, mixtures=1, unlabelled=1)
    assert len(scenes) == 10 * len(SCENES)
    fold = {clip.group: clip.fold for clip in events.clips}
    of = {row["filename"]: int(row["fold"]) for table, row, _ in clips(tmp_path / "scenes")}
    assert all(fold[event["recording"]] == of[event["filename"]] for event in rows(tmp_path / "scenes" / "heard.csv"))
