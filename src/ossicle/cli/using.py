"""Verbs for what was learned: evaluate, size, report; and demo, which is all of them."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from ossicle.cli.app import DONE, REFUSED, STOPPED, app, close, shown
from ossicle.options import UsageError, option
from ossicle.sentences import sentence


@app.command
def evaluate(
    folder: Path,
    source: str | None = None,
    /,
    *,
    knn: Annotated[int, option("Of an encoder: how many nearest neighbors vote.")] = 5,
    sigma: Annotated[float, option("Of an encoder: a neighbor of cosine s has the vote exp(s / sigma).")] = 0.07,
    hop: Annotated[float | None, option("Seconds from window to window [default: the recipe's, or a window].")] = None,
    submission: Annotated[
        Path | None, option("Score nothing: write the answers about other data to this file, as DCASE takes them.")
    ] = None,
    year: Annotated[int, option("Of a submission: the challenge's year; from 2020 on it holds probabilities.")] = 2020,
) -> int:
    """Accuracy of a run on its test fold, or on other data: classes, confusion; kNN and linear probe of an encoder.

    Of a folder with one run a fold, each is evaluated.
    """
    from ossicle import datasets, words
    from ossicle.run import Run, is_run

    manifest = None if source is None else datasets.load(source)
    runs = [] if is_run(folder) else sorted(path.parent for path in folder.glob("fold*/recipe.json"))
    if not runs:
        Run.open(folder)
    from ossicle.evaluate import final, submit

    if submission is not None:
        if manifest is None:
            raise UsageError("--submission answers about an evaluation set: name it after the run")
        close(submit(folder, manifest, submission, year=year, hop=hop), next=f"ossicle report {shown(folder)}")
        return 0
    results = [final(one, manifest, k=knn, sigma=sigma, hop=hop) for one in runs or [folder]]
    print("\n".join(words.scored(result) for result in results))
    after = f"train LABELLED --from {shown(folder)} -o runs/rec"
    if results[0]["kind"] == "classifier":
        after = f"report {shown(folder)}" if runs else f"export {shown(folder)} -o bundle/"
    close(*(runs or [folder]), next=f"ossicle {after}")
    return 0


@app.command
def size(
    folder: Path,
    /,
    *,
    json: Annotated[bool, option("Print JSON.")] = False,
) -> int:
    """What a run, model or bundle costs a device: weights, work, memory, latency, layer by layer; does it fit?

    The limits are those of DCASE's low-complexity task: 128 kB at 8 bit, 30 million multiply-adds a second of sound.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not there: give the folder of a run, a model or a bundle")
    if several := sorted(path.parent for path in folder.glob("*/recipe.json")):
        raise UsageError(f"{folder} holds runs: name one of them, ossicle size {shown(several[0])}")
    from ossicle.plain import json_text
    from ossicle.size import size as measure
    from ossicle.size.text import onward, plain, text

    found = measure(folder)
    print(json_text(plain(found)) if json else text(found))
    if not json:
        close(next=f"ossicle {onward(found, shown(folder))}")
    return 0


@app.command
def report(
    *folders: Path,
    out: Annotated[Path | None, option("The page to write [default: report.html].", "--out", "-o")] = None,
    curves: Annotated[Path | None, option("A file for accuracy by epoch alone, .svg or .png.")] = None,
    grid: Annotated[Path | None, option("A file for score by the number in a grid alone, .svg or .png.")] = None,
    boxes: Annotated[Path | None, option("A file for box plots over folds alone, .svg or .png.")] = None,
    sounds: Annotated[Path | None, option("A file for spectrograms by class alone, .svg or .png.")] = None,
    resolutions: Annotated[Path | None, option("A file for one clip as stages see it; RECIPE.toml will do.")] = None,
    attention: Annotated[Path | None, option("A file for where heads of a small, vfm, jrm or cmam listen.")] = None,
    clip: Annotated[
        str | None, option("Of --resolutions and --attention: the clip, by its name [default: one is drawn].")
    ] = None,
    table: Annotated[Path | None, option("A file for scores fold by fold alone, .md or .csv.")] = None,
) -> int:
    """Folders of runs, tables and bundles, and data sets -> one HTML page; it needs no network.

    Where one of several files cannot be made, the others are.
    """
    from ossicle.report import Figure, draw, tabulate
    from ossicle.report import report as write

    if clip and not (resolutions or attention):
        raise UsageError("--clip is for the figure of --resolutions FILE or --attention FILE: add one, or leave it out")
    figures: dict[Figure, Path | None] = {"curves": curves, "grid": grid, "boxes": boxes, "sounds": sounds}
    asked = [partial(draw, folders, path, of=name) for name, path in figures.items() if path]
    of_one: dict[Figure, Path | None] = {"resolutions": resolutions, "attention": attention}
    asked += [partial(draw, folders, path, of=name, clip=clip) for name, path in of_one.items() if path]
    asked += [partial(tabulate, folders, table)] if table else []
    asked += [partial(write, folders, out or Path("report.html"))] if out or not asked else []
    wrote = [path for make in asked if (path := _made(make))]
    if wrote:
        last = wrote[-1]
        close(*wrote, next=f"cat {shown(last)}" if last == table else f"open {shown(last)} in a browser")
    return DONE if len(wrote) == len(asked) else STOPPED if wrote else REFUSED


def _made(make: partial[Path]) -> Path | None:
    """The file that was written, or None where it cannot be, and a sentence why."""
    try:
        return make()
    except Exception as error:
        if (told := sentence(error)) is None:
            raise
        print(f"error: {shown(make.args[1])} is not written: {told}", file=sys.stderr)
        return None


@app.command
def demo(
    *,
    data: Annotated[str | None, option("Recordings to use instead of made-up sounds.")] = None,
    out: Annotated[Path, option("The folder to write.", "--out", "-o")] = Path("demo"),
) -> int:
    """The whole way in minutes: pretrain, train on few labels, export, listen, report."""
    from ossicle.demo import demo as show_all
    from ossicle.show import Show

    with Show() as tell:
        story = show_all(out, data, tell=tell)
    print(story)
    close(out, next=f"open {shown(out / 'report.html')} in a browser")
    return 0
