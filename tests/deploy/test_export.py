from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import pytest
import torch

from ossicle.deploy import check as checking
from ossicle.deploy import export as exporting
from ossicle.deploy.bundle import load
from ossicle.deploy.card import by_int8
from ossicle.deploy.check import TOLERANCE, CheckError, check
from ossicle.deploy.config import CARD, CONFIG, EXAMPLE, GOLDEN, INT8, MODEL
from ossicle.deploy.export import ExportError, export
from ossicle.deploy.onnx import to_onnx
from ossicle.deploy.quantize import Standard
from ossicle.deploy.verify import verify
from ossicle.model import Backbone, Classifier
from ossicle.recipe import Spec

RATE, WINDOW = 8000, 4000
SOUND = {"sample_rate": RATE, "seconds": WINDOW / RATE}
FRONTENDS = {
    "logmel": Spec("logmel", SOUND | {"n_fft": 512, "hop": 128, "mels": 32}),
    "bands": Spec("bands", SOUND | {"n_fft": 256, "win": 200, "hop": 100}),
    "clipmel": Spec("clipmel", SOUND | {"n_fft": 512, "hop": 128, "mels": 32, "frames": 40}),
}
FRONTENDS |= {
    f"{name}-{how}": Spec("resized", {"of": {"name": name, **FRONTENDS[name].args}, "size": [32, 29], "how": how})
    for name, how in [("clipmel", "bilinear"), ("logmel", "bicubic"), ("bands", "nearest"), ("logmel", "area")]
}
ENCODERS = {
    "resnet": Spec("resnet", {"width": 4}),
    "resnet-attention": Spec("resnet", {"width": 4, "attention": True}),
    "densenet": Spec("densenet", {"width": 4}),
    "vgg": Spec("vgg", {"width": 4}),
    "crnn": Spec("crnn", {"width": 4}),
    "small": Spec("small", {"width": 4, "attention": 16}),
    "small-2d": Spec("small", {"width": 4, "attention": 16, "reading": "2d"}),
}


def make(frontend="logmel", encoder="resnet", *, multilabel=False, temperature=1.7):
    """A small classifier whose running statistics and normalization are those of noise, as if it had been trained."""
    torch.manual_seed(0)
    policy = "zero" if "clipmel" in frontend else "repeat"
    backbone = Backbone(FRONTENDS[frontend], ENCODERS[encoder], policy=policy)
    classifier = Classifier(backbone, ["dog", "rain", "clock"], multilabel=multilabel)
    wave = 0.1 * torch.randn(8, 1, WINDOW)
    backbone.fit_normalization([backbone.frontend(wave)])
    for _ in range(20):
        classifier(wave)
    classifier.temperature.fill_(temperature)
    return classifier.eval()


def eager(classifier, wave):
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(wave)) / classifier.temperature
        return (logits.sigmoid() if classifier.multilabel else logits.softmax(-1)).numpy()


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A classifier and its bundle."""
    classifier = make()
    folder = tmp_path_factory.mktemp("shipped") / "bundle"
    clip = np.random.default_rng(5).normal(0, 0.2, (1, 9000)).astype(np.float32)
    windows = np.random.default_rng(6).normal(0, 0.1, (8, 1, WINDOW)).astype(np.float32)
    top = eager(classifier, windows).argmax(1)
    told = {"measure": "accuracy", "clips": 8, "part": "validation"}
    standard = Standard(windows, lambda small: float((small.scores(windows)[0].argmax(1) == top).mean()), told)
    given = {"clips": {"garden.wav": clip}, "provenance": {"run": "runs/rec"}, "hop": 1000, "standard": standard}
    report = export(classifier, folder, **given)
    return classifier, folder, report


def test_an_export_answers_as_the_model_does(shipped):
    classifier, folder, report = shipped
    recognizer = load(folder)
    assert report.ok
    assert report.difference < 1e-5
    assert {row.clip for row in report.rows} == {"silence", "noise", "tone", "impulse", "garden.wav"}
    assert {row.by for row in report.rows} == {"onnx", "stream"}
    for batch in (1, 3):
        wave = np.random.default_rng(batch).normal(0, 0.1, (batch, 1, WINDOW)).astype(np.float32)
        score, feature = recognizer.scores(wave)
        np.testing.assert_allclose(score, eager(classifier, wave), atol=1e-5)
        with torch.inference_mode():
            wanted = classifier.backbone(torch.from_numpy(wave)).numpy()
        np.testing.assert_allclose(feature, wanted, atol=1e-4)


def test_the_config_says_how_to_feed_and_read_it(shipped):
    config = load(shipped[1]).config
    assert (config.sample_rate, config.channels, config.window, config.hop) == (RATE, 1, WINDOW, 1000)
    assert config.labels == ("dog", "rain", "clock")
    assert config.provenance == {"run": "runs/rec"}
    assert {"ossicle", "torch", "onnx", "onnxruntime", "opset"} <= set(config.versions)
    assert {item.name for item in shipped[1].iterdir()} == {*config.files, CONFIG, CARD, EXAMPLE}


def test_a_clip_scores_the_mean_of_its_windows_as_in_evaluation(shipped):
    classifier, folder, _ = shipped
    clip = np.random.default_rng(3).normal(0, 0.1, (1, 3 * WINDOW)).astype(np.float32)
    wanted = eager(classifier, clip.reshape(3, 1, WINDOW)).mean(0)
    np.testing.assert_allclose(load(folder)(clip), wanted, atol=1e-5)


def test_the_graph_stands_alone(shipped):
    content = (shipped[1] / MODEL).read_bytes()
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["wave", "score", "feature"]
    batch, channels, time = model.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param
    assert channels.dim_value == 1
    assert time.dim_param
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert b".py" not in content, "the graph tells where it was made"
    kernel = 2 * (512 // 2 + 1) * 512
    encoder = {name for name, _ in shipped[0].named_parameters()}
    made_inside = [t for t in model.graph.initializer if not any(name in t.name for name in encoder)]
    assert all(np.prod(tensor.dims, dtype=int) < kernel / 5 for tensor in made_inside)


def test_golden_clips_hold_every_stage(shipped):
    classifier, folder, _ = shipped
    golden = np.load(folder / GOLDEN)
    assert golden["name"].tolist() == ["noise", "tone", "garden.wav"]
    with torch.inference_mode():
        image = classifier.backbone.frontend(torch.from_numpy(golden["wave"]))
        feature = classifier.backbone.encode(image)
    np.testing.assert_array_equal(golden["image"], image.numpy())
    np.testing.assert_allclose(golden["feature"], feature.numpy(), atol=1e-5)
    np.testing.assert_allclose(golden["score"], eager(classifier, golden["wave"]), atol=1e-6)
    verdict = verify(folder)
    assert verdict.ok
    assert verdict.difference < 1e-5
    assert [row.output for row in verdict.rows] == 6 * ["feature", "score"]
    assert [row.file for row in verdict.rows] == 6 * [MODEL] + 6 * [INT8]


def test_a_model_of_8_bit_stands_beside_it_and_answers_nearly_so(shipped):
    classifier, folder, _ = shipped
    small, wave = load(folder, int8=True), np.random.default_rng(9).normal(0, 0.1, (4, 1, WINDOW)).astype(np.float32)
    assert (small.model, load(folder).model) == (INT8, MODEL)
    told = small.config.int8
    assert (told["measure"], told["clips"], told["part"]) == ("accuracy", 8, "validation")
    assert told["score"] >= told["float_score"] - 0.01 == 0.99
    apart = np.abs(small.scores(wave)[0] - eager(classifier, wave))
    assert 0 < apart.max() < 0.1
    assert "accuracy 100.0 % on 8 validation clips, in float 100.0 %" in by_int8(small.config)
    kinds = [node.op_type for node in onnx.load(folder / INT8).graph.node]
    assert "BatchNormalization" not in kinds


def test_the_other_front_end_and_encoder_with_several_labels(tmp_path, capfd):
    classifier = make("bands", "small", multilabel=True)
    classifier.backbone.precision = "bf16"
    classifier.train()
    report = export(classifier, tmp_path / "bundle")
    assert report.ok
    assert "".join(capfd.readouterr()) == ""
    assert classifier.training
    assert classifier.backbone.precision == "bf16"
    recognizer = load(tmp_path / "bundle")
    assert recognizer.config.multilabel
    assert recognizer.config.hop == WINDOW // 2


def test_a_resized_image_of_a_whole_clip_is_heard_alike_everywhere(tmp_path):
    """Clips that are silent at an end, shorter than a window or without any sound, by file, stream and model."""
    classifier = make("clipmel-bilinear")
    clip = np.zeros((1, WINDOW), np.float32)
    clip[:, 900:1700] = np.random.default_rng(0).normal(0, 0.2, 800)
    clips = {"silent ends": clip, "short": clip[:, 1000:1300], "one sample": np.float32([[0.5]])}
    folder = tmp_path / "bundle"
    assert export(classifier, folder, clips=clips).ok
    recognizer = load(folder)
    assert recognizer.config.policy == "zero"
    whole = recognizer(clip)
    np.testing.assert_allclose(recognizer(clip[:, 900:1700]), whole, atol=1e-5)
    np.testing.assert_allclose(eager(classifier, clip[None])[0], whole, atol=TOLERANCE)
    assert np.isfinite(recognizer(np.zeros((1, 100), np.float32))).all()


@pytest.mark.slow
@pytest.mark.parametrize(("frontend", "encoder"), list(product(FRONTENDS, ENCODERS)))
def test_every_front_end_and_encoder_exports(tmp_path, frontend, encoder):
    classifier = make(frontend, encoder)
    assert export(classifier, tmp_path / "bundle").ok
    wave = np.random.default_rng(0).normal(0, 0.1, (2, 1, 3 * WINDOW // 2)).astype(np.float32)
    np.testing.assert_allclose(load(tmp_path / "bundle").scores(wave)[0], eager(classifier, wave), atol=TOLERANCE)


def frozen_export(monkeypatch, folder):
    """Let `export` write a file that was exported before, whatever the classifier."""
    content = (folder / MODEL).read_bytes()
    monkeypatch.setattr(exporting, "to_onnx", lambda _, path, **__: path.write_bytes(content))


def test_a_file_that_answers_otherwise_is_never_put_in_place(shipped, tmp_path, monkeypatch):
    frozen_export(monkeypatch, shipped[1])
    other = make()
    with torch.no_grad():
        other.head.bias[0] += 0.5
    with pytest.raises(ExportError, match=r"NOT equal.*First difference: clip '.*' at 0 s by onnx .* in its score"):
        export(other, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_the_first_stage_that_differs_is_named(shipped, monkeypatch):
    classifier, folder, _ = shipped
    other = make()
    with torch.no_grad():
        other.backbone.encoder.conv1.weight *= 1.5
    assert "in its feature" in check(other, folder).first
    honest = checking.Deployed

    class Louder(torch.nn.Sequential):
        def forward(self, wave):
            return super().forward(wave) + 1

    def louder(model):
        deployed = honest(model)
        frontend = deployed.frontend
        deployed.frontend = Louder(frontend)
        return deployed

    monkeypatch.setattr(checking, "Deployed", louder)
    assert "in its image" in check(other, folder).first
    assert check(classifier, folder).first == ""


def test_a_stream_that_hears_otherwise_is_noticed(shipped, monkeypatch):
    classifier, folder, _ = shipped
    recognizer = load(folder)
    honest = recognizer.stream

    def deaf(*args, **kwargs):
        stream = honest(*args, **kwargs)
        stream._recognize = lambda wave: recognizer.scores(np.roll(wave * 0.5, 7, axis=-1))
        return stream

    monkeypatch.setattr(recognizer, "stream", deaf)
    report = check(classifier, recognizer)
    assert not report.ok
    assert "by stream" in report.first
    assert "in its stream" in report.first


def test_another_number_of_labels_is_a_sentence(shipped):
    classifier = Classifier(make().backbone, ["dog", "rain"]).eval()
    with pytest.raises(CheckError, match=r"scores \(1, 3\) for clip 'silence', and the model \(1, 2\)"):
        check(classifier, shipped[1])


def test_a_classifier_that_answers_nan_is_not_shipped(tmp_path, shipped, monkeypatch):
    frozen_export(monkeypatch, shipped[1])
    classifier = make()
    with torch.no_grad():
        classifier.head.weight[0, 0] = torch.nan
    with pytest.raises(CheckError, match="not finite"):
        export(classifier, tmp_path / "bundle")


@pytest.mark.slow
def test_the_same_classifier_gives_the_same_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        to_onnx(make(), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
