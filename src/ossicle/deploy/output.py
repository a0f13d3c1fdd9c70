"""Where the lines of events go: to a function, to one file, or to a file for each recording in a folder.

Beside a file FILE lies FILE.heard, in a folder heard.jsonl: a line for each recording that was heard to its end, with
how many bytes FILE had then. What a power cut left of an unfinished recording is cut off, and it is heard again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ossicle.deploy.events import Event
from ossicle.deploy.faults import Fault
from ossicle.deploy.formats import Format, Place, printable
from ossicle.durable import append, append_row, flush, keep_rows, read_rows, write
from ossicle.lock import Lock
from ossicle.plain import differences

Write = Callable[[str], None]


class OutputError(ValueError):
    """The output cannot be written here, or not gone on with; says why, and what to do."""


class Output:
    """Lines to `write`, each as soon as it is known; `total` of them are events. `known` recordings were heard before.

    `count` and `seconds` are the events and the sound told in the file that is being written, from its beginning.
    """

    def __init__(self, format: Format, write: Write, *, headed: bool = False) -> None:
        self.format, self._write = format, write
        self.total = self.count = self.known = 0
        self.seconds = 0.0
        if format.heading and not headed:
            write(format.heading)

    def begin(self, name: str) -> None:
        """The next events are of the recording of this name."""

    def event(self, event: Event, place: Place) -> None:
        """One line more."""
        self.count += 1
        self.total += 1
        self._write(self.format.line(event, place, self.count))

    def fault(self, fault: Fault, place: Place) -> None:
        """One line more, where the format can hold it."""
        if self.format.fault is not None:
            self._write(self.format.fault(fault, place))

    def end(self, name: str, seconds: float, path: Path | None = None) -> None:
        """The recording has ended; one that lies at a `path` need not be heard again."""
        self.seconds += seconds

    def has(self, name: str, path: Path) -> bool:
        """Whether this recording, as it lies at the path now, was heard before."""
        return False

    def close(self) -> None:
        """Nothing more comes."""


class FileOutput(Output):
    """All events in one file. `how` is what they depend on: a file of other settings is not gone on with.

    `live`: the sound comes from a microphone or a pipe, so that lines are added to whatever whole lines are there. A
    file that was begun live is gone on with live, for nothing says which of its lines could be heard again.
    """

    def __init__(self, format: Format, path: Path, how: Mapping[str, Any], *, live: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._lock = path, Lock(path.with_name(f"{path.name}.lock"))
        self._heard = _Heard(path.with_name(f"{path.name}.heard"), dict(how) | {"live": live})
        if path.exists() and path.stat().st_size and not (self._heard.begun or live):
            raise OutputError(
                f"{path} is there, and no {self._heard.path.name} beside it that says what it holds: "
                "give another name, or delete it"
            )
        with _locked(self._lock):
            whole, lines = _whole_lines(path) if live else (int(self._heard.last.get("bytes", 0)), 0)
            self._cut(whole)
            super().__init__(format, self._line, headed=whole > 0)
        self.count = int(self._heard.last.get("count", max(0, lines - bool(format.heading))))
        self.seconds = sum(float(row["seconds"]) for row in self._heard.rows)

    def _cut(self, whole: int) -> None:
        """So many bytes of the file are gone on with; what is behind them is cut off."""
        there = self._path.stat().st_size if self._path.exists() else 0
        if whole > there:
            raise OutputError(
                f"{self._path} is not there or shorter than {self._heard.path.name} says: "
                "put it back, or delete both to begin anew"
            )
        self._heard.begin()
        if there:
            os.truncate(self._path, whole)

    def _line(self, line: str) -> None:
        _add(self._path, line)

    def end(self, name: str, seconds: float, path: Path | None = None) -> None:
        super().end(name, seconds)
        if path is not None:
            append(self._path, b"")
            flush(self._path)
            size = self._path.stat().st_size
            self._heard.add(str(path.absolute()), path, seconds, bytes=size, count=self.count)

    def has(self, name: str, path: Path) -> bool:
        return self._heard.has(str(path.absolute()), path)

    def close(self) -> None:
        self._lock.release()


class FolderOutput(Output):
    """A file for each recording, `b/rec.wav.txt` for `b/rec.wav`; one that was not heard to its end is written anew.

    A name longer than disks take is cut and closed by a checksum of the whole.
    """

    def __init__(self, format: Format, folder: Path, how: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._file, self._lock = folder, folder, Lock(folder / "heard.lock")
        self._heard = _Heard(folder / "heard.jsonl", how)
        with _locked(self._lock):
            self._heard.begin()
        self._written: dict[Path, Path | None] = {}  # file of events -> recording
        super().__init__(format, self._line, headed=True)

    def _line(self, line: str) -> None:
        _add(self._file, line)

    def begin(self, name: str) -> None:
        self._file = self._place(name)
        self._alone(self._file not in self._written, self._file)
        self._written[self._file] = None
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write(self._file, f"{self.format.heading}\n".encode() if self.format.heading else b"")
        self.count, self.seconds = 0, 0.0

    def end(self, name: str, seconds: float, path: Path | None = None) -> None:
        super().end(name, seconds)
        if path is not None:
            flush(self._file)
            self._heard.add(name, path, seconds)
            self._written[self._file] = path

    def has(self, name: str, path: Path) -> bool:
        known, file = self._heard.has(name, path), self._place(name)
        self._alone(not known or self._written.setdefault(file, path) == path, file)
        return known

    def _place(self, name: str) -> Path:
        folder, last = os.path.split(name)
        return self._folder / folder / fitting(last, self.format.suffix)

    def _alone(self, alone: bool, file: Path) -> None:
        if not alone:
            raise OutputError(f"two recordings would both be told in {file}: listen to their folders one by one")

    def close(self) -> None:
        self._lock.release()


def to(out: str | Path, format: Format, how: Mapping[str, Any], *, live: bool = False, several: bool = False) -> Output:
    """The output for a path: a folder where one is there or the name ends in a slash, else a file.

    `live`: some of the sound comes from a microphone or a pipe. `several`: there may be more than one recording.
    """
    path = Path(out)
    if path.is_dir() or str(out).endswith("/"):
        if live:
            raise OutputError(f"{out} is a folder, for one file a recording: what comes live wants -o FILE")
        return FolderOutput(format, path, how)
    if path.exists() and not path.is_file():
        raise OutputError(
            f"{out} is no file that can be gone on with: leave -o out, and redirect what is printed, > {out}"
        )
    if format.apart and several:
        raise OutputError(f"this format holds one recording a file: give a folder, -o {path.stem}/, for several")
    return FileOutput(format, path, how, live=live)


class _Heard:
    """The recordings that were heard to their end, by name, with their size and time of change."""

    def __init__(self, path: Path, how: Mapping[str, Any]) -> None:
        self.path, self._how = path, dict(how)
        found = read_rows(path)
        self.begun = bool(found)
        self.rows = found[1:]
        if found and (changed := differences(found[0], self._how)):
            told = "; ".join(map(str, changed))
            raise OutputError(f"{path} was begun otherwise ({told}): give another output, or the same settings")
        self._known: dict[str, dict[str, Any]] = {row["name"]: row for row in self.rows}

    @property
    def last(self) -> dict[str, Any]:
        return self.rows[-1] if self.rows else {}

    def begin(self) -> None:
        keep_rows(self.path, len(self.rows) + self.begun)  # a line that was cut is not gone on with
        if not self.begun:
            append_row(self.path, self._how)

    def add(self, name: str, path: Path, seconds: float, **values: Any) -> None:
        row = {"name": printable(name), **_stamp(path), "seconds": seconds, **values}
        append_row(self.path, row)
        self._known[row["name"]] = row

    def has(self, name: str, path: Path) -> bool:
        known = self._known.get(printable(name))
        return known is not None and all(known[key] == value for key, value in _stamp(path).items())


def fitting(name: str, suffix: str) -> str:
    """`name` and `suffix`; where they are longer than the 255 bytes that disks take, a checksum stands for the rest."""
    whole, most = os.fsencode(name), 255 - len(suffix)
    if len(whole) <= most:
        return name + suffix
    return f"{whole[: most - 9].decode(errors='ignore')}-{zlib.crc32(whole):08x}{suffix}"


@contextmanager
def _locked(lock: Lock) -> Iterator[None]:
    """Takes the lock for good, unless what is done within fails."""
    lock.acquire()
    try:
        yield
    except BaseException:
        lock.release()
        raise


def _add(path: Path, line: str) -> None:
    """OSError, with the file's name, where the disk is full or may not be written."""
    try:
        append(path, f"{line}\n".encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _stamp(path: Path) -> dict[str, int]:
    """Size and time of change; zeros where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return {"size": 0, "changed": 0}
    return {"size": status.st_size, "changed": status.st_mtime_ns}


def _whole_lines(path: Path) -> tuple[int, int]:
    """Bytes of a file up to its last line break, and how many lines they are."""
    if not path.exists():
        return 0, 0
    with path.open("rb") as file:
        sizes = [len(line) for line in file if line.endswith(b"\n")]
    return sum(sizes), len(sizes)
