"""learn(): what every learning verb calls. A recipe and a folder -> a run, or one a fold, its progress told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ossicle import distributed, machine, minutes, words
from ossicle import folds as table
from ossicle.budget import Budget
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
    budget: Budget | None = None,
) -> str:
    """Follows a recipe in a folder, or in a folder a fold, and returns what came of it as text. With a `budget`, all
    runs together take so long, by stages that `minutes.planned` writes.

    Where too many files are bad they are listed in bad_files.jsonl, as they are in every run. Raises what `fit` raises.
    """
    _refuse_device(device)
    if folds and allow:
        raise RecipeError(f"--allow {allow[0]} is for one run: go on with it by --fold, and then with the others")
    if jobs > 1 and distributed.size() > 1:
        raise RecipeError(f"--jobs {jobs} under torchrun: its processes learn one run together; leave one out")
    which: dict[str, Any] = {"folds": [fold] if fold else None, "seeds": seeds}
    with Show() as tell:
        try:
            if budget:
                cells = table.cells(recipe, out, **which) if folds else []
                runs = {cell.folder: cell.recipe for cell in cells} or {out: recipe}
                recipe = minutes.planned(recipe, budget, runs, opened=folds, tell=tell)
            if folds:
                text = words.tabled(table.run(recipe, out, **which, jobs=jobs, evaluate=evaluate, tell=tell))
            else:
                text = words.finished(fit(recipe, out, allow=allow, tell=tell))
            return f"{text}\n{budget.told()}" if budget else text
        except DataError:
            if tell.bad and not is_run(out):
                out.mkdir(parents=True, exist_ok=True)
                tell.say(f"wrote {write_bad(out, tell.bad)}")
            raise


def find_lr(recipe: Recipe, out: Path, *, device: str = "auto") -> tuple[str, dict[str, float]]:
    """Tries rates for each stage, draws the curves as .svg or .png, and returns what is suggested: as text, a line a
    stage, and by the recipe's keys.
    """
    from ossicle import rates
    from ossicle.report import draw_rates

    _refuse_device(device)
    with Show() as tell:
        tried = rates.find_all(recipe, tell=tell)
    tests = [each.found for each in tried]
    lines = [words.rated(one.suggestion, one.lowest, float(one.rate[-1]), stopped=one.stopped) for one in tests]
    if len(tried) > 1:
        lines = [f"{each.title}: {line}" for each, line in zip(tried, lines, strict=True)]
    draw_rates(tried, lines[0] if len(tried) == 1 else words.RATED, out)
    return "\n".join(lines), {each.key: rate for each in tried if (rate := each.found.suggestion) is not None}


def _refuse_device(device: str) -> None:
    here = machine.device().type
    if device in ("auto", here):
        return
    if device == "cpu":
        raise RecipeError("device cpu: a CUDA device is here and is taken; hide it: CUDA_VISIBLE_DEVICES= ossicle ...")
    seen = "no CUDA device is here" if here == "cpu" else "the CUDA device that is seen first is taken"
    raise RecipeError(f"device {device}: {seen}; leave --device out")
