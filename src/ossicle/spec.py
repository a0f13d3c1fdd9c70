"""Components by name, and plain values -> typed ones with errors that a person can act on: what recipes are read by."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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


def to_dict(value: Any) -> Any:
    """Plain values, ready for JSON: a Spec becomes its name and arguments side by side."""
    if isinstance(value, Spec):
        return {"name": value.name} | to_dict(dict(value.args))
    if dataclasses.is_dataclass(value):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_dict(item) for name, item in value.items()}
    return [to_dict(item) for item in value] if isinstance(value, list | tuple) else value


def parse(kind: Any, value: Any, where: str) -> Any:
    """`value` as a `kind`: a dataclass, Spec, tuple, Literal, union or plain type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _parse_union(inner, value, where)
    if origin is Literal:
        return value if value in inner else _refuse(value, f"one of {_list(inner)}", where)
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else _refuse(value, "a list", where)
        return tuple(parse(inner[0], item, f"{where}[{i}]") for i, item in enumerate(items))
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
            return parse(kind, value, where)
        except RecipeError:
            continue
    return parse(kinds[-1], value, where)


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
    return kind(**{name: parse(hints[name], item, f"{where}.{name}") for name, item in value.items()})


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


def put(tree: Any, dotted: str, value: Any) -> None:
    """Replaces what a tree of plain values holds under a dotted name; RecipeError where there is no such place.

    A variant holds overrides by dotted names itself: under `variants.1.stages.0.lr` its "stages.0.lr" is put.
    """
    *path, last = dotted.split(".", 2) if dotted.startswith("variants.") else dotted.split(".")
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
