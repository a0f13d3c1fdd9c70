"""Options that several verbs take, and what they change in a recipe."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter


class UsageError(ValueError):
    """Options that cannot be followed together or on this machine; the message says what to do."""


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def option(help: str, *names: str, negative: str | None = None) -> Parameter:
    """A parameter's help, its names where the function's own would not do, and what says no to it, if anything does."""
    return Parameter(name=names or None, help=help, negative=negative or ())


Out = Annotated[Path, option("The folder to write; an unfinished run in it goes on.", "--out", "-o")]
From = Annotated[str | None, option("The run to begin from; of several, each fold takes its own.", "--from")]
Folds = Annotated[bool, option("One run for each fold of the data, in OUT/fold1, OUT/fold2, ...")]
Seconds = Annotated[float | None, option("The window that the model hears at once.")]
Rate = Annotated[int | None, option("The sample rate that the model hears, Hz.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Learning:
    """What can be asked of every verb that learns; what is not asked for stays as the recipe has it."""

    fold: Annotated[int | None, option("The test fold, kept out of everything.")] = None
    valid: Annotated[str | None, option("The fold to watch and calibrate on: a number, next or none.")] = None
    seed: Annotated[int | None, option("The seed of all that is drawn.")] = None
    epochs: Annotated[int | None, option("Times that every clip is heard.")] = None
    lr: Annotated[float | None, option("The highest learning rate.")] = None
    batch: Annotated[int | None, option("Clips a step.")] = None
    precision: Annotated[Literal["auto", "bf16", "fp32"] | None, option("auto: what is fastest here.")] = None
    max_bad: Annotated[float | None, option("The share of files that may be unusable.")] = None
    set: Annotated[
        tuple[str, ...], option("KEY=VALUE: any key of the recipe: encoder.width=32, stages.1.lr=1e-3. Give several.")
    ] = ()
    allow: Annotated[tuple[str, ...], option("What may differ when a run goes on, recipe.batch say.")] = ()
    device: Annotated[str, option("Where to learn: cuda, cpu, or auto, cuda where there is one.")] = "auto"

    def changes(self) -> dict[str, Any]:
        """The recipe's keys that were asked for, with their values."""
        asked: dict[str, Any] = given(seed=self.seed, batch=self.batch, precision=self.precision, max_bad=self.max_bad)
        asked |= given(**{"split.fold": self.fold, "stages.0.epochs": self.epochs, "stages.0.lr": self.lr})
        if self.valid is not None:
            known: dict[str, Any] = {"none": None, "next": "next"}
            asked["split.valid"] = known[self.valid] if self.valid in known else _fold(self.valid)
        return asked | dict(setting(text) for text in self.set)

    def typed(self) -> list[str]:
        """What was asked, as it is typed."""
        said = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return [
            word
            for name, (value, usual) in said.items()
            if value != usual
            for each in (value if isinstance(value, tuple) else (value,))
            for word in (f"--{name.replace('_', '-')}", str(each))
        ]

    def ways(self) -> dict[str, Any]:
        """What was asked that is no part of the recipe."""
        return {"fold": self.fold, "allow": self.allow, "device": self.device}


USUAL = Learning()


def setting(text: str) -> tuple[str, Any]:
    """`key=value` -> the key, and the value as TOML reads it, or as a text where it is no TOML."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: wanted KEY=VALUE, encoder.width=32 say")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _fold(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"--valid {text}: wanted a fold's number, next or none")
    return int(text)
