"""Doubt and worth on features whose truth is known: what is planted is found, and nobody speaks for themselves."""

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances

from ossicle.field.doubt import doubt, opinions, recordings, told_by
from ossicle.field.suggest import openness, suggest

CLASSES, EACH, DIM = 4, 24, 16


@pytest.fixture(scope="module")
def clouds():
    """Four classes around directions of their own, two clips a recording: (n, D) features, targets, recordings."""
    draw = np.random.default_rng(0)
    target = np.repeat(np.arange(CLASSES), EACH)
    feature = 6 * np.eye(CLASSES, DIM)[target] + draw.normal(size=(len(target), DIM))
    return feature.astype(np.float32), target, np.arange(len(target)) // 2


def test_planted_labels_come_first(clouds):
    feature, target, group = clouds
    draw = np.random.default_rng(1)
    wrong = draw.permutation(len(target))[:10]
    given = target.copy()
    given[wrong] = (target[wrong] + draw.integers(1, CLASSES, len(wrong))) % CLASSES
    opinion = opinions(feature, given, group, classes=CLASSES)
    ranked = np.argsort(-doubt(opinion, given))
    assert set(ranked[:10]) == set(wrong)
    assert (opinion[wrong].argmax(1) == target[wrong]).mean() >= 0.8


def test_a_recording_is_not_asked_about_itself(clouds):
    feature, target, group = clouds
    other, rows = target.copy(), group == 5
    other[rows] = (other[rows] + 1) % CLASSES
    opinion = opinions(feature, other, group, classes=CLASSES)[rows]
    assert (opinion.argmax(1) == target[rows]).all()
    alone = np.where(np.arange(len(target)) == 0, 1, 0)  # one clip of class 1 among clips of class 0, copies of it
    same = np.repeat(feature[:1], len(target), 0)
    assert opinions(same, alone, np.arange(len(target)), classes=2)[0] == pytest.approx([1, 0], abs=1e-6)


def test_an_unknown_label_is_asked_and_not_heard(clouds):
    feature, target, group = clouds
    some = np.where(np.arange(len(target)) % 3, target, -1)
    opinion = opinions(feature, some, group, classes=CLASSES)
    assert (opinion.argmax(1) == target)[some < 0].mean() > 0.8
    assert np.array_equal(np.isnan(doubt(opinion, some)), some < 0)
    assert (told_by(feature[some >= 0], some[some >= 0], feature, classes=CLASSES).argmax(1) == target).mean() > 0.8


def test_doubt_of_several_labels_is_that_of_the_worst():
    opinion = np.array([[0.9, 0.2, 0.1], [0.9, 0.2, 0.1], [0.9, 0.2, 0.1]], np.float32)
    target = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0]], np.float32)
    assert doubt(opinion, target) == pytest.approx([0.2, 0.9, 0.8])
    assert doubt(opinion, np.array([0, 1, -1]))[:2] == pytest.approx([0.1, 0.8])


def test_recordings_are_counted_once_a_class():
    assert recordings(np.array([0, 0, 1, -1]), np.array([7, 7, 7, 8]), classes=3).tolist() == [1, 1, 0]


def test_openness_is_largest_where_two_are_alike():
    assert openness(np.array([[0.5, 0.5, 0], [1, 0, 0], [0.6, 0.3, 0.1]])) == pytest.approx([1, 0, 0.7])
    assert openness(np.array([[0.5, 0.0], [0.9, 0.8]]), several=True) == pytest.approx([1, 0.4])
    assert openness(np.zeros((2, 0))).tolist() == [1, 1]


def test_each_suggestion_is_the_one_that_brings_all_nearest_to_a_label(clouds):
    feature, _, _ = clouds
    known, pool = feature[:5], feature[5:80:3]
    weight = np.random.default_rng(2).random(len(pool)) + 0.1
    taken = []
    for _ in range(5):
        there = [np.concatenate([known, pool[[*taken, row]]]) for row in range(len(pool))]
        near = [1 - pairwise_distances(pool, each, metric="cosine").min(1) for each in there]
        taken.append(int(np.argmax([(weight * np.maximum(each, 0)).sum() for each in near])))
    assert suggest(weight, pool, known, 5).tolist() == taken


def test_of_sounds_that_are_alike_one_is_suggested_and_none_that_is_known(clouds):
    feature, _, _ = clouds
    pool = np.concatenate([feature[:6], 2 * feature[:6], feature[10:12]])
    rows = suggest(np.ones(len(pool)), pool, feature[10:11], 50)
    assert len(rows) == 7
    assert sorted(row % 6 for row in rows if row < 12) == [0, 1, 2, 3, 4, 5]
    assert 12 not in rows
    assert suggest(np.ones(0), pool[:0], feature, 5).tolist() == []


def test_of_equals_the_open_one_is_first_and_the_clear_one_last():
    pool = np.eye(5)[1:]
    assert suggest(np.array([0.1, 0.4, 0.3, 0]), pool, np.eye(5)[:1], 4).tolist() == [1, 2, 0, 3]


def test_of_very_many_sounds_some_speak_for_all():
    draw = np.random.default_rng(0)
    pool = np.repeat(np.eye(3, 8), (2400, 540, 60), axis=0) + 0.01 * draw.normal(size=(3000, 8))
    rows = suggest(np.ones(3000), pool, np.zeros((0, 8)), 3)
    assert pool[rows].argmax(1).tolist() == [0, 1, 2]
