"""Evaluations -> what a page says of devices and cities."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ossicle.report.found import Found
from ossicle.report.page import Markup, join, table
from ossicle.report.scores import bar

SCORES = {"accuracy": "accuracy", "class_accuracy": "class mean", "mAP": "mean AP"}


def shown(found: dict[str, dict[str, dict[str, Any]]]) -> Markup | None:
    """A table a condition, device or city; new is what nothing that was learned from was recorded with or in."""
    tables = []
    for condition, rows in found.items():
        names = [name for name in SCORES if any(name in row for row in rows.values())]
        head = (condition, *(SCORES[name] for name in names), "clips")
        cells = [
            (f"{value} (new)" if row.get("new") else value, *(bar(row.get(name)) for name in names), row["clips"])
            for value, row in rows.items()
        ]
        tables.append(table(head, cells, label=f"Scores by {condition}", kind="bars"))
    return join(tables) if tables else None


def pooled(runs: Sequence[Found]) -> dict[str, Any]:
    """Several runs' scores by device and by city: the means over those that met each, and its clips in all of them."""
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in runs:
        for condition, found in run.get("evaluation.conditions", {}).items():
            for value, row in found.items():
                rows.setdefault(condition, {}).setdefault(value, []).append(row)
    return {condition: {value: _mean(found[value]) for value in sorted(found)} for condition, found in rows.items()}


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    means = {name: fmean(row[name] for row in rows) for name in SCORES if all(name in row for row in rows)}
    return means | {"clips": sum(row["clips"] for row in rows), "new": all(row.get("new") for row in rows)}
