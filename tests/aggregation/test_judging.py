"""Intervals of accuracies: right by hand where the judges are sure, and true as often as they say."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from lib.aggregation import fusion, judging
from lib.crowd.labels import CrowdLabels
from tests.aggregation.test_fusion import classifier_of
from tests.strategies import crowd_of


def test_sure_judges_give_jeffreys_interval():
    """Nine right of ten, known for sure."""
    values = judging.likelihoods(np.zeros(10, dtype=int), np.array([1.0] * 9 + [0.0]), 1, 4)[0]
    mass = np.exp(values - values.max())
    mean = mass @ np.sin(np.pi / 2 * (np.arange(judging.GRID) + 0.5) / judging.GRID) ** 2 / mass.sum()
    assert abs(mean - beta(9.5, 1.5).mean()) < 2e-3


def test_intervals_hold_the_truth_and_the_classifier_too():
    inside, of_classifier = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y, accuracy = rng.integers(0, 4, 300), rng.uniform(0.4, 0.95, 10)
        crowd = crowd_of(y, 2, accuracy, seed, 4)
        said = classifier_of(y, 0.7, seed, 4).argmax(axis=1)
        values = judging.accuracies(crowd, fusion.estimate(crowd), said=said)
        inside.append((values[:10, 1] <= accuracy) & (accuracy <= values[:10, 2]))
        of_classifier.append(values[10, 1] <= (said == y).mean() <= values[10, 2])
    assert np.mean(inside) >= 0.9
    assert np.sum(of_classifier) >= 7


def test_nothing_is_known_without_overlap():
    crowd = CrowdLabels(np.arange(30), np.arange(30) % 3, np.arange(30) % 2, 30, 3, 2)
    assert np.isnan(judging.accuracies(crowd, fusion.estimate(crowd), said=np.zeros(30, dtype=int))).all()


def test_nobody_is_judged_on_items_of_their_own():
    dense = np.full((60, 3), -1)
    dense[:40, :2] = (np.arange(40) % 2)[:, None]
    dense[40:, 2] = 1
    crowd = CrowdLabels.from_dense(dense)
    values = judging.accuracies(crowd, fusion.estimate(crowd))
    assert np.isnan(values[2]).all()
    assert (values[:2, 1] > 0.7).all()
