"""Runs, tables, bundles and data sets -> one HTML page that needs no network: what was run, and what came of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import ossicle
from ossicle.report.found import Found, ReportError, look
from ossicle.report.page import Markup, document, lines, tag

if TYPE_CHECKING:
    from ossicle.rates import Tried

Figure = Literal["curves", "grid", "boxes", "sounds", "resolutions", "attention"]

__all__ = ["ReportError", "draw", "draw_rates", "report", "tabulate"]


def report(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Writes the page about these folders and returns its path; what is missing in a folder is missing on the page.

    A folder is a run, a table over folds, a bundle, a model, a data set (as `ossicle data` takes it), or holds some of
    these. Runs of several folds that lie side by side are shown as one table. ReportError where a folder has nothing to
    report or the page cannot be written.
    """
    found = _all(folders)
    from ossicle.report import epochs, grids, sections, strips

    named = [(number, sections.title(one), one) for number, one in enumerate(found, 1)]
    command = f"ossicle report {' '.join(shlex.quote(str(folder)) for folder in folders)} -o {shlex.quote(str(out))}"
    title = f"Report on {named[0][1]}" + (f" and {len(named) - 1} more" if len(named) > 1 else "")
    whole = document(
        title,
        tag("h1", title),
        _contents(named),
        _side_by_side(named),
        epochs.section(found),
        grids.section(found),
        *(sections.section(one, number) for number, _, one in named),
        strips.section(found),
        tag("footer", tag("p", f"Written by ossicle {ossicle.__version__} with"), lines(command)),
    )
    return _write(Path(out), whole.encode())


def draw(folders: Sequence[str | Path], out: str | Path, *, of: Figure, clip: str | None = None) -> Path:
    """Writes one figure about these folders as SVG or PNG, by the name's ending, and returns its path.

    "curves": accuracy on the test folds by epoch, of runs with `curve`. "grid": score against the one number of a
    table's grid. "boxes": the spread of each variant's scores over folds. "sounds": recordings class by class, as the
    front end sees them. "resolutions": one recording as each stage of a recipe sees it, of a run, a table or a
    recipe's own file, .toml. "attention": one recording as a run hears it, and where its heads listen. `clip` names
    the recording of either. ReportError where there is nothing to draw or the file cannot be written.
    """
    from ossicle.report import attention, boxes, epochs, grids, resolutions, strips

    kind = _kind(out)
    made = {"curves": epochs.file, "grid": grids.file, "boxes": boxes.file, "sounds": strips.file}
    made |= {"resolutions": partial(resolutions.file, clip=clip), "attention": partial(attention.file, clip=clip)}
    plans = [each for each in folders if of == "resolutions" and Path(each).suffix == ".toml"]
    rest = [each for each in folders if each not in plans]
    found = [*map(resolutions.planned, plans), *(_all(rest) if rest or not plans else ())]
    return _write(Path(out), made[of](found, kind))


def tabulate(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Writes the tables over folds in these folders as Markdown or CSV, by the name's ending, and returns its path.

    ReportError where there is no table or the file cannot be written.
    """
    from ossicle.report import by_fold

    kind = Path(out).suffix.casefold()
    if kind not in (".md", ".csv"):
        raise ReportError(f"{out}: a table is written as .md or .csv, and its name must end so")
    return _write(Path(out), by_fold.file(_all(folders), "md" if kind == ".md" else "csv"))


def draw_rates(tried: Sequence[Tried], said: str, out: str | Path) -> Path:
    """Writes the curves of learning-rate range tests as SVG or PNG, `said` below them."""
    from ossicle.report import rates

    return _write(Path(out), rates.file(tried, said, _kind(out)))


def _all(folders: Sequence[str | Path]) -> list[Found]:
    if not folders:
        raise ReportError("nothing to report: give the folder of a run, say runs/rec")
    return list(_together([one for folder in folders for one in look(folder)]))


def _together(found: Sequence[Found]) -> Iterator[Found]:
    """Runs of several folds in one folder become a table, in the place of the first."""
    cells: dict[Path, list[Found]] = {}
    for one in found:
        if one.kind == "run" and re.fullmatch(r"fold\d+(-seed\d+)?", one.folder.name):
            cells.setdefault(one.folder.parent, []).append(one)
    for one in found:
        runs = cells.get(one.folder.parent, [])
        if one not in runs or len(runs) == 1:
            yield one
        elif one is runs[0]:
            yield Found(one.folder.parent, "table", runs=tuple(runs))


def _side_by_side(named: Sequence[tuple[int, str, Found]]) -> Markup | None:
    from ossicle.report import arms

    shown = arms.overview(named)
    return None if shown is None else tag("section", tag("header", tag("h2", "Side by side")), shown)


def _contents(named: Sequence[tuple[int, str, Found]]) -> Markup | None:
    if len(named) < 2:
        return None
    links = (tag("li", tag("a", name, href=f"#part-{number}")) for number, name, _ in named)
    return tag("nav", tag("ul", *links), aria_label="Parts of this page")


def _kind(out: str | Path) -> Literal["svg", "png"]:
    kind = Path(out).suffix.casefold()
    if kind not in (".svg", ".png"):
        raise ReportError(f"{out}: a figure is written as .svg or .png, and its name must end so")
    return "svg" if kind == ".svg" else "png"


def _write(out: Path, whole: bytes) -> Path:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(whole)
    except OSError as error:
        raise ReportError(f"{out} could not be written: {error.strerror or error}. Choose another place.") from error
    return out
