"""Recipes that were run -> benchmarks/results/crosstask.md and .json: what sound events are worth to scenes, and what a
student learns from who knows them.

    python benchmarks/scenes.py --data esc10:../shared/esc10 -o runs/scenes
    python benchmarks/crosstask.py --runs runs

The command that makes each part stands beside it in the result; of what is not there yet, nothing is shown. Scores are
over folds with seeds averaged; intervals are 95 %, over the ten places that scenes were composed in.
"""

from __future__ import annotations

from pathlib import Path

import recipe_tables
from recipe_tables import Made, Part

EVENTS, MODELS, STUDENTS = "scenes-events", "scenes-models", "scenes-students"
NETWORKS, WAYS = ("vfm", "jrm", "cmam"), ("features", "finetuned")
ALONE = (MODELS, "base")

PARTS = (
    Part(EVENTS, "The event model, on mixtures of the test fold", "esc10-scenes-events", seeds=(), given=False),
    Part(
        MODELS,
        "Table 2: scenes with what is known of events",
        "esc10-scenes",
        given=False,
    ),
    Part(
        STUDENTS,
        "Table 3: the base network, taught",
        "esc10-scenes-students",
        pairs=(
            ("ensemble", "cmam-features"),
            ("augmented", "ensemble"),
            ("unlabelled", "cmam-features"),
            ("contrastive", "cmam-features"),
            ("contrastive", "labels-contrastive"),
            ("all", "unlabelled"),
            ("tiny-taught", "tiny"),
            ("tiny-unlabelled", "tiny"),
        ),
        given=False,
    ),
)

ROWS = (
    *("jrm-features", "jrm-finetuned", "cmam-features", "cmam-finetuned", "ensemble", "augmented", "unlabelled"),
    *("contrastive", "labels-contrastive", "npid", "all", "tiny", "tiny-taught", "tiny-unlabelled"),
)


def more(made: Made, place: Path) -> list[str]:
    """What a network has of knowing events, and a student of its teachers or its start, by seeds that both have."""
    known = [((MODELS, f"{name}-{way}"), (MODELS, f"{name}-scratch")) for name in NETWORKS for way in WAYS]
    pairs = [*known, *(((STUDENTS, row), ALONE) for row in ROWS)]
    lines = [line for one, other in pairs for line in recipe_tables.across(made, one, other)]
    return ["## Against the same network from scratch", "", *lines, ""] if lines else []


if __name__ == "__main__":
    recipe_tables.write_tables("crosstask", __doc__, PARTS, more)
