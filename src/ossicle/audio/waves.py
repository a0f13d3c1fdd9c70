"""(C, T) -> (C, length): length policies, silence at the ends, and facts about samples worth telling. numpy only."""

from __future__ import annotations

import numpy as np

SILENT = 1e-9  # -180 dB of full scale, under the last bit of 24: nothing was recorded
IMPLAUSIBLE = 100.0  # +40 dB of full scale, where no microphone, mixer or float file in earnest goes

SILENCE = "digital silence"
CONSTANT = "a constant and no sound: counts as silence"
OFFSET = "a DC offset above 0.05 of full scale"
DEAD = "a dead channel beside a live one"
OPPOSED = "channels that cancel when mixed (opposite phase): the loudest one is used instead"
CLIPPED = "clipped: more than 10 % of the samples at full scale"
LOUD = "louder than full scale by 6 dB and more: kept as it is"
NOT_FINITE = "samples that are not finite"


def fit(wave: np.ndarray, length: int, *, policy: str = "repeat", crop: str = "start", at: float = 0.0) -> np.ndarray:
    """(C, T) -> (C, length). Short waves are repeated end to end or followed by zeros (`policy` "repeat" | "zero").

    Long ones are cut: `crop` "start", "center", or "random", where `at` in [0, 1) is the caller's draw for the place.
    A cut is a view; nothing is copied that need not be.
    """
    if policy not in ("repeat", "zero") or crop not in ("start", "center", "random"):
        raise ValueError(
            f"policy is 'repeat' or 'zero' and crop 'start', 'center' or 'random', not {policy!r}, {crop!r}"
        )
    have = wave.shape[-1]
    if have == 0 or length < 1:
        raise ValueError(f"a wave of {have} samples cannot be brought to {length}; both must be at least 1")
    if have >= length:
        start = {"start": 0, "center": (have - length) // 2, "random": int(at * (have - length + 1))}[crop]
        return wave[..., start : start + length]
    if policy == "repeat":
        return np.tile(wave, -(-length // have))[..., :length]
    return np.concatenate([wave, np.zeros((*wave.shape[:-1], length - have), wave.dtype)], axis=-1)


def window_starts(length: int, window: int, hop: int) -> list[int]:
    """Where the windows over `length` samples begin: 0, hop, 2 hop, ... as fit inside, and one that ends at the end.

    That last one only if the others leave a tail. A recording no longer than a window has one, at 0.
    """
    if window < 1 or hop < 1:
        raise ValueError(f"window and hop count samples and must be at least 1, not {window} and {hop}")
    if length <= window:
        return [0]
    starts = list(range(0, length - window + 1, hop))
    return starts if starts[-1] + window >= length else [*starts, length - window]


def trim_silence(wave: np.ndarray, *, below_db: float = 60.0, margin: int = 0) -> np.ndarray:
    """(C, T) without the ends that stay more than `below_db` under the wave's own peak, but for `margin` samples.

    A wave that is silent all through comes back whole, so the result is never empty.
    """
    envelope = np.abs(wave).max(axis=0, initial=0.0)
    peak = envelope.max(initial=0.0)
    if peak <= SILENT:
        return wave
    heard = np.flatnonzero(envelope >= peak * 10.0 ** (-below_db / 20))
    return wave[:, max(0, heard[0] - margin) : heard[-1] + 1 + margin]


def opposed(wave: np.ndarray) -> int | None:
    """(C, T) -> the channel to hear if the mean of all of them lies 30 dB and more under the channels, else None."""
    if len(wave) < 2 or not wave.size:
        return None
    powers = np.mean(np.square(wave, dtype=np.float64), axis=1)
    mixed = np.mean(np.square(wave.mean(axis=0, dtype=np.float64)))
    return int(powers.argmax()) if powers.max() > SILENT**2 and mixed < 1e-3 * powers.mean() else None


def implausible(wave: np.ndarray, position: int, sample_rate: int) -> str:
    """(C, t) -> a sentence about the first sample that is not finite or lies above +40 dB of full scale, or ""."""
    if not wave.size or np.maximum(wave.max(), -wave.min()) <= IMPLAUSIBLE:  # False for NaN too
        return ""
    at = int(np.flatnonzero(~(np.abs(wave) <= IMPLAUSIBLE).all(axis=0))[0])
    where = f"at sample {position + at} ({(position + at) / sample_rate:.3f} s)"
    found = wave[:, at]
    if np.isfinite(found).all():
        return f"an implausible level of {20 * np.log10(np.abs(found).max()):+.0f} dB of full scale {where}"
    return f"{'NaN' if np.isnan(found).any() else 'infinity'} instead of a number {where}"


class Census:
    """Facts about the samples of one recording, gathered stretch by stretch in constant memory."""

    def __init__(self) -> None:
        self.length = 0
        self.clipped = 0
        self.finite = True
        self.opposed = False
        self.low = self.high = self.total = np.zeros(0)

    def add(self, stretch: np.ndarray) -> None:
        """Takes in the next (C, t) samples. Whether channels cancel is judged on the first stretch, as reading does."""
        if not stretch.size:
            return
        self.finite = self.finite and bool(np.isfinite(stretch).all())
        low, high, total = stretch.min(axis=1), stretch.max(axis=1), stretch.sum(axis=1, dtype=np.float64)
        if self.length == 0:
            self.low, self.high, self.total = low, high, total
            self.opposed = opposed(stretch) is not None
        else:
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            self.total = self.total + total
        self.length += stretch.shape[1]
        if max(high.max(), -low.min()) >= 0.999:
            self.clipped += int(np.count_nonzero(np.abs(stretch) >= 0.999))

    def notes(self) -> list[str]:
        """Sentences about what is odd, none of which keeps the recording from being used."""
        if not self.finite:
            return [NOT_FINITE]
        if self.length == 0:
            return [SILENCE]
        peak = float(max(self.high.max(), -self.low.min()))
        still = self.high - self.low <= SILENT
        if peak <= SILENT:
            return [SILENCE]
        facts = {
            CONSTANT: bool(still.all()) and self.length > 1,
            OFFSET: bool((np.abs(self.total) > 0.05 * self.length).any()),
            DEAD: bool(still.any() and not still.all()),
            OPPOSED: self.opposed,
            CLIPPED: self.clipped > 0.1 * self.length * len(self.low),
            LOUD: peak >= 2.0,
        }
        return [note for note, true in facts.items() if true]


def examine(wave: np.ndarray) -> list[str]:
    """(C, T) -> sentences about silence, DC, dead or opposed channels, clipping and level; [] where nothing is odd."""
    census = Census()
    census.add(wave)
    return census.notes()
