"""Whether `ossicle review` finds wrong labels, and whether what it suggests to label is worth more than chance.

    python benchmarks/review.py runs/npid/fold*-seed0 --choose
    python benchmarks/review.py runs/npid/fold*-seed0

Runs are encoders, each pretrained without its test fold. Wrong labels: a tenth of the labels of a run's training part,
drawn by a seed, become another class, each as likely; what counts is which share of them is in the first 15 % of the
ranking. Suggestions: two labelled clips a class, of different recordings, are drawn by a seed from the training part;
ten more at a time are taken until there are a hundred, as suggested or by chance, and after each ten the test fold is
told by a linear probe, and by the votes of five neighbors, of the features of what has a label.

`--choose` asks the same without test folds, of other seeds: wrong labels among the clips of three folds, suggestions
told of the fold after the test fold. Features are kept beside the decoded sound, so all of it can be run again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from record import Row, command, keep, row, surroundings

from ossicle.evaluate.intervals import paired_t
from ossicle.evaluate.measures import knn, linear_probe
from ossicle.field import doubt
from ossicle.field.suggest import openness, suggest

RATE, FIRST, WANTED = 0.10, 0.15, "at least 70 %"
BEGIN, STEP, END = 2, 10, 100
SEEDS, CHOICE = range(5), range(100, 102)
Part = Mapping[str, np.ndarray]
Opinion = Callable[[Part, np.ndarray], np.ndarray]


def features(run: Path) -> dict[str, np.ndarray]:
    """`feature` (n, D), `target`, `group` and `fold` (n,) of all of a run's data, and the test `tested` fold."""
    from ossicle import recipe
    from ossicle.data.cache import Cache
    from ossicle.data.loader import Source, prepare
    from ossicle.datasets import DATASETS
    from ossicle.durable import read_json
    from ossicle.evaluate import embed
    from ossicle.model import load
    from ossicle.plain import digest

    followed, cache = recipe.from_dict(read_json(run / "recipe.json")), Cache()
    manifest, weights = followed.data.build(DATASETS), read_json(run / "model" / "manifest.json")
    made = cache.folder.parent / "review-features" / f"{digest([manifest.fingerprint(), weights])[:32]}.npz"
    if not made.exists():
        model = load(run)
        how = {"sample_rate": model.sample_rate, "channels": model.channels}
        prepare(manifest, cache, **how)
        feature, _ = embed(model, Source(manifest, cache, **how), hop=followed.hop)
        made.parent.mkdir(parents=True, exist_ok=True)
        np.savez(made, feature=feature)
    known = {"feature": np.load(made)["feature"], "target": manifest.targets(), "group": manifest.groups()}
    return known | {"fold": np.array([clip.fold for clip in manifest.clips]), "tested": np.array(followed.split.fold)}


def parts(known: Part, *, choose: bool) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool twice: the clips to learn from, and those to tell; neither is of the test fold where one chooses."""
    fold, test = known["fold"], int(known["tested"])
    after = test % int(fold.max()) + 1
    return (fold != test) & (not choose or fold != after), fold == (after if choose else test)


def _draw(known: Part, seed: int) -> np.random.Generator:
    """Chance of its own for each fold and seed: releases list the clips of all folds in like order."""
    return np.random.default_rng([int(known["tested"]), seed])


# wrong labels


def plant(target: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The labels with a tenth of them wrong: as many in every draw."""
    classes = target.max() + 1
    wrong = draw.permutation(len(target))[: round(RATE * len(target))]
    planted = target.copy()
    planted[wrong] = (target[wrong] + draw.integers(1, classes, len(wrong))) % classes
    return planted


def found(doubted: np.ndarray, wrong: np.ndarray) -> float:
    """The share of wrong labels in the first 15 % of the ranking, percent."""
    first = np.argsort(-doubted, kind="stable")[: round(FIRST * len(wrong))]
    return 100 * float(wrong[first].sum() / wrong.sum())


def votes(part: Part, given: np.ndarray, *, k: int) -> np.ndarray:
    """Opinions by neighbors alone."""
    groups = (part["group"], part["group"])
    return knn(part["feature"], given, part["feature"], classes=given.max() + 1, k=k, groups=groups)


def probed(part: Part, given: np.ndarray) -> np.ndarray:
    """Opinions by linear probes, each fitted without a fifth of the recordings and asked about those."""
    from sklearn.model_selection import StratifiedGroupKFold

    opinion = np.zeros((len(given), given.max() + 1), np.float32)
    dealt = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for rows, asked in dealt.split(part["feature"], given, part["group"]):
        known = part["feature"][rows], given[rows], part["feature"][asked]
        opinion[asked] = linear_probe(*known, classes=given.max() + 1)
    return opinion


def both(part: Part, given: np.ndarray) -> np.ndarray:
    """The mean of probes and neighbors."""
    return (probed(part, given) + votes(part, given, k=doubt.NEIGHBORS)) / 2


def reviewed(part: Part, given: np.ndarray) -> np.ndarray:
    """Opinions as `review` has them."""
    return doubt.opinions(part["feature"], given, part["group"], classes=given.max() + 1)


def lead(opinion: np.ndarray, given: np.ndarray) -> np.ndarray:
    """How far the likeliest other class is ahead of the one given: another way to doubt."""
    own = np.eye(opinion.shape[1], dtype=bool)[given]
    return np.where(own, -1.0, opinion).max(1) - opinion[own]


def hunted(runs: list[Part], ways: Mapping[str, Opinion], *, choose: bool) -> Iterator[Row]:
    """Each way's share of planted labels found, over runs and seeds."""
    for name, way in ways.items():
        values: dict[str, list[list[float]]] = {"1 - p": [], "lead of another": []}
        for known in runs:
            inside, _ = parts(known, choose=choose)
            part = {key: value[inside] for key, value in known.items() if value.ndim}
            shares: dict[str, list[float]] = {by: [] for by in values}
            for seed in CHOICE if choose else SEEDS:
                given = plant(part["target"], _draw(known, seed))
                opinion, wrong = way(part, given), given != part["target"]
                shares["1 - p"].append(found(doubt.doubt(opinion, given), wrong))
                shares["lead of another"].append(found(lead(opinion, given), wrong))
            for by, each in shares.items():
                values[by].append(each)
        for by in values if choose else ["1 - p"]:
            means = np.mean(values[by], 1)
            said = f"mean {_interval(means / 100)}"
            yield row(f"found in the first 15 %: {name}, {by}", WANTED, np.ravel(values[by]).tolist(), "%", said)


def _interval(means: np.ndarray) -> str:
    """The mean over folds with its 95 % interval, percent."""
    if len(means) < 2:
        return f"{100 * means.mean():.1f}, one fold"
    over = paired_t(np.zeros(len(means)), means)
    return f"{100 * over.mean:.1f} (95 % interval {100 * over.low:.1f} to {100 * over.high:.1f}, over {over.over})"


# suggestions

Taken = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def by_chance(opinion: np.ndarray, pool: np.ndarray, known: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Any ten."""
    return draw.permutation(len(pool))[:STEP]


def suggested(opinion: np.ndarray, pool: np.ndarray, known: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """As `review` suggests."""
    return suggest(openness(opinion), pool, known, STEP)


def most_open(opinion: np.ndarray, pool: np.ndarray, known: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The ten whose answers are most open, however alike."""
    return np.argsort(-openness(opinion), kind="stable")[:STEP]


def central(opinion: np.ndarray, pool: np.ndarray, known: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Those nearest to the most sounds, whatever the answers."""
    return suggest(np.ones(len(pool)), pool, known, STEP)


def begun(target: np.ndarray, group: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(n,) bool: two clips of each class, of different recordings."""
    chosen = np.zeros(len(target), dtype=bool)
    for label in np.unique(target):
        rows = draw.permutation(np.flatnonzero(target == label))
        _, first = np.unique(group[rows], return_index=True)
        chosen[rows[np.sort(first)[:BEGIN]]] = True
    return chosen


def curve(known: Part, take: Taken, seed: int, *, choose: bool) -> np.ndarray:
    """(steps, 2) the share told rightly by the probe and by neighbors with 20, 30, ... 100 labels."""
    inside, told = parts(known, choose=choose)
    feature, target, classes = known["feature"][inside], known["target"][inside], known["target"].max() + 1
    draw = _draw(known, seed)
    labelled, told_of, scores = begun(target, known["group"][inside], draw), known["feature"][told], []
    while True:
        by = {"probe": linear_probe, "knn": knn}
        answers = [way(feature[labelled], target[labelled], told_of, classes=classes) for way in by.values()]
        scores.append([float((answer.argmax(1) == known["target"][told]).mean()) for answer in answers])
        if labelled.sum() >= END:
            return np.array(scores)
        pool = np.flatnonzero(~labelled)
        opinion = doubt.told_by(feature[labelled], target[labelled], feature[pool], classes=classes)
        labelled[pool[take(opinion, feature[pool], feature[labelled], draw)]] = True


def taught(runs: list[Part], ways: Mapping[str, Taken], *, choose: bool) -> Iterator[Row]:
    """Each way's accuracy at equal counts of labels beside that of chance, over runs and seeds."""
    seeds = CHOICE if choose else SEEDS
    curves = {
        name: np.array([[curve(known, take, seed, choose=choose) for seed in seeds] for known in runs])
        for name, take in ways.items()
    }
    for place, by in enumerate(("linear probe", "5 neighbors")):
        for name, of in curves.items():
            for step in range(of.shape[2]):
                what = f"{BEGIN * 10 + STEP * step} labels, {name}: told rightly by {by}"
                yield row(what, "", (100 * of[:, :, step, place]).ravel().tolist(), "%", _mean(of[:, :, step, place]))
        chance = curves["by chance"][:, :, 1:, place].mean((1, 2))
        for name in [name for name in curves if name != "by chance"]:
            ahead = paired_t(chance, curves[name][:, :, 1:, place].mean((1, 2))) if len(chance) > 1 else None
            gain = 100 * (curves[name] - curves["by chance"])[:, :, 1:, place].mean(2)
            said = "" if ahead is None else ahead.sentence
            yield row(
                f"30 to 100 labels, {name}: ahead of chance by {by}", "above 0", gain.ravel().tolist(), "points", said
            )


def _mean(scores: np.ndarray) -> str:
    return f"mean {100 * scores.mean():.1f}"


def main() -> None:
    """Both questions over the runs, or what their settings were chosen by."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--choose", action="store_true", help="compare settings, without the test folds")
    parser.add_argument("--only", choices=("labels", "suggestions"), help="one of the two questions")
    asked = parser.parse_args()
    runs, choose = [features(run) for run in asked.runs], asked.choose
    near = {f"{k} neighbors": partial(votes, k=k) for k in (5, 10, 20, 40)}
    opinions: dict[str, Opinion] = {**near, "probes": probed, "both": both} if choose else {"review": reviewed}
    ways: dict[str, Taken] = {"by chance": by_chance, "suggested": suggested}
    ways |= {"open alone": most_open, "central alone": central} if choose else {}
    questions = {"labels": partial(hunted, runs, opinions), "suggestions": partial(taught, runs, ways)}
    for item, question in questions.items():
        if asked.only in (None, item):
            before, began = surroundings(), time.monotonic()
            rows = list(question(choose=choose))
            context = {**before, "command": command(), "seconds": time.monotonic() - began}
            keep("review", f"{item}, choice" if choose else item, rows, context)


if __name__ == "__main__":
    main()
