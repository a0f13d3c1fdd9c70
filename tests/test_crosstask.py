"""Scenes by way of events: the networks' sizes and equations against references, and what each of them hears."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ossicle.deploy.bundle import load
from ossicle.deploy.check import TOLERANCE
from ossicle.deploy.export import export
from ossicle.encoders import CMAM, JRM, VFM, SmallCNN
from ossicle.encoders.crosstask import DEEP, Attention, positions
from ossicle.encoders.small import Convolutions
from ossicle.model import Backbone, Classifier
from ossicle.recipe import RecipeError, Spec

EVENTS = {"name": "vggish", "width": 1 / 32, "frames": 16}
NARROW = {"bins": 16, "events": EVENTS, "width": 4, "attention": 8}
SMALL = {VFM: NARROW, JRM: NARROW, CMAM: NARROW | {"pairs": 2, "queries": 16, "parts": 4}}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolutions(*channels: int) -> int:
    return sum(3 * a * b + b for a, b in pairwise(channels))


def build(kind: type[nn.Module], **changes: object) -> nn.Module:
    torch.manual_seed(0)
    return kind(**SMALL[kind] | changes).eval()


def test_sizes_are_those_of_the_documents_layers() -> None:
    """The base model's and the seven layers' sums are given with it; the rest is counted from the text's numbers."""
    base, pool = convolutions(64, 64, 128, 256, 512), 512 * 1024 + 1024 * 4
    assert (base, pool) == (529_344, 528_384)
    with torch.device("meta"):
        networks = {kind: kind(bins=64, events=EVENTS) for kind in (VFM, JRM, CMAM)}
    sizes = {kind: count(network) - count(network.events) for kind, network in networks.items()}
    assert sizes[VFM] == base + 1_920 + pool + 3 * 64 * 64
    deep = [64, 128, 256, 512, 1024, 1024, 2048]
    assert [64 * each for each in DEEP] == deep
    towers = convolutions(64, *deep) + convolutions(128, *deep)
    assert sizes[JRM] == towers + 2 * 2 * sum(deep) + 2 * (2048 * 1024 + 1024 * 4)
    heads = 6 * 4 * 128 * 2048 + 6 * (2 * 128 + 2 * 512) * 2048
    assert sizes[CMAM] == heads + 12 * 2 * 128 + base + 1_920 + 128 * 1024 + 1024 * 4
    assert [network.dim for network in networks.values()] == [2048, 16_384, 512]
    told = (VFM.__init__.__globals__["__doc__"] or "").replace(",", "")
    assert all(str(size) in told for size in sizes.values())


def test_attention_is_torchs() -> None:
    """Equations 1 to 6 by torch's own modules, whose state is as wide as its queries."""
    attention = Attention(24, 10, queries=24, parts=4, dropout=0.0).eval()
    theirs = nn.MultiheadAttention(24, 4, bias=False, kdim=10, vdim=10, batch_first=True).eval()
    with torch.no_grad():
        for mine, its in zip(
            (attention.query, attention.key, attention.value, attention.out),
            (theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight, theirs.out_proj.weight),
            strict=True,
        ):
            its.copy_(mine.weight)
    state, source = torch.randn(3, 5, 24), torch.randn(3, 7, 10)
    heard, weights = theirs(state, source, source, average_attn_weights=False)
    assert torch.allclose(attention(state, source), F.layer_norm(heard + state, (24,)), atol=1e-5)
    assert torch.allclose(attention.weights(state, source), weights, atol=1e-6)


def test_positions_are_the_transformers() -> None:
    found = positions(11, 7)
    for place in range(11):
        for number in range(7):
            angle = place / 10_000 ** (number // 2 * 2 / 7)
            wanted = math.cos(angle) if number % 2 else math.sin(angle)
            assert found[place, number] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("kind", SMALL)
def test_attention_is_returned_and_sums_to_one(kind: type[nn.Module]) -> None:
    network, image = build(kind), torch.randn(2, 1, 16, 70)  # four examples; five steps of 16 frames, one of 128
    shapes = {
        VFM: {"pool": (2, 4, 1)},
        JRM: {"image": (2, 4, 1), "heard": (2, 4, 1)},
        CMAM: {"itself": (2, 2, 4, 4, 4), "across": (2, 2, 4, 4, 5), "pool": (2, 4, 4)},
    }
    weights = network.attention(image)
    assert {name: tuple(each.shape) for name, each in weights.items()} == shapes[kind]
    assert all(torch.allclose(each.sum(-1), torch.ones(()), atol=1e-5) for each in weights.values())
    if kind is CMAM:  # what is returned is what the feature is made of
        state, _ = network._begin(image)
        for itself, across in zip(network.itself, network.across, strict=True):
            state = across(itself(state, state), network.scenes(image).mT)
        assert torch.allclose((weights["pool"] @ state).flatten(1), network(image), atol=1e-6)


def test_which_network_hears_the_image_beside_its_events() -> None:
    """The frames behind the last whole example reach all but VFM; the order of events reaches CMAM at least."""
    image = torch.randn(2, 1, 16, 70)
    end, turned = image.clone(), image.clone()
    end[..., 64:] += 1
    turned[..., :32] = image[..., :32].unflatten(-1, (2, 16)).flip(-2).flatten(-2)
    for kind, reached in ((VFM, False), (JRM, True), (CMAM, True)):
        network = build(kind)
        assert torch.allclose(network(image), network(end), atol=1e-6) != reached
    network = build(CMAM)
    network.scenes = ConstantSteps()
    assert not torch.allclose(network(image), network(turned), atol=1e-4)


class ConstantSteps(nn.Module):
    """Convolutions that hear nothing."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.ones(image.shape[0], 32, 5)


@pytest.mark.parametrize("kind", SMALL)
def test_blocks_hold_every_parameter_once_and_the_event_model_first(kind: type[nn.Module]) -> None:
    network = build(kind)
    held = [id(parameter) for block in network.blocks() for parameter in block.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in network.parameters()}
    assert network.blocks()[0] is network.events


def test_a_cmam_may_pass_on_more_and_drops_only_in_training() -> None:
    network, image = build(CMAM, state=24, dropout=0.5), torch.randn(2, 1, 16, 70)
    assert network.dim == 4 * 24
    assert torch.equal(network(image), network(image))
    network.train()
    assert not torch.equal(network(image), network(image))


def test_growth_names_the_layers_of_a_small_cnn() -> None:
    network = SmallCNN(bins=64, width=8, growth=(1, 2, 2), attention=16)
    norms = 2 * (8 + 16 + 16)
    assert count(network.layers) == convolutions(64, 8, 16, 16) + norms
    assert network(torch.randn(2, 1, 64, 17)).shape == (2, network.dim) == (2, 64)
    assert network.attention(torch.randn(2, 1, 64, 17)).shape[-1] == 3


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Convolutions(bins=8, growth=()), "growth names a layer or more"),
        (lambda: Convolutions(bins=8, growth=(1, 0)), "at least 1"),
        (lambda: SmallCNN(bins=8, heads=0), "wanted at least 1 of each"),
        (lambda: build(CMAM, pairs=0), "wanted at least 1 of each"),
        (lambda: build(CMAM, state=0), "wanted at least 1 of each"),
        (lambda: build(CMAM, queries=18, parts=4), r"queries = 18 cannot be split into 4 heads"),
    ],
)
def test_bad_arguments_are_answered_in_sentences(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ("resnet", r"unknown component 'resnet'; known: vggish"),
        ({"name": "vggish", "widht": 2}, r"no argument 'widht'.*Did you mean 'width'"),
        (3, "events is 3; wanted: a name"),
    ],
)
def test_an_event_model_that_is_none_is_refused_in_a_sentence(events: object, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        VFM(bins=64, events=events)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vfm", "jrm", "cmam"])
def test_every_network_exports(tmp_path, name: str) -> None:
    torch.manual_seed(0)
    args = {key: value for key, value in SMALL[{"vfm": VFM, "jrm": JRM, "cmam": CMAM}[name]].items() if key != "bins"}
    heard = Spec("logmel", {"sample_rate": 8000, "seconds": 0.5, "n_fft": 256, "hop": 64, "mels": 16})
    classifier = Classifier(Backbone(heard, Spec(name, args)), ["a", "b", "c"]).eval()
    assert export(classifier, tmp_path / "bundle").ok
    wave = np.random.default_rng(0).normal(0, 0.1, (2, 1, 4000)).astype(np.float32)
    with torch.inference_mode():
        wanted = classifier.probability(classifier(torch.from_numpy(wave))).numpy()
    np.testing.assert_allclose(load(tmp_path / "bundle").scores(wave)[0], wanted, atol=TOLERANCE)
