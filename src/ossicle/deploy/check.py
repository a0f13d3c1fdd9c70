"""The same waves through eager torch, the ONNX file and the stream: scores (n, K) within 1e-4, or no bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ossicle import audio
from ossicle.deploy.bundle import Recognizer, load
from ossicle.deploy.config import Config
from ossicle.deploy.onnx import Deployed, as_float32
from ossicle.deploy.verify import TOLERANCE
from ossicle.model import Classifier

HISS = 1e-3
"""Standard deviation of the noise in what is checked: -60 dB of full scale."""


class CheckError(ValueError):
    """A bundle and a classifier that cannot even be compared."""


@dataclass(frozen=True)
class Row:
    """How far one window's scores are from eager torch's when computed `by` "onnx" or "stream"."""

    clip: str
    start: float
    by: str
    difference: float
    same_top: bool


@dataclass(frozen=True)
class Report:
    """What `check` found; `first` tells where a failing export parts from the model, and is empty for a good one."""

    rows: tuple[Row, ...]
    first: str = ""

    @property
    def ok(self) -> bool:
        return all(_agrees(row) for row in self.rows)

    @property
    def difference(self) -> float:
        """The largest difference of any score."""
        return max(row.difference for row in self.rows)

    def __str__(self) -> str:
        verdict = "equal to" if self.ok else "NOT equal to"
        clips = len({row.clip for row in self.rows})
        return (
            f"{verdict} the trained model within {TOLERANCE:g} ({len(self.rows)} comparisons on {clips} clips, "
            f"largest difference {self.difference:.1e}). {self.first}"
        ).strip()


def _agrees(row: Row) -> bool:
    return row.difference <= TOLERANCE and row.same_top


def check(
    classifier: Classifier, bundle: str | Path | Recognizer, *, clips: Mapping[str, np.ndarray] | None = None
) -> Report:
    """Hold a bundle to the classifier that it was made from.

    Silence, noise, a tone, an impulse and `clips` (name -> (C, T) at the model's rate) go through the model as trained,
    through the exported file and, cut to chunks, through the stream. Top-1 may differ only where the model itself is
    undecided within the tolerance.
    """
    recognizer = bundle if isinstance(bundle, Recognizer) else load(bundle)
    model = as_float32(classifier)
    rows: list[Row] = []
    for name, wave in waves(recognizer.config, clips or {}).items():
        starts, windows = cut(wave, recognizer.config)
        wanted = eager(model, windows)["score"]
        streamed = list(recognizer.stream().listen(_chunks(wave)))
        answers = {"onnx": recognizer.scores(windows)[0], "stream": np.stack([window.score for window in streamed])}
        for by, scores in answers.items():
            if scores.shape != wanted.shape:
                raise CheckError(f"{by} gave scores {scores.shape} for clip '{name}', and the model {wanted.shape}")
            rows += [
                Row(name, start / recognizer.sample_rate, by, _difference(mine, theirs), _same_top(mine, theirs))
                for start, mine, theirs in zip(starts, wanted, scores, strict=True)
            ]
    report = Report(tuple(rows))
    if report.ok:
        return report
    return replace(report, first=_first_difference(classifier, recognizer, report, clips or {}))


def waves(config: Config, clips: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Named (C, T) waves: no sound, every frequency, one frequency, one instant (shorter than a window), real sound.

    All but silence carry a little noise, as a microphone's sound does. Without it the decibels of an image reach to
    float32's own rounding, 120 dB under the peak (a quarter of the bins of a low-passed recording), where no two
    implementations of a sum agree and none is right.
    """
    draw = np.random.default_rng(0)
    shape = (config.channels, config.window)
    impulse = np.zeros((config.channels, max(1, 3 * config.window // 5)))
    impulse[:, impulse.shape[1] // 3] = 1
    made = {
        "noise": draw.normal(0, 0.1, (config.channels, 5 * config.window // 2 + 1)),
        "tone": np.broadcast_to(0.1 * np.sin(2 * np.pi * 440 * np.arange(shape[1]) / config.sample_rate), shape),
        "impulse": impulse,
    } | {name: wave[:, : 4 * config.window] for name, wave in clips.items()}
    noisy = {name: wave + draw.normal(0, HISS, wave.shape) for name, wave in made.items()}
    return {name: wave.astype(np.float32) for name, wave in ({"silence": np.zeros(shape)} | noisy).items()}


def cut(wave: np.ndarray, config: Config) -> tuple[list[int], np.ndarray]:
    """(C, T) -> the starts of its windows and (n, C, window), as `audio` cuts a whole recording."""
    starts = audio.window_starts(wave.shape[1], config.window, config.hop)
    pieces = [wave[:, start : start + config.window] for start in starts]
    return starts, np.stack([audio.fit(piece, config.window, policy=config.policy) for piece in pieces])


def _chunks(wave: np.ndarray) -> Iterator[np.ndarray]:
    """A wave as a device gets it: in chunks whose sizes fit nothing."""
    start, sizes = 0, np.random.default_rng(0)
    while start < wave.shape[1]:
        stop = start + int(sizes.integers(1, 4000))
        yield wave[:, start:stop]
        start = stop


@torch.inference_mode()
def eager(classifier: Classifier, windows: np.ndarray) -> dict[str, np.ndarray]:
    """(n, C, window) -> image (n, C, M, F, N), feature (n, D) and score (n, K), by the model as trained."""
    image = classifier.backbone.frontend(torch.from_numpy(windows))
    feature = classifier.backbone.encode(image)
    score = classifier.probability(classifier.head(feature))
    if not score.isfinite().all():
        raise CheckError("the classifier's own scores are not finite; its training went wrong before the export did")
    return {"image": image.numpy(), "feature": feature.numpy(), "score": score.numpy()}


@torch.inference_mode()
def _image(classifier: Classifier, windows: np.ndarray) -> np.ndarray:
    """(n, C, window) -> (n, C, M, F, N), by the front end in the form that is exported."""
    image: np.ndarray = Deployed(classifier).frontend(torch.from_numpy(windows)).numpy()
    return image


def _difference(mine: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.max(np.abs(mine - theirs)))


def _same_top(mine: np.ndarray, theirs: np.ndarray) -> bool:
    return bool(mine.max() - mine[theirs.argmax()] <= 2 * TOLERANCE)


def _first_difference(
    classifier: Classifier, recognizer: Recognizer, report: Report, clips: Mapping[str, np.ndarray]
) -> str:
    """Follow the first window that differs from stage to stage, and say at which it parts."""
    row = next(row for row in report.rows if not _agrees(row))
    wave = waves(recognizer.config, clips)[row.clip]
    starts, windows = cut(wave, recognizer.config)
    window = windows[[starts.index(round(row.start * recognizer.sample_rate))]]
    wanted = eager(as_float32(classifier), window)
    image = recognizer.images(window) if recognizer.config.image else _image(classifier, window)
    score, feature = recognizer.scores(window)
    found = {"image": image, "feature": feature, "score": score}
    parts = {name: float(np.max(np.abs(found[name] - wanted[name])) / (np.ptp(wanted[name]) or 1)) for name in wanted}
    stage = next((name for name, part in parts.items() if part > TOLERANCE), "stream")
    return f"First difference: clip '{row.clip}' at {row.start:g} s by {row.by} ({row.difference:.1e}), in its {stage}."
