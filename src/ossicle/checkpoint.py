"""A folder of tensors and JSON, there whole or not at all: `save` and `load`.

A checkpoint is `model.safetensors`, `config.json`, and `manifest.json` with the SHA-256 of both. It is written beside
its place under another name, flushed to the disk, and renamed; what stood there is first renamed to `.NAME.old`, which
`load` reads when a crash fell between the two renames. So there is the old one or the new one, never neither.
Nothing that is read here can run code. One process at a time may write a checkpoint; a run's lock sees to that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ossicle.durable import flush, write
from ossicle.plain import digest, json_text

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
TENSORS, CONFIG, MANIFEST = "model.safetensors", "config.json", "manifest.json"
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".distcp", ".t7")
_NO_SAFETENSORS = "safetensors is not installed: pip install 'ossicle[train]'."


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, read, or used for what it was asked for; says why and what to do."""


class DamagedError(CheckpointError):
    """A checkpoint that was once whole: cut short, changed, or in part missing."""


def save(folder: str | Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write tensors of any layout and device, and JSON, as one checkpoint folder; what stood there is replaced.

    Files in the folder that are not a checkpoint's (a README, say) are kept. Raises CheckpointError when the disk is
    full or fails (the old checkpoint is then still there), and when the folder holds something that is no checkpoint.
    """
    folder = Path(folder)
    files = {TENSORS: _pack(tensors), CONFIG: (json_text(dict(info)) + "\n").encode()}
    files[MANIFEST] = _manifest({name: digest(content) for name, content in files.items()})
    with _as_sentence(folder):
        _replace(folder, files)


@contextmanager
def _as_sentence(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{folder} could not be written: {error.strerror or error}. "
            f"A checkpoint that was there before is still there. Make room, or make the disk writable, and try again."
        ) from error


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    """safetensors refuses strided tensors and tensors that share memory: those are copied."""
    try:
        from safetensors.torch import save as pack
    except ImportError as error:
        raise CheckpointError(_NO_SAFETENSORS) from error
    owners: set[int] = set()
    packed = {}
    for name, tensor in sorted(tensors.items()):
        own = tensor.detach().cpu().contiguous()
        if own.untyped_storage().data_ptr() in owners:
            own = own.clone()
        owners.add(own.untyped_storage().data_ptr())
        packed[name] = own
    return pack(packed, {"format": "pt"})


def _manifest(digests: Mapping[str, str]) -> bytes:
    return (json_text({"files": dict(sorted(digests.items())), "format": FORMAT}) + "\n").encode()


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    new, old = _beside(folder, "new"), _beside(folder, "old")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _recover(folder, old)
    _refuse_strangers(folder)
    if new.exists():
        shutil.rmtree(new)
    try:
        new.mkdir()
        for name, content in files.items():
            write(new / name, content)
        flush(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError:
        with suppress(OSError):
            _recover(folder, old)
        with suppress(OSError):
            shutil.rmtree(new)
        raise
    flush(folder.parent)
    _retire(folder, old)


def _recover(folder: Path, old: Path) -> None:
    """Finish or undo what a crash interrupted: then `folder` is the checkpoint, if there is one, and `old` is gone."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    _retire(folder, old)


def _retire(folder: Path, old: Path) -> None:
    if not old.exists():
        return
    for item in old.iterdir():
        if item.name not in (TENSORS, CONFIG, MANIFEST) and not (folder / item.name).exists():
            item.rename(folder / item.name)
    shutil.rmtree(old)


def _refuse_strangers(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file, and a checkpoint is a folder. Choose another name.")
    if folder.exists() and not (folder / MANIFEST).exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} holds files but no checkpoint, so it is not replaced. Choose another folder.")


def load(folder: str | Path, *, kind: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU) and the JSON of a checkpoint, every byte checked against its SHA-256.

    `kind` is what `info["kind"]` has to be. Raises DamagedError when the checkpoint is cut short, changed or
    incomplete; CheckpointError when there is none, or one of another kind, of a newer ossicle, or one that could run
    code.
    """
    folder = Path(folder)
    place = folder if folder.exists() else _beside(folder, "old")
    _refuse_others(folder, place)
    files = _checked(place, _digests(place))
    info = json.loads(files[CONFIG])
    if kind is not None and info.get("kind") != kind:
        raise CheckpointError(f"{folder} holds {info.get('kind') or 'something unnamed'!r}, and {kind!r} was wanted.")
    return _unpack(files[TENSORS], place), info


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, named by the rest."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _refuse_others(folder: Path, place: Path) -> None:
    if not place.exists():
        raise CheckpointError(f"There is no checkpoint at {folder}.")
    if pickle := _pickle(place):
        raise CheckpointError(
            f"{pickle} is a pickle, which can run any code when it is opened, so it is not opened here. "
            f"`ossicle convert {place} -o FOLDER` makes a safe folder of a pickle that you trust."
        )
    if not place.is_dir():
        raise CheckpointError(f"{place} is a file: give the folder that holds {TENSORS}, {CONFIG} and {MANIFEST}.")
    if not (place / MANIFEST).exists():
        if found := [name for name in (TENSORS, CONFIG) if (place / name).exists()]:
            raise DamagedError(f"{place} is incomplete: {MANIFEST} is missing beside {' and '.join(found)}.")
        raise CheckpointError(f"{place} is no checkpoint: it holds no {MANIFEST}.")


def _pickle(place: Path) -> Path | None:
    """The file at `place`, or in it if it is no checkpoint of ours, that looks like a pickle or a torch archive."""
    if place.is_dir():
        if (place / MANIFEST).exists():
            return None
        return next((file for file in sorted(place.rglob("*")) if file.suffix in _PICKLES), None)
    with place.open("rb") as file:
        start = file.read(4)
    archive, pickle = start == b"PK\x03\x04", start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5")
    return place if archive or pickle or place.suffix in _PICKLES else None


def _digests(place: Path) -> dict[str, str]:
    """The manifest's SHA-256 by file. It needs no hash of its own: no byte of it can differ and be accepted here."""
    content = _read(place / MANIFEST)
    damaged = DamagedError(f"{place / MANIFEST} is damaged. {_again(place)}")
    try:
        manifest = json.loads(content)
        version, digests = int(manifest["format"]), dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise damaged from error
    if version > FORMAT:
        raise CheckpointError(
            f"{place} was written by a newer ossicle (format {version}; this one reads up to {FORMAT}): update ossicle."
        )
    if content != _manifest(digests) or set(digests) != {TENSORS, CONFIG}:
        raise damaged
    return digests


def _checked(place: Path, digests: Mapping[str, str]) -> dict[str, bytes]:
    files = {name: _read(place / name) for name in digests}
    if wrong := [name for name, content in files.items() if digest(content) != digests[name]]:
        raise DamagedError(
            f"{' and '.join(str(place / name) for name in wrong)} differs from its SHA-256 in {MANIFEST}: "
            f"cut short, or changed since it was written. {_again(place)}"
        )
    return files


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"{path} is missing. {_again(path.parent)}") from error
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror or error}. {_again(path.parent)}") from error


def _again(place: Path) -> str:
    return f"Fetch {place.name} again, or make it anew."


def _unpack(content: bytes, place: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load as unpack
    except ImportError as error:
        raise CheckpointError(_NO_SAFETENSORS) from error
    try:
        return unpack(content)
    except SafetensorError as error:
        raise DamagedError(f"{place / TENSORS} is not in the safetensors format: {error}.") from error
