"""The annotators of the Crowd Layer and GeoCrowdNet papers: labels follow the matrices, and who labels what is as told."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from lib import simulation
from lib.aggregation.dawid_skene import majority_vote
from lib.simulation import crowd_layer, geocrowdnet

MANY = 20_000
FIVE, HAMMER = "crowd-layer-five", "geo-separable-and-uniform"
GEO = [f"geo-{family}" for family in geocrowdnet.FAMILIES]


def classes(n_classes: int, items: int = MANY) -> np.ndarray:
    return np.random.default_rng(1).integers(n_classes, size=items)


def table(crowd, y) -> np.ndarray:
    counts = np.zeros((crowd.n_annotators, crowd.n_classes, crowd.n_classes))
    np.add.at(counts, (crowd.annotator, y[crowd.item], crowd.label), 1)
    return counts


def p_value(counts: np.ndarray, expected: np.ndarray) -> float:
    """Chi-square test row by row; impossible cells must be empty."""
    assert not counts[expected == 0].any()
    expected = expected * counts.sum(axis=-1, keepdims=True)
    cells = expected > 0
    rows = (counts.sum(axis=-1) > 0).sum()
    return stats.chi2.sf(((counts - expected)[cells] ** 2 / expected[cells]).sum(), cells.sum() - rows)


@pytest.mark.parametrize("case", [FIVE, *GEO])
def test_labels_follow_the_matrices(case):
    n_classes = 2 if case == FIVE else 4
    options = {} if case == FIVE else {"gamma": 0.3, "labels_per_item": 3}
    y = classes(n_classes)
    made = simulation.build(case, y, n_classes, seed=3, **options)
    assert p_value(table(made.crowd, y), made.confusion) > 1e-4


@pytest.mark.parametrize("case", [FIVE, *GEO])
def test_a_seed_decides_the_triples(case):
    n_classes = 2 if case == FIVE else 5
    y = classes(n_classes, 300)
    first, same, other = (simulation.build(case, y, n_classes, seed=seed).crowd for seed in (4, 4, 5))
    for name in ("item", "annotator", "label"):
        assert_array_equal(getattr(first, name), getattr(same, name))
    assert not np.array_equal(first.label, other.label)


# ---------------------------------------------------------------------- five annotators


def test_five_annotators_label_everything_and_vote_as_published():
    y = np.arange(MANY) % 2
    made = simulation.build(FIVE, y, 2, seed=0)
    assert_array_equal(made.crowd.labels_per_item, 5)
    assert_allclose(made.confusion[:, 1, 1], crowd_layer.SENSITIVITY)
    assert_allclose(made.confusion[:, 0, 0], crowd_layer.SPECIFICITY)
    right = (majority_vote(made.crowd) == y).mean()
    assert abs(right - 0.84175) < 4 * np.sqrt(0.84175 * 0.15825 / MANY)  # by hand from the nominal values


def test_five_annotators_err_independently():
    y = np.zeros(MANY, dtype=int)
    said = simulation.build(FIVE, y, 2, seed=1).crowd.label.reshape(-1, 5)
    correlation = np.corrcoef(said.T)[np.triu_indices(5, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(MANY)


@pytest.mark.parametrize(
    ("options", "n_classes", "message"),
    [
        ({}, 3, "two classes, found 3"),
        ({"sensitivity": [0.5]}, 2, "found 1 and 5"),
        ({"sensitivity": [], "specificity": []}, 2, "found 0 and 0"),
        ({"sensitivity": [1.2], "specificity": [0.5]}, 2, "between 0 and 1, found 0.5 .. 1.2"),
        ({"sensitivity": [float("nan")], "specificity": [0.5]}, 2, "between 0 and 1"),
    ],
)
def test_five_annotators_refuse(options, n_classes, message):
    with pytest.raises(ValueError, match=message):
        simulation.build(FIVE, np.array([0, 1]), n_classes, seed=0, **options)


# ---------------------------------------------------------------------- GeoCrowdNet's


@pytest.mark.parametrize(("gamma", "diagonal"), [(0.01, 0.957), (0.1, 0.702), (0.3, 0.466)])
def test_the_hammer_is_as_good_as_specified(gamma, diagonal):
    found = []
    for seed in range(20):
        made = simulation.build(HAMMER, np.arange(10), 10, seed=seed, gamma=gamma)
        own = made.confusion.diagonal(axis1=1, axis2=2)
        assert_array_equal(made.groups, (own.mean(axis=1) > 0.2).astype(int))
        assert made.groups.sum() == 1
        assert_allclose(own[made.groups == 0], (0.1 + 1e-4) / (1 + 1e-4))
        found.append(own[made.groups == 1].mean())
    assert np.mean(found) == pytest.approx(diagonal, abs=0.01)


def test_who_the_expert_is_depends_on_the_seed_alone():
    experts = [
        int(simulation.build(HAMMER, classes(10, n), 10, seed=seed).groups.argmax()) for seed in range(8) for n in (5, 50)
    ]
    assert experts[::2] == experts[1::2]
    assert len(set(experts)) > 1


@pytest.mark.parametrize("budget", [1, 2.5, 5])
def test_budget_is_exact_without_repeats(budget):
    y = classes(10, 1000)
    crowd = simulation.build(HAMMER, y, 10, seed=0, labels_per_item=budget).crowd
    assert len(crowd) == 1000 * budget
    assert set(crowd.labels_per_item) == {int(np.floor(budget)), int(np.ceil(budget))}
    share = crowd.labels_per_annotator / len(crowd)
    assert np.abs(share - 0.2).max() < 0.05  # all are asked alike


@pytest.mark.parametrize("probability", [0.0, 0.1, 1.0])
def test_random_assignment_has_the_probability(probability):
    y = classes(10, 4000)
    crowd = simulation.build(HAMMER, y, 10, seed=0, assignment="random", probability=probability).crowd
    wanted = np.full(2, probability)
    share = np.array([len(crowd) / (5 * 4000), crowd.labels_per_annotator.max() / 4000])
    assert_allclose(share, wanted, atol=4.5 * np.sqrt(probability * (1 - probability) / 4000) + 1e-12)


def test_a_copier_says_and_leaves_out_the_same():
    y = classes(4, 500)
    made = simulation.build("geo-random", y, 4, seed=2, assignment="correlated", probability=0.3)
    labels = [set(zip(made.crowd.item[rows], made.crowd.label[rows], strict=True)) for rows in _rows(made.crowd)]
    pairs = [(a, b) for a in range(5) for b in range(a) if labels[a] == labels[b]]
    assert len(pairs) == 1
    a, b = pairs[0]
    assert_array_equal(made.confusion[a], made.confusion[b])
    independent = simulation.build("geo-random", y, 4, seed=2, assignment="random", probability=0.3)
    same = [np.array_equal(made.confusion[r], independent.confusion[r]) for r in range(5)]
    assert sum(same) == 4  # nobody but the copier has changed


def _rows(crowd):
    return [np.flatnonzero(crowd.annotator == r) for r in range(crowd.n_annotators)]


def test_families_by_hand():
    def made(family, gamma):
        return geocrowdnet.matrices(family, 6, 4, gamma, np.random.default_rng(0))

    assert_allclose(made("symmetric-flipping", 0.4)[0][0, 0], [0.6 / 0.9, 0.1 / 0.9, 0.1 / 0.9, 0.1 / 0.9])
    assert_allclose(made("hammer-spammer", 1.0)[0], np.tile(np.eye(4), (6, 1, 1)))
    assert made("hammer-spammer", 0.0)[1].sum() == 0
    perfect, expert = made("separable-and-diagonally-dominant", 0.5)
    assert_allclose(perfect[expert == 1], np.eye(4)[None])
    assert (perfect[expert == 0].diagonal(axis1=1, axis2=2) < 1).all()
    assert made("separable-and-uniform-random", 0.0)[0][made("separable-and-uniform-random", 0.0)[1] == 0].std() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"assignment": "all"}, "unknown assignment 'all'"),
        ({"assignment": "random", "probability": 1.5}, "between 0 and 1, found 1.5"),
        ({"assignment": "correlated", "n_annotators": 1}, "two annotators, found 1"),
        ({"gamma": -0.1}, "at least 0.*found -0.1"),
        ({"gamma": float("nan")}, "found nan"),
        ({"n_annotators": 0}, "at least 1, found 0"),
        ({"labels_per_item": 6}, "5 annotators.*found 6"),
    ],
)
def test_geo_annotators_refuse(options, message):
    with pytest.raises(ValueError, match=message):
        simulation.build(HAMMER, np.arange(4), 4, seed=0, **options)


def test_probabilities_may_not_pass_one():
    with pytest.raises(ValueError, match=r"at most 1.*found 1.5"):
        simulation.build("geo-hammer-spammer", np.arange(4), 4, seed=0, gamma=1.5)
    with pytest.raises(ValueError, match=r"unknown family.*'none'"):
        geocrowdnet.matrices("none", 2, 2, 0.1, np.random.default_rng(0))
