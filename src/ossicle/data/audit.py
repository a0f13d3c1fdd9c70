"""Leaks between folds that names and bytes give away: one recording, or one file's content, in several folds."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ossicle.data.manifest import Clip, Manifest


@dataclass(frozen=True)
class Leak:
    """Clips in several folds that share a recording (`kind` "recording") or every byte of their files ("content").

    Fold 0 stands for clips without a fold, which are always trained on.
    """

    kind: str
    shared: str
    clips: tuple[str, ...]
    folds: tuple[int, ...]


def by_recording(manifest: Manifest) -> list[Leak]:
    """Recordings whose clips stand in more than one fold."""
    return _across("recording", ((clip.recording, clip) for clip in manifest.clips))


def by_content(manifest: Manifest) -> list[Leak]:
    """Files of equal content, under different names, in more than one fold."""
    same = twins(clip.path for clip in manifest.clips)
    found = _across("content", ((same[clip.path], clip) for clip in manifest.clips if clip.path in same))
    return [leak for leak in found if len(set(leak.clips)) > 1]


def twins(paths: Iterable[Path]) -> dict[Path, str]:
    """SHA-256 of every file that has another of equal content; only files of equal size are read."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        if path.is_file() and (size := path.stat().st_size):
            sizes[size].append(path)
    digests = {path: _digest(path) for alike in sizes.values() if len(alike) > 1 for path in alike}
    counts: dict[str, int] = defaultdict(int)
    for digest in digests.values():
        counts[digest] += 1
    return {path: digest for path, digest in digests.items() if counts[digest] > 1}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _across(kind: str, shared: Iterable[tuple[str, Clip]]) -> list[Leak]:
    piles: dict[str, list[Clip]] = defaultdict(list)
    for name, clip in shared:
        piles[name].append(clip)
    folds = {name: tuple(sorted({clip.fold or 0 for clip in pile})) for name, pile in piles.items()}
    spread = [name for name in piles if len(folds[name]) > 1]
    return [Leak(kind, name, tuple(clip.name for clip in piles[name]), folds[name]) for name in spread]
