"""Several runs' answers -> one: the mean of their probabilities, clip by clip, as if one model had given it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ossicle.durable import read_json, write_json
from ossicle.evaluate.answers import FILE, HEADER

SUMMED = ("seconds", "cpu_seconds", "steps", "clips", "peeks", "openings")


def ensemble(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Runs that answered the same clips, one label each -> the folder `out`, with a predictions.csv and a result.json
    of them together.

    The result says what all of them spent on learning, so that an ensemble is not held against one model as if it had
    cost the same. ValueError where the runs were asked about different clips, know different classes, or give a clip
    several labels, and where there are none.
    """
    places, out = [Path(run) for run in runs], Path(out)
    if not places:
        raise ValueError("an ensemble of no runs: give at least one")
    read = [_rows(place / FILE) for place in places]
    for place, (classes, rows) in zip(places, read, strict=True):
        if classes != read[0][0] or rows.keys() != read[0][1].keys():
            raise ValueError(
                f"{places[0]} and {place} know other classes or answered about other clips: an ensemble is of runs on "
                "the same data and fold"
            )
    classes, first = read[0]
    if odd := next((row for row in first.values() if row["target"] not in classes), None):
        raise ValueError(f"{odd['name']} is labelled {odd['target']!r}: an ensemble is of runs with one label a clip")
    out.mkdir(parents=True, exist_ok=True)
    with (out / FILE).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([*HEADER, *classes])
        for clip, row in first.items():
            mean = np.mean([[float(rows[clip][name]) for name in classes] for _, rows in read], 0)
            said = classes[int(mean.argmax())]
            told = {**row, "prediction": said, "correct": str(int(said == row["target"]))}
            writer.writerow([*(told[name] for name in HEADER), *(f"{value:.6g}" for value in mean)])
    results = [read_json(place / "result.json") for place in places]
    write_json(out / "result.json", {"ensemble": list(map(str, places))} | _together(results))
    return out


def _rows(path: Path) -> tuple[list[str], dict[tuple[str, str], dict[str, str]]]:
    """The classes of a predictions.csv, and its lines by (name, start)."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = csv.DictReader(file)
        classes = list(lines.fieldnames or ())[len(HEADER) :]
        return classes, {(line["name"], line["start"]): line for line in lines}


def _together(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all of them spent, as far as all of them tell, and the worst of their stamps."""
    summed = {name: sum(each[name] for each in results) for name in SUMMED if all(name in each for each in results)}
    chose = [each.get("selected", "none") for each in results]
    selected = next(name for name in ("test", "valid", "none") if name in chose)
    return {**summed, "selected": selected, "pretraining": ", ".join(sorted({each["pretraining"] for each in results}))}
