from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossicle.deploy.events import Event, events
from ossicle.deploy.stream import Window

LABELS = ("dog", "rain", "clock")


def window(start, stop, *score):
    return Window(start, stop, np.array(score, np.float32), np.zeros(1, np.float32))


def by_hand(windows, label, on, off, min_seconds, gap):
    """The definition, all windows at once: which sound, in which runs, joined where near, and then the long enough."""
    sounding, runs = False, []
    for w in windows:
        was, score = sounding, float(w.score[label])
        sounding = score >= off if sounding else score >= on
        if sounding and was:
            runs[-1].append(w)
        elif sounding:
            runs.append([w])
    spans = [[run[0].start, max(w.stop for w in run), max(float(w.score[label]) for w in run)] for run in runs]
    joined = []
    for start, stop, score in spans:
        if joined and start <= joined[-1][1] + gap:
            joined[-1][1:] = [max(stop, joined[-1][1]), max(score, joined[-1][2])]
        else:
            joined.append([start, stop, score])
    return [Event(LABELS[label], *span) for span in joined if span[1] - span[0] >= min_seconds]


SCORES = st.sampled_from([0.0, 0.2, 0.25, 0.3, 0.5, 0.75, 1.0])


@settings(max_examples=200, deadline=None)
@given(
    scores=st.lists(st.tuples(SCORES, SCORES, SCORES), max_size=40),
    length=st.integers(1, 4),
    hop=st.integers(1, 5),
    thresholds=st.sampled_from([(0.5, 0.5), (0.5, 0.25), (0.75, 0.2)]),
    min_seconds=st.sampled_from([0, 2, 6]),
    gap=st.sampled_from([0, 3]),
)
def test_events_are_those_of_the_definition(scores, length, hop, thresholds, min_seconds, gap):
    windows = [window(n * hop, n * hop + length, *score) for n, score in enumerate(scores)]
    on, off = thresholds
    got = list(events(windows, LABELS, on=on, off=off, min_seconds=min_seconds, gap_seconds=gap))
    for label, name in enumerate(LABELS):
        mine = [event for event in got if event.label == name]
        assert mine == by_hand(windows, label, on, off, min_seconds, gap)
        assert all(one.stop + gap < other.start for one, other in pairwise(mine))


def test_an_event_is_yielded_once_and_as_soon_as_nothing_can_lengthen_it():
    consumed = []

    def live():
        for n, score in enumerate([0.9, 0.9, 0.1, 0.1, 0.1, 0.9]):
            consumed.append(n)
            yield window(n * 0.5, n * 0.5 + 1, score)

    stream = events(live(), ["dog"])
    assert next(stream) == Event("dog", 0.0, 1.5, pytest.approx(0.9))
    assert consumed == [0, 1, 2, 3, 4]  # the window at 1.5 s touches the event, the one at 2.0 s does not
    assert list(stream) == [Event("dog", 2.5, 3.5, pytest.approx(0.9))]


def test_a_score_that_wavers_around_one_threshold_is_one_event():
    windows = [window(n, n + 1, 0.55 if n % 2 else 0.45) for n in range(20)]
    assert len(list(events(windows, ["dog"], on=0.5, off=0.4))) == 1
    assert len(list(events([w for w in windows if w.start != 10.0], ["dog"], on=0.5, off=0.4))) == 1


@pytest.mark.parametrize("gap_seconds", [0, 5])
def test_an_event_does_not_go_on_where_sound_is_missing(gap_seconds):
    loud = np.array([0.9], np.float32)
    windows = [Window(start, start + 1, loud, loud, anew=start == 8) for start in (0.0, 1.0, 8.0, 9.0)]
    got = list(events(windows, ["dog"], gap_seconds=gap_seconds))
    assert [(event.start, event.stop) for event in got] == [(0, 2), (8, 10)]


@pytest.mark.parametrize("hop", [0.05, 0.1, 0.3])
def test_a_length_is_the_same_wherever_in_the_stream_it_lies(hop):
    """Seconds are fractions that no float holds: without care, every fourth event of exactly a second is too short."""
    for first in range(200):
        place = [first * hop, round(first * hop + 1, 9), round(first * hop + 1.3, 9)]
        windows = [window(start, start + 1.0, score) for start, score in zip(place, (0.9, 0.0, 0.9), strict=True)]
        (one,) = events(windows[:1], ["dog"], min_seconds=1.0)
        (joined,) = events(windows, ["dog"], min_seconds=2.3, gap_seconds=0.3)
        assert (one.start, joined.start) == (place[0], place[0])


def test_thresholds_may_differ_between_labels():
    windows = [window(0, 1, 0.6, 0.6, 0.6)]
    got = events(windows, LABELS, on=[0.5, 0.7, 0.61], off=[0.1, 0.1, 0.1])
    assert [event.label for event in got] == ["dog"]


@pytest.mark.parametrize(
    ("thresholds", "sentence"),
    [
        ({"on": 0.3, "off": 0.5}, "would end before it began"),
        ({"on": float("nan")}, "would end before it began"),
        ({"on": [0.5, 0.5]}, "on has 2 thresholds for 3 labels"),
    ],
)
def test_impossible_thresholds_are_refused(thresholds, sentence):
    with pytest.raises(ValueError, match=sentence):
        list(events([], LABELS, **thresholds))
