"""A folder (model.onnx, config.json, ...) -> a Recognizer: (B, C, T) to score (B, K), feature (B, D)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import audio
from ossicle.deploy.config import FRONTEND, INT8, MODEL, BundleError, Config, opened
from ossicle.deploy.events import Event, answer, events
from ossicle.deploy.image import image
from ossicle.deploy.stream import Stream, Window


def load(folder: str | Path, threads: int | None = None, *, int8: bool = False) -> Recognizer:
    """Open a bundle for recognizing, on `threads` CPU threads (default 1), by its model of 8 bit where asked.

    Raises BundleError: see `config.opened`.
    """
    config, files = opened(folder)
    if int8 and INT8 not in files:
        raise BundleError(f"{folder} has no {INT8}; export it with --int8, or leave that out")
    return recognizer(config, files, Path(folder), INT8 if int8 else MODEL, threads or 1)


def recognizer(
    config: Config, files: Mapping[str, bytes], folder: Path, model: str = MODEL, threads: int = 1
) -> Recognizer:
    """The Recognizer of a bundle that was opened, by one of its models."""
    try:
        frontend = json.loads(files[FRONTEND])["steps"] if config.image else None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(
            f"{folder / FRONTEND} tells no steps from waves to images: {error!r}; export again"
        ) from error
    return Recognizer(config, session(files[model], folder / model, threads), frontend, model)


def session(model: bytes, path: Path, threads: int = 1) -> Any:
    """An onnxruntime session of a model that was looked through; `path` is told where it cannot be run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(f"onnxruntime {onnxruntime.__version__} cannot run {path}: {error}") from error


class Recognizer:
    """A loaded bundle: call it with samples, or let it listen.

    `model` is the file that answers and `labels` (K) name its scores; `sample_rate`, `channels`, `window`, `hop`,
    `policy` and `thresholds` are `config`'s.
    """

    def __init__(
        self, config: Config, session: Any, frontend: Sequence[Mapping[str, Any]] | None = None, model: str = MODEL
    ) -> None:
        self.config, self.model, self._session, self._frontend = config, model, session, frontend

    @property
    def labels(self) -> tuple[str, ...]:
        return self.config.labels

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    def scores(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B, C, window) float32 at `sample_rate` -> probabilities (B, K) and feature (B, D), each clip on its own.

        Raises BundleError where the model does not run, or has scores for other labels than the bundle names.
        """
        if wave.ndim != 3 or wave.shape[1] != self.config.channels:
            raise ValueError(f"wave has shape {wave.shape}; wanted (B, {self.config.channels}, {self.config.window})")
        given = self.given(wave)
        try:
            score, feature = self._session.run(["score", "feature"], given)
        except Exception as error:
            raise BundleError(f"{self.model} does not run on waves of {wave.shape}: {error}") from error
        if score.shape != (len(wave), len(self.labels)) or feature.shape[:-1] != score.shape[:-1]:
            raise BundleError(
                f"{self.model} gives scores {score.shape} and features {feature.shape} for {len(wave)} windows and "
                f"{len(self.labels)} labels; export again"
            )
        if not (np.isfinite(score).all() and np.isfinite(feature).all()):
            raise ValueError("the model answered with numbers that are not finite; were all samples?")
        return score, feature

    def given(self, wave: np.ndarray) -> dict[str, np.ndarray]:
        """What the model is called with for (B, C, window)."""
        wave = np.asarray(wave, np.float32)
        return {"wave": wave} if self._frontend is None else {"image": self.images(wave)}

    def images(self, wave: np.ndarray) -> np.ndarray:
        """(B, C, window) -> (B, C, M, F, N) float32, what a model without a front end hears."""
        try:
            made = np.stack([image(self._frontend or (), clip) for clip in wave])
        except Exception as error:
            raise BundleError(f"the steps of {FRONTEND} cannot be followed: {error}") from error
        if made.shape[1:] != self.config.image:
            raise BundleError(f"{FRONTEND} makes images {made.shape[1:]} and the model takes {self.config.image}")
        return made

    def __call__(self, samples: np.ndarray, sample_rate: int | None = None) -> np.ndarray:
        """(T,) or (C, T) samples -> (K,) probabilities: the mean of the clip's windows, side by side, as in evaluation.

        `sample_rate` is the samples' own where it is not the model's. Raises ValueError for no samples and for samples
        that are no sound.
        """
        stream = self.stream(sample_rate, hop=self.config.window)
        windows = list(stream.listen([samples]))
        if not windows:
            raise ValueError("there are no samples to recognize")
        if broken := sum(fault.samples for fault in stream.faults() if fault.kind == "broken"):
            raise ValueError(f"{broken} samples are not finite or are over +40 dBFS; repair or leave out this clip")
        return np.mean([window.score for window in windows], axis=0)

    def answer(self, samples: np.ndarray, sample_rate: int | None = None) -> str:
        """What a clip is: its most probable label of those that reach their thresholds, or "unknown"."""
        return answer(self(samples, sample_rate), self.labels, on=self.config.thresholds["on"])

    def stream(self, source_rate: int | None = None, *, hop: int | None = None) -> Stream:
        """A new Stream of this model for samples at `source_rate` (default: the model's own)."""
        config = self.config
        return Stream(
            self.scores,
            window=config.window,
            hop=hop or config.hop,
            sample_rate=config.sample_rate,
            channels=config.channels,
            source_rate=source_rate,
            policy=config.policy,
        )

    def events(self, windows: Iterable[Window], **thresholds: Any) -> Iterator[Event]:
        """Windows -> events under the bundle's thresholds, or those given."""
        return events(windows, self.labels, **self.config.thresholds | thresholds)

    def listen(
        self, source: str | Path | Iterable[np.ndarray], source_rate: int | None = None, **thresholds: Any
    ) -> Iterator[Event]:
        """A sound file, or chunks of samples at `source_rate` -> events, each as soon as it has ended.

        AudioError where the file cannot be read to its end; a warning where samples were no sound (see Stream).
        """
        if isinstance(source, (str, Path)):
            with audio.Sound(source) as sound:
                yield from self.listen(sound.blocks(channels=self.config.mixing), sound.info.sample_rate, **thresholds)
            return
        stream = self.stream(source_rate)
        yield from self.events(stream.listen(source), **thresholds)
        for fault in stream.faults():
            if not fault.ongoing:
                warnings.warn(str(fault), RuntimeWarning, stacklevel=2)
