"""What comes live ends by Ctrl-C or SIGTERM as by its being switched off: what was heard until then is told whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ossicle.deploy.faults import Lost

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def until_stopped(blocks: Iterable[np.ndarray | Lost]) -> Iterator[np.ndarray | Lost]:
    """The blocks until the process is asked to stop: at once while one is waited for, else behind the one worked on.

    Asked a second time while it works, it stops as Python does. Signals are seen in a process's main thread alone.
    """
    stop, blocks = _Stop(), iter(blocks)
    with stop:
        while True:
            try:
                stop.waiting = True
                if stop.asked:
                    return
                block = next(blocks)
                stop.waiting = False
            except (KeyboardInterrupt, StopIteration):
                return
            yield block


class _Stop:
    """Stands in for the handlers of Ctrl-C and SIGTERM."""

    def __init__(self) -> None:
        self.asked = self.waiting = False
        self._kept: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._kept = {number: signal.signal(number, self._ask) for number in heeded}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._kept.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        if self.waiting or self.asked:
            raise KeyboardInterrupt
        self.asked = True
