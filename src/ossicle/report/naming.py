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
    """What to call arms of one figure: variants by their name and, where that does not tell, by the last two names of
    their folder too, or as many as it takes.
    """
    places = {arm: _place(arm[0]) for arm in named}

    def long(arm: Named, deep: int) -> str:
        return "/".join(filter(None, (*places[arm][-deep:], arm[1])))

    short = {arm: arm[1] or places[arm][-1] for arm in named}
    count = Counter(short.values())
    alike = [arm for arm in named if count[short[arm]] > 1]
    most = max((len(places[arm]) for arm in alike), default=2)
    deep = next((n for n in range(2, most) if len({long(arm, n) for arm in alike}) == len(alike)), most)
    return {arm: long(arm, deep) if arm in alike else short[arm] for arm in named}


def _place(folder: Path) -> tuple[str, ...]:
    """The names of a folder, or of the one that holds it where it is but one fold's."""
    whole = folder.resolve()
    return (whole.parent if re.fullmatch(r"fold\d+(-seed\d+)?", whole.name) else whole).parts[1:]


def colors(titles: Iterable[str]) -> dict[str, str]:
    """A color a title, the same in all panels."""
    return {title: figures.series_color(number) for number, title in enumerate(dict.fromkeys(titles))}
