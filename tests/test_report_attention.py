"""Where an encoder listens: the weights themselves, when they are, and what is said where there are none."""

import json
import math

import numpy as np
import pytest
import soundfile
import torch

from ossicle import assemble, audio, cli, recipe
from ossicle.encoders import ENCODERS
from ossicle.model import Classifier, load
from ossicle.report import attention, draw, found

RATE, SECONDS = 8000, 1.5
EAR = {"name": "logmel", "sample_rate": RATE, "seconds": SECONDS, "n_fft": 256, "hop": 100, "mels": 16}
EVENTS = {"name": "vggish", "width": 0.02, "frames": 16}
SMALL = {"width": 4, "attention": 8, "heads": 3}
ENCODED = {
    "small": SMALL,
    "vfm": SMALL | {"events": EVENTS},
    "jrm": SMALL | {"events": EVENTS},
    "cmam": SMALL | {"events": EVENTS, "pairs": 2, "queries": 12, "parts": 4},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six recordings in three folds, longer than a window."""
    root, rows = tmp_path_factory.mktemp("sounds"), ["filename,label,fold"]
    for number in range(6):
        wave = 0.1 * np.random.default_rng(number).standard_normal(2 * RATE)
        soundfile.write(root / f"{number}.wav", wave, RATE, subtype="FLOAT")
        rows.append(f"{number}.wav,{'ab'[number % 2]},{number // 2 + 1}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root / "clips.csv"


def run(folder, data, encoder):
    """A run's folder with a model that was never trained."""
    tree = {"data": {"name": "csv", "path": str(data)}, "split": {"fold": 2}, "frontend": EAR, "encoder": encoder}
    read = recipe.from_dict(tree | {"objective": "supervised", "stages": [{"epochs": 1}]})
    folder.mkdir()
    (folder / "recipe.json").write_text(json.dumps(recipe.to_dict(read)))
    model = Classifier(assemble.backbone(read), ("a", "b"))
    model.backbone.mean.fill_(-3.0)
    model.save(folder / "model")
    return folder


@pytest.mark.parametrize("name", ENCODED)
def test_what_is_drawn_is_what_the_encoder_weighs(name, data, tmp_path):
    folder = run(tmp_path / "run", data, {"name": name, **ENCODED[name]})
    made = attention.attended(found.look(folder), "4")
    backbone = load(folder).backbone
    wave = audio.read(data.parent / "4.wav", sample_rate=RATE)[:, : round(SECONDS * RATE)]
    with torch.no_grad():
        image = backbone.frontend(torch.from_numpy(wave)[None])[0]
        expected = backbone.encoder.attention((image + 3) / 1)
    expected = expected if isinstance(expected, dict) else {"pool": expected}
    assert made.clip == "4.wav"
    assert made.image == pytest.approx(image[0, 0].numpy())
    assert set(made.weights) == set(made.strides) == set(expected)
    for layer, weights in made.weights.items():
        assert weights == pytest.approx(expected[layer][0].numpy())
        assert weights.sum(-1) == pytest.approx(np.ones(weights.shape[:-1]), abs=1e-5)
        edges = made.edges(layer)
        assert (edges[0], len(edges)) == (0, weights.shape[-1] + 1)
        assert np.all(np.diff(edges) > 0)
        assert edges[-1] <= SECONDS


@pytest.mark.parametrize("frames", [96, 97, 200, 1000])
def test_a_step_stands_for_as_many_frames_as_strides_say(frames):
    """Of convolutions each step, the last one begun; of an event model whole examples of 16 frames."""
    for name, args in ENCODED.items():
        encoder = ENCODERS[name](bins=16, **args).eval()
        with torch.no_grad():
            weights = encoder.attention(torch.zeros(1, 1, 16, frames))
        for layer, each in (weights if isinstance(weights, dict) else {"pool": weights}).items():
            whole = frames if layer in ("image", "across") or name == "small" else frames // 16 * 16
            assert each.shape[-1] == math.ceil(whole / encoder.strides()[layer]), (name, layer)


def test_what_is_heard_late_is_drawn_late(data, tmp_path):
    """With weights that follow how loud a step is, and a burst at 1.2 s."""
    folder = run(tmp_path / "run", data, {"name": "small", **SMALL, "growth": [1]})
    model = load(folder)
    encoder = model.backbone.encoder
    with torch.no_grad():
        encoder.layers[0][0].weight.fill_(0.01)
        encoder.layers[0][0].bias.fill_(20.0)
        encoder.pool.hidden.weight.fill_(1.0)
        encoder.pool.score.weight.fill_(1.0)
    model.save(folder / "model")
    wave = np.zeros(2 * RATE, np.float32)
    wave[round(1.2 * RATE) : round(1.22 * RATE)] = 0.5
    soundfile.write(data.parent / "0.wav", wave, RATE, subtype="FLOAT")
    made = attention.attended(found.look(folder), "0")
    edges, most = made.edges("pool"), made.weights["pool"].argmax(1)
    assert edges[most] == pytest.approx(1.2, abs=0.04)


def test_the_verb_draws_it_and_says_why_where_it_cannot(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "rec", data, {"name": "cmam", **ENCODED["cmam"]})
    assert cli.main(["report", "rec", "--attention", "a.svg", "--clip", "5"]) == 0
    drawn = (tmp_path / "a.svg").read_text()
    assert "5.wav, its first 1.5 s" in " ".join(drawn.split())
    assert drawn.count("<image") == 1 + 2 * 2 * 4
    assert draw(["rec"], tmp_path / "a.png", of="attention").read_bytes().startswith(b"\x89PNG")
    run(tmp_path / "deep", data, {"name": "resnet", "width": 4, "depth": 18})
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.json").write_text((tmp_path / "rec" / "recipe.json").read_text())
    for command, said in (
        ("deep --attention b.svg", "the encoder 'resnet' of deep weighs no steps in time"),
        ("begun --attention b.svg", "no finished run here"),
        ("rec --attention b.svg --clip 2", "no clip of clips that is learned from is called 2"),
        ("rec --clip 2", "--clip is for the figure of --resolutions FILE or --attention FILE"),
    ):
        assert cli.main(["report", *command.split()]) == 2
        assert said in capsys.readouterr().err
