"""Every random number of training: a counter-based hash of (seed, epoch, clip, view, name).

Nothing here keeps state. A clip's draws depend on what the clip is and on nothing else, so any number of workers, any
order, any batch and any neighbour give the same numbers, and a run that is resumed draws what it would have drawn.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP = np.uint64(0x9E3779B97F4A7C15)


def key(*parts: object) -> int:
    """A stable 63-bit integer for a tuple of strings and numbers: the same on every machine and Python."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) >> 1


def mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer, elementwise on uint64 (Steele, Lea and Flood 2014): a bijection whose output bits look
    random.
    """
    state = (state ^ (state >> np.uint64(30))) * _MIX[0]
    state = (state ^ (state >> np.uint64(27))) * _MIX[1]
    return state ^ (state >> np.uint64(31))


def bits(clips: np.ndarray, *shape: int, **where: object) -> np.ndarray:
    """(B,) clip keys -> (B, *shape) uint64 hashes of (everything in `where`, clip, position)."""
    clips = np.atleast_1d(np.asarray(clips)).astype(np.uint64)
    with np.errstate(over="ignore"):
        base = mix(clips + np.uint64(key(*sorted(where.items()))) * _STEP)
        count = np.arange(1, int(np.prod(shape, dtype=np.int64)) + 1, dtype=np.uint64)
        return mix(base[:, None] + count * _STEP).reshape(len(clips), *shape)


def uniform(clips: np.ndarray, *shape: int, **where: object) -> np.ndarray:
    """(B,) clip keys -> (B, *shape) float64 in [0, 1), 53 bits each."""
    return (bits(clips, *shape, **where) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Draw:
    """The draws of one batch: `draw("gain", low=-6, high=6)` gives each clip its own number.

    `clips` holds the clips' keys (B,); `view` numbers the random versions of a clip within one step.
    """

    seed: int
    epoch: int
    clips: np.ndarray
    view: int = 0
    device: Any = "cpu"

    def _where(self, name: str) -> dict[str, object]:
        return {"seed": self.seed, "epoch": self.epoch, "view": self.view, "name": name}

    def at(self, view: int) -> Draw:
        """The same batch, another view."""
        return replace(self, view=view)

    def __call__(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers in [low, high), (B, *shape) float32."""
        import torch

        numbers = low + (high - low) * uniform(self.clips, *shape, **self._where(name))
        return torch.from_numpy(numbers.astype(np.float32)).to(self.device)

    def integers(self, name: str, *shape: int, low: Any = 0, high: Any) -> Tensor:
        """Whole numbers in [low, high), (B, *shape) int64; the bounds may be tensors (B,) of their own."""
        import torch

        numbers = torch.from_numpy(uniform(self.clips, *shape, **self._where(name))).to(self.device)
        low, high = (torch.as_tensor(bound, device=self.device) for bound in (low, high))
        low, high = (bound.reshape(bound.shape + (1,) * (numbers.ndim - bound.ndim)) for bound in (low, high))
        return (low + (numbers * (high - low)).floor()).long()

    def normal(self, name: str, *shape: int) -> Tensor:
        """Standard normal fields, (B, *shape) float32: each clip's from its own generator, seeded by its own draw."""
        import torch

        seeds = bits(self.clips, **self._where(name)) >> np.uint64(1)
        fields = torch.empty(len(self.clips), *shape, device=self.device)
        for field, seed in zip(fields, seeds.tolist(), strict=True):
            field.normal_(generator=torch.Generator(self.device).manual_seed(seed))
        return fields

    def beta(self, name: str, alpha: float) -> Tensor:
        """Beta(alpha, alpha) numbers, (B,) float32: each clip's from its own generator, seeded by its own draw."""
        import torch

        seeds = bits(self.clips, **self._where(name)).ravel()
        numbers = [np.random.Generator(np.random.Philox(int(seed))).beta(alpha, alpha) for seed in seeds]
        return torch.tensor(numbers, dtype=torch.float32, device=self.device)
