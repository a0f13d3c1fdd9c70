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
FALL = 1 / 3
"""Share of the first epoch's number below which either has collapsed, though not to a point or line. Runs that went
well kept 0.85 of either; of runs at a hundred times their rate, those whose features collapsed fell below 0.3."""
AGAIN = 1.5
"""How many times their limits both are to reach before features count as apart: a run on the edge is quiet."""
ADVICE = (
    "What is learned from here on is of little use. Try a lower lr, a higher temperature, more negatives (a larger "
    "batch, where the clips of a batch are each other's), or weaker views."
)


class Watch:
    """Hears an epoch's row at a time; `collapsed` is how things stand."""

    def __init__(self) -> None:
        self.collapsed = False
        self.first: tuple[float, float] | None = None

    def hear(self, row: Mapping[str, Any]) -> str:
        """A sentence where this epoch changed how things stand; "" where it did not or nothing was measured."""
        sd, rank = row.get("feature_sd"), row.get("effective_rank")
        if not (isinstance(sd, int | float) and isinstance(rank, int | float)):
            return ""
        self.first = self.first or (sd, rank)
        said = _fault((sd, rank), self.first, AGAIN if self.collapsed else 1.0)
        if bool(said) == self.collapsed:
            return ""
        self.collapsed = bool(said)
        numbers = f"feature sd {sd:.2g} of at most 1, effective rank {rank:.3g}"
        if said:
            return f"epoch {row.get('epoch')}: the features collapse: {said} ({numbers}). {ADVICE}"
        return f"epoch {row.get('epoch')}: the features are apart again ({numbers})."


def story(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All that a log's rows have to tell, in order."""
    watch = Watch()
    return [said for row in rows if (said := watch.hear(row))]


def news(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the last of a log's rows has to tell, the earlier ones being known; "" where that is nothing."""
    watch = Watch()
    return ([""] + [watch.hear(row) for row in rows])[-1]


def _fault(now: tuple[float, float], first: tuple[float, float], need: float) -> str:
    """What is wrong where not both numbers, feature sd and effective rank, are `need` times their limits."""
    if now[0] < need * POINT:
        return "all clips come to lie on one point"
    if now[1] < need * LINE:
        return "all clips come to lie on one line"
    if now[0] < need * FALL * first[0]:
        return f"clips lie closer together than in the first epoch, whose sd was {first[0]:.2g}"
    if now[1] < need * FALL * first[1]:
        return f"clips fill fewer directions than in the first epoch, whose rank was {first[1]:.3g}"
    return ""
