"""The example and the card that a bundle brings: what a device needs that has no ossicle."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ossicle.deploy import example
from ossicle.deploy.bundle import load
from ossicle.deploy.card import card
from ossicle.deploy.config import Config

from .conftest import RATE, WINDOW

ALONE = """
import runpy, sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ossicle", "torch", "onnx", "soundfile", "soxr", "scipy", "cyclopts", "rich"):
            raise ImportError(f"{name} is not on this device")
sys.meta_path.insert(0, Nothing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def heard(folder, *arguments):
    """What the example says, where nothing but numpy and onnxruntime is installed."""
    place = shutil.copy(example.__file__, folder / "example.py")
    command = [sys.executable, "-c", ALONE, str(place), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(("length", "channels"), [(3 * WINDOW + 7, 2), (WINDOW // 3, 1)])
def test_the_example_says_what_the_recognizer_does(loudness, tmp_path, length, channels):
    sound = np.random.default_rng(0).uniform(-0.9, 0.9, (length, channels)) * np.linspace(0.1, 1, length)[:, None]
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="PCM_16")
    done = heard(loudness, tmp_path / "a.wav")
    said = {label: float(score) for score, label in (line.split() for line in done.stdout.splitlines())}
    recorded = soundfile.read(tmp_path / "a.wav", always_2d=True)[0].T
    assert said == pytest.approx(dict(zip(("loud", "quiet"), load(loudness)(recorded), strict=True)), abs=1e-4)
    assert list(said.values()) == sorted(said.values(), reverse=True)


def test_the_example_hears_golden_clips_and_refuses_other_rates(loudness, tmp_path):
    difference, said = heard(loudness).stdout.split(maxsplit=1)
    assert float(difference) < 1e-6
    assert said == "from the trained model on 3 golden clips\n"
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 2 * RATE)
    assert "wanted 16 bit at 8000 Hz" in heard(loudness, tmp_path / "a.wav").stderr
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    assert "a sample at least" in heard(loudness, tmp_path / "a.wav").stderr


def test_the_example_is_short():
    assert len(Path(example.__file__).read_text().splitlines()) <= 40


def test_the_card_says_what_is_known_and_that_nothing_is(loudness):
    config = Config.read(loudness)
    bare = card(config)
    assert "2 classes of sound:\n\nloud, quiet." in bare
    assert "Nothing says how well it does" in bare
    assert "`wave` (B, 1, 800): 0.1 s (800 samples) at 8,000 Hz" in bare
    told = {"run": "rec", "data": {"name": "esc10", "clips": {"train": 320}}, "result": {"pretraining": "inductive"}}
    known = card(replace(config, provenance=told | {"evaluation": {"clips": 80, "openings": 1, "accuracy": 0.8625}}))
    assert known.startswith("# rec\n")
    for line in ("Learned from 320 clips of esc10", "Pretraining: inductive", "On 80 test clips, opened 1 time(s)"):
        assert line in known
    assert "accuracy 86.2 %" in known
    assert f"| model.onnx | {config.files['model.onnx']['bytes']:,} |" in known
