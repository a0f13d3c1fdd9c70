"""Runs over folds -> arms: each variant's accuracy fold by fold, and how sure their differences are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from ossicle.evaluate.answers import compare
from ossicle.material import mean_cost
from ossicle.report import figures
from ossicle.report.found import Found
from ossicle.report.page import Markup, duration, figure, join, percent, quantity, table, tag
from ossicle.words import BY_TEST, counted, titled

MEASURES = {
    "mAP": "mean AP",
    "knn_accuracy": "accuracy of 5 neighbors",
    "knn_mAP": "mean AP of 5 neighbors",
    "linear_accuracy": "accuracy of a linear probe",
    "linear_mAP": "mean AP of a linear probe",
}


@dataclass(frozen=True)
class Arm:
    """A variant of a table: its runs, its accuracy by fold (seeds averaged), and its difference to the first one.

    `chosen` is the part that chose among epochs, "test" where it did so in any run, else "valid" or "".
    Where clips have several labels, `measure` says that what stands for accuracy is the mean average precision. Of an
    encoder the accuracy is that of its nearest neighbors, and `linear` is the same arm by a linear probe.
    """

    name: str
    runs: tuple[Found, ...] = ()
    accuracy: dict[int, float] = field(default_factory=dict)
    against: dict[str, Any] | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    measure: str = "accuracy"
    chosen: str = ""
    linear: Arm | None = None
    warning: str = ""

    @property
    def title(self) -> str:
        """Its name; a recipe without variants has none."""
        return self.name or self.measure

    @property
    def mean(self) -> float | None:
        """The mean over folds."""
        return fmean(self.accuracy.values()) if self.accuracy else None

    @property
    def sd(self) -> float | None:
        """The standard deviation over folds, none under two."""
        return stdev(self.accuracy.values()) if len(self.accuracy) > 1 else None

    @property
    def score(self) -> str | None:
        """`77.3 ± 5.4 %`."""
        if self.mean is None or self.sd is None:
            return percent(self.mean)
        return f"{100 * self.mean:.1f}\u00a0±\u00a0{100 * self.sd:.1f}\u00a0%"


def arms(found: Found) -> list[Arm]:
    """The variants of a table, in its own order; those without an evaluated run come last."""
    by_name = found.variants
    rows = {_place(row): row for row in found.get("table.rows", []) if isinstance(row, dict)}
    names = [*rows, *(name for name in by_name if name not in rows)]
    return [_arm(name, tuple(by_name.get(name, ())), rows.get(name, {})) for name in names]


def _place(row: dict[str, Any]) -> str:
    """The folders of a row's runs below their table, as `Found.variants` names them: the variant, the grid's point."""
    point = titled(row.get("point", {}), "-", "_")
    return ", ".join(filter(None, (str(row.get("set", row.get("variant", ""))), point)))


def _arm(name: str, runs: tuple[Found, ...], row: dict[str, Any]) -> Arm:
    """By what the runs' evaluations say; where they say nothing, or the table is of validation parts, by its row."""
    encoder = any(run.get("evaluation.linear_probe") for run in runs)
    where = str(row.get("by", "")), row.get("folds", [])
    accuracy, measure = _scores(runs, row, "evaluation", "knn_" if encoder else "", *where)
    probed, way = _scores(runs, row.get("linear", {}), "evaluation.linear_probe", "linear_", *where)
    results = [run.json["result"] for run in runs if run.done]
    cost = mean_cost(results) if results else row
    selected = {run.get("result.selected") for run in runs} | set(() if runs else row.get("selected", ()))
    stamps: dict[str, Any] = {
        "chosen": next((part for part in ("test", "valid") if part in selected), ""),
        "warning": str(row.get("warning", "")),
    }
    arm = Arm(str(row.get("variant", name)), runs, accuracy, row.get("against_first"), cost, measure, **stamps)
    against = row.get("linear", {}).get("against_first")
    probe = replace(arm, accuracy=probed, against=against, measure=way, warning="")
    return replace(arm, linear=probe) if probed else arm


def _scores(
    runs: Sequence[Found], row: dict[str, Any], place: str, way: str, by: str, folds: Sequence[int]
) -> tuple[dict[int, float], str]:
    """By fold, seeds averaged, and the name of what was measured."""
    by_fold: dict[int, list[float]] = {}
    asked = [run for run in runs if run.get(place) is not None and by != "validation"]
    for run in asked:
        if (score := run.get(f"{place}.accuracy", run.get(f"{place}.mAP"))) is not None:
            by_fold.setdefault(int(run.get("recipe.split.fold", 0)), []).append(score)
    if by_fold or not row:
        several = any("accuracy" not in run.get(place) for run in asked)
        kind = f"{way}{'mAP' if several else 'accuracy'}"
        return {fold: fmean(scores) for fold, scores in sorted(by_fold.items())}, MEASURES.get(kind, kind)
    kind = str(row.get("measure", "accuracy"))
    measure = " ".join(filter(None, (by.replace("test", ""), MEASURES.get(kind, kind))))
    return dict(zip(folds, row.get(kind, []), strict=False)), measure


def fold_table(every: Sequence[Arm]) -> Markup | None:
    """Each arm's accuracy on each fold, mean ± sd, and its difference to the first with both intervals; of encoders
    another table by a linear probe.
    """
    tables = [made for some in (every, _probed(every)) if (made := _fold_table(some))]
    return join(tables) if tables else None


def _probed(every: Sequence[Arm]) -> list[Arm]:
    return [arm.linear for arm in every if arm.linear]


def _fold_table(every: Sequence[Arm]) -> Markup | None:
    scored = [arm for arm in every if arm.accuracy]
    if not scored:
        return None
    folds = sorted({fold for arm in scored for fold in arm.accuracy})
    compared = any(arm.against for arm in scored)
    begun = any(arm.cost.get("before") for arm in scored)
    rows = []
    for arm in scored:
        each = [f"{100 * arm.accuracy[fold]:.1f}" if fold in arm.accuracy else "–" for fold in folds]
        difference = [_interval(arm.against, over) for over in ("recordings", "folds")] if compared else []
        costs = [_cost(arm.cost), *([_cost(arm.cost.get("before") or {})] if begun else [])]
        rows.append((_named(arm), *each, tag("td", arm.score, class_="total"), *difference, *costs))
    against = [f"against {scored[0].title}, over recordings", "over folds"] if compared else []
    head = (f"{scored[0].measure}, %", *(f"fold {fold}" for fold in folds), "mean ± sd", *against, "learned in")
    head += ("its start in",) if begun else ()
    return table(head, rows, label=f"{scored[0].measure} by fold", kind="numbers-table")


def _named(arm: Arm) -> Markup:
    """Its name, and what has to be known of it before it is compared."""
    stamps = (BY_TEST if arm.chosen == "test" else "", arm.warning)
    return join([arm.title, *(tag("small", said) for said in stamps if said)])


def _cost(row: dict[str, Any]) -> Markup:
    """How long was learned, in how many steps, on how many hours and bytes of sound."""
    hours, weights = row.get("hours"), row.get("weights")
    known = (f"{hours:.2f}\u00a0h" if hours is not None else None, quantity(row.get("bytes"), "B"))
    heard = ", ".join(filter(None, known))
    bare = f"from {quantity(weights, 'B')} of weights" if weights else None
    more = "; ".join(filter(None, (counted(row), f"on {heard}" if heard else None, bare)))
    return tag("td", duration(row.get("seconds")) or "–", tag("small", more) if more else None)


def _interval(against: dict[str, Any] | None, over: str) -> Markup:
    found = (against or {}).get(over)
    if not found:
        return tag("td", "–")
    mean, low, high = (100 * found[key] for key in ("mean", "low", "high"))
    uneven = tag("small", f"at unequal budgets: {found['uneven']}") if found.get("uneven") else None
    return tag("td", f"{mean:+.1f}", tag("small", f"{low:+.1f} to {high:+.1f}"), uneven)


def fold_figures(every: Sequence[Arm]) -> Markup | None:
    """The folds as rings, and the differences to the first arm as intervals; of encoders by a linear probe too."""
    made = [each for some in (every, _probed(every)) for each in _fold_figures(some)]
    return tag("div", *made, class_="grid wide") if made else None


def _fold_figures(every: Sequence[Arm]) -> list[Markup]:
    scored = [arm for arm in every if arm.accuracy]
    if not any(len(arm.accuracy) > 1 for arm in scored):
        return []
    rows = [(arm.title, list(arm.accuracy.values())) for arm in scored]
    alt = "; ".join(f"{arm.title}: {arm.score} over {len(arm.accuracy)} folds" for arm in scored)
    made = [figure(figures.folds(rows, what=scored[0].measure, alt=alt))]
    if compared := [arm for arm in scored if (arm.against or {}).get("recordings")]:
        made.append(_differences(compared, scored[0]))
    return made


def _differences(compared: Sequence[Arm], first: Arm) -> Markup:
    found = [(arm, (arm.against or {})["recordings"]) for arm in compared]
    rows = [(arm.title, each["mean"], each["low"], each["high"]) for arm, each in found]
    what = f"points more than {first.title}, 95 % interval over recordings"
    said = [f"{arm.title}: {_sentence(each)}" for arm, each in found]
    picture = figures.differences(rows, what=what, alt=f"Against {first.title}: {'; '.join(said)}")
    return figure(picture, join([tag("span", sentence, class_="line") for sentence in said]))


def _sentence(found: dict[str, Any]) -> str:
    mean, low, high = (100 * found[key] for key in ("mean", "low", "high"))
    doubt = "; zero lies within, so no difference was found" if low <= 0 <= high else ""
    doubt += f"; at unequal budgets: {found['uneven']}" if found.get("uneven") else ""
    return f"{mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, over {found.get('over', 'clips')}){doubt}"


def overview(found: Sequence[tuple[int, str, Found]]) -> Markup | None:
    """Folders side by side: what each is worth, and how it differs from one above it."""
    rows: list[tuple[Any, ...]] = []
    earlier: list[tuple[str, str, Arm]] = []
    for number, name, one in (each for each in found if each[2].kind != "data"):
        link = tag("a", name, href=f"#part-{number}")
        for arm in arms(one) if one.kind == "table" else [_arm("", (one,), {})]:
            by = next((run.get("evaluation.by", "classifier") for run in arm.runs if "evaluation" in run.json), "–")
            label = join([link, f" {arm.name}"]) if arm.name else link
            score = tag("td", arm.score or "–", class_="total")
            rows.append((label, by.replace("_", " "), _stamp(arm), score, _difference(arm, by, earlier)))
            earlier += [(f"{name} {arm.name}".rstrip(), by, arm)] if arm.accuracy else []
    head = ("folder", "answers by", "pretraining", "accuracy", "difference in points")
    return table(head, rows, label="All folders of this page", kind="numbers-table") if len(rows) > 1 else None


def _stamp(arm: Arm) -> str:
    said = {run.get("evaluation.pretraining", run.get("result.pretraining")) for run in arm.runs}
    said |= {BY_TEST} if arm.chosen == "test" else set()
    return ", ".join(sorted(each for each in said if each)) or "–"


def _difference(arm: Arm, by: str, earlier: Sequence[tuple[str, str, Arm]]) -> Markup:
    """Against the first arm above whose answers came the same way and about the same clips."""
    for name, how, base in earlier if arm.accuracy else ():
        if how == by and (found := _paired(arm, base)):
            return tag("td", _sentence(found), tag("small", f"against {name}"))
    return tag("td", "–")


def _paired(arm: Arm, base: Arm) -> dict[str, Any] | None:
    sides = [[run.folder for run in each.runs if run.answers] for each in (arm, base)]
    try:
        return compare(*sides)["recordings"] if all(sides) else None
    except (ValueError, OSError, KeyError):
        return None
