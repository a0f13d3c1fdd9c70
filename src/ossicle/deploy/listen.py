"""Files, folders, raw samples (C, t) from a pipe and a microphone -> events. What `ossicle listen` does; no torch."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ossicle import audio
from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.clips import Clips
from ossicle.deploy.ending import until_stopped
from ossicle.deploy.faults import Fault, Lost
from ossicle.deploy.formats import Place
from ossicle.deploy.mic import Microphone
from ossicle.deploy.output import Output
from ossicle.deploy.stream import Stream
from ossicle.deploy.watch import Pipe, Watch
from ossicle.deploy.when import began
from ossicle.plain import digest

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


@dataclass(frozen=True)
class Shard:
    """Number `part` (from 1) of `parts` that share a folder's files: by name, so that files may be added."""

    part: int = 1
    parts: int = 1

    @classmethod
    def of(cls, text: str) -> Shard:
        """`2/8`, or a ValueError."""
        part, slash, parts = text.partition("/")
        if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            raise ValueError(f"shard '{text}': wanted I/N with I from 1 to N, 2/8 say")
        return cls(int(part), int(parts))

    def has(self, name: str) -> bool:
        """Whether a file is of this shard, by its name within the folder."""
        return zlib.crc32(os.fsencode(name)) % self.parts == self.part - 1


def settings(
    recognizer: Recognizer, *, format: str, zone: tzinfo | None, shard: Shard, **thresholds: Any
) -> dict[str, Any]:
    """What the events of an output depend on, to be asked again before it is gone on with."""
    how = {"bundle": digest(asdict(recognizer.config)), "format": format, "zone": str(zone), "shard": asdict(shard)}
    return how | {"model": recognizer.model, "thresholds": recognizer.config.thresholds | thresholds}


def listen(
    recognizer: Recognizer,
    sources: Iterable[str | Path],
    output: Output,
    *,
    pipe: BinaryIO | None = None,
    sample_rate: int | None = None,
    channels: int = 1,
    encoding: str = "s16le",
    microphone: Microphone | None = None,
    zone: tzinfo | None = None,
    shard: Shard | None = None,
    clips: Clips | None = None,
    report: Write = to_errors,
    **thresholds: Any,
) -> int:
    """Write the events of every source to `output`, each as soon as it has ended.

    A source is a sound file, a folder (every sound in it and below, by content, in order of names, as far as it is of
    the `shard`) or "-": raw samples from `pipe` (standard input), `channels` interleaved, "s16le" or "f32le", at
    `sample_rate` Hz (default the model's). A `microphone` is heard after them; both end by Ctrl-C or SIGTERM too. Files
    that the output has are not heard again. `zone` is that of times without one; `clips` keeps the best segments;
    `thresholds` stand for the bundle's own (see `events`). Memory does not grow with the length of a recording.

    What cannot be heard, or not to its end, is told to `report` as one line of JSON (path, stage, reason; of a Fault
    also its kind, start, stop, samples, measure and whether it is ongoing) and does not stop the rest. Returns the exit
    code: 0, or 1 where anything was reported.
    """
    listener = _Listener(recognizer, output, report, zone, clips, thresholds)
    for source in sources:
        if str(source) == PIPE:
            listener.hear_pipe(pipe or sys.stdin.buffer, sample_rate, channels, encoding)
        elif Path(source).is_dir():
            listener.hear_folder(Path(source), shard or Shard())
        else:
            listener.hear_file(Path(source), Path(source).name)
    if microphone is not None:
        listener.hear_microphone(microphone)
    return 1 if listener.reported else 0


class _Listener:
    """Hears one source after another, and remembers whether anything had to be reported."""

    def __init__(
        self,
        recognizer: Recognizer,
        output: Output,
        report: Write,
        zone: tzinfo | None,
        clips: Clips | None,
        thresholds: dict[str, Any],
    ) -> None:
        self._recognizer, self._output, self._report = recognizer, output, report
        self._zone, self._clips, self._thresholds = zone, clips, thresholds
        self.reported = False

    def hear_folder(self, folder: Path, shard: Shard) -> None:
        names = [path.relative_to(folder).as_posix() for path in _files(folder, self._unread)]
        mine = [name for name in names if shard.has(name)]
        heard = [self.hear_file(folder / name, name, promised=Path(name).suffix.lower() in SOUND) for name in mine]
        if not any(heard) and len(mine) == len(names):
            self._tell(str(folder), "open", f"no sound among the {len(heard)} files in this folder and below")

    def _unread(self, error: OSError) -> None:
        self._tell(str(error.filename), "open", f"this folder cannot be looked into: {error.strerror}")

    def hear_file(self, path: Path, name: str, *, promised: bool = True) -> bool:
        """Whether there was sound in the file; if none was `promised`, there being none is not reported."""
        if self._output.has(name, path):
            self._output.known += 1
            return True
        try:
            with audio.Sound(path) as sound:
                self._output.begin(name)
                blocks = sound.blocks(channels=self._recognizer.config.mixing)
                place = self._place(str(path), sound.info.sample_rate, began(path, self._zone))
                self._output.end(name, self.hear(place, blocks, sound.info.sample_rate), path)
        except audio.AudioError as error:
            if promised:
                self._tell(str(path), error.stage, error.reason)
            return False
        return True

    def hear_pipe(self, pipe: BinaryIO, sample_rate: int | None, channels: int, encoding: str) -> None:
        rate = self._recognizer.sample_rate if sample_rate is None else sample_rate
        watch, place = self._live(PIPE, rate)
        blocks = audio.read_raw(Pipe(pipe, watch), channels=channels, format=encoding, block=max(1, rate // 10))
        if not self._hear_live(place, blocks, watch):
            self._tell(PIPE, "check", "0 samples came: whatever writes into the pipe gave nothing")

    def hear_microphone(self, microphone: Microphone) -> None:
        watch, place = self._live(MICROPHONE, microphone.rate)
        self._hear_live(place, microphone.blocks(watch), watch)

    def _live(self, source: str, rate: int) -> tuple[Watch, Place]:
        watch = Watch(rate, lambda fault: self._fault(place, fault))
        place = self._place(source, rate, lambda seconds: watch.time(seconds).astimezone(self._zone))
        return watch, place

    def _hear_live(self, place: Place, blocks: Iterable[np.ndarray | Lost], watch: Watch) -> float:
        self._output.begin(place.source)
        seconds = self.hear(place, until_stopped(watch.watched(blocks)), watch.rate, live=True)
        self._output.end(place.source, seconds)
        return seconds

    def _place(self, source: str, rate: int, time: Callable[[float], datetime | None] = lambda seconds: None) -> Place:
        return Place(source, min(rate, self._recognizer.sample_rate), time, self._output.seconds)

    def hear(self, place: Place, blocks: Iterable[np.ndarray | Lost], sample_rate: int, *, live: bool = False) -> float:
        """Write the events of all blocks that come, tell what was wrong, and give the seconds that were heard."""
        stream = self._recognizer.stream(sample_rate)
        if self._clips is not None:
            began = place.time(0.0) if live else None  # seconds of another day are other seconds
            stream.keep = partial(self._clips.keep, place.source + (f" {began:%Y%m%d_%H%M%S}" if began else ""))
        ends: list[audio.AudioError] = []
        heard = stream.listen(self._telling(_until_bad(blocks, ends), stream, place, live))
        for event in self._recognizer.events(heard, **self._thresholds):
            self._output.event(event, place)
        self._faults(stream, place, live)
        for error in ends:
            self._tell(place.source, error.stage, error.reason)
        return stream.seconds

    def _telling(
        self, blocks: Iterable[np.ndarray | Lost], stream: Stream, place: Place, live: bool
    ) -> Iterator[np.ndarray | Lost]:
        """The blocks; what was wrong with one is told before the next is asked for."""
        for block in blocks:
            yield block
            self._faults(stream, place, live)

    def _faults(self, stream: Stream, place: Place, live: bool) -> None:
        """Nobody waits for the end of a file's silence."""
        for fault in stream.faults():
            if live or not fault.ongoing:
                self._fault(place, fault)

    def _fault(self, place: Place, fault: Fault) -> None:
        if not fault.ongoing:
            self._output.fault(fault, place)
        values = {"kind": fault.kind, "start": fault.start, "stop": fault.stop, "samples": fault.samples}
        self._tell(place.source, "check", str(fault), **values, measure=fault.measure, ongoing=fault.ongoing)

    def _tell(self, path: str, stage: str, reason: str, **values: Any) -> None:
        self.reported = True
        self._report(json.dumps({"path": path, "stage": stage, "reason": reason} | values))


def _files(folder: Path, unread: Callable[[OSError], None]) -> Iterator[Path]:
    """Every file in a folder and below, in order of names; hidden ones and linked folders are left out."""
    for place, folders, names in os.walk(folder, onerror=unread):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _until_bad(blocks: Iterable[np.ndarray | Lost], ends: list[audio.AudioError]) -> Iterator[np.ndarray | Lost]:
    """The blocks up to the first that cannot be had, so that what was heard before it still becomes events."""
    try:
        yield from blocks
    except audio.AudioError as error:
        ends.append(error)
