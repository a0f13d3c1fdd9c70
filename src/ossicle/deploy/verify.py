"""A bundle's golden clips heard here: image, feature (n, D) and score (n, K) held to the trained model's. No torch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ossicle.deploy.bundle import Recognizer, recognizer
from ossicle.deploy.config import FRONTEND, GOLDEN, INT8, MODEL, BundleError, Config, opened
from ossicle.deploy.memory import UNREADABLE

TOLERANCE = 1e-4
"""How far a score may be from the trained model's, or a feature, in parts of the span of all its values."""
INT8_TOLERANCE = 0.05
"""The same by a model of 8 bit, held to what it said where it was made: one rounding apart is a step of 1/256."""
IMAGE_TOLERANCE = 1e-3
"""The same of an image: levels far under a peak's are float32's own rounding, where it was trained as here."""


@dataclass(frozen=True)
class Row:
    """The number of one `output` for one golden `clip` that is farthest from what was written down: `here`, not
    `there`, at `place` in it. `difference` is in parts of the output's span, which is 1 for scores.
    """

    file: str
    clip: str
    output: str
    place: str
    here: float
    there: float
    difference: float

    @property
    def allowed(self) -> float:
        return IMAGE_TOLERANCE if self.output == "image" else INT8_TOLERANCE if self.file == INT8 else TOLERANCE

    @property
    def ok(self) -> bool:
        return self.difference <= self.allowed

    def __str__(self) -> str:
        return (
            f"{self.output} {self.place} of clip '{self.clip}' by {self.file} is {self.here:.6g} here and was "
            f"{self.there:.6g}, {self.difference:.1e} apart where {self.allowed:g} is allowed"
        )


@dataclass(frozen=True)
class Verdict:
    """What `verify` found: a row for each output of each golden clip, in the order in which they are worked out."""

    rows: tuple[Row, ...]
    made_by: str
    run_by: str

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)

    @property
    def difference(self) -> float:
        """The largest difference of any score of the model that is not of 8 bit."""
        return max(row.difference for row in self.rows if row.output == "score" and row.file == MODEL)

    @property
    def first(self) -> str:
        """Where this machine parts from the trained model; empty where it does not."""
        return next((str(row) for row in self.rows if not row.ok), "")

    def __str__(self) -> str:
        if self.ok:
            clips = len({row.clip for row in self.rows})
            return f"answers as the trained model did: {clips} golden clips, largest difference {self.difference:.1e}"
        return (
            f"does NOT answer as the trained model did. First difference: {self.first}. The files are those that were "
            f"exported, with onnxruntime {self.made_by}; here it is {self.run_by}"
        )


def verify(folder: str | Path, threads: int = 1) -> Verdict:
    """Hear the bundle's golden clips on this machine, and compare all that comes out with what the trained model made.

    Raises BundleError where a file was changed or cut short, or is none that a bundle may hold (see `config.opened`).
    """
    import onnxruntime

    config, files = opened(folder)
    wanted = golden(Path(folder) / GOLDEN, files[GOLDEN], config)
    models = [name for name in (MODEL, INT8) if name in files]
    rows = tuple(
        row for name in models for row in _rows(recognizer(config, files, Path(folder), name, threads), wanted, name)
    )
    return Verdict(rows, config.versions.get("onnxruntime", "of unknown version"), onnxruntime.__version__)


def golden(path: Path, content: bytes, config: Config) -> dict[str, np.ndarray]:
    """The golden arrays, each with a row for each clip. BundleError where they are none."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        clips = found["wave"].shape[:1]
        shapes = {
            "name": clips,
            "wave": (*clips, config.channels, config.window),
            "score": (*clips, len(config.labels)),
        }
        shapes |= {"feature": (*clips, *found["feature"].shape[1:2])}
        shapes |= {"image": (*clips, *config.image)} if config.image else {}
        shapes |= {"int8_score": shapes["score"], "int8_feature": shapes["feature"]} if config.int8 else {}
        wrong = [name for name, shape in shapes.items() if found[name].shape != shape]
        numbers = [found[name] for name in shapes if name != "name"]
        if not all(each.dtype.kind == "f" and np.isfinite(each).all() for each in numbers):
            raise ValueError("not all of its numbers are finite ones")
    except UNREADABLE as error:
        raise BundleError(f"{path} holds no golden clips: {error}; export again") from error
    if wrong or not clips or not clips[0]:
        raise BundleError(f"{path} has no {' and '.join(wrong) or 'clips'} of the right shape; export again")
    return found


def _rows(recognizer: Recognizer, golden: dict[str, np.ndarray], model: str) -> Iterator[Row]:
    own = "int8_" if model == INT8 else ""
    for number, (name, wave) in enumerate(zip(golden["name"], golden["wave"], strict=True)):
        score, feature = recognizer.scores(wave[None])
        found = {"image": recognizer.images(wave[None])[0]} if recognizer.config.image and model == MODEL else {}
        for output, here in (found | {"feature": feature[0], "score": score[0]}).items():
            there = golden[f"{own}{output}"][number]
            if here.shape != there.shape:
                raise BundleError(f"{output} has shape {here.shape}, and in {GOLDEN} {there.shape}; export again")
            span = 1.0 if output == "score" else float(np.ptp(golden[output])) or 1.0
            at = np.unravel_index(int(np.argmax(np.abs(here - there))), here.shape)
            place = f"'{recognizer.labels[at[0]]}'" if output == "score" else ", ".join(map(str, at))
            apart = float(abs(here[at] - there[at])) / span
            file = FRONTEND if output == "image" else model
            yield Row(file, str(name), output, place, float(here[at]), float(there[at]), apart)
