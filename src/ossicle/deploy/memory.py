"""memory.npz: features (n, D) of clips that a model learned from, and of others to judge by, so that a device can refit
its head without the clips. numpy alone.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, replace
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ossicle.deploy.config import MEMORY, BundleError
from ossicle.deploy.head import Head

KINDS = {"feature": "f", "clip": "i", "target": "b", "guard": "b", "part": "U"}
"""The arrays of the file, and numpy's letter for what each holds."""
UNREADABLE = (ValueError, KeyError, OSError, EOFError, TypeError, MemoryError, RuntimeError, BadZipFile, zlib.error)
"""What numpy raises of files that hold no arrays, or lie about them."""
_HALF = 6e4  # what float16 holds


@dataclass(frozen=True, eq=False)
class Memory:
    """Windows with `feature` (n, D) float32 of the `clip` (n,) of that number; of each of m clips `target` (m, K) has a
    one for each of its classes, and `guard` (m,) says that it is no clip to learn from but one to judge by.

    `part` names what the guard's clips were to the training: "validation" (held out), or "training".
    """

    feature: np.ndarray
    clip: np.ndarray
    target: np.ndarray
    guard: np.ndarray
    part: str = "validation"

    def __post_init__(self) -> None:
        clips = len(self.target)
        fits = self.feature.ndim == self.target.ndim == 2 and self.guard.shape == (clips,)
        if not fits or self.clip.shape != (len(self.feature),) or set(self.clip.tolist()) != set(range(clips)):
            raise BundleError(f"{MEMORY} does not tell which clip its features are of; export again")
        if not np.isfinite(self.feature).all():
            raise BundleError(f"{MEMORY} holds features that are not finite; export again")

    def where(self, clips: np.ndarray) -> Memory:
        """Only these clips, by a mask (m,) or their numbers."""
        rows = np.flatnonzero(clips) if clips.dtype == bool else clips
        number = np.full(len(self.target), -1)
        number[rows] = np.arange(len(rows))
        windows = np.isin(self.clip, rows)
        ours = {"feature": self.feature[windows], "clip": number[self.clip[windows]]}
        return replace(self, **ours, target=self.target[rows], guard=self.guard[rows])

    def widened(self, classes: int) -> Memory:
        """With more classes, of which no clip has any."""
        more = np.zeros((len(self.target), classes - self.target.shape[1]), bool)
        return replace(self, target=np.hstack([self.target, more]))

    def joined(self, other: Memory) -> Memory:
        """These clips and then those of another with the same classes."""
        return replace(
            self,
            feature=np.concatenate([self.feature, other.feature]),
            clip=np.concatenate([self.clip, len(self.target) + other.clip]),
            target=np.concatenate([self.target, other.target]),
            guard=np.concatenate([self.guard, other.guard]),
        )

    def scores(self, head: Head, *, multilabel: bool) -> np.ndarray:
        """(m, K): each clip's mean over its windows' probabilities, as everywhere."""
        return self.mean(head.scores(self.feature, multilabel=multilabel))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """(n, ...) of windows -> (m, ...) of clips."""
        total = np.zeros((len(self.target), *values.shape[1:]), np.float64)
        np.add.at(total, self.clip, values)
        count = np.bincount(self.clip, minlength=len(self.target))
        return total / count.reshape(-1, *[1] * (values.ndim - 1))


def packed(memory: Memory) -> bytes:
    """The content of the file."""
    kind = np.float16 if np.abs(memory.feature).max(initial=0) < _HALF else np.float32
    arrays: dict[str, Any] = {"feature": memory.feature.astype(kind), "clip": memory.clip.astype(np.int32)}
    arrays |= {"target": memory.target.astype(bool), "guard": memory.guard.astype(bool), "part": np.array(memory.part)}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def unpacked(content: bytes, classes: int) -> Memory:
    """What the file holds, about so many classes. BundleError where it is another."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in KINDS}
    except UNREADABLE as error:
        raise BundleError(f"{MEMORY} cannot be read: {error}; export again") from error
    if strange := [name for name, kind in KINDS.items() if found[name].dtype.kind != kind]:
        raise BundleError(f"{MEMORY} has {strange[0]} of type {found[strange[0]].dtype}; export again")
    if found["target"].shape[1:] != (classes,):
        about = "x".join(map(str, found["target"].shape[1:])) or "no"
        raise BundleError(f"{MEMORY} is about {about} classes, not {classes}; export again")
    feature, part = found["feature"].astype(np.float32), str(found["part"])
    return Memory(feature, found["clip"].astype(np.int64), found["target"], found["guard"], part)
