"""A model or a bundle -> what it weighs and how fast it answers here, in all and layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ossicle.report.page import Markup, attempt, duration, folded, join, pairs, quantity, table, tag
from ossicle.size import Row, Size, size

REPEATS = 5


def sizes(folder: Path) -> Markup | None:
    """Parameters, work, memory, files and latency of what a folder holds, measured now."""
    measured, sentence = attempt(lambda: size(folder, repeats=REPEATS))
    if measured is None:
        return tag("p", f"Not measured: {sentence}.", class_="note")
    return join([pairs(_totals(measured), "numbers small"), _layers(measured)])


def _totals(found: Size) -> dict[str, Any]:
    latency, files = found.latency, sum(found.files.values())
    speed = latency.times_real_time
    return {
        "parameters": quantity(found.parameters),
        "multiply-adds an answer": quantity(found.multiply_adds),
        "and of its front end": quantity(found.frontend_multiply_adds) if found.frontend_multiply_adds else None,
        "weights at 8 bit": quantity(found.weights, "B"),
        "files": quantity(files, "B") if files else None,
        "memory to answer": quantity(found.peak_bytes, "B"),
        "memory a training clip": quantity(found.kept_bytes, "B"),
        "to answer, one thread": duration(latency.median),
        "first answer": duration(latency.first),
        "times real time": quantity(speed) if speed else None,
    }


def _layers(found: Size) -> Markup:
    rows = [_layer(row, found) for row in found.rows if row.parameters or row.multiply_adds or row.seconds]
    head = ("layer", "kind", "makes", "parameters", "multiply-adds", "time")
    note = "One window of sound, one thread, this machine, now; a layer's time is its median."
    shown = table(head, rows, label="Size and speed, layer by layer", kind="bars layers")
    return folded(f"Layer by layer ({len(rows)})", tag("p", note, class_="note"), shown)


def _layer(row: Row, found: Size) -> tuple[Any, ...]:
    whole = sum(each.seconds or 0.0 for each in found.rows)
    products = sum(each.multiply_adds for each in found.rows)
    made = " × ".join(map(str, row.output[1:])) or "–"
    work = _bar(quantity(row.multiply_adds) if row.multiply_adds else "", row.multiply_adds, products)
    taken = _bar(duration(row.seconds) or "", row.seconds or 0.0, whole)
    return row.name, row.kind, made, quantity(row.parameters) if row.parameters else "", work, taken


def _bar(shown: str | None, value: float, whole: float) -> Markup:
    return tag("td", tag("span", shown or ""), class_="bar", style=f"--p: {value / whole if whole else 0:.3f}")
