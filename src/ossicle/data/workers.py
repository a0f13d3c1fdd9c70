"""Requests -> answers, by a few child processes that decode many files each and may die, hang or swell without harm.

They are started fresh (never forked), import no torch, run no shell, and get paths as JSON. One that dies, that says
nothing for too long, or that meets its memory limit costs the file that it was at, and is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ossicle

PATIENCE = 60.0  # seconds without a sign of life; a worker gives one after every ten seconds of sound
MEMORY = 1 << 30  # bytes beyond what a worker has after its imports


class Worker:
    """One child process. `job` is the number of the request that it is at."""

    def __init__(self, memory: int, command: Sequence[str] = ()):
        self.noise = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed in `end`
        self.job: int | None = None
        self.ready = False
        self.heard = time.monotonic()
        self._buffer = b""
        self.process = subprocess.Popen(
            [*(command or (sys.executable, "-P", "-m", "ossicle.data.decode")), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.noise,
            env=_environment(),
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.asks, self.tells = self.process.stdin, self.process.stdout

    def give(self, job: int, request: dict[str, Any]) -> None:
        """Hands over a request. A worker that died since is noticed when its answer fails to come."""
        self.job, self.heard = job, time.monotonic()
        self.noise.truncate(0)
        with contextlib.suppress(BrokenPipeError):
            self.asks.write(json.dumps(request).encode() + b"\n")
            self.asks.flush()

    def listen(self) -> list[dict[str, Any]] | None:
        """The messages that have come, or None if it is dead."""
        piece = os.read(self.tells.fileno(), 1 << 16)
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        self.heard = time.monotonic()
        return [json.loads(line) for line in lines] if piece else None

    def end(self) -> str:
        """Kills it if need be -> how it ended, as a sentence."""
        try:
            code = self.process.wait(timeout=1.0) if self.job is None else self.process.poll()
        except subprocess.TimeoutExpired:
            code = None
        self.process.kill()
        self.process.wait()
        self.noise.seek(0)
        said = self.noise.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
        self.noise.close()
        self.tells.close()
        with contextlib.suppress(BrokenPipeError):
            self.asks.close()
        return _ending(code) + (f"; it last said: {said[-1]}" if said else "")


def _environment() -> dict[str, str]:
    """One thread a worker; and the ossicle that runs here, wherever that was imported from."""
    home = str(Path(ossicle.__file__).parents[1])
    known = os.environ.get("PYTHONPATH")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": f"{home}{os.pathsep}{known}" if known else home}


def _ending(code: int | None) -> str:
    if code is None:
        return "its decoder hung"
    if code >= 0:
        return f"its decoder left with status {code}"
    name = signal.Signals(-code).name
    return f"its decoder crashed ({name}{', perhaps for want of memory' if name == 'SIGKILL' else ''})"


def answered(
    requests: Sequence[dict[str, Any]],
    *,
    workers: int,
    patience: float = PATIENCE,
    memory: int = MEMORY,
    command: Sequence[str] = (),
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the request, answer) as they come, each request answered once; answers as `decode.answer` gives them.

    RuntimeError if a worker cannot even start. `command` stands in for the worker's own, in tests.
    """
    waiting = deque(enumerate(requests))
    crew: set[Worker] = set()
    selector = selectors.DefaultSelector()

    def hire() -> None:
        worker = Worker(memory, command)
        crew.add(worker)
        selector.register(worker.tells, selectors.EVENT_READ, worker)
        worker.give(*waiting.popleft())

    def dismiss(worker: Worker) -> str:
        selector.unregister(worker.tells)
        crew.remove(worker)
        return worker.end()

    def lost(worker: Worker) -> tuple[int, dict[str, Any]]:
        job, silent = worker.job, time.monotonic() - worker.heard
        reason = dismiss(worker)
        if not worker.ready:
            raise RuntimeError(f"a decoding process did not start: {reason}")
        assert job is not None
        if waiting:
            hire()
        hung = f" (no sign of life for {silent:.0f} s)" if "hung" in reason else ""
        return job, {"bad": ["decode", reason + hung]}

    try:
        for _ in range(min(workers, len(waiting))):
            hire()
        while crew:
            soonest = min(worker.heard for worker in crew) + patience
            events = selector.select(max(0.0, soonest - time.monotonic()))
            for worker in (key.data for key, _ in events):
                messages = worker.listen()
                if messages is None:
                    yield lost(worker)
                for message in messages or ():
                    worker.ready = True
                    if message.keys() & {"ready", "alive"}:
                        continue
                    yield worker.job, message
                    worker.job = None
                    if waiting:
                        worker.give(*waiting.popleft())
                    else:
                        worker.asks.close()
                        dismiss(worker)
            for worker in [worker for worker in crew if time.monotonic() > worker.heard + patience]:
                yield lost(worker)
    finally:
        for worker in list(crew):
            dismiss(worker)
        selector.close()
