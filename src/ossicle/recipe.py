"""A Recipe says everything about a run: TOML in, JSON out, validated, with errors that a person can act on."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ossicle.spec import RecipeError, Spec, parse, put, to_dict


@dataclass(frozen=True)
class Stage:
    """A stretch of training. `body` is the rate below the head as a fraction of `lr`; `frontend` None keeps the last
    one.

    `events` is the rate of an event model within the encoder, as a fraction of the body's: 1 is one rate for both, 0
    keeps it as it is. `frozen` keeps everything below the head as it is; what is kept keeps its running statistics,
    and drops nothing. `start` "best" begins from the best epoch of the stage before, "last" from its last one.
    """

    epochs: int
    lr: float = 1e-3
    body: float = 1.0
    events: float = 1.0
    schedule: Spec = field(default_factory=lambda: Spec("one_cycle"))
    frontend: Spec | None = None
    frozen: bool = False
    start: Literal["last", "best"] = "last"


@dataclass(frozen=True)
class Split:
    """What is learned from. `fold` is the test fold; `valid` a fold held out of training, or "next": the one after it.

    `share` keeps that part of the training recordings, and `few` that many labelled clips a class; `transductive` lets
    pretraining hear the test fold, and stamps it. `label_noise` is the share of the training part's labels to make
    wrong, and `noise_kind` the way (data.noise.plant).
    """

    fold: int | None = None
    valid: int | Literal["next"] | None = None
    few: int | None = None
    share: float = 1.0
    transductive: bool = False
    label_noise: float = 0.0
    noise_kind: Literal["symmetric", "pair"] = "symmetric"

    def __post_init__(self) -> None:
        if not 0 <= self.label_noise <= 1:
            raise RecipeError(f"label_noise is {self.label_noise}; it is a share of the labels: 0.4 is four in ten")
        if not 0 < self.share <= 1:
            raise RecipeError(f"share is {self.share}; it is a part of the recordings: 0.25 is a quarter")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run learns. `watch`: epochs between looks at the validation part (0: never).
    `curve` looks at the test fold after every epoch, for a figure: nothing is chosen by it, and each look is counted.

    `channels` is 1, or 2 for stereo: a mono recording is then heard on both sides, and features are summed.
    `stretch` is how many seconds of a clip views choose from in training (0: the model's window),
    and `hop` those from window to window where a clip is evaluated; None for a window.
    `start` is the run or model folder to begin from; `{fold}` and `{seed}` in it, and in an objective's `teachers`, are
    replaced by the run's own.
    `keep` "best" makes the best epoch of the last stage the model, "last" its last one. What is best is what does best
    on the validation part; `select` "test" takes the test fold for that, as is often published: results are then
    stamped with it, and no measure of what comes next.
    `variants` are named overrides, `{ name = "wide", "encoder.width" = 128 }`; a `grid` adds every combination of its
    values to each, `{ "encoder.width" = [32, 64], batch = [16, 64] }`. `expect` is the published number.
    """

    data: Spec
    frontend: Spec
    encoder: Spec
    objective: Spec
    stages: tuple[Stage, ...]
    name: str = "run"
    split: Split = field(default_factory=Split)
    views: tuple[Spec, ...] = ()
    batch: int = 32
    optimizer: Spec = field(default_factory=lambda: Spec("adamw"))
    seed: int = 0
    start: str | None = None
    channels: int = 1
    stretch: float = 0.0
    hop: float | None = None
    policy: Literal["repeat", "zero"] = "repeat"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    clip_norm: float | None = None
    max_bad: float = 0.01
    watch: int = 1
    keep: Literal["last", "best"] = "last"
    select: Literal["valid", "test"] = "valid"
    curve: bool = False
    variants: tuple[Mapping[str, Any], ...] = ()
    grid: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for holds, sentence in (
            (self.stages, "a recipe needs at least one stage: add [[stages]] with epochs and lr"),
            (
                all(stage.epochs > 0 for stage in self.stages),
                "a stage needs at least one epoch: set epochs to 1 or more",
            ),
            (all(stage.lr > 0 for stage in self.stages), "a learning rate is above zero: set lr, 1e-3 say"),
            (
                all(stage.events >= 0 for stage in self.stages),
                "events is a fraction of a rate: 0 keeps the event model as it is, 1 learns it like all else",
            ),
            (
                self.batch > 1,
                f"batch is {self.batch}; batch normalization needs at least 2 clips: set batch to 2 or more",
            ),
            (
                self.channels in (1, 2),
                f"channels is {self.channels}; a model hears 1, to which others are mixed, or 2 for stereo",
            ),
            (
                all(stage.start == "last" for stage in self.stages[:1]),
                'the first stage has none before it: leave its start = "best" out; start = "runs/..." of the recipe '
                "names a run to begin from",
            ),
            (
                self.select == "valid" or self.chooses,
                'select = "test" has nothing to choose: add keep = "best", or start = "best" to a stage',
            ),
            (self.stretch >= 0, f"stretch is {self.stretch}; it is a length in seconds: 0 is the window's own"),
            (self.hop is None or self.hop > 0, f"hop is {self.hop}; it is a length in seconds: half a window, say"),
            (
                0 <= self.max_bad <= 1,
                f"max_bad is {self.max_bad}; it is a share of the files: 0.01 is one in a hundred",
            ),
            (
                all(isinstance(values, list | tuple) and values for values in self.grid.values()),
                "a grid has a list of values for each key: [64, 128], say",
            ),
        ):
            if not holds:
                raise RecipeError(sentence)

    @property
    def chooses(self) -> bool:
        """Whether the best epoch of any stage is asked for."""
        return any(map(self.chooses_in, range(len(self.stages))))

    def chooses_in(self, number: int) -> bool:
        """Whether it is the best epoch of this stage that goes on, into the next stage or into the model."""
        after = self.stages[number + 1 :]
        return (after[0].start if after else self.keep) == "best"

    @property
    def base_start(self) -> str | None:
        """`start` with the fold and the seed filled in; None where there is none, or an empty one."""
        return self.own(self.start) if self.start else None

    def own(self, path: str) -> str:
        """A path with `{fold}` and `{seed}` filled in."""
        return path.replace("{fold}", str(self.split.fold)).replace("{seed}", str(self.seed))

    def override(self, changes: Mapping[str, Any]) -> Recipe:
        """Another recipe with values replaced by dotted key: `{"encoder.width": 32, "stages.0.lr": 0.01}`."""
        tree = to_dict(self)
        for dotted, value in changes.items():
            if dotted != "name":
                put(tree, dotted, value)
        return from_dict(tree)


def load(path: str | Path) -> Recipe:
    """The recipe in a TOML file. RecipeError names the file and the key."""
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(
            f"{path} cannot be read: {error.strerror}. Give the path of a recipe, recipes/hello.toml say."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from error
    try:
        return from_dict({"name": path.stem} | tree)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def from_dict(tree: Mapping[str, Any]) -> Recipe:
    """The recipe that a tree of plain values describes; the inverse of `to_dict`."""
    return parse(Recipe, tree, "recipe")


def completed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's tree with the defaults of keys that it lacks, which it may be older than; any other tree as it is."""
    try:
        return json.loads(json.dumps(to_dict(from_dict(tree))))
    except RecipeError:
        return dict(tree)
