"""A day of sound through an exported model: pace, memory, whether it answers at the end as at the beginning, events.

    python benchmarks/day.py runs/rec -o benchmarks/results/day.json
    python benchmarks/day.py runs/rec --thresholds thresholds.json                    # chosen by day_choice.py

`runs/rec` holds a run a fold on ESC-10 or on mixtures of its folds (then `--data esc10:PATH`), or is one. Each run's
classifier is exported, and a day is made of the sounds of its test fold: rain, waves, fire or a helicopter go on all
the time, the other classes' sounds come over them every 20 to 60 seconds (see day_sound.py). What is told of the
background's classes counts for nothing. The day goes, as it is made and a tenth of a second at a time, through a pipe
into a process of its own that has one thread and never stops listening; its last minute is its first once more, and the
scores of both are compared. The first of its hours goes into `ossicle listen` too. Thresholds are the bundle's own, or
chosen on a validation part.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import day_events
import deployed
import numpy as np
import record
from day_sound import Day, sources
from device import MB, OSSICLE, memory
from tune import BACKGROUND

from ossicle import material, recipe
from ossicle.data.manifest import Clip
from ossicle.datasets import DATASETS
from ossicle.datasets import load as data_set
from ossicle.datasets.soundscapes import Heard
from ossicle.deploy.bundle import load
from ossicle.deploy.config import Config
from ossicle.deploy.events import Event
from ossicle.durable import read_json, write, write_json
from ossicle.run import Run
from ossicle.ship import ship

MINUTE = 60.0
WARM = 1.0  # hours that memory may take to settle, of the whole half at most
SHORTEST = 0.1  # hours
LISTEN = ["--encoding", "f32le", "--", "-"]
WANTED = "50 times real time, under 1 MB an audio hour, equal scores, F1 0.8 from 6 dB on"

EAR = """
import json, sys, time
import ossicle
from ossicle import audio

recognizer, first, last = ossicle.load(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
stream, began = recognizer.stream(), time.process_time()

def windows():
    chunks = audio.read_raw(sys.stdin.buffer, format="f32le", block=recognizer.sample_rate // 10)
    for window in stream.listen(chunks):
        if window.stop <= first or window.start >= last:
            print(json.dumps({"at": window.start, "scores": window.score.tolist()}))
        yield window

for event in recognizer.events(windows()):
    print(json.dumps(vars(event)))
print(json.dumps({"busy": time.process_time() - began, "torch": "torch" in sys.modules}))
"""


@dataclass(frozen=True)
class Told:
    """What a process said of so many `seconds` of sound, its memory (hours of sound, bytes) and the time it took."""

    lines: list[dict[str, Any]]
    memory: list[tuple[float, int]]
    seconds: float
    wall: float

    @property
    def events(self) -> list[Event]:
        named = [line for line in self.lines if "label" in line]
        return [Event(line["label"], line["start"], line["stop"], line["score"]) for line in named]


def feed(command: Sequence[str], day: Day, minutes: int, place: Path) -> tuple[Told, list[Heard]]:
    """Lets a process hear the first so many minutes from a pipe, and looks at its memory; what it heard comes too.

    `listen` ends with 1 where it had something to report: that sound did not come in time, on a machine that is busy.
    """
    there: list[Heard] = []
    looks: list[tuple[float, int]] = []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    with (
        (place / "told.jsonl").open("wb") as out,
        (place / "errors.txt").open("wb") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=errors, env=environment) as child,
    ):
        assert child.stdin is not None
        with suppress(BrokenPipeError):
            for number, (minute, heard) in enumerate(islice(day, minutes), 1):
                child.stdin.write(minute.tobytes())
                there += heard
                looks.append((number * day.seconds / 3600, memory(child.pid, "VmRSS")))
        child.stdin.close()
    wall = time.perf_counter() - began
    said = (place / "errors.txt").read_text()
    if child.returncode not in (0, 1) or len(looks) < minutes or "Traceback" in said:
        raise RuntimeError(f"what listened ended with {child.returncode} after {len(looks)} minutes: {said[-2000:]}")
    lines = [json.loads(line) for line in (place / "told.jsonl").read_text().splitlines()]
    return Told(lines, looks, minutes * day.seconds, wall), there


def slope(looks: Sequence[tuple[float, int]]) -> dict[str, float]:
    """MB an hour by least squares after the first hour, and half its 95 % interval, as if each look stood alone."""
    hour, size = np.array(looks, float).T
    kept = hour > min(WARM, hour[-1] / 2)
    hour, size = hour[kept] - hour[kept].mean(), size[kept] / MB
    rise = float(hour @ size / (hour @ hour))
    rest = size - size.mean() - rise * hour
    error = math.sqrt(rest @ rest / max(1, len(rest) - 2) / (hour @ hour))
    return {"slope": rise, "within": 1.96 * error, "first": looks[0][1] / MB, "last": looks[-1][1] / MB}


def same(lines: Iterable[Mapping[str, Any]], last: float) -> dict[str, Any]:
    """How far the scores of the last minute's windows are from those of the first's."""
    scores = {round(line["at"], 6): np.array(line["scores"]) for line in lines if "at" in line}
    pairs = [(scores[at], scores[round(at + last, 6)]) for at in scores if round(at + last, 6) in scores]
    if not pairs:
        raise SystemExit("no window lies within a minute: this benchmark is for shorter windows")
    return {"windows": len(pairs), "difference": max(float(np.abs(a - b).max()) for a, b in pairs)}


def verb_says_so(verb: Told, api: Told, window: float) -> dict[str, Any]:
    """Whether `listen` told the same events, but for those that end with its last windows."""
    until = verb.seconds - 2 * window
    found = [
        Counter(
            (e.label, round(e.start, 3), round(e.stop, 3), round(e.score, 4)) for e in told.events if e.stop <= until
        )
        for told in (verb, api)
    ]
    sizes = [size / MB for _, size in verb.memory]
    return {"events": found[0].total(), "differ": ((found[0] - found[1]) + (found[1] - found[0])).total()} | {
        "memory": max(sizes),
        "times": verb.seconds / verb.wall,
    }


def tested(folder: Path, part: str, data: str | None) -> list[Clip]:
    """The clips of a run's test or validation part; of `data` where that is given, those of the same fold."""
    followed = recipe.from_dict(Run.open(folder).recipe)
    parts = material.divide(followed.data.build(DATASETS), followed, supervised=True)
    held = {"test": parts.test, "valid": parts.valid}[part].clips
    if not held:
        raise SystemExit(f"{folder} has no {part} part: train it with split.valid")
    folds = {clip.fold for clip in held}
    clips = list(held) if data is None else [clip for clip in data_set(data).clips if clip.fold in folds]
    return [clip for clip in clips if len(clip.labels) == 1]


def prepared(folder: Path, bundle: Path, asked: argparse.Namespace) -> tuple[Day, Config]:
    """Exports a run, and the day that it will hear: of events that it knows."""
    ship(folder, bundle, thresholds=asked.thresholds, hop=asked.hop, int8=False)
    config = load(bundle).config
    sounds = sources(tested(folder, asked.part, asked.data), config.sample_rate)
    behind = {label: of for label, of in sounds.items() if label in BACKGROUND}
    events = {label: of for label, of in sounds.items() if label not in BACKGROUND and label in config.labels}
    if not (behind and events):
        raise SystemExit(
            f"{folder}: wanted sounds of {', '.join(BACKGROUND)} and of classes that the run knows: --data"
        )
    length = config.hop * math.ceil(MINUTE * config.sample_rate / config.hop)
    return Day(behind, events, round(asked.hours * 60), length, config.sample_rate, asked.seed), config


def measure(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """One run's day."""
    with TemporaryDirectory() as name:
        place, bundle = Path(name), Path(name, "bundle")
        day, config = prepared(folder, bundle, asked)
        window, hop = (n / config.sample_rate for n in (config.window, config.hop))
        last = (day.minutes - 1) * day.seconds
        api, there = feed(
            [sys.executable, "-c", EAR, str(bundle), str(day.seconds), str(last)], day, day.minutes, place
        )
        verb, _ = feed([*OSSICLE, "listen", str(bundle), *LISTEN], day, min(60, day.minutes), place)
    end = api.lines[-1]
    classes = {"events": sorted(day.events), "background": sorted(day.backgrounds), "known": list(config.labels)}
    hours = api.seconds / 3600
    heard = [event for event in there if event.label not in BACKGROUND]
    told = [event for event in api.events if event.label not in BACKGROUND]
    return classes | {
        "window": window,
        "hop": hop,
        "thresholds": config.thresholds,
        "heard": len(heard),
        "told": len(told),
        "times": {"whole": api.seconds / api.wall, "listening": api.seconds / end["busy"]},
        "torch": end["torch"],
        "memory": slope(api.memory),
        "same": same(api.lines, last),
        "verb": verb_says_so(verb, api, window),
        "found": day_events.counted(heard, told, day.seconds, window),
        "false_alarms": day_events.false_alarms(heard, told, hours, window),
    }


def page(whole: Mapping[str, Any]) -> str:
    """What each run did, what it found, its false alarms, and how it was measured."""
    runs = whole["runs"]
    lines = [*shown(runs), "", *day_events.table(runs), "", *day_events.alarms(runs)]
    hours = f"{whole['hours']:g} hours, sounds of the {whole['part']} part"
    return "\n".join([*lines, "", f"{hours}. Wanted: {WANTED}.", "", record.setting(whole["measured"]) + "."]) + "\n"


def shown(runs: Mapping[str, Any]) -> Iterator[str]:
    """Pace, memory and scores."""
    yield (
        "| run | window, hop | times real time, made and heard | heard alone | MB at first, at last | MB an hour "
        "| largest difference of a minute's scores | `listen`: events, that differ |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, run in runs.items():
        size, times, verb = run["memory"], run["times"], run["verb"]
        paces = f"{times['whole']:.0f} | {times['listening']:.0f}"
        sizes = f"{size['first']:.1f}, {size['last']:.1f} | {size['slope']:+.3f} ± {size['within']:.3f}"
        alike = (
            f"{run['same']['difference']:g} in {run['same']['windows']} windows | {verb['events']}, {verb['differ']}"
        )
        yield f"| {name} | {run['window']:g}, {run['hop']:g} s | {paces} | {sizes} | {alike} |"


def measure_all(runs: Iterable[Path], asked: argparse.Namespace) -> None:
    """Measures what is not there yet, and writes OUT and its page after each run."""
    settings = {key: value for key, value in vars(asked).items() if key not in ("folder", "out", "again")}
    done = read_json(asked.out) if asked.out.exists() and not asked.again else {}
    there = done["runs"] if done and all(done[key] == value for key, value in settings.items()) else {}
    context = {"command": record.command()} | record.surroundings()
    kept: dict[str, Any] = {}
    for run in runs:
        kept[run.name] = there.get(run.name) or measure(run, asked)
        whole = settings | {"runs": kept, "measured": context}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(asked.out, whole)
        write(asked.out.with_suffix(".md"), page(whole).encode())


def options(parser: argparse.ArgumentParser, *, hours: float) -> None:
    """Those of a day, whatever it is for."""
    parser.add_argument("folder", type=Path, help="the folder of a fold table, or one run")
    parser.add_argument("--data", help="single sounds in the run's folds, where it learned from mixtures of them")
    parser.add_argument("--hours", type=float, default=hours)
    parser.add_argument("--hop", type=float, help="the stream's step in seconds, the bundle's own if not given")
    parser.add_argument("--seed", type=int, default=0, help="another day")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, hours=24.0)
    parser.add_argument("-o", "--out", type=Path, default=record.RESULTS / "day.json")
    parser.add_argument("--part", choices=("test", "valid"), default="test", help="of the run's data")
    parser.add_argument(
        "--thresholds", type=read_json, help="a file with on, off, min_seconds, gap_seconds as a bundle has them"
    )
    parser.add_argument("--again", action="store_true", help="measure also what is there already")
    asked = parser.parse_args()
    if asked.hours < SHORTEST:
        parser.error(f"{asked.hours:g} hours are too short to tell how memory grows: wanted {SHORTEST} at least")
    measure_all(deployed.runs(asked.folder), asked)
    print(asked.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
