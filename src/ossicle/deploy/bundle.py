"""A folder (model.onnx, config.json, golden.npz) -> a Recognizer: (B, C, T) to score (B, K), feature (B, D)."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ossicle import audio
from ossicle.deploy.events import Event, events
from ossicle.deploy.graph import problems
from ossicle.deploy.stream import Stream, Window
from ossicle.durable import write

MODEL, CONFIG, GOLDEN = "model.onnx", "config.json", "golden.npz"
FORMAT = 1
THRESHOLDS = {"on": 0.5, "off": 0.35, "min_seconds": 0.0, "gap_seconds": 0.0}


class BundleError(ValueError):
    """This folder is no bundle that can be trusted to answer as it did when it was written."""


@dataclass(frozen=True)
class Config:
    """How a bundle wants to be fed and read: rates in Hz, `window` and `hop` in samples at `sample_rate`.

    `thresholds` are the defaults of `events`; `provenance` is what the exporter knew of the training; `versions` names
    what it was written with; `files` has the size and SHA-256 of every other file.
    """

    sample_rate: int
    channels: int
    window: int
    hop: int
    policy: str
    labels: tuple[str, ...]
    multilabel: bool
    thresholds: dict[str, Any] = field(default_factory=lambda: dict(THRESHOLDS))
    provenance: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def mixing(self) -> str | int:
        """What `audio` is asked for as channels: a model that hears one is given the mean of all."""
        return "mix" if self.channels == 1 else self.channels

    def write(self, folder: Path) -> None:
        """Write config.json, closed by a SHA-256 of its own content."""
        values = {"format": FORMAT} | asdict(self)
        values["sha256"] = _content_sha256(values)
        write(folder / CONFIG, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Config:
        """Read and check config.json; a BundleError says what is wrong with it."""
        try:
            values = json.loads(_bytes(folder, CONFIG))
            newest = int(values.pop("format"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"{folder / CONFIG} is not the description of a bundle: {error!r}") from error
        if newest > FORMAT:
            raise BundleError(
                f"{folder} has bundle format {newest}; this ossicle reads up to {FORMAT}. Install a newer ossicle"
            )
        if values.pop("sha256", None) != _content_sha256({"format": newest} | values):
            raise BundleError(
                f"{folder / CONFIG} was changed after it was written. Export again; thresholds are options of `listen`"
            )
        try:
            return cls(**values | {"labels": tuple(values["labels"])})
        except (TypeError, KeyError) as error:
            raise BundleError(f"{folder / CONFIG} lacks or has extra entries: {error}") from error


def file_entry(content: bytes) -> dict[str, Any]:
    """What `Config.files` says of a file."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _content_sha256(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _bytes(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        what = "does not exist" if not folder.exists() else f"has no readable {name} ({error.strerror})"
        raise BundleError(f"{folder} {what}; a bundle holds {MODEL}, {CONFIG} and {GOLDEN}") from error


def _checked(folder: Path, config: Config, name: str) -> bytes:
    content = _bytes(folder, name)
    if name not in config.files:
        raise BundleError(f"{folder / CONFIG} says nothing of {name}; export again")
    wanted = config.files[name]
    if len(content) != wanted["bytes"]:
        raise BundleError(f"{folder / name} has {len(content)} bytes, not {wanted['bytes']}; copy the bundle again")
    if file_entry(content) != wanted:
        raise BundleError(f"{folder / name} is not the file that was exported (SHA-256 differs); copy the bundle again")
    return content


def load(folder: str | Path, threads: int | None = None) -> Recognizer:
    """Open a bundle for recognizing, on `threads` CPU threads (default 1).

    Every file is held against the SHA-256 that config.json has of it, and the model is looked through before anything
    of it runs. Raises BundleError where a file is missing or was changed, where the bundle comes from a newer ossicle,
    and where the model keeps tensors in other files or needs operators that onnxruntime does not bring.
    """
    folder = Path(folder)
    config = Config.read(folder)
    model = _checked(folder, config, MODEL)
    _checked(folder, config, GOLDEN)
    if found := problems(model):
        raise BundleError(f"{folder / MODEL} is refused: " + "; ".join(found))
    return Recognizer(config, _session(model, folder, threads or 1), folder)


def _session(model: bytes, folder: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(f"onnxruntime {onnxruntime.__version__} cannot run {folder / MODEL}: {error}") from error


class Recognizer:
    """A loaded bundle: call it with samples, or let it listen.

    `labels` (K) name the scores; `sample_rate`, `channels`, `window`, `hop`, `policy` and `thresholds` are `config`'s.
    """

    def __init__(self, config: Config, session: Any, folder: Path) -> None:
        self.config, self._session, self._folder = config, session, folder

    @property
    def labels(self) -> tuple[str, ...]:
        return self.config.labels

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    def scores(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B, C, window) float32 at `sample_rate` -> probabilities (B, K) and feature (B, D), each clip on its own."""
        if wave.ndim != 3 or wave.shape[1] != self.config.channels:
            raise ValueError(f"wave has shape {wave.shape}; wanted (B, {self.config.channels}, {self.config.window})")
        score, feature = self._session.run(["score", "feature"], {"wave": np.asarray(wave, np.float32)})
        if not (np.isfinite(score).all() and np.isfinite(feature).all()):
            raise ValueError("the model answered with numbers that are not finite; were all samples?")
        return score, feature

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

    def verify(self) -> float:
        """Recognize the bundle's golden clips here: the largest difference from the trained model's scores."""
        with np.load(self._folder / GOLDEN, allow_pickle=False) as golden:
            wave, score = golden["wave"], golden["score"]
        answers = [self.scores(clip[None])[0][0] for clip in wave]
        return float(np.max(np.abs(np.stack(answers) - score)))
