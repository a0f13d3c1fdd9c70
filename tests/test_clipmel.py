"""Whole clips, prepared: against the paper's steps taken one after the other on each clip alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ossicle import audio
from ossicle.frontends import ClipMel, LogMel
from ossicle.model import Backbone
from ossicle.recipe import RecipeError, Spec
from ossicle.views import VIEWS

RATE, LENGTH = 22000, 22000
FORMS = ("training", "exportable")


def heard(frontend: ClipMel, form: str, wave: Tensor) -> Tensor:
    return frontend(wave) if form == "training" else frontend.exportable()(wave)


def sounding(start: int, stop: int, channels: int = 1, *, level: float = 0.1) -> np.ndarray:
    """(C, LENGTH): noise from start to stop, and hiss 80 dB under it around."""
    noise = np.random.default_rng(start + stop).standard_normal((2, channels, LENGTH)).astype(np.float32)
    wave: np.ndarray = 1e-4 * noise[0]
    wave[:, start:stop] = noise[1, :, start:stop]
    return level * wave


def step_by_step(wave: np.ndarray, frames: int, **how: Any) -> np.ndarray:
    """(C, T) -> (C, 1, F, frames) in float64: trim, mel-spectrogram, min-max, then repeat or crop."""
    trimmed = audio.trim_silence(wave, below_db=how.get("trim_db", 60.0))
    sound: dict[str, Any] = {"sample_rate": RATE, "seconds": 1.0, "n_fft": 1024, "hop": 256, "mels": 64, "f_min": 0.0}
    mel = LogMel(**sound, scale="htk", norm=None, log="db", offset=1e-10)
    levels = mel(torch.from_numpy(trimmed.copy())[None])[0].double().numpy()
    levels = np.maximum(levels, levels.max() - how.get("top_db", 100.0))
    image = (levels - levels.min()) / (levels.max() - levels.min())
    return np.tile(image, -(-frames // image.shape[-1]))[..., :frames]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("frames", [20, 60, 200])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_clip_is_prepared_as_published_and_in_that_order(form: str, frames: int, channels: int) -> None:
    clips = [sounding(*ends, channels) for ends in [(0, LENGTH), (5000, 12000), (0, 700), (LENGTH - 900, LENGTH)]]
    frontend = ClipMel(seconds=1.0, mels=64, frames=frames)
    images = heard(frontend, form, torch.from_numpy(np.stack(clips)))
    assert images.shape == (4, channels, 1, 64, frames)
    for clip, image in zip(clips, images, strict=True):
        np.testing.assert_allclose(image, step_by_step(clip, frames), atol=2e-5)


@pytest.mark.parametrize("how", [{"trim_db": 20.0}, {"trim_db": 100.0}, {"top_db": 30.0}])
def test_how_far_down_a_clip_is_heard(how: dict[str, Any]) -> None:
    clip = sounding(5000, 12000)
    image = ClipMel(seconds=1.0, mels=64, frames=50, **how)(torch.from_numpy(clip)[None])[0]
    np.testing.assert_allclose(image, step_by_step(clip, 50, **how), atol=2e-5)


def test_repeated_is_the_image_and_not_the_sound() -> None:
    """A rising tone of 35 frames: all copies are alike to the last frame, which those of a repeated wave are not."""
    wave = torch.zeros(1, 1, LENGTH)
    time = torch.arange(34 * 256) / RATE
    wave[0, 0, : len(time)] = torch.cos(2 * math.pi * (300 + 3000 * time) * time)
    image = ClipMel(seconds=1.0, mels=64, frames=105)(wave)
    assert torch.equal(image[..., :35], image[..., 35:70])
    assert torch.equal(image[..., :35], image[..., 70:])
    assert not torch.equal(image[..., 0], image[..., 34])


@pytest.mark.parametrize("form", FORMS)
def test_silence_around_a_clip_makes_no_difference(form: str) -> None:
    frontend, sound = ClipMel(seconds=1.0, mels=64, frames=60), torch.randn(1, 1, 5000)
    alone = heard(frontend, form, sound)
    for before, after in ((0, 1), (0, 17000), (3000, 0), (256, 9999)):
        around = torch.nn.functional.pad(sound, (before, after))
        assert torch.allclose(heard(frontend, form, around), alone, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_no_clip_gives_nan_and_one_flat_level_gives_zeros(form: str) -> None:
    wave = torch.zeros(6, 1, LENGTH)
    wave[1], wave[2], wave[3, 0, 77], wave[4, 0, -1], wave[5, 0, 400:402] = 1e-10, 0.5, 1.0, 1e-3, 90.0
    images = heard(ClipMel(seconds=1.0, mels=64, frames=60), form, wave)
    assert images[:2].abs().max() == 0
    for image in images[2:]:
        assert image.isfinite().all()
        assert (float(image.min()), float(image.max())) == (0.0, 1.0)


def test_a_clip_is_heard_at_any_level_and_beside_any_other() -> None:
    frontend = ClipMel(seconds=1.0, mels=64, frames=60)
    clip = torch.from_numpy(sounding(4000, 9000))[None]
    alone = frontend(clip)
    assert torch.allclose(frontend(0.05 * clip), alone, atol=1e-4)
    beside = frontend(torch.cat([torch.ones(1, 1, LENGTH), clip, torch.zeros(1, 1, LENGTH)]))
    assert torch.allclose(beside[1:2], alone, atol=1e-6)


def test_published_sizes() -> None:
    assert [math.floor(seconds * RATE / 256) for seconds in (1.5, 2.5, 3.5)] == [128, 214, 300]
    frontend = ClipMel()
    assert frontend(torch.randn(1, 1, 5 * RATE)).shape == (1, 1, 1, 128, 300)
    assert (frontend.frames(5 * RATE), frontend.frames(RATE)) == (300, 300)


def test_channels_keep_their_levels_to_each_other() -> None:
    noise = sounding(0, LENGTH)
    image = ClipMel(seconds=1.0, mels=64, frames=60)(torch.from_numpy(np.concatenate([noise, 0.01 * noise]))[None])[0]
    assert image[0].max() == 1
    assert 0 < image[1].min() < image[1].max() < 0.8


def test_nothing_is_learned_and_autocast_changes_nothing() -> None:
    frontend = ClipMel(seconds=1.0, mels=64, frames=60)
    wave = torch.from_numpy(sounding(4000, 9000))[None]
    assert frontend.state_dict() == frontend.exportable().state_dict() == {}
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(frontend(wave), frontend(wave.double()))
    assert torch.equal(frontend(wave), frontend(wave.double()))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"frames": 0}, "an image has at least 1"),
        ({"trim_db": 0.0}, "both count down from a peak"),
        ({"top_db": -80.0}, "both count down from a peak"),
        ({"mels": 0}, "wanted at least 1"),
        ({"seconds": 0.01}, "too short for a window of 1024"),
    ],
)
def test_bad_arguments_are_answered_in_sentences(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ClipMel(**arguments)


def test_clips_are_handed_over_whole_or_refused() -> None:
    small = {"sample_rate": 8000, "seconds": 0.5, "n_fft": 256, "hop": 64, "mels": 16, "frames": 20}
    whole, encoder = Spec("clipmel", small), Spec("resnet", {"depth": 18, "width": 4})
    resized = Spec("resized", {"of": {"name": "clipmel", **small}, "size": [16, 10]})
    for frontend in (whole, resized):
        Backbone(frontend, encoder, policy="zero")
        with pytest.raises(
            RecipeError, match=r"policy is 'repeat', and '.*' hears whole clips .*: set policy to 'zero'"
        ):
            Backbone(frontend, encoder)
    model = Backbone(Spec("logmel"), encoder)
    with pytest.raises(RecipeError, match="set policy to 'zero'"):
        model.hear(whole)
    assert model.specs["frontend"] == Spec("logmel")


def test_no_other_sound_is_mixed_into_an_image_that_does_not_tell_its_power() -> None:
    with pytest.raises(RecipeError, match="does not tell a clip's power"):
        Spec("mixback").build(VIEWS, efold=ClipMel.efold)
