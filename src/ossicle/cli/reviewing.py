"""The verb that asks a person: review, of labels that look wrong and of sounds that are worth one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ossicle.cli.app import DONE, app, close, shown
from ossicle.options import UsageError, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ossicle.field.page import Card

TOP = 10


@app.command
def review(
    run: Path,
    source: str | None = None,
    /,
    *,
    out: Annotated[Path, option("The page's folder; a page in it is replaced.", "--out", "-o")] = Path("review"),
    labels: Annotated[str | None, option("Labelled data to look over [default: the run's own].")] = None,
    most: Annotated[int, option("How many labels to check, and how many sounds to name.")] = 50,
) -> int:
    """Which labels look wrong, and which unlabelled recordings to label next: a page to listen to and decide.

    Its decisions come back as a table of all labels, which train takes.
    """
    from ossicle.run import Run

    if most < 1:
        raise UsageError(f"--most {most}: wanted 1 or more")
    Run.open(run)
    from ossicle.field.review import review as look_over
    from ossicle.show import Show

    with Show() as tell:
        found = look_over(run, source, out=out, labels=labels, most=most, tell=tell)
    _print(f"labels to check, of {found.labelled}", found.doubts)
    _print(f"worth labelling, of {found.pool}", found.suggestions)
    for note in found.notes:
        print(f"note: {note}")
    close(found.page, next=f"open {shown(found.page)} in a browser, then ossicle train labels.csv -o {shown(run)}-2")
    return DONE


def _print(title: str, cards: Sequence[Card]) -> None:
    from ossicle.audio import shown as legible

    if not cards:
        return
    print(f"{title}: {len(cards)} on the page" + (f", the first {TOP} of them" if len(cards) > TOP else ""))
    for card in cards[:TOP]:
        given = f"labelled {', '.join(card.clip.labels) or 'nothing'}; " if card.clip.labelled else ""
        print(legible(f"  {card.where}: {given}{card.why}"))
