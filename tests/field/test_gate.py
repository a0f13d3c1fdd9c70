"""The gate's question of rates: away from the truth, or beyond it, a class may not move far; towards it, it may."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ossicle.deploy.head import Head
from ossicle.deploy.memory import Memory
from ossicle.field.gate import MOVED, of_guard


@dataclass
class Named:
    labels: tuple[str, ...] = ("low", "high")


def guard(truth: list[int]) -> Memory:
    """Clips whose one feature is their number."""
    target = np.eye(2, dtype=bool)[truth]
    clips = len(truth)
    return Memory(np.arange(clips, dtype=np.float32)[:, None], np.arange(clips), target, np.ones(clips, bool))


def from_clip(number: float) -> Head:
    """A head that tells all clips from this number on as `high`."""
    return Head(np.array([[0.0], [1.0]], np.float32), np.array([0.0, 0.5 - number], np.float32))


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (4, 10, 0.0),  # 16 of 20 told as high, where 10 are, and now 10
        (4, 12, 0.1),  # two beyond
        (10, 6, 0.2),  # away from what is true
        (16, 4, 0.3),  # from four to sixteen
    ],
)
def test_a_rate_may_move_towards_its_true_share(before, after, moved):
    checks = of_guard(
        guard([0] * 10 + [1] * 10), from_clip(before), from_clip(after), Named(), multilabel=False, margin=1.0
    )
    found = [check for check in checks if check.name.startswith("how far the rate")]
    assert [check.number for check in found] == [pytest.approx(moved)]
    assert found[0].ok == (moved <= MOVED)
