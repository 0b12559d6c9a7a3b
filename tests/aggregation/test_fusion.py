"""Labels and a classifier fused: near the vote where little is known, better where something is, right by hand where it can
be."""

import numpy as np
import pytest
from hypothesis import given, settings

from lib.aggregation import fusion
from lib.aggregation.dawid_skene import majority_vote
from lib.crowd.labels import CrowdLabels
from tests.strategies import classifier_of, crowd_of, crowds, simulated


def right(label, y):
    return 100 * (label == y).mean()


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("per_item", [1.2, 2, 3])
@pytest.mark.parametrize("accuracy", [0.1, 0.95])
def test_never_a_point_below_the_vote(n_classes, per_item, accuracy):
    crowd, y = simulated(1000, per_item, np.linspace(0.6, 0.9, 12), n_classes)
    prob = classifier_of(y, max(accuracy, 1 / n_classes), 1, n_classes)
    vote = np.mean([right(majority_vote(crowd, "random", seed), y) for seed in range(5)])
    found = fusion.estimate(crowd, prob)
    assert right(found.people.argmax(axis=1), y) > vote - 1
    assert right(found.posterior.argmax(axis=1), y) > vote - 1


def test_single_labels_are_kept_whatever_a_classifier_says():
    crowd, y = simulated(500, 1, np.full(8, 0.78), 10)
    found = fusion.estimate(crowd, classifier_of(y, 0.5, 1, 10))
    np.testing.assert_array_equal(found.posterior.argmax(axis=1), majority_vote(crowd))
    assert not found.told_apart


@pytest.mark.parametrize(("per_item", "share"), [(1, 0.05), (2, 0.5)])
def test_labels_are_kept_where_annotators_agree_no_more_than_by_chance(per_item, share):
    """Also those of a rare class, and whatever a classifier says."""
    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(400), per_item)
    label = (rng.random(len(item)) < share).astype(int)
    crowd = CrowdLabels(item, np.arange(len(item)) % (4 * per_item), label, 400, 4 * per_item, 2)
    found = fusion.estimate(crowd, classifier_of(np.zeros(400, dtype=int), 0.95, 1, 2))
    assert not found.told_apart
    clear = crowd.counts[:, 0] != crowd.counts[:, 1]
    for posterior in (found.posterior, found.people):
        np.testing.assert_array_equal(posterior.argmax(axis=1)[clear], majority_vote(crowd)[clear])


def test_class_shares_without_what_errors_add():
    """Of three classes in shares .8, .2 and 0, labels are right with .7: votes in shares .605, .26 and .15."""
    y = np.repeat([0, 1], [8000, 2000])
    crowd = crowd_of(y, 2, np.full(10, 0.7), 0, 3)
    votes = np.bincount(crowd.label) / len(crowd)
    np.testing.assert_allclose(votes, [0.59, 0.26, 0.15], atol=0.01)
    shares = np.exp(fusion.class_shares(crowd, np.full(len(y), -1)))[0]
    np.testing.assert_allclose(shares, [0.8, 0.2, 0], atol=0.02)
    assert shares.sum() == pytest.approx(1)
    few = crowd.select_items(np.arange(len(y))[::1000])  # ten items tell little of shares
    assert np.exp(fusion.class_shares(few, np.full(10, -1)))[0].max() < 0.79
    known = np.where(np.arange(len(y)) % 2 == 0, y, -1)
    np.testing.assert_allclose(np.exp(fusion.class_shares(crowd, known))[0], [0.8, 0.2, 0], atol=0.01)


def test_a_good_classifier_helps_where_people_overlap():
    crowd, y = simulated(1000, 2, np.linspace(0.3, 0.9, 10), 5)
    alone, helped = fusion.estimate(crowd), fusion.estimate(crowd, classifier_of(y, 0.9, 1, 5))
    assert right(helped.posterior.argmax(axis=1), y) > right(alone.posterior.argmax(axis=1), y) + 5
    np.testing.assert_allclose(alone.posterior, helped.people)
    assert helped.doubt < 0.5


def test_a_classifier_at_chance_is_not_believed():
    crowd, y = simulated(1000, 3, np.full(10, 0.8), 5)
    found = fusion.estimate(crowd, classifier_of(y, 0.2, 1, 5))
    assert found.doubt == 1
    np.testing.assert_array_equal(found.posterior, found.people)


def test_a_shared_error_is_cured_by_known_classes():
    """Everybody shifts by one class; thirty items are known."""
    crowd, shifted = simulated(300, 3, np.full(6, 0.9))
    y = (shifted - 1) % 3
    assert right(fusion.estimate(crowd).posterior.argmax(axis=1), y) < 5
    known = np.where(np.arange(300) < 30, y, -1)
    found = fusion.estimate(crowd, known=known)
    assert right(found.posterior.argmax(axis=1), y) > 90
    assert found.accuracy.max() < 0.2
    np.testing.assert_array_equal(found.posterior[:30].argmax(axis=1), y[:30])


def test_known_items_count_even_with_one_label():
    y = np.arange(40) % 2
    crowd = CrowdLabels(np.arange(40), np.arange(40) % 2, np.where(np.arange(40) % 2 == 0, y, 1 - y), 40, 2, 2)
    found = fusion.estimate(crowd, known=y)
    assert found.told_apart
    assert found.accuracy[0] > 0.7 > 0.3 > found.accuracy[1]


def test_full_matrices_where_they_pay_and_coins_where_they_do_not():
    careful, y = simulated(1500, 3, np.full(6, 0.75), 4)
    assert fusion.estimate(careful).model == "one coin"
    # The same people, but whoever errs takes one class for the next.
    label = np.where(careful.label == y[careful.item], careful.label, (y[careful.item] + 1) % 4)
    systematic = CrowdLabels(careful.item, careful.annotator, label, 1500, 6, 4)
    found = fusion.estimate(systematic)
    assert found.model == "full matrices"
    np.testing.assert_allclose(found.confusion.sum(axis=2), 1)


def test_mean_accuracy_by_hand():
    """Of 400 items with two labels each, half are agreed on: a² + (1 - a)² / 2 = 1/2 with three classes."""
    dense = np.array([[0, 0], [1, 2]] * 200)
    a, low, high = fusion.mean_accuracy(CrowdLabels.from_dense(dense, 3), np.full(400, -1))
    assert a**2 + (1 - a) ** 2 / 2 == pytest.approx(0.5, abs=1e-3)
    assert low < a < high < a + 0.06


def test_lifting_multiplies_all_odds_by_one_factor():
    raised = fusion.lifted(np.array([0.5, 0.8]), np.array([1, 1]), 0.8)
    assert raised.mean() == pytest.approx(0.8)
    odds = raised / (1 - raised)
    assert odds[1] / odds[0] == pytest.approx(4)
    np.testing.assert_array_equal(fusion.lifted(np.array([0.5, 0.8]), np.array([1, 1]), 0.6), [0.5, 0.8])


def test_support_leaves_the_label_itself_out():
    """Two labels of one item: what the second says is judged by the first alone, for coins and for the same as matrices."""
    crowd = CrowdLabels.from_dense([[1, 0]], n_classes=2)
    accuracy, prior = np.array([0.9, 0.7]), np.log([[0.5, 0.5]])
    scores = np.exp(fusion.coin_scores(crowd, accuracy) + prior)
    posterior = scores / scores.sum()
    expected = [0.3, 0.1]  # the other says 0 with .7; the other says 1 with .9
    for matrices in (None, np.array([[[a, 1 - a], [1 - a, a]] for a in accuracy])):
        np.testing.assert_allclose(fusion.support(crowd, fusion.Fit(posterior, accuracy, matrices, True)), expected)


@settings(max_examples=40, deadline=None)
@given(crowds(max_items=12, min_labels=1))
def test_any_crowd_gives_probabilities(crowd):
    if crowd.n_classes < 2:
        with pytest.raises(ValueError, match="at least two"):
            fusion.estimate(crowd)
        return
    prob = np.random.default_rng(0).dirichlet(np.ones(crowd.n_classes), crowd.n_items)
    for found in (fusion.estimate(crowd), fusion.estimate(crowd, prob)):
        np.testing.assert_allclose(found.posterior.sum(axis=1), 1)
        assert ((found.accuracy > 0) & (found.accuracy < 1)).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prob": np.full((3, 2), np.nan)}, "prob must hold probabilities"),
        ({"prob": np.ones((2, 2))}, "prob must hold probabilities of shape"),
        ({"known": np.array([0, 1])}, "for each of the 3 items"),
        ({"known": np.array([0, 1, 2])}, "known must lie in 0 .. 1, or -1 .*, found 2 for item 2"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        fusion.estimate(CrowdLabels.from_dense([[0, 1], [1, 1], [0, 0]]), **given)
