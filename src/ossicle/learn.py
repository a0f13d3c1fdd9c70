"""learn(): what every learning verb calls. A recipe and a folder -> a run, or one a fold, its progress told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ossicle import distributed, machine, words
from ossicle import folds as table
from ossicle.data.loader import DataError
from ossicle.material import write_bad
from ossicle.recipe import Recipe, RecipeError
from ossicle.run import is_run
from ossicle.show import Show
from ossicle.train import fit


def learn(
    recipe: Recipe,
    out: Path,
    *,
    folds: bool = False,
    fold: int | None = None,
    seeds: Iterable[int] = (),
    jobs: int = 1,
    evaluate: bool | None = None,
    allow: tuple[str, ...] = (),
    device: str = "auto",
) -> str:
    """Follows a recipe in a folder, or in a folder a fold, and returns what came of it as text.

    Where too many files are bad they are listed in bad_files.jsonl, as they are in every run. Raises what `fit` raises.
    """
    _refuse_device(device)
    if folds and allow:
        raise RecipeError(f"--allow {allow[0]} is for one run: go on with it by --fold, and then with the others")
    if jobs > 1 and distributed.size() > 1:
        raise RecipeError(f"--jobs {jobs} under torchrun: its processes learn one run together; leave one out")
    with Show() as tell:
        try:
            if folds:
                asked: dict[str, Any] = {"folds": [fold] if fold else None, "seeds": seeds, "jobs": jobs}
                return words.tabled(table.run(recipe, out, **asked, evaluate=evaluate, tell=tell))
            return words.finished(fit(recipe, out, allow=allow, tell=tell))
        except DataError:
            if tell.bad and not is_run(out):
                out.mkdir(parents=True, exist_ok=True)
                tell.say(f"wrote {write_bad(out, tell.bad)}")
            raise


def find_lr(recipe: Recipe, out: Path, *, device: str = "auto") -> str:
    """Tries the first stage's rates, draws the curve as .svg or .png, and returns what it suggests as text."""
    from ossicle import rates
    from ossicle.report import draw_rates

    _refuse_device(device)
    with Show() as tell:
        found = rates.find(recipe, tell=tell)
    said = words.rated(found.suggestion, found.lowest, float(found.rate[-1]), stopped=found.stopped)
    draw_rates(found, said, recipe.stages[0].lr, out)
    return said


def _refuse_device(device: str) -> None:
    here = machine.device().type
    if device in ("auto", here):
        return
    if device == "cpu":
        raise RecipeError("device cpu: a CUDA device is here and is taken; hide it: CUDA_VISIBLE_DEVICES= ossicle ...")
    seen = "no CUDA device is here" if here == "cpu" else "the CUDA device that is seen first is taken"
    raise RecipeError(f"device {device}: {seen}; leave --device out")
