"""What was wrong with a stream's sound, and from where to where: found in (C, t) samples, in chunks of any size."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ossicle.audio.waves import SILENT

KEPT = 1000
_SENTENCES = {
    "broken": "{samples} samples from {start:.3f} to {stop:.3f} s are no sound, heard as silence",
    "silence": "digital silence, {samples} samples alike, from {start:.3f} to {stop:.3f} s: is the microphone muted?",
    "gap": "{samples} samples from {start:.3f} to {stop:.3f} s are missing: the source did not deliver them",
    "dropped": "{samples} samples from {start:.3f} to {stop:.3f} s were dropped: more sound came than could be heard",
    "stall": "nothing came for {measure:.1f} s at {start:.3f} s",
    "rate": "{measure:.0f} samples a second come where {samples} were promised: say --rate {measure:.0f}",
    "clock": "the clock jumped by {measure:+.3f} s at {start:.3f} s; seconds of the stream are not touched by it",
}
_ONGOING = {
    "silence": "digital silence since {start:.3f} s, and it goes on: is the microphone muted?",
    "stall": "nothing has come for {measure:.1f} s at {start:.3f} s: still waiting",
}
KINDS = tuple(_SENTENCES)


@dataclass(frozen=True)
class Fault:
    """Something wrong from `start` to `stop`, in seconds of the stream, with the number of `samples` it is about.

    `kind`, one of KINDS: "broken" samples (not finite, or of an impossible level), digital "silence", a "gap" that the
    source left, samples "dropped" because nobody could hear them in time, a "stall" of `measure` seconds, a "rate" of
    `measure` samples a second where `samples` were promised, a "clock" that jumped by `measure` seconds. `ongoing`: it
    is not over, and is told once more, whole, when it is.
    """

    start: float
    stop: float
    samples: int
    kind: str = "broken"
    measure: float = 0.0
    ongoing: bool = False

    def __str__(self) -> str:
        if self.kind == "gap" and not self.samples:
            return f"a few samples, nobody knows how many, are missing at {self.start:.3f} s: the source lost them"
        return (_ONGOING if self.ongoing else _SENTENCES)[self.kind].format(**vars(self))


@dataclass(frozen=True)
class Lost:
    """In place of samples: so many of them (at the source's rate) are not there. `kind` is "gap" or "dropped"."""

    samples: int
    kind: str = "gap"


class Faults:
    """Gathers the faults of one stream at `rate` Hz; where nobody asks for them, the oldest are forgotten.

    Broken samples no more than `join` apart are one fault. A stretch in which no sample differs from the one before is
    silence from `still` samples on, and however short it is where nothing else came.
    """

    def __init__(self, *, join: int, still: int, rate: int) -> None:
        self._join, self._enough, self._rate = join, still, rate
        self._told: deque[Fault] = deque(maxlen=KEPT)
        self._open: list[int] = []  # of the broken samples: first, last, how many
        self._last: np.ndarray | None = None
        self._since = self._position = 0
        self._all_still, self._known = True, False

    def hear(self, wave: np.ndarray, broken: np.ndarray | None) -> None:
        """The next (C, t) samples as they came, and which of them, (t,), are `broken`."""
        if not wave.shape[1]:
            return
        if broken is not None:
            self._break(self._position + np.flatnonzero(broken))
        self._listen(np.where(np.abs(wave) <= SILENT, 0, wave))
        self._position += wave.shape[1]
        if not self._known and self._position - self._since >= self._enough:
            self._tell("silence", self._since, self._position, ongoing=True)
            self._known = True

    def skip(self, samples: int, kind: str) -> None:
        """`samples` are not there: whatever lasted until now ends."""
        self.end()
        self._tell(kind, self._position, self._position + samples)
        self._position += samples
        self._since = self._position

    def end(self) -> None:
        """No more samples come, or none that follow the last."""
        self._close()
        self._quiet(self._position, whole=self._all_still)
        self._last, self._known = None, False

    def told(self) -> list[Fault]:
        """What is known since the last call."""
        if self._open and self._position - self._open[1] > self._join:
            self._close()
        faults = list(self._told)
        self._told.clear()
        return faults

    def _tell(self, kind: str, first: int, last: int, count: int | None = None, *, ongoing: bool = False) -> None:
        count = last - first if count is None else count
        self._told.append(Fault(first / self._rate, last / self._rate, count, kind, ongoing=ongoing))

    def _break(self, positions: np.ndarray) -> None:
        """(n,) positions, ascending and later than all before."""
        for stretch in np.split(positions, np.flatnonzero(np.diff(positions) > self._join) + 1):
            if self._open and stretch[0] - self._open[1] > self._join:
                self._close()
            first, _, count = self._open or (int(stretch[0]), 0, 0)
            self._open = [first, int(stretch[-1]), count + len(stretch)]

    def _close(self) -> None:
        if self._open:
            first, last, count = self._open
            self._tell("broken", first, last + 1, count)
            self._open = []

    def _listen(self, wave: np.ndarray) -> None:
        """Every change from one sample to the next ends a stretch of silence, and most such stretches are short."""
        before = wave[:, :1] if self._last is None else self._last
        shifted = np.concatenate([before, wave[:, :-1]], axis=1)
        changes = np.flatnonzero((wave != shifted).any(axis=0))  # NaN differs from itself
        self._last = wave[:, -1:].copy()
        if not len(changes):
            return
        self._all_still = False
        bounds = self._position + changes
        self._quiet(int(bounds[0]))
        for long in np.flatnonzero(np.diff(bounds) >= self._enough):
            self._tell("silence", int(bounds[long]), int(bounds[long + 1]))
        self._since, self._known = int(bounds[-1]), False

    def _quiet(self, stop: int, *, whole: bool = False) -> None:
        if stop - self._since >= (1 if whole else self._enough):
            self._tell("silence", self._since, stop)
