"""Encoders: published sizes and names, and what pooling promises."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from ossicle.encoders import ENCODERS, ResNet, SmallCNN
from ossicle.encoders.resnet import BasicBlock, Bottleneck
from ossicle.encoders.small import AttentivePool

PUBLISHED = {18: 11_176_512, 34: 21_284_672, 50: 23_508_032}
"""Parameters of torchvision's ResNets without `fc`."""


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def published_names(depth: int) -> Iterator[str]:
    """torchvision's state_dict keys without `fc`, from its naming rule."""
    convolutions = {18: 2, 34: 2, 50: 3}[depth]
    pairs = [("conv1", "bn1")]
    for layer, blocks in enumerate({18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth], 1):
        for block in range(blocks):
            stem = f"layer{layer}.{block}"
            pairs += [(f"{stem}.conv{i}", f"{stem}.bn{i}") for i in range(1, convolutions + 1)]
            if block == 0 and (layer > 1 or depth == 50):
                pairs.append((f"{stem}.downsample.0", f"{stem}.downsample.1"))
    for convolution, norm in pairs:
        yield f"{convolution}.weight"
        yield from (
            f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        )


@pytest.mark.parametrize("depth", PUBLISHED)
def test_resnets_have_the_published_sizes_and_names(depth: int) -> None:
    network = ResNet(maps=3, depth=depth)
    assert count(network) == PUBLISHED[depth]
    assert set(network.state_dict()) == set(published_names(depth))
    assert len(network.state_dict()) == {18: 120, 34: 216, 50: 318}[depth]
    assert network.dim == (2048 if depth == 50 else 512)


def test_resnets_shrink_images_as_published() -> None:
    network = ResNet(maps=3, depth=50, width=8).eval()
    shapes = []
    for layer in network.blocks()[1:]:
        layer.register_forward_hook(lambda _, __, image: shapes.append(tuple(image.shape[1:])))
    network(torch.zeros(1, 3, 224, 224))
    assert shapes == [(32, 56, 56), (64, 28, 28), (128, 14, 14), (256, 7, 7)]
    assert network.get_parameter("layer2.0.conv2.weight").shape == (16, 16, 3, 3)
    assert network.get_submodule("layer2.0.conv2").stride == (2, 2)


def test_resnets_start_with_he_fan_out() -> None:
    network = ResNet(maps=1, depth=18)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            fan_out = module.out_channels * math.prod(module.kernel_size)
            assert float(module.weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_out), rel=0.02)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_whose_branch_is_silent_passes_its_input(block: type[nn.Module]) -> None:
    module = block(32, 32 // (4 if block is Bottleneck else 1)).eval()
    last = module.bn3 if block is Bottleneck else module.bn2
    nn.init.zeros_(last.weight)
    image = torch.rand(2, 32, 5, 6)
    assert torch.equal(module(image), image)


def test_more_maps_only_change_the_first_convolution() -> None:
    one, five = ResNet(maps=1, width=8).state_dict(), ResNet(maps=5, width=8).state_dict()
    assert [name for name in one if one[name].shape != five[name].shape] == ["conv1.weight"]


@pytest.mark.parametrize("reading", ["1d", "2d"])
def test_the_small_cnn_has_the_published_sizes(reading: str) -> None:
    network = SmallCNN(bins=64, reading=reading)
    norms = sum(count(module) for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d))
    assert norms == 1_920
    assert count(network.pool) == 528_384
    assert network.dim == 2048
    if reading == "1d":
        assert count(network.layers) - norms == 529_344


@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16, 17, 100])
@pytest.mark.parametrize("reading", ["1d", "2d"])
def test_the_small_cnn_takes_short_images(reading: str, frames: int) -> None:
    network = SmallCNN(bins=20, maps=2, reading=reading, width=4, attention=8).eval()
    image = torch.randn(2, 2, 20, frames)
    assert network(image).shape == (2, network.dim)
    weights = network.attention(image)
    assert weights.shape == (2, 4, math.ceil(frames / 16))
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4))
    assert (weights > 0).all()


def test_pooling_is_the_papers_sum() -> None:
    pool = AttentivePool(6, heads=3, hidden=5)
    steps = torch.randn(2, 6, 7)
    feature = pool(steps)
    for clip in range(2):
        for head in range(3):
            scores = []
            for time in range(7):
                hidden = (pool.hidden.weight @ steps[clip, :, time]).clamp(min=0)
                scores.append(pool.score.weight[head] @ hidden)
            share = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
            mean = sum(share[time] * steps[clip, :, time] for time in range(7))
            assert torch.allclose(feature[clip, 6 * head : 6 * head + 6], mean, atol=1e-6)


def test_pooling_knows_no_order_and_keeps_what_does_not_change() -> None:
    pool = AttentivePool(6, heads=3, hidden=5)
    steps = torch.randn(2, 6, 7)
    assert torch.allclose(pool(steps[..., torch.randperm(7)]), pool(steps), atol=1e-6)
    assert torch.allclose(pool(steps[..., :1].expand(2, 6, 9)), steps[..., 0].repeat(1, 3), atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_blocks_hold_every_parameter_once(name: str) -> None:
    network = ENCODERS[name](**({"bins": 16} if name == "small" else {}), width=4)
    in_blocks = [id(parameter) for block in network.blocks() for parameter in block.parameters()]
    assert len(in_blocks) == len(set(in_blocks))
    assert set(in_blocks) == {id(parameter) for parameter in network.parameters()}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ResNet(depth=101), "a ResNet of depth 101; known: 18, 34, 50"),
        (lambda: ResNet(width=0), "wanted at least 1 of each"),
        (lambda: SmallCNN(bins=64, reading="3d"), "known: 1d, 2d"),
        (lambda: SmallCNN(bins=0), "at least 1"),
    ],
)
def test_bad_arguments_are_answered_in_sentences(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
