"""Published weights -> a model's folder to begin from: `ossicle convert FILE -o runs/imagenet`. Opens torch files.

It is the only place that does, and only for their tensors: a file that asks for more when it is opened is refused.

What loads:

- ResNet-18, -34 and -50 and DenseNet-121, -161, -169 and -201 with torchvision's keys, which timm's models of these
  names have too, on images of 3 maps (ImageNet's colors). `fc` or `classifier` is left out. DenseNets may have the keys
  of the first torchvision files (`norm.1` for `norm1`), and `num_batches_tracked` may be missing everywhere.
- ResNet-18, VGG and CRNN of uclser20 (Fonseca et al. 2021, "Unsupervised contrastive learning of sound event
  representations"), with their front end. Kernels are turned from time x frequency to frequency x time. The statistics
  of the first normalization are brought to images of deviation 1 (`Layout.of_unit_images`). Their ResNet-18 is told
  from ImageNet's by a first convolution of one map.
- VGGish as ported to torch (`torchvggish`), with its front end, for images whose mean and deviation are left as they
  are. The port's own ReLU on embeddings is not ours, and `pproc`, which whitens and quantizes them, is left out.
- from .safetensors, .pth, .pt and .bin, told apart by content, or a folder that holds one of them, or `owner/name` on
  the hub (with `ossicle[hub]`);
- as the file's only content or below `state_dict`, `model` or the like, with or without `module.`, `backbone.` or
  `encoder.` in front. What stands beside such a part is left out, with a note.

Later layouts are rows of `ossicle.layouts.LAYOUTS`.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ossicle import checkpoint
from ossicle.durable import write_json
from ossicle.layouts import LAYOUTS, Layout
from ossicle.model import Backbone
from ossicle.recipe import Spec

NAMES = ("model.safetensors", "pytorch_model.bin")  # what folders and repositories call their weights
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
HOLDERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")
PREFIXES = ("module.", "model.", "backbone.", "encoder.")
COUNTER = ".num_batches_tracked"
SHOWN = 3  # names in a sentence


class ConvertError(ValueError):
    """Weights that cannot be taken over; the message says why and what to do."""


@dataclass(frozen=True)
class Converted:
    """What came of a file: the layout it has, where it came from, and what was left out or made up, in sentences."""

    origin: Mapping[str, Any]
    parameters: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        told = f"{self.origin['layout']} from {self.origin['file']}: {self.parameters:,} parameters"
        return "\n".join([told, *(f"note: {note}" for note in self.notes)])


def convert(source: str | Path, out: str | Path, *, first_map: bool = False) -> Converted:
    """Writes the weights in a file, a folder or `owner/name` of the hub as the folder of a Backbone.

    Its front end is the layout's (ESResNet's bands for ImageNet's), its normalization still open: no file holds it, and
    the first stage of a training from it fits that on the training clips; but VGGish wants none. `heard.json` beside it
    says that it heard no sound; where it did, there is none, and runs from it are stamped "unknown". The config's
    `origin` tells file, bytes, SHA-256 and layout. `first_map` keeps of the first convolution what it makes of the
    first map (ImageNet's red), as fastai_audio does, behind a log-mel; without it a training on images of one map sums
    all.
    ConvertError where the file is no weights, damaged, or of no layout known here; CheckpointError where the folder
    cannot be written.
    """
    path = find(source)
    origin = _identify(path)
    tensors, notes = unpack(read(path), path)
    layout = recognize(tensors, path)
    state = fitted(tensors, layout, path)
    unit = layout.of_unit_images(state)
    kept = _first_map(state, layout, path) if first_map else {}
    model = Backbone(Spec("logmel") if kept else layout.frontend, layout.encoder)
    model.encoder.load_state_dict(state | unit | kept)
    model.as_is = layout.as_is
    left = sorted({name.partition(".")[0] for name in tensors if name.startswith(layout.beside)})
    notes += [f"{name} is left out: {_why(name)}" for name in left]
    notes += [_spread(layout)] if unit else []
    notes += [f"of {name} only the first map's part is kept, for images of one" for name in kept]
    origin |= {"layout": layout.name} | ({"maps": "first"} if kept else {})
    model.save(out, origin=origin)
    _tell_heard(Path(out) / "heard.json", layout)
    return Converted(origin, sum(each.numel() for each in model.encoder.parameters()), tuple(notes))


def _first_map(state: Mapping[str, Tensor], layout: Layout, path: Path) -> dict[str, Tensor]:
    stem = next(iter(layout.shapes))
    if state[stem].shape[1] == 1:
        raise ConvertError(f"{path} is {layout.name}, for images of one map: there is no first one to choose")
    return {stem: state[stem][:, :1]}


def _why(name: str) -> str:
    return "it comes after the embedding" if name == "pproc" else "it knows classes of its own"


def _spread(layout: Layout) -> str:
    return (
        f"{' and '.join(layout.statistics)} are of images whose deviation is about {layout.spread:,.0f} and not 1, and "
        "brought to 1"
    )


def _tell_heard(place: Path, layout: Layout) -> None:
    """What a file that stood there told of other weights goes."""
    if layout.silent:
        write_json(place, [])
    else:
        place.unlink(missing_ok=True)


def find(source: str | Path) -> Path:
    """The file of weights that is meant by a path, a folder or `owner/name`."""
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        if (path / checkpoint.MANIFEST).exists():
            raise ConvertError(f"{path} is a model of ossicle's own: start from it as it is")
        held = [path / name for name in NAMES if (path / name).is_file()]
        held = held or sorted(item for item in path.iterdir() if item.suffix in SUFFIXES)
        if len(held) == 1 or (held and held[0].name in NAMES):
            return held[0]
        found = f"{len(held)} of them: give one" if held else "none: give a file"
        raise ConvertError(f"{path} is a folder, wanted one file that ends in {_listed(SUFFIXES)}; it holds {found}")
    if path.suffix not in SUFFIXES and re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)):
        return _fetch(str(source))
    raise ConvertError(f"there is no {source}: give a file of weights, or owner/name of a repository on the hub")


def _fetch(name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{name} is no file here, and the hub needs an extra: pip install 'ossicle[hub]'", name="huggingface_hub"
        ) from None
    for file in NAMES:
        try:
            return Path(hf_hub_download(name, file))
        except (OSError, ValueError, EntryNotFoundError) as error:
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            raise ConvertError(f"{name} cannot be had from the hub: {str(error).splitlines()[0]}") from error
    raise ConvertError(f"{name} on the hub holds neither {' nor '.join(NAMES)}")


def _identify(path: Path) -> dict[str, Any]:
    """File, bytes and SHA-256, held to the first digits of it in a name like `resnet50-0676ba61.pth`."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    promised = re.fullmatch(r".*-([0-9a-f]{8})", path.stem)
    if promised and not sha256.startswith(promised[1]):
        raise ConvertError(
            f"{path}: its name promises a SHA-256 of {promised[1]}..., and it is {sha256[:8]}...: cut short or changed "
            "on the way. Fetch it again"
        )
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256}


def read(path: Path) -> Any:
    """What a file holds, on the CPU: tensors by name, or a tree with such in it. Runs no code of the file's."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        return _read_torch(path)
    if start[8:] != b"{":
        pointer = " (a pointer of Git LFS: git lfs pull)" if start == b"version h" else ""
        raise ConvertError(f"{path} is no file of weights, safetensors or torch: it begins with {start!r}{pointer}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConvertError(f"{path} is not whole, or not safetensors: {error}. Fetch it again") from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle's protocol: what cannot be read is told below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch and pickle make of a broken file
        if asked := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise ConvertError(
                f"{path} asks for {asked[1]} when it is opened, which could run any code, so it is not opened. If you "
                "trust it, write its state_dict() to a file of its own"
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConvertError(f"{path} is damaged, or no torch file of tensors: {reason}. Fetch it again") from error


def unpack(found: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by name, taken out of what holds them and freed of what their names all begin with; and notes."""
    found, notes = _innermost(found), []
    if not isinstance(found, Mapping) or not found:
        raise ConvertError(f"{path} holds a {type(found).__name__}, and tensors by name were wanted")
    if odd := [name for name, value in found.items() if not isinstance(value, Tensor)]:
        raise ConvertError(f"{path}: {odd[0]} is a {type(found[odd[0]]).__name__}, and tensors by name were wanted")
    tensors = {str(name): value for name, value in found.items()}
    while prefix := next((one for one in PREFIXES if any(name.startswith(one) for name in tensors)), None):
        inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if beside := [name for name in tensors if not name.startswith(prefix)]:
            notes.append(f"{_listed(beside)} stand beside {prefix}* and are left out")
        tensors = inside
    return tensors, notes


def _innermost(found: Any) -> Any:
    """What a tree of mappings holds at the end of the names that weights usually go by."""
    held = [found[name] for name in HOLDERS if name in found] if isinstance(found, Mapping) else []
    return _innermost(held[0]) if held and isinstance(held[0], Mapping) else found


def recognize(tensors: Mapping[str, Tensor], path: Path) -> Layout:
    """The layout that most of the tensors fit, and of several the smallest."""
    best = max(LAYOUTS, key=lambda layout: (layout.fit(tensors), -len(layout.shapes)))
    if 2 * best.fit(tensors) > len(best.shapes):
        return best
    raise ConvertError(
        f"{path} has no layout that is known here: {', '.join(each.name for each in LAYOUTS)}. Its first tensors: "
        f"{_listed(f'{name} {tuple(value.shape)}' for name, value in tensors.items())}"
    )


def fitted(tensors: Mapping[str, Tensor], layout: Layout, path: Path) -> dict[str, Tensor]:
    """The state of the layout's encoder, every tensor there, of the right shape, and finite."""
    ours = layout.rename(tensors)
    optional = {name: torch.zeros((), dtype=torch.long) for name in layout.shapes if name.endswith(COUNTER)}
    state = optional | ours
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    wrong = [name for name, shape in layout.shapes.items() if shapes.get(name, shape) != shape]
    complaints = {
        "lacks {}": [name for name in layout.shapes if name not in shapes],
        "has {} beyond it": [name for name in shapes if name not in layout.shapes],
        "has other shapes: {}": [f"{name} {shapes[name]} where {layout.shapes[name]} was wanted" for name in wrong],
        "has numbers that are not finite in {}": [name for name, value in state.items() if not value.isfinite().all()],
    }
    for sentence, names in complaints.items():
        if names:
            raise ConvertError(f"{path} looks like {layout.name} and {sentence.format(_listed(names))}")
    return state


def _listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
