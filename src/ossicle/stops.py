"""What stops a run: Ctrl-C, between two steps, and values that are not finite, before they do harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says where it stopped and what to try."""


class Interrupted(KeyboardInterrupt):
    """Stopped by the user; the same command goes on from there."""


def first_odd(objective: nn.Module, batch: Batch, draws: Draw) -> str:
    """The first module, in order of work, whose output is not finite; else the backward pass."""
    odd: list[str] = []

    def look(name: str) -> Any:
        def hook(module: nn.Module, given: Any, made: Any) -> None:
            if isinstance(made, Tensor) and not bool(made.isfinite().all()):
                odd.append(f"{name} ({type(module).__name__})")

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in objective.named_modules() if name]
    with torch.no_grad():
        objective(batch, draws)
    for hook in hooks:
        hook.remove()
    return odd[0] if odd else "the loss or the backward pass"


@contextmanager
def interrupt_deferred() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set a flag that is read between steps; a second Ctrl-C stops at once."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def ask(number: int, frame: Any) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    kept = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
