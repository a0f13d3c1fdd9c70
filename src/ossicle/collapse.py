"""Rows of a log -> whether features collapse, in words: told when it begins and when it ends, not every epoch.

`objectives.health` measures what is judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

POINT = 0.05
"""Feature sd below which clips count as one: a mean cosine of 0.9975 between them. Encoders that have learned nothing
yet begin at 0.17 (VGG-like), 0.3 (ResNets) and 0.65 (CRNN), and trained ones stand near 0.67, on ESC-10."""
LINE = 1.5
"""Effective rank below which features count as one line. The same encoders, fresh or trained, fill a third of the
directions that a batch leaves room for; a batch of two clips has room for 2."""
AGAIN = 2.0
"""How many times a limit is to be passed before features count as apart again, so that a run on the edge is quiet."""
ADVICE = (
    "What is learned from here on is of little use. Try a lower lr, a higher temperature, more negatives (a larger "
    "batch, where the clips of a batch are each other's), or weaker views."
)


class Watch:
    """Hears an epoch's row at a time; `collapsed` is how things stand."""

    def __init__(self) -> None:
        self.collapsed = False

    def hear(self, row: Mapping[str, Any]) -> str:
        """A sentence where this epoch changed how things stand; "" where it did not or nothing was measured."""
        sd, rank = row.get("feature_sd"), row.get("effective_rank")
        if sd is None or rank is None:
            return ""
        need = AGAIN if self.collapsed else 1.0
        said = _fault(sd, rank, need)
        if bool(said) == self.collapsed:
            return ""
        self.collapsed = bool(said)
        numbers = f"feature sd {sd:.2g} of at most 1, effective rank {rank:.3g}"
        if said:
            return f"epoch {row['epoch']}: the features collapse: {said} ({numbers}). {ADVICE}"
        return f"epoch {row['epoch']}: the features are apart again ({numbers})."


def story(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All that a log's rows have to tell, in order."""
    watch = Watch()
    return [said for row in rows if (said := watch.hear(row))]


def news(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the last of a log's rows has to tell, the earlier ones being known; "" where that is nothing."""
    watch = Watch()
    return ([""] + [watch.hear(row) for row in rows])[-1]


def _fault(sd: float, rank: float, need: float) -> str:
    """What is wrong where not all numbers are `need` times their limit."""
    if sd < need * POINT:
        return "all clips come to lie on one point"
    if rank < need * LINE:
        return "all clips come to lie on one line"
    return ""
