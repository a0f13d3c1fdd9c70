"""An event model within a scene model: kept, learned at a rate of its own, and taken from a run of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ossicle import assemble, machine, material, model, train
from ossicle.data.cache import Cache
from ossicle.draw import Draw
from ossicle.learner import Learner
from ossicle.model import Backbone, Classifier
from ossicle.recipe import Recipe, RecipeError, from_dict

RATE = 8000
EVENTS = {"name": "vggish", "width": 1 / 32, "frames": 16}
HEARD = {"name": "logmel", "sample_rate": RATE, "seconds": 0.4, "n_fft": 256, "hop": 80, "mels": 16}
CMAM = {"name": "cmam", "width": 4, "pairs": 1, "queries": 16, "parts": 2, "attention": 8, "events": EVENTS}
SGD = {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six recordings each in three folds."""
    root = tmp_path_factory.mktemp("sounds")
    noise, rows = np.random.default_rng(0), ["filename,fold,label,group"]
    for number in range(12):
        label = ("low", "high")[number % 2]
        tone = np.sin(2 * np.pi * (300 if label == "low" else 2000) * np.arange(RATE // 2) / RATE)
        soundfile.write(root / f"{number}.wav", 0.3 * tone + 0.05 * noise.standard_normal(len(tone)), RATE)
        rows.append(f"{number}.wav,{number // 2 % 3 + 1},{label},{number}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root / "clips.csv"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def events(sounds: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the event model."""
    folder = tmp_path_factory.mktemp("runs") / "events"
    train.fit(recipe_for(sounds, encoder=EVENTS), folder, cache=cache)
    return folder


def recipe_for(sounds: Path, **changes: Any) -> Recipe:
    tree: dict[str, Any] = {
        "data": {"name": "csv", "path": str(sounds)},
        "split": {"fold": 1},
        "frontend": HEARD,
        "encoder": CMAM,
        "objective": "supervised",
        "stages": [{"epochs": 1, "lr": 1e-2, "schedule": "constant"}],
        "batch": 4,
        "precision": "fp32",
        "watch": 0,
    }
    return from_dict(tree | changes)


def stage(**changes: Any) -> dict[str, Any]:
    return {"stages": [{"epochs": 1, "lr": 0.1, "schedule": "constant"} | changes]}


def backbone(folder: Path) -> Backbone:
    found = model.load(folder)
    return found.backbone if isinstance(found, Classifier) else found


def digest(module: torch.nn.Module) -> str:
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in module.state_dict().values())).hexdigest()


def test_what_is_kept_is_kept_to_the_last_bit_and_in_evaluation_mode(
    sounds: Path, cache: Cache, events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feature-based strategy. VGGish has no statistics or dropout that training moves, so its mode is asked."""
    modes = []
    embeddings = assemble.ENCODERS["vggish"].embeddings

    def look(self: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
        modes.append((self.training, torch.is_grad_enabled()))
        made = embeddings(self, image)
        assert not made.requires_grad or any(parameter.requires_grad for parameter in self.parameters())
        return made

    monkeypatch.setattr(assemble.ENCODERS["vggish"], "embeddings", look)
    told: list[str] = []
    recipe = recipe_for(sounds, start=str(events), **stage(events=0))
    train.fit(recipe, tmp_path / "kept", cache=cache, tell=lambda _, row: told.append(row.get("note", "")))
    earlier, kept = backbone(events), backbone(tmp_path / "kept")
    assert digest(kept.encoder.events) == digest(earlier.encoder)
    assert (float(kept.mean), float(kept.sd)) == (float(earlier.mean), float(earlier.sd)) != (0.0, 1.0)
    assert f"{events} becomes the event model; all else starts fresh" in told
    assert [training for training, learning in modes if learning] == [False] * 2  # a step for four of eight clips


def test_the_event_model_learns_at_its_own_rate(sounds: Path, cache: Cache, events: Path) -> None:
    """Gradient descent's first step is rate times gradient: a tenth of the rate is a tenth of the way."""
    moved = {}
    for rate in (1.0, 0.1):
        recipe = recipe_for(sounds, start=str(events), optimizer=SGD, **stage(events=rate, body=0.5))
        learner = Learner(recipe, material.gather(recipe, cache, sample_rate=RATE))
        learner.ready(recipe.stages[0])
        learner.teach(recipe.stages[0])
        before = {name: value.clone() for name, value in learner.model.named_parameters()}
        batch = next(iter(learner.loader(learner.backbone.window).epoch(0))).usable(machine.device())
        learner.update(batch, Draw(0, 0, batch.key), 0.1, None, number=0)
        moved[rate] = {name: value.detach() - before[name] for name, value in learner.model.named_parameters()}
    for name, far in moved[1.0].items():
        share = 0.1 if name.startswith("backbone.encoder.events.") else 1.0
        assert torch.allclose(moved[0.1][name], share * far, rtol=1e-3, atol=1e-7), name
    assert moved[0.1]["backbone.encoder.events.dense.0.weight"].abs().sum() > 0


def test_from_scratch_the_event_model_is_learned_along(sounds: Path, cache: Cache, tmp_path: Path) -> None:
    recipe = recipe_for(sounds, **stage())
    fresh = assemble.objective(recipe, material.gather(recipe, cache, sample_rate=RATE).parts.train).model.backbone
    train.fit(recipe, tmp_path / "scratch", cache=cache)
    before, after = (each.encoder.events.state_dict() for each in (fresh, backbone(tmp_path / "scratch")))
    assert all(not torch.equal(value, after[name]) for name, value in before.items() if name.endswith("weight"))


def test_a_stage_may_keep_what_the_one_before_it_learned(sounds: Path, cache: Cache, tmp_path: Path) -> None:
    first = {"epochs": 1, "lr": 0.1, "schedule": "constant"}
    two = recipe_for(sounds, stages=[first, first | {"events": 0}])
    train.fit(recipe_for(sounds, stages=[first]), tmp_path / "one", cache=cache)
    train.fit(two, tmp_path / "two", cache=cache)
    assert digest(backbone(tmp_path / "one").encoder.events) == digest(backbone(tmp_path / "two").encoder.events)
    assert digest(backbone(tmp_path / "one").encoder.scenes) != digest(backbone(tmp_path / "two").encoder.scenes)


def test_a_scene_model_goes_on_from_one_of_its_kind(sounds: Path, events: Path) -> None:
    """How weights were first drawn is no difference, and what is left to its default neither."""
    fresh = {"init": "published", "maps": 1, **EVENTS} | {"width": 1 / 32}
    made = [Backbone(*specs(sounds, encoder)) for encoder in (CMAM, CMAM | {"events": fresh, "heads": 4})]
    assert assemble.take_over(made[0], made[1], "there") == []
    assert digest(made[0].encoder) == digest(made[1].encoder)


def specs(sounds: Path, encoder: dict[str, Any]) -> tuple[Any, Any]:
    read = recipe_for(sounds, encoder=encoder)
    return read.frontend, read.encoder


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoder": CMAM | {"events": EVENTS | {"width": 1 / 16}}}, "use one and the same"),
        ({"frontend": HEARD | {"mels": 32}}, "wants the front end that it learned with"),
        ({"encoder": "small", **stage(events=0)}, r"events = 0 is the rate of an event model.*'small' has none"),
        (stage(schedule={"name": "noam", "warm": 8000}), "in a stage of 2 steps: wanted a share below 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence_before_work_starts(
    sounds: Path, cache: Cache, events: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RecipeError, match=sentence):
        train.fit(recipe_for(sounds, start=str(events), **changes), tmp_path / "run", cache=cache)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_an_event_model_that_is_kept_and_never_learned_is_told_of(sounds: Path) -> None:
    """A network of random layers is a fair thing to compare with, and seldom what is meant."""
    told: list[str] = []
    for changes in ({}, {"start": "runs/events"}, stage(events=0.5)):
        recipe = recipe_for(sounds, **stage(events=0) | changes)
        assemble.rehearse(recipe, lambda _, row: told.append(row.get("note", "")))
    assert [note for note in told if note] == [
        "the event model stays as it was drawn, and knows nothing: start names one that does"
    ]


def test_a_negative_rate_is_refused(sounds: Path) -> None:
    with pytest.raises(RecipeError, match="events is a fraction of a rate"):
        recipe_for(sounds, **stage(events=-0.1))
