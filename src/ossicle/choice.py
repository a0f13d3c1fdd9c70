"""Which epoch's weights go on: the best by the validation part or, as is often published, by the test fold itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ossicle.data.manifest import Parts
from ossicle.durable import read_json
from ossicle.recipe import Recipe, RecipeError
from ossicle.words import percent

if TYPE_CHECKING:
    from torch import Tensor, nn

PARTS = {"valid": "validation part", "test": "test fold"}
SCORES = ("accuracy", "knn_accuracy", "mAP", "knn_mAP")
"""What is the best, the first of these that a look at a part gives: the row's names after `valid_` or `test_`."""


class Choice:
    """The best epoch of a stage so far, by `select`, and what had been learned by then; of equals the first one."""

    def __init__(self, select: str) -> None:
        self.select = select
        self.forget()

    def forget(self) -> None:
        """Begins anew, as a stage does."""
        self.epoch, self.score = 0, -1.0
        self.state: dict[str, Tensor] = {}

    def hear(self, row: Mapping[str, Any], objective: nn.Module) -> None:
        """Keeps a copy of the objective's state where the epoch's row is the best so far."""
        names = [f"{self.select}_{name}" for name in SCORES]
        score = next((row[name] for name in names if row.get(name) is not None), -1.0)
        if score > self.score:
            self.epoch, self.score = row["epoch"], score
            self.state = {name: value.detach().cpu().clone() for name, value in objective.state_dict().items()}

    def give_back(self, objective: nn.Module) -> str:
        """Puts the best state back, and says which it was; "" where there is none."""
        if not self.epoch:
            return ""
        objective.load_state_dict(self.state)
        return f"back to epoch {self.epoch}, the best on the {PARTS[self.select]} ({percent(self.score)})"

    def about(self) -> dict[str, Any]:
        """What a checkpoint holds beside the state."""
        return {"epoch": self.epoch, "score": self.score}

    def restore(self, about: Mapping[str, Any], state: dict[str, Tensor]) -> None:
        """Takes up what `about` and `state` were."""
        self.epoch, self.score, self.state = about["epoch"], about["score"], state


def refuse_blind(recipe: Recipe, parts: Parts) -> None:
    """RecipeError where the best epoch is asked for and nothing could tell which it is."""
    if not recipe.chooses:
        return
    asked = 'keep = "best"' if recipe.keep == "best" else 'start = "best" of a stage'
    if recipe.select == "valid" and not recipe.watch:
        raise RecipeError(f"{asked} is found by looking at the validation part: set watch to 1, not 0")
    part, key = (parts.valid, "split.valid") if recipe.select == "valid" else (parts.test, "split.fold")
    if not len(part.labelled()) or not len(parts.train.labelled()):
        wanted = 'a fold, or "next"' if recipe.select == "valid" else "a fold"
        raise RecipeError(
            f"{asked} is found on the {PARTS[recipe.select]}, and no labelled clip is in it or in what "
            f"is trained on: set {key} to {wanted}, or leave {asked} out"
        )


def selected(recipe: Recipe) -> str:
    """What chose among epochs here, or in what this began from: "test" if that ever did, "valid" or "none"."""
    own = recipe.select if recipe.chooses else "none"
    result = Path(recipe.base_start or "") / "result.json"
    earlier = read_json(result).get("selected", "none") if recipe.base_start and result.exists() else "none"
    return next(name for name in ("test", "valid", "none") if name in (own, earlier))
