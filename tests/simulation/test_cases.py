"""Simulated crowds by name: what is drawn converges to what was asked for, and the same seed gives the same labels."""

import hashlib
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lib import simulation
from lib.aggregation.dawid_skene import majority_vote
from lib.simulation import ccc, crowd_layer, drawing, geocrowdnet
from tests.simulation.counts import p_value

# What the reconstruction promises with three labels an item: label accuracy and majority vote's accuracy.
PROMISED = {
    "rec-IND-I": (0.350, 0.413),
    "rec-IND-II": (0.289, 0.333),
    "rec-IND-III": (0.410, 0.416),
    "rec-IND-IV": (0.490, 0.600),
    "rec-COR-I": (0.369, 0.430),
    "rec-COR-II": (0.429, 0.508),
    "rec-COR-III": (0.499, 0.597),
    "rec-COR-IV": (0.500, 0.575),
}
FIVE, HAMMER = "crowd-layer-five", "geo-separable-and-uniform"
BALANCED = np.arange(12000) % 10


def classes(n_classes: int, items: int) -> np.ndarray:
    return np.random.default_rng(1).integers(n_classes, size=items)


# ---------------------------------------------------------------------- every case


@pytest.mark.parametrize("case", simulation.names())
def test_labels_converge_to_the_matrices(case):
    """Annotators of equal matrices are counted together: many labels a cell, few tests."""
    n_classes = 2 if case == FIVE else 4 if case.startswith("geo") else 10
    # A copied answer is one draw however often it is given, so copying is left to tests of its own.
    options = {"copying": 0.0} if case in PROMISED else {"n_annotators": 4} if case == "symmetric" else {}
    options |= {"gamma": 0.3, "labels_per_item": 3} if case.startswith("geo") else {}
    y = classes(n_classes, 12000)
    made = simulation.build(case, y, n_classes, 3, **options)
    matrices, kind = np.unique(made.confusion, axis=0, return_inverse=True)
    counts = np.zeros(matrices.shape)
    np.add.at(counts, kind.reshape(-1), made.crowd.confusion_counts(y))
    assert p_value(counts, matrices) > 1e-4
    assert len(made.crowd) == (5 if case == FIVE else 3) * len(y)


@pytest.mark.parametrize("case", simulation.names())
def test_a_seed_decides_the_crowd(case):
    n_classes = 2 if case == FIVE else 10
    first, again, other = (simulation.build(case, classes(n_classes, 300), n_classes, seed) for seed in (1, 1, 2))
    for name in ("item", "annotator", "label"):
        assert_array_equal(getattr(first.crowd, name), getattr(again.crowd, name))
    assert_array_equal(first.confusion, again.confusion)
    assert not np.array_equal(first.crowd.label, other.crowd.label)
    assert len(simulation.build(case, np.zeros(0, dtype=int), n_classes, 0).crowd) == 0


def test_labels_are_the_same_on_any_machine():
    """New code that moves these moves every run on such crowds."""
    digests = {}
    for case in ("rec-IND-III", "rec-COR-I", HAMMER):
        crowd = simulation.build(case, np.arange(2000) % 10, 10, 7).crowd
        triples = np.stack([crowd.item, crowd.annotator, crowd.label]).astype("<i8")
        digests[case] = hashlib.sha256(triples.tobytes()).hexdigest()[:16]
    assert digests == {"rec-IND-III": "fa5c09f825c78a21", "rec-COR-I": "e9e89dfc43522f83", HAMMER: "30272e22e401d860"}


@pytest.mark.parametrize(
    ("case", "wrong", "message"),
    [
        ("rec-IND-X", {}, "did you mean 'rec-IND-I"),
        ("rec-IND-I", {"annotators": 5}, "did you mean 'n_annotators'"),
        ("rec-IND-I", {"n_annotators": 4}, "number of groups must lie in 1 .. 4.*found 5"),
        ("rec-IND-I", {"jitter": 0.7}, "jitter.*0.7"),
        ("rec-IND-I", {"participation": "gamma"}, "beta, equal, found 'gamma'"),
        ("rec-IND-III", {"partner": "mnist"}, "one of cifar10, fashion_mnist, found 'mnist'"),
        ("rec-IND-III", {"partner": "cifar10", "n_classes": 4}, "'cifar10' is for 10 classes, found 4"),
        ("symmetric", {"n_annotators": 0}, "found 0"),
        (FIVE, {}, "two classes, found 10"),
        (HAMMER, {"assignment": "all"}, "budget, random, correlated, found 'all'"),
        (HAMMER, {"assignment": "random", "probability": 1.5}, "between 0 and 1, found 1.5"),
        (HAMMER, {"assignment": "correlated", "n_annotators": 1}, "two annotators, found 1"),
        (HAMMER, {"gamma": -0.1}, "at least 0.*found -0.1"),
        (HAMMER, {"gamma": float("nan")}, "found nan"),
        ("geo-hammer-spammer", {"gamma": 1.5}, "between 0 and 1, found 1.5"),
        (HAMMER, {"n_annotators": 0}, "at least 1, found 0"),
        (FIVE, {"n_classes": 2, "sensitivity": [0.5]}, "found 1 and 5"),
        (FIVE, {"n_classes": 2, "sensitivity": [], "specificity": []}, "found 0 and 0"),
        (FIVE, {"n_classes": 2, "sensitivity": [1.2], "specificity": [0.5]}, "between 0 and 1, found 0.5 .. 1.2"),
        (FIVE, {"n_classes": 2, "sensitivity": [float("nan")], "specificity": [0.5]}, "between 0 and 1"),
        ("symmetric", {"y": [0.0, 1.0]}, "found float64"),
        ("symmetric", {"n_classes": 1}, "from 2 on, found 1"),
        ("symmetric", {"seed": -1}, "from 0 on, found -1"),
        ("symmetric", {"seed": 0.5}, "found 0.5"),
    ],
)
def test_build_refuses(case, wrong, message):
    with pytest.raises(ValueError, match=message):
        simulation.build(case, **{"y": [0, 1, 1, 0], "n_classes": 10, "seed": 0} | wrong)


# ---------------------------------------------------------------------- CCC's, reconstructed


def test_participation_follows_the_weights():
    for participation in ("beta", "equal"):
        made = simulation.build("rec-IND-I", BALANCED, 10, 0, labels_per_item=1, participation=participation)
        assert p_value(made.crowd.labels_per_annotator[None], made.participation[None]) > 1e-3
    assert_allclose(made.participation, 1 / 250)


def test_some_annotators_give_very_few_labels():
    """The published histogram: 96 of 250 in the first of 20 bins from least to most; minimum near 10 for a mean of 147."""
    found = []
    for seed in range(60):
        weights = simulation.build("rec-IND-I", BALANCED[:10], 10, seed).participation * 250 * 147
        found.append([np.histogram(weights, bins=20)[0][0], weights.min(), np.median(weights), weights.max()])
    assert (np.abs(np.mean(found, axis=0) - [96, 10, 84, 784]) < [5, 1, 6, 60]).all()


@pytest.mark.parametrize("case", PROMISED)
def test_reconstruction_has_the_promised_accuracies(case):
    y = np.arange(45000) % 10
    found = []
    for seed in range(2):
        crowd = simulation.build(case, y, 10, seed, partner="cifar10").crowd
        found.append([(crowd.label == y[crowd.item]).mean(), (majority_vote(crowd) == y).mean()])
    label_accuracy, vote_accuracy = np.mean(found, axis=0)
    assert abs(label_accuracy - PROMISED[case][0]) < 0.01
    assert abs(vote_accuracy - PROMISED[case][1]) < 0.015
    assert abs(vote_accuracy - ccc.CASES[case].target) < 0.02


def test_groups_share_a_matrix_and_the_work():
    made = simulation.build("rec-IND-IV", BALANCED, 10, 0)
    assert_array_equal(np.bincount(made.groups), [50] * 5)
    for group, accuracy in enumerate(ccc.CASES["rec-IND-IV"].accuracies):
        members = made.groups == group
        assert_allclose(made.confusion[members], np.broadcast_to(drawing.symmetric(accuracy, 10), (50, 10, 10)))
        assert abs(made.participation[members].sum() - 0.2) < 0.02


def test_more_labels_keep_the_annotators():
    one, nine = (simulation.build("rec-IND-I", BALANCED, 10, 4, labels_per_item=average) for average in (1, 9))
    assert_array_equal(one.groups, nine.groups)
    assert_array_equal(one.participation, nine.participation)
    assert len(nine.crowd) == 9 * len(one.crowd)


def test_copying_is_within_groups():
    def agreement(copying: float) -> tuple[float, float]:
        """How often two annotators say the same of an item: of one group, and of two."""
        made = simulation.build("rec-COR-I", BALANCED, 10, 0, copying=copying, n_annotators=50)
        said, who = made.crowd.label.reshape(-1, 3), made.groups[made.crowd.annotator].reshape(-1, 3)
        same, alike = said[:, 0] == said[:, 1], who[:, 0] == who[:, 1]
        return same[alike].mean(), same[~alike].mean()

    (_, between), (within, apart) = agreement(0.0), agreement(1.0)
    assert within == 1
    assert abs(apart - between) < 0.02


def test_jitter_spreads_the_matrices_of_a_group():
    made = simulation.build("rec-IND-I", BALANCED[:10], 10, 0, jitter=0.2)
    p = 0.35
    diagonal = made.confusion[made.groups == 2][:, np.arange(10), np.arange(10)]
    assert abs(diagonal.mean() - p) < 0.02
    assert abs(diagonal.std() - 0.2 * math.sqrt(p * (1 - p))) < 0.01


def test_look_alikes_follow_the_data_set():
    for partner in ("cifar10", "fashion_mnist", None):
        made = simulation.build("rec-IND-III", BALANCED[:10], 10, 0, partner=partner)
        best = made.confusion[made.groups == 0][0].argmax(axis=1)  # of an accuracy of 0.2, most labels are the partner
        assert_array_equal(best, np.arange(10) ^ 1 if partner is None else ccc.PARTNERS[partner])
        assert_array_equal(best[best], np.arange(10))  # each other's partners


# ---------------------------------------------------------------------- the Crowd Layer's five


def test_five_annotators_label_everything_independently_and_vote_as_published():
    y = np.arange(20_000) % 2
    made = simulation.build(FIVE, y, 2, seed=0)
    assert_array_equal(made.crowd.labels_per_item, 5)
    assert_allclose(made.confusion[:, 1, 1], crowd_layer.SENSITIVITY)
    assert_allclose(made.confusion[:, 0, 0], crowd_layer.SPECIFICITY)
    right = (majority_vote(made.crowd) == y).mean()
    assert abs(right - 0.84175) < 4 * np.sqrt(0.84175 * 0.15825 / len(y))  # by hand from the nominal values
    said = made.crowd.label.reshape(-1, 5)[y == 0]
    assert np.abs(np.corrcoef(said.T)[np.triu_indices(5, 1)]).max() < 5 / np.sqrt(len(said))


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


@pytest.mark.parametrize("probability", [0.0, 0.1, 1.0])
def test_random_assignment_has_the_probability(probability):
    crowd = simulation.build(HAMMER, classes(10, 4000), 10, seed=0, assignment="random", probability=probability).crowd
    share = np.array([len(crowd) / (5 * 4000), crowd.labels_per_annotator.max() / 4000])
    assert_allclose(share, probability, atol=4.5 * np.sqrt(probability * (1 - probability) / 4000) + 1e-12)


def test_a_copier_says_and_leaves_out_the_same():
    y = classes(4, 500)
    made, alone = (
        simulation.build("geo-random", y, 4, seed=2, assignment=assignment, probability=0.3)
        for assignment in ("correlated", "random")
    )
    said = np.full((5, 500), -1)
    said[made.crowd.annotator, made.crowd.item] = made.crowd.label
    pairs = [(a, b) for a in range(5) for b in range(a) if np.array_equal(said[a], said[b])]
    assert len(pairs) == 1
    a, b = pairs[0]
    assert_array_equal(made.confusion[a], made.confusion[b])
    assert sum(np.array_equal(*both) for both in zip(made.confusion, alone.confusion, strict=True)) == 4  # all but the copier


def test_families_by_hand():
    def made(family, gamma):
        return geocrowdnet.matrices(family, 6, 4, gamma, np.random.default_rng(0))

    assert_allclose(made("symmetric-flipping", 0.4)[0][0, 0], [0.6 / 0.9, 0.1 / 0.9, 0.1 / 0.9, 0.1 / 0.9])
    assert_allclose(made("hammer-spammer", 1.0)[0], np.tile(np.eye(4), (6, 1, 1)))
    assert made("hammer-spammer", 0.0)[1].sum() == 0
    perfect, expert = made("separable-and-diagonally-dominant", 0.5)
    assert_allclose(perfect[expert == 1], np.eye(4)[None])
    assert (perfect[expert == 0].diagonal(axis1=1, axis2=2) < 1).all()
    matrix, expert = made("separable-and-uniform-random", 0.0)
    assert matrix[expert == 0].std() > 0.1
