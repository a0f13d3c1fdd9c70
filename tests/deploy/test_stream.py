from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from ossicle import audio
from ossicle.audio.waves import IMPLAUSIBLE
from ossicle.deploy.faults import KINDS, Fault, Lost
from ossicle.deploy.stream import Stream


def echo(wave):
    """A recognizer whose feature is what it was given, so that equal features mean equal windows, bit for bit."""
    return np.abs(wave).mean(axis=2), wave.reshape(len(wave), -1).copy()


def sound(length, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, length)).astype(np.float32)


def cut(wave, sizes):
    """The wave in chunks of these sizes, over and over, until it ends."""
    start, turn = 0, 0
    while start < wave.shape[1]:
        stop = start + sizes[turn % len(sizes)]
        yield wave[:, start:stop]
        start, turn = stop, turn + 1


def offline(wave, *, window, hop, sample_rate, source_rate, policy="repeat"):
    """What the stream has to equal: the whole recording converted, then cut as `audio` says."""
    if source_rate != sample_rate:
        wave = soxr.resample(np.ascontiguousarray(wave.T), source_rate, sample_rate).T
    length = wave.shape[1]
    starts = audio.window_starts(length, window, hop) if length else []
    pieces = [audio.fit(wave[:, start : start + window], window, policy=policy) for start in starts]
    return starts, length, pieces


@settings(max_examples=120, deadline=None)
@given(
    length=st.integers(0, 700),
    window=st.integers(1, 150),
    hop=st.integers(1, 200),
    source_rate=st.sampled_from([8000, 8000, 11025, 16000, 44100]),
    channels=st.sampled_from([1, 2]),
    policy=st.sampled_from(["repeat", "zero"]),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_any_chunks_give_the_windows_of_the_whole_recording(length, window, hop, source_rate, channels, policy, sizes):
    wave = sound(length, channels)
    rates = {"sample_rate": 8000, "source_rate": source_rate}
    starts, total, pieces = offline(wave, window=window, hop=hop, policy=policy, **rates)
    stream = Stream(echo, window=window, hop=hop, channels=channels, policy=policy, **rates)
    heard = list(stream.listen(cut(wave, sizes)))
    assert [w.start for w in heard] == [start / 8000 for start in starts]
    assert [w.stop for w in heard] == [min(start + window, total) / 8000 for start in starts]
    for got, wanted in zip(heard, pieces, strict=True):
        np.testing.assert_array_equal(got.feature, wanted.ravel())


@pytest.mark.parametrize("source_rate", [22050, 48000])
def test_one_sample_at_a_time_is_the_same(source_rate):
    wave = sound(9000)
    lengths = {"window": 1000, "hop": 300, "sample_rate": 22050, "source_rate": source_rate}
    whole, single = (list(Stream(echo, **lengths).listen(cut(wave, [size]))) for size in (9000, 1))
    assert len(whole) > 5
    for one, other in zip(whole, single, strict=True):
        np.testing.assert_array_equal(one.score, other.score)
        np.testing.assert_array_equal(one.feature, other.feature)


def test_windows_come_as_soon_as_they_are_whole():
    stream = Stream(echo, window=100, hop=50, sample_rate=8000)
    assert stream.push(sound(99)) == []
    assert [w.start for w in stream.push(sound(1))] == [0.0]
    assert [w.start * 8000 for w in stream.push(sound(160))] == [50, 100, 150]
    assert [w.start * 8000 for w in stream.flush()] == [160]
    assert stream.flush() == []


def test_a_window_given_away_does_not_change_later():
    kept = []

    def keep(wave):
        kept.append(wave)
        return echo(wave)

    heard = list(Stream(keep, window=100, hop=100, sample_rate=8000).listen(cut(sound(1000), [100])))
    for wave, window in zip(kept, heard, strict=True):
        np.testing.assert_array_equal(wave.ravel(), window.feature)


def test_memory_does_not_grow_with_the_stream():
    stream = Stream(lambda wave: (wave[:, 0, :2], wave[:, 0, :2]), window=8000, hop=8000, sample_rate=8000)
    chunk = sound(8000)
    broken = np.where(np.arange(8000) % 4000 == 0, np.nan, chunk).astype(np.float32)
    stream.push(chunk)
    tracemalloc.start()
    for turn in range(600):
        stream.push(broken if turn % 3 == 0 else chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


BROKEN = {50: np.nan, 51: np.inf, 60: -np.inf, 61: IMPLAUSIBLE * 1.01, 4000: 1e29, 4001: np.nan}


@pytest.mark.parametrize("size", [1, 7, 1000, 6000])
@pytest.mark.parametrize("source_rate", [8000, 16000])
def test_broken_samples_become_zeros_and_are_told(size, source_rate):
    whole = sound(6000)
    mended = whole.copy()
    for at, value in BROKEN.items():
        whole[0, at], mended[0, at] = value, 0
    lengths = {"window": 400, "hop": 400, "sample_rate": 8000, "source_rate": source_rate}
    stream = Stream(echo, **lengths)
    heard, faults = [], []
    for chunk in cut(whole, [size]):
        heard += stream.push(chunk)
        faults += stream.faults()
    heard += stream.flush()
    faults += stream.faults()
    assert faults == [
        Fault(50 / source_rate, 62 / source_rate, 4),
        Fault(4000 / source_rate, 4002 / source_rate, 2),
    ]
    for got, wanted in zip(heard, Stream(echo, **lengths).listen([mended]), strict=True):
        np.testing.assert_array_equal(got.feature, wanted.feature)


def test_loud_but_possible_samples_are_left_alone():
    stream = Stream(echo, window=10, hop=10, sample_rate=8000)
    (window,) = stream.listen([np.array([5.0, -5.0] * 5)])
    assert window.score == [5.0]
    assert stream.faults() == []


def test_several_channels_are_averaged_for_a_model_that_hears_one():
    left, right = sound(100), sound(100, seed=1)
    (window,) = Stream(echo, window=100, hop=100, sample_rate=8000).listen([np.concatenate([left, right])])
    np.testing.assert_array_equal(window.feature, ((left + right) / 2).ravel())


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.zeros(10, np.int16), "divide int16 by 32768"),
        (np.zeros((3, 10)), r"shape \(3, 10\); wanted \(2, t\)"),
        (np.zeros((1, 2, 10)), r"shape \(1, 2, 10\)"),
    ],
)
def test_samples_of_another_kind_are_refused(samples, sentence):
    with pytest.raises(ValueError, match=sentence):
        Stream(echo, window=10, hop=10, sample_rate=8000, channels=2).push(samples)


@pytest.mark.parametrize("wrong", [{"hop": 0}, {"window": 2.5}, {"source_rate": 0}, {"channels": True}])
def test_impossible_lengths_are_refused(wrong):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        Stream(echo, **{"window": 10, "hop": 10, "sample_rate": 8000} | wrong)


def test_an_ended_stream_takes_no_more():
    stream = Stream(echo, window=10, hop=10, sample_rate=8000)
    stream.flush()
    with pytest.raises(ValueError, match="start another"):
        stream.push(sound(5))


# -- what the source did not give --------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    before=st.integers(0, 500),
    lost=st.integers(81, 400),
    after=st.integers(0, 500),
    source_rate=st.sampled_from([8000, 16000, 44100]),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_the_sound_on_both_sides_of_a_long_gap_is_two_recordings(before, lost, after, source_rate, sizes):
    lengths = {"window": 80, "hop": 50, "sample_rate": 8000, "source_rate": source_rate}
    lost = lost * source_rate // 8000 + 1
    first, second = sound(before), sound(after, seed=1)
    stream = Stream(echo, **lengths)
    heard = list(stream.listen([*cut(first, sizes), Lost(lost), *cut(second, sizes)]))
    wanted = [list(Stream(echo, **lengths).listen([part])) for part in (first, second)]
    shift = (before + lost) / source_rate
    assert [w.start for w in heard] == [w.start for w in wanted[0]] + [shift + w.start for w in wanted[1]]
    assert [w.anew for w in heard] == [False] * len(wanted[0]) + [True] * bool(wanted[1]) + [False] * (
        len(wanted[1]) - 1
    )
    for got, want in zip(heard, wanted[0] + wanted[1], strict=True):
        np.testing.assert_array_equal(got.feature, want.feature)
    assert stream.seconds == (before + lost + after) / source_rate
    assert Fault(before / source_rate, shift, lost, "gap") in stream.faults()


@pytest.mark.parametrize("lost", [0, 1, 57, 100])
def test_a_short_gap_is_heard_as_zeros_in_its_place_and_told(lost):
    wave = sound(1000)
    lengths = {"window": 100, "hop": 50, "sample_rate": 8000}
    stream = Stream(echo, **lengths)
    heard = list(stream.listen([wave[:, :333], Lost(lost, "dropped"), wave[:, 333:]]))
    mended = np.insert(wave, [333] * lost, 0, axis=1)
    for got, want in zip(heard, Stream(echo, **lengths).listen([mended]), strict=True):
        np.testing.assert_array_equal(got.feature, want.feature)
    assert stream.faults() == [Fault(333 / 8000, (333 + lost) / 8000, lost, "dropped")]


@settings(max_examples=30, deadline=None)
@given(
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 400)), min_size=1, max_size=6),
    value=st.sampled_from([0.0, 0.25, 1e-12]),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4),
)
def test_silence_is_told_with_its_exact_length_whatever_the_chunks(runs, value, sizes):
    """By hand: stretches of one value of 100 samples and more, and any that are all there is."""
    wave = np.concatenate([np.full(n, value) if still else sound(n)[0] for still, n in runs])[None]
    edges = np.flatnonzero(np.diff(np.where(np.abs(wave[0]) < 1e-9, 0, wave[0])) != 0) + 1
    bounds = [0, *edges.tolist(), wave.shape[1]]
    spans = list(pairwise(bounds))
    wanted = [Fault(a / 8000, b / 8000, b - a, "silence") for a, b in spans if b - a >= 100 or len(spans) == 1]
    stream = Stream(echo, window=50, hop=50, sample_rate=8000, silent_seconds=100 / 8000)
    faults = []
    for chunk in cut(wave, sizes):
        stream.push(chunk)
        faults += stream.faults()
    stream.flush()
    faults += stream.faults()
    assert [fault for fault in faults if not fault.ongoing] == wanted


def test_a_source_that_falls_silent_is_told_before_the_silence_ends():
    stream = Stream(echo, window=50, hop=50, sample_rate=8000, silent_seconds=1)
    stream.push(np.concatenate([sound(100)[0], np.zeros(7999)]))
    assert stream.faults() == []
    stream.push(np.zeros(500))
    stream.push(np.zeros(500))
    (fault,) = stream.faults()
    assert (fault.kind, fault.start, fault.ongoing) == ("silence", 100 / 8000, True)
    stream.push(sound(1))
    assert stream.faults() == [Fault(100 / 8000, 9099 / 8000, 8999, "silence")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_is_a_sentence_with_its_place_or_measure(kind):
    told = str(Fault(3.0, 7.5, 16000, kind, 44100.0))
    assert "3.000" in told or "44100" in told
