from __future__ import annotations

import io
import os
import signal
import threading

import numpy as np
import pytest

from ossicle.deploy.bundle import load
from ossicle.deploy.ending import until_stopped
from ossicle.deploy.formats import FORMATS
from ossicle.deploy.listen import listen
from ossicle.deploy.output import Output

from .conftest import RATE

BLOCK = np.zeros((1, 10), np.float32)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_worked_on_when_it_is_asked_to_stop_is_told(loudness, number):
    """The signal comes while the model works, where a slow machine is most of the time."""
    recognizer, lines = load(loudness), []
    scores = recognizer.scores

    def interrupted(wave):
        os.kill(os.getpid(), number)
        return scores(wave)

    recognizer.scores = interrupted
    before = signal.getsignal(number)
    samples = np.full(10 * RATE, 0.9 * 2**15).astype("<i2").tobytes()
    assert listen(recognizer, ["-"], Output(FORMATS["csv"], lines.append), pipe=io.BytesIO(samples)) == 1
    assert [line.split(",")[1:4] for line in lines[1:]] == [["loud", "0.000", "0.100"]]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_waited_for_is_waited_for_no_longer(number):
    def silent():
        yield BLOCK
        threading.Timer(0.1, os.kill, [os.getpid(), number]).start()
        threading.Event().wait(30)
        yield BLOCK

    assert len(list(until_stopped(silent()))) == 1


def test_asked_twice_it_stops_at_once():
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for _ in until_stopped([BLOCK] * 3):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_what_the_process_was_started_to_ignore_stays_ignored():
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        heard = [os.kill(os.getpid(), signal.SIGINT) for _ in until_stopped([BLOCK] * 3)]
    finally:
        signal.signal(signal.SIGINT, kept)
    assert len(heard) == 3
