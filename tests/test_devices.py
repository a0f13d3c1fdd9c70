"""Views, draws and objectives stay on their batch's device: none makes a tensor wherever the default happens to be.

Where there is no GPU, the default is moved instead: on "meta" a tensor holds no numbers and mixes with no other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.frontends import LogMel
from ossicle.model import Backbone
from ossicle.objectives import OBJECTIVES
from ossicle.recipe import Spec
from ossicle.views import VIEWS, Views

HEARD = {"sample_rate": 8000, "seconds": 0.5, "n_fft": 256, "hop": 128, "mels": 16}
NEEDED: dict[str, dict[str, Any]] = {"patch": {"frames": 8}, "crop": {"seconds": 0.3, "guard": True}}
KEYS = np.arange(6, dtype=np.uint64)


def batch(others: int = 0) -> Batch:
    rows, wave = torch.arange(4), torch.randn(4, 1, 4000)
    mixed = torch.randn(4, others, 1, 4000) if others else None
    return Batch(wave, rows, rows % 2, rows, KEYS[:4], rows >= 0, mixed)


def views(*names: str) -> Views:
    frontend = LogMel(**HEARD)
    context = {"sample_rate": 8000, "efold": frontend.efold}
    return Views(frontend, [Spec(name, NEEDED.get(name, {})).build(VIEWS, **context) for name in names])


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_where_its_batch_is(name: str) -> None:
    made, given = views(name), batch(1)
    with torch.device("meta"):
        image = made(given.wave, Draw(0, 0, given.key), given.others)
    assert image.device.type == "cpu"
    assert image.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("contrastive", {}),
        ("npid", {"dim": 8}),
        ("npid", {"dim": 8, "negatives": 2}),
        ("joint", {"npid": {"dim": 8}}),
    ],
)
def test_an_objective_learns_where_its_batch_is(name: str, options: dict[str, Any]) -> None:
    frontend = Spec("logmel", HEARD)
    backbone = Backbone(frontend, Spec("small", {"width": 8, "attention": 8}))
    context = {"backbone": backbone, "views": views("patch", "noise"), "keys": KEYS, "groups": KEYS // 2, "seed": 0}
    objective, given = Spec(name, options).build(OBJECTIVES, **context), batch()
    with torch.device("meta"):
        told = objective(given, Draw(0, 0, given.key))
        told["loss"].backward()
        objective.after_step()
    assert {torch.as_tensor(value).device.type for value in told.values()} == {"cpu"}


def test_a_batch_moves_as_one() -> None:
    moved = batch(1).to(torch.device("meta"))
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert {value.device.type for value in tensors} == {"meta"}
    assert moved.key is not None
    assert len(tensors) == 6
