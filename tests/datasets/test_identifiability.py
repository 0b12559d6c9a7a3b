"""The crowd in which everything is known: its facts are what its docstring says, exactly."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lib import datasets
from lib.datasets.identifiability import ACCURACY, anchor_distance, specialist_distance, stretch, stretch_limits
from lib.protocols.geocrowdnet import judge
from tests.simulation.counts import p_value

REGIMES = [{"specialist": specialist, "blur": blur} for specialist in (True, False) for blur in (0.0, 0.45)]
every_regime = pytest.mark.parametrize("options", REGIMES, ids=str)


def load(items=500, **options):
    return datasets.load("identifiability", items=items, **options)


# ---------------------------------------------------------------------- how far from ideal


@pytest.mark.parametrize("n_classes", [2, 6])
@pytest.mark.parametrize("share", [0.0, 0.45, 1.0])
def test_specialist_and_anchors_are_as_far_from_ideal_as_said(share, n_classes):
    data, expected = load(items=5000, flaw=share, blur=share, n_classes=n_classes), share * np.sqrt(1 - 1 / n_classes)
    assert_allclose(specialist_distance(data.true_confusion[:1]), expected, atol=1e-12)
    assert specialist_distance(data.true_confusion) <= specialist_distance(data.true_confusion[:1])  # others may be nearer
    distance = np.linalg.norm(data.true_posterior[:, None, :] - np.eye(n_classes), axis=2)
    assert distance.min() >= expected - 1e-12  # no item is nearer,
    assert_allclose(anchor_distance(data.true_posterior), expected, atol=2e-3)  # and at every class one comes as near


def test_specialist_distance_by_hand():
    """Annotator 0 never misses class 0 and annotator 1 never misses class 1: perfect *rows*. But each gives that label to
    items of the other class too, half of them and four in ten: column 0 of the first is (1, 0.5), column 1 of the second
    (0.4, 1)."""
    confusion = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.6, 0.4], [0.0, 1.0]]])
    # class 0: the nearer column is (0.6, 0) of annotator 1; class 1: (0.4, 1) of the same
    assert_allclose(specialist_distance(confusion), 0.4)
    assert_allclose(specialist_distance(confusion[:1]), 0.5)


def test_anchor_distance_by_hand():
    posterior = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    assert_allclose(anchor_distance(posterior), 0.2 * np.sqrt(2))  # class 1 is served worse


# ---------------------------------------------------------------------- items and labels


def test_the_other_annotators_are_mediocre_and_no_error_is_rare():
    for seed in range(5):
        confusion = load(specialist=False, crowd_seed=seed, annotators=20).true_confusion
        assert specialist_distance(confusion) > 0.35
        right = confusion.diagonal(axis1=1, axis2=2)
        assert right.min() >= ACCURACY[0]
        assert right.max() <= ACCURACY[1]
        least = 0.5 * (1 - right) / 2  # half of the errors, over two wrong classes
        assert (confusion >= least[:, :, None] - 1e-12).all()


@every_regime
def test_true_classes_are_drawn_from_the_posterior(options):
    data = load(items=20_000, **options)
    for part in ("", "_valid", "_test"):
        posterior = getattr(data, f"true_posterior{part}")
        assert posterior.shape == (len(getattr(data, f"x{part}")), 3)
        assert (posterior >= 0).all()
        assert_allclose(posterior.sum(axis=1), 1)
    posterior, drawn = data.true_posterior, np.eye(3)[data.y.numpy()]
    spread = posterior * (1 - posterior)
    for low, high in ((0.0, 1.0), (0.2, 0.5), (0.5, 0.8), (0.1, 0.3)):  # as often as said, for any probability that is said
        chosen = (posterior >= low) & (posterior <= high)
        assert chosen.sum() > 100
        surplus = (drawn - posterior)[chosen].sum()
        assert abs(surplus) <= 4 * np.sqrt(spread[chosen].sum())
    surplus = (drawn - posterior).sum(axis=0)
    assert (np.abs(surplus) <= 4 * np.sqrt(spread.sum(axis=0))).all()


@every_regime
def test_labels_are_drawn_from_the_matrices(options):
    data = load(items=20_000, **options)
    assert p_value(data.crowd.confusion_counts(data.y.numpy()), data.true_confusion) > 1e-4
    assert data.crowd.labels_per_item.mean() == pytest.approx(3, abs=0.05)
    assert data.crowd.labels_per_annotator.min() > 0.9 * data.crowd.labels_per_annotator.max()


def test_only_what_is_varied_differs():
    """So that differences between regimes are not differences between crowds."""
    plain, again, other = load(crowd_seed=1), load(crowd_seed=1), load(crowd_seed=2)
    assert_array_equal(plain.crowd.label, again.crowd.label)
    assert not torch.equal(plain.x, other.x)
    assert not np.array_equal(plain.true_confusion[1:], other.true_confusion[1:])
    for options in ({"specialist": False}, {"flaw": 0.3}, {"blur": 0.3}, {"items": 200}):
        varied = load(crowd_seed=1, **options)
        assert_array_equal(varied.true_confusion[1:], plain.true_confusion[1:])
        assert torch.equal(varied.x, plain.x[: len(varied.x)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flaw": 1.2}, "flaw must lie between 0 and 1, found 1.2"),
        ({"blur": -0.1}, "blur must lie between 0 and 1, found -0.1"),
        ({"n_classes": 9}, "n_classes must lie between 2 and 8, found 9"),
    ],
)
def test_what_it_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        load(**options)


# ---------------------------------------------------------------------- other solutions


def test_stretch_by_hand():
    """A posterior of 0.85 under a perfect annotator, or certainty under one who is right 85 times in 100."""
    posterior, confusion = (
        np.array([[0.85, 0.15], [0.15, 0.85]]),
        np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.2], [0.3, 0.7]]]),
    )
    other, blamed = stretch(posterior, confusion, 0.3)
    assert_allclose(other, np.eye(2), atol=1e-12)
    assert_allclose(blamed, [[[0.85, 0.15], [0.15, 0.85]], [[0.725, 0.275], [0.375, 0.625]]])


@every_regime
def test_a_stretched_solution_gives_all_labels_the_same_probability(options):
    data = load(**options)
    low, high = stretch_limits(data.true_posterior, data.true_confusion)
    assert low <= 0 <= high
    says = data.true_posterior @ data.true_confusion
    for amount in (low, high):
        posterior, confusion = stretch(data.true_posterior, data.true_confusion, amount)
        assert_allclose(posterior @ confusion, says, atol=1e-12)
        assert_allclose(posterior.sum(axis=1), 1)
        assert_allclose(confusion.sum(axis=2), 1)
        assert min(posterior.min(), confusion.min()) >= -1e-12
    for amount in (low - 0.01, high + 0.01):  # a little further, and something is negative
        assert min(part.min() for part in stretch(data.true_posterior, data.true_confusion, amount)) < 0


def test_only_a_specialist_and_anchors_leave_no_other_solution():
    for seed in range(5):
        room = {}
        for options in REGIMES:
            data = load(items=3000, crowd_seed=seed, **options)
            room[tuple(options.values())] = stretch_limits(data.true_posterior, data.true_confusion)
        assert_allclose(room[True, 0.0], (0, 0), atol=1e-3)
        assert_allclose(room[True, 0.45], (0, 0.45), atol=1e-3)  # f can be stretched to the corners
        assert room[False, 0.0][0] < -0.3  # A can be stretched far
        assert_allclose(room[False, 0.0][1], 0, atol=1e-3)
        assert_allclose(room[False, 0.45], (room[False, 0.0][0], 0.45), atol=1e-3)


def test_judge_finds_nothing_wrong_with_the_truth_in_any_order_of_classes():
    data = load(blur=0.3)
    truth = data.true_posterior, data.true_posterior_test, data.true_confusion
    order = [2, 0, 1]
    shuffled = truth[0][:, order], truth[1][:, order], truth[2][:, order]
    for solution in (truth, shuffled):
        judged = judge(data, *solution)
        assert judged["posterior_error"] == pytest.approx(0, abs=1e-12)
        assert judged["confusion_error"] == pytest.approx(0, abs=1e-12)
    said = [
        data.true_posterior[item] @ data.true_confusion[annotator, :, label]
        for item, annotator, label in zip(data.crowd.item, data.crowd.annotator, data.crowd.label, strict=True)
    ]
    assert judged["loss"] == pytest.approx(-np.log(said).mean())


def test_judge_of_a_stretched_solution():
    data = load(blur=0.3)
    posterior, confusion = stretch(data.true_posterior, data.true_confusion, 0.3)
    posterior_test, _ = stretch(data.true_posterior_test, data.true_confusion, 0.3)
    judged = judge(data, posterior, posterior_test, confusion)
    truth = judge(data, data.true_posterior, data.true_posterior_test, data.true_confusion)
    assert judged["loss"] == pytest.approx(truth["loss"])
    assert judged["posterior_error"] == pytest.approx(np.abs(posterior_test - data.true_posterior_test).sum(axis=1).mean())
    # Annotator 0 goes from I to 0.7 I + 0.1: each row is off by 0.2 + 0.1 + 0.1.
    assert np.abs(confusion[0] - np.eye(3)).sum(axis=1) == pytest.approx([0.4] * 3)
    assert 0 < judged["confusion_error"] < 0.4
