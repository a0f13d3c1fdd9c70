"""Paths -> (C, T) float32 samples at one rate, decoded once, by content: safe to kill, to share and to delete.

An entry's name is the digest of the sound file's bytes with rate and channels: a file that changes gets another entry,
and one that moves keeps its own. Bad files are reported, never raised; a full disk is raised, never a bad file's fault.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ossicle import audio
from ossicle.data import workers as pool
from ossicle.data.decode import Entry, mark, place, width
from ossicle.data.journal import Journal, Key, Known

Progress = Callable[[int, int], None]

_SUFFIXES = {
    **dict.fromkeys((".wav", ".wave"), ("WAV", "WAVEX", "RF64")),
    **dict.fromkeys((".ogg", ".oga", ".opus"), ("OGG",)),
    **dict.fromkeys((".aif", ".aiff", ".aifc"), ("AIFF",)),
    ".flac": ("FLAC",),
    ".mp3": ("MP3",),
}
_ABANDONED = 3600.0  # seconds after which an unfinished file has no writer any more
_BATCH = 64  # answers between two writes to the journal


@dataclass(frozen=True)
class BadFile:
    """A file left out: `stage` is "open", "decode" or "check", `reason` a sentence; `path` may need escaping."""

    path: str
    stage: str
    reason: str


@dataclass
class Prepared:
    """What came of preparing. `notes`: a sentence about what was repaired or looked odd -> the paths it is true of.

    `lengths` are samples at the asked rate; `sizes` are bytes as read; `infos` are what the files themselves are;
    `digests` name their contents.
    """

    bad: dict[Path, BadFile] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    lengths: dict[Path, int] = field(default_factory=dict)
    sizes: dict[Path, int] = field(default_factory=dict)
    digests: dict[Path, str] = field(default_factory=dict)
    infos: dict[Path, audio.AudioInfo] = field(default_factory=dict)


def home(folder: str | os.PathLike[str] | None = None) -> Path:
    """Where what can be made again is kept: `folder`, else $OSSICLE_CACHE, else ~/.cache/ossicle."""
    return Path(folder or os.environ.get("OSSICLE_CACHE") or Path.home() / ".cache" / "ossicle").absolute()


def unwritable(folder: Path, number: int | None, words: str | None) -> OSError:
    """The error to raise where the system, by an error's number and words, would not have the cache written."""
    return OSError(
        number or 0,
        f"the cache cannot be written ({(words or 'unknown reason').lower()}), but what it holds is intact; "
        "make room there, delete it, or set OSSICLE_CACHE to another folder",
        str(folder),
    )


class Cache:
    """Decoded sound in `folder`, else $OSSICLE_CACHE, else ~/.cache/ossicle, which anyone may delete at any time."""

    def __init__(self, folder: str | os.PathLike[str] | None = None):
        self.folder = home(folder) / "sound-1"
        self._journal = Journal(self.folder / "known.jsonl")
        self._prepared: dict[Key, Known] = {}

    def prepare(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        sample_rate: int,
        channels: str | int = "mix",
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Prepared:
        """Decodes what is missing, in `workers` child processes (default: one a core), and reports on every path.

        `channels` as for `audio.read`. `progress(done, of how many)` is called as files are done. OSError if the cache
        cannot be written; what it already held stays good.
        """
        wanted = list(dict.fromkeys(Path(path) for path in paths))
        keys = {path: _key(path, sample_rate, channels) for path in wanted}
        tell = progress or (lambda done, total: None)
        self._journal.refresh()
        found = {path: known for path in wanted if (known := self._current(keys[path])) is not None}
        tell(len(found), len(wanted))
        bad: dict[Path, BadFile] = {}
        missing = [path for path in wanted if path not in found]
        for path, outcome in self._decoded(missing, keys, workers):
            if isinstance(outcome, BadFile):
                bad[path] = outcome
            else:
                found[path] = outcome
            tell(len(found) + len(bad), len(wanted))
        self._prepared.update((keys[path], known) for path, known in found.items())
        return _report(wanted, found, bad, sample_rate)

    def wave(self, path: str | os.PathLike[str], *, sample_rate: int, channels: str | int = "mix") -> np.ndarray:
        """(C, T) float32, read-only, mapped from disk: the content as it was when prepared.

        An entry that was deleted is decoded again. AudioError if the path was not prepared, or changed and must be
        decoded again.
        """
        key = _key(path, sample_rate, channels)
        known = self._prepared.get(key) or self._current(key) or self._refreshed(key)
        if known is None:
            raise audio.AudioError(path, f"not prepared at {sample_rate} Hz: call prepare() first", "open")
        try:
            return self._mapped(known, key)
        except (OSError, ValueError):
            self._redecode(path, key, known)
            return self._mapped(known, key)

    def changed(self) -> list[Path]:
        """Prepared files that are not what they were: other size or time, or gone."""
        return [Path(path) for (path, _, _), known in self._prepared.items() if _mark(path) != known.mark]

    def _current(self, key: Key) -> Known | None:
        """What is known of a path, if the file did not change since and its entry is there."""
        known = self._journal[key]
        if known is None or _mark(key[0]) != known.mark:
            return None
        try:
            size = os.stat(self._place(known, key)).st_size  # noqa: PTH116 - see `mark`
        except OSError:
            return None
        return known if size > 4 * known.entry.length * width(key[2]) else None

    def _refreshed(self, key: Key) -> Known | None:
        self._journal.refresh()
        return self._current(key)

    def _place(self, known: Known, key: Key) -> Path:
        return place(self.folder, known.entry.digest, key[1], key[2])

    def _mapped(self, known: Known, key: Key) -> np.ndarray:
        shape = known.entry.length, width(key[2])
        return np.asarray(np.memmap(self._place(known, key), "<f4", "r", shape=shape)).T

    def _redecode(self, path: str | os.PathLike[str], key: Key, known: Known) -> None:
        prepared = self.prepare([path], sample_rate=key[1], channels=key[2])
        for bad in prepared.bad.values():
            raise audio.AudioError(path, f"its samples were deleted, and it no longer decodes: {bad.reason}", "decode")
        if prepared.digests[Path(path)] != known.entry.digest:
            raise audio.AudioError(path, "its samples were deleted, and it changed since it was prepared", "check")

    def _decoded(
        self, paths: list[Path], keys: dict[Path, Key], workers: int | None
    ) -> Iterable[tuple[Path, Known | BadFile]]:
        """Each path's outcome as it comes; what was found is remembered in batches, and to the last if stopped."""
        if not paths:
            return
        token = secrets.token_hex(8)
        requests = [self._request(keys[path], self.folder / "tmp" / f"{token}-{n}") for n, path in enumerate(paths)]
        fresh: list[tuple[Key, Known]] = []
        self._sweep("*", _ABANDONED)
        try:
            for number, answer in pool.answered(requests, workers=workers or _crew(len(paths))):
                path = paths[number]
                if "cache" in answer:
                    raise unwritable(self.folder.parent, *answer["cache"])
                if "bad" in answer:
                    yield path, BadFile(str(path), *answer["bad"])
                    continue
                size, mtime = answer["mark"]
                known = Known((size, mtime), Entry.of(answer["entry"]))
                fresh.append((keys[path], known))
                if len(fresh) >= _BATCH:
                    self._remember(fresh)
                yield path, known
        finally:
            self._sweep(f"{token}-*", 0.0)
            self._remember(fresh)

    def _request(self, key: Key, temporary: Path) -> dict[str, str | int]:
        path, rate, channels = key
        where = {"path": path, "folder": str(self.folder), "temporary": str(temporary)}
        return {**where, "sample_rate": rate, "channels": channels}

    def _remember(self, fresh: list[tuple[Key, Known]]) -> None:
        try:
            self._journal.add(fresh)
        except OSError as error:
            raise unwritable(self.folder.parent, error.errno, error.strerror) from error
        fresh.clear()

    def _sweep(self, pattern: str, age: float) -> None:
        """Removes what killed writers left behind."""
        for left in (self.folder / "tmp").glob(pattern):
            try:
                if time.time() - left.stat().st_mtime >= age:
                    left.unlink()
            except OSError:
                continue


def _key(path: str | os.PathLike[str], sample_rate: int, channels: str | int) -> Key:
    return os.path.abspath(path), sample_rate, channels  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links


def _mark(path: str) -> tuple[int, int] | None:
    try:
        return mark(path)
    except (OSError, ValueError):
        return None


def _crew(files: int) -> int:
    """One worker a core that this process may use, and none for fewer than eight files."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, -(-files // 8)))


def _report(wanted: list[Path], found: dict[Path, Known], bad: dict[Path, BadFile], rate: int) -> Prepared:
    """In the order asked for, whatever order the answers came in."""
    prepared, notes = Prepared(), defaultdict(list)
    for path in wanted:
        if path in bad:
            prepared.bad[path] = bad[path]
            continue
        entry = found[path].entry
        about = entry.sample_rate, entry.channels, entry.frames, entry.format, entry.subtype
        prepared.lengths[path], prepared.digests[path] = entry.length, entry.digest
        prepared.sizes[path] = found[path].mark[0]
        prepared.infos[path] = audio.AudioInfo(path, *about)
        for note in (*entry.notes, *_asked(path, entry, rate)):
            notes[note].append(str(path))
    prepared.notes = dict(notes)
    return prepared


def _asked(path: Path, entry: Entry, rate: int) -> Iterable[str]:
    """Notes that depend on the file's name and on the rate asked for."""
    if entry.format not in _SUFFIXES.get(path.suffix.lower(), (entry.format,)):
        yield f"named {path.suffix.lower()}, but its content is {entry.format}"
    if entry.sample_rate < rate:
        yield f"recorded at {entry.sample_rate} Hz, below {rate} Hz: nothing above {entry.sample_rate // 2} Hz is in it"
