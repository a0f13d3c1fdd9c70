"""Files, folders and raw samples (C, t) from a pipe -> events, one a line. What `ossicle listen` does; no torch."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ossicle import audio
from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.events import FORMATS, HEADINGS
from ossicle.deploy.faults import Fault, Lost
from ossicle.deploy.mic import Microphone
from ossicle.deploy.stream import Stream
from ossicle.deploy.watch import Pipe, Watch

PIPE, MICROPHONE = "-", "microphone"
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
    microphone: Microphone | None = None,
    write: Write = to_output,
    report: Write = to_errors,
    **thresholds: Any,
) -> int:
    """Write the events of every source as lines of "json", "csv" or "text", each as soon as it has ended.

    A source is a sound file, a folder (every sound in it and below, by content, in order of names) or "-": raw samples
    from `pipe` (standard input), `channels` interleaved, "s16le" or "f32le", at `sample_rate` Hz (default the model's).
    A `microphone` is heard after them, until Ctrl-C. `thresholds` stand for the bundle's own (see `events`). Memory
    does not grow with the length of a recording.

    What cannot be heard, or not to its end, is told to `report` as one line of JSON (path, stage, reason; of a Fault
    also its kind, start, stop and samples) and does not stop the rest. Returns the exit code: 0, or 1 where
    anything was reported.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format '{format}'; known: {', '.join(FORMATS)}")
    if format in HEADINGS:
        write(HEADINGS[format])
    listener = _Listener(recognizer, format, write, report, thresholds)
    for source in sources:
        if str(source) == PIPE:
            listener.hear_pipe(pipe or sys.stdin.buffer, sample_rate, channels, encoding)
        elif Path(source).is_dir():
            listener.hear_folder(Path(source))
        else:
            listener.hear_file(Path(source))
    if microphone is not None:
        listener.hear_microphone(microphone)
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

    def hear_pipe(self, pipe: BinaryIO, sample_rate: int | None, channels: int, encoding: str) -> None:
        rate = sample_rate or self._recognizer.sample_rate
        watch = Watch(rate, partial(self._fault, PIPE))
        blocks = audio.read_raw(Pipe(pipe, watch), channels=channels, format=encoding, block=max(1, rate // 10))
        if not self.hear(PIPE, _until_interrupted(watch.watched(blocks)), rate):
            self._tell(PIPE, "check", "0 samples came: whatever writes into the pipe gave nothing")

    def hear_microphone(self, microphone: Microphone) -> None:
        watch = Watch(microphone.rate, partial(self._fault, MICROPHONE))
        blocks = watch.watched(microphone.blocks(watch))
        self.hear(MICROPHONE, _until_interrupted(blocks), microphone.rate)

    def hear(self, source: str, blocks: Iterable[np.ndarray | Lost], sample_rate: int) -> float:
        """Write the events of all blocks that come, tell what was wrong, and give the seconds that were heard."""
        stream = self._recognizer.stream(sample_rate)
        ends: list[audio.AudioError] = []
        heard = stream.listen(self._telling(_until_bad(blocks, ends), stream, source))
        for event in self._recognizer.events(heard, **self._thresholds):
            self._write(self._line(event, source))
        self._faults(stream, source)
        for error in ends:
            self._tell(source, error.stage, error.reason)
        return stream.seconds

    def _telling(self, blocks: Iterable[np.ndarray | Lost], stream: Stream, source: str) -> Iterator[np.ndarray | Lost]:
        """The blocks; what was wrong with one is told before the next is asked for."""
        for block in blocks:
            yield block
            self._faults(stream, source)

    def _faults(self, stream: Stream, source: str) -> None:
        for fault in stream.faults():
            if not fault.ongoing or source in (PIPE, MICROPHONE):
                self._fault(source, fault)

    def _fault(self, source: str, fault: Fault) -> None:
        values = {"kind": fault.kind, "start": fault.start, "stop": fault.stop, "samples": fault.samples}
        self._tell(source, "check", str(fault), **values, measure=fault.measure, ongoing=fault.ongoing)

    def _tell(self, path: str, stage: str, reason: str, **values: Any) -> None:
        self.reported = True
        self._report(json.dumps({"path": path, "stage": stage, "reason": reason} | values))


def _files(folder: Path) -> Iterator[Path]:
    """Every file in a folder and below, in order of names; hidden ones and linked folders are left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _until_bad(blocks: Iterable[np.ndarray | Lost], ends: list[audio.AudioError]) -> Iterator[np.ndarray | Lost]:
    """The blocks up to the first that cannot be had, so that what was heard before it still becomes events."""
    try:
        yield from blocks
    except audio.AudioError as error:
        ends.append(error)


def _until_interrupted(blocks: Iterable[np.ndarray | Lost]) -> Iterator[np.ndarray | Lost]:
    """Ctrl-C ends a microphone's sound as its being switched off would: events that had begun are still told."""
    try:
        yield from blocks
    except KeyboardInterrupt:
        return
