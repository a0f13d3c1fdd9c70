"""Stereo from file to event: sides share weights and their features are summed, mono files are heard on both sides."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ossicle import audio, evaluate, plan, train
from ossicle.data.cache import Cache
from ossicle.deploy.bundle import load as load_bundle
from ossicle.deploy.formats import FORMATS
from ossicle.deploy.listen import listen
from ossicle.deploy.output import Output
from ossicle.model import Backbone, Classifier, load
from ossicle.recipe import Recipe, RecipeError, Spec, from_dict
from ossicle.ship import ship

RATE = 8000
LENGTH = RATE // 2
LOGMEL = {"name": "logmel", "sample_rate": RATE, "seconds": 0.5, "n_fft": 256, "hop": 128, "mels": 16}


def sound(number: int) -> np.ndarray:
    """(T, C): a low or a high tone; every third recording is mono, and every third has its tone on one side only."""
    time = np.arange(LENGTH) / RATE
    tone = 0.3 * np.sin(2 * np.pi * (300 if number % 2 else 2000) * (1 + 0.02 * number) * time)
    noise = 0.03 * np.random.default_rng(number).standard_normal((LENGTH, 2))
    if number % 3 == 0:
        return tone + noise[:, 0]
    return noise + np.stack([tone, np.zeros(LENGTH) if number % 3 == 1 else tone], axis=1)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stereo")
    rows = ["filename,fold,label"]
    for number in range(12):
        soundfile.write(root / f"{number}.wav", sound(number), RATE)
        rows.append(f"{number}.wav,{number // 4 + 1},{('high', 'low')[number % 2]}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


def recipe_for(sounds: Path, channels: int, **changes: object) -> Recipe:
    tree = {
        "data": {"name": "csv", "path": str(sounds / "clips.csv")},
        "split": {"fold": 1},
        "frontend": LOGMEL,
        "encoder": {"name": "resnet", "width": 4},
        "objective": "supervised",
        "views": [{"name": "roll"}, {"name": "noise", "sigma": 0.1}],
        "stages": [{"epochs": 12, "lr": 1e-2}],
        "batch": 4,
        "precision": "fp32",
        "channels": channels,
    }
    return from_dict(tree | changes)


@pytest.fixture(scope="module")
def trained(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "stereo"
    told = []
    cache = Cache(folder.parent / "cache")
    train.fit(recipe_for(sounds, 2), folder, cache=cache, tell=lambda kind, row: told.append((kind, row)))
    shape = next(row for kind, row in told if kind == "shape")
    assert (shape["wave"], shape["image"]) == ((2, 2, LENGTH), (2, 2, 1, 16, 32))
    assert not [row for kind, row in told if kind == "bad"]
    return folder


def test_a_stereo_model_learns_from_mono_and_stereo_files(trained: Path) -> None:
    result = evaluate.final(trained, cache=Cache(trained.parent / "cache"))
    assert result["accuracy"] == 1.0
    model = load(trained)
    assert isinstance(model, Classifier)
    assert model.channels == 2


def test_the_sides_are_summed_and_mono_is_heard_on_both(trained: Path, sounds: Path) -> None:
    model = load(trained)
    assert isinstance(model, Classifier)
    waves = {number: audio.read(sounds / f"{number}.wav", sample_rate=RATE, channels=2) for number in (0, 1)}
    mono = audio.read(sounds / "0.wav", sample_rate=RATE)
    assert np.array_equal(waves[0], np.concatenate([mono, mono]))
    with torch.inference_mode():
        wave = torch.from_numpy(np.stack([waves[0], waves[1]]))
        feature, sides = model.backbone(wave), [model.backbone(wave[:, side : side + 1]) for side in (0, 1)]
        swapped = model.backbone(wave.flip(1))
    torch.testing.assert_close(feature, sides[0] + sides[1])
    torch.testing.assert_close(feature[0], 2 * sides[0][0])
    torch.testing.assert_close(feature, swapped)


def test_a_mono_model_hears_the_mean_of_the_sides(sounds: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    train.fit(recipe_for(sounds, 1, stages=[{"epochs": 1}]), tmp_path / "run", cache=cache)
    heard = cache.wave(sounds / "1.wav", sample_rate=RATE)
    left, right = soundfile.read(sounds / "1.wav", dtype="float32")[0].T
    np.testing.assert_allclose(heard, ((left + right) / 2)[None], atol=1e-7)


def test_instance_discrimination_hears_stereo_and_a_stereo_run_begins_from_mono(sounds: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    short = {"objective": "npid", "stages": [{"epochs": 1}]}
    train.fit(recipe_for(sounds, 1, **short), tmp_path / "mono", cache=cache)
    result = train.fit(recipe_for(sounds, 2, **short, start=str(tmp_path / "mono")), tmp_path / "run", cache=cache)
    assert result["pretraining"] == "inductive"
    model = load(tmp_path / "run")
    assert isinstance(model, Backbone)
    assert model.channels == 2
    assert plan.recognizer(sounds / "clips.csv", start=tmp_path / "run").channels == 2


@pytest.mark.parametrize("channels", [0, 3, 6])
def test_other_numbers_of_channels_are_refused(channels: int) -> None:
    with pytest.raises(RecipeError, match=f"channels is {channels}; a model hears 1.*or 2 for stereo"):
        recipe_for(Path(), channels)


@pytest.mark.slow
def test_a_stereo_bundle_hears_files_and_pipes_of_one_or_two_channels(
    trained: Path, sounds: Path, tmp_path: Path
) -> None:
    assert ship(trained, tmp_path / "bundle").ok
    recognizer = load_bundle(tmp_path / "bundle")
    for number in range(12):
        name, lines, faults = ("high", "low")[number % 2], [], []
        file = sounds / f"{number}.wav"
        assert listen(recognizer, [file], Output(FORMATS["jsonl"], lines.append), report=faults.append, on=0.5) == 0
        assert [json.loads(line)["label"] for line in lines] == [name]
        samples = soundfile.read(file, dtype="int16", always_2d=True)[0]
        piped: list[str] = []
        how = {"pipe": io.BytesIO(samples.tobytes()), "channels": samples.shape[1], "sample_rate": RATE}
        assert (
            listen(recognizer, ["-"], Output(FORMATS["jsonl"], piped.append), report=faults.append, on=0.5, **how) == 0
        )
        assert [json.loads(line)["label"] for line in piped] == [name]


@pytest.mark.parametrize("name", ["bands", "logmel"])
def test_an_encoder_never_hears_one_side_through_the_other(name: str) -> None:
    sizes = {"sample_rate": RATE, "seconds": 0.5, "n_fft": 256, "hop": 100}
    model = Backbone(
        Spec(name, sizes | ({"win": 200} if name == "bands" else {"mels": 16})), Spec("resnet", {"width": 4})
    )
    wave = 0.1 * torch.randn(3, 2, LENGTH)
    louder = torch.cat([wave[:, :1], 2 * wave[:, 1:]], 1)
    with torch.inference_mode():
        alone = model.eval()(wave[:, :1])
        torch.testing.assert_close(model(louder) - model(louder[:, 1:]), alone, atol=1e-4, rtol=1e-3)
