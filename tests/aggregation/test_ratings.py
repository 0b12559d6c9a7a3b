"""Numbers from a crowd: means, EM against slow loops and its likelihood, the crowd layer's loss, scores."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal

from lib.aggregation import ratings
from lib.aggregation.ratings import Annotators
from lib.crowd.labels import CrowdRatings
from lib.training import scoring


def simulated(items=60, annotators=6, seed=0):
    """Ratings of true numbers by annotators with a bias and a noise of their own; the last one gave none."""
    random = np.random.default_rng(seed)
    truth, bias = random.normal(size=items), random.normal(size=annotators)
    noise = np.linspace(0.1, 1.5, annotators)
    values = truth[:, None] + bias + noise * random.normal(size=(items, annotators))
    values[random.random(values.shape) < 0.4] = np.nan
    values[:, -1] = np.nan
    values[3] = np.nan  # nobody rated it
    return CrowdRatings.from_dense(values), truth, random.normal(size=items)


CROWD, TRUTH, PREDICTION = simulated()
HAND = CrowdRatings.from_dense([[1.0, 3.0, np.nan], [np.nan, 2.0, np.nan], [np.nan] * 3])


# ------------------------------------------------------------------ plain summaries


def test_summaries_by_hand():
    assert_allclose(ratings.mean_rating(HAND), [2, 2, np.nan])
    assert_allclose(ratings.weights(HAND), [1 / 3, 2 / 3, 0])
    assert_allclose(ratings.true_bias(HAND, np.array([2.0, 4.0, 0.0])), [-1, -0.5, np.nan])
    assert_allclose(ratings.centered(np.array([3.0, 0.0, 7.0]), HAND), [2, -1, 6])
    with pytest.raises(ValueError, match=r"one true rating for each of the 3 items, found shape \(2,\)"):
        ratings.true_bias(HAND, np.zeros(2))


def test_scores_by_hand():
    found = scoring.rating_scores(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    correlation = np.corrcoef([1, 2, 4], [1, 3, 2])[0, 1]
    wanted = {"mae": 1, "rmse": math.sqrt(5 / 3), "r2": 1 - 5 / 2, "pearson": correlation, "shift": 1 / 3}
    assert found == pytest.approx(wanted)


def test_scores_where_nothing_varies():
    assert scoring.rating_scores(np.zeros(3), np.arange(3.0))["pearson"] == 0
    assert math.isnan(scoring.rating_scores(np.arange(3.0), np.zeros(3))["r2"])
    for wrong in (np.zeros(2), np.zeros((3, 1))):
        with pytest.raises(ValueError, match="two equally long vectors, not empty, found shapes"):
            scoring.rating_scores(wrong, np.zeros(3))


# ------------------------------------------------------------------ expectation-maximization


def slow_e_step(prediction, annotators, crowd):
    mean, variance = [], []
    for item in range(crowd.n_items):
        total, weighted = 1 / annotators.spread, prediction[item] / annotators.spread
        for i, r, value in zip(crowd.item, crowd.annotator, crowd.value, strict=True):
            if i == item:
                total += 1 / annotators.variance[r]
                weighted += (value - annotators.bias[r]) / annotators.variance[r]
        mean.append(weighted / total)
        variance.append(1 / total)
    return mean, variance


def slow_m_step(prediction, mean, variance, crowd, prior):
    rows = list(zip(crowd.item, crowd.annotator, crowd.value, strict=True))
    given = [[(i, value) for i, s, value in rows if s == r] for r in range(crowd.n_annotators)]
    bias = [sum(v - mean[i] for i, v in said) / (len(said) + prior) if said else 0.0 for said in given]
    average = sum((v - mean[i] - bias[r]) ** 2 + variance[i] for i, r, v in rows) / len(rows)
    squares = [sum((v - mean[i] - b) ** 2 + variance[i] for i, v in said) for said, b in zip(given, bias, strict=True)]
    noise = [
        (square + prior * average) / (len(said) + prior) if said else average
        for said, square in zip(given, squares, strict=True)
    ]
    rated = sorted({i for i, _, _ in rows})
    spread = sum((mean[i] - prediction[i]) ** 2 + variance[i] for i in rated) / len(rated)
    common = sum(len(said) * b for said, b in zip(given, bias, strict=True)) / len(rows)
    bias = [b - common if said else 0.0 for said, b in zip(given, bias, strict=True)]
    return bias, noise, spread


def some_annotators(crowd, seed=1):
    random = np.random.default_rng(seed)
    return Annotators(random.normal(size=crowd.n_annotators), random.uniform(0.2, 2, size=crowd.n_annotators), 0.7)


def test_e_step_slowly():
    believed = some_annotators(CROWD)
    mean, variance = ratings.e_step(PREDICTION, believed, CROWD)
    slow_mean, slow_variance = slow_e_step(PREDICTION, believed, CROWD)
    assert_allclose(mean, slow_mean, atol=1e-12)
    assert_allclose(variance, slow_variance, atol=1e-12)
    assert mean[3] == pytest.approx(PREDICTION[3])  # nobody rated it
    assert variance[3] == pytest.approx(0.7)


def test_e_step_without_predictions():
    """An infinite spread leaves the weighted mean of the ratings alone."""
    believed = Annotators(np.zeros(3), np.array([1.0, 0.5, 1.0]), math.inf)
    mean, variance = ratings.e_step(np.full(3, 9.0), believed, HAND)
    assert_allclose(mean, [(1 + 2 * 3) / 3, 2, 9])
    assert_allclose(variance, [1 / 3, 1 / 2, np.inf])


@pytest.mark.parametrize("prior", [0.0, 1.5])
def test_m_step_slowly(prior):
    mean, variance = ratings.e_step(PREDICTION, some_annotators(CROWD), CROWD)
    found = ratings.m_step(PREDICTION, mean, variance, CROWD, prior)
    bias, noise, spread = slow_m_step(PREDICTION, mean, variance, CROWD, prior)
    assert_allclose(found.bias, bias, atol=1e-12)
    assert_allclose(found.variance, noise, atol=1e-12)
    assert found.spread == pytest.approx(spread)
    assert ratings.weights(CROWD) @ found.bias == pytest.approx(0, abs=1e-12)
    assert found.bias[-1] == 0


def slow_log_likelihood(prediction, annotators, crowd):
    total = 0.0
    for item in np.flatnonzero(crowd.labels_per_item):
        rows = slice(*crowd.offsets[item : item + 2])
        who = crowd.annotator[rows]
        covariance = np.diag(annotators.variance[who]) + annotators.spread
        total += multivariate_normal.logpdf(crowd.value[rows], prediction[item] + annotators.bias[who], covariance)
    return total


def test_em_never_lowers_the_likelihood():
    """Around predictions that stay, but for the constant that the M-step takes from the biases."""
    prediction, believed, values = PREDICTION, some_annotators(CROWD), []
    for _ in range(30):
        values.append(slow_log_likelihood(prediction, believed, CROWD))
        mean, variance = ratings.e_step(prediction, believed, CROWD)
        believed = ratings.m_step(prediction, mean, variance, CROWD)
        prediction = prediction + np.mean(CROWD.value - mean[CROWD.item])
    assert np.diff(values).min() > -1e-9
    assert values[-1] > values[0] + 10


def test_em_finds_biases_and_precisions():
    crowd, truth, _ = simulated(items=800, seed=2)
    prediction = np.zeros(len(truth))
    believed = Annotators(np.zeros(6), np.ones(6), math.inf)
    for _ in range(40):
        mean, variance = ratings.e_step(prediction, believed, crowd)
        believed = ratings.m_step(prediction, mean, variance, crowd, prior=1.0)
    true = ratings.centered(np.nan_to_num(ratings.true_bias(crowd, truth)), crowd)
    assert_allclose(believed.bias[:-1], true[:-1], atol=0.1)
    assert (np.diff(believed.variance[:-1]) > 0).all()  # as they were made
    better, plain = (scoring.rating_scores(x[crowd.labels_per_item > 0], truth[crowd.labels_per_item > 0])["pearson"]
                     for x in (mean, ratings.mean_rating(crowd)))  # fmt: skip
    assert better > plain + 0.03
