"""Intervals of accuracies: right by hand where the judges are sure, and true as often as they say."""

import numpy as np
from scipy.stats import beta

from lib.aggregation import fusion, judging
from lib.crowd.labels import CrowdLabels
from tests.strategies import classifier_of, simulated


def test_sure_judges_give_jeffreys_interval():
    """Nine right of ten, known for sure."""
    values = judging.likelihoods(np.zeros(10, dtype=int), np.array([1.0] * 9 + [0.0]), 1, 4)[0]
    mass = np.exp(values - values.max())
    mean = mass @ np.sin(np.pi / 2 * (np.arange(judging.GRID) + 0.5) / judging.GRID) ** 2 / mass.sum()
    assert abs(mean - beta(9.5, 1.5).mean()) < 2e-3


def test_intervals_hold_the_truth_and_the_classifier_too():
    accuracy, inside, of_classifier = np.linspace(0.4, 0.95, 10), [], []
    for seed in range(8):
        crowd, y = simulated(300, 2, accuracy, 4, seed)
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


def test_the_allowance_moves_the_lower_end_and_of_a_classifier_both():
    """Judges who are sure: 80 of 100 right is Beta(80.5, 20.5), from which an evenly distributed share is subtracted."""
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    dense = np.stack([y, y, y, y, np.where(np.arange(100) < 80, y, 1 - y)], axis=1)
    crowd, known = CrowdLabels.from_dense(dense), y
    said = dense[:, 4]
    plain, moved = (
        judging.accuracies(crowd, fusion.estimate(crowd, known=y), known, said, h) for h in ((0.0, 0.0), (0.05, 0.3))
    )
    a, h = beta(80.5, 20.5).rvs(200_000, random_state=rng), rng.uniform(0.05, 0.3, 200_000)
    for row in (4, 5):
        np.testing.assert_allclose(plain[row], [80.5 / 101, *np.quantile(a, [0.025, 0.975])], atol=0.01)
    np.testing.assert_allclose(moved[4, 1:], [np.quantile(a - h, 0.025), plain[4, 2]], atol=0.01)
    np.testing.assert_allclose(moved[5, 1:], [np.quantile(a - h, 0.025), min(np.quantile(a + h, 0.975), 1)], atol=0.01)
    np.testing.assert_array_equal(plain[:, 0], moved[:, 0])
