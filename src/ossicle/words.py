"""Rows and results -> text for people: what the verbs print when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOLD = (
    "loss",
    "divergence",
    "feature_sd",
    "accuracy",
    "valid_accuracy",
    "valid_knn_accuracy",
    "valid_mAP",
    "valid_knn_mAP",
)
STAMPS = {
    "transductive": "pretraining is transductive: it heard clips of the test fold",
    "leaky": "leaky: a teacher or start that knows classes had heard clips of the test fold",
    "unknown": "nothing tells what pretraining heard",
}


BY_TEST = "weights chosen on the test fold"
RATED = (
    "suggested where the smoothed loss falls fastest; each stage is tried from the weights that training begins with, "
    "not from what earlier ones will have learned"
)
NO_SCORES = (
    "no scores: no test fold was opened, and no validation part tells; hold one out by --valid next, or open the test "
    "folds by --evaluate"
)
CHOSEN = "weights were chosen on the test fold: the score is no measure of what comes next"


def plural(count: int, what: str) -> str:
    """`1 clip`, `3 clips`."""
    return f"{count} {what}{'s' * (count != 1)}"


def percent(share: float) -> str:
    """0.8125 -> `81.2 %`."""
    return f"{100 * share:.1f} %"


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """`epoch 3/15  loss 1.234  accuracy 81.2 %  4.1 s`, the seconds since the run began."""
    return f"epoch {row['epoch']}/{epochs}  {news(row)}  {row['seconds']:.1f} s"


def news(row: dict[str, Any]) -> str:
    """The loss of an epoch's row and how many clips were told rightly (mAP where clips have several labels)."""
    known = [name for name in TOLD if row.get(name) is not None]
    if "valid_accuracy" in known or "valid_knn_accuracy" in known:
        known = [name for name in known if not name.endswith("mAP")]
    return "  ".join(f"{name.replace('_', ' ')} {_value(name, row[name])}" for name in known)


def _value(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return percent(value) if "accuracy" in name or name.endswith("mAP") else f"{value:.3f}"


def finished(result: dict[str, Any]) -> str:
    """A run's result: what it took, and what the validation part says."""
    lines = [f"{result['steps']} steps in {cost(result)}"]
    named = {"clips": "clips heard", "peeks": "looks at validation", "kept": "kept epoch"}
    lines += [f"  {said:28}{result[name]}" for name, said in named.items() if result.get(name)]
    lines += [f"  {name:28}{_value(name, value)}" for name, value in result.get("valid", {}).items()]
    return "\n".join([*lines, *_stamp(result)])


def rated(suggestion: float | None, lowest: float, last: float, *, stopped: bool) -> str:
    """What a learning-rate range test found, and by which rule."""
    end = f"stopped at {last:.1e}, where the loss went wrong" if stopped else f"up to {last:.1e}"
    if suggestion is None:
        return f"no rate to suggest: the loss never fell ({end})"
    rule = f"where the smoothed loss falls fastest; it is lowest at {lowest:.1e}, {end}"
    return f"suggested lr {suggestion:.1e}: {rule}"


def cost(row: dict[str, Any]) -> str:
    """`41 s on 0.36 h, 115 MB of sound; its start: 407 s on 0.44 h, 141 MB`: what is told of learning, and of its start
    and teachers.
    """
    told = [_heard(row)]
    for name, said in {"before": "its start", "teaching": "its teachers"}.items():
        if (earlier := row.get(name)) is not None:
            weights = earlier.get("weights")
            known = [_heard(earlier), f"weights of {weights / 1e6:.0f} MB" if weights else ""]
            told.append(f"{said}: {', from '.join(each for each in known if each) or 'nothing tells'}")
    return "; ".join(told)


def _heard(row: dict[str, Any]) -> str:
    hours, weight, seconds = (row.get(name) for name in ("hours", "bytes", "seconds"))
    sound = [f"{hours:.2f} h" if hours is not None else "", f"{weight / 1e6:.0f} MB" if weight is not None else ""]
    heard = ", ".join(each for each in sound if each)
    took = f"{seconds:.0f} s" if seconds is not None else ""
    return " on ".join(each for each in (took, f"{heard} of sound" if heard else "") if each)


def _stamp(result: dict[str, Any]) -> list[str]:
    stamps = [STAMPS[result["pretraining"]]] if result["pretraining"] in STAMPS else []
    stamps += [CHOSEN] if result.get("selected") == "test" else []
    return [f"  {stamp}" for stamp in stamps]


def counted(row: Mapping[str, Any]) -> str:
    """`380 steps, 1520 clips heard, 4 looks at validation`, as far as a row of a table tells."""
    named = {"steps": "steps", "clips": "clips heard", "peeks": "looks at validation"}
    return ", ".join(f"{row[name]:.0f} {said}" for name, said in named.items() if row.get(name) is not None)


def scored(result: dict[str, Any]) -> str:
    """An evaluation: the summary, a line a class, device and city, and the commonest mistakes."""
    fold = "" if result["fold"] is None else f" fold {result['fold']}"
    asked = f"{result['data']}{fold}: {plural(result['clips'], 'clip')}"
    asked += f" and {result['bad']} that cannot be heard" if result.get("bad") else ""
    lines = [f"{asked}, looked at for the {_nth(result['openings'])} time"]
    lines += [f"  {name:16}{text}" for name, text in _summary(result)]
    rows = [*_classes(result["classes"]), *_conditions(result.get("conditions", {})), *_confusions(result)]
    return "\n".join([*lines, *_stamp(result), *rows])


def _classes(rows: dict[str, dict[str, Any]]) -> list[str]:
    """A line a class; an encoder's also with how far a class spreads for how far others are."""
    encoder = any("within_to_between" in row for row in rows.values())
    spread = f"{'within/between':>16}" if encoder else ""
    lines = [f"  {'class':20}{'precision':>10}{'recall':>10}{'AP':>10}{'clips':>8}{spread}"]
    for label, row in rows.items():
        shares = ("-" if row[name] is None else percent(row[name]) for name in ("precision", "recall", "ap"))
        ratio = row.get("within_to_between")
        spread = f"{'-' if ratio is None else f'{ratio:.2f}':>16}" if encoder else ""
        lines.append(f"  {label:20}{''.join(f'{share:>10}' for share in shares)}{row['support']:8}{spread}")
    return lines


def _conditions(found: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """A line a device, a line a city; those that nothing learned from was recorded with or in are `(new)`."""
    lines = []
    for condition, rows in found.items():
        names = [name for name in ("accuracy", "class_accuracy", "mAP") if any(name in row for row in rows.values())]
        lines.append(f"  {condition:20}{''.join(f'{name:>16}' for name in names)}{'clips':>8}")
        for value, row in rows.items():
            title = f"{value} (new)" if row.get("new") else value
            lines.append(f"  {title:20}{''.join(f'{percent(row[name]):>16}' for name in names)}{row['clips']:8}")
    return lines


def _summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values: accuracy with its interval (an encoder's is that of kNN), a linear probe's beside it."""
    names = [name for name in ("class_accuracy", "mAP", "AUC", "d_prime", "nll") if result.get(name) is not None]
    shown = [(str(name), _value(name, result[name])) for name in names]
    if "linear_probe" in result and "accuracy" in result:
        shown.insert(0, ("linear probe", percent(result["linear_probe"]["accuracy"])))
    if "accuracy" in result:
        spread = "of one recording, so without an interval"
        if over := result.get("interval"):
            spread = f"{percent(over['low'])} to {percent(over['high'])}, 95 % over {over['over']}"
        name = "kNN" if "linear_probe" in result else "accuracy"
        shown.insert(0, (name, f"{percent(result['accuracy'])}  ({spread})"))
    return shown


def _confusions(result: dict[str, Any], most: int = 5) -> list[str]:
    """The commonest mistakes, `rain taken for sea_waves: 3`."""
    labels, table = list(result["classes"]), result.get("confusion", [])
    wrong = [(n, labels[i], labels[j]) for i, row in enumerate(table) for j, n in enumerate(row) if n and i != j]
    return [f"  {truth} taken for {guess}: {n}" for n, truth, guess in sorted(wrong, key=lambda w: -w[0])[:most]]


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(0 if 10 < number % 100 < 14 else number % 10, "th")
    return f"{number}{ending}"


def tabled(table: dict[str, Any]) -> str:
    """A table of folds: a line a variant, its mean, deviation and folds, and how it compares with the first."""
    if not table["rows"]:
        return NO_SCORES
    lines = []
    for row in table["rows"]:
        stamps = ", ".join(row["pretraining"])
        number, *differences = _scores(row)
        began = "" if stamps == "none" and row["measure"].startswith("knn") else f"; pretraining {stamps}"
        lines.append(f"{row['variant']} {number}{began})".strip())
        lines += [f"  {CHOSEN}"] if "test" in row.get("selected", ()) else []
        lines += [f"  {each}" for each in (counted(row), cost(row)) if each]
        lines += [f"  {each}" for each in differences]
        lines += [f"  warning: {row['warning']}"] if "warning" in row else []
        if "linear" in row:
            number, *differences = _scores(row["linear"])
            lines += [f"  {number})", *(f"    {each}" for each in differences)]
    for name, found in table.get("best", {}).items():
        lines.append(f"best{f' for {name}' * bool(name)}: {titled(found['point'])} ({percent(found['mean'])})")
    if average := table.get("average"):
        lines.append(f"on average: {titled(average)}")
    return "\n".join(lines)


def _scores(row: Mapping[str, Any]) -> list[str]:
    """A row's measure, its mean, deviation and folds (in an open bracket), and then how it compares with the first."""
    spread = "" if row["sd"] is None else f" ± {percent(row['sd'])}"
    folds = "  ".join(percent(value) for value in row[row["measure"]])
    sentences = [found["sentence"] for found in row.get("against_first", {}).values() if found]
    untold = [f"not compared: {row['not_compared']}"] if "not_compared" in row else []
    return [f"{row['measure']}  {percent(row['mean'])}{spread}  (folds {folds}", *sentences, *untold]


def titled(point: Mapping[str, Any], equals: str = " ", comma: str = ", ") -> str:
    """`{"objective.dim": 64.0, "batch": 16}` -> `dim 64, batch 16`."""
    plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in point.items()}
    return comma.join(f"{name.rpartition('.')[2]}{equals}{value}" for name, value in plain.items())
