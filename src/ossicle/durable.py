"""Files that a crash or a full disk leaves whole: strict JSON, and bytes that have reached the disk.

Every call that changes the disk goes through `os`, one at a time, where the tests can fail each of them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


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


def write_json(path: str | Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, in one step and flushed to the disk.

    Raises ValueError on NaN and OSError as it comes; `path` is then as it was.
    """
    path, content = Path(path), (json_text(value) + "\n").encode()
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        write(new, content)
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    flush(path.parent)


def write(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush(folder: Path) -> None:
    """Make the names in a folder outlive a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
