"""A run is a folder: recipe, environment, data, log, crash-safe checkpoints, and a result when it is finished.

recipe.json environment.json data.json   what it was started with; it is resumed only when all three agree
log.jsonl                                one line a row; cut back to the checkpoint on resume
checkpoints/000001/ ...                  the newest and the one before it
changes.jsonl                            what was allowed to differ on a resume, if anything
result.json lock.json                    there when the run is finished, and while a process is at work
clips.csv head/                          what it was made to learn from and begin with, where it was taught
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ossicle import checkpoint
from ossicle.durable import append_row, flush, keep_rows, read_json, read_rows, write_json
from ossicle.lock import Lock, LockedError
from ossicle.plain import Difference, differences, json_text
from ossicle.recipe import completed

if TYPE_CHECKING:
    from torch import Tensor

PARTS, CLIPS, HEAD = ("recipe", "data", "environment"), "clips.csv", "head"
_KIND = "checkpoint of a run"


class RunError(RuntimeError):
    """A run that cannot be started, resumed, read or written; says why and what to do."""


def is_run(folder: str | Path) -> bool:
    """Whether a run was started in this folder."""
    return (Path(folder) / "recipe.json").is_file()


@dataclass
class Run:
    """A run's folder. `Run.start` to work in it (a context manager, which holds the lock), `Run.open` to read it.

    `notes` are sentences about what was found on the way: a lock taken over, a damaged checkpoint passed over.
    """

    folder: Path
    notes: list[str] = field(default_factory=list)
    _count: int | None = None
    _generation: int = 0

    def __post_init__(self) -> None:
        self.lock = Lock(self.folder / "lock.json")

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """An existing run, to read. Raises RunError when there is none."""
        if not is_run(folder):
            raise RunError(f"{folder} is no run: it holds no recipe.json.")
        return cls(Path(folder))

    @classmethod
    def start(
        cls,
        folder: str | Path,
        recipe: Mapping[str, Any],
        data: Mapping[str, Any],
        environment: Mapping[str, Any],
        *,
        allow: Iterable[str] = (),
    ) -> Run:
        """Begin a run, or reopen an unfinished one with the same recipe, data and environment, and take its lock.

        A finished run of the same recipe and data comes back as it is, `done`. `allow` names items that may differ on
        a resume ("recipe.batch", or all of "environment"), or "lock" to take over a lock of another machine; what is
        allowed is kept in changes.jsonl. Raises RunError, with all differences named, or where the folder is in use,
        holds something else or cannot be written.
        """
        run, allow = cls(Path(folder)), set(allow)
        wanted = json.loads(json_text({"recipe": recipe, "data": data, "environment": environment}))
        with _as_sentence(run.folder):
            run.refuse_strangers()
            if not run.done:
                run._enter(wanted, allow)
            if run.done:  # or was finished by another process while this one waited for the lock
                run.close()
                run._refuse_another(wanted)
        return run

    def _enter(self, wanted: Mapping[str, Any], allow: set[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock(anyway="lock" in allow)
        try:
            if is_run(self.folder):
                self._reopen(wanted, allow)
            else:
                self._begin(wanted)
        except BaseException:
            self.close()
            raise

    def refuse_strangers(self) -> None:
        """RunError where the folder holds what is no run's."""
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self.folder} is a file, and a run is a folder. Choose another name.")
        if is_run(self.folder) or not self.folder.exists():
            return
        ours = {"bad_files.jsonl", CLIPS, HEAD, "data.json", "environment.json", "lock.json"}
        names = {item.name for item in self.folder.iterdir() if item.suffix != ".new"}
        if strange := sorted(names - ours):
            held = ", ".join([*strange[:3], "..."][: len(strange)])
            raise RunError(f"{self.folder} is not empty and is no run (it holds {held}). Choose another folder.")

    def _take_lock(self, *, anyway: bool) -> None:
        try:
            self.lock.acquire(anyway=anyway)
        except LockedError as error:
            raise RunError(str(error)) from error
        self.notes += [self.lock.note] if self.lock.note else []

    def _begin(self, wanted: Mapping[str, Any]) -> None:
        for part in ("data", "environment", "recipe"):  # the recipe last: it is what makes the folder a run
            write_json(self.folder / f"{part}.json", wanted[part])
        self._count = 0

    def _reopen(self, wanted: Mapping[str, Any], allow: set[str]) -> None:
        found = self._differences(wanted, PARTS)
        refused = [item for item in found if not _allowed(item.name, allow)]
        if refused:
            flags = " ".join(f"--allow {item.name}" for item in refused)
            raise RunError(
                f"{self.folder} was started otherwise, so it is not resumed:\n{_listed(refused)}\n"
                f"Choose another folder, or go on regardless with {flags}"
            )
        if found:
            self._change(found, wanted)

    def _refuse_another(self, wanted: Mapping[str, Any]) -> None:
        if found := self._differences(wanted, ("recipe", "data")):
            raise RunError(
                f"{self.folder} is a finished run of something else:\n{_listed(found)}\nChoose another folder."
            )

    def _differences(self, wanted: Mapping[str, Any], parts: Iterable[str]) -> list[Difference]:
        there = {part: self._json(part) for part in parts}
        there["recipe"] = completed(there["recipe"])
        return differences(there, {part: wanted[part] for part in parts})

    def _change(self, found: list[Difference], wanted: Mapping[str, Any]) -> None:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"when": when, "changed": {item.name: [item.old, item.new] for item in found}}
        append_row(self.folder / "changes.jsonl", row)
        flush(self.folder / "changes.jsonl")
        for part in PARTS:
            write_json(self.folder / f"{part}.json", wanted[part])
        self.notes.append(f"From here on this is not the run that was started:\n{_listed(found)}")

    recipe = property(lambda self: self._json("recipe"))
    data = property(lambda self: self._json("data"))
    environment = property(lambda self: self._json("environment"))

    @property
    def result(self) -> dict[str, Any] | None:
        """What `finish` was given; None as long as the run is not finished."""
        return self._json("result") if self.done else None

    @property
    def done(self) -> bool:
        return (self.folder / "result.json").exists()

    @property
    def changes(self) -> list[dict[str, Any]]:
        """What was allowed to differ when the run was resumed: empty for a run that is what it was started as."""
        return _rows(self.folder / "changes.jsonl")

    def rows(self) -> list[dict[str, Any]]:
        """The log. A last line cut short by a crash is left out."""
        return _rows(self.folder / "log.jsonl")

    def _json(self, part: str) -> dict[str, Any]:
        try:
            return read_json(self.folder / f"{part}.json")
        except ValueError as error:
            raise RunError(str(error)) from error

    def log(self, row: Mapping[str, Any]) -> None:
        """Add a row to the log. Raises RunError when the disk is full, ValueError on NaN or infinity."""
        self._refuse_unready()
        with _as_sentence(self.folder):
            append_row(self.folder / "log.jsonl", row)
        self._count = (self._count or 0) + 1

    def save(self, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """A checkpoint from which `restore` goes on; the one before it is kept, older ones are removed.

        Raises RunError when the disk is full or fails: the checkpoint that was there is then still there.
        """
        self._refuse_unready()
        place = self._place(self._generation + 1)
        with _as_sentence(self.folder):
            if self._count:
                flush(self.folder / "log.jsonl")
            if place.exists():  # a damaged one, passed over by `restore`
                shutil.rmtree(place)
            checkpoint.save(place, tensors, {"kind": _KIND, "rows": self._count, "state": dict(info)})
            self._generation += 1
            for number in self._generations():
                if number not in (self._generation, self._generation - 1):
                    shutil.rmtree(self._place(number))

    def restore(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What the newest whole checkpoint holds, the log cut back to its time; None when there is none yet.

        A damaged checkpoint is passed over, with a note. Raises RunError when all are damaged, or of a newer ossicle.
        """
        found = self._newest()
        self._generation, rows = (found[0], found[2]["rows"]) if found else (0, 0)
        with _as_sentence(self.folder):
            self._count = keep_rows(self.folder / "log.jsonl", rows)
        if self._count < rows:
            self.notes.append(f"log.jsonl has {self._count} rows where there had been {rows}: some are lost.")
        return (found[1], found[2]["state"]) if found else None

    def _newest(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        damaged: list[str] = []
        for number in sorted(self._generations(), reverse=True):
            try:
                tensors, info = checkpoint.load(self._place(number), kind=_KIND)
            except checkpoint.DamagedError as error:
                damaged.append(str(error))
                continue
            except checkpoint.CheckpointError as error:
                raise RunError(str(error)) from error
            self.notes += [f"{sentence} Gone on from the checkpoint before it." for sentence in damaged]
            return number, tensors, info
        if damaged:
            raise RunError(f"No checkpoint of {self.folder} is whole, so start anew elsewhere. {' '.join(damaged)}")
        return None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, which makes the run `done`; remove the checkpoints, of no more use; give up the lock."""
        with _as_sentence(self.folder):
            if (self.folder / "log.jsonl").exists():
                flush(self.folder / "log.jsonl")
            write_json(self.folder / "result.json", result)
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Give up the lock; the run can be resumed."""
        self.lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_unready(self) -> None:
        if self._count is None or self.done:
            why = "is finished" if self.done else "was begun before: restore() it first"
            raise RunError(f"{self.folder} cannot be written now: it {why}.")

    def _place(self, number: int) -> Path:
        return self.folder / "checkpoints" / f"{number:06d}"

    def _generations(self) -> list[int]:
        return [int(item.name) for item in (self.folder / "checkpoints").glob("[0-9]*")]


def _allowed(name: str, allow: set[str]) -> bool:
    return any(name == item or name.startswith(item + ".") for item in allow)


def _listed(found: Iterable[Difference]) -> str:
    return "\n".join(f"  {item}" for item in found)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return read_rows(path)
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}.") from error


@contextmanager
def _as_sentence(folder: Path) -> Iterator[None]:
    try:
        yield
    except checkpoint.CheckpointError as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise RunError(
            f"{folder} could not be written: {error.strerror or error}. "
            f"What was saved before is still there: make room, or make the disk writable, and run it again to go on."
        ) from error
