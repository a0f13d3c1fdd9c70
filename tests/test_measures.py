import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import expit, softmax

from ossicle.evaluate.measures import (
    as_table,
    correct,
    d_prime,
    knn,
    known,
    linear_probe,
    metrics,
    temperature,
    within_to_between,
)
from ossicle.plain import json_text

LABELS = ("cat", "dog", "owl")


def average_precision(truth, score):
    """Its definition: the mean, over the positives, of the precision among all that score at least as high."""
    return np.mean([truth[score >= score[i]].mean() for i in np.flatnonzero(truth)])


@pytest.fixture
def chance():
    return np.random.default_rng(0)


def test_metrics_by_hand():
    probability = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    found = metrics(probability, np.array([0, 0, 1, 2]), LABELS)
    assert found["accuracy"] == 0.75
    assert found["class_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["confusion"] == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert found["nll"] == pytest.approx(-np.log([0.8, 0.3, 0.5, 0.7]).mean())
    assert found["classes"]["dog"] == {"precision": 0.5, "recall": 1.0, "ap": 0.5, "support": 1}
    assert found["clips"] == 4
    assert found["absent"] == []


def test_average_precision_is_its_definition(chance):
    probability = softmax(chance.standard_normal((200, 3)), axis=1)
    target = chance.integers(0, 3, 200)
    found = metrics(probability, target, LABELS)
    expected = [average_precision(target == k, probability[:, k]) for k in range(3)]
    assert [found["classes"][label]["ap"] for label in LABELS] == pytest.approx(expected)
    assert found["mAP"] == pytest.approx(np.mean(expected))


def test_a_class_without_test_clips_is_listed_and_counts_in_no_mean():
    probability = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    found = metrics(probability, np.array([0, 1]), LABELS)
    assert found["absent"] == ["owl"]
    assert found["classes"]["owl"] == {"precision": None, "recall": None, "ap": None, "support": 0}
    assert found["class_accuracy"] == found["mAP"] == 1.0
    json_text(found)


def test_clips_of_unknown_target_are_left_out():
    probability = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0]])
    found = metrics(probability, np.array([0, -1]), LABELS)
    assert found["clips"] == 1
    assert found["accuracy"] == 1.0
    with pytest.raises(ValueError, match="nothing to score"):
        metrics(probability, np.array([-1, -1]), LABELS)


def test_several_labels_a_clip(chance):
    probability = chance.random((50, 3))
    target = (chance.random((50, 3)) < 0.4).astype(np.float32)
    target[7] = np.nan
    found = metrics(probability, target, LABELS, multilabel=True)
    keep = np.arange(50) != 7
    guess, truth = probability[keep, 1] >= 0.5, target[keep, 1] == 1
    row = found["classes"]["dog"]
    assert row["precision"] == pytest.approx(truth[guess].mean())
    assert row["recall"] == pytest.approx(guess[truth].mean())
    assert row["ap"] == pytest.approx(average_precision(truth, probability[keep, 1]))
    assert found["clips"] == 49
    assert "accuracy" not in found
    json_text(found)


def test_auc_is_how_often_a_clip_that_has_a_class_scores_above_one_that_has_not(chance):
    probability = chance.random((60, 4)).round(1)  # with ties, which count half
    target = (chance.random((60, 4)) < 0.3).astype(np.float32)
    target[:, 3] = 1
    found = metrics(probability, target, (*LABELS, "rain"), multilabel=True)
    areas = []
    for k in range(3):
        with_it, without = (probability[target[:, k] == has, k] for has in (1, 0))
        areas.append(np.mean(np.sign(with_it[:, None] - without) / 2 + 0.5))
    assert [row["auc"] for row in found["classes"].values()] == [*map(pytest.approx, areas), None]
    assert found["AUC"] == pytest.approx(np.mean(areas))
    assert found["d_prime"] == d_prime(found["AUC"])


@pytest.mark.parametrize("apart", [0.0, 0.5, 2.4])
def test_d_prime_is_how_far_apart_normal_scores_lie(chance, apart):
    target = np.arange(40_000) % 2
    score = chance.standard_normal(40_000) + apart * target
    found = metrics(expit(score)[:, None], target[:, None].astype(np.float32), ("dog",), multilabel=True)
    assert found["d_prime"] == pytest.approx(apart, abs=0.05)


def test_scores_that_do_not_overlap_have_no_d_prime():
    target = np.array([[0.0], [1.0]])
    perfect = metrics(target, target, ("dog",), multilabel=True)
    assert (perfect["AUC"], perfect["d_prime"]) == (1.0, None)
    alike = metrics(target, np.ones((2, 1)), ("dog",), multilabel=True)
    assert (alike["AUC"], alike["d_prime"]) == (None, None)
    json_text(perfect)


def test_correct_is_one_or_none_or_a_share():
    assert correct(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])).tolist() == [1, 0]
    assert correct(np.array([[0.9, 0.1, 0.7]]), np.array([[1.0, 1.0, 0.0]])).tolist() == [pytest.approx(1 / 3)]


def test_known_and_as_table():
    assert known(np.array([0, -1, 2])).tolist() == [True, False, True]
    assert known(np.array([[0, 1], [np.nan, np.nan]])).tolist() == [True, False]
    assert as_table(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def knn_by_loops(bank, bank_target, feature, classes, k, sigma):
    rows = []
    for one in feature:
        near = sorted(
            (
                (float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)), int(label))
                for other, label in zip(bank, bank_target, strict=True)
                if label >= 0
            ),
            reverse=True,
        )[:k]
        votes = [sum(math.exp(cosine / sigma) for cosine, label in near if label == c) for c in range(classes)]
        rows.append([vote / sum(votes) for vote in votes])
    return np.array(rows)


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("sigma", [0.07, 0.4])
def test_knn_is_its_sum(chance, k, sigma):
    bank, feature = chance.standard_normal((30, 8)) * 3, chance.standard_normal((700, 8))
    target = chance.integers(-1, 4, 30)
    found = knn(bank, target, feature, classes=4, k=k, sigma=sigma)
    assert found == pytest.approx(knn_by_loops(bank, target, feature, 4, k, sigma), abs=1e-6)
    assert found.dtype == np.float32


def test_knn_does_not_mind_loudness_or_neighbors(chance):
    bank, feature, target = chance.standard_normal((20, 4)), chance.standard_normal((6, 4)), np.arange(20) % 3
    found = knn(bank, target, feature, classes=3)
    assert knn(bank * 100, target, feature * 0.01, classes=3) == pytest.approx(found, abs=1e-6)
    assert knn(bank, target, feature[3:4], classes=3) == pytest.approx(found[3:4], abs=1e-6)


def test_knn_of_several_labels(chance):
    bank, table = np.eye(3), np.array([[1, 1, 0], [0, 1, 0], [np.nan] * 3], dtype=np.float32)
    found = knn(bank, table, np.array([[1.0, 1.0, 9.0], [1.0, 0.0, 0.0]]), classes=3, k=2)
    assert found[0].tolist() == pytest.approx([0.5, 1.0, 0.0])
    assert found[1].tolist() == pytest.approx([1.0, 1.0, 0.0], abs=1e-5)


def test_silent_features_do_not_divide_by_zero():
    found = knn(np.zeros((3, 2)), np.array([0, 1, 1]), np.zeros((1, 2)), classes=2, k=3)
    assert found[0].tolist() == pytest.approx([1 / 3, 2 / 3])


def test_a_bank_that_knows_nothing_is_refused():
    with pytest.raises(ValueError, match="no neighbor can vote"):
        knn(np.ones((2, 2)), np.array([-1, -1]), np.ones((1, 2)), classes=2)
    with pytest.raises(ValueError, match="cannot be fitted"):
        linear_probe(np.ones((2, 2)), np.array([-1, -1]), np.ones((1, 2)), classes=2)


def test_knn_never_asks_the_querys_own_recording(chance):
    """Against the plain sum over the bank without those rows, query by query."""
    bank, feature = chance.standard_normal((30, 4)), chance.standard_normal((20, 4))
    target, groups = np.arange(30) % 3, (chance.integers(0, 5, 30), chance.integers(0, 7, 20))
    found = knn(bank, target, feature, classes=3, groups=groups)
    for row, one in enumerate(feature):
        other = groups[0] != groups[1][row]
        assert found[row] == pytest.approx(knn(bank[other], target[other], one[None], classes=3)[0], abs=1e-6)


def test_who_has_no_neighbor_but_itself_gets_no_votes():
    found = knn(np.eye(2), np.array([0, 1]), np.eye(2)[:1], classes=2, groups=(np.array([7, 7]), np.array([7])))
    assert found.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("wrong", [{"k": 0}, {"sigma": 0.0}, {"sigma": float("nan")}])
def test_votes_that_nobody_can_cast_are_refused(wrong):
    with pytest.raises(ValueError, match="at least one neighbor votes"):
        knn(np.eye(2), np.array([0, 1]), np.eye(2), classes=2, **wrong)


def distances(feature, rows, columns):
    return cdist(feature[rows], feature[columns], "cosine")


@pytest.mark.parametrize("several", [False, True])
def test_the_spread_of_a_class_is_its_definition_over_pairs(chance, several):
    feature, group = chance.standard_normal((40, 6)) + 1, chance.integers(0, 12, 40)
    truth = chance.random((40, 3)) < 0.4 if several else np.eye(3)[chance.integers(0, 3, 40)] > 0.5
    target = truth.astype(np.float32) if several else truth.argmax(1)
    found = within_to_between(feature, target, group, classes=3)
    for ratio, own in zip(found, truth.T, strict=True):
        apart = group[own][:, None] != group[own]
        within, between = distances(feature, own, own)[apart].mean(), distances(feature, own, ~own).mean()
        assert ratio == pytest.approx(within / between)


def test_a_class_that_lies_together_is_near_none_and_one_spread_among_others_near_one(chance):
    together, spread = np.eye(8)[0] + 0.01 * chance.standard_normal((50, 8)), chance.standard_normal((400, 8))
    target = np.repeat([0, 1, 2], [50, 200, 200])
    found = within_to_between(np.concatenate([together, spread]), target, np.arange(450), classes=3)
    assert found[0] < 0.01
    assert found[1:] == pytest.approx([1.0, 1.0], abs=0.05)


def test_what_has_no_spread_is_none():
    feature, one = np.eye(4), np.array([5, 5, 6, 7])
    assert within_to_between(feature, np.array([0, 0, 1, 1]), one, classes=3) == [None, 1.0, None]
    assert within_to_between(feature, np.array([1, 1, 1, -1]), one, classes=2) == [None, None]
    assert within_to_between(np.ones((4, 2)), np.array([0, 0, 1, 1]), np.arange(4), classes=2) == [None, None]


def test_a_linear_probe_finds_what_is_linear(chance):
    """Whatever each feature's scale and offset, which standardizing takes away."""
    center = chance.standard_normal((3, 6)) * 4
    target, test = np.repeat([0, 1, 2], 40), np.repeat([0, 1, 2], 20)
    scale, offset = 10.0 ** np.arange(-3, 3), np.arange(6) * 100
    features = [(center[rows] + chance.standard_normal((len(rows), 6))) * scale + offset for rows in (target, test)]
    found = linear_probe(features[0], target, features[1], classes=3)
    assert (found.argmax(1) == test).mean() > 0.95
    assert found.sum(1) == pytest.approx(np.ones(60), abs=1e-5)


def test_a_linear_probe_with_missing_and_single_classes(chance):
    train, test = chance.standard_normal((20, 3)), chance.standard_normal((4, 3))
    target = np.array([0, 2, -1, 2] * 5)
    assert (linear_probe(train, target, test, classes=4)[:, [1, 3]] == 0).all()
    assert linear_probe(train, np.full(20, 1), test, classes=2).tolist() == [[0.0, 1.0]] * 4
    assert linear_probe(train, target, test[:0], classes=4).shape == (0, 4)


def test_a_linear_probe_of_several_labels(chance):
    train = chance.standard_normal((200, 2))
    target = np.stack([train[:, 0] > 0, train[:, 1] > 0, np.zeros(200)], 1).astype(np.float32)
    found = linear_probe(train, target, np.array([[3.0, -3.0], [-3.0, 3.0]]), classes=3)
    assert (found > 0.5).tolist() == [[True, False, False], [False, True, False]]


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(chance, true):
    logits = chance.standard_normal((20_000, 5)) * 2 * true
    cumulated = softmax(logits / true, axis=1).cumsum(1)
    target = (cumulated < chance.random((20_000, 1))).sum(1)
    assert temperature(logits, target) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("true", [0.5, 2.0])
def test_a_known_temperature_of_several_labels(chance, true):
    logits = chance.standard_normal((8_000, 4)) * 2 * true
    target = (chance.random(logits.shape) < expit(logits / true)).astype(np.float32)
    assert temperature(logits, target, multilabel=True) == pytest.approx(true, rel=0.05)


def test_temperature_is_of_the_clips_mean_probability(chance):
    logits, target = chance.standard_normal((300, 3)) * 2, chance.integers(-1, 3, 300)
    target[logits.argmax(1) != target] *= chance.random((logits.argmax(1) != target).sum()) < 0.4
    once = temperature(logits, target)
    twice = temperature(np.repeat(logits, 2, axis=0), target, clip=np.repeat(np.arange(300), 2))
    assert twice == pytest.approx(once, rel=1e-3)
    shuffled = chance.permutation(300)
    assert temperature(logits[shuffled], target, clip=shuffled) == pytest.approx(once, rel=1e-3)


def test_without_known_targets_the_temperature_stays():
    assert temperature(np.ones((2, 3)), np.array([-1, -1])) == 1.0
    assert temperature(np.ones((0, 3)), np.zeros(0, np.int64)) == 1.0
