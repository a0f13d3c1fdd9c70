"""Manifest -> Batches of wave (B, C, T): every clip once an epoch, in an order that only the seed decides.

Sound comes from the cache, so a batch costs a copy; one thread copies ahead while the model works.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ossicle import audio, draw
from ossicle.data.cache import Cache, Prepared
from ossicle.data.manifest import Clip, Manifest
from ossicle.data.partners import Partners


class DataError(ValueError):
    """Data that cannot be learned from; the message says why and what to do."""


@dataclass(frozen=True)
class Batch:
    """Clips for one step. `wave` (B, C, T) float32, `length` (B,) each clip's true samples, `index` (B,) row of the
    manifest.

    `target` is (B,) int64, -1 where unknown, or (B, K) float32 for several labels a clip. `valid` (B,) is False where a
    bad file left its slot empty: the slot stays, so no other clip moves. `key` (B,) names the clips for `draw`.
    `others` (B, P, C, T) and `other_target` (B, P, ...) are the clips that a view or mixup asked for, drawn from the
    manifest: of other recordings than the clip and than one another.
    """

    wave: Tensor
    length: Tensor
    target: Tensor
    index: Tensor
    key: np.ndarray
    valid: Tensor
    others: Tensor | None = None
    other_target: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def usable(self, device: torch.device | str = "cpu") -> Batch:
        """The batch without its empty slots, on a device."""
        if bool(self.valid.all()):
            return self.to(device)
        keep = self.valid.numpy()
        picked: dict[str, Any] = {name: None if value is None else value[keep] for name, value in vars(self).items()}
        return Batch(**picked).to(device)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device; its keys stay here, where numbers are drawn."""
        held = vars(self).items()
        moved: dict[str, Any] = {name: value.to(device) for name, value in held if isinstance(value, Tensor)}
        return replace(self, **moved)


def prepare(
    manifest: Manifest,
    cache: Cache,
    *,
    sample_rate: int,
    channels: int = 1,
    max_bad: float = 0.01,
    report: Callable[[Prepared], None] = lambda prepared: None,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Decodes what the cache lacks. DataError if more than the share `max_bad` of the files is bad, after `report`
    ran.
    """
    paths = list(dict.fromkeys(clip.path for clip in manifest.clips))
    prepared = cache.prepare(paths, sample_rate=sample_rate, channels=mixing(channels), progress=progress)
    report(prepared)
    if len(prepared.bad) > max_bad * len(paths):
        first = next(iter(prepared.bad.values()))
        raise DataError(
            f"{len(prepared.bad)} of {len(paths)} files cannot be used, more than max_bad = {max_bad:.1%} allows; "
            f"the first is {first.path}: {first.reason}. Repair or remove them, or raise max_bad."
        )
    return prepared


def mixing(channels: int) -> str | int:
    """How `audio` brings a file to that many channels: one is the mean of all."""
    return "mix" if channels == 1 else channels


@dataclass(frozen=True)
class Source:
    """One manifest's sound at one rate, clip by clip."""

    manifest: Manifest
    cache: Cache
    sample_rate: int
    channels: int = 1
    bad: frozenset[Path] = frozenset()

    @cached_property
    def keys(self) -> np.ndarray:
        """(n,) uint64 clip keys."""
        return self.manifest.keys()

    @cached_property
    def targets(self) -> Tensor:
        """(n,) int64 or (n, K) float32, as `Manifest.targets`."""
        return torch.from_numpy(self.manifest.targets())

    @cached_property
    def partners(self) -> Partners:
        """Which clips may be mixed into which."""
        return Partners(self.manifest.groups())

    def wave(self, clip: Clip) -> np.ndarray | None:
        """(C, t) float32 of the clip's own stretch, or None for a bad file."""
        if clip.path in self.bad:
            return None
        whole = self.cache.wave(clip.path, sample_rate=self.sample_rate, channels=mixing(self.channels))
        start = round(clip.start * self.sample_rate)
        stop = whole.shape[1] if clip.stop is None else round(clip.stop * self.sample_rate)
        stretch = whole[:, start:stop]
        return stretch if stretch.shape[1] else None


@dataclass(frozen=True)
class Loader:
    """Training batches. Each clip is fitted to `length` samples: short ones by `policy`, long ones by a crop that draw
    places.

    An epoch is cut into ceil(n / batch) batches whose sizes differ by one at most, so no clip is dropped and no batch
    is left with a single clip. `others` asks for that many more clips of the manifest beside each, and DataError says
    where recordings are too few for it. Of `ranks` processes that learn together, each loads its part of every batch:
    all parts together are the batch of one process alone.
    """

    source: Source
    length: int
    batch: int
    seed: int = 0
    policy: str = "repeat"
    others: int = 0
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if self.others and self.source.partners.recordings <= self.others:
            raise DataError(
                f"{self.others} clips of other recordings are to be mixed into each clip, and there are only "
                f"{self.source.partners.recordings} recordings to learn from: add recordings, or mix nothing in"
            )

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return math.ceil(len(self.source.manifest) / self.batch)

    def order(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch: clips sorted by their own draw, so leaving one out moves no other past its
        neighbors.
        """
        place = draw.bits(self.source.keys, seed=self.seed, epoch=epoch, name="order")
        return np.array_split(np.argsort(place, kind="stable"), self.steps)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The epoch's batches from number `start` on, read one ahead."""
        coming: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1) as ahead:
            for rows in self.order(epoch)[start:]:
                coming.append(ahead.submit(self.load, np.array_split(rows, self.ranks)[self.rank], epoch))
                if len(coming) > 2:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def load(self, rows: np.ndarray, epoch: int) -> Batch:
        """The batch of these rows of the manifest."""
        targets, key = self.source.targets, self.source.keys[rows]
        where = {"seed": self.seed, "epoch": epoch}
        waves, lengths = self._waves(rows, draw.uniform(key, **where, name="crop"))
        batch = Batch(waves, lengths, targets[rows], torch.from_numpy(rows), key, lengths > 0)
        if not self.others:
            return batch
        partner = self.source.partners.pick(rows, draw.uniform(key, self.others, **where, name="others"))
        at = draw.uniform(key, self.others, **where, name="others crop")
        others, _ = self._waves(partner.ravel(), at.ravel())
        others = others.reshape(*partner.shape, *others.shape[1:])
        return Batch(**{**vars(batch), "others": others, "other_target": targets[partner]})

    def _waves(self, rows: np.ndarray, at: np.ndarray) -> tuple[Tensor, Tensor]:
        waves = torch.zeros(len(rows), self.source.channels, self.length)
        lengths = torch.zeros(len(rows), dtype=torch.long)
        for slot, (row, place) in enumerate(zip(rows.tolist(), at.tolist(), strict=True)):
            wave = self.source.wave(self.source.manifest.clips[row])
            if wave is not None:
                fitted = audio.fit(wave, self.length, policy=self.policy, crop="random", at=place)
                waves[slot].numpy()[:] = fitted
                lengths[slot] = min(wave.shape[1], self.length)
        return waves, lengths


def windows(
    source: Source, *, window: int, hop: int | None = None, policy: str = "repeat", batch: int = 64
) -> Iterator[Batch]:
    """Evaluation batches, in order: each clip's windows (`audio.window_starts`), one row a window, sharing the clip's
    index.
    """
    rows: list[int] = []
    waves: list[np.ndarray] = []

    def made() -> Batch:
        wave = torch.from_numpy(np.stack(waves))
        index = torch.tensor(rows)
        length = torch.full((len(rows),), window)
        return Batch(
            wave, length, source.targets[index], index, source.keys[rows], torch.ones(len(rows), dtype=torch.bool)
        )

    for row, clip in enumerate(source.manifest.clips):
        wave = source.wave(clip)
        if wave is None:
            continue
        for start in audio.window_starts(wave.shape[1], window, hop or window):
            rows.append(row)
            waves.append(audio.fit(wave[:, start : start + window], window, policy=policy))
            if len(rows) == batch:
                yield made()
                rows, waves = [], []
    if rows:
        yield made()
