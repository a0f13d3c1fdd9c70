"""Files, folders and raw samples (C, t) from a pipe -> events, one a line. What `ossicle listen` does; no torch."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ossicle import audio
from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.events import FORMATS, HEADINGS

PIPE = "-"
SOUND = (
    *(".wav", ".wave", ".rf64", ".flac", ".ogg", ".oga", ".opus"),
    *(".mp3", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".aifc"),
)
"""Names that promise sound: a file of a folder that has one and cannot be heard is reported; others are passed over."""

Write = Callable[[str], None]


def to_output(line: str) -> None:
    """Print a line at once, so that whoever reads a pipe hears of an event when it ends."""
    print(line, flush=True)


def to_errors(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def listen(
    recognizer: Recognizer,
    sources: Iterable[str | Path],
    *,
    format: str = "json",
    pipe: BinaryIO | None = None,
    sample_rate: int | None = None,
    channels: int = 1,
    encoding: str = "s16le",
    write: Write = to_output,
    report: Write = to_errors,
    **thresholds: Any,
) -> int:
    """Write the events of every source as lines of "json", "csv" or "text", each as soon as it has ended.

    A source is a sound file, a folder (every sound in it and below, by content, in order of names) or "-": raw samples
    from `pipe` (standard input), `channels` interleaved, "s16le" or "f32le", at `sample_rate` Hz (default the model's).
    `thresholds` stand for the bundle's own (see `events`). Memory does not grow with the length of a recording.

    What cannot be heard, or not to its end, is told to `report` as one line of JSON (path, stage, reason) and does
    not stop the rest. Returns the exit code: 0, or 1 where anything was reported.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format '{format}'; known: {', '.join(FORMATS)}")
    if format in HEADINGS:
        write(HEADINGS[format])
    listener = _Listener(recognizer, format, write, report, thresholds)
    for source in sources:
        if str(source) == PIPE:
            rate = sample_rate or recognizer.sample_rate
            raw = audio.read_raw(pipe or sys.stdin.buffer, channels=channels, format=encoding, block=max(1, rate // 10))
            listener.hear(PIPE, _until_interrupted(raw), rate)
        elif Path(source).is_dir():
            listener.hear_folder(Path(source))
        else:
            listener.hear_file(Path(source))
    return 1 if listener.reported else 0


class _Listener:
    """Hears one source after another, and remembers whether anything had to be reported."""

    def __init__(
        self, recognizer: Recognizer, format: str, write: Write, report: Write, thresholds: dict[str, Any]
    ) -> None:
        self._recognizer, self._line, self._thresholds = recognizer, FORMATS[format], thresholds
        self._write, self._report = write, report
        self.reported = False

    def hear_folder(self, folder: Path) -> None:
        heard = [self.hear_file(path, promised=path.suffix.lower() in SOUND) for path in _files(folder)]
        if not any(heard):
            self._tell(str(folder), "open", f"no sound among the {len(heard)} files in this folder and below")

    def hear_file(self, path: Path, *, promised: bool = True) -> bool:
        """Whether there was sound in the file; if none was `promised`, there being none is not reported."""
        try:
            with audio.Sound(path) as sound:
                blocks = sound.blocks(channels=self._recognizer.config.mixing)
                self.hear(str(path), blocks, sound.info.sample_rate)
        except audio.AudioError as error:
            if promised:
                self._tell(str(path), error.stage, error.reason)
            return False
        return True

    def hear(self, source: str, blocks: Iterable[np.ndarray], sample_rate: int) -> None:
        """Write the events of all blocks that come, then tell what ended them early and what was wrong within."""
        stream = self._recognizer.stream(sample_rate)
        ends: list[audio.AudioError] = []
        for event in self._recognizer.events(stream.listen(_until_bad(blocks, ends)), **self._thresholds):
            self._write(self._line(event, source))
        for fault in stream.faults():
            self._tell(source, "check", str(fault))
        for error in ends:
            self._tell(source, error.stage, error.reason)

    def _tell(self, path: str, stage: str, reason: str) -> None:
        self.reported = True
        self._report(json.dumps({"path": path, "stage": stage, "reason": reason}))


def _files(folder: Path) -> Iterator[Path]:
    """Every file in a folder and below, in order of names; hidden ones and linked folders are left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _until_bad(blocks: Iterable[np.ndarray], ends: list[audio.AudioError]) -> Iterator[np.ndarray]:
    """The blocks up to the first that cannot be had, so that what was heard before it still becomes events."""
    try:
        yield from blocks
    except audio.AudioError as error:
        ends.append(error)


def _until_interrupted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Ctrl-C ends a microphone's sound as its being switched off would: events that had begun are still told."""
    try:
        yield from blocks
    except KeyboardInterrupt:
        return
