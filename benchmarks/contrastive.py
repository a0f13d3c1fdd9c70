"""Recipes that were run -> benchmarks/results/contrastive.md and .json: what contrastive learning is worth on ESC-10.

    python benchmarks/contrastive.py --data ../shared/esc10 --runs runs

The command that makes each part stands beside it in the result; of what is not there yet, nothing is shown. Scores are
over folds with seeds averaged; intervals are 95 %.
"""

from __future__ import annotations

import recipe_tables
from recipe_tables import Part

BUDGETS = (1, 2, 5, 10, 32)
NOISE = (0, 0.2, 0.4)

PARTS = (
    Part("views", "What each view does: encoders on a validation part", "esc10-contrastive-views"),
    Part("contrastive", "Three encoders, on their test folds", "esc10-contrastive", evaluate=True),
    Part(
        "labels",
        "Few labels",
        "esc10-labels",
        pairs=(
            *((f"contrastive, few {few}", f"DLS, few {few}") for few in BUDGETS),
            *((f"contrastive-linear, few {few}", f"contrastive, few {few}") for few in BUDGETS),
        ),
        rows=tuple(
            f"{arm}, few {few}" for arm in ("scratch", "contrastive", "contrastive-linear", "DLS") for few in BUDGETS
        ),
    ),
    Part(
        "noisy",
        "Wrong labels",
        "esc10-noisy-labels",
        pairs=tuple(
            (f"contrastive-linear, label_noise {share}", f"contrastive, label_noise {share}") for share in NOISE
        ),
    ),
)


if __name__ == "__main__":
    recipe_tables.write_tables("contrastive", __doc__, PARTS)
