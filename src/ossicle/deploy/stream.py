"""(C, t) samples in chunks of any size -> windows with their score (K,) and feature (D,). numpy and soxr, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from ossicle import audio
from ossicle.audio.waves import IMPLAUSIBLE
from ossicle.deploy.faults import Fault, Faults, Lost

Recognize = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Window:
    """What was recognized in one window: `score` (K,) probabilities and `feature` (D,), both float32.

    `start` and `stop` are seconds from the first sample of the stream; where the recording is shorter than a window,
    `stop` is the recording's end and not the padding's. `anew`: sound is missing before it, so nothing goes on from
    the window before.
    """

    start: float
    stop: float
    score: np.ndarray
    feature: np.ndarray
    anew: bool = False


class Stream:
    """Recognizes windows of `window` samples every `hop` samples, as they become whole.

    `recognize` takes (1, C, window) float32 at `sample_rate` and gives (1, K) and (1, D); it is called on one window at
    a time, so a score does not depend on how the samples arrived. Samples come at `source_rate` (default `sample_rate`)
    and are converted on the way, exactly as the whole recording would be. Memory is two windows, however long it lasts.

    The windows are those of `audio.window_starts`: 0, hop, 2 hop, ... and, at `flush`, one that ends at the end where
    the tail was not covered; a recording shorter than a window is brought to length by `policy`, as `audio.fit` does.

    Samples that are not finite or have an `IMPLAUSIBLE` level never reach `recognize`: they are replaced by zeros and
    told by `faults`. So are samples that the source lost, up to a window of them; where it lost more, the sound before
    and the sound after are heard as two recordings, each with its place in time. Digital silence of `silent_seconds`
    and more, and a source that has nothing else, is told too.

    `keep`, where it is set, is given every window with the (C, t) samples that it was made of, which will change.
    """

    keep: Callable[[Window, np.ndarray], None] | None = None

    def __init__(
        self,
        recognize: Recognize,
        *,
        window: int,
        hop: int,
        sample_rate: int,
        channels: int = 1,
        source_rate: int | None = None,
        policy: str = "repeat",
        silent_seconds: float = 60.0,
    ) -> None:
        source_rate = sample_rate if source_rate is None else source_rate
        _positive(window=window, hop=hop, sample_rate=sample_rate, channels=channels, source_rate=source_rate)
        self.window, self.hop, self.sample_rate, self.source_rate = window, hop, sample_rate, source_rate
        self.channels, self.policy = channels, policy
        self._recognize = recognize
        self._buffer = np.zeros((channels, 2 * window), np.float32)
        self._join = round(window * source_rate / sample_rate)
        self._faults = Faults(join=self._join, still=max(1, round(silent_seconds * source_rate)), rate=source_rate)
        self._arrived, self._ended = 0, False
        self._begin()

    def push(self, samples: np.ndarray) -> list[Window]:
        """(T,) or (C, t) floating-point samples, any number of them -> the windows that became whole."""
        self._must_go_on()
        return self._take(self._mend(_as_wave(samples, self.channels)))

    def skip(self, samples: int, kind: str = "gap") -> list[Window]:
        """The source's next `samples`, at `source_rate`, are lost: the windows that became whole or ended with it.

        Up to a window of them are heard as zeros; more of them end a recording, and what comes then begins another.
        """
        self._must_go_on()
        self._faults.skip(samples, kind)
        if samples <= self._join:
            return self._take(np.zeros((self.channels, samples), np.float32))
        windows = self._finish()
        self._arrived += samples
        self._begin()
        return windows

    def flush(self) -> list[Window]:
        """The sound has ended: the windows that its last samples make, if any. The stream takes no more."""
        if self._ended:
            return []
        self._ended = True
        self._faults.end()
        return self._finish()

    def listen(self, blocks: Iterable[np.ndarray | Lost]) -> Iterator[Window]:
        """Push every block, skip what is lost, then flush: the windows of a whole recording, each as it comes."""
        for block in blocks:
            yield from self.skip(block.samples, block.kind) if isinstance(block, Lost) else self.push(block)
        yield from self.flush()

    def faults(self) -> list[Fault]:
        """What was wrong, as known since the last call; broken samples less than a window apart are one fault."""
        return self._faults.told()

    @property
    def seconds(self) -> float:
        """How much of the source has come, lost samples included."""
        return self._arrived / self.source_rate

    @property
    def _length(self) -> int:
        """Samples since the beginning, or since the last long gap, at `sample_rate`."""
        return self._base + self._filled

    def _must_go_on(self) -> None:
        if self._ended:
            raise ValueError("this stream was flushed and has ended; start another for more sound")

    def _begin(self) -> None:
        """The next sample is the first of a recording."""
        self._origin = self._arrived / self.source_rate
        self._base = self._filled = self._next = 0
        self._anew = self._arrived > 0
        same = self.source_rate == self.sample_rate
        self._resampler = (
            None if same else soxr.ResampleStream(self.source_rate, self.sample_rate, self.channels, "float32")
        )

    def _take(self, wave: np.ndarray) -> list[Window]:
        self._arrived += wave.shape[1]
        return self._absorb(self._convert(wave, last=False))

    def _finish(self) -> list[Window]:
        windows = self._absorb(self._convert(np.zeros((self.channels, 0), np.float32), last=True))
        covered = self._next - self.hop + self.window if self._next else 0
        if covered < self._length:
            windows.append(self._hear(max(0, self._length - self.window)))
        return windows

    def _mend(self, wave: np.ndarray) -> np.ndarray:
        broken = ~(np.abs(wave) <= IMPLAUSIBLE)  # NaN compares false, so it is broken too
        if not broken.any():
            self._faults.hear(wave, None)
            return wave.astype(np.float32, copy=False)
        self._faults.hear(wave, broken.any(axis=0))
        return np.where(broken, 0, wave).astype(np.float32)

    def _convert(self, wave: np.ndarray, *, last: bool) -> np.ndarray:
        if self._resampler is None:
            return wave
        frames = np.ascontiguousarray(wave.T)
        return self._resampler.resample_chunk(frames, last=last).reshape(-1, self.channels).T

    def _absorb(self, wave: np.ndarray) -> list[Window]:
        """Fill the buffer piece by piece, and hear every window that becomes whole before its samples are let go."""
        windows = []
        while wave.shape[1]:
            if self._filled == self._buffer.shape[1]:
                self._let_go()
            piece, wave = np.split(wave, [self._buffer.shape[1] - self._filled], axis=1)
            self._buffer[:, self._filled : self._filled + piece.shape[1]] = piece
            self._filled += piece.shape[1]
            while self._next + self.window <= self._length:
                windows.append(self._hear(self._next))
                self._next += self.hop
        return windows

    def _let_go(self) -> None:
        """Keep the newest window's worth: all that `flush` or the next whole window can still ask for."""
        self._buffer[:, : self.window] = self._buffer[:, self.window :]
        self._base, self._filled = self._base + self.window, self.window

    def _hear(self, start: int) -> Window:
        stop = min(start + self.window, self._length)
        wave = self._buffer[:, start - self._base : stop - self._base]
        score, feature = self._recognize(audio.fit(wave, self.window, policy=self.policy).copy()[None])
        span = (self._origin + start / self.sample_rate, self._origin + stop / self.sample_rate)
        anew, self._anew = self._anew, False
        window = Window(*span, score[0], feature[0], anew)
        if self.keep is not None:
            self.keep(window, wave)
        return window


def _positive(**lengths: int) -> None:
    for name, value in lengths.items():
        if isinstance(value, bool) or value != int(value) or value < 1:
            raise ValueError(f"a stream's {name} is {value}; it must be a whole number of at least 1")


def _as_wave(samples: np.ndarray, channels: int) -> np.ndarray:
    """(T,) or (C, t) -> (channels, t): several are averaged where the model hears one, and one is heard on all."""
    samples = np.asarray(samples)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(
            f"samples are {samples.dtype}; a stream takes floating point with full scale at 1.0"
            " (divide int16 by 32768 first)"
        )
    wave = samples[None] if samples.ndim == 1 else samples
    if wave.ndim == 2 and channels == 1 and len(wave) > 1:
        return (sum(wave) / len(wave))[None]  # channel by channel: the last bit does not depend on the chunk
    if wave.ndim == 2 and len(wave) == 1:
        return np.repeat(wave, channels, axis=0)
    if wave.ndim != 2 or len(wave) != channels:
        raise ValueError(f"samples have shape {samples.shape}; wanted ({channels}, t), or one channel")
    return wave
