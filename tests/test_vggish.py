"""VGGish: its front end against formulas in NumPy, its layers against functions, files with the published keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ossicle import cli, convert, material, train
from ossicle.data.cache import Cache
from ossicle.deploy.onnx import to_onnx
from ossicle.encoders import VGGish
from ossicle.frontends import LogMel, Resized, VGGishMel
from ossicle.frontends.vggish import SETTINGS
from ossicle.layouts import TORCHVGGISH
from ossicle.model import Backbone, Classifier, load
from ossicle.recipe import Spec, from_dict
from ossicle.report import looks

RATE = 16000
CHANNELS = {0: (1, 64), 3: (64, 128), 6: (128, 256), 8: (256, 256), 11: (256, 512), 13: (512, 512)}
DENSE = {0: (12288, 4096), 2: (4096, 4096), 4: (4096, 128)}


# the front end


def mels(hz: Any) -> Any:
    return 1127 * np.log(1 + np.asarray(hz) / 700)


def theirs(wave: np.ndarray) -> np.ndarray:
    """(T,) -> (frames, 64), frame by frame and band by band in double precision."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [wave[at : at + 400] * window for at in range(0, len(wave) - 399, 160)]
    magnitude = np.abs(np.fft.rfft(frames, 512))
    edges, at = np.linspace(mels(125), mels(7500), 66), mels(np.linspace(0, RATE / 2, 257))
    bank = np.zeros((257, 64))
    for band in range(64):
        low, middle, high = edges[band : band + 3]
        rise, fall = (at - low) / (middle - low), (high - at) / (high - middle)
        bank[:, band] = np.maximum(0, np.minimum(rise, fall))
    bank[0] = 0
    return np.log(magnitude @ bank + 0.01)


def sounds() -> list[np.ndarray]:
    random, time = np.random.default_rng(0), np.arange(20000) / RATE
    rise = 0.9 * np.sin(2 * np.pi * (50 * time + 3000 * time**2))
    return [0.05 * random.standard_normal(15600) + 0.1, rise, np.zeros(15999), np.r_[np.zeros(8000), rise]]


@pytest.mark.parametrize("form", ["fft", "exportable"])
def test_the_front_end_is_that_of_the_formulas(form: str) -> None:
    frontend = VGGishMel()
    module: Any = frontend if form == "fft" else frontend.exportable()
    for wave in sounds():
        ours = module(torch.from_numpy(wave).float()[None, None])[0, 0, 0].T.numpy()
        assert ours.shape == theirs(wave).shape
        assert np.abs(ours - theirs(wave)).max() < 1e-3


def test_frames_are_whole_windows_and_silence_is_ln_of_a_hundredth() -> None:
    frontend = VGGishMel()
    lengths = {15360: 94, 15599: 95, 15600: 96, 160000: 998, 400: 1}
    assert {length: frontend.frames(length) for length in lengths} == lengths
    assert frontend(torch.zeros(1, 1, 1000)).unique().tolist() == pytest.approx([np.log(0.01)])


def test_triangles_that_are_straight_over_hz_would_show() -> None:
    other = LogMel(**{**SETTINGS, "sides": "hz"})
    for wave in sounds()[:2]:
        image = other(torch.from_numpy(wave).float()[None, None])[0, 0, 0].T.numpy()
        assert np.abs(image - theirs(wave)).max() > 5e-3


def test_its_image_can_be_resized() -> None:
    resized = Resized(of={"name": "vggish", "seconds": 1.0}, size=[32, 48])
    assert resized(torch.zeros(2, 1, RATE)).shape == (2, 1, 1, 32, 48)


def test_reports_draw_what_is_heard() -> None:
    seen, wave = looks.look({"name": "vggish", "seconds": 2.0}), torch.from_numpy(sounds()[0]).float()
    np.testing.assert_array_equal(seen(wave[None].numpy()), VGGishMel()(wave[None, None])[0, 0, 0])
    assert (seen.sample_rate, seen.seconds) == (RATE, 2.0)
    at = {name: place for place, name in seen.ticks()}
    assert at["1"] == pytest.approx(65 * (mels(1000) - mels(125)) / (mels(7500) - mels(125)) - 0.5)


# the network


def file_of(width: float = 1.0) -> dict[str, Tensor]:
    """Weights of a size that keeps the signal's, under the keys of the port to torch and in its shapes."""
    make, tensors = torch.Generator().manual_seed(0), {}
    for number, (inputs, outputs) in CHANNELS.items():
        inputs, outputs = max(1, int(inputs * width)), int(outputs * width)
        kernel = torch.randn(outputs, inputs, 3, 3, generator=make)
        tensors[f"features.{number}.weight"] = kernel * (2 / (9 * inputs)) ** 0.5
        tensors[f"features.{number}.bias"] = 0.1 * torch.randn(outputs, generator=make)
    for number, (inputs, outputs) in DENSE.items():
        inputs, outputs = int(inputs * width), outputs if number == 4 else int(outputs * width)
        weight = torch.empty(outputs, inputs).uniform_(-1, 1, generator=make)
        tensors[f"embeddings.{number}.weight"] = weight * (6 / inputs) ** 0.5
        tensors[f"embeddings.{number}.bias"] = 0.1 * torch.randn(outputs, generator=make)
    return tensors


def port(tensors: dict[str, Tensor], examples: Tensor) -> Tensor:
    """(E, 1, time, frequency) -> (E, 128): the port's layers on its axes, without the ReLU that it adds."""
    image = examples
    for number in CHANNELS:
        image = F.conv2d(image, tensors[f"features.{number}.weight"], tensors[f"features.{number}.bias"], padding=1)
        image = image.relu()
        if number not in (6, 11):
            image = F.max_pool2d(image, 2)
    flat = image.permute(0, 2, 3, 1).reshape(len(image), -1)
    for number in DENSE:
        flat = F.linear(flat, tensors[f"embeddings.{number}.weight"], tensors[f"embeddings.{number}.bias"])
        flat = flat if number == 4 else flat.relu()
    return flat


def ours(width: float) -> VGGish:
    """The encoder with the tensors of `file_of`."""
    encoder = VGGish(bins=64, width=width).eval()
    tensors = {name.replace("embeddings", "dense"): value for name, value in file_of(width).items()}
    encoder.load_state_dict({name: value.mT if value.ndim == 4 else value for name, value in tensors.items()})
    return encoder


def test_examples_are_the_originals_and_the_feature_is_their_mean() -> None:
    image = torch.randn(2, 1, 64, 2 * 96 + 95, generator=torch.Generator().manual_seed(1))
    encoder = ours(1 / 8)
    with torch.inference_mode():
        found = encoder.embeddings(image)
        for example in (0, 1):
            cut = image[..., 96 * example : 96 * (example + 1)].mT
            torch.testing.assert_close(found[:, example], port(file_of(1 / 8), cut), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(encoder(image), found.mean(1))
    assert found.shape == (2, 2, 128)
    assert float((found < 0).float().mean()) > 0.2, "before any activation"
    assert found.std() > 1e-2


def test_published_size() -> None:
    with torch.device("meta"):
        encoder = VGGish(bins=64)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in encoder.named_children()}
    assert count == {"features": 4_499_712, "dense": 67_641_472}
    assert sum(count.values()) == 72_141_184
    assert sum(p.numel() for block in encoder.blocks() for p in block.parameters()) == 72_141_184


@pytest.mark.parametrize(("init", "low", "high"), [("he", 1, 10), ("published", 0, 1e-4)])
def test_fresh_weights_are_of_the_size_that_they_were_asked_for(init: Any, low: float, high: float) -> None:
    torch.manual_seed(0)
    encoder = VGGish(bins=64, width=1 / 4, init=init)
    kernel = encoder.blocks()[-2].weight.detach()
    assert float(kernel.std()) == pytest.approx(0.0088 if init == "published" else (2 / 1024) ** 0.5, rel=0.01)
    with torch.inference_mode():
        assert low <= encoder(torch.randn(1, 1, 64, 96)).std() < high


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"width": 0.001}, "wanted at least"), ({"bins": 8}, "8 bins"), ({"init": "zeros"}, "known: he, published")],
)
def test_networks_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        VGGish(**{"bins": 64, "width": 1 / 16} | wrong)


def test_less_than_an_example_is_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"94 frames holds no example of 96: .* 0\.975 s"):
        VGGish(bins=64, width=1 / 16)(VGGishMel()(torch.zeros(1, 1, 15360))[:, 0])


@pytest.mark.slow
def test_an_exported_network_hears_any_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vggish = Spec("vggish", {"seconds": 2.0}), Spec("vggish", {"width": 1 / 16})
    model = Classifier(Backbone(*vggish), ["one", "other"], multilabel=True).eval()
    to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for shape in ((1, 1, 32000), (3, 1, 16000), (2, 1, 50000)):
        wave = 0.1 * torch.randn(shape)
        _, feature = session.run(None, {"wave": wave.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(feature, model.backbone(wave), rtol=1e-4, atol=1e-4)


# published files


def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch | None, width: float) -> Path:
    """A model's folder, made by the command of a file as torch.hub keeps it; where `monkeypatch`, a narrow one."""
    if monkeypatch is not None:
        narrow = replace(TORCHVGGISH, encoder=Spec("vggish", {"width": width}))
        monkeypatch.setattr(convert, "LAYOUTS", (*convert.LAYOUTS[:-1], narrow))
    whitening = {"pproc.pca_eigen_vectors": torch.eye(128), "pproc.pca_means": torch.zeros(128, 1)}
    torch.save(file_of(width) | whitening, tmp_path / "vggish.pth")
    assert cli.main(["convert", str(tmp_path / "vggish.pth"), "-o", str(tmp_path / "model")]) == 0
    return tmp_path / "model"


def held_to_the_port(folder: Path, width: float) -> None:
    model = load(folder)
    image = model.frontend(torch.from_numpy(sounds()[0]).float()[None, None])
    with torch.inference_mode():
        feature, wanted = model.encode(image), port(file_of(width), image[:, 0].mT)
    torch.testing.assert_close(feature, wanted, rtol=1e-4, atol=1e-4)


def test_its_layout_is_of_the_published_keys_and_shapes() -> None:
    assert convert.LAYOUTS[-1] is TORCHVGGISH
    wanted = {f"features.{number}": (outputs, inputs, 3, 3) for number, (inputs, outputs) in CHANNELS.items()}
    wanted |= {f"dense.{number}": (outputs, inputs) for number, (inputs, outputs) in DENSE.items()}
    biases = {f"{name}.bias": shape[:1] for name, shape in wanted.items()}
    assert TORCHVGGISH.shapes == {f"{name}.weight": shape for name, shape in wanted.items()} | biases


def test_a_file_of_the_port_becomes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = converted(tmp_path, monkeypatch, 1 / 8)
    held_to_the_port(folder, 1 / 8)
    assert "note: pproc is left out: it comes after the embedding" in capsys.readouterr().out
    assert json.loads((folder / "config.json").read_text())["frontend"] == {"name": "vggish"}
    assert material.heard(folder) is None, "videos that nobody lists"


@pytest.mark.slow
def test_a_file_of_the_port_becomes_a_model_at_full_width(tmp_path: Path) -> None:
    held_to_the_port(converted(tmp_path, None, 1.0), 1.0)


def learned(tmp_path: Path, name: str, **more: Any) -> Backbone:
    """What a run's model is after a single short epoch above VGGish."""
    tree = {
        "data": {"name": "synthetic", "path": str(tmp_path / "sounds"), "per_class": 2},
        "frontend": {"name": "vggish", "seconds": 1.0},
        "encoder": {"name": "vggish", "width": 1 / 16},
        "objective": "supervised",
        "stages": [{"epochs": 1}],
        "precision": "fp32",
    }
    train.fit(from_dict(tree | more), tmp_path / name, cache=Cache(tmp_path / "cache"))
    model = load(tmp_path / name)
    assert isinstance(model, Classifier)
    return model.backbone


def test_published_weights_hear_images_as_they_are_from_run_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = converted(tmp_path, monkeypatch, 1 / 16)
    for name in ("first", "second"):
        model = learned(tmp_path, name, start=str(start))
        assert (model.as_is, float(model.mean), float(model.sd)) == (True, 0, 1)
        start = tmp_path / name
    fresh = learned(tmp_path, "fresh")
    assert not fresh.as_is
    assert float(fresh.mean) < -1, "levels of quiet sounds"
    other = {"name": "logmel", "sample_rate": 16000, "seconds": 1.0, "hop": 160}
    changed = learned(tmp_path, "other", start=str(start), stages=[{"epochs": 1}, {"epochs": 1, "frontend": other}])
    assert not changed.as_is
    assert float(changed.mean) != 0
