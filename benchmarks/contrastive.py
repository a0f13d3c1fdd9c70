"""Recipes that were run -> benchmarks/results/contrastive.md and .json: what contrastive learning is worth on ESC-10.

    python benchmarks/contrastive.py --data ../shared/esc10 --runs runs

The command that makes each part stands beside it in the result; of what is not there yet, nothing is shown. Scores are
over folds with seeds averaged; intervals are 95 %.
"""

from __future__ import annotations

from pathlib import Path

import recipe_tables
from recipe_tables import Made, Part

SIDES = (("contrastive", "resnet-18"), ("npid", ""))
BUDGETS = (1, 2, 5, 10, 32)

PARTS = (
    Part("contrastive", "Three encoders, on their test folds", "esc10-contrastive", evaluate=True),
    Part("npid", "Instance discrimination, for about as many seconds", "esc10-npid", evaluate=True),
    Part(
        "budgets",
        "Few labels, and all",
        "esc10-budgets",
        pairs=(
            *((f"contrastive-linear, few {few}", f"contrastive, few {few}") for few in BUDGETS),
            *((f"resnet-contrastive, few {few}", f"resnet-scratch, few {few}") for few in (5, 10, 32)),
            ("crnn-contrastive, few 32", "crnn-scratch, few 32"),
        ),
    ),
    Part("noisy", "Wrong labels", "esc10-noisy-labels"),
    Part("contrastive-factors", "One thing at a time, on validation parts", "esc10-contrastive-factors", (1, 3)),
)


def side_by_side(made: Made, place: Path) -> list[str]:
    """Contrastive learning against instance discrimination, the same encoder and about the same seconds."""
    lines = recipe_tables.across(made, *SIDES)
    title = "## Contrastive learning against instance discrimination, ResNet-18"
    return [title, "", *lines, ""] if lines else []


if __name__ == "__main__":
    recipe_tables.write_tables("contrastive", __doc__, PARTS, side_by_side)
