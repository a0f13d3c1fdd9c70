"""Verbs that learn, and what they learn from: data, convert, pretrain, train, distill, run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ossicle.cli.app import app, close, shown
from ossicle.options import USUAL, Folds, From, Learning, Out, Rate, Seconds, UsageError, given, option

if TYPE_CHECKING:
    from ossicle.recipe import Recipe


@app.command
def data(
    source: str,
    /,
    *others: str,
    listen: Annotated[
        bool, option("Find copies by ear too: encoded, cut or leveled anew; decodes every file.")
    ] = False,
    json: Annotated[bool, option("Print JSON.")] = False,
) -> int:
    """What is in DIR, CSV or esc10:PATH: clips, classes, folds, durations, rates, problems, leaks.

    Of several, a table with a row for each, and what any two share.
    """
    from ossicle.datasets import survey
    from ossicle.plain import json_text

    found, text = survey((source, *others), listen=listen)
    print(json_text(found) if json else text)
    if not json:
        sets = json_text([source, *others], indent=None)
        merged = " --set " + shlex.quote(f'data={{name = "merged", sets = {sets}}}') if others else ""
        close(next=f"ossicle pretrain {shlex.quote(source)}{merged} -o runs/pre")
    return 0


@app.command
def convert(
    source: str,
    /,
    *,
    out: Annotated[Path, option("The folder to write.", "--out", "-o")],
    first_map: Annotated[
        bool, option("Keep the first of three maps (red) alone; else all are summed for one.")
    ] = False,
) -> int:
    """Published weights, FILE or owner/name of the hub -> a model's folder to begin from."""
    from ossicle.convert import convert as take

    print(take(source, out, first_map=first_map))
    close(out, next=f"ossicle train LABELLED --from {shown(out)} -o runs/rec")
    return 0


@app.command
def pretrain(
    source: str,
    /,
    *,
    out: Out,
    folds: Folds = False,
    objective: Annotated[
        Literal["npid", "contrastive", "joint"] | None,
        option("Tell each clip from all others (npid, the default), two views of each from those of others, or both."),
    ] = None,
    start: From = None,
    onward: Annotated[str | None, option("The pretraining to go on with: DIR is new to it.", "--continue")] = None,
    transductive: Annotated[bool, option("Hear the test fold too; results are stamped so.")] = False,
    segment: Annotated[float | None, option("Cut the recordings of a folder into clips of so many seconds.")] = None,
    seconds: Seconds = None,
    rate: Rate = None,
    learning: Learning = USUAL,
) -> int:
    """Learn from sound alone: DIR, CSV or esc10:PATH -> an encoder."""
    _refuse_nowhere(source, start, onward)
    from ossicle import plan
    from ossicle.learn import learn

    named = plan.data(source, **given(segment=segment))
    if onward and (objective or start or seconds or rate):
        left = "--objective, --from, --seconds and --rate"
        raise UsageError(f"--continue goes on as the earlier run began: leave out {left}")
    if onward:
        recipe = plan.continuing(named, onward, fold=learning.fold, folds=folds)
    else:
        heard: dict[str, Any] = {"seconds": seconds, "sample_rate": rate} | given(objective=objective)
        recipe = plan.pretraining(named, start=start, fold=learning.fold, folds=folds, **heard)
    asked = given(**{"split.transductive": transductive or None})
    print(learn(recipe.override(asked | learning.changes()), out, **learning.ways(), folds=folds))
    close(out, next=_train_on(source, out, folds, learning.fold))
    return 0


@app.command
def train(
    source: str,
    /,
    *,
    out: Out,
    folds: Folds = False,
    start: From = None,
    few: Annotated[int | None, option("Learn from so many labelled clips of each class.")] = None,
    minutes: Annotated[float | None, option("Take so long, all folds together: plans epochs and image sizes.")] = None,
    seconds: Seconds = None,
    rate: Rate = None,
    learning: Learning = USUAL,
) -> int:
    """Learn classes from labelled clips, few or many: DIR, CSV or esc10:PATH -> a recognizer.

    With --fold or --folds all else trains; without, one fold is held out to calibrate on. A release with a test set of
    its own is never trained on that.
    """
    from ossicle.budget import Budget

    budget = None if minutes is None else Budget(minutes, rate=learning.lr)
    _refuse_nowhere(source, start)
    from ossicle import plan
    from ossicle.learn import learn

    if budget and (learning.epochs or any(text.startswith("stages") for text in learning.set)):
        raise UsageError("--minutes plans the stages and their epochs: leave out --epochs and --set stages")
    heard: dict[str, Any] = {"seconds": seconds, "sample_rate": rate}
    recipe = plan.recognizer(source, start=start, fold=learning.fold, folds=folds, **heard)
    recipe = recipe.override(given(**{"split.few": few}) | learning.changes())
    print(learn(recipe, out, **learning.ways(), folds=folds, budget=budget))
    after = "report" if folds else "export" if recipe.split.fold is None else "evaluate"
    close(out, next=f"ossicle {after} {shown(out)}{' -o bundle/' if after == 'export' else ''}")
    return 0


@app.command
def distill(
    source: str | None = None,
    /,
    *,
    teacher: Annotated[
        tuple[str, ...], option("A run that knows classes, or an encoder; give several of a kind for an ensemble.")
    ],
    out: Out,
    unlabelled: Annotated[
        tuple[str, ...], option("DIR, CSV or esc10:PATH to learn from too, labels unused; its test fold is left out.")
    ] = (),
    folds: Folds = False,
    how: Annotated[
        Literal["average", "augmented", "logits"] | None,
        option("Of several teachers: the mean of probabilities [default], each in turn, or the mean of logits."),
    ] = None,
    temperature: Annotated[float | None, option("Softens what the teachers say [default: 1].")] = None,
    hard: Annotated[float | None, option("The share of a clip's loss that is by its label [default: 0].")] = None,
    hear: Annotated[
        Literal["clips", "views"] | None,
        option("What teachers answer about: whole clips, once [default], or at each step the student's view."),
    ] = None,
    start: From = None,
    seconds: Seconds = None,
    rate: Rate = None,
    learning: Learning = USUAL,
) -> int:
    """Teach a small student what one run or several know: DIR, CSV or esc10:PATH, and recordings without labels.

    Of classifiers it learns what they say of a clip, and where neither --fold nor --folds is given, one fold is held
    out to calibrate on; of encoders it learns their features, and is one itself, without labels.
    """
    for each in (source, *unlabelled):
        _refuse_nowhere(each, start)
    from ossicle import plan
    from ossicle.learn import learn

    heard: dict[str, Any] = {"seconds": seconds, "sample_rate": rate, "fold": learning.fold, "folds": folds}
    recipe = plan.student(source, teacher, unlabelled=unlabelled, start=start, **heard)
    ways = {"how": how, "temperature": temperature, "hard": hard, "hear": hear}
    asked = given(**{f"objective.{name}": value for name, value in ways.items()})
    if asked and recipe.objective.name == "mimic":
        raise UsageError(f"an encoder has features and no answers: leave out --{next(iter(asked)).partition('.')[2]}")
    recipe = recipe.override(asked | learning.changes())
    print(learn(recipe, out, **learning.ways(), folds=folds))
    if recipe.objective.name == "mimic":
        close(out, next=_train_on(source, out, folds, learning.fold))
        return 0
    after = "report" if folds else "export" if source is None or recipe.split.fold is None else "evaluate"
    close(out, next=f"ossicle {after} {shown(out)}{' -o bundle/' if after == 'export' else ''}")
    return 0


@app.command
def run(
    recipe: Path,
    /,
    *,
    out: Annotated[Path | None, option("The folder to write [default: runs/NAME].", "--out", "-o")] = None,
    folds: Folds = False,
    seeds: Annotated[tuple[int, ...], option("One run for each of these seeds.")] = (),
    jobs: Annotated[int, option("Runs of a table at a time, each in a process of its own.")] = 1,
    evaluate: Annotated[
        bool | None,
        option(
            "Open the test folds of all runs of a table (of encoders kNN and linear probe), or of none, to choose on "
            "validation parts; else classifiers'.",
            negative="--no-evaluate",
        ),
    ] = None,
    find_lr: Annotated[bool, option("Only try rates, suggest one for each stage, draw OUT-lr.svg.")] = False,
    learning: Learning = USUAL,
) -> int:
    """Follow a recipe, recipes/hello.toml say: what every learning verb calls."""
    from ossicle.recipe import load

    followed = load(recipe)
    from ossicle.learn import learn

    if len(followed.stages) > 1 and (learning.epochs or learning.lr):
        raise UsageError(f"{recipe} has {len(followed.stages)} stages: say which, with --set stages.0.epochs=3")
    out = out or Path("runs", recipe.stem)
    asked = followed.override(learning.changes())
    if find_lr:
        if folds or seeds or evaluate is not None:
            raise UsageError("--find-lr tries the rates of one run: leave out --folds, --seeds and --evaluate")
        return _find_lr(recipe, asked, out, learning)
    several = folds or bool(seeds or asked.variants or asked.grid)
    if evaluate is not None and not several:
        raise UsageError(f"--evaluate is for tables: add --folds, or after this run say ossicle evaluate {shown(out)}")
    ways = learning.ways() | ({} if folds else {"fold": asked.split.fold})
    print(learn(asked, out, **ways, folds=several, seeds=seeds, jobs=jobs, evaluate=evaluate))
    after = "report" if several else "export" if asked.split.fold is None else "evaluate"
    close(out, next=f"ossicle {after} {shown(out)}{' -o bundle/' if after == 'export' else ''}")
    return 0


def _find_lr(path: Path, recipe: Recipe, out: Path, learning: Learning) -> int:
    """The range tests, their figure at OUT or beside it, and the command that takes what they suggest."""
    from ossicle import learn

    drawn = out.suffix in (".svg", ".png")
    place = out if drawn else out.with_name(f"{out.name}-lr.svg")
    text, suggested = learn.find_lr(recipe, place, device=learning.device)
    print(text)
    rates = [word for key, rate in suggested.items() for word in ("--set", f"{key}={rate:.2g}")]
    where = [] if drawn or out == Path("runs", path.stem) else ["-o", str(out)]
    close(place, next=shlex.join(["ossicle", "run", str(path), *learning.typed(), *rates, *where]))
    return 0


def _refuse_nowhere(source: str | None, *starts: str | None) -> None:
    """Tells of a path that is not there before anything heavy is imported."""
    from ossicle.datasets import recognize

    if source is not None:
        recognize(source)
    for start in starts:
        fixed, several, _ = (start or ".").partition("{")
        if not (Path(fixed).parent if several else Path(fixed)).exists():
            raise UsageError(f"{start} is not there: give the folder of a finished run, or of a model")


def _train_on(source: str | None, out: Path, folds: bool, fold: int | None) -> str:
    """What comes after an encoder: training on its source, if that has labels, else on a word in its place."""
    from ossicle.durable import read_json

    same = " --folds" if folds else "" if fold is None else f" --fold {fold}"
    found = next((path for path in (out / "data.json", *out.glob("*/data.json")) if path.is_file()), None)
    labelled = shlex.quote(source) if source and found and read_json(found)["classes"] else "LABELLED"
    return f"ossicle train {labelled} --from {shown(out)} -o runs/rec{same}"
