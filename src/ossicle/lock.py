"""One process at a time in a folder: a lock that says who holds it, and that the dead do not keep."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ossicle.durable import write_json


class LockedError(RuntimeError):
    """Someone else is at work in the folder; says who, and what to do."""


@dataclass
class Lock:
    """A JSON file with process number, host and start. `note` says it when a dead process's lock was taken over."""

    path: Path
    note: str = ""
    _mine: dict[str, Any] | None = None

    def acquire(self, *, anyway: bool = False) -> None:
        """Take the lock, or raise LockedError. `anyway` takes it from whoever is said to hold it."""
        try:
            with alone_in(self.path.parent):
                self._take(anyway)
        except OSError:
            self.release()
            raise

    def _take(self, anyway: bool) -> None:
        holder = self._holder()
        if holder is not None and not anyway:
            self._refuse_living(holder)
        if holder is not None:
            self.note = f"{self.path} was left by {_describe(holder)}, and is taken over."
        self._mine = _myself()
        write_json(self.path, self._mine)

    def _refuse_living(self, holder: dict[str, Any]) -> None:
        if holder.get("host") not in (None, socket.gethostname()):
            raise LockedError(
                f"{self.path.parent} is in use by {_describe(holder)}, and from here it cannot be seen whether that "
                f"still runs. If it does not, delete {self.path}. Otherwise choose another folder."
            )
        if _runs(holder):
            raise LockedError(
                f"{self.path.parent} is in use by {_describe(holder)}. Wait for it to end, or choose another folder."
            )

    def release(self) -> None:
        """Give the lock up, if this object took it in this process. A lock that cannot be removed dies with it."""
        if self.held:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    @property
    def held(self) -> bool:
        """Whether this very object holds the lock: another one in the process, or a forked child, does not."""
        return self._mine is not None and self._mine["pid"] == os.getpid() and self._holder() == self._mine

    def _holder(self) -> dict[str, Any] | None:
        """Who the lock file names; {} when it cannot be read as one, None when there is none."""
        try:
            holder = json.loads(self.path.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return holder if isinstance(holder, dict) else {}

    def __enter__(self) -> Lock:
        if not self.held:
            self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """What is done within is one step to all others who ask for it: they wait until it ends. The folder itself is
    locked, by the kernel, which leaves nothing behind. OSError where there is no folder.
    """
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _myself() -> dict[str, Any]:
    pid, since = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
    token = secrets.token_hex(8)
    return {"pid": pid, "host": socket.gethostname(), "began": _began(pid), "since": since, "token": token}


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "something that left no name"
    where = "this machine" if holder.get("host") == socket.gethostname() else holder.get("host")
    return f"process {holder.get('pid')} on {where} (since {holder.get('since')})"


def _runs(holder: dict[str, Any]) -> bool:
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    began = _began(pid)
    return began is not None and (not began or not holder.get("began") or began == holder["began"])


def _began(pid: int) -> str | None:
    """When a process began, in ticks since boot, which the clock cannot move; "" if unknown, None if it is gone."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] in "ZX" else fields[19]
