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
_TICK = 1.0  # seconds between two looks at who is silent

Outcome = tuple[int, dict[str, Any]]


class Worker:
    """One child process: the `job` (number of a request) that it is at, and how many seconds it has been `silent`."""

    def __init__(self, memory: int, command: Sequence[str] = ()):
        self.noise = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed in `end`
        self.job: int | None = None
        self.ready = False
        self.silent = 0.0
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
        self.job, self.silent = job, 0.0
        self.noise.truncate(0)
        with contextlib.suppress(BrokenPipeError):
            self.asks.write(json.dumps(request).encode() + b"\n")
            self.asks.flush()

    def listen(self) -> list[dict[str, Any]] | None:
        """The messages that have come, or None if it is dead."""
        piece = os.read(self.tells.fileno(), 1 << 16)
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        self.silent = 0.0
        return [json.loads(line) for line in lines] if piece else None

    def end(self, *, kill: bool = False) -> str:
        """Waits for it to leave, or kills it -> how it ended, as a sentence."""
        code = None
        if not kill:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.process.wait(timeout=1.0)
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


class Crew:
    """Workers, and the requests that wait for one."""

    def __init__(self, requests: Sequence[dict[str, Any]], patience: float, memory: int, command: Sequence[str]):
        self.waiting = deque(enumerate(requests))
        self.patience, self.memory, self.command = patience, memory, command
        self.workers: set[Worker] = set()
        self.selector = selectors.DefaultSelector()

    def hire(self) -> None:
        """Another worker, if there is work."""
        if self.waiting:
            worker = Worker(self.memory, self.command)
            self.workers.add(worker)
            self.selector.register(worker.tells, selectors.EVENT_READ, worker)
            worker.give(*self.waiting.popleft())

    def dismiss(self, worker: Worker, *, kill: bool = False) -> str:
        """One worker less -> how it ended."""
        self.selector.unregister(worker.tells)
        self.workers.remove(worker)
        return worker.end(kill=kill)

    def close(self) -> None:
        """Ends all that is still going on."""
        for worker in list(self.workers):
            self.dismiss(worker, kill=True)
        self.selector.close()

    def outcomes(self) -> Iterator[Outcome]:
        """What the next second brings."""
        began = time.monotonic()
        heard = [key.data for key, _ in self.selector.select(_TICK)]
        for worker in self.workers:
            # No more than a tick, whatever the clock says: nobody is silent while the machine or this process sleeps.
            worker.silent += min(_TICK, time.monotonic() - began)
        for worker in heard:
            yield from self._of(worker)
        for worker in [worker for worker in self.workers if worker.silent > self.patience]:
            yield self._lost(worker, kill=True)

    def _of(self, worker: Worker) -> Iterator[Outcome]:
        messages = worker.listen()
        if messages is None:
            yield self._lost(worker)
        for message in messages or ():
            worker.ready = True
            if worker.job is None or message.keys() & {"ready", "alive"}:
                continue
            job, worker.job = worker.job, None
            if self.waiting:
                worker.give(*self.waiting.popleft())
            else:
                worker.asks.close()
                self.dismiss(worker)
            yield job, message

    def _lost(self, worker: Worker, *, kill: bool = False) -> Outcome:
        reason = self.dismiss(worker, kill=kill) + (f" (no sign of life for {self.patience:g} s)" if kill else "")
        if not worker.ready or worker.job is None:
            raise RuntimeError(f"a decoding process did not start: {reason}")
        self.hire()
        return worker.job, {"bad": ["decode", reason]}


def answered(
    requests: Sequence[dict[str, Any]],
    *,
    workers: int,
    patience: float = PATIENCE,
    memory: int = MEMORY,
    command: Sequence[str] = (),
) -> Iterator[Outcome]:
    """(number of the request, answer) as they come, each request answered once; answers as `decode.answer` gives them.

    RuntimeError if a worker cannot even start. `command` stands in for the worker's own, in tests.
    """
    crew = Crew(requests, patience, memory, command)
    try:
        for _ in range(workers):
            crew.hire()
        while crew.workers:
            yield from crew.outcomes()
    finally:
        crew.close()
