"""A microphone -> (C, t) float32 blocks, by sounddevice; what it loses is said, and a lost one is looked for again."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ossicle.deploy.faults import Lost
from ossicle.deploy.watch import Watch

LONGEST_PAUSE = 60.0
_LATE = 0.5  # seconds by which a block may come late before it is taken that others are missing


class MicrophoneError(RuntimeError):
    """There is no such microphone, or it cannot be opened; says which there are."""


class _Block(NamedTuple):
    wave: np.ndarray
    dropped: int  # samples before it that found the queue full
    stamp: float  # when its first sample was recorded, by the device's clock; 0 where it has none
    arrived: float  # by the steady clock
    overflow: bool


class Microphone:
    """Blocks of a tenth of a second from the input device whose name holds `name` (default: the system's).

    `rate`: the one asked for, or the device's own, which `ossicle` converts better than most drivers. Blocks wait in a
    queue of `seconds`; what comes while it is full is dropped, counted and given as `Lost`. So are the samples that
    the driver says it lost, by its clock, and the time in which a device that fell silent for `watch.patience` seconds
    was not there: it is opened again and again, after 1, 2, 4, ... and at most 60 seconds.
    """

    def __init__(
        self, name: str | None = None, *, rate: int | None = None, channels: int = 1, seconds: float = 30.0
    ) -> None:
        self._library, self._name, self.channels = _library(), name, channels
        self.rate = rate or self._own_rate()
        self._queue: queue.Queue[_Block] = queue.Queue(maxsize=max(1, round(seconds * 10)))
        self._dropped = 0
        self._stream: Any = None

    def blocks(self, watch: Watch) -> Iterator[np.ndarray | Lost]:
        """What the microphone hears until the process is interrupted; MicrophoneError where it cannot be opened."""
        self._open(watch)
        last: _Block | None = None
        try:
            while True:
                block, gone = self._next(watch)
                yield from (Lost(samples, kind) for kind, samples in self._missing(last, block, gone))
                last = block
                yield block.wave
        finally:
            self._close()

    def _next(self, watch: Watch) -> tuple[_Block, bool]:
        """The next block, and whether the device had to be opened again for it."""
        began, pause, gone = watch.clocks.steady(), 1.0, False
        while True:
            try:
                return self._queue.get(timeout=pause if gone else watch.patience), gone
            except queue.Empty:
                watch.waiting(watch.clocks.steady() - began)
                pause = min(2 * pause, LONGEST_PAUSE) if gone else pause
                gone = True
                self._reopen(watch)

    def _missing(self, last: _Block | None, block: _Block, gone: bool) -> Iterator[tuple[str, int]]:
        """What is not there between two blocks, by kind; 0 samples where the driver lost some and does not say."""
        if block.dropped:
            yield "dropped", block.dropped
        if last is None:
            return
        stamped = bool(block.stamp and last.stamp) and not gone
        since = block.stamp - last.stamp if stamped else block.arrived - last.arrived
        late = since - (last if stamped else block).wave.shape[1] / self.rate - block.dropped / self.rate
        if gone or late > _LATE or (block.overflow and not block.dropped):
            yield "gap", max(0, round(late * self.rate))

    def _hear(self, watch: Watch, indata: np.ndarray, when: Any, status: Any) -> None:
        """Called by sounddevice, on a thread of its own, with (t, C) samples that it will overwrite."""
        stamp = float(getattr(when, "inputBufferAdcTime", 0.0))
        wave = indata.T.copy()
        block = _Block(wave, self._dropped, stamp, watch.clocks.steady(), bool(getattr(status, "input_overflow", 0)))
        try:
            self._queue.put_nowait(block)
            self._dropped = 0
        except queue.Full:
            self._dropped += wave.shape[1]

    def _open(self, watch: Watch) -> None:
        try:
            self._stream = self._library.InputStream(
                device=self._name,
                samplerate=self.rate,
                channels=self.channels,
                dtype="float32",
                blocksize=max(1, self.rate // 10),
                callback=lambda indata, frames, when, status: self._hear(watch, indata, when, status),
            )
            self._stream.start()
        except (self._library.PortAudioError, ValueError) as error:
            raise self._refused(error) from error

    def _reopen(self, watch: Watch) -> None:
        self._close()
        with suppress(self._library.PortAudioError):  # where the last start failed there is nothing to end
            self._library._terminate()  # PortAudio lists the devices once: one plugged in since is seen by a new start
        with suppress(MicrophoneError, self._library.PortAudioError):  # not back yet: the watch has told of it
            self._library._initialize()
            self._open(watch)

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(self._library.PortAudioError):
                stream.close()

    def _own_rate(self) -> int:
        try:
            return round(self._library.query_devices(self._name, "input")["default_samplerate"])
        except (self._library.PortAudioError, ValueError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> MicrophoneError:
        there = [str(device["name"]) for device in self._library.query_devices() if device["max_input_channels"] > 0]
        which = f"microphone '{self._name}'" if self._name else "the system's microphone"
        known = f"there are: {'; '.join(there)}" if there else "there is no microphone on this machine"
        return MicrophoneError(f"{which} cannot be opened ({error}); {known}. May this user record?")


def _library() -> Any:
    try:
        import sounddevice
    except OSError as error:  # the package is there, and what it stands on is not
        raise MicrophoneError(f"{error}: install PortAudio, on Debian with apt install libportaudio2") from error
    return sounddevice
