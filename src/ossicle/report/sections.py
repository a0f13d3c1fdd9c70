"""What was found in a folder -> its section of the page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from ossicle.datasets import described
from ossicle.report import arms, boxes, conditions, heard, resolutions, scores
from ossicle.report.arms import Arm
from ossicle.report.found import Found
from ossicle.report.learning import learning
from ossicle.report.page import Markup, attempt, duration, folded, lines, pairs, part, percent, quantity, tag
from ossicle.report.sizes import sizes
from ossicle.report.toml import toml
from ossicle.words import cost


def section(found: Found, number: int) -> Markup:
    """The section of one folder."""
    show = {"run": run, "table": fold_table, "bundle": bundle, "model": bare_model, "data": data_set}[found.kind]
    made, sentence = attempt(lambda: show(found))
    if made is None:
        made = [tag("h2", title(found)), tag("p", f"This folder cannot be shown: {sentence}.", class_="problems")]
    return tag("section", *made, id=f"part-{number}")


def title(found: Found) -> str:
    """What to call it: the folder's last two names."""
    return "/".join(found.folder.resolve().parts[-2:])


def subtitle(found: Found) -> str:
    """What kind of thing it is, in a line."""
    first = found.runs[0] if found.runs else found
    if found.kind == "bundle":
        return "A bundle: samples in, scores out"
    if found.kind == "data":
        return "A data set"
    if found.kind == "model":
        return f"A model: {found.get('config.kind', 'of unknown kind')}"
    learned = "Recognizer" if first.get("recipe.objective.name") in ("supervised", "distill") else "Pretraining"
    fold = first.get("recipe.split.fold")
    place = f"{len(found.runs)} runs" if found.runs else f"test fold {fold}" if fold is not None else "no test fold"
    data, encoder = first.get("data.name"), first.get("recipe.encoder.name")
    epochs = sorted({one.epochs for one in found.runs or (found,)})
    long = f"{epochs[0]} epochs" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]} epochs"
    return " · ".join(str(each) for each in (learned, data, place, encoder, long) if each)


def head(found: Found, numbers: dict[str, Any], runs: Sequence[Found]) -> list[Markup | None]:
    """Title, headline numbers, stamps, and what could not be read."""
    return [
        tag("header", tag("h2", title(found)), tag("p", subtitle(found), class_="subtitle")),
        pairs(numbers, "numbers"),
        scores.stamps(runs) if runs else None,
        scores.unreadable(found),
    ]


def run(found: Found) -> list[Markup | None]:
    """A pretraining or a recognizer."""
    test = found.get("evaluation", {})
    return [
        *head(found, scores.headline(found), [found]),
        part("While it learned", learning({"": [found]})),
        part("What its stages see", resolutions.shown(found)),
        part("Tests", scores.others(found)),
        part("Who was taken for whom", scores.confusion(test)),
        part("Class by class", scores.classes(test)),
        part("Device by device, city by city", conditions.shown(test.get("conditions", {}))),
        part("Right and wrong", *heard.clips(found.answers, found)),
        part("Where sounds lie", heard.feature_map(found)),
        part("Size and speed", sizes(found.folder) if found.model else None),
        part("What was run", *story(found, [found])),
    ]


def fold_table(found: Found) -> list[Markup | None]:
    """Variants over folds: the table, and the runs of the variant with the highest mean taken together."""
    every = arms.arms(found)
    best = max(every, key=lambda arm: arm.mean or 0.0, default=Arm(""))
    together = f"{best.name}: {len(best.runs)} runs" if best.name else f"{len(best.runs)} runs"
    pooled = scores.pooled(best.runs)
    answers = [answer for one in best.runs for answer in one.answers]
    whose = next((one for one in best.runs if one.model), None)
    return [
        *head(found, {arm.title: arm.score for arm in every[:5]}, found.runs),
        part("Fold by fold", arms.fold_table(every), arms.fold_figures(every), boxes.shown(every, found)),
        part("While they learned", learning({arm.name: arm.runs for arm in every})),
        part("What their stages see", resolutions.shown(found)),
        part("Who was taken for whom", scores.confusion(pooled), note=f"{together} taken together."),
        part("Class by class", scores.classes(pooled), note=f"{together}, the mean over folds."),
        part(
            "Device by device, city by city",
            conditions.shown(conditions.pooled(best.runs)),
            note=f"{together}, the mean over folds.",
        ),
        part("Right and wrong", *heard.clips(answers, best.runs[0])) if best.runs else None,
        part("Where sounds lie", heard.feature_map(whose), note=f"One of the runs, {title(whose)}.") if whose else None,
        part("Size and speed", sizes(whose.folder)) if whose else None,
        part("What was run", *story(found, found.runs)) if found.runs else None,
    ]


def bundle(found: Found) -> list[Markup | None]:
    """A bundle: what it is fed, whether it still answers as it did, what it weighs, and where it came from."""
    config = found.get("config", {})
    rate = config.get("sample_rate")
    numbers = {
        "classes": len(config.get("labels", [])) or None,
        "sample rate": f"{rate} Hz" if rate else None,
        "window": duration(config["window"] / rate) if rate and "window" in config else None,
        "hop": duration(config["hop"] / rate) if rate and "hop" in config else None,
        "channels": config.get("channels"),
    }
    origin = Found(found.folder, "run", {name: value for name, value in config.get("provenance", {}).items() if value})
    wants = {name: config.get(name) for name in ("policy", "multilabel", "thresholds", "versions")}
    return [
        *head(found, numbers, [origin] if origin.get("recipe") else []),
        part("Does it answer as it did", verified(found)),
        part("Size and speed", sizes(found.folder)),
        part("What it was made from", pairs(scores.headline(origin), "numbers small"), *(told(origin, [origin]))),
        part("What it wants", scores.details(wants), folded("Classes", ", ".join(config.get("labels", [])))),
        part("What to run", commands([f"ossicle listen {shlex.quote(str(found.folder))} FILE"])),
    ]


def verified(found: Found) -> Markup:
    """Whether the bundle gives the scores of the trained model for the sounds that came with it."""
    from ossicle.deploy.verify import verify

    verdict, sentence = attempt(lambda: verify(found.folder))
    if verdict is None or not verdict.ok:
        return tag("p", f"No: {sentence or verdict}.", class_="problems")
    return tag("p", f"Yes: it {verdict}.")


def bare_model(found: Found) -> list[Markup | None]:
    """A model's folder without its run."""
    return [*head(found, {}, []), part("Size and speed", sizes(found.folder)), scores.details(found.get("config", {}))]


def data_set(found: Found) -> list[Markup | None]:
    """What a data set holds."""
    return [*head(found, {}, []), lines(described(found.json["data"]))]


def story(found: Found, runs: Sequence[Found]) -> list[Markup | None]:
    """What a run, or the runs of a table, did, and the commands that do it again."""
    named, several = shlex.quote(str(found.folder)), bool(found.runs)
    made = ["# the recipe above, saved as recipe.toml, does it again:"]
    made.append(f"ossicle run recipe.toml{' --folds' * several} -o AGAIN")
    if not several and runs[0].done:
        made.append(f"ossicle evaluate {named}")
    if not several and runs[0].get("result.kind") == "classifier":
        made.append(f"ossicle export {named} -o bundle/")
    made.append(f"ossicle report {named} -o report.html")
    return [*told(found, runs), scores.bad_files(runs), folded("Commands", commands(made), open_=True)]


def commands(rows: Sequence[str]) -> Markup:
    """Command lines to copy."""
    return lines("\n".join(rows))


def told(found: Found, runs: Sequence[Found]) -> list[Markup | None]:
    """Recipe, data and environment, of the first run where there are several."""
    first = runs[0]
    seconds, hours = first.get("result.seconds"), first.get("result.hours")
    waited = first.rows[-1].get("waited") if first.rows else None
    temperature = first.get("result.temperature")
    facts = {
        "learned in": duration(seconds),
        "waited for data": percent(waited / seconds) if seconds and waited is not None else None,
        "heard": f"{first.get('result.clips')} clips in {first.get('result.steps')} steps" if seconds else None,
        "looked at validation": f"{peeks} times" if (peeks := first.get("result.peeks")) else None,
        "kept": f"epoch {kept}, the best" if (kept := first.get("result.kept")) else None,
        "recordings": duration(3600 * hours) if hours else None,
        "files": quantity(first.get("result.bytes"), "B"),
        "seed": first.get("recipe.seed"),
        "precision": first.get("environment.precision"),
        "threads": first.get("environment.threads"),
        "machine": first.get("environment.machine"),
        "temperature": None if temperature is None else f"{temperature:.3f}",
        "began from": first.get("recipe.start"),
        "its start": _earlier(first, "before"),
        "its teachers": _earlier(first, "teaching"),
    }
    parts = {name: first.get(name) for name in ("data", "environment")}
    recipes = {name: each[0].get("recipe") for name, each in (found.variants or {"": [first]}).items()}
    return [
        pairs(facts),
        *(folded(f"Recipe {name}".rstrip(), lines(toml(each))) for name, each in recipes.items() if each),
        *(folded(name.title(), scores.details(parts[name])) for name in ("data", "environment") if parts[name]),
    ]


def _earlier(run: Found, which: str) -> str | None:
    """What a run's start, or its teachers, took."""
    found = run.get(f"result.{which}")
    return cost({which: found}).partition(": ")[2] if found else None
