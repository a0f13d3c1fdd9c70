"""Whether a promise of false alarms an hour holds on other recordings than those that thresholds were tuned on.

    python benchmarks/tune.py runs/rec -o benchmarks/results/tune.json

`runs/rec` holds a run a fold on ESC-10 or ESC-50, or is one. Each run's classifier is exported. Of its test fold, which
training never heard, the recordings of the background classes are divided in two. From each half hours of background
are made: two of its sounds at a time, looped, at levels between -45 and -30 dB of full scale, others every minute.
`ossicle tune` sets the thresholds of all other classes on one half, and their false alarms are counted on the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import deployed
import numpy as np
import record
import soundfile
from numpy.random import Generator, default_rng

from ossicle import audio, material, recipe
from ossicle.data.manifest import Clip
from ossicle.datasets import DATASETS, mixing
from ossicle.datasets.soundscapes import LOUDEST_DB, QUIETEST_DB
from ossicle.deploy import poisson
from ossicle.deploy.bundle import load
from ossicle.deploy.tradeoff import NEVER, Choice, Point
from ossicle.deploy.tune import tune
from ossicle.durable import read_json, write, write_json
from ossicle.run import Run
from ossicle.ship import ship

BACKGROUND = ("rain", "sea_waves", "crackling_fire", "helicopter")
PROMISE, HOURS, MINUTES = 5.0, 2.0, 10
WANTED = "the rate on other recordings within the promise, by the 95 % Poisson interval of its count"


def halves(clips: Iterable[Clip], rng: Generator) -> tuple[list[Clip], list[Clip]]:
    """Two halves that share no recording, with as many of each class, give or take one."""
    parts: tuple[list[Clip], list[Clip]] = ([], [])
    by_class: dict[str, dict[str, list[Clip]]] = {}
    for clip in clips:
        by_class.setdefault(clip.labels[0], {}).setdefault(clip.recording, []).append(clip)
    names = [(of, str(name)) for of in by_class.values() for name in rng.permutation(sorted(of))]
    for place, (of, name) in enumerate(names):
        parts[place % 2].extend(of[name])
    if len(names) < 2:
        raise SystemExit(f"{len(names)} recordings of {', '.join(BACKGROUND)} in a test fold: two halves take two")
    return parts


def minutes(waves: Sequence[np.ndarray], rate: int, rng: Generator) -> Iterator[np.ndarray]:
    """(60 rate,) stretches of background, without end."""
    while True:
        chosen = rng.choice(len(waves), size=min(2, len(waves)), replace=False)
        looped = [mixing.loop(waves[n], 60 * rate, rng, sample_rate=rate) for n in chosen]
        yield np.sum([mixing.leveled(wave, rng.uniform(QUIETEST_DB, LOUDEST_DB)) for wave in looped], axis=0)


def make(folder: Path, clips: Sequence[Clip], hours: float, rate: int, rng: Generator) -> Path:
    """A folder with recordings of ten minutes, made of these clips."""
    folder.mkdir()
    sounds = [
        audio.read(clip.path, sample_rate=rate, channels="mix", start=clip.start, stop=clip.stop) for clip in clips
    ]
    waves = [sound[0] for sound in sounds if sound.any()]
    source = minutes(waves, rate, rng)
    for number in range(-(-round(hours * 60) // MINUTES)):
        part = np.concatenate([next(source) for _ in range(MINUTES)])
        soundfile.write(folder / f"{number:03}.flac", part, rate)
    return folder


def at(choice: Choice, threshold: float) -> Point:
    """A class at a threshold; where it has ten times what is promised before that, there."""
    return [point for point in choice.points if point.threshold >= threshold][-1]


def compare(bundle: Path, places: Sequence[Path], promise: float, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Each class: the threshold that was tuned in the first place, and its false alarms an hour in both."""
    tuned, other = (tune(bundle, place, max_per_hour=promise, labels=labels) for place in places)
    found = {}
    for mine, its in zip(tuned.choices, other.choices, strict=True):
        tested = at(its, mine.chosen.threshold)
        least, most = (bound(tested.alarms) / other.hours for bound in (poisson.lower, poisson.upper))
        found[mine.label] = {
            "threshold": mine.chosen.threshold,
            "tuned": mine.chosen.per_hour,
            "tested": tested.per_hour,
        }
        found[mine.label] |= {"least": least, "most": most, "kept": least <= promise}
    return found


def measure(folder: Path, promise: float, hours: float) -> dict[str, Any]:
    """One fold's run."""
    followed = recipe.from_dict(Run.open(folder).recipe)
    part = material.divide(followed.data.build(DATASETS), followed, supervised=True).test
    rng = default_rng(followed.split.fold or 0)
    chosen = halves([clip for clip in part.clips if clip.labels and clip.labels[0] in BACKGROUND], rng)
    with TemporaryDirectory() as place:
        bundle = Path(place, "bundle")
        ship(folder, bundle)
        rate = load(bundle).sample_rate
        places = [make(Path(place, name), half, hours, rate, rng) for name, half in zip("ab", chosen, strict=True)]
        labels = [label for label in load(bundle).labels if label not in BACKGROUND]
        return {"promise": promise, "hours": hours, "classes": compare(bundle, places, promise, labels)}


def page(whole: Mapping[str, Any]) -> str:
    """A line a fold and class, and how it was measured."""
    lines = ["| fold | class | threshold | tuned, an hour | tested, an hour | its 95 % bounds | kept |"]
    lines += ["|---|---|---|---|---|---|---|"]
    rows = [(name, label, row) for name, fold in whole["folds"].items() for label, row in fold["classes"].items()]
    for name, label, row in rows:
        threshold = "never told" if row["threshold"] == NEVER else f"{row['threshold']:g}"
        numbers = f"{row['tuned']:.2f} | {row['tested']:.2f} | {row['least']:.2f} to {row['most']:.2f}"
        lines.append(f"| {name} | {label} | {threshold} | {numbers} | {'yes' if row['kept'] else 'NO'} |")
    kept, under = sum(row["kept"] for *_, row in rows), sum(row["tested"] <= whole["promise"] for *_, row in rows)
    lines += ["", f"Promised: {whole['promise']:g} an hour of each class, from {whole['hours']:g} hours."]
    lines += [f"Wanted: {WANTED}. Kept: {kept} of {len(rows)}; the rate itself is no higher in {under}."]
    return "\n".join([*lines, "", record.setting(whole["measured"]) + "."]) + "\n"


def measure_all(runs: Iterable[Path], out: Path, promise: float, hours: float, *, again: bool = False) -> None:
    """Measures what is not there yet, and writes OUT and its page after each fold."""
    done = read_json(out)["folds"] if out.exists() and not again else {}
    context = {"command": record.command()} | record.surroundings()
    folds: dict[str, Any] = {}
    for run in runs:
        there = done.get(run.name, {})
        same = (there.get("promise"), there.get("hours")) == (promise, hours)
        folds[run.name] = there if same else measure(run, promise, hours)
        whole = {"promise": promise, "hours": hours, "folds": folds, "measured": context}
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, whole)
        write(out.with_suffix(".md"), page(whole).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of a fold table, or one run")
    parser.add_argument("-o", "--out", type=Path, default=record.RESULTS / "tune.json")
    parser.add_argument("--promise", type=float, default=PROMISE, help="false alarms an hour")
    parser.add_argument("--hours", type=float, default=HOURS, help="of background, to tune on and to test on")
    parser.add_argument("--again", action="store_true", help="measure also what is there already")
    asked = parser.parse_args()
    measure_all(deployed.runs(asked.folder), asked.out, asked.promise, asked.hours, again=asked.again)
    print(asked.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
