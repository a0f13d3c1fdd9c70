"""What a run begins from or is taught by: folders of earlier runs, one for all folds or one for each."""

from __future__ import annotations

import json
from glob import escape, glob
from pathlib import Path
from typing import Any

from ossicle.recipe import RecipeError, Spec


def one_or_all(start: str | Path, fold: int | None, folds: bool) -> str:
    """`start`, paired with the folds where it holds one run for each. RecipeError where none of them is asked for."""
    begun = pair(start)
    if "{fold}" in begun and fold is None and not folds:
        raise RecipeError(f"{start} holds one run a fold: say which with --fold, or take all with --folds")
    return begun


def pair(start: str | Path) -> str:
    """`runs/pre` -> `runs/pre/fold{fold}` where it holds one run a fold (and `-seed{seed}` where seeds were asked for),
    else as it is.
    """
    names = [path.parent.name for path in Path(start).glob("fold[0-9]*/recipe.json")]
    if not names:
        return str(start)
    return str(Path(start) / ("fold{fold}-seed{seed}" if all("-seed" in name for name in names) else "fold{fold}"))


def inherited(start: str, fold: int | None) -> dict[str, Any]:
    """The front end, encoder, length policy and channels of the model to begin from (any fold's, where it is open)."""
    places = choices(start, fold)
    for folder in places:
        for config in (folder / "model" / "config.json", folder / "config.json"):
            if config.is_file():
                found = json.loads(config.read_text(encoding="utf-8"))
                specs = {name: _spec(found[name]) for name in ("frontend", "encoder")}
                return specs | {name: found[name] for name in ("policy", "channels")}
    unfinished = any((folder / "recipe.json").is_file() for folder in places)
    reason = "is a run that is not finished: start it again with the same command" if unfinished else "holds no model"
    raise RecipeError(f"{start} {reason}. --from takes a finished run, or a model's folder")


def choices(start: str, fold: int | None) -> list[Path]:
    """The folders that `start` stands for: one, or those of every fold and seed that it names and that are open.

    Where there are none, `start` as it is.
    """
    known = start if fold is None else start.replace("{fold}", str(fold))
    found = glob(escape(known).replace("{fold}", "*").replace("{seed}", "*"))  # noqa: PTH207 - Path.glob takes no roots
    return sorted(map(Path, found)) or [Path(known)]


def _spec(tree: dict[str, Any]) -> Spec:
    return Spec(tree["name"], {name: value for name, value in tree.items() if name != "name"})
