"""A recipe's plain values -> TOML that `ossicle run` follows: what is None or empty is left to its default."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def toml(tree: Mapping[str, Any]) -> str:
    """Tables of one level are written inline, lists of tables one below the other."""
    kept = _kept(tree)
    lists = {name: value for name, value in kept.items() if isinstance(value, list) and isinstance(value[0], dict)}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in kept.items() if name not in lists]
    for name, items in lists.items():
        for item in items:
            lines += [
                "",
                f"[[{_key(name)}]]",
                *(f"{_key(key)} = {_value(inner)}" for key, inner in _kept(item).items()),
            ]
    return "\n".join(lines)


def _kept(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if value is not None and value != [] and value != {}}


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(name)} = {_value(inner)}' for name, inner in _kept(value).items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(inner) for inner in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
