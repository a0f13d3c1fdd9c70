from __future__ import annotations

import os
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from ossicle.deploy.faults import Fault, Lost
from ossicle.deploy.mic import Microphone, MicrophoneError
from ossicle.deploy.watch import Clocks, Pipe, Watch

RATE = 16000


class Time:
    """Clocks that stand still until they are told to go on."""

    def __init__(self):
        self.now, self.apart = 100.0, 1_700_000_000.0

    def watch(self, rate=RATE, **how):
        faults = []
        clocks = Clocks(lambda: self.now, lambda: self.now + self.apart)
        return Watch(rate, faults.append, clocks=clocks, **how), faults

    def source(self, *steps):
        """Each step: (seconds until it comes, a block or the number of its samples)."""
        for seconds, block in steps:
            self.now += seconds
            yield block if isinstance(block, Lost) else np.zeros((1, block), np.float32)


def test_a_source_that_keeps_time_has_no_faults():
    clock = Time()
    watch, faults = clock.watch()
    assert len(list(watch.watched(clock.source(*[(0.1, RATE // 10)] * 600)))) == 600
    assert faults == []


@pytest.mark.parametrize("true_rate", [8000, 22050, 44100, 48000])
def test_a_rate_that_is_not_the_promised_one_is_told_once(true_rate):
    clock = Time()
    watch, faults = clock.watch()
    list(watch.watched(clock.source(*[(0.1, true_rate // 10)] * 500)))
    (fault,) = faults
    assert (fault.kind, fault.samples, fault.measure) == ("rate", RATE, true_rate)
    assert f"{true_rate} samples a second" in str(fault)


def test_a_file_in_a_pipe_is_no_wrong_rate():
    """The source is never waited for: how fast it comes is how fast it is heard."""
    clock = Time()
    watch, faults = clock.watch()
    for block in watch.watched(clock.source(*[(0.0, RATE // 10)] * 2000)):
        clock.now += block.shape[1] / 48000
    assert faults == []


def test_a_stall_is_told_while_it_lasts_and_whole_when_it_is_over():
    clock = Time()
    watch, faults = clock.watch(patience=5)
    blocks = watch.watched(clock.source((0.1, RATE), (30.0, RATE), (0.1, RATE)))
    next(blocks)
    for waited in (4.9, 5.0, 10.0):
        watch.waiting(waited)
    assert [(fault.kind, fault.start, fault.ongoing) for fault in faults] == [("stall", 1.0, True)]
    list(blocks)
    assert faults[1:] == [Fault(1.0, 1.0, 0, "stall", 30.0)]


@pytest.mark.parametrize("jump", [3600.0, -7200.0, 1_700_000_000.0, 1.0])
def test_a_clock_that_jumps_is_told_and_moves_nothing_but_the_time_shown(jump):
    clock = Time()
    watch, faults = clock.watch()
    blocks = watch.watched(clock.source(*[(1.0, RATE)] * 4))
    next(blocks), next(blocks)
    before = watch.time(1.5)
    clock.apart += jump
    list(blocks)
    assert faults == [Fault(3.0, 3.0, 0, "clock", jump)]
    assert (watch.time(1.5) - before).total_seconds() == pytest.approx(jump)


def test_a_clock_that_is_slowly_set_right_is_no_fault():
    clock = Time()
    watch, faults = clock.watch()
    for _ in watch.watched(clock.source(*[(0.1, RATE // 10)] * 1000)):
        clock.apart += 0.005
    assert faults == []


def test_a_pipe_that_is_silent_is_told_before_it_speaks_again():
    read, write = os.pipe()
    faults = []
    watch = Watch(RATE, faults.append, patience=0.05)
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb", buffering=0) as writer:
        late = threading.Timer(0.3, writer.write, [b"late"])
        late.start()
        assert Pipe(reader, watch).read(100) == b"late"
        late.join()
        writer.close()
        assert Pipe(reader, watch).read(100) == b""
    assert [(fault.kind, fault.ongoing) for fault in faults] == [("stall", True)]


# -- a microphone, played by a module that stands in sounddevice's place -----------------------------------------------


class Device(ModuleType):
    """What of sounddevice is used. `plan`: what each opening of a stream does: an error, or the calls it makes."""

    class PortAudioError(Exception):
        pass

    def __init__(self, plan):
        super().__init__("sounddevice")
        self.plan, self.opened, self.restarts = list(plan), [], 0

    def query_devices(self, name=None, kind=None):
        devices = [{"name": "Desk mic", "max_input_channels": 1, "default_samplerate": 44100.0}]
        if kind is None:
            return [*devices, {"name": "Speaker", "max_input_channels": 0, "default_samplerate": 48000.0}]
        if name and name not in devices[0]["name"]:
            raise ValueError(f"No input device matching {name!r}")
        return devices[0]

    def InputStream(self, **how):
        device = self

        class Stream:
            def start(self):
                device.opened.append(how)
                turn = device.plan.pop(0) if device.plan else []
                if isinstance(turn, Exception):
                    raise turn
                for samples, stamp, overflow in turn:
                    block = np.full((samples, how["channels"]), 0.5, np.float32)
                    when = SimpleNamespace(inputBufferAdcTime=stamp)
                    how["callback"](block, samples, when, SimpleNamespace(input_overflow=overflow))
                    block[:] = np.nan  # sounddevice's buffer is not ours to keep

            def close(self):
                pass

        return Stream()

    def _terminate(self):
        self.restarts += 1

    def _initialize(self):
        pass


@pytest.fixture
def device(monkeypatch):
    def put(*plan):
        made = Device(plan)
        monkeypatch.setitem(sys.modules, "sounddevice", made)
        return made

    return put


def take(microphone, count, patience=0.05):
    faults = []
    blocks = microphone.blocks(Watch(microphone.rate, faults.append, patience=patience))
    return [next(blocks) for _ in range(count)], faults


def test_a_microphone_is_heard_at_its_own_rate(device):
    there = device([(4410, 1.0, False), (4410, 1.1, False)])
    microphone = Microphone("Desk")
    (one, other), faults = take(microphone, 2)
    assert microphone.rate == 44100
    assert there.opened[0]["device"] == "Desk"
    assert one.shape == other.shape == (1, 4410)
    assert (one == 0.5).all()
    assert faults == []


def test_what_finds_the_queue_full_is_counted(device):
    device([(1600, 1 + n / 10, False) for n in range(10)])
    microphone = Microphone(rate=RATE, seconds=0.3)
    blocks = microphone.blocks(Watch(RATE, print))
    assert [next(blocks).shape for _ in range(3)] == [(1, 1600)] * 3
    microphone._hear(Watch(RATE, print), np.zeros((1600, 1), np.float32), SimpleNamespace(inputBufferAdcTime=2.0), None)
    assert next(blocks) == Lost(7 * 1600, "dropped")
    assert next(blocks).shape == (1, 1600)


@pytest.mark.parametrize("stamps", [True, False])
def test_what_the_driver_lost_is_told_by_its_clock(device, stamps):
    device([(1600, 1.0 * stamps, False), (1600, 1.35 * stamps, True)])
    (_, lost, _), _ = take(Microphone(rate=RATE), 3)
    assert lost == Lost(4000 if stamps else 0)


def test_an_unplugged_microphone_is_looked_for_again_and_the_time_without_it_is_a_gap(device):
    there = device([(1600, 0.0, False)], Device.PortAudioError("gone"), [(1600, 0.0, False)])
    began = time.monotonic()
    (first, lost, second), faults = take(Microphone(rate=RATE), 3)
    assert first.shape == second.shape == (1, 1600)
    assert there.restarts == 2
    away = time.monotonic() - began
    assert lost.kind == "gap"
    assert 0.9 < lost.samples / RATE + 0.1 <= away
    assert [(fault.kind, fault.ongoing) for fault in faults] == [("stall", True)]


def test_a_start_of_portaudio_that_fails_is_not_the_last(device, monkeypatch):
    """As the real one does, the made-up library ends no more than it has begun."""
    there = device([(1600, 0.0, False)], [(1600, 0.0, False)])
    begun, starts = [True], iter([False, True])

    def terminate():
        if not begun.pop():
            raise there.PortAudioError("PortAudio not initialized")

    def initialize():
        begun.append(next(starts))
        if not begun[-1]:
            raise there.PortAudioError("no sound system yet")

    monkeypatch.setattr(there, "_terminate", terminate)
    monkeypatch.setattr(there, "_initialize", initialize)
    (_, lost, _), _ = take(Microphone(rate=RATE), 3)
    assert lost.kind == "gap"


def test_a_microphone_that_is_not_there_is_told_with_those_that_are(device):
    device()
    with pytest.raises(MicrophoneError, match=r"'Loft' cannot be opened.*there are: Desk mic\."):
        Microphone("Loft")
    device(Device.PortAudioError("permission denied"))
    with pytest.raises(MicrophoneError, match="permission denied"):
        take(Microphone(), 1)
