"""Arms of several folders -> what to call each in one figure, and its color."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ossicle.report import figures

Named = tuple[Path, str]
"""Whose a line is: the folder of a table or run, and the name of a variant, "" without one."""


def titles(named: Sequence[Named]) -> dict[Named, str]:
    """What to call arms of one figure: variants by their name, and by their folders' where that does not tell."""
    places = {(folder, name): _place(folder) for folder, name in named}
    short = {(folder, name): name or places[folder, name][-1] for folder, name in named}
    count = Counter(short.values())
    long = {arm: "/".join(filter(None, (*places[arm], arm[1]))) for arm in named}
    return {arm: short[arm] if count[short[arm]] == 1 else long[arm] for arm in named}


def _place(folder: Path) -> tuple[str, ...]:
    """The last two names of a folder, or of the one that holds it where it is but one fold's."""
    whole = folder.resolve()
    return (whole.parent if re.fullmatch(r"fold\d+(-seed\d+)?", whole.name) else whole).parts[-2:]


def colors(titles: Iterable[str]) -> dict[str, str]:
    """A color a title, the same in all panels."""
    return {title: figures.series_color(number) for number, title in enumerate(dict.fromkeys(titles))}
