"""Choosing by held-out labels: what is hidden, the matrices and the score by hand, and the choice."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.aggregation.held_out_labels import TEMPERATURES, Choice, fit_confusion, hide, score, soften
from lib.crowd.labels import CrowdLabels
from tests.strategies import crowds
from tests.worked_example import CROWD, random_example


def predictions(crowd, seed=0):
    score = np.random.default_rng(seed).normal(size=(crowd.n_items, crowd.n_classes))
    return np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)


# ------------------------------------------------------------------ hiding


@given(crowds(max_items=12, min_labels=1), st.floats(0, 0.9), st.integers(0, 9))
def test_hidden_and_visible_make_the_crowd(crowd, share, seed):
    visible, hidden = hide(crowd, share, np.random.default_rng(seed))
    assert len(hidden) == round(share * len(crowd))
    both = sorted([*zip(visible.item, visible.annotator, visible.label, strict=True),
                   *zip(hidden.item, hidden.annotator, hidden.label, strict=True)])  # fmt: skip
    assert both == list(zip(crowd.item, crowd.annotator, crowd.label, strict=True))
    spare = len(crowd) - np.count_nonzero(crowd.labels_per_item)
    # Nobody's last label goes while another one could; and where there are none left, no more than needed.
    lost = np.count_nonzero((crowd.labels_per_item > 0) & (visible.labels_per_item == 0))
    assert lost == max(0, len(hidden) - spare)


def test_every_label_of_an_item_may_be_the_one_that_stays():
    crowd = CrowdLabels.from_dense(np.array([[0, 1, 1]]))
    kept = [int(hide(crowd, 0.5, np.random.default_rng(seed))[0].annotator[0]) for seed in [*range(30), *range(30)]]
    assert set(kept) == {0, 1, 2}
    assert kept[:30] == kept[30:]
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"below 1, found {share}"):
            hide(crowd, share, np.random.default_rng(0))


# ------------------------------------------------------------------ matrices and score


def slow_average(weights, crowd):
    """``weights[row, class]``: how much a label says about each class."""
    pooled = np.zeros((4, 4))
    for row, k in enumerate(crowd.label):
        pooled[:, k] += weights[row]
    pooled /= pooled.sum(axis=1, keepdims=True)
    confusion = np.empty((crowd.n_annotators, 4, 4))
    for r in range(crowd.n_annotators):
        rows = np.flatnonzero(crowd.annotator == r)
        for j in range(4):
            total = 5 + sum(weights[row][j] for row in rows)
            for k in range(4):
                count = sum(weights[row][j] for row in rows if crowd.label[row] == k)
                confusion[r, j, k] = (count + 5 * pooled[j, k]) / total
    return confusion


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_confusion_slowly(rounds):
    crowd = random_example().crowd
    prob = predictions(crowd)
    confusion = slow_average([prob[i] for i in crowd.item], crowd)
    for _ in range(rounds):
        weights = []
        for i, r, k in zip(crowd.item, crowd.annotator, crowd.label, strict=True):
            product = prob[i] * confusion[r, :, k]
            weights.append(product / product.sum())
        confusion = slow_average(weights, crowd)
    assert fit_confusion(prob, crowd, rounds=rounds) == pytest.approx(confusion, abs=1e-12)


def test_rounds_undo_the_blur_of_soft_predictions():
    """Calibrated, doubtful predictions: counting takes their doubt for confusion, the rounds do not."""
    random = np.random.default_rng(0)
    right = random.uniform(0.5, 1, 20000)
    y = (random.random(20000) < right).astype(int)
    crowd = CrowdLabels.from_dense(np.where(random.random((20000, 1)) < 0.9, y[:, None], 1 - y[:, None]))
    prob = np.stack([1 - right, right], axis=1)
    assert fit_confusion(prob, crowd, rounds=0)[0, 0, 0] < 0.5
    assert fit_confusion(prob, crowd, rounds=200)[0] == pytest.approx(np.array([[0.9, 0.1], [0.1, 0.9]]), abs=0.03)


def test_certain_predictions_and_a_class_without_any():
    prob = np.eye(3)[[0, 0, 1, 0]]
    confusion = fit_confusion(prob, CROWD)
    assert np.isfinite(confusion).all()
    assert confusion.sum(axis=2) == pytest.approx(np.ones((3, 3)))
    assert confusion[:, 2] == pytest.approx(np.full((3, 3), 1 / 3))


def test_score_by_hand():
    visible = CrowdLabels([0, 1], [0, 0], [0, 1], 2, 1, 2)
    hidden = CrowdLabels([], [], [], 2, 1, 2)
    prob = np.eye(2)
    with pytest.raises(ValueError, match="at least one, found none"):
        score(prob, visible, hidden)
    both = CrowdLabels([0, 0, 1], [0, 1, 0], [0, 0, 1], 2, 2, 2)
    visible, hidden = both.select_labels(np.array([True, False, True])), both.select_labels(np.array([False, True, False]))
    # Annotator 1 has no visible label, so it gets the crowd's matrix: the identity, which explains the visible ones best.
    assert score(prob, visible, hidden) == pytest.approx(0, abs=1e-9)
    soft = np.array([[0.75, 0.25], [0.25, 0.75]])
    assert score(soft, visible, hidden) == pytest.approx(math.log(0.75), abs=1e-4)
    confusion = fit_confusion(soft, visible)[1]
    assert score(soft, visible, hidden) == pytest.approx(math.log(0.75 * confusion[0, 0] + 0.25 * confusion[1, 0]), abs=1e-12)
    with pytest.raises(ValueError, match=r"shape \(2, 2\), found \(3, 3\)"):
        fit_confusion(np.eye(3), both)
    with pytest.raises(ValueError, match="strength must be above 0, found 0"):
        fit_confusion(prob, both, strength=0)


# ------------------------------------------------------------------ temperature and choice


def test_soften():
    prob = np.array([[0.64, 0.36], [1.0, 0.0]])
    assert soften(prob, 2.0)[0] == pytest.approx([0.8 / 1.4, 0.6 / 1.4])
    assert soften(prob, 1.0) == pytest.approx(prob)
    assert soften(prob, 6.0)[1] == pytest.approx([1, 0], abs=1e-5)
    with pytest.raises(ValueError, match="above 0, found 0"):
        soften(prob, 0)


def test_choice_keeps_the_best_epoch_and_temperature():
    crowd = random_example().crowd
    visible, hidden = hide(crowd, 0.3, np.random.default_rng(0))
    offers = [predictions(crowd, seed) for seed in range(6)]
    choice = Choice(visible, hidden)
    for epoch, prob in enumerate(offers):
        choice.offer(epoch, prob)
    slow = {
        (epoch, temperature): score(soften(prob, temperature), visible, hidden)
        for epoch, prob in enumerate(offers)
        for temperature in TEMPERATURES
    }
    epoch, temperature = max(slow, key=slow.get)
    assert (choice.best.epoch, choice.best.temperature) == (epoch, temperature)
    assert choice.best.score == slow[epoch, temperature]
    assert choice.best.prob == pytest.approx(soften(offers[epoch], temperature))
    choice.offer(99, offers[epoch])
    assert choice.best.epoch == epoch  # of equals the earlier one stays


@pytest.mark.parametrize("sharpened", [1.0, 3.0])
def test_overconfidence_is_softened(sharpened):
    random = np.random.default_rng(1)
    log_odds = 1.5 * random.normal(size=4000)
    y = (random.random(4000) < 1 / (1 + np.exp(-log_odds))).astype(int)
    crowd = CrowdLabels.from_dense(np.where(random.random((4000, 3)) < 0.95, y[:, None], 1 - y[:, None]))
    right = 1 / (1 + np.exp(-sharpened * log_odds))
    choice = Choice(*hide(crowd, 0.2, random))
    choice.offer(0, np.stack([1 - right, right], axis=1))
    assert choice.best.temperature == sharpened


def test_nothing_hidden_takes_the_newest():
    visible, hidden = hide(CROWD, 0.0, np.random.default_rng(0))
    choice = Choice(visible, hidden)
    for epoch in range(3):
        choice.offer(epoch, predictions(CROWD, epoch))
    assert (choice.best.epoch, choice.best.temperature) == (2, 1.0)
    assert math.isnan(choice.best.score)
    assert choice.best.prob == pytest.approx(predictions(CROWD, 2))
