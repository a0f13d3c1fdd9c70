"""Files that a crash or a full disk leaves whole, and bytes that have reached the disk.

Every call that changes the disk goes through `os`, one at a time, where the tests can fail each of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ossicle.plain import json_text


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


def read_json(path: str | Path) -> Any:
    """The value in a JSON file. Raises ValueError as a sentence when it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read: {error}. Make it again, or fetch it from where it was made."
        ) from error


def write(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, content: bytes) -> None:
    """Add to a file and hand it to the system, which writes it out in its own time. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        _write_all(descriptor, content)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def flush(path: Path) -> None:
    """Make a file's content, or the names in a folder, outlive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line of JSON. Raises ValueError on NaN, OSError as it comes."""
    append(path, (json_text(row, indent=None) + "\n").encode())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of JSON in a file, none if there is no file; a last line cut short is left out. Raises ValueError."""
    return [json.loads(line) for line in _lines(path)]


def keep_rows(path: Path, count: int) -> int:
    """Cut a file back to its first `count` lines, in one step, and return how many it has."""
    lines = _lines(path)[:count]
    if path.exists() and path.stat().st_size > sum(map(len, lines)):
        new = path.with_name(f".{path.name}.{os.getpid()}.new")
        write(new, b"".join(lines))
        new.replace(path)
        flush(path.parent)
    return len(lines)


def _lines(path: Path) -> list[bytes]:
    content = path.read_bytes() if path.exists() else b""
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
