"""A Recipe says everything about a run: TOML in, JSON out, validated, with errors that a person can act on."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


class RecipeError(ValueError):
    """A recipe that cannot be followed; the message says where, what came, what was wanted and what to do."""


@dataclass(frozen=True)
class Spec:
    """A component by name with its arguments. In TOML: `"resnet"`, or `{ name = "resnet", depth = 18 }`."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def build(self, table: Mapping[str, Callable[..., Any]], **context: Any) -> Any:
        """Calls `table[name]` with the arguments, and with what of the context its signature asks for."""
        if self.name not in table:
            raise RecipeError(f"unknown component '{self.name}'; known: {_list(table)}.{_nearest(self.name, table)}")
        make = table[self.name]
        accepted = [name for name in inspect.signature(make).parameters if name != "self"]
        if unknown := [name for name in self.args if name not in accepted]:
            settable = [name for name in accepted if name not in context]
            raise RecipeError(
                f"'{self.name}' has no argument '{unknown[0]}'; it takes: {_list(settable)}."
                f"{_nearest(unknown[0], settable)}"
            )
        try:
            return make(**{name: value for name, value in context.items() if name in accepted} | dict(self.args))
        except (TypeError, ValueError) as error:
            raise RecipeError(f"'{self.name}' cannot be built with {dict(self.args)}: {error}") from error


@dataclass(frozen=True)
class Stage:
    """A stretch of training. `body` is the rate below the head as a fraction of `lr`; `frontend` None keeps the last
    one.

    `frozen` keeps everything below the head as it is, running statistics included.
    """

    epochs: int
    lr: float = 1e-3
    body: float = 1.0
    schedule: Spec = field(default_factory=lambda: Spec("one_cycle"))
    frontend: Spec | None = None
    frozen: bool = False


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
    `start` is the run or model folder to begin from; `{fold}` and `{seed}` in it are replaced by the run's own.
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
                self.batch > 1,
                f"batch is {self.batch}; batch normalization needs at least 2 clips: set batch to 2 or more",
            ),
            (
                self.channels in (1, 2),
                f"channels is {self.channels}; a model hears 1, to which others are mixed, or 2 for stereo",
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
    def base_start(self) -> str | None:
        """`start` with the fold and the seed filled in; None where there is none, or an empty one."""
        if not self.start:
            return None
        return self.start.replace("{fold}", str(self.split.fold)).replace("{seed}", str(self.seed))

    def override(self, changes: Mapping[str, Any]) -> Recipe:
        """Another recipe with values replaced by dotted key: `{"encoder.width": 32, "stages.0.lr": 0.01}`."""
        tree = to_dict(self)
        for dotted, value in changes.items():
            if dotted != "name":
                _put(tree, dotted, value)
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
    return _parse(Recipe, tree, "recipe")


def completed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's tree with the defaults of keys that it lacks, which it may be older than; any other tree as it is."""
    try:
        return json.loads(json.dumps(to_dict(from_dict(tree))))
    except RecipeError:
        return dict(tree)


def to_dict(value: Any) -> Any:
    """Plain values, ready for JSON: a Spec becomes its name and arguments side by side."""
    if isinstance(value, Spec):
        return {"name": value.name} | to_dict(dict(value.args))
    if dataclasses.is_dataclass(value):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_dict(item) for name, item in value.items()}
    return [to_dict(item) for item in value] if isinstance(value, list | tuple) else value


def _parse(kind: Any, value: Any, where: str) -> Any:
    """`value` as a `kind`: a dataclass, Spec, tuple, Literal, union or plain type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _parse_union(inner, value, where)
    if origin is Literal:
        return value if value in inner else _refuse(value, f"one of {_list(inner)}", where)
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else _refuse(value, "a list", where)
        return tuple(_parse(inner[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if kind is Spec:
        return _parse_spec(value, where)
    if dataclasses.is_dataclass(kind):
        return _parse_fields(kind, value, where)
    if origin in (Mapping, dict) or kind is Mapping:
        return dict(value) if isinstance(value, Mapping) else _refuse(value, "a table", where)
    return _parse_plain(kind, value, where)


def _parse_union(kinds: Iterable[Any], value: Any, where: str) -> Any:
    kinds = [kind for kind in kinds if kind is not type(None)]
    if value is None:
        return None
    for kind in kinds[:-1]:
        try:
            return _parse(kind, value, where)
        except RecipeError:
            continue
    return _parse(kinds[-1], value, where)


def _parse_spec(value: Any, where: str) -> Spec:
    if isinstance(value, Spec):
        return value
    if isinstance(value, str):
        return Spec(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        _refuse(value, 'a name, or a table with one: { name = "resnet", depth = 18 }', where)
    return Spec(value["name"], {name: item for name, item in value.items() if name != "name"})


def _parse_fields(kind: Any, value: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        _refuse(value, "a table", where)
    hints = typing.get_type_hints(kind)
    if unknown := [name for name in value if name not in hints]:
        raise RecipeError(f"{where} has no key '{unknown[0]}'; known: {_list(hints)}.{_nearest(unknown[0], hints)}")
    required = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in required if name not in value]:
        raise RecipeError(f"{where} lacks {_list(missing)}: add it")
    return kind(**{name: _parse(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _parse_plain(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(kind, kind.__name__)
    return _refuse(value, wanted, where)


def _refuse(value: Any, wanted: str, where: str) -> Any:
    came = f"the text '{value}'" if isinstance(value, str) else repr(value)
    unquote = " (written without quotes)" if isinstance(value, str) and "number" in wanted else ""
    raise RecipeError(f"{where} is {came}; wanted: {wanted}{unquote}")


def _put(tree: Any, dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    try:
        for name in path:
            tree = tree[int(name)] if isinstance(tree, list) else tree[name]
        tree[int(last) if isinstance(tree, list) else last] = value
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise RecipeError(f"nothing in the recipe is called '{dotted}': check the override's spelling") from error


def _list(names: Iterable[Any]) -> str:
    return ", ".join(str(name) for name in names) or "nothing"


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), [str(item) for item in known], n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
