"""A folder on disk -> its sound files in a stable order, one at a time, and what was passed over and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

AUDIO = (
    ".wav",
    ".wave",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".aifc",
    ".au",
    ".caf",
    ".w64",
    ".rf64",
)
NO_EVENT = "background"
UNKNOWN = "?"
SILENT = frozenset({NO_EVENT, "noise", "silence", "other", "no_event", "no event"})


def is_audio(name: str) -> bool:
    """Whether a file of this name is taken for sound; what is in it is looked at when it is read."""
    return os.path.splitext(name)[1].casefold() in AUDIO and not name.startswith(".")  # noqa: PTH122


def no_event(label: str) -> bool:
    """Whether a label or folder name says that none of the classes is heard, as BirdNET's do."""
    return label.casefold() in SILENT


@dataclass
class Scan:
    """Iterating gives (path, name below the root) of every sound file, folder by folder in order of their names.

    Only one folder's names are held at a time. Links are followed to files within the root, and with `links` to
    anything, each folder once. What is passed over is counted in `endings` and told in `passed`.
    """

    root: Path
    links: bool = False
    passed: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[tuple[Path, str]]:
        self._home = os.path.realpath(self.root)
        return self._walk(self.root, "", frozenset({self._home}))

    def _walk(self, folder: Path, below: str, above: frozenset[str]) -> Iterator[tuple[Path, str]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.passed.append(f"{folder} cannot be looked into: {error.strerror}")
            return
        for entry in entries:
            name = below + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not self._follow(entry, name, above):
                continue
            if entry.is_dir():
                yield from self._walk(folder / entry.name, name + "/", above | {os.path.realpath(entry.path)})
            elif not is_audio(entry.name):
                self.endings[Path(entry.name).suffix.casefold() or "no ending"] += 1
            elif entry.is_file():
                yield folder / entry.name, name
            else:
                self.passed.append(f"{name} is no regular file")

    def _follow(self, entry: os.DirEntry[str], name: str, above: frozenset[str]) -> bool:
        """Whether to go where a link points; if not, `passed` says why."""
        target = os.path.realpath(entry.path)
        outside = os.path.commonpath((target, self._home)) != self._home
        reason = ""
        if not os.path.exists(target):  # noqa: PTH110
            reason = "is a broken link"
        elif target in above or any(folder.startswith(target + os.sep) for folder in above):
            reason = "is a link to a folder that holds it"
        elif outside and not self.links:
            reason = f"is a link out of the folder, to {target}; pass links=True to follow such links"
        elif entry.is_dir() and not outside:
            reason = "is a link to a folder that is looked into anyway"
        if reason:
            self.passed.append(f"{name} {reason}")
        return not reason

    def notes(self) -> list[str]:
        """Sentences about what was passed over."""
        other = [f"{n} {ending}" for ending, n in self.endings.most_common()]
        return [*self.passed, *([f"left alone, no sound by their names: {', '.join(other)}"] if other else [])]
