"""A recipe's names -> modules: views, objective and model, with fresh weights or those of an earlier run."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ossicle import checkpoint, draw
from ossicle.data.manifest import Manifest
from ossicle.draw import Draw
from ossicle.encoders import ENCODERS
from ossicle.material import Tell, quiet
from ossicle.model import Backbone, Classifier, load
from ossicle.objectives import NPID, OBJECTIVES, Contrastive, Joint, Supervised
from ossicle.objectives.distill import Lesson
from ossicle.recipe import Recipe, RecipeError, Spec, Stage, to_dict
from ossicle.schedules import SCHEDULES
from ossicle.spec import parse
from ossicle.views import VIEWS, Views


def backbone(recipe: Recipe) -> Backbone:
    """The recipe's front end and encoder, as its first stage has them."""
    heard = recipe.stages[0].frontend or recipe.frontend
    return Backbone(heard, recipe.encoder, policy=recipe.policy, channels=recipe.channels)


def views(recipe: Recipe, model: Backbone) -> Views:
    """The recipe's views around the model's present front end."""
    context = {"sample_rate": model.sample_rate, "efold": model.frontend.efold}
    return Views(model.frontend, [view.build(VIEWS, **context) for view in recipe.views])


def stretch(recipe: Recipe, model: Backbone) -> int:
    """The samples of a clip that views are given in training: the recipe's `stretch`, or the model's window."""
    return max(model.window, round(recipe.stretch * model.sample_rate))


def rehearse(recipe: Recipe, tell: Tell = quiet) -> None:
    """Assembles every stage on a window of silence for two made-up clips and tells the shapes: a mismatch fails at
    once.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = backbone(recipe)
        for number, stage in enumerate(recipe.stages):
            if stage.frontend is not None:
                model.hear(stage.frontend)
            _pace(stage, steps=1 << 30)
            _refuse_no_events(recipe, stage)
            wave, view = quiet_view(recipe, model, 2)
            image = model.frontend(wave[..., : model.window])
            _refuse_uncut(recipe, image.shape[-1], view.shape[-1])
            if stage.events == number == 0 and not recipe.base_start:
                tell(
                    "note",
                    {"note": "the event model stays as it was drawn, and knows nothing: start names one that does"},
                )
            shown = {"wave": wave, "image": image, "view": view, "feature": model.encode(view)}
            tell("shape", {"stage": number} | {name: tuple(tensor.shape) for name, tensor in shown.items()})


def rehearse_paces(recipe: Recipe, clips: int) -> None:
    """RecipeError where a stage's schedule does not fit the steps that it has with so many clips."""
    for stage in recipe.stages:
        _pace(stage, steps=stage.epochs * math.ceil(clips / recipe.batch))


def _pace(stage: Stage, *, steps: int) -> None:
    stage.schedule.build(SCHEDULES, step=0, steps=steps, epochs=stage.epochs)


def quiet_view(recipe: Recipe, model: Backbone, clips: int) -> tuple[Tensor, Tensor]:
    """Silence (B, C, T) as long as what views are given, and their image of it (B, C, M, F, n): all that training's
    images have but the sound.
    """
    wave = model.mean.new_zeros(clips, model.channels, stretch(recipe, model))
    made, draws = views(recipe, model), Draw(recipe.seed, 0, np.arange(clips), device=wave.device)
    return wave, made(wave, draws, wave[:, None].expand(-1, made.others, -1, -1))


def _refuse_no_events(recipe: Recipe, stage: Stage) -> None:
    if stage.events != 1 and "events" not in _spelled_out(recipe.encoder):
        raise RecipeError(
            f"events = {stage.events:g} is the rate of an event model, and the encoder '{recipe.encoder.name}' has "
            "none: leave it out, or take 'vfm', 'jrm' or 'cmam'"
        )


def _refuse_uncut(recipe: Recipe, heard: int, learned: int) -> None:
    if recipe.stretch and learned > heard:
        raise RecipeError(
            f"stretch = {recipe.stretch:g} s leaves {learned} frames after all views, and the model hears {heard}: add "
            "a view that cuts, crop or patch, or leave stretch out"
        )


def objective(
    recipe: Recipe, train: Manifest, tell: Tell = quiet, lesson: Lesson | Sequence[Tensor] | None = None
) -> Any:
    """What is trained: weights by the recipe's seed, then the encoder of the run or model that it starts from.

    A student needs the `lesson` that its teachers give for these clips, answers or features.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw.key(recipe.seed, "init"))
        model = backbone(recipe)
        context: dict[str, Any] = {
            "backbone": model,
            "views": views(recipe, model),
            "keys": train.keys(),
            "groups": train.groups(),
            "seed": recipe.seed,
        }
        if recipe.objective.name == "supervised":
            context["classifier"] = Classifier(model, train.classes, multilabel=train.multilabel)
            context["counts"] = torch.from_numpy(np.array([_count(train, label) for label in train.classes]))
        if isinstance(lesson, Lesson):
            context["classifier"] = Classifier(model, lesson.labels, multilabel=lesson.multilabel)
            context["lesson"] = lesson
        elif lesson is not None:
            context["features"] = lesson
        made = recipe.objective.build(OBJECTIVES, **context)
    if made.views.others and not isinstance(made, Contrastive | Joint):
        raise RecipeError(
            f"mixback mixes in other clips, which '{recipe.objective.name}' does not bring: take it out of the views, "
            "give it background = \"own\", or learn by 'contrastive' or 'joint'"
        )
    if recipe.base_start:
        begin_from(recipe.base_start, made, model, tell)
    if isinstance(made, Supervised) and made.head:
        tell("note", {"note": take_rows(recipe.own(made.head), made.model)})
    return made


def begin_from(start: str | Path, made: Any, model: Backbone, tell: Tell = quiet) -> None:
    """Takes over an earlier encoder and its normalization and, where both learn without labels, what its memory holds.

    The encoders must be one and the same, but for three things, which are told: gates (`attention`) that only the new
    one has stay fresh, a first convolution that was of another number of maps is adapted (`for_maps`), and one that is
    the new one's event model becomes just that.
    """
    earlier = load(start)
    earlier = earlier.backbone if isinstance(earlier, Classifier) else earlier
    for note in take_over(earlier, model, str(start)):
        tell("note", {"note": note})
    if sound_alike(earlier.specs["frontend"], model.specs["frontend"]):
        model.normalize_as(earlier)
    if isinstance(made, NPID | Contrastive | Joint) and (Path(start) / "memory").exists():
        note = made.remember(checkpoint.load(Path(start) / "memory")[0])
        if note:
            tell("note", {"note": f"{start}: {note}"})


def take_over(earlier: Backbone, model: Backbone, start: str) -> list[str]:
    """Gives one model the other's encoder. What is not as it was, in sentences; RecipeError where it cannot be."""
    notes = []
    held, asked = (_spelled_out(each.specs["encoder"]) for each in (earlier, model))
    if held == asked.get("events"):
        return _take_over_events(earlier, model, start)
    if held not in (asked, asked | {"attention": False}):
        raise RecipeError(
            f"{start} holds the encoder {_told(held, asked)}, and the recipe asks for {_told(asked, held)}: use one "
            "and the same"
        )
    old, new = earlier.encoder.state_dict(), model.encoder.state_dict()
    stem = next(iter(new))
    if old[stem].shape[1] == earlier.frontend.maps and old[stem].shape != new[stem].shape:
        notes.append(f"{stem} is of {old[stem].shape[1]} maps in {start}, and fitted to {new[stem].shape[1]} here")
        old[stem] = for_maps(old[stem], new[stem].shape[1])
    if odd := [name for name in old if old[name].shape != new[name].shape]:
        raise RecipeError(
            f"{odd[0]} has the shape {tuple(old[odd[0]].shape)} in {start}, and {tuple(new[odd[0]].shape)} here: "
            "use the same front end"
        )
    if fresh := sorted({name.partition(".")[0] for name in new.keys() - old.keys()}):
        notes.append(f"{start} has no {', '.join(fresh)}: they start fresh")
    model.encoder.load_state_dict(new | old)
    return notes


@torch.no_grad()
def take_rows(known: str | Path, model: Classifier) -> str:
    """Gives a classifier's head the rows that an earlier one has for the same classes. Which are fresh, in a sentence;
    RecipeError where the two heads read other features, or another number of labels a clip, or no class is the same.
    """
    earlier = load(known)
    if not isinstance(earlier, Classifier) or earlier.multilabel != model.multilabel:
        what = f"a classifier of {'several labels' if model.multilabel else 'one label'} a clip"
        raise RecipeError(
            f"head = {known} is not {what}, which the recipe asks for: name a run that is, or leave it out"
        )
    if earlier.backbone.dim != model.backbone.dim:
        sizes = f"features of {earlier.backbone.dim} values, and the encoder here gives {model.backbone.dim}"
        raise RecipeError(f"head = {known} reads {sizes}: use one and the same encoder")
    both = [label for label in model.labels if label in earlier.labels]
    if not both:
        raise RecipeError(f"head = {known} knows none of the classes here ({', '.join(model.labels)}): leave it out")
    here, there = ([each.labels.index(label) for label in both] for each in (model, earlier))
    model.head.weight[here] = earlier.head.weight[there]
    model.head.bias[here] = earlier.head.bias[there]
    fresh = [label for label in model.labels if label not in both]
    told = f"{known} knows {len(both)} of {len(model.labels)} classes, and their rows of the head are kept"
    return f"{told}; fresh: {', '.join(fresh) or 'none'}"


def _told(own: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """`resnet with depth = 34`: an encoder, and in what it differs from another of its name."""
    same = own["encoder"] == other["encoder"]
    odd = [f"{name} = {value}" for name, value in own.items() if same and value != other.get(name)]
    return f"{own['encoder']} with {', '.join(odd)}" if odd else str(own["encoder"])


def _take_over_events(earlier: Backbone, model: Backbone, start: str) -> list[str]:
    heard, hears = (each.specs["frontend"] for each in (earlier, model))
    if not sound_alike(heard, hears):
        raise RecipeError(
            f"{start} hears through {to_dict(heard)}, and the recipe through {to_dict(hears)}: an event model wants "
            "the front end that it learned with, be it of other seconds"
        )
    model.encoder.events.load_state_dict(earlier.encoder.state_dict())
    return [f"{start} becomes the event model; all else starts fresh"]


def for_maps(weight: Tensor, maps: int) -> Tensor:
    """(O, M, h, w) -> (O, maps, h, w): a first convolution for images of another number of maps.

    Both sets of maps divide one range, and each new map takes of every old one what it covers of it: 3 -> 1 is the sum,
    3 -> 6 halves each, 1 -> 3 gives each a third. So an image whose maps are all alike is answered as before, whatever
    the numbers, and bands keep their order.
    """
    return weight.repeat_interleave(maps, 1).unflatten(1, (maps, -1)).sum(2) / maps


def _spelled_out(encoder: Spec) -> dict[str, Any]:
    """An encoder's name and its arguments, those that were left to their default among them; not how it is drawn."""
    takes = inspect.signature(ENCODERS[encoder.name]).parameters
    usual = {name: item.default for name, item in takes.items() if item.default is not item.empty}
    told = {"encoder": encoder.name} | usual | dict(encoder.args)
    told |= {"events": _spelled_out(parse(Spec, told["events"], "encoder.events"))} if "events" in told else {}
    return {name: value for name, value in told.items() if name != "init"}


def sound_alike(one: Spec, other: Spec) -> bool:
    """Whether two front ends differ in nothing but how long they listen."""
    return one.name == other.name and {**one.args, "seconds": 0} == {**other.args, "seconds": 0}


def _count(manifest: Manifest, label: str) -> int:
    return sum(label in clip.labels for clip in manifest.clips)
