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
    with pytest.raises(ValueError, match="fewer than two recordings"):
        opinions(np.eye(3), np.array([0, 1, -1]), np.array([7, 7, 8]), classes=2)


def test_openness_is_largest_where_two_are_alike():
    assert openness(np.array([[0.5, 0.5, 0], [1, 0, 0], [0.6, 0.3, 0.1]])) == pytest.approx([1, 0, 0.7])
    assert openness(np.array([[0.5, 0.0], [0.9, 0.8]]), several=True) == pytest.approx([1, 0.4])
    assert openness(np.zeros((2, 0))).tolist() == [1, 1]


def test_with_even_weights_suggestions_are_the_greedy_cover(clouds):
    feature, _, _ = clouds
    known, pool = feature[:5], feature[5:]
    far = pairwise_distances(pool, known, metric="cosine").min(1)
    wanted = []
    for _ in range(8):
        wanted.append(int(far.argmax()))
        far = np.minimum(far, pairwise_distances(pool, pool[wanted[-1:]], metric="cosine")[:, 0])
    assert suggest(np.ones(len(pool)), pool, known, 8).tolist() == wanted


def test_of_sounds_that_are_alike_one_is_suggested_and_none_that_is_known(clouds):
    feature, _, _ = clouds
    pool = np.concatenate([feature[:6], 2 * feature[:6], feature[10:12]])
    rows = suggest(np.ones(len(pool)), pool, feature[10:11], 50)
    assert len(rows) == 7
    assert sorted(row % 6 for row in rows if row < 12) == [0, 1, 2, 3, 4, 5]
    assert 12 not in rows
    assert suggest(np.ones(0), pool[:0], feature, 5).tolist() == []


def test_of_equals_the_open_one_is_first():
    pool = np.eye(5)[1:]
    assert suggest(np.array([0.1, 0.4, 0.3, 0.2]), pool, np.eye(5)[:1], 4).tolist() == [1, 2, 3, 0]
