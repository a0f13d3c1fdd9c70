from __future__ import annotations

import numpy as np

from ossicle.deploy.events import Event
from ossicle.deploy.truth import found, right


def alarm(start, stop):
    return Event("dog", start, stop, 1.0)


def test_an_alarm_is_right_where_half_of_it_lies_in_an_event_or_beside_it():
    assert right([alarm(0, 10), alarm(2, 12), alarm(21, 23)], [(3, 8)], collar=0) == [True, True, False]
    assert right([alarm(0, 10)], [(9.9, 10)], collar=0) == [False]
    assert right([alarm(0, 10)], [(9.9, 10)], collar=5) == [True], "a window that the event ends in"
    assert right([alarm(0, 3600)], [(100, 101)], collar=5) == [False], "on all the time"
    assert right([alarm(0, 10)], [(0, 3), (4, 7)], collar=0) == [True], "two events together"
    assert right([alarm(0, 10)], [(0, 4), (1, 4), (2, 4)], collar=0) == [False], "one stretch counts once"
    assert right([alarm(0, 1)], [], collar=5) == [False]


def test_shares_are_those_of_a_time_line():
    """Against the criterion counted out on a grid of a hundredth of a second."""
    chance, times = np.random.default_rng(3), np.arange(0, 40, 0.01) + 0.005
    for _ in range(50):
        starts = chance.integers(0, 300, 5) / 10
        truths = [(start, start + length / 10) for start, length in zip(starts, chance.integers(0, 40, 5), strict=True)]
        alarms = [alarm(start, start + length / 10) for start, length in chance.integers(1, 30, (4, 2)).tolist()]
        inside = np.any([(times > start - 0.5) & (times < stop + 0.5) for start, stop in truths], axis=0)
        for each, told in zip(alarms, right(alarms, truths, 0.5), strict=True):
            share = inside[(times > each.start) & (times < each.stop)].mean()
            assert told == (share >= 0.5) or abs(share - 0.5) < 0.01


def test_an_event_is_found_once_however_often_it_is_told():
    assert found([(1, 2), (5, 6), (8, 9)], [alarm(0, 1.5), alarm(1.6, 2), alarm(5.5, 8.5)]) == 3
    assert found([(1, 2)], [alarm(3, 4)]) == 0
    assert found([], [alarm(3, 4)]) == 0
