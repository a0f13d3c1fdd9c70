"""Few epochs after pretraining, against scratch: ESC-10, five folds, inductive, each budget a run of its own.

    python benchmarks/few_epochs.py --data ../shared/esc10 --out runs/few-epochs --jobs 2

Four steps, each cell a run folder that is not run again, so the whole can be stopped and started at any time:

1. pre      NPID on the four training folds of each test fold, labels unused.
2. choose   each arm's rate below the head from RATES (the head's is always HEAD), for each test fold by itself: trained
            on three folds for 3 epochs, judged on the fourth (the next official one). No test fold is opened.
3. final    the chosen rate on all four training folds; then the test fold is opened, once.
4. longer   scratch for as many seconds as pretraining and the longest fine-tuning took together.

    python benchmarks/few_epochs.py --out runs/few-epochs-64 --pre runs/few-epochs/pre --batch 64 --budgets 3

asks the same with a quarter of the steps an epoch; `longer` is then left out.

`--jobs` processes of one thread each share the machine; seconds are processor seconds of a process, which waiting for
a busy core does not change.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

FOLDS = (1, 2, 3, 4, 5)
BUDGETS = (1, 3, 5, 15)
CHOSEN_AT = 3
HEAD = 1e-2
RATES = (1e-4, 3e-4, 1e-3)
ARMS = ("scratch", "npid")
KEPT = ("pre", f"npid-{max(BUDGETS)}")  # whose weights later benchmarks use

FRONTEND = {"name": "logmel", "sample_rate": 22050, "seconds": 5.0, "n_fft": 1024, "hop": 512, "mels": 64}
ENCODER = {"name": "resnet", "depth": 18}
PRETRAINING = {
    "objective": {"name": "npid", "temperature": 0.1, "momentum": 0.5},
    "views": [
        {"name": "crop", "seconds": 3.0},
        {"name": "random_resized_crop"},
        {"name": "noise", "sigma": 0.5},
        {"name": "specaugment"},
    ],
    "stages": [{"epochs": 60, "lr": 1e-3}],
    "batch": 64,
    "watch": 0,
}
TUNING = {
    "objective": "supervised",
    "views": ["roll"],
    "batch": 16,
    "watch": 0,
}

Job = tuple[str, dict[str, Any], bool]


@dataclass(frozen=True)
class Asked:
    """The command line."""

    data: str
    out: Path
    pre: Path
    jobs: int
    batch: int
    budgets: tuple[int, ...]


def recipe(data: str, fold: int, **changes: Any) -> dict[str, Any]:
    """What all runs share."""
    same = {"data": {"name": "esc10", "path": data}, "frontend": FRONTEND, "encoder": ENCODER, "precision": "bf16"}
    return {**same, "split": {"fold": fold}, **changes}


def tuning(asked: Asked, arm: str, fold: int, epochs: int, rate: float, valid: str | None) -> dict[str, Any]:
    """A classifier from an arm's beginning, for so many epochs, the encoder at this rate."""
    start = str(asked.pre / f"fold{fold}") if arm == "npid" else None
    stages = [{"epochs": epochs, "lr": HEAD, "body": rate / HEAD}]
    changes = {**TUNING, "batch": asked.batch, "start": start, "stages": stages}
    return recipe(asked.data, fold, **changes) | {"split": {"fold": fold, "valid": valid}}


def work(job: Job) -> dict[str, Any]:
    """One cell, in a process of its own: its result, with its test fold opened if asked."""
    import torch

    from ossicle import evaluate, train
    from ossicle.durable import read_json
    from ossicle.recipe import from_dict

    folder, tree, test = Path(job[0]), job[1], job[2]
    torch.set_num_threads(1)
    result = train.fit(from_dict(tree), folder)
    if test:
        done = folder / "evaluation.json"
        found = read_json(done) if done.exists() else evaluate.final(folder)
        result = result | {"accuracy": found["accuracy"], "openings": found["openings"]}
    if folder.parent.name not in KEPT:
        shutil.rmtree(folder / "model", ignore_errors=True)
    return result


def choose(pool: ProcessPoolExecutor, asked: Asked) -> dict[str, float]:
    """The best rate of each (arm, fold) on its validation part; the lower one where two are equal."""
    cells = [(arm, fold, rate) for arm in ARMS for fold in FOLDS for rate in RATES]
    jobs: list[Job] = []
    for arm, fold, rate in cells:
        place = asked.out / "choose" / f"{arm}-{rate}" / f"fold{fold}"
        jobs.append((str(place), tuning(asked, arm, fold, CHOSEN_AT, rate, "next"), False))
    scores: dict[str, list[float]] = {}
    for (arm, fold, rate), result in zip(cells, pool.map(work, jobs), strict=True):
        found = result["valid"]["valid_accuracy"]
        print("choose", arm, fold, rate, found, flush=True)
        scores.setdefault(f"{arm}-{fold}", []).append(found)
    return {name: RATES[int(np.argmax(found))] for name, found in scores.items()}


def final(pool: ProcessPoolExecutor, asked: Asked, rates: dict[str, float]) -> None:
    """All four training folds at the chosen rates, and the test folds."""
    jobs: list[Job] = []
    for epochs, arm, fold in ((epochs, arm, fold) for epochs in asked.budgets for arm in ARMS for fold in FOLDS):
        rate = rates[f"{arm}-{fold}"]
        place = asked.out / "final" / f"{arm}-{epochs}" / f"fold{fold}"
        jobs.append((str(place), tuning(asked, arm, fold, epochs, rate, None), True))
    report(pool.map(work, jobs), jobs)


def longer(pool: ProcessPoolExecutor, asked: Asked, rates: dict[str, float]) -> None:
    """Scratch for the seconds that pretraining and the longest fine-tuning took."""
    most, final, jobs = max(asked.budgets), asked.out / "final", []
    for fold in FOLDS:
        spent = seconds(asked.pre / f"fold{fold}") + seconds(final / f"npid-{most}" / f"fold{fold}")
        an_epoch = seconds(final / f"scratch-{most}" / f"fold{fold}") / most
        tree = tuning(asked, "scratch", fold, math.ceil(spent / an_epoch), rates[f"scratch-{fold}"], None)
        jobs.append((str(final / "scratch-longer" / f"fold{fold}"), tree, True))
    report(pool.map(work, jobs), jobs)


def report(results: Iterable[dict[str, Any]], jobs: list[Job]) -> None:
    for job, result in zip(jobs, results, strict=True):
        print(job[0], {name: result.get(name) for name in ("accuracy", "cpu_seconds", "pretraining")}, flush=True)


def seconds(folder: Path) -> float:
    return json.loads((folder / "result.json").read_text())["cpu_seconds"]


def tabulate(asked: Asked, rates: dict[str, float], command: str) -> dict[str, Any]:
    """Mean, sd (ddof 1) and folds of every arm; each pretrained arm's paired difference to both kinds of scratch."""
    from ossicle import machine

    arms = [f"{arm}-{epochs}" for epochs in asked.budgets for arm in ARMS]
    arms += ["scratch-longer"] * (asked.out / "final" / "scratch-longer").exists()
    rows = [_row(asked.out / "final", arm, arms) for arm in arms]
    pre = [json.loads((asked.pre / f"fold{fold}" / "result.json").read_text()) for fold in FOLDS]
    cost = {"seconds": float(np.mean([p["cpu_seconds"] for p in pre])), "hours_of_sound": pre[0]["hours"]}
    context = {"command": command, "machine": machine.describe(), "seed": 0, "batch": asked.batch, "rates": rates}
    return {**context, "pretraining": cost, "rows": rows}


def _row(final: Path, arm: str, arms: list[str]) -> dict[str, Any]:
    from ossicle import evaluate

    def folders(name: str) -> list[Path]:
        return [final / name / f"fold{fold}" for fold in FOLDS]

    found = [json.loads((folder / "evaluation.json").read_text()) for folder in folders(arm)]
    accuracy = [100 * each["accuracy"] for each in found]
    row: dict[str, Any] = {"arm": arm, "folds": accuracy, "mean": float(np.mean(accuracy))}
    row["sd"] = float(np.std(accuracy, ddof=1))
    row["seconds"] = float(np.mean([seconds(folder) for folder in folders(arm)]))
    row["openings"] = max(each["openings"] for each in found)
    row["pretraining"] = sorted({each["pretraining"] for each in found})
    if arm.startswith("npid"):
        others = {"scratch": arm.replace("npid", "scratch"), "scratch-longer": "scratch-longer"}
        there = {name: other for name, other in others.items() if other in arms}
        row["against"] = {name: evaluate.compare(folders(arm), folders(other)) for name, other in there.items()}
    return row


def markdown(table: dict[str, Any]) -> str:
    """The table for people."""
    cost, opened = table["pretraining"], max(row["openings"] for row in table["rows"])
    machine = ", ".join(f"{name} {value}" for name, value in table["machine"].items())
    lines = [
        f"Command: `{table['command']}`; one seed; each run's test fold was opened {opened} time.",
        f"Machine: {machine}. Pretraining: {cost['seconds']:.0f} s a fold on {cost['hours_of_sound']:.2f} h.",
        "",
        "| arm | mean % | sd | folds | seconds | against scratch, same epochs | against scratch, same seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        against = row.get("against", {})
        said = [
            against[name]["recordings"]["sentence"] if name in against else "" for name in ("scratch", "scratch-longer")
        ]
        folds = " ".join(f"{value:.1f}" for value in row["folds"])
        cells = [row["arm"], f"{row['mean']:.1f}", f"{row['sd']:.1f}", folds, f"{row['seconds']:.0f}", *said]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/esc10")
    parser.add_argument("--out", type=Path, default=Path("runs/few-epochs"))
    parser.add_argument("--pre", type=Path, help="where the pretrainings are or go [default: OUT/pre]")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=TUNING["batch"])
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    given = parser.parse_args()
    asked = Asked(**{**vars(given), "pre": given.pre or given.out / "pre", "budgets": tuple(given.budgets)})
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        jobs = [(str(asked.pre / f"fold{fold}"), recipe(asked.data, fold, **PRETRAINING), False) for fold in FOLDS]
        report(pool.map(work, jobs), jobs)
        rates = choose(pool, asked)
        final(pool, asked, rates)
        if asked.budgets == BUDGETS:
            longer(pool, asked, rates)
    table = tabulate(asked, rates, " ".join(["python", *sys.argv]))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    name = "few_epochs" if asked.batch == TUNING["batch"] else f"few_epochs_batch{asked.batch}"
    (results / f"{name}.json").write_text(json.dumps(table, indent=1) + "\n")
    (results / f"{name}.md").write_text(markdown(table))
    print(markdown(table))


if __name__ == "__main__":
    main()
