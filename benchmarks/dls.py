"""Recipes that were run -> benchmarks/results/dls.md and .json: what DLS is worth on ESC-10.

    python benchmarks/dls.py --data ../shared/esc10 --runs runs

The command that makes each part stands beside it in the result; of what is not there yet, nothing is shown. Accuracy is
over folds with seeds averaged; intervals are 95 %.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import recipe_tables
from recipe_tables import Made, Part

FIRST_CLASS = 7  # column of predictions.csv

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


def voted(folders: list[Path]) -> str:
    """`94.2 % (91.6 to 96.6, over 304 recordings)` of runs that answered the same clips, several times each."""
    sums: dict[str, np.ndarray] = {}
    known: dict[str, tuple[str, str]] = {}
    for folder in folders:
        with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                classes = list(line)[FIRST_CLASS:]
                sums[line["name"]] = sums.get(line["name"], 0.0) + np.array([float(line[name]) for name in classes])
                known[line["name"]] = line["group"], line["target"]
    right = np.array([classes[int(total.argmax())] == known[name][1] for name, total in sums.items()], dtype=float)
    return recipe_tables.share(right, [known[name][0] for name in sums])


def joined(made: Made) -> list[str]:
    """What arms of several recipes say together."""
    if not all(name in made for name in JOINED):
        return []
    told = voted([cell.folder for name in JOINED for cell in made[name]])
    return [f"- scratch and DLS of thirty epochs and this one, their mean probability: {told}", ""]


if __name__ == "__main__":
    recipe_tables.write_tables("dls", __doc__, PARTS, joined)
