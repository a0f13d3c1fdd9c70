"""The machine a run works on: how many threads it gives, and whether bfloat16 pays on it. Measured once, then kept."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ossicle
from ossicle.run import Run, is_run


def settle(folder: str | Path, precision: str, encoder: nn.Module, image: Tensor) -> dict[str, Any]:
    """The environment for a run: a folder that has a run keeps its threads and precision, a new one takes what is best
    here.

    `image` (B, M, F, N) is an example for measuring what "auto" should be. Sets torch's number of threads.
    """
    if is_run(folder):
        kept = Run.open(folder).environment
        threads, chosen = int(kept["threads"]), str(kept["precision"])
    else:
        threads = torch.get_num_threads()
        chosen = fastest_precision(encoder, image) if precision == "auto" else precision
    torch.set_num_threads(threads)
    return describe() | {"threads": threads, "precision": chosen}


def describe() -> dict[str, Any]:
    """What else decides the last bits of a result: versions and the processor."""
    versions = {"ossicle": ossicle.__version__, "torch": torch.__version__, "numpy": np.__version__}
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return versions | {"python": platform.python_version(), "machine": f"{platform.system()} {processor}"}


def fastest_precision(encoder: nn.Module, image: Tensor, *, gain: float = 1.2) -> str:
    """The faster of bf16 autocast and float32 for a training step of the encoder; bf16 has to gain a factor `gain`."""
    image = image.contiguous(memory_format=torch.channels_last)
    taken = {name: _step_seconds(encoder, image, autocast=name == "bf16") for name in ("bf16", "fp32")}
    return "bf16" if taken["fp32"] >= gain * taken["bf16"] else "fp32"


def _step_seconds(encoder: nn.Module, image: Tensor, *, autocast: bool, trials: int = 3) -> float:
    """The least time of a forward and backward pass, the first one left out."""
    taken = []
    for _ in range(trials):
        began = time.perf_counter()
        with torch.autocast(image.device.type, torch.bfloat16, enabled=autocast):
            feature = encoder(image)
        feature.float().sum().backward()
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
