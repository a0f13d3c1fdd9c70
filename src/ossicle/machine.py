"""The machine a run works on: how many threads it gives, and whether bfloat16 pays on it. Measured once, then kept."""

from __future__ import annotations

import ctypes
import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ossicle
from ossicle.run import Run, is_run

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of <malloc.h>


def settle(folder: str | Path, precision: str, encoder: nn.Module, image: Tensor) -> dict[str, Any]:
    """The environment for a run: a folder that has a run keeps its threads and precision, a new one takes what is best
    here.

    `image` (B, M, F, N) is an example for measuring what "auto" should be. Sets torch's number of
    threads, and keeps memory.
    """
    if is_run(folder):
        kept = Run.open(folder).environment
        threads, chosen = int(kept["threads"]), str(kept["precision"])
    else:
        threads = torch.get_num_threads()
        chosen = fastest_precision(encoder, image) if precision == "auto" else precision
    torch.set_num_threads(threads)
    keep_memory()
    return describe() | {"threads": threads, "precision": chosen}


def keep_memory() -> bool:
    """Lets this process keep memory that it frees for its next step, instead of giving it back and asking again: under
    glibc the pages of each large tensor are otherwise made anew, an eighth of a ResNet-18's step on 128 x 300 images.
    False where the C library has no such setting.
    """
    try:
        change = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    never_mapped = change(_MMAP_MAX, 0)
    return bool(never_mapped and change(_TRIM_THRESHOLD, 2**31 - 1))


def device() -> torch.device:
    """Where to learn: the first CUDA device that this process sees, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe() -> dict[str, Any]:
    """What else decides the last bits of a result: versions and the processor."""
    versions = {"ossicle": ossicle.__version__, "torch": torch.__version__, "numpy": np.__version__}
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    learns = {"device": torch.cuda.get_device_name()} if device().type == "cuda" else {}
    return versions | {"python": platform.python_version(), "machine": f"{platform.system()} {processor}"} | learns


def fastest_precision(encoder: nn.Module, image: Tensor, *, gain: float = 1.2) -> str:
    """The faster of bf16 autocast and float32 for a training step of the encoder; bf16 has to gain a factor `gain`, to
    give the same finite gradient each time, and to keep away from images that are `too_narrow` for it.
    """
    if too_narrow(encoder, image):
        return "fp32"
    image = image.contiguous(memory_format=torch.channels_last)
    taken = {name: [_step(encoder, image, autocast=name == "bf16") for _ in range(3)] for name in ("bf16", "fp32")}
    seconds = {name: min(second for second, _ in trials[1:]) for name, trials in taken.items()}
    sound = alike([gradient for _, gradient in taken["bf16"]])
    return "bf16" if sound and seconds["fp32"] >= gain * seconds["bf16"] else "fp32"


@torch.no_grad()
def too_narrow(encoder: nn.Module, image: Tensor) -> bool:
    """Whether a convolution with a stride is given less than three rows or columns: in bf16, on processors with AMX,
    oneDNN's then reads memory that nobody wrote (seen with torch 2.13), and a loss is NaN by chance.
    """
    seen: list[bool] = []

    def look(layer: nn.Conv2d, given: tuple[Tensor]) -> None:
        seen.append(max(layer.stride) > 1 and min(given[0].shape[-2:]) < 3)

    watched = [layer.register_forward_pre_hook(look) for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    encoder(image)
    for each in watched:
        each.remove()
    return any(seen)


def alike(values: Sequence[float]) -> bool:
    """Whether all are finite and within a thousandth of each other."""
    return all(math.isclose(value, values[0], rel_tol=1e-3) and math.isfinite(value) for value in values)


def _step(encoder: nn.Module, image: Tensor, *, autocast: bool) -> tuple[float, float]:
    """The time of a forward and backward pass, and the gradient's norm; what is dropped is the same each time."""
    encoder.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        began = time.perf_counter()
        with torch.autocast(image.device.type, torch.bfloat16, enabled=autocast):
            feature = encoder(image)
        feature.float().square().sum().backward()
        taken = time.perf_counter() - began
    norm = nn.utils.get_total_norm([p.grad for p in encoder.parameters() if p.grad is not None])
    return taken, float(norm)
