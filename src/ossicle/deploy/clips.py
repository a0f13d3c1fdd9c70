"""The best segments of each class, as FLAC files in a folder a class, for people to check: never more than so many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ossicle import audio
from ossicle.deploy.stream import Window

_NAME = re.compile(r"(\d\.\d{4}) (.*) (\d+\.\d{3})s\.flac")
_LONGEST = 100  # bytes of a source's name that a clip's has room for
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]|[\ud800-\udfff]')


@dataclass(frozen=True)
class _Clip:
    """What a file's name says, so that those of earlier times count like those of now."""

    score: float
    source: str
    start: float
    path: Path


class Clips:
    """Keeps the `each` windows of highest score of every label, of those that reach the label's threshold `on`.

    Windows that overlap or touch a kept one of the same source are one segment, and the best stands for it. A file is
    `FOLDER/label/0.9312 source 12.500s.flac`, at the model's `sample_rate`, no louder than full scale. Clips of earlier
    times that lie in the folder count.
    """

    def __init__(
        self, folder: Path, labels: Sequence[str], *, on: float | Sequence[float], sample_rate: int, each: int = 10
    ) -> None:
        if each < 1:
            raise ValueError(f"{each} clips a class: at least 1 was wanted")
        self._rate, self._each = sample_rate, each
        self._on = np.broadcast_to(np.asarray(on, dtype=float), len(labels)).tolist()
        self._folders = [folder / safe(label) for label in labels]
        self._best = [_found(place) for place in self._folders]

    def keep(self, source: str, window: Window, wave: np.ndarray) -> None:
        """Looks at one window and its (C, t) samples. OSError where a file cannot be written."""
        for label, score in enumerate(window.score.tolist()):
            if score >= self._on[label]:
                self._consider(label, score, source, window, wave)

    def _consider(self, label: int, score: float, source: str, window: Window, wave: np.ndarray) -> None:
        best = self._best[label]
        clip = _clip(self._folders[label] / file_name(score, source, window.start))
        worse = [other for other in best if _same(clip, other, window.stop - window.start)]
        if not worse and len(best) >= self._each:
            worse = [min(best, key=lambda other: other.score)]
        if any(other.score >= clip.score for other in worse):
            return
        save(clip.path, wave, self._rate)  # before others go: the disk may be full
        for other in worse:
            best.remove(other)
            other.path.unlink(missing_ok=True)
        best.append(clip)


def _same(clip: _Clip, other: _Clip, seconds: float) -> bool:
    """Whether windows of this length overlap or touch; a millisecond is what a name's rounding takes."""
    return clip.source == other.source and abs(clip.start - other.start) <= seconds + 1e-3


def file_name(score: float, source: str, start: float) -> str:
    """`0.9312 source 12.500s.flac`: by these names the best come last, or first."""
    name = safe(source).encode()[-_LONGEST:].decode(errors="ignore")
    return f"{score:.4f} {name} {start:.3f}s.flac"


def save(path: Path, wave: np.ndarray, sample_rate: int) -> None:
    """(C, t) samples -> a FLAC file, no louder than full scale, written in one step. OSError where it cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(".new.flac")
    audio.write(new, wave / max(1.0, float(np.abs(wave).max())), sample_rate=sample_rate)
    new.replace(path)


def _found(folder: Path) -> list[_Clip]:
    """The clips that lie in a label's folder."""
    there = sorted(folder.glob("*.flac")) if folder.is_dir() else []
    return [_clip(path) for path in there if _NAME.fullmatch(path.name)]


def _clip(path: Path) -> _Clip:
    score, source, start = _NAME.fullmatch(path.name).groups()  # type: ignore[union-attr]
    return _Clip(float(score), source, float(start), path)


def safe(text: str) -> str:
    """A name that any file system takes."""
    return _UNSAFE.sub("_", text).strip(" .") or "_"
