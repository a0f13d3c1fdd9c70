"""What was learned at one resolution is what the next begins from: more mel filters, more seconds, larger images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ossicle import assemble, train
from ossicle.data.cache import Cache
from ossicle.model import Backbone, Classifier, load
from ossicle.recipe import RecipeError, Spec, from_dict

RATE = 8000
SOUND = {"sample_rate": RATE, "n_fft": 1024, "hop": 256}
CLIP = {"name": "clipmel", "seconds": 3.5} | SOUND
WAYS: dict[str, list[dict[str, Any]]] = {
    "shorter windows": [
        {"name": "logmel", "mels": mels, "seconds": seconds} | SOUND
        for mels, seconds in ((64, 1.5), (96, 2.5), (128, 3.5))
    ],
    "mel": [CLIP | {"mels": mels, "frames": frames} for mels, frames in ((64, 46), (96, 78), (128, 109))],
    "resize": [
        *({"name": "resized", "of": CLIP | {"frames": 109}, "size": list(size)} for size in ((64, 46), (96, 78))),
        CLIP | {"frames": 109},
    ],
}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of 1 to 3.5 seconds, low and high, which end in silence."""
    root, rows = tmp_path_factory.mktemp("sounds"), ["filename,label"]
    for number in range(6):
        time = np.arange(RATE * (2 + number) // 2) / RATE
        wave = np.sin(2 * np.pi * (300, 2000)[number % 2] * (1 + 0.02 * number) * time) * (time < 0.8 * time[-1])
        soundfile.write(root / f"{number}.wav", 0.3 * wave, RATE)
        rows.append(f"{number}.wav,{('low', 'high')[number % 2]}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root / "clips.csv"


def learned(sounds: Path, folder: Path, depth: int, stages: list[dict[str, Any]]) -> Classifier:
    tree = {
        "data": {"name": "csv", "path": str(sounds)},
        "frontend": stages[0]["frontend"],
        "encoder": {"name": "resnet", "depth": depth, "width": 4},
        "objective": "supervised",
        "policy": "zero",
        "stages": stages,
        "batch": 3,
        "precision": "fp32",
    }
    train.fit(from_dict(tree), folder / "run", cache=Cache(folder / "cache"))
    model = load(folder / "run")
    assert isinstance(model, Classifier)
    return model


@pytest.mark.parametrize(("way", "depth"), [("shorter windows", 18), ("mel", 34), ("resize", 18)])
def test_a_stage_begins_from_the_encoder_of_the_one_before(sounds: Path, tmp_path: Path, way: str, depth: int) -> None:
    """Later stages are frozen below the head, so what the first one learned must be there at the end, bit for bit."""
    first, *later = ({"epochs": 1, "lr": 1e-2, "frontend": heard} for heard in WAYS[way])
    coarse = learned(sounds, tmp_path / "first", depth, [first])
    fine = learned(sounds, tmp_path / "all", depth, [first, *(stage | {"frozen": True} for stage in later)])
    learned_first, kept = coarse.backbone.encoder.state_dict(), fine.backbone.encoder.state_dict()
    assert kept.keys() == learned_first.keys()
    assert all(torch.equal(kept[name], learned_first[name]) for name in kept)
    assert not torch.equal(fine.head.weight, coarse.head.weight)
    assert (coarse.backbone.frontend.bins, fine.backbone.frontend.bins) == (64, 128)
    assert fine.window == 3.5 * RATE
    assert float(fine.backbone.mean) != float(coarse.backbone.mean), "images of another size: fitted anew"
    scores = fine.probability(fine(torch.zeros(1, 1, fine.window)))
    assert scores.isfinite().all()


@pytest.mark.parametrize("way", WAYS)
def test_a_run_begins_from_a_coarser_one(tmp_path: Path, way: str) -> None:
    coarse, fine = (Spec(heard["name"], {k: v for k, v in heard.items() if k != "name"}) for heard in WAYS[way][::2])
    encoder = Spec("resnet", {"depth": 34, "width": 4})
    earlier = Backbone(coarse, encoder, policy="zero")
    earlier.save(tmp_path / "coarse")
    model, notes = Backbone(fine, encoder, policy="zero"), []
    assemble.begin_from(tmp_path / "coarse", None, model, lambda kind, row: notes.append(row))
    assert notes == []
    for name, value in earlier.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)


def test_a_resnet_34_for_images_of_three_colors_hears_their_sum(tmp_path: Path) -> None:
    bands = Spec("bands", {"sample_rate": RATE, "seconds": 0.5, "n_fft": 192, "win": 160, "hop": 100})
    colors = Backbone(bands, Spec("resnet", {"depth": 34, "width": 4}))
    colors.save(tmp_path / "imagenet")
    small = Spec("clipmel", {k: v for k, v in CLIP.items() if k != "name"} | {"mels": 64, "frames": 46})
    model = Backbone(small, colors.specs["encoder"], policy="zero")
    assemble.begin_from(tmp_path / "imagenet", None, model, lambda kind, row: None)
    stem = colors.encoder.get_parameter("conv1.weight").sum(1, keepdim=True)
    torch.testing.assert_close(model.encoder.get_parameter("conv1.weight"), stem)
    image = torch.rand(2, 1, 1, 64, 46)
    torch.testing.assert_close(model.eval().encode(image), colors.eval().encode(image.expand(-1, -1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("encoder", "change", "said"),
    [
        (
            {"name": "resnet", "depth": 18, "width": 4},
            {"sample_rate": 4000},
            "hears at 4000 Hz, and before it was 8000",
        ),
        ({"name": "resnet", "depth": 18, "width": 4}, {"name": "bands"}, "32 bins and 3 maps.* are for 64 bins and 1"),
        ({"name": "small", "width": 2, "attention": 8}, {"mels": 32}, "32 bins and 1 maps.*'small' are for 64 bins"),
        ({"name": "crnn", "width": 4}, {"mels": 16}, "16 bins and 1 maps.*'crnn' are for 64 bins"),
    ],
)
def test_a_stage_that_hears_what_the_one_before_could_not_is_refused_before_work(
    sounds: Path, encoder: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    """A rate of its own would go unnoticed: sound is decoded once, for the first stage."""
    heard = {"name": "logmel", "mels": 64, "seconds": 1.5} | SOUND
    bands = {"name": "bands", "sample_rate": RATE, "seconds": 1.5, "n_fft": 192, "win": 160, "hop": 100}
    other = bands if change == {"name": "bands"} else heard | change
    recipe = from_dict(
        {"data": {"name": "csv", "path": str(sounds)}, "frontend": heard, "encoder": encoder, "objective": "supervised"}
        | {"stages": [{"epochs": 1}, {"epochs": 1, "frontend": other}]}
    )
    with pytest.raises(RecipeError, match=said):
        assemble.rehearse(recipe)
