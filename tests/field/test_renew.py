"""A run that is taught, behind the gate, and its bundle in the other slot: from the command line, as users do it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from ossicle import train
from ossicle.cli import main
from ossicle.deploy.bundle import load
from ossicle.deploy.config import MEMORY, Config, answering, opened
from ossicle.durable import read_json
from ossicle.field.first import First
from ossicle.field.renew import renew
from ossicle.recipe import from_dict
from ossicle.ship import ship

RATE = 8000
HERTZ = {"low": 300, "high": 3000, "owl": 1000}


def tone(path, label, seed):
    """A tone that comes and goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng, time = np.random.default_rng([seed, *map(ord, label)]), np.arange(RATE // 2) / RATE
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time + rng.uniform(0, 6))
    wave = 0.3 * swell * np.sin(2 * np.pi * HERTZ[label] * rng.uniform(0.97, 1.03) * time)
    soundfile.write(path, wave + 0.003 * rng.standard_normal(len(wave)), RATE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run `rec` that knows two classes, and three new clips of a third."""
    root = tmp_path_factory.mktemp("place")
    for number in range(18):
        tone(root / "old" / ("low", "high")[number % 2] / f"{number}.wav", ("low", "high")[number % 2], number)
    for number in range(3):
        tone(root / "new" / "owl" / f"{number}.wav", "owl", 100 + number)
    tree = {
        "data": {"name": "folder", "path": str(root / "old")},
        "split": {"fold": 1, "valid": 2},
        "frontend": {"name": "logmel", "sample_rate": RATE, "seconds": 0.5, "n_fft": 256, "hop": 128, "mels": 16},
        "encoder": {"name": "small", "width": 4, "attention": 8},
        "objective": "supervised",
        "stages": [{"epochs": 25, "lr": 1e-2}],
        "batch": 4,
        "watch": 0,
        "precision": "fp32",
    }
    train.fit(from_dict(tree), root / "rec")
    ship(root / "rec", root / "bundle", int8=False, hop=0.1, thresholds={"on": [0.6, 0.7]})
    return root


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_is_taught_and_its_bundle_answers_by_it_and_takes_it_back(place, capsys):
    bundle = place / "bundle"
    command = ["adapt", place / "rec", "--new", place / "new", "-o", place / "rec-2", "--bundle", bundle]
    assert main([str(word) for word in [*command, "--epochs", "2", "--margin", "0.5"]]) == 0
    said = capsys.readouterr().out
    assert "taught   3 clips of new 'owl', in" in said
    assert (
        f"wrote {place / 'rec-2'}\nwrote {bundle / 'a'}\nnext  ossicle listen {bundle} FILE, or ossicle adapt" in said
    )
    now, held = opened(bundle)
    assert (load(bundle).labels, now.hop) == (("high", "low", "owl"), 800)
    assert now.thresholds["on"] == [0.6, 0.7, 0.5]
    assert MEMORY in held
    assert not now.int8
    told = read_json(place / "rec-2" / "taught.json")
    assert (told["stands_on"]["run"], told["accepted"], told["clips"]) == (str(place / "rec"), True, {"owl": 3})
    assert main([str(word) for word in [*command, "--epochs", "2", "--margin", "0.5"]]) == 0
    assert answering(bundle) == bundle / "a", "what answers by the run already stays"
    assert main(["adapt", str(bundle), "--undo"]) == 0
    assert load(bundle).labels == ("high", "low")


def test_silence_is_refused_before_it_is_learned(place, tmp_path, capsys):
    (tmp_path / "new" / "owl").mkdir(parents=True)
    for number in range(3):
        soundfile.write(tmp_path / "new" / "owl" / f"{number}.wav", np.full(RATE // 2, 1e-6 * number), RATE)
    before = files(place / "bundle")
    command = ["adapt", place / "rec", "--new", tmp_path / "new", "-o", tmp_path / "rec-2", "--bundle"]
    assert main([str(word) for word in [*command, place / "bundle"]]) == 2
    assert "new clips are no sound" in capsys.readouterr().err
    assert files(place / "bundle") == before
    assert not (tmp_path / "rec-2").exists()


def test_what_forgets_is_refused_after_it_was_learned_and_stays_to_be_looked_at(place, tmp_path, monkeypatch):
    """A rate that unlearns all there was."""
    before = files(place / "bundle")
    ruin = {"stages.0.lr": 10.0, "optimizer": {"name": "sgd"}, "split.label_noise": 1.0}
    monkeypatch.setattr(First, "checks", lambda known: iter(()))
    how = {"bundle": place / "bundle", "out": tmp_path / "rec-2", "epochs": 1, "changes": ruin}
    found = renew(place / "rec", place / "new", **how)
    assert not found.ok
    assert "accuracy on 4 guard clips falls from 100.0 %" in found.verdict.why
    assert (found.slot, files(place / "bundle")) == (None, before)
    told = json.loads((tmp_path / "rec-2" / "taught.json").read_text())
    assert told["accepted"] is False
    assert (tmp_path / "rec-2" / "result.json").exists()


def test_a_bundle_that_knows_more_than_the_run_is_refused(place, tmp_path, capsys):
    config = replace(Config.read(place / "bundle"), labels=("cat", "low"))
    (tmp_path / "bundle").mkdir()
    config.write(tmp_path / "bundle")
    for name in config.files:
        shutil.copy(place / "bundle" / name, tmp_path / "bundle")
    command = ["adapt", place / "rec", "--new", place / "new", "-o", tmp_path / "x", "--bundle", tmp_path / "bundle"]
    assert main([str(word) for word in command]) == 2
    assert "knows 'cat', and" in capsys.readouterr().err
