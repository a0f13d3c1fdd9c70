"""size(): counts by hand for small nets, published counts for ResNets, and the same counts from an ONNX graph."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ossicle.deploy.onnx import to_onnx
from ossicle.encoders import ENCODERS
from ossicle.model import Backbone, Classifier
from ossicle.recipe import Spec
from ossicle.size import Size, size
from ossicle.spec import parse


class Tiny(nn.Module):
    """(B, 2, 8, 10) -> (B, 5): a grouped, a strided and a transposed convolution, a layer used twice, a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(2, 6, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.strided = nn.Conv2d(6, 4, (3, 1), stride=2, bias=False)
        self.back = nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.twice = nn.Conv2d(3, 3, 1, bias=False)
        self.out = nn.Linear(3 * 6 * 10, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = self.strided(self.norm(self.grouped(image)).relu())
        return self.out(self.twice(self.twice(self.back(image))).flatten(1))


BY_HAND = {
    # name: (parameters, multiply-adds = outputs x products a output)
    "grouped": (6 * 1 * 9 + 6, (6 * 8 * 10) * 9),
    "norm": (12, 0),
    "strided": (4 * 6 * 3, (4 * 3 * 5) * 6 * 3),
    "back": (4 * 3 * 4 + 3, (4 * 3 * 5) * 3 * 4),
    "twice": (9, 2 * (3 * 6 * 10) * 3),
    "out": (180 * 5 + 5, 180 * 5),
}


@pytest.fixture(scope="module")
def tiny() -> Size:
    return size(Tiny(), torch.randn(1, 2, 8, 10), repeats=1)


def test_layers_of_a_tiny_net_are_counted_as_by_hand(tiny: Size) -> None:
    assert {row.name: (row.parameters, row.multiply_adds) for row in tiny.rows} == BY_HAND
    assert [row.name for row in tiny.rows] == list(BY_HAND)


def test_totals_are_the_sums_of_the_layers(tiny: Size) -> None:
    assert tiny.parameters == sum(parameters for parameters, _ in BY_HAND.values())
    assert tiny.multiply_adds == sum(work for _, work in BY_HAND.values())


def test_shapes_times_and_latency_are_told(tiny: Size) -> None:
    assert tiny.rows[2].output == (1, 4, 3, 5)
    assert all(row.seconds is not None and 0 < row.seconds < 1 for row in tiny.rows)
    assert 0 < tiny.latency.median <= tiny.latency.slow
    assert tiny.latency.times_real_time is None


@pytest.mark.parametrize(
    ("depth", "parameters", "multiply_adds"),
    # torchvision's models without fc (513,000 and 2,049,000 parameters of 11,689,512, 21,797,672 and 25,557,032);
    # 1.81, 3.66 and 4.09 G multiply-adds with fc in its tables. 1,813,561,344 is the sum over ResNet-18's
    # twenty convolutions.
    [(18, 11_176_512, 1_813_561_344), (34, 21_284_672, 3_663_249_408), (50, 23_508_032, 4_087_136_256)],
)
def test_resnets_have_their_published_sizes(depth: int, parameters: int, multiply_adds: int) -> None:
    with torch.device("meta"):
        net = ENCODERS["resnet"](maps=3, depth=depth)
    counted = size(net, torch.empty(1, 3, 224, 224, device="meta"), repeats=1)
    assert (counted.parameters, counted.multiply_adds) == (parameters, multiply_adds)


def test_memory_is_the_most_that_lives_at_once_and_what_a_gradient_needs() -> None:
    net = nn.Sequential(*(nn.Conv1d(4, 4, 1, bias=False) for _ in range(5)))
    one = 4 * 100 * 4
    counted = size(net, torch.randn(1, 4, 100), repeats=1)
    assert counted.peak_bytes == 3 * one  # the samples, which live throughout, and a layer's input and output
    assert counted.kept_bytes == 5 * one  # each layer's input


def test_a_model_is_left_as_it_was() -> None:
    net, threads = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()).train(), torch.get_num_threads()
    net[1].eval()
    size(net, torch.randn(1, 3, 5), repeats=1)
    assert (net.training, net[0].training, net[1].training) == (True, True, False)
    assert int(net[0].num_batches_tracked) == 0
    assert torch.get_num_threads() == threads
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def attentive(steps: int, channels: int, heads: int, hidden: int) -> int:
    """Multiply-adds of attentive pooling: two linear layers, and a weighted sum over time for each head."""
    return steps * channels * hidden + steps * hidden * heads + heads * steps * channels


def convolved(bins: int, frames: int, kernel: int, channels: list[int]) -> tuple[int, int]:
    """Multiply-adds of convolutions that keep the size, with halvings between them, and the frames that are left."""
    work = 0
    for inputs, outputs in pairwise(channels):
        work += bins * frames * kernel * inputs * outputs
        bins, frames = -(-bins // 2), -(-frames // 2)
    return work, frames


def test_the_small_cnn_is_counted_with_its_heads() -> None:
    small: dict[str, Any] = {"bins": 16, "width": 4, "attention": 6, "heads": 3}
    for reading, bins, kernel, first in (("1d", 1, 3, 16), ("2d", 16, 9, 1)):
        convolutions, steps = convolved(bins, 37, kernel, [first, 4, 8, 16, 32])
        net = ENCODERS["small"](reading=reading, **small)
        counted = size(net, torch.randn(1, 1, 16, 37), repeats=1)
        assert counted.multiply_adds == convolutions + attentive(steps, 32, 3, 6)
        pool = next(row for row in counted.rows if row.name == "pool")
        assert (pool.parameters, pool.multiply_adds) == (0, 3 * steps * 32)
        # each normalization stands behind a convolution that has a bias, so nothing of it is left
        assert counted.weights == counted.parameters - 2 * (4 + 8 + 16 + 32)


def test_attention_to_one_another_is_counted() -> None:
    """CMAM: Q, K, V and what is made of them, and both products between; n embeddings, m steps of the CNN."""
    events = {"name": "vggish", "width": 1 / 16}
    net = ENCODERS["cmam"](bins=64, events=events, width=4, pairs=2, queries=24, parts=3, attention=8, heads=2)
    n, queries, state = 2, 24, 128
    convolutions, m = convolved(1, 2 * 96, 3, [64, 4, 8, 16, 32])
    itself = 4 * n * state * queries + 2 * n * n * queries
    across = 2 * n * state * queries + 2 * m * 32 * queries + 2 * n * m * queries
    vggish = 9 * 96 * 64 * (1 * 4 + 4 * 8 / 4 + (8 * 16 + 16 * 16) / 16 + (16 * 32 + 32 * 32) / 64)
    vggish += 6 * 4 * 32 * 256 + 256 * 256 + 256 * 128
    wanted = n * vggish + convolutions + 2 * (itself + across) + attentive(n, state, 2, 8)
    assert size(net, torch.randn(1, 1, 64, 2 * 96), repeats=1).multiply_adds == wanted


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrences_are_counted(kind: type[nn.RNNBase], gates: int) -> None:
    """Of each step, every weight once; the second layer hears both ways of the first."""
    net = kind(5, 7, num_layers=2, bidirectional=True, batch_first=True)
    counted = size(net, torch.randn(1, 11, 5), repeats=1)
    assert counted.multiply_adds == 11 * 2 * gates * 7 * ((5 + 7) + (14 + 7))


class Norms(nn.Module):
    """(B, 3, T) -> (B, 4, T): normalization behind a convolution without bias, behind one with, and behind neither."""

    def __init__(self) -> None:
        super().__init__()
        self.bare, self.first = nn.Conv1d(3, 5, 1, bias=False), nn.BatchNorm1d(5)
        self.biased, self.second = nn.Conv1d(5, 4, 1), nn.BatchNorm1d(4)
        self.third = nn.BatchNorm1d(4, affine=False)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.biased(self.first(self.bare(wave)))).relu())


def test_weights_are_those_that_are_left_when_normalization_is_folded() -> None:
    counted = size(Norms(), torch.randn(1, 3, 6), repeats=1)
    assert counted.weights == (15 + 5) + (20 + 4) + 2 * 4
    assert counted.parameters == 15 + 10 + (20 + 4) + 8


@pytest.fixture(scope="module")
def recognizer() -> Classifier:
    frontend = Spec("logmel", {"sample_rate": 8000, "seconds": 0.5, "n_fft": 256, "hop": 128, "mels": 16})
    encoder = Spec("small", {"width": 8, "attention": 16})
    return Classifier(Backbone(frontend, encoder), ["a", "b", "c"]).eval()


def test_a_classifier_hears_its_window_and_its_rows_hold_all_parameters(recognizer: Classifier) -> None:
    counted = size(recognizer, repeats=2)
    assert counted.latency.heard == 0.5
    assert counted.latency.times_real_time == pytest.approx(0.5 / counted.latency.median)
    assert counted.rows[0].kind == "LogMel"
    assert sum(row.parameters for row in counted.rows) == counted.parameters
    assert counted.parameters == sum(parameter.numel() for parameter in recognizer.parameters())


def test_the_front_end_is_counted_apart(recognizer: Classifier) -> None:
    """Its Fourier transform as the matrix that is exported: 129 bins by 256 samples, cosines and sines."""
    counted = size(recognizer, repeats=1)
    frames = 1 + 4000 // 128
    assert counted.frontend_multiply_adds == frames * (256 * 2 * 129 + 129 * 16)
    assert [row.name for row in counted.rows if row.frontend] == ["backbone.frontend"]
    network = torch.nn.Sequential(recognizer.backbone.encoder, recognizer.head)
    with FlopCounterMode(display=False) as flops:
        network(torch.zeros(1, 1, 16, frames))
    assert counted.multiply_adds == flops.get_total_flops() / 2
    assert counted.network_peak_bytes is not None
    assert counted.peak_bytes is not None
    assert 4 * 16 * frames < counted.network_peak_bytes <= counted.peak_bytes


@pytest.mark.parametrize(
    "encoder",
    [
        {"name": "small", "width": 4, "attention": 8},
        pytest.param({"name": "crnn", "width": 4}, marks=pytest.mark.slow),
        pytest.param(
            {"name": "cmam", "events": {"name": "vggish", "width": 1 / 16}, "width": 4, "queries": 8, "parts": 2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda encoder: encoder["name"],
)
def test_a_model_and_its_graph_are_counted_alike(encoder: dict[str, Any], tmp_path: Path) -> None:
    """One count is by torch's kernels and modules, the other by the operators, shapes and numbers of the ONNX file."""
    backbone = Backbone(Spec("vggish", {"seconds": 1.0}), parse(Spec, encoder, "encoder"))
    model = Classifier(backbone, ["a", "b"]).eval()
    to_onnx(model, tmp_path / "model.onnx")
    (tmp_path / "config.json").write_text(json.dumps({"channels": 1, "window": 16000, "sample_rate": 16000}))
    module, graph = size(model, repeats=1), size(tmp_path, repeats=1)
    for name in ("multiply_adds", "frontend_multiply_adds", "weights", "fits"):
        assert getattr(module, name) == getattr(graph, name), name


def test_a_saved_model_tells_its_files(recognizer: Classifier, tmp_path: Path) -> None:
    recognizer.save(tmp_path / "model")
    counted = size(tmp_path / "model", repeats=1)
    assert counted.files == {file.name: file.stat().st_size for file in (tmp_path / "model").iterdir()}
    assert counted.multiply_adds == size(recognizer, repeats=1).multiply_adds


def test_a_stranger_needs_an_example() -> None:
    with pytest.raises(ValueError, match="give an example"):
        size(nn.Linear(2, 2))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A bundle whose model is a convolution, a gemm and a matrix product, with made-up numbers."""
    from onnx import TensorProto, helper, numpy_helper

    def tensor(name: str, *shape: int) -> object:
        return numpy_helper.from_array(np.ones(shape, np.float32), name)

    nodes = [
        helper.make_node("Conv", ["wave", "kernel", "bias"], ["steps"], name="conv", strides=[4]),
        helper.make_node("Reshape", ["steps", "shape"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "weight"], ["hidden"], name="gemm", transB=1),
        helper.make_node("MatMul", ["hidden", "last"], ["score"], name="matmul"),
    ]
    held = [tensor("kernel", 6, 1, 8), tensor("bias", 6), tensor("weight", 5, 6 * 24), tensor("last", 5, 3)]
    held.append(numpy_helper.from_array(np.array([-1, 6 * 24]), "shape"))
    wave = helper.make_tensor_value_info("wave", TensorProto.FLOAT, ["B", 1, "T"])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B", 3])
    made = helper.make_graph(nodes, "tiny", [wave], [score], held)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "config.json").write_text(json.dumps({"channels": 1, "window": 100, "sample_rate": 200}))
    return tmp_path


def test_a_bundle_is_counted_from_its_graph(graph: Path) -> None:
    counted = size(graph, repeats=1)
    assert {row.name: (row.parameters, row.multiply_adds) for row in counted.rows} == {
        "conv": (54, 6 * 24 * 8),
        "gemm": (720, 720),
        "matmul": (15, 15),
    }
    assert (counted.parameters, counted.latency.heard) == (789, 0.5)
    assert counted.files["model.onnx"] == (graph / "model.onnx").stat().st_size


def test_a_bundle_is_sized_without_torch(graph: Path) -> None:
    code = f"import sys, ossicle.size as s; s.size({str(graph)!r}, repeats=1); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
