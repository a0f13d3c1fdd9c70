"""What work tells -> a progress bar on a terminal, a line an epoch elsewhere; both on standard error."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from ossicle import distributed
from ossicle.words import epoch_line, news

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 2.0  # seconds that something may take before it is told of


class Show:
    """A `tell(kind, row)` for people; a context manager, which takes its bar away at the end.

    `bad` gathers the rows of bad files that were told of. Of several processes, only the first shows anything.
    """

    def __init__(self) -> None:
        self.bad: list[dict[str, Any]] = []
        self.progress: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.steps = 0
        self.began = 0.0
        self.told: set[str] = set()

    def __enter__(self) -> Show:
        if sys.stderr.isatty() and distributed.rank() == 0:
            self.progress = _bar()
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress is not None:
            self.progress.stop()

    def __call__(self, kind: str, row: dict[str, Any]) -> None:
        hear = getattr(self, f"hear_{kind}", None)
        if hear is not None and distributed.rank() == 0:
            hear(row)

    def say(self, text: str) -> None:
        """A line above the bar, whatever characters are in it."""
        if self.progress is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def once(self, text: str) -> None:
        """A line that several runs may have to say, said by the first of them."""
        if text not in self.told:
            self.told.add(text)
            self.say(text)

    # one method a kind of news

    def hear_shape(self, row: dict[str, Any]) -> None:
        shapes = (f"{name} {' x '.join(map(str, size[1:]))}" for name, size in row.items() if name != "stage")
        self.once("hears " + " -> ".join(shapes))

    def hear_note(self, row: dict[str, Any]) -> None:
        self.once(f"note: {row['note']}")

    def hear_bad(self, row: dict[str, Any]) -> None:
        from ossicle.audio import shown

        if row not in self.bad:
            self.bad.append(row)
            self.say(f"bad file: {shown(row['path'])}: {row['reason']}")

    def hear_cell(self, row: dict[str, Any]) -> None:
        self.say(f"run {row['done'] + 1} of {row['total']}: {row['folder']}")

    def hear_decode(self, row: dict[str, Any]) -> None:
        self._advance("reading", row)
        self.began = self.began or time.monotonic()
        if row["done"] == row["total"] and (taken := time.monotonic() - self.began) > PATIENCE:
            self.say(f"read {row['total']} files in {taken:.0f} s")
        if row["done"] == row["total"]:
            self.began = 0.0

    def hear_teach(self, row: dict[str, Any]) -> None:
        self._advance("asking teachers", row)

    def hear_step(self, row: dict[str, Any]) -> None:
        self.steps = row["total"]
        self._advance("learning", row)

    def hear_epoch(self, row: dict[str, Any]) -> None:
        if self.progress is None:
            self.say(epoch_line(row, round(self.steps * row["epoch"] / row["steps"])))
        elif "learning" in self.tasks:
            self.progress.update(self.tasks["learning"], news=news(row))

    def _advance(self, name: str, row: dict[str, Any]) -> None:
        if self.progress is None:
            return
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=row["total"], news="")
        self.progress.update(self.tasks[name], completed=row["done"], total=row["total"])
        if row["done"] == row["total"]:
            self.progress.remove_task(self.tasks.pop(name))


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[news]}"), console=Console(stderr=True), transient=True)
