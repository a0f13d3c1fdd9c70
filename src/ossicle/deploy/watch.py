"""A live source held against the clocks: is it there, is it as fast as it says, and what time is it? No torch.

Two clocks: a steady one, which nothing sets and which counts a machine's sleep, decides; the wall clock only tells what
time to show, so that a jump of it (network time, summer time, a Pi that wakes up in 1970) moves no sample.
"""

from __future__ import annotations

import io
import select
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

import numpy as np

from ossicle.deploy.faults import Fault, Lost

PATIENCE = 5.0
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000)
_SPAN = 10.0  # seconds over which a rate is measured
_IDLE = 0.2  # the share of them that was waited for, at least: else the pace is ours and not the source's
_JUMP = 1.0  # seconds by which the wall clock may part from the steady one between two blocks

Tell = Callable[[Fault], None]


def steady() -> float:
    """Seconds that no one sets; asleep or awake, where the system tells (Linux)."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(frozen=True)
class Clocks:
    """The steady clock and the wall clock, in seconds."""

    steady: Callable[[], float] = steady
    wall: Callable[[], float] = time.time


class Watch:
    """Told of everything that a source at `rate` Hz does, it `tell`s faults: a stall, a wrong rate, a clock that jumps.

    A stall of `patience` seconds is told while it lasts, and whole when it is over. A rate is told where the source
    sets the pace and keeps to another of the usual RATES for ten seconds.
    """

    def __init__(self, rate: int, tell: Tell, *, patience: float = PATIENCE, clocks: Clocks | None = None) -> None:
        self.rate, self.patience, self.clocks = rate, patience, clocks or Clocks()
        self._tell = tell
        self._position = 0
        self._apart: float | None = None
        self._stalled = False
        self._found = rate
        self._restart()

    def watched(self, blocks: Iterable[np.ndarray | Lost]) -> Iterator[np.ndarray | Lost]:
        """The blocks as they come, each held against the clocks."""
        blocks = iter(blocks)
        while True:
            began = self.clocks.steady()
            block = next(blocks, None)
            if block is None:
                return
            lost = isinstance(block, Lost)
            self.came(block.samples if isinstance(block, Lost) else block.shape[1], self._since(began), lost=lost)
            yield block

    def waiting(self, waited: float) -> None:
        """Nothing has come for `waited` seconds."""
        if waited >= self.patience and not self._stalled:
            self._stalled = True
            self._say("stall", waited, ongoing=True)

    def came(self, samples: int, waited: float, *, lost: bool = False) -> None:
        """So many samples came, or are known to be lost, after `waited` seconds of waiting for them."""
        if waited >= self.patience:
            self._say("stall", waited)
        self._position += samples
        self._stalled = False
        self._look_at_the_clock()
        if lost or waited >= self.patience:
            self._restart()
        else:
            self._measure(samples, waited)

    def time(self, seconds: float) -> datetime:
        """The wall clock's time of a place in the stream, by what it shows now."""
        return datetime.fromtimestamp(self.clocks.wall() - (self._position / self.rate - seconds), UTC)

    def _since(self, began: float) -> float:
        return self.clocks.steady() - began

    def _look_at_the_clock(self) -> None:
        apart = self.clocks.wall() - self.clocks.steady()
        jump = 0.0 if self._apart is None else apart - self._apart
        self._apart = apart
        if abs(jump) >= _JUMP:
            self._say("clock", jump)

    def _restart(self) -> None:
        self._began: float | None = None
        self._count, self._waited = 0, 0.0

    def _measure(self, samples: int, waited: float) -> None:
        now = self.clocks.steady()
        if self._began is None:
            self._began = now
            return
        self._count += samples
        self._waited += waited
        seconds = now - self._began
        if seconds < _SPAN:
            return
        pace, ours = self._count / seconds, self._waited < _IDLE * seconds
        usual = min((self.rate, *RATES), key=lambda rate: abs(rate - pace))
        if not ours and abs(pace - usual) <= 0.01 * usual and usual != self._found:
            self._found = usual
            self._say("rate", usual)
        self._restart()

    def _say(self, kind: str, measure: float, *, ongoing: bool = False) -> None:
        at = self._position / self.rate
        samples = self.rate if kind == "rate" else 0
        self._tell(Fault(at, at, samples, kind, measure, ongoing))


class Pipe:
    """A binary stream whose reader tells a `watch` when nothing comes, where the system can see that beforehand."""

    def __init__(self, stream: BinaryIO, watch: Watch) -> None:
        self._stream = (
            stream.raw if isinstance(stream, io.BufferedReader) else stream
        )  # what a buffer has, none can see
        self._watch = watch

    def read(self, count: int) -> bytes:
        """At least one byte and at most `count`; none at the end."""
        began = self._watch.clocks.steady()
        while not self._ready():
            self._watch.waiting(self._watch.clocks.steady() - began)
        return self._stream.read(count) or b""

    def _ready(self) -> bool:
        try:
            return bool(select.select([self._stream.fileno()], [], [], self._watch.patience)[0])
        except (OSError, ValueError, AttributeError):  # no file behind it, or a system that waits for sockets alone
            return True
