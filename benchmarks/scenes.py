"""Scenes made of real events, for the cross-task tables: a folder of 10-second clips and its tables.

    python benchmarks/scenes.py --data esc10:../shared/esc10 -o runs/scenes

scenes.csv, events.csv, unlabelled.csv and heard.csv are what `ossicle.datasets.composed.compose` says; all but the last
are read as any table of clips is: `ossicle data runs/scenes/scenes.csv`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ossicle.datasets import load
from ossicle.datasets.composed import compose


def main() -> None:
    """Composes, and says how much there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a data set of single sounds with folds, as ossicle takes it")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a new folder, or the one made before")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    scenes = compose(load(args.data), args.output, seed=args.seed)
    for table in ("scenes", "events", "unlabelled"):
        print(f"{args.output / table}.csv: {len(load(args.output / f'{table}.csv'))} clips")
    print(f"{len(scenes.classes)} scenes in {len(set(scenes.groups()))} places and {len(scenes.folds)} folds")


if __name__ == "__main__":
    main()
