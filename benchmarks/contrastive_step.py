"""A step of contrastive learning from samples to update, and how much of it the making of its views takes."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from record import Row, row
from torch import nn

from ossicle import machine, optimizers
from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.layouts import PATCH
from ossicle.model import Backbone
from ossicle.objectives import Contrastive
from ossicle.recipe import Spec
from ossicle.views import VIEWS, Views

BATCH = 128
PUBLISHED = "patch", "mixback", "random_resized_crop", "compression", "noise"
FRAMES = 101


def step(*, stretches: tuple[float, ...] = (1.0, 5.0), repeats: int = 5, **sizes: Any) -> list[Row]:
    """ResNet-18 on two views a clip at published defaults, of clips of a second and of longer ones."""
    return [line for seconds in stretches for line in timed(Learner(seconds, **sizes), repeats)]


class Learner:
    """An objective, its optimizer and one batch of clips of `seconds`."""

    def __init__(
        self, seconds: float, *, batch: int = BATCH, frontend: Spec = PATCH, frames: int = FRAMES, width: int = 64
    ):
        torch.manual_seed(0)
        backbone = Backbone(frontend, Spec("resnet", {"depth": 18, "width": width}))
        heard = backbone.frontend
        context, own = {"sample_rate": heard.sample_rate, "efold": heard.efold}, {"patch": {"frames": frames}}
        views = Views(heard, [Spec(name, own.get(name, {})).build(VIEWS, **context) for name in PUBLISHED])
        self.key, rows = np.arange(batch, dtype=np.uint64), torch.arange(batch)
        self.objective = Contrastive(backbone, views, self.key, self.key).to(memory_format=torch.channels_last)
        length = max(backbone.window, round(seconds * heard.sample_rate))
        wave, others = (0.1 * torch.randn(*shape, 1, length) for shape in ((batch,), (batch, 2)))
        self.batch = Batch(wave, rows, rows, rows, self.key, rows >= 0, others)
        self.what = f"Contrastive step, ResNet-18, {batch} clips of {seconds:g} s, two views of {frames} x {heard.bins}"
        image = heard(wave[:8, :, : backbone.window])
        backbone.fit_normalization([image])
        backbone.precision = machine.fastest_precision(backbone.encoder, image[:, 0])
        parts = [(backbone.encoder.blocks(), 1.0), ([self.objective.project], 1.0)]
        self.optimizer = optimizers.sgd(parts, lr=0.03)

    def step(self, number: int) -> tuple[float, float]:
        """The seconds of a whole step, and those of the views alone."""
        draws, began = Draw(0, number, self.key), time.perf_counter()
        self.objective.views.both(self.batch.wave, draws, self.batch.others)
        views, began = time.perf_counter() - began, time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.batch, draws)["loss"]
        loss.backward()
        float(nn.utils.clip_grad_norm_(optimizers.parameters(self.optimizer), math.inf))
        self.optimizer.step()
        loss.item()
        return time.perf_counter() - began, views


def timed(learner: Learner, repeats: int) -> list[Row]:
    """Clips a second of whole steps, and the views' share of each."""
    taken = [learner.step(number) for number in range(repeats + 2)][2:]
    precision, clips = learner.objective.model.precision, len(learner.batch)
    paces, shares = [clips / whole for whole, _ in taken], [100 * views / whole for whole, views in taken]
    wanted = "at least 78.5 clips/s, 5 times the published code's 15.7 in fp32"
    return [
        row(f"{learner.what}, {precision}", wanted, paces, "clips/s", "from samples to update, views and all"),
        row(f"{learner.what}: its views", "under 10 % of a step", shares, "%", "front end, mixing, crop and noise"),
    ]
