"""Thresholds for day.py, chosen on a day of sounds of a run's validation part, which it has not learned from.

    ossicle run recipes/esc10-scenes-events.toml --set split.valid=next -o runs/choice
    python benchmarks/day_choice.py runs/choice --data esc10:PATH -o thresholds.json
    python benchmarks/day.py runs/scenes-events --data esc10:PATH --thresholds thresholds.json

The day is heard once. Of its scores events are told with one threshold after another, class by class; each class gets
the one with the highest F1 from 6 dB on by overlap (of equals the highest), and all together the shortest event and the
longest pause with which that is best. Background classes keep the bundle's thresholds: what is told of them counts for
nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import day_events
import numpy as np
from day import options, prepared
from day_events import LEAST_DB, Count
from day_sound import Day

from ossicle.datasets.soundscapes import Heard
from ossicle.deploy.bundle import Recognizer, load
from ossicle.deploy.events import OFF
from ossicle.deploy.overheard import Recording
from ossicle.deploy.stream import Window
from ossicle.durable import write_json

GRID = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)
SHORTEST = (0.0, 1.0, 2.0)  # of an event, in hops beyond a window
PAUSE = (0.0, 1.0)  # in windows


def hear(recognizer: Recognizer, day: Day) -> tuple[Recording, list[Heard]]:
    """All scores of a day, and what there was."""
    stream, windows, there = recognizer.stream(), list[Window](), list[Heard]()
    for minute, heard in day:
        windows += stream.push(minute)
        there += heard
    windows += stream.flush()
    spans = np.array([(window.start, window.stop, window.anew) for window in windows]).T
    score = np.stack([window.score for window in windows])
    return Recording(Path("day"), stream.seconds, 0.0, score, spans[0], spans[1], spans[2].astype(bool)), there


def loud(counts: Mapping[float, Count]) -> Count:
    """Those from 6 dB on."""
    return sum((count for level, count in counts.items() if level >= LEAST_DB), Count())


def choose(
    heard: Recording, there: Sequence[Heard], labels: Sequence[str], day: Day, window: float, **lengths: float
) -> tuple[dict[str, float], Count]:
    """Each event class's threshold, and what all of them find and tell together."""
    levels = {int(event.onset / day.seconds): event.level_db for event in there if event.label in day.events}
    way = partial(day_events.overlap, collar=window)
    best: dict[str, float] = {}
    total = Count()
    for label in sorted(day.events):
        mine, number = [event for event in there if event.label == label], labels.index(label)
        found = {}
        for on in GRID:
            told = [replace(event, label=label) for event in heard.events(number, on, OFF * on, **lengths)]
            found[on] = loud(day_events.by_level(mine, told, lambda at: levels[int(at / day.seconds)], way))
        best[label] = max(GRID, key=lambda on: found[on].rates["f1"])
        total += found[best[label]]
    return best, total


def chosen(recognizer: Recognizer, day: Day) -> tuple[dict[str, Any], list[str]]:
    """The thresholds that are best, as a bundle has them, and a line for each choice of lengths."""
    config = recognizer.config
    window, hop = config.window / config.sample_rate, config.hop / config.sample_rate
    heard, there = hear(recognizer, day)
    tried, lines = [], []
    for beyond, pause in product(SHORTEST, PAUSE):
        lengths = {"min_seconds": window + hop * beyond if beyond else 0.0, "gap_seconds": window * pause}
        best, total = choose(heard, there, config.labels, day, window, **lengths)
        tried.append((total.rates["f1"], best, lengths))
        told = ", ".join(f"{label} {on:g}" for label, on in best.items())
        lines.append(f"{lengths}: F1 {total.rates['f1']:.3f} {tuple(total)}; {told}")
    _, best, lengths = max(tried, key=lambda each: each[0])
    given = np.broadcast_to(np.asarray(config.thresholds["on"], float), len(config.labels))
    on = [best.get(label, float(value)) for label, value in zip(config.labels, given, strict=True)]
    return {"on": on, "off": [OFF * value for value in on], **lengths}, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, hours=3.0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.part, asked.thresholds = "valid", None
    with TemporaryDirectory() as place:
        day, _ = prepared(asked.folder, Path(place, "bundle"), asked)
        thresholds, lines = chosen(load(Path(place, "bundle")), day)
    write_json(asked.out, thresholds)
    print("\n".join([*lines, "", f"{asked.out}: {thresholds}"]))


if __name__ == "__main__":
    main()
