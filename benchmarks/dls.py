"""Recipes that were run -> benchmarks/results/dls.md and .json: what DLS is worth on ESC-10.

    python benchmarks/dls.py --data ../shared/esc10 --runs runs

The command that makes each part stands beside it in the result; of what is not there yet, nothing is shown. Accuracy is
over folds with seeds averaged; intervals are 95 %.
"""

from __future__ import annotations

from pathlib import Path

import recipe_tables
from recipe_tables import Made, Part

from ossicle.evaluate import answers

PARTS = (
    Part("factors", "One factor at a time: 5-NN on a validation part", "esc10-factors", (1, 3), ()),
    Part(
        "curves",
        "Thirty epochs",
        "esc10-curves",
        pairs=(("DLS-transductive", "DLS"), ("DLS-classifier-only", "DLS")),
    ),
    Part("few", "Three epochs and no more", "esc10-few-epochs"),
    Part(
        "labels",
        "Five and ten labels a class",
        "esc10-labels",
        pairs=tuple((f"DLS-transductive, few {few}", f"DLS, few {few}") for few in (5, 10)),
        rows=tuple(f"{arm}, few {few}" for arm in ("scratch", "DLS", "DLS-transductive") for few in (5, 10)),
    ),
    Part("best", "As far as it goes", "esc10-best"),
)


JOINED = (("curves", "scratch"), ("curves", "DLS"), ("best", ""))  # none of which heard a test clip before


def joined(made: Made, place: Path) -> list[str]:
    """What arms of several recipes say together."""
    if not all(name in made for name in JOINED):
        return []
    folders = recipe_tables.ensembles([made[name] for name in JOINED], place / "ensembles" / "dls")
    told = recipe_tables.averaged(folder / answers.FILE for folder in folders)
    return [f"- scratch and DLS of thirty epochs and this one, their mean probability: {told}", ""]


if __name__ == "__main__":
    recipe_tables.write_tables("dls", __doc__, PARTS, joined)
