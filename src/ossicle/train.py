"""fit(): a recipe and a folder -> a trained run. The loop over stages, epochs and steps, once, visible.

What can be heard is in `material`, what is learned in `objectives`, what survives a crash in `run`; here they meet.
Under torchrun each process walks through all of this with its part of every batch (`distributed`), and only the first
one touches the run's folder.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ossicle import assemble, checkpoint, distributed, evaluate, machine, material, optimizers, schedules
from ossicle.choice import Choice, selected
from ossicle.collapse import news
from ossicle.data.cache import Cache
from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.durable import write_json
from ossicle.learner import Learner
from ossicle.material import Material, Tell, quiet
from ossicle.model import Classifier
from ossicle.recipe import Recipe, Stage, to_dict
from ossicle.run import Run
from ossicle.stops import Interrupted, interrupt_deferred, refuse_thin


def fit(
    recipe: Recipe,
    folder: str | Path,
    *,
    cache: Cache | None = None,
    allow: tuple[str, ...] = (),
    save_every: float = 30.0,
    tell: Tell = quiet,
) -> dict[str, Any]:
    """Follows a recipe in a run folder and returns the run's result; a finished run returns at once, a stopped one goes
    on.

    `tell(kind, row)` hears "shape", "note", "bad", "decode", "step" and "epoch". `save_every` is the least time between
    checkpoints in seconds; `allow` names what may differ on a resume. RecipeError, DataError, IntakeError or RunError
    before work starts; TrainingError when a loss is not finite; Interrupted after Ctrl-C, with the run saved. Of
    several processes the first one raises, and the others exit.
    """
    assemble.rehearse(recipe, tell)
    model = assemble.backbone(recipe).to(machine.device())
    heard: dict[str, Any] = {"sample_rate": model.sample_rate, "channels": model.channels}
    found = distributed.after_first(lambda: material.gather(recipe, cache, **heard, tell=tell))
    distributed.first(refuse_thin, len(found.parts.train), recipe.batch)
    distributed.first(assemble.rehearse_paces, recipe, len(found.parts.train))
    example = assemble.quiet_view(recipe, model, 8)[1].flatten(0, 1)
    surroundings = distributed.first(machine.settle, folder, recipe.precision, model.encoder, example)
    torch.set_num_threads(surroundings["threads"])
    surroundings |= distributed.describe()
    about = to_dict(recipe), found.describe(), surroundings
    with distributed.first(Run.start, folder, *about, allow=allow) as run:
        if result := distributed.first(lambda: run.result):
            return result
        distributed.first(material.write_bad, run.folder, map(asdict, found.prepared.bad.values()))
        start = (recipe, found, run, surroundings["precision"], save_every, tell)
        session = distributed.after_first(lambda: Session(*start))
        session.restore()
        for note in run.notes:
            tell("note", {"note": note})
        session.work()
        return distributed.first(session.finish)


@dataclass
class Progress:
    """Where a run stands: what a checkpoint holds beside tensors. `step` counts within the epoch, `sums` is the epoch
    so far.
    """

    stage: int = 0
    epoch: int = 0
    step: int = 0
    steps: int = 0
    clips: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    waited: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)


class Session(Learner):
    """One sitting of a run: what learns, where it stands, and the folder that keeps it."""

    def __init__(self, recipe: Recipe, found: Material, run: Run, precision: str, save_every: float, tell: Tell):
        super().__init__(recipe, found, precision, tell)
        self.run, self.tell = run, tell
        self.save_every, self.saved = save_every, time.monotonic()
        self.at, self.choice = Progress(), Choice(recipe.select)

    # what survives

    def restore(self) -> None:
        """Goes back to the run's last checkpoint, if there is one."""
        if (found := distributed.first(self.run.restore)) is None:
            return
        tensors, info = found
        self.at = Progress(**info["progress"])
        if "choice" in info:
            self.choice.restore(info["choice"], checkpoint.below("best.", tensors))
        for stage in self.recipe.stages[: self.at.stage + 1]:
            self.listen(stage)
        self.objective.load_state_dict(checkpoint.below("objective.", tensors))
        self.optimizer = self.new_optimizer(self.recipe.stages[self.at.stage])
        optimizers.restore(self.optimizer, checkpoint.below("optimizer.", tensors))

    def save(self) -> None:
        """Writes a checkpoint from which training goes on bit for bit."""
        tensors = {f"objective.{name}": value for name, value in self.objective.state_dict().items()}
        if self.optimizer is not None:
            tensors |= {f"optimizer.{name}": value for name, value in optimizers.state(self.optimizer).items()}
        tensors |= {f"best.{name}": value for name, value in self.choice.state.items()}
        self.run.save(tensors, {"progress": vars(self.at), "choice": self.choice.about()})
        self.saved = time.monotonic()

    # the loop

    def work(self) -> None:
        """All that is left of all stages."""
        with interrupt_deferred() as interrupted:
            for number, stage in islice(enumerate(self.recipe.stages), self.at.stage, None):
                if self.optimizer is None:
                    self.begin(number, stage)
                while self.at.epoch < stage.epochs:
                    self.work_epoch(stage, interrupted)
                self.optimizer = None

    def begin(self, number: int, stage: Stage) -> None:
        """A stage's first moment, from the best of the stage before where that is asked for."""
        self.at.stage, self.at.epoch, self.at.step = number, 0, 0
        self.take_best()
        self.ready(stage)

    def take_best(self) -> None:
        """Goes back to the best epoch of the stage that ended, if one was looked for; `ready` tells other processes."""
        if said := self.choice.give_back(self.objective):
            self.tell("note", {"note": said})
        self.choice.forget()

    def work_epoch(self, stage: Stage, interrupted: threading.Event) -> None:
        """What is left of one epoch, its row in the log, and a checkpoint when one is due."""
        self.teach(stage)
        length = assemble.stretch(self.recipe, self.backbone)
        loader = self.loader(length, rank=distributed.rank(), ranks=distributed.size())
        number = sum(earlier.epochs for earlier in self.recipe.stages[: self.at.stage]) + self.at.epoch
        whole = loader.steps * sum(each.epochs for each in self.recipe.stages)
        clock, worked = time.monotonic(), time.process_time()
        for slots in loader.epoch(number, self.at.step):
            self.at.waited += time.monotonic() - clock
            batch = slots.usable(self.device)
            self.step(stage, batch, Draw(self.recipe.seed, number, batch.key, device=self.device), loader.steps)
            self.tell("step", {"done": self.at.steps, "total": whole})
            taken, asked = zip(*distributed.every((time.process_time() - worked, interrupted.is_set())), strict=True)
            self.at.seconds += time.monotonic() - clock
            self.at.cpu_seconds += sum(taken)
            clock, worked = time.monotonic(), time.process_time()
            if any(asked):
                distributed.first(self.save)
                place = f"after step {self.at.steps} of {whole}"
                distributed.stop(Interrupted(f"stopped {place}; the same command goes on from here"))
        self.close_epoch(stage, number)

    def step(self, stage: Stage, batch: Batch, draws: Draw, steps: int) -> None:
        """One update, or none where bad files left some process fewer than two clips of the batch."""
        parts = distributed.every(len(batch))
        if min(parts) > 1:
            place = {"step": self.at.epoch * steps + self.at.step, "steps": stage.epochs * steps}
            pace = stage.schedule.build(schedules.SCHEDULES, **place, epochs=stage.epochs)
            self.count(self.update(batch, draws, stage.lr * pace.rate, pace.momentum, number=self.at.steps), sum(parts))
        self.at.step += 1
        self.at.steps += 1

    def count(self, told: dict[str, Tensor], clips: int) -> None:
        """Adds a step to the epoch's sums."""
        self.at.clips += clips
        for name, value in ({"clips": 1.0} | told).items():
            self.at.sums[name] = self.at.sums.get(name, 0.0) + float(value) * clips

    def close_epoch(self, stage: Stage, number: int) -> None:
        """The epoch's row: means over its clips, and the time spent."""
        clips = self.at.sums.pop("clips", 0.0) or 1.0
        row: dict[str, Any] = {"stage": self.at.stage, "epoch": number + 1, "steps": self.at.steps, "lr": stage.lr}
        row |= {name: total / clips for name, total in self.at.sums.items()}
        row |= {"seconds": round(self.at.seconds, 3), "waited": round(self.at.waited, 3)}
        self.at.sums, self.at.epoch, self.at.step = {}, self.at.epoch + 1, 0
        if distributed.rank() == 0:
            self.record(row)

    def record(self, row: dict[str, Any]) -> None:
        """Completes an epoch's row by what the validation part says, logs and tells it, and saves where that is due."""
        last = row["epoch"] == sum(each.epochs for each in self.recipe.stages)
        chooses, select = self.recipe.chooses_in(self.at.stage), self.recipe.select
        ends = last or (chooses and select == "valid" and self.at.epoch == self.recipe.stages[self.at.stage].epochs)
        if self.recipe.watch and (ends or row["epoch"] % self.recipe.watch == 0):
            row |= self.watch()
        if self.recipe.curve or (chooses and select == "test"):
            test = self.material.source(self.material.parts.test)
            row |= evaluate.curve(self.model, self.material.bank(), test, hop=self.recipe.hop)
        if chooses:
            self.choice.hear(row, self.objective)
        self.run.log(row)
        self.tell("epoch", row)
        if said := news(self.run.rows()):
            self.tell("note", {"note": said})
        if last or time.monotonic() - self.saved >= self.save_every:
            self.save()

    def watch(self) -> dict[str, Any]:
        """What the validation part says, if there is one."""
        bank, valid = self.material.bank(), self.material.source(self.material.parts.valid)
        return evaluate.watch(self.model, bank, valid, hop=self.recipe.hop) if len(valid.manifest) else {}

    def finish(self) -> dict[str, Any]:
        """Asks the validation part, saves the model, and closes the run with its result."""
        parts, start, kept = self.material.parts, self.recipe.base_start, self.choice.epoch
        teachers = [teacher.folder for teacher in self.material.teachers]
        earlier: list[str | Path] = [*([start] if start else []), *teachers]
        self.take_best()
        result: dict[str, Any] = {
            "kind": self.model.kind,
            "seconds": self.at.seconds,
            "cpu_seconds": self.at.cpu_seconds,
            "steps": self.at.steps,
            "clips": self.at.clips,
            "hours": self.material.seconds(parts.train) / 3600,
            "bytes": self.material.bytes(parts.train),
            "before": material.spent(start),
            "teaching": material.teaching(teachers),
            "told": isinstance(self.model, Classifier) or any(map(material.told, earlier)),
            "openings": self.looks("test_"),
            "selected": selected(self.recipe),
            "bad_files": len(self.material.prepared.bad),
            **self.material.planted(),
            "pretraining": material.stamp(start, self.material.digests(parts.test), teachers),
            **self.material.taught(),
        }
        if len(parts.valid):
            asked, told = (self.material.bank(), self.material.source(parts.valid)), self.run.folder
            result |= evaluate.validate(self.model, *asked, told, fold=self.recipe.split.fold, hop=self.recipe.hop)
        self.model.eval().save(self.run.folder / "model")
        result["peeks"] = self.looks("valid_") + bool(result.get("valid"))
        result |= {"kept": kept} if kept else {}
        if memory := self.objective.memory():
            checkpoint.save(self.run.folder / "memory", memory, {"kind": "memory"})
        if (known := material.known_to(start, teachers)) is not None:
            write_json(self.run.folder / "heard.json", sorted(known.union(self.material.digests(parts.train))))
        self.run.finish(result)
        return result

    def looks(self, part: str) -> int:
        """After how many epochs a part was looked at, by the names that its scores begin with in the log."""
        return sum(any(name.startswith(part) for name in row) for row in self.run.rows())
