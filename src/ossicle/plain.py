"""Plain values: strict JSON text, the names of its leaves, and what differs between two of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """Strict JSON, the same text for the same value.

    NumPy numbers and arrays become plain ones, and paths text. Raises ValueError naming where NaN or infinity stands,
    TypeError for what JSON cannot hold.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False, default=_plain)
    except ValueError as error:
        odd = [name for name, leaf in flat(value).items() if isinstance(leaf, float) and not math.isfinite(leaf)]
        where = ", ".join(odd) or "a value"
        raise ValueError(f"JSON has no NaN or infinity, and {where} is one: write None instead.") from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} ({type(value).__name__}) cannot be written as JSON")


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": [1, 2]}} -> {"a.b.0": 1, "a.b.1": 2}; empty dicts and lists stay as leaves."""
    if isinstance(value, Mapping) and value:
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list | tuple) and value:
        items = list(enumerate(value))
    else:
        return {prefix: value}
    dot = prefix and prefix + "."
    return {name: leaf for key, inner in items for name, leaf in flat(inner, f"{dot}{key}").items()}


def digest(value: Any) -> str:
    """SHA-256, 64 hexadecimal digits: of bytes as they are, of anything else as JSON."""
    return hashlib.sha256(value if isinstance(value, bytes) else json_text(value, indent=None).encode()).hexdigest()


class Difference(NamedTuple):
    """One leaf, by its dotted name, that is not what it was; None where it is absent."""

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.name}: {_shown(self.old)} -> {_shown(self.new)}"


def _shown(value: Any) -> str:
    text = "(none)" if value is None else json_text(value, indent=None)
    return text if len(text) <= 80 else f"{text[:77]}..."


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every leaf in which two JSON values differ, by dotted name."""
    before, after = flat(old), flat(new)
    names = dict.fromkeys([*before, *after])
    return [
        Difference(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    ]
