"""What learns: an objective on its device, with the front end, normalization and optimizer of a stage; one update."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ossicle import assemble, distributed, draw, lessons, machine, optimizers
from ossicle.data.loader import Batch, Loader
from ossicle.draw import Draw
from ossicle.material import Material, Tell, quiet
from ossicle.model import Backbone, Classifier
from ossicle.recipe import Recipe, Stage
from ossicle.stops import first_odd, refuse_odd


class Learner:
    """A recipe's objective and its training part. `ready` it for a stage, then `update` it batch by batch."""

    optimizer: torch.optim.Optimizer | None = None

    def __init__(self, recipe: Recipe, found: Material, precision: str = "fp32", tell: Tell = quiet):
        self.recipe, self.material = recipe, found
        self.source = found.source(found.parts.train)
        taught = lessons.lesson(recipe, found, tell) if found.teachers else None
        self.device, objective = machine.device(), assemble.objective(recipe, found.parts.train, tell, taught)
        self.objective = objective.to(self.device, memory_format=torch.channels_last)
        self.model: Backbone | Classifier = self.objective.model
        self.backbone = self.model.backbone if isinstance(self.model, Classifier) else self.model
        self.backbone.precision = precision
        if recipe.compile:
            self.backbone.encoder.compile()

    def ready(self, stage: Stage) -> None:
        """Puts on the stage's front end, fits the normalization where that is due, and makes a new optimizer."""
        if self.listen(stage) or self.backbone.unfitted:
            distributed.first(self.normalize)
        shared = distributed.first(self.objective.state_dict)
        if distributed.rank():
            self.objective.load_state_dict(shared)
        self.optimizer = self.new_optimizer(stage)

    def listen(self, stage: Stage) -> bool:
        """Puts on the stage's front end; True if that changes what is heard."""
        before = self.backbone.specs["frontend"]
        if stage.frontend is None or stage.frontend == before:
            return False
        self.backbone.hear(stage.frontend)
        self.objective.views = assemble.views(self.recipe, self.backbone)
        if assemble.sound_alike(before, stage.frontend):
            return False
        self.backbone.as_is = False
        return True

    @torch.no_grad()
    def normalize(self, clips: int = 512) -> None:
        """Fits mean and deviation on about `clips` training clips, without views."""
        batches = islice(self.loader(self.backbone.window).epoch(0), math.ceil(clips / self.recipe.batch))
        self.backbone.fit_normalization([self.backbone.frontend(batch.usable(self.device).wave) for batch in batches])

    def loader(self, length: int, **part: int) -> Loader:
        """The training part's batches, cut to `length`, or of each the `part` of one `rank` of `ranks`."""
        how: dict[str, Any] = {"seed": self.recipe.seed, "policy": self.recipe.policy, **part}
        return Loader(self.source, length, self.recipe.batch, others=getattr(self.objective, "others", 0), **how)

    def new_optimizer(self, stage: Stage) -> torch.optim.Optimizer:
        """The stage's optimizer: the encoder at the body's rate, an event model in it at a share of that, everything
        above at the full one.
        """
        encoder, events = self.backbone.encoder, event_model(self.backbone.encoder)
        encoder.requires_grad_(not stage.frozen)
        if stage.events == 0:
            nn.ModuleList(events).requires_grad_(False)
        body = [block for block in encoder.blocks() if block not in events]
        head = [self.model.head] if isinstance(self.model, Classifier) else []
        head += [module for name, module in self.objective.named_children() if name not in ("model", "views")]
        parts = [(events, stage.body * stage.events), (body, stage.body), (head, 1.0)]
        return self.recipe.optimizer.build(optimizers.OPTIMIZERS, parts=parts, lr=stage.lr)

    def teach(self, stage: Stage) -> None:
        """Training mode, in which what is frozen keeps its running statistics, and drops nothing."""
        self.objective.train()
        self.backbone.encoder.train(not stage.frozen)
        if stage.events == 0:
            nn.ModuleList(event_model(self.backbone.encoder)).eval()

    def update(
        self, batch: Batch, draws: Draw, rate: float, momentum: float | None, *, number: int
    ) -> dict[str, Tensor]:
        """One step of the optimizer, the `number`th, at this rate; what the objective told, of all processes.

        TrainingError, and no step, where the loss or gradient is not finite.
        """
        assert self.optimizer is not None
        optimizers.set_pace(self.optimizer, rate, momentum)
        torch.manual_seed(draw.key(self.recipe.seed, "step", number))
        self.optimizer.zero_grad(set_to_none=True)
        out = self.objective(batch, draws)
        out["loss"].backward()
        told = distributed.join(out, len(batch), self.objective, optimizers.parameters(self.optimizer))
        self.check(float(told["loss"]), batch, draws, number)
        self.optimizer.step()
        self.objective.after_step()
        return told

    def check(self, loss: float, batch: Batch, draws: Draw, number: int) -> None:
        """Clips the gradient where asked, and stops before a loss or gradient that is not finite does harm."""
        assert self.optimizer is not None
        limit = self.recipe.clip_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(optimizers.parameters(self.optimizer), limit))
        if math.isfinite(loss) and math.isfinite(norm):
            return
        names = [self.source.manifest.clips[row].name for row in batch.index.tolist()]
        refuse_odd(number, loss, norm, first_odd(self.objective, batch, draws), names)


def event_model(encoder: nn.Module) -> list[nn.Module]:
    """The part of an encoder that knows sound events; none, where it has no such part."""
    part = getattr(encoder, "events", None)
    return [part] if isinstance(part, nn.Module) else []
