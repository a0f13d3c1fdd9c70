"""A path -> an open regular file. Folders, pipes, sockets and devices are told by their kind and never opened."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ossicle.audio.errors import AudioError, shown

_TOLD = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file: part of its path is a file and not a folder",
    errno.EACCES: "permission denied: this user may not read it",
    errno.EPERM: "permission denied: this user may not read it",
    errno.ELOOP: "symbolic links that run in a circle",
    errno.ENAMETOOLONG: "a name longer than the file system allows",
    errno.EIO: "input/output error: the disk or the network could not deliver it",
    errno.ESTALE: "stale handle: it was replaced on the network file system it lies on",
}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> tuple[BinaryIO, int]:
    """The file, open for reading bytes, and its size. AudioError for whatever is no readable, non-empty file."""
    try:
        _must_be_regular(path, path.stat())
        # Without O_NONBLOCK, a pipe put in the file's place since would block here for good.
        wanted = ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
        handle = os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in wanted))
    except OSError as error:
        raise AudioError(path, _missing(path) or told(error), "open") from error
    except ValueError as error:
        if isinstance(error, AudioError):
            raise
        raise AudioError(path, "a name that no file can have", "open") from error
    file = os.fdopen(handle, "rb")
    try:
        status = os.fstat(handle)
        _must_be_regular(path, status)
    except BaseException:
        file.close()
        raise
    return file, status.st_size


def _must_be_regular(path: Path, status: os.stat_result) -> None:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "" if stat.S_ISREG(status.st_mode) else "something")
    if kind:
        raise AudioError(path, f"{kind}, not a sound file: left unopened", "open")
    if status.st_size == 0:
        raise AudioError(path, "empty file", "open")


def _missing(path: Path) -> str:
    """A broken link's own sentence."""
    broken = os.path.islink(path) and not os.path.exists(path)  # noqa: PTH114, PTH110 - pathlib raises on a circle
    return "" if not broken or _circular(path) else f"a broken link to {shown(os.readlink(path))}"  # noqa: PTH115


def _circular(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def told(error: OSError) -> str:
    """An operating system's error as a sentence."""
    return _TOLD.get(error.errno or 0) or (error.strerror or str(error)).lower()


def digest(path: str | os.PathLike[str], alive: Callable[[], None] = lambda: None) -> str:
    """BLAKE2b of a file's bytes, 32 hex digits; `alive` is called after every megabyte. AudioError if unreadable."""
    path = Path(path)
    file, left = open_regular(path)
    total = hashlib.blake2b(digest_size=16)
    with file:
        try:
            while piece := file.read(min(left, 1 << 20)):  # no further, should it be growing
                total.update(piece)
                left -= len(piece)
                alive()
        except OSError as error:
            raise AudioError(path, told(error), "open") from error
    return total.hexdigest()
