"""Recipes that were run -> benchmarks/results/progressive.md and .json: what growing resolution is worth on ESC-10.

    python benchmarks/progressive.py --data ../shared/esc10 --runs runs

The command that makes each part stands beside it in the result; of what is not there yet, nothing is shown. Scores are
over folds with seeds averaged; intervals are 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import recipe_tables
from recipe_tables import Made, Part

from ossicle.evaluate import answers, compare
from ossicle.folds import Cell

MAIN, MORE, ALONE = "progressive", "progressive-questions", "progressive-pretraining"

PARTS = (
    Part(
        "progressive-choices",
        "How rates were chosen: validation parts of folds 1 and 3",
        "esc10-progressive-choices",
        folds=(1, 3),
        seeds=(0,),
        evaluate=False,
    ),
    Part(
        MAIN,
        "Twenty epochs; 60 and 100 % of the baseline's seconds",
        "esc10-progressive",
        pairs=(("mel", "resize"), ("mixed", "mel"), ("mixed", "resize"), ("mel-at-60", "short"), ("mel-at-60", "mel")),
    ),
    Part(MORE, "Other operators; mixup and masks", "esc10-progressive-questions"),
    Part(
        "progressive-pretraining-choices",
        "How the stages of pretraining were chosen: validation parts of folds 1 and 3",
        "esc10-progressive-pretraining-choices",
        folds=(1, 3),
        seeds=(0,),
        evaluate=False,
    ),
    Part(
        ALONE,
        "Learning from sound alone, in half the seconds",
        "esc10-progressive-pretraining",
        pairs=(("npid-half", "npid-half-epochs"), ("contrastive-half", "contrastive-half-epochs")),
        evaluate=True,
    ),
    Part("npid", "Instance discrimination at full resolution", "esc10-npid", evaluate=True),
    Part("contrastive", "Contrastive learning, the same", "esc10-contrastive", rows=("resnet-18",), evaluate=True),
)

ACROSS = (
    *(((MORE, f"resize-{how}"), (MAIN, "resize")) for how in ("bicubic", "nearest", "area")),
    *(((MORE, f"mel-{what}"), (MORE, f"baseline-{what}")) for what in ("mixup", "specaugment")),
    *(((MORE, f"{arm}-{what}"), (MAIN, arm)) for what in ("mixup", "specaugment") for arm in ("baseline", "mel")),
    *(((ALONE, f"npid-{half}"), ("npid", "")) for half in ("half", "half-epochs")),
    *(((ALONE, f"contrastive-{half}"), ("contrastive", "resnet-18")) for half in ("half", "half-epochs")),
)
"""Rows of different parts, to be held against each other."""

JOINED = (("mel", "resize"), ("baseline", "baseline"), ("mel", "mel"), ("resize", "resize"))
"""Two models whose mean probability is one answer; of one arm twice, two seeds."""


def more(made: Made, place: Path) -> list[str]:
    """What rows of different parts differ by, and what two models say together."""
    lines = [line for one, other in ACROSS for line in recipe_tables.across(made, one, other)]
    return [*(["## From part to part", "", *lines, ""] if lines else []), *pairs_of_models(made, place / "ensembles")]


def pairs_of_models(made: Made, place: Path) -> list[str]:
    """A line for each pair of models: what they tell rightly together, and against the baseline alone."""
    lines = []
    alone = {(cell.fold, cell.seed): cell.folder for cell in made.get((MAIN, "baseline"), ())}
    for one, other in JOINED:
        sides = paired(made.get((MAIN, one), ()), made.get((MAIN, other), ()), shifted=one == other)
        if not sides:
            continue
        found = recipe_tables.ensembles(zip(*sides, strict=True), place / f"{one}+{other}")
        told = recipe_tables.averaged(folder / answers.FILE for folder in found)
        lines.append(f"- {one} and {other}: {told}")
        if all((cell.fold, cell.seed) in alone for cell, _ in sides):
            over = compare(found, [alone[cell.fold, cell.seed] for cell, _ in sides])["recordings"]["sentence"]
            lines.append(f"  - against the baseline alone: {over}")
    return ["## Two models, their mean probability", "", *lines, ""] if lines else []


def paired(one: Sequence[Cell], other: Sequence[Cell], *, shifted: bool) -> list[tuple[Cell, Cell]]:
    """Runs of two arms on the same fold, of the same seed or, `shifted`, of the next seed that is there."""
    seeds = sorted({cell.seed for cell in other})
    turn = dict(zip(seeds, seeds[1:] + seeds[:1], strict=True)) if shifted else {seed: seed for seed in seeds}
    known = {(cell.fold, cell.seed): cell for cell in other}
    wanted = [(cell, known.get((cell.fold, turn.get(cell.seed, -1)))) for cell in one]
    return [(cell, partner) for cell, partner in wanted if partner and not (shifted and partner is cell)]


if __name__ == "__main__":
    recipe_tables.write_tables("progressive", __doc__, PARTS, more)
