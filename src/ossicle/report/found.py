"""Folders -> what there is to report: runs, tables over folds, bundles and models, however incomplete."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ossicle import slots
from ossicle.data.intake import IntakeError
from ossicle.datasets import load, summary
from ossicle.durable import read_rows

Kind = Literal["run", "table", "bundle", "model", "data"]
DEPTH = 3


class ReportError(ValueError):
    """Nothing to report, or nowhere to write it; the message says what was looked for."""


@dataclass(frozen=True)
class Answer:
    """What was said of a test clip: `correct` is 1 or 0 (a share for several labels), `sure` the highest score."""

    name: str
    start: float
    fold: str
    target: str
    prediction: str
    correct: float
    sure: float


@dataclass(frozen=True)
class Found:
    """What one folder holds: `json` its JSON files by stem, `runs` those of a table, `notes` what was unreadable."""

    folder: Path
    kind: Kind
    json: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    bad: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    runs: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()

    def get(self, dotted: str, default: Any = None) -> Any:
        """A value by dotted name, `recipe.encoder.name`; the default where any of it is missing."""
        value: Any = self.json
        for name in dotted.split("."):
            if not isinstance(value, dict) or value.get(name) is None:
                return default
            value = value[name]
        return value

    @property
    def done(self) -> bool:
        """Whether a run is finished."""
        return "result" in self.json

    @property
    def epochs(self) -> int:
        """How many epochs the recipe has."""
        return sum(int(stage["epochs"]) for stage in self.get("recipe.stages", []))

    @property
    def model(self) -> Path | None:
        """The folder of the trained model, if it is kept."""
        place = self.folder / "model" if self.kind == "run" else self.folder
        return place if (place / "model.safetensors").exists() else None

    @property
    def variants(self) -> dict[str, list[Found]]:
        """The runs of a table by the folders between it and them; "" where there are none."""
        made: dict[str, list[Found]] = {}
        for run in self.runs:
            between = run.folder.parent.relative_to(self.folder)
            made.setdefault(", ".join(between.parts), []).append(run)
        return made


def look(folder: str | Path) -> list[Found]:
    """What a folder is, or else what the folders in it are; or a data set. ReportError where there is none of these."""
    folder = Path(folder)
    if folder.suffix == ".toml" and folder.is_file():
        raise ReportError(f"{folder} is a recipe: follow it, or draw what its stages see with --resolutions FILE")
    if found := sorted(_look(folder, DEPTH), key=_rank) if folder.is_dir() else []:
        return found
    try:
        return [Found(folder, "data", {"data": summary(load(folder))})]
    except IntakeError as error:
        kinds = "holds no run (recipe.json), no table (table.json) and no bundle (model.onnx)"
        what = kinds if folder.is_dir() else "is no folder of runs"
        raise ReportError(f"{folder} {what}, and no data set either: {error}") from error


def _look(folder: Path, depth: int) -> Iterator[Found]:
    if (folder / "recipe.json").exists():
        yield _run(folder)
    elif (folder / "model.onnx").exists() or (folder / "model.safetensors").exists():
        yield _model(folder)
    elif (folder / "table.json").exists() or any(folder.glob("fold*/recipe.json")):
        yield _table(folder)
    elif depth:
        for inner in _folders(folder):
            yield from _look(inner, depth - 1)


def _rank(found: Found) -> tuple[int, int]:
    """In the order of the work: pretraining, recognizers, bundles."""
    first = found.runs[0] if found.runs else found
    supervised = first.get("recipe.objective.name") in ("supervised", "distill")
    return int(found.kind in ("bundle", "model")), int(supervised)


def _folders(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))


def _run(folder: Path) -> Found:
    notes: list[str] = []
    values = _values(folder, ("recipe", "data", "environment", "result", "evaluation"), notes)
    others = {path.stem for path in folder.glob("evaluation-*.json")}
    values |= _values(folder, sorted(others), notes)
    logs = {name: _read(folder / f"{name}.jsonl", read_rows, notes) or [] for name in ("log", "bad_files", "changes")}
    answers = _read(folder / "predictions.csv", read_answers, notes) or []
    return Found(folder, "run", values, logs["log"], logs["bad_files"], logs["changes"], answers, (), tuple(notes))


def _table(folder: Path) -> Found:
    notes: list[str] = []
    places = [path for deep in ("", "*/", "*/*/") for path in folder.glob(f"{deep}fold*/recipe.json")]
    runs = tuple(_run(path.parent) for path in sorted(places))
    values = _values(folder, ("table",), notes)
    return Found(folder, "table", values, runs=runs, notes=tuple(notes))


def _model(folder: Path) -> Found:
    notes: list[str] = []
    kind: Kind = "bundle" if (folder / "model.onnx").exists() else "model"
    return Found(folder, kind, _values(slots.live(folder), ("config",), notes), notes=tuple(notes))


def _values(folder: Path, names: tuple[str, ...] | list[str], notes: list[str]) -> dict[str, Any]:
    def read(path: Path) -> Any:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__} where an object was expected")
        return value

    found = {name: _read(folder / f"{name}.json", read, notes) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _read(path: Path, read: Callable[[Path], Any], notes: list[str]) -> Any:
    """What a file holds; None, and a note unless it is merely absent, where it cannot be read."""
    if not path.exists():
        return None
    try:
        return read(path)
    except (OSError, ValueError, KeyError, csv.Error) as error:
        notes.append(f"{path.name} is left out, it cannot be read: {error}")
        return None


def read_answers(path: Path) -> list[Answer]:
    """The lines of a predictions.csv. ValueError where one is not as `answers.write` writes it."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.reader(file)
        head = next(table, [])
        named = len(("name", "start", "group", "fold", "target", "prediction", "correct"))
        found = []
        for row in table:
            if len(row) != len(head) or len(row) < named:
                raise ValueError(f"line {table.line_num} has {len(row)} of {len(head)} values")
            name, start, _, fold, target, prediction, correct = row[:named]
            sure = max((float(value) for value in row[named:]), default=0.0)
            found.append(Answer(name, float(start), fold, target, prediction, float(correct), sure))
    return found
