"""Sound files -> the features (n, D) of all their windows, kept on disk, so that no sound is heard twice. No torch.

An entry's name is the digest of the sound file's bytes, in a folder for the model and the step from window to window:
a file that changes gets another entry, one that moves keeps its own, and all of it may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import audio
from ossicle.data.cache import home, unwritable
from ossicle.deploy.bundle import Recognizer
from ossicle.deploy.config import FRONTEND
from ossicle.deploy.formats import FORMATS
from ossicle.deploy.listen import Write, listen
from ossicle.deploy.output import Output
from ossicle.deploy.overheard import Noting
from ossicle.deploy.stream import Window
from ossicle.plain import digest, json_text


@dataclass(frozen=True, eq=False)
class Features:
    """The windows of one recording: `feature` (n, D) float16, each of length 1; `start` and `stop` (n,) in seconds.

    `seconds` of sound were heard. `faults` are what `listen` reported of it, without the path.
    """

    feature: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    seconds: float
    faults: tuple[Mapping[str, Any], ...] = ()


Take = Callable[[Path, Features], None]


class Index:
    """The features by one recognizer of recordings, by their content, in `folder` or where the cache is."""

    def __init__(self, recognizer: Recognizer, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = home(folder) / "features-1" / _key(recognizer)[:32]

    def read(self, name: str) -> Features | None:
        """An entry, or None where there is none that is whole."""
        try:
            with self._place(name).open("rb") as file, np.load(file) as found:
                faults = json.loads(str(found["faults"]))
                feature, start, stop = (found[part] for part in ("feature", "start", "stop"))
                return Features(feature, start, stop, float(found["seconds"]), tuple(faults))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, name: str, features: Features) -> None:
        """Adds an entry in one step. OSError where that cannot be."""
        place = self._place(name)
        new = place.with_name(f".{name}.{os.getpid()}.new")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                np.savez(file, **vars(features) | {"faults": json_text(features.faults)})
            new.replace(place)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise unwritable(self.folder, error.errno, error.strerror) from error

    def bytes(self) -> int:
        """What all entries of this recognizer take on the disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.npz"))

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def hear(recognizer: Recognizer, sources: Iterable[str | Path], index: Index, take: Take, *, report: Write) -> int:
    """Hands every recording's features to `take`, as `listen` comes to it; one that the index has is not heard again.

    Returns how many the index had. What cannot be heard is told to `report`, and so is what was wrong with a recording,
    also with one that the index has. One of which not all could be read is not kept.
    """
    notes = _Notes(index, take, report)
    listen(Noting(recognizer, notes), sources, notes, report=notes.trouble)
    return notes.known


class _Notes(Output):
    """Keeps features where others write events."""

    def __init__(self, index: Index, take: Take, report: Write) -> None:
        super().__init__(FORMATS["jsonl"], lambda line: None)
        self._index, self._take, self._report = index, take, report
        self._digest = ""
        self._begin()

    def _begin(self) -> None:
        self._windows: list[tuple[np.ndarray, float, float]] = []
        self._faults: list[dict[str, Any]] = []

    def has(self, name: str, path: Path) -> bool:
        try:
            self._digest = audio.digest(path)
        except audio.AudioError:
            return False
        features = self._index.read(self._digest)
        if features is None:
            return False
        for fault in features.faults:
            self._report(json.dumps({"path": str(path), **fault}))
        self._take(path, features)
        return True

    def begin(self, name: str) -> None:
        self._begin()

    def window(self, window: Window) -> None:
        """Keeps one window."""
        self._windows.append((unit(window.feature).astype(np.float16), window.start, window.stop))

    def trouble(self, line: str) -> None:
        """Notes what is wrong, and tells it."""
        self._faults.append({name: value for name, value in json.loads(line).items() if name != "path"})
        self._report(line)

    def end(self, name: str, seconds: float, path: Path | None = None) -> None:
        if path is None or not self._windows:
            return
        feature, start, stop = (np.array(column) for column in zip(*self._windows, strict=True))
        features = Features(feature, start, stop, seconds, tuple(self._faults))
        self._begin()
        if all("kind" in fault for fault in features.faults):  # the others are errors: more can be read another time
            self._index.write(self._digest, features)
        self._take(path, features)


def unit(feature: np.ndarray) -> np.ndarray:
    """(..., D) -> (..., D) float32 of length 1, or 0 where a feature has no direction."""
    feature = feature.astype(np.float32)
    length = np.linalg.norm(feature, axis=-1, keepdims=True)
    return np.divide(feature, length, out=np.zeros_like(feature), where=length > 0)


def _key(recognizer: Recognizer) -> str:
    """What the features of a recording depend on besides its content."""
    config = recognizer.config
    files = {name: config.files.get(name) for name in (recognizer.model, FRONTEND)}
    fed = [config.sample_rate, config.channels, config.window, config.hop, config.policy]
    return digest({"files": files, "fed": fed})
