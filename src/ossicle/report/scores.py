"""Evaluations -> what a page says of them: headline numbers, stamps of honesty, confusion and classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from ossicle.report.found import Found
from ossicle.report.page import Markup, folded, join, pairs, percent, table, tag, text
from ossicle.words import CHOSEN

MATRIX = 60
PAIRS = 12

SPREAD = "within_to_between"
SPREAD_MEANS = (
    "Within / between: how far apart two clips of the class from different recordings are, for how far one of "
    "the class is from one of another, by cosine, in the mean. Near 1 the class lies spread among the others."
)

STAMPS = {
    "none": ("told", "no pretraining", "its weights began at random"),
    "inductive": ("good", "inductive", "pretraining heard no clip of the test fold"),
    "transductive": ("warn", "transductive", "pretraining heard test clips, without their labels"),
    "leaky": ("warn", "leaky", "a teacher or start that knows classes had heard test clips"),
    "unknown": ("warn", "unknown pretraining", "nothing tells what it heard"),
}
_SIGNS = {"good": "✓", "warn": "!", "told": "·"}


def stamps(runs: Sequence[Found]) -> Markup:
    """What a reader has to know before trusting the numbers of one run, or of the runs of a table."""
    every = [*_unfinished(runs), *_pretraining(runs), *_openings(runs), *_bad(runs), *_changes(runs), *_thin(runs)]
    return tag("ul", *(_stamp(*each) for each in every), class_="stamps") if every else Markup()


def _stamp(state: str, name: str, why: str) -> Markup:
    sign = tag("span", _SIGNS[state], class_="sign", aria_hidden="true")
    return tag("li", sign, tag("span", tag("strong", name), " ", why), class_=state)


def _unfinished(runs: Sequence[Found]) -> Iterable[tuple[str, str, str]]:
    left = [run for run in runs if not run.done]
    if len(left) == 1 and len(runs) == 1:
        done = left[0].rows[-1].get("epoch", 0) if left[0].rows else 0
        yield "warn", "unfinished", f"{done} of {left[0].epochs} epochs; the same command goes on from there"
    elif left:
        yield "warn", "unfinished", f"{len(left)} of {len(runs)} runs; the same command goes on with them"


def _pretraining(runs: Sequence[Found]) -> Iterable[tuple[str, str, str]]:
    said = {run.get("evaluation.pretraining", run.get("result.pretraining")) for run in runs}
    for name in sorted(each for each in said if each is not None):
        yield STAMPS.get(name, STAMPS["unknown"])
    heard = sum(run.get("evaluation.heard", 0) for run in runs)
    if heard:
        files = f"{heard} files are in both" if heard > 1 else "1 file is in both"
        yield "warn", "tested on what was learned from", files


def _openings(runs: Sequence[Found]) -> Iterable[tuple[str, str, str]]:
    drawn = max((run.get("result.openings", 0) for run in runs), default=0)
    if any(run.get("evaluation.selected", run.get("result.selected")) == "test" for run in runs):
        yield "warn", "chosen on the test", CHOSEN
    elif drawn:
        yield "told", f"test opened after each of {drawn} epochs", "for a curve; nothing was chosen by it"
    opened = [max(0, run.get("evaluation.openings", 0) - run.get("result.openings", 0)) for run in runs]
    most = max(opened, default=0)
    name = f"test opened {('', 'once', 'twice')[most] if most < 3 else f'{most} times'}"
    if most == 1:
        yield "good", name, "by this run" if len(runs) == 1 else f"by each of {len([n for n in opened if n])} runs"
    elif most > 1:
        yield "warn", name, "a setting chosen in between would be chosen on the test"
    if 0 in opened and not drawn and any(run.done for run in runs):
        which = "" if most == 0 else f" in {opened.count(0)} of {len(runs)} runs"
        yield "told", f"no test{which}", "the numbers here are training's and validation's"


def _bad(runs: Sequence[Found]) -> Iterable[tuple[str, str, str]]:
    bad = {row.get("path") for run in runs for row in run.bad}
    count = max([len(bad), *(run.get("data.bad", run.get("result.bad_files", 0)) for run in runs)])
    if count:
        yield "warn", f"{count} bad file{'s' * (count > 1)}", "left out; their places stayed empty"
    elif any(run.done for run in runs):
        yield "good", "no bad files", "every recording could be read"


def _changes(runs: Sequence[Found]) -> Iterable[tuple[str, str, str]]:
    if changed := [name for run in runs for row in run.changes for name in row.get("changed", {})]:
        yield "warn", "changed on the way", f"resumed with another {', '.join(sorted(set(changed)))}"


def _thin(runs: Sequence[Found]) -> Iterable[tuple[str, str, str]]:
    for key, state, why in (
        ("thin", "thin", "test clips of one recording only"),
        ("absent", "untested", "no test clips"),
    ):
        if names := sorted({name for run in runs for name in run.get(f"evaluation.{key}", [])}):
            yield "told", f"{len(names)} class{'es' * (len(names) > 1)} {state}", f"{why}: {', '.join(names)}"


def headline(run: Found) -> dict[str, Any]:
    """The numbers that a run is known by, most telling first; names that are None are left out."""
    test, valid = run.get("evaluation", {}), run.get("result.valid", {})
    return {
        "accuracy": _with(percent(test.get("accuracy")), _interval(test)),
        "class mean": percent(test.get("class_accuracy")),
        "mean AP": percent(test.get("mAP")),
        "AUC": _plain(test.get("AUC")),
        "d-prime": _plain(test.get("d_prime")),
        "linear probe": percent(run.get("evaluation.linear_probe.accuracy")),
        "validation accuracy": percent(valid.get("valid_accuracy", valid.get("valid_knn_accuracy"))),
        "chance": percent(1 / len(run.get("data.classes")))
        if test.get("accuracy") and run.get("data.classes")
        else None,
        "test clips": text(test["clips"]) if "clips" in test else None,
    }


def _plain(number: float | None) -> str | None:
    return None if number is None else f"{number:.3f}"


def _with(number: str | None, more: str | None) -> Markup | None:
    if number is None:
        return None
    return join([text(number), tag("small", more) if more else None])


def _interval(test: dict[str, Any]) -> str | None:
    interval = test.get("interval") or {}
    if "low" not in interval:
        return None
    bounds = f"{100 * interval['low']:.1f} to {100 * interval['high']:.1f}"
    return f"{bounds}, 95 % interval over {interval.get('over', 'clips')}"


def others(run: Found) -> Markup | None:
    """Every test of a run in one table, where there is more than one."""
    tests = {
        name: value for name, value in run.json.items() if name.startswith("evaluation") and isinstance(value, dict)
    }
    rows = []
    for name, test in tests.items():
        data = test.get("data", name.removeprefix("evaluation-"))
        asked = {test.get("by", "classifier"): test} | {by: test[by] for by in ("knn", "linear_probe") if by in test}
        for by, score in asked.items():
            numbers = (percent(score.get(key)) or "–" for key in ("accuracy", "class_accuracy", "mAP"))
            rows.append((by.replace("_", " "), data, *numbers, score.get("clips", "–")))
    head = ("answers by", "data", "accuracy", "class mean", "mean AP", "clips")
    return table(head, rows, label="Every test of this run", kind="numbers-table") if len(rows) > 1 else None


def pooled(runs: Sequence[Found]) -> dict[str, Any]:
    """Several runs' tests as one: confusion and support are sums over runs, a class's other numbers means."""
    tests = [run.json["evaluation"] for run in runs if "classes" in run.json.get("evaluation", {})]
    if not tests:
        return {}
    names = list(tests[0]["classes"])
    tests = [test for test in tests if list(test["classes"]) == names]
    made: dict[str, Any] = {"classes": {name: _mean_class([test["classes"][name] for test in tests]) for name in names}}
    if all("confusion" in test for test in tests):
        counts = [test["confusion"] for test in tests]
        made["confusion"] = [[sum(cell) for cell in zip(*row, strict=True)] for row in zip(*counts, strict=True)]
    return made


def _mean_class(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    known = {
        key: [row[key] for row in rows if row.get(key) is not None] for key in ("precision", "recall", "ap", SPREAD)
    }
    means = {key: fmean(values) if values else None for key, values in known.items()}
    return means | {"support": sum(row.get("support", 0) for row in rows)}


def confusion(test: dict[str, Any]) -> Markup | None:
    """Who was taken for whom: the whole matrix, or for very many classes the pairs that were mixed up most."""
    counts, names = test.get("confusion"), list(test.get("classes", {}))
    if not counts or len(counts) != len(names):
        return None
    mixed = _mixed_up(counts, names)
    if len(names) > MATRIX:
        return mixed
    rows = []
    for number, (name, row) in enumerate(zip(names, counts, strict=True)):
        whole = sum(row)
        cells = (_count(count, whole, right=place == number) for place, count in enumerate(row))
        rows.append((name, *cells, tag("td", percent(row[number] / whole, 0) if whole else "–", class_="total")))
    head = [tag("span", "truth ↓ / answer →", class_="corner"), *(tag("span", name) for name in names), "recall"]
    matrix = table(head, rows, label="Confusion matrix: rows are truth, columns are answers", kind="matrix")
    return join([matrix, mixed])


def _count(count: int, whole: int, *, right: bool) -> Markup:
    share = count / whole if whole else 0.0
    kind = f"{'right' if right else 'wrong'}{' full' if share > 0.55 else ''}"
    return tag("td", count or "", class_=kind if count else None, style=f"--p: {share:.2f}" if count else None)


def _mixed_up(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Markup | None:
    wrong = [(n, names[i], names[j]) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    most = sorted(wrong, key=lambda each: -each[0])[:PAIRS]
    rows = [(truth, answer, n) for n, truth, answer in most]
    if not rows:
        return tag("p", "No clip was taken for another class.", class_="note")
    return folded("Mixed up most often", table(("truth", "taken for", "clips"), rows, label="Mixed up most often"))


def classes(test: dict[str, Any]) -> Markup | None:
    """Precision, recall and average precision of each class; of an encoder also how far it spreads."""
    found = test.get("classes") or {}
    spread = any(row.get(SPREAD) is not None for row in found.values())
    rows = [
        (
            name,
            *(bar(row.get(key)) for key in ("precision", "recall", "ap")),
            *([_ratio(row.get(SPREAD))] if spread else []),
            row.get("support", "–"),
        )
        for name, row in found.items()
    ]
    head = ("class", "precision", "recall", "average precision", *(["within / between"] if spread else []), "clips")
    label = "Precision, recall and average precision by class"
    shown = table(head, rows, label=label, kind="bars") if rows else None
    return join([tag("p", SPREAD_MEANS, class_="note"), shown]) if spread else shown


def _ratio(value: float | None) -> Markup:
    return tag("td", "–") if value is None else bar(min(value, 1.0), f"{value:.2f}")


def bar(share: float | None, said: str | None = None) -> Markup:
    """A cell with a share, as a number over a bar of its length."""
    if share is None:
        return tag("td", "–")
    return tag("td", tag("span", said or percent(share, 0)), class_="bar", style=f"--p: {share:.3f}")


def bad_files(runs: Sequence[Found]) -> Markup | None:
    """The files that could not be used, once each."""
    rows = {str(row.get("path")): row for run in runs for row in run.bad}
    if not rows:
        return None
    cells = [(path, row.get("stage", ""), row.get("reason", "")) for path, row in rows.items()]
    return folded(f"Bad files ({len(rows)})", table(("file", "stage", "reason"), cells, label="Bad files"))


def unreadable(found: Found) -> Markup | None:
    """What in a folder could not be read."""
    notes = [f"{run.folder.name}: {note}" for run in found.runs for note in run.notes] + list(found.notes)
    return tag("ul", *(tag("li", note) for note in notes), class_="problems") if notes else None


def details(values: dict[str, Any]) -> Markup | None:
    """Plain values by their dotted names."""
    from ossicle.plain import flat

    whole = {name: ", ".join(map(str, value)) if _is_list(value) else value for name, value in values.items()}
    return pairs({name: value if value not in ({}, [], "") else None for name, value in flat(whole).items()})


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(each, dict | list) for each in value)
