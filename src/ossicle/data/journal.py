"""What the cache remembers of paths: size and mtime -> entry, as JSON lines that any number of processes append to.

Lines are written by one call in append mode, begin and end with a newline, and are skipped if they do not parse: a torn
one costs the reading of one file. Nothing is lost if the journal is: the entries themselves say what they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ossicle.data.decode import Entry

Key = tuple[str, int, str | int]  # path, sample rate, channels


@dataclass(frozen=True)
class Known:
    """A path's entry, and the (size, mtime_ns) that the file had when it was read."""

    mark: tuple[int, int]
    entry: Entry


class Journal:
    """The journal in `file`, read as far as it goes whenever something is looked for that is not there yet."""

    def __init__(self, file: Path):
        self.file = file
        self._known: dict[Key, Known] = {}
        self._read = (-1, 0)  # inode, bytes taken in

    def __getitem__(self, key: Key) -> Known | None:
        return self._known.get(key)

    def refresh(self) -> None:
        """Takes in the lines that were added since, by whomever."""
        try:
            with self.file.open("rb") as opened:
                inode = os.fstat(opened.fileno()).st_ino
                start = self._read[1] if self._read[0] == inode else 0
                opened.seek(start)
                text = opened.read()
        except OSError:
            return
        whole = text.rfind(b"\n") + 1
        for line in text[:whole].splitlines():
            self._take(line)
        self._read = inode, start + whole

    def _take(self, line: bytes) -> None:
        try:
            path, rate, channels, size, mtime, fields = json.loads(line)
            self._known[path, rate, channels] = Known((size, mtime), Entry.of(fields))
        except (ValueError, TypeError, KeyError, AttributeError):
            return

    def add(self, found: Iterable[tuple[Key, Known]]) -> None:
        """Remembers, here and for others. OSError if the disk will not have it."""
        lines = []
        for key, known in found:
            self._known[key] = known
            lines.append(json.dumps([*key, *known.mark, asdict(known.entry)]))
        if lines:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab", buffering=0) as opened:
                opened.write(("\n" + "\n".join(lines) + "\n").encode())
