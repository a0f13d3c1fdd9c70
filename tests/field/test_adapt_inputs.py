"""What a user or a hostile file may bring to `ossicle adapt`."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from ossicle.data.manifest import Clip, Manifest
from ossicle.deploy.bundle import Recognizer, load
from ossicle.deploy.config import GOLDEN, MEMORY, Config, file_entry
from ossicle.deploy.head import Head
from ossicle.deploy.memory import Memory, packed
from ossicle.field import gate
from ossicle.field.adapt import adapt
from ossicle.field.lessons import FEW, Lessons, heard

from .test_adapt import KNOWN, clips, honest, remembered, sound, write_bundle

RATE, WINDOW = 8000, 4000


class Level(Recognizer):
    """Hears a window's level and whether it swells, and knows two classes."""

    def __init__(self):
        super().__init__(Config(RATE, 1, WINDOW, WINDOW, "repeat", ("loud", "soft"), False), session=None)

    def scores(self, wave):
        assert len(wave) <= 8
        return np.full((len(wave), 2), 0.5, np.float32), np.stack([np.abs(wave).mean((1, 2)), wave.std((1, 2))], 1)


def recorded(folder, name, seconds=0.5):
    path = folder / f"{name}.wav"
    soundfile.write(path, np.random.default_rng(len(name)).uniform(-0.5, 0.5, int(seconds * RATE)), RATE)
    return path


def manifest(*clips, notes=()):
    return Manifest.of("new", [Clip(path, path.name, tuple(labels)) for path, *labels in clips], notes=notes)


def test_a_new_class_of_which_no_clip_can_be_heard_is_none(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    found = heard(Level(), manifest((recorded(tmp_path, "a"), "soft"), (tmp_path / "broken.wav", "owl")))
    assert (found.labels, found.new, found.counts()) == (("loud", "soft"), (), {"soft": 1})
    assert "broken.wav" in found.troubles[-1]


def test_what_was_odd_on_the_way_in_and_a_label_spelled_otherwise_are_told(tmp_path):
    clip = (recorded(tmp_path, "a"), "Soft")
    assert heard(Level(), manifest(clip, notes=["2 files are missing"])).troubles == (
        "2 files are missing",
        "classes ['soft', 'Soft'] differ only in how they are written; are they one?",
    )


@pytest.mark.parametrize("count", [3, FEW])
def test_each_clip_has_its_own_windows_and_views(tmp_path, count):
    """Of three clips there are views; windows of a shorter clip and of a longer one are told apart."""
    several = [(recorded(tmp_path, "x" * n, seconds=0.1 if n % 2 else 1.2), "soft") for n in range(1, count + 1)]
    found = heard(Level(), manifest(*several))
    windows = np.bincount(found.windows.clip)
    assert windows.tolist() == [1 if n % 2 else 3 for n in range(1, count + 1)]
    assert np.bincount(found.views.clip).tolist() == (windows * (9 if sum(windows) <= FEW else 1)).tolist()
    for number, (path, _) in enumerate(several):
        wave = soundfile.read(path)[0]
        first = np.resize(wave, WINDOW)
        for memory in (found.windows, found.views):
            level = memory.feature[memory.clip == number][0, 0]
            np.testing.assert_allclose(level, np.abs(first).mean(), rtol=1e-3)


def test_hours_of_clips_are_not_held_at_once(tmp_path):
    path = recorded(tmp_path, "long", seconds=4)
    several = [Clip(path, f"{number}.wav", ("soft",)) for number in range(200)]
    tracemalloc.start()
    heard(Level(), Manifest.of("new", several))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 0.2 * 200 * 4 * RATE * 4


NARROW = np.zeros((3, 7), np.float32)


def other_golden(folder, **changes):
    np.savez(folder / GOLDEN, **dict(np.load(folder / GOLDEN)) | changes)


def unheard(folder):
    """A memory of clips to learn from alone."""
    (folder / MEMORY).write_bytes(packed(remembered(range(3), guard=False)))


def narrow(folder):
    memory = remembered(range(3), guard=False).joined(remembered(range(100, 103), guard=True))
    (folder / MEMORY).write_bytes(packed(replace(memory, feature=memory.feature[:, :7])))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (unheard, "no clips of any class to judge by"),
        (narrow, "has features of 7, the head 16"),
        (lambda folder: other_golden(folder, feature=NARROW, int8_feature=NARROW), "does not give the golden scores"),
        (lambda folder: other_golden(folder, score=np.zeros((3, 4), np.float32)), r"no score of the right shape"),
        (lambda folder: (folder / GOLDEN).write_bytes(b"none"), "holds no golden clips"),
    ],
)
def test_files_of_a_bundle_that_do_not_fit_each_other_are_a_sentence(tmp_path, change, why):
    bundle = write_bundle(tmp_path / "bundle")
    config = Config.read(bundle)
    change(bundle)
    entries = {name: file_entry((bundle / name).read_bytes()) for name in config.files}
    replace(config, files=entries).write(bundle)
    with pytest.raises(ValueError, match=f"{why}.*export"):
        adapt(bundle, honest(tmp_path), threads=1)


def test_two_updates_at_once_are_one_after_the_other(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    new = [clips(tmp_path / label, [sound(label, 200 + n) for n in range(5)], label) for label in ("top", "deep")]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda place: adapt(bundle, place, threads=1), new))
    assert {each.slot for each in found} == {bundle / "a", bundle / "b"}
    assert set(load(bundle).labels) == {*KNOWN, "top", "deep"}


def test_a_bundle_of_one_class_is_judged(tmp_path):
    """A detector knows one sound and what is none of it."""
    one = np.zeros((4, 1), bool)
    one[:2] = True
    windows = Memory(np.array([[0.0], [0.1], [1.0], [1.1]], np.float32), np.arange(4), one, np.zeros(4, bool))
    none = np.zeros(4, bool)
    lessons = Lessons(("a", "b", "c", "d"), ("owl",), (), windows, windows, none, none, ())
    guard, deaf = replace(windows, guard=~none), Head(np.ones((1, 1)), np.full(1, -9.0))
    (check,) = gate.of_likeness(lessons, guard, lambda kept: deaf, multilabel=True)
    assert "as it is known, and is told as no other class" in check.why
