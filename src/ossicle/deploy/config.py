"""The files of a bundle: config.json says how the model is fed and read, and what the others must be. No dependency."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ossicle import slots
from ossicle.deploy.graph import problems
from ossicle.durable import write

MODEL, INT8, CONFIG = "model.onnx", "model.int8.onnx", "config.json"
GOLDEN, FRONTEND, MEMORY = "golden.npz", "frontend.json", "memory.npz"
CARD, EXAMPLE = "README.md", "example.py"
FILES = {MODEL, INT8, CONFIG, GOLDEN, FRONTEND, MEMORY, CARD, EXAMPLE}
FORMAT = 2
MOST = {"sample_rate": 1_000_000, "channels": 64, "window": 100_000_000, "hop": 100_000_000_000}
THRESHOLDS = {"on": 0.5, "off": 0.35, "min_seconds": 0.0, "gap_seconds": 0.0}


class BundleError(ValueError):
    """This folder is no bundle that can be trusted to answer as it did when it was written."""


@dataclass(frozen=True)
class Config:
    """How a bundle wants to be fed and read: rates in Hz, `window` and `hop` in samples at `sample_rate`.

    `thresholds` are the defaults of `events`; `provenance` is what the exporter knew of the training; `versions` names
    what it was written with; `files` has the size and SHA-256 of every file that is read. `image` is (C, M, F, N) where
    the model takes images and no waves; frontend.json then says how a window becomes one. `int8` says what
    model.int8.onnx and model.onnx (`score`, `float_score`) reach in which `measure`, on how many `clips` of which
    `part` of the data, and which layers were `left` in float.
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
    image: tuple[int, ...] | None = None
    int8: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if wrong := "; ".join(_wrong(self)):
            raise BundleError(f"no bundle can be fed and read so: {wrong}")

    @property
    def mixing(self) -> str | int:
        """What `audio` is asked for as channels: a model that hears one is given the mean of all."""
        return "mix" if self.channels == 1 else self.channels

    def thresholds_for(self, labels: Sequence[str]) -> dict[str, Any]:
        """The thresholds, where these are the labels: those that are known keep their own, new ones get the usual."""
        held = {name: value for name, value in self.thresholds.items() if isinstance(value, (list, tuple))}
        of = {name: dict(zip(self.labels, value, strict=True)) for name, value in held.items()}
        one = {name: value for name, value in self.thresholds.items() if name not in held}
        usual = THRESHOLDS | {
            "on": max(THRESHOLDS["on"], one.get("off", 0.0)),
            "off": min(THRESHOLDS["off"], one.get("on", 1.0)),
        }
        return one | {name: [known.get(label, usual[name]) for label in labels] for name, known in of.items()}

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
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
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
            image = values.get("image")
            return cls(**values | {"labels": tuple(values["labels"]), "image": image and tuple(image)})
        except (TypeError, KeyError) as error:
            raise BundleError(f"{folder / CONFIG} lacks or has extra entries: {error}") from error
        except BundleError as error:
            raise BundleError(f"{folder / CONFIG}: {error}; export again") from error


def _wrong(config: Config) -> Iterator[str]:
    """What of a config cannot be: it may come from anywhere, and its SHA-256 guards against accidents alone."""
    for name, most in MOST.items():
        value = getattr(config, name)
        if type(value) is not int or not 1 <= value <= most:
            yield f"{name} is {value!r}, wanted a whole number from 1 to {most:,}"
    labels = config.labels
    if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
        yield f"labels are {labels!r}, wanted one text or more"
    elif twice := [label for label in labels if labels.count(label) > 1]:
        yield f"two labels are {twice[0]!r}"
    if config.policy not in ("repeat", "zero"):
        yield f"policy is {config.policy!r}, wanted repeat or zero"
    kinds = {"thresholds": dict, "provenance": dict, "versions": dict, "files": dict, "multilabel": bool}
    if strange := [name for name, kind in kinds.items() if not isinstance(getattr(config, name), kind)]:
        yield f"{strange[0]} is {getattr(config, strange[0])!r}"
        return
    if set(config.thresholds) != set(THRESHOLDS) or not _sane(config.thresholds, len(labels)):
        yield (
            f"thresholds are {config.thresholds}, wanted on and off, each one number or one a label, off not above on, "
            "and min_seconds and gap_seconds, none of them negative"
        )
    if (image := config.image) and (len(image) != 4 or any(type(side) is not int or side < 1 for side in image)):
        yield f"image is {image}, wanted (C, M, F, N)"
    for name, entry in config.files.items():
        if not re.fullmatch(r"\w[\w.-]*", name):
            yield f"it names {name!r}, which is no file of this folder"
        elif not isinstance(entry, dict) or {*entry} != {"bytes", "sha256"}:
            yield f"of {name} it says {entry!r}, wanted bytes and sha256"


def _sane(thresholds: Mapping[str, Any], classes: int) -> bool:
    on, off = (
        each if isinstance(each, (list, tuple)) else [each] * classes for each in map(thresholds.get, ("on", "off"))
    )
    numbers = [*on, *off, thresholds["min_seconds"], thresholds["gap_seconds"]]
    if not all(type(number) in (int, float) and 0 <= number < float("inf") for number in numbers):
        return False
    return len(on) == len(off) == classes and all(low <= high for low, high in zip(off, on, strict=True))


def file_entry(content: bytes) -> dict[str, Any]:
    """What `Config.files` says of a file."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _content_sha256(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if path.exists() and not path.is_file():  # a pipe would wait, a device never end
            raise OSError(errno.EINVAL, "no plain file")
        return path.read_bytes()
    except OSError as error:
        what = "does not exist" if not folder.exists() else f"has no readable {name} ({error.strerror})"
        raise BundleError(f"{folder} {what}; a bundle holds {MODEL}, {CONFIG} and {GOLDEN}") from error


def _checked(folder: Path, name: str, wanted: dict[str, Any]) -> bytes:
    path = folder / name
    if path.is_file() and path.stat().st_size != wanted["bytes"]:
        raise BundleError(f"{path} has {path.stat().st_size} bytes, not {wanted['bytes']}; copy the bundle again")
    if file_entry(content := _bytes(folder, name)) != wanted:
        raise BundleError(f"{path} is not the file that was exported (SHA-256 differs); copy the bundle again")
    return content


def opened(folder: str | Path) -> tuple[Config, dict[str, bytes]]:
    """A bundle's config and the content of its files by name, of the slot that answers: the only door to them.

    Every file is held against the SHA-256 that config.json has of it, and every model is looked through before anything
    of it runs. Raises BundleError where a file is missing or was changed, where the bundle comes from a newer ossicle,
    and where `graph.problems` finds something in a model. An update (see `slots`) of which that is true does not
    answer: the state before it does, or what was exported, and a RuntimeWarning says so.
    """
    return _answering(Path(folder))[1:]


def answering(folder: str | Path) -> Path:
    """The folder whose files `opened` gives: the bundle's own, or a slot in it."""
    return _answering(Path(folder))[0]


def _answering(folder: Path) -> tuple[Path, Config, dict[str, bytes]]:
    try:
        known = slots.read(folder)
        places, why = dict.fromkeys((known.live, known.previous, slots.EXPORTED)), ""
    except slots.SlotError as error:
        places, why = dict.fromkeys((slots.EXPORTED,)), str(error)
    failed: list[BundleError] = []
    for place in places:
        try:
            found = open_one(folder / place)
        except BundleError as error:
            failed.append(error)
            continue
        if told := "; ".join([why] * bool(why) + [str(error) for error in failed]):
            warnings.warn(f"{told}. {folder / place} answers instead", RuntimeWarning, stacklevel=4)
        return folder / place, *found
    raise failed[0]


def open_one(folder: Path) -> tuple[Config, dict[str, bytes]]:
    """`opened`, of this folder's own files whatever its pointer says."""
    config = Config.read(folder)
    wanted = {MODEL, GOLDEN} | ({FRONTEND} if config.image else set()) | ({INT8} if config.int8 else set())
    if missing := wanted - set(config.files):
        raise BundleError(f"{folder / CONFIG} says nothing of {min(missing)}; export again")
    files = {name: _checked(folder, name, entry) for name, entry in config.files.items()}
    for name, content in files.items():
        if name.endswith(".onnx") and (found := problems(content)):
            raise BundleError(f"{folder / name} is refused: " + "; ".join(found))
    return config, files
