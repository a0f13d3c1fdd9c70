"""Resized images: torch's own operators, in both forms, and what an operator must not change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ossicle.frontends import FRONTENDS, Resized
from ossicle.frontends.resized import shares
from ossicle.recipe import Spec, from_dict

LOGMEL = {"name": "logmel", "sample_rate": 8000, "seconds": 0.5, "n_fft": 256, "hop": 64, "mels": 32}
HOW = ("bilinear", "bicubic", "nearest", "area")
SIZES = [(16, 20), (24, 31), (32, 63), (50, 100)]  # of 32 x 63


def resized(size: tuple[int, int], how: str) -> Resized:
    made: Resized = Spec("resized", {"of": LOGMEL, "size": list(size), "how": how}).build(FRONTENDS)
    return made


def wave(length: int = 4000) -> Tensor:
    return torch.randn(3, 2, length, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("form", ["training", "exportable"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", HOW)
def test_an_image_is_resized_as_torch_does(how: str, size: tuple[int, int], form: str) -> None:
    frontend, whole = resized(size, how), Spec("logmel", {k: v for k, v in LOGMEL.items() if k != "name"})
    module = frontend if form == "training" else frontend.exportable()
    for length in (4000, 6000):
        image = whole.build(FRONTENDS)(wave(length))
        wanted = torch.stack([F.interpolate(one, size, mode=how) for one in image.unbind(1)], 1)
        assert torch.allclose(module(wave(length)), wanted, atol=1e-3 if form == "exportable" else 1e-6)


@pytest.mark.parametrize("how", HOW)
def test_the_full_size_is_the_image_itself(how: str) -> None:
    frontend = resized((32, 63), how)
    assert torch.allclose(frontend(wave()), frontend.of(wave()), atol=1e-6)


def test_areas_are_weighed_as_adaptive_pooling_does() -> None:
    for given, made in ((7, 3), (12, 4), (5, 8), (9, 9), (1, 4), (128, 96)):
        line = torch.randn(2, 1, given)
        assert torch.allclose(line @ shares(given, made).mT, F.adaptive_avg_pool1d(line, made), atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_one_shade_stays_one_shade(how: str) -> None:
    image = torch.full((2, 1, 3, 20, 30), 0.7)
    assert torch.allclose(resized((7, 41), how).resized(image), torch.full((2, 1, 3, 7, 41), 0.7))


def test_it_passes_for_the_front_end_that_it_resizes() -> None:
    bands = {"name": "bands", "sample_rate": 8000, "seconds": 0.5, "n_fft": 256, "win": 200, "hop": 100}
    small = Resized(of=bands, size=(20, 10))
    assert (small.maps, small.bins, small.sample_rate, small.seconds) == (3, 20, 8000, 0.5)
    assert small.efold == small.of.efold
    assert small(wave()).shape == (3, 2, 3, 20, 10)
    assert small.state_dict() == small.exportable().state_dict() == {}


def test_a_recipe_reaches_into_it() -> None:
    frontend = {"name": "resized", "of": LOGMEL, "size": [16, 20]}
    recipe = from_dict(
        {"data": "x", "frontend": frontend, "encoder": "resnet", "objective": "npid", "stages": [{"epochs": 1}]}
    )
    larger = recipe.override({"frontend.of.mels": 40, "frontend.size": [20, 30], "frontend.how": "area"})
    made = larger.frontend.build(FRONTENDS)
    assert (made.of.bins, made.size, made.how) == (40, (20, 30), "area")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"how": "lanczos"}, "how = 'lanczos'; known: bilinear, bicubic, nearest, area"),
        ({"size": [64]}, r"wanted \[bins, frames\]"),
        ({"size": [64, 0]}, r"wanted \[bins, frames\]"),
        ({"size": 64}, r"wanted \[bins, frames\]"),
        ({"of": "logmel"}, "wanted a front end to resize"),
        ({"of": {"mels": 64}}, "wanted a front end to resize"),
        ({"of": {"name": "logmell"}}, "Did you mean 'logmel'"),
        ({"of": {"name": "logmel", "mel": 64}}, "Did you mean 'mels'"),
    ],
)
def test_bad_arguments_are_answered_in_sentences(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Spec("resized", {"of": LOGMEL, "size": [16, 20]} | changes).build(FRONTENDS)
