"""One network and one batch of images, to time a training step of: ours, and the plain one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from record import Row, ratios, row
from torch import Tensor, nn

from ossicle import machine, optimizers
from ossicle.model import Backbone, Classifier
from ossicle.objectives.supervised import soft_loss
from ossicle.recipe import Spec

CLASSES = 50

Step = Callable[[], float]


class Bench:
    """One network and one batch of images, for training steps of several kinds that all begin from the same weights."""

    def __init__(self, frontend: Spec, encoder: Spec, batch: int):
        torch.manual_seed(0)
        self.classifier = Classifier(Backbone(frontend, encoder), [str(k) for k in range(CLASSES)])
        backbone = self.classifier.backbone
        self.wave = 0.1 * torch.randn(batch, 1, backbone.window)
        self.image = backbone.frontend(self.wave)
        backbone.fit_normalization([self.image])
        self.target = torch.randint(CLASSES, (batch,))
        self.precision = machine.fastest_precision(copy.deepcopy(backbone.encoder), self.image[:8, 0])
        size = " x ".join(map(str, self.image.shape[2:] if backbone.frontend.maps > 1 else self.image.shape[3:]))
        named = f"ResNet-{encoder.args['depth']}" if encoder.name == "resnet" else encoder.name
        self.what = f"{named} training step on {batch} images of {size}"

    def plain(self, encoder: nn.Module | None = None) -> Step:
        """float32, eager, the default memory format, the default AdamW: what one writes first, and `encoder` where that
        is written otherwise.
        """
        own = copy.deepcopy(self.classifier)
        network = nn.Sequential(encoder or own.backbone.encoder, own.head).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        image = ((self.image[:, 0] - own.backbone.mean) / own.backbone.sd).contiguous()

        def step() -> float:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(image), self.target)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def ours(self, *, compiled: bool = False) -> Step:
        """What `train.Session.step` does with images that are ready."""
        own = copy.deepcopy(self.classifier).train()
        own.backbone.encoder.to(memory_format=torch.channels_last)
        own.backbone.precision = self.precision
        optimizer = optimizers.adamw([(own.backbone.encoder.blocks(), 1.0), ([own.head], 1.0)], lr=1e-3)
        if compiled:
            own.backbone.encoder.compile()

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = self.loss(own.head(own.backbone.encode(self.image)))
            loss.backward()
            float(nn.utils.clip_grad_norm_(optimizers.parameters(optimizer), math.inf))
            optimizer.step()
            return loss.item()

        return step

    def from_samples(self, *, compiled: bool = False) -> Step:
        """The same, and the front end before it."""
        step = self.ours(compiled=compiled)

        def heard() -> float:
            self.image = self.classifier.backbone.frontend(self.wave)
            return step()

        return heard

    def loss(self, logits: Tensor) -> Tensor:
        return soft_loss(logits, F.one_hot(self.target, CLASSES).float(), torch.ones(CLASSES), multilabel=False)

    def row(self, taken: dict[str, list[float]], name: str, how: str) -> Row:
        pace = {arm: len(self.target) / sorted(seconds)[len(seconds) // 2] for arm, seconds in taken.items()}
        note = f"{how}: {pace[name]:.3g} clips a second against {pace['plain']:.3g}"
        faster = ratios(taken["plain"], taken[name])
        what = self.what + (", compiled" if name == "compiled" else "")
        return row(what, "at least 3 times plain float32", faster, "times", note)
