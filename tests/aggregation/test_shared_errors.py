"""Shared errors: probabilities of patterns by hand, found where labels show them, allowed for where they do not."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gammaln

from lib.aggregation import fusion, shared_errors
from lib.crowd.labels import CrowdLabels
from tests.strategies import classifier_of, simulated


def misled(n_items, per_item, accuracy, n_classes, seed=0):
    """As :func:`simulated`, but one item in six draws three in five of its labels to one wrong class."""
    (crowd, y), rng = simulated(n_items, per_item, accuracy, n_classes, seed), np.random.default_rng([seed, 2])
    hard, wrong = rng.random(n_items) < 1 / 6, (y + rng.integers(1, n_classes, n_items)) % n_classes
    drawn = hard[crowd.item] & (rng.random(len(crowd)) < 0.6)
    return replace(crowd, label=np.where(drawn, wrong[crowd.item], crowd.label)), y


@pytest.mark.parametrize("n_classes", [2, 4])
def test_probabilities_of_patterns_sum_to_one(n_classes):
    """Over all ways in which three annotators and a classifier can choose their classes."""
    ways: dict[tuple, int] = {}
    for *labels, said in itertools.product(range(n_classes), repeat=4):
        key = 2 * np.bincount(labels, minlength=n_classes)
        key[said] += 1
        pattern = tuple(-np.sort(-key))
        ways[pattern] = ways.get(pattern, 0) + 1
    keys = np.array(list(ways))
    d = (keys > 0).sum(axis=1)
    names = gammaln(n_classes + 1) - gammaln(n_classes - d + 1)
    values = shared_errors.pattern_log_probability(keys // 2, keys % 2, n_classes, 0.7, 0.2, 0.6, 0.8) - names
    assert np.array(list(ways.values())) @ np.exp(values) == pytest.approx(1)


def test_probability_of_a_pattern_by_hand():
    """Two labels of three classes, right with .7: equal with .7² + 2 · .15². If the item misleads, the wrong class is said with
    .6 + .4 · .15, the true one with .4 · .7, the third with .4 · .15."""
    blocks, own = np.array([[2]]), np.zeros((1, 1), dtype=int)
    plain, hard = 0.7**2 + 2 * 0.15**2, 0.66**2 + 0.28**2 + 0.06**2
    found = shared_errors.pattern_log_probability(blocks, own, 3, 0.7, 0.25, 0.6, 0.5)
    assert np.exp(found) == pytest.approx(0.75 * plain + 0.25 * hard)


def test_shared_errors_are_found_in_five_labels_per_item_and_not_in_independent_ones():
    accuracy = np.linspace(0.6, 0.9, 20)
    found = shared_errors.detect(misled(600, 5, accuracy, 10)[0])
    assert found.detected
    assert 0.1 < found.share < 0.25
    assert not shared_errors.detect(simulated(600, 5, accuracy, 10)[0]).detected
    crowd, y = simulated(600, 2, accuracy, 10)
    assert not shared_errors.detect(crowd, classifier_of(y, 0.8, 1, 10).argmax(axis=1)).detected


def test_a_classifier_that_is_not_misled_reveals_what_labels_alone_do_not():
    crowd, y = misled(3000, 5, np.linspace(0.75, 0.9, 12), 2)
    assert not shared_errors.detect(crowd).detected
    assert shared_errors.detect(crowd, classifier_of(y, 0.95, 1, 2).argmax(axis=1)).detected


def test_nothing_is_found_without_overlap():
    crowd = CrowdLabels(np.arange(30), np.arange(30) % 3, np.arange(30) % 2, 30, 3, 2)
    assert not shared_errors.detect(crowd).detected
    assert np.isnan(shared_errors.allowance(crowd, fusion.estimate(crowd), np.full(30, -1))).all()


def test_the_allowance_is_half_of_what_agreement_shows_and_at_most_all():
    dense = np.array([[0, 0], [1, 2]] * 200)  # as in test_mean_accuracy_by_hand
    crowd, known = CrowdLabels.from_dense(dense, 3), np.full(400, -1)
    a, low, _ = fusion.mean_accuracy(crowd, known)
    assert shared_errors.allowance(crowd, fusion.estimate(crowd), known) == pytest.approx((0, (1 - a) / 2, 1 - low))


def test_the_range_holds_the_number_of_wrong_labels_and_known_classes_measure_it():
    """In ten crowds with shared errors; independence claims far too few."""
    held, measured, claimed, true = 0, 0, 0.0, 0
    for seed in range(10):
        (crowd, y), none = misled(300, 3, np.linspace(0.6, 0.9, 12), 4, seed), np.full(300, -1)
        for known in (none, np.where(np.arange(300) < 60, y, -1)):
            found = fusion.estimate(crowd, known=known)
            rest = known < 0
            wrong = (found.posterior.argmax(axis=1) != y)[rest].sum()
            shares = shared_errors.allowance(crowd, found, known)
            low, _, high = shared_errors.wrong_labels(found.posterior[rest], shares)
            within = low <= wrong <= high
            if rest.all():
                held, claimed, true = held + within, claimed + (1 - found.posterior.max(axis=1)).sum(), true + wrong
            else:
                measured += within
    assert held >= 9
    assert measured >= 8
    assert claimed < 0.7 * true


def test_discounting_keeps_the_order_of_classes():
    prob = np.array([[0.9, 0.1, 0.0], [0.4, 0.35, 0.25]])
    found = shared_errors.discounted(prob, 0.2, 3)
    np.testing.assert_allclose(found[0], [0.73, 0.17, 0.1])
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found.argmax(axis=1), [0, 0])


def test_the_range_is_two_standard_deviations_wider_than_what_is_expected():
    """A hundred items of two classes, each wrong with .1 (low), .18 (middle) or .26 (high)."""
    prob = np.tile([0.9, 0.1], (100, 1))
    expected = (10 - 2 * np.sqrt(9), 18, 26 + 2 * np.sqrt(100 * 0.26 * 0.74))
    np.testing.assert_allclose(shared_errors.wrong_labels(prob, (0.0, 0.1, 0.2)), expected)
