"""Scenes made of real events, for the cross-task tables: a folder of 10-second clips and its tables.

    python benchmarks/scenes.py --data esc10:../shared/esc10 -o runs/scenes

scenes.csv, events.csv, seconds.csv, unlabelled.csv and heard.csv are what `ossicle.datasets.composed.compose` says; all
but the last are read as any table of clips is: `ossicle data runs/scenes/scenes.csv`. The last line printed is what
there is to reach: how many scenes are told by who hears every event and its label, and knows how often each scene has
them.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import Counter
from pathlib import Path

from ossicle.datasets import load
from ossicle.datasets.composed import compose
from ossicle.datasets.soundscapes import SCENES, Scene


def likelihood(scene: Scene, background: str, events: Counter[str]) -> float:
    """The logarithm of how likely a scene has these, but for what is the same for all scenes; "": made noise."""
    shares = {**scene.backgrounds, "": 1 - sum(scene.backgrounds.values())}
    times = {label: often.times for label, often in scene.events.items()}
    if shares.get(background, 0.0) <= 0 or not events.keys() <= times.keys():
        return -math.inf
    counts = (events[label] * math.log(mean) - mean for label, mean in times.items())
    return math.log(shares[background]) + sum(counts)


def told(folder: Path) -> float:
    """The share of scenes that the likeliest one given heard.csv is, levels left out."""
    background: dict[str, str] = {}
    events: dict[str, Counter[str]] = {}
    with (folder / "heard.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if float(row["level_db"]) == 0.0:
                background[row["filename"]] = row["label"]
            else:
                events.setdefault(row["filename"], Counter())[row["label"]] += 1
    right = []
    for clip in load(folder / "scenes.csv").clips:
        known = background.get(clip.name, ""), events.get(clip.name, Counter())
        right.append(max(SCENES, key=lambda name: likelihood(SCENES[name], *known)) == clip.labels[0])
    return sum(right) / len(right)


def main() -> None:
    """Composes, and says how much there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a data set of single sounds with folds, as ossicle takes it")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a new folder, or the one made before")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    scenes = compose(load(args.data), args.output, seed=args.seed)
    for table in ("scenes", "events", "seconds", "unlabelled"):
        print(f"{args.output / table}.csv: {len(load(args.output / f'{table}.csv'))} clips")
    print(f"{len(scenes.classes)} scenes in {len(set(scenes.groups()))} places and {len(scenes.folds)} folds")
    print(f"told by their events: {told(args.output):.1%}")


if __name__ == "__main__":
    main()
