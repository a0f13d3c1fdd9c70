"""bundle/slot -> the folder that answers: what was exported, or an update of it in bundle/a or bundle/b.

An update is written whole beside what answers, and one small file, replaced in one step, makes it answer: whatever a
power cut interrupts, that file names the old or the new, and both are whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ossicle.durable import flush, read_json, write_json

POINTER, EXPORTED, SLOTS = "slot", "", ("a", "b")
_NEW, _OLD = ".new", ".old"


class SlotError(ValueError):
    """There is no earlier state to go back to, or the pointer is damaged; says what answers."""


@dataclass(frozen=True)
class Slots:
    """Which of a bundle's folders answers, and which did before: "a", "b", or "" for what was exported."""

    live: str = EXPORTED
    previous: str = EXPORTED


def read(folder: str | Path) -> Slots:
    """What the pointer says; without one, what was exported answers. SlotError where it is damaged."""
    path = Path(folder) / POINTER
    if not path.exists():
        return Slots()
    try:
        if not path.is_file():  # a pipe would wait
            raise ValueError("it is no plain file")
        found = Slots(**read_json(path))
    except (ValueError, TypeError, RecursionError) as error:
        raise SlotError(f"{path} does not say which update answers ({error}); delete it, and adapt again") from error
    if not all(name in (EXPORTED, *SLOTS) for name in (found.live, found.previous)):
        raise SlotError(f"{path} names a folder that is no slot; delete it, and adapt again")
    return found


def live(folder: str | Path) -> Path:
    """The folder that the pointer names; what was exported where it is damaged."""
    try:
        return Path(folder) / read(folder).live
    except SlotError:
        return Path(folder)


def is_leftover(name: str) -> bool:
    """Whether a power cut may have left a file or folder of this name in a bundle."""
    return name.startswith(".") and name.endswith((_NEW, _OLD))


def update(folder: Path, fill: Callable[[Path], None], *, live: Path) -> Path:
    """Let `fill` write a whole update into an empty folder, then make it answer; `live`, which did, is not touched.

    Gives the slot's folder. One at a time, and whoever asks keeps others away (`alone_in`) from before it looks at what
    answers. Where `fill` or the disk fails, what answered goes on. A slot that is neither live nor the one
    before is taken first; where there is none the one before is given up, and what was exported stands in for it.
    """
    new, old = folder / _NEW, EXPORTED if live == folder else live.name
    for leftover in (new, folder / _OLD):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir()
    try:
        fill(new)
        flush(new)
        name = _free(folder, old)
        if (folder / name).exists():
            (folder / name).rename(folder / _OLD)
        new.rename(folder / name)
        flush(folder)
        write_json(folder / POINTER, asdict(Slots(name, old)))
    finally:
        for leftover in (new, folder / _OLD):
            shutil.rmtree(leftover, ignore_errors=True)
    return folder / name


def undo(folder: str | Path, usable: Callable[[Path], object]) -> Slots:
    """Make what answered before the last update answer again; once more, and the update does.

    `usable` looks at what is gone back to, and raises where it cannot answer. SlotError where nothing was updated.
    """
    folder, was = Path(folder), read(folder)
    if was.live == was.previous:
        raise SlotError(f"{folder} answers as it was exported: there is no update to undo")
    usable(folder / was.previous)
    now = Slots(was.previous, was.live)
    write_json(folder / POINTER, asdict(now))
    return now


def _free(folder: Path, live: str) -> str:
    """The slot to write, which the pointer names no more."""
    try:
        before = read(folder).previous
    except SlotError:
        before = EXPORTED
    name = min((each for each in SLOTS if each != live), key=before.__eq__)
    if name == before:
        write_json(folder / POINTER, asdict(Slots(live, EXPORTED)))
    return name
