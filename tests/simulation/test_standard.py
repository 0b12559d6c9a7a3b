"""Simulated crowds by name: what is drawn converges to what was asked for, and the same seed gives the same labels."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from lib import simulation
from lib.aggregation.dawid_skene import majority_vote
from lib.simulation import ccc, drawing

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
DRAWN = [*PROMISED, "symmetric"]
BALANCED = np.arange(12000) % 10


def p_value(counts: np.ndarray, expected: np.ndarray) -> float:
    """Chi-square test of counts against probabilities, row by row; impossible cells must be empty, rare ones are one cell."""
    assert not counts[expected == 0].any()
    statistic, freedom = 0.0, 0
    for found, share in zip(counts.reshape(-1, counts.shape[-1]), expected.reshape(-1, counts.shape[-1]), strict=True):
        wanted = share * found.sum()
        rare = wanted < 5
        found, wanted = np.append(found[~rare], found[rare].sum()), np.append(wanted[~rare], wanted[rare].sum())
        cells = wanted > 1
        statistic += ((found - wanted)[cells] ** 2 / wanted[cells]).sum()
        freedom += max(cells.sum() - 1, 0)
    return stats.chi2.sf(statistic, freedom)


def table(crowd, y: np.ndarray) -> np.ndarray:
    counts = np.zeros((crowd.n_annotators, crowd.n_classes, crowd.n_classes))
    np.add.at(counts, (crowd.annotator, y[crowd.item], crowd.label), 1)
    return counts


# ---------------------------------------------------------------------- every case


def test_all_cases_are_registered():
    assert all(simulation.info(name).name == name for name in simulation.names())  # each where the catalogue says
    for name in PROMISED:
        assert simulation.info(name).reconstruction
        assert simulation.info(name).title.endswith("reconstructed")
    assert not simulation.info("symmetric").reconstruction


@pytest.mark.parametrize("case", DRAWN)
def test_labels_converge_to_the_matrices(case):
    """Annotators of equal matrices are counted together: many labels a cell, few tests."""
    # A copied answer is one draw however often it is given, so copying is left to tests of its own.
    options = {"copying": 0.0} if case in PROMISED else {"n_annotators": 4}
    made = simulation.build(case, BALANCED, 10, 3, **options)
    matrices, kind = np.unique(made.confusion, axis=0, return_inverse=True)
    counts = np.zeros(matrices.shape)
    np.add.at(counts, kind.reshape(-1), table(made.crowd, BALANCED))
    assert p_value(counts, matrices) > 1e-4


@pytest.mark.parametrize("case", DRAWN)
def test_same_seed_same_crowd(case):
    y = BALANCED[:300]
    first, again, other = (simulation.build(case, y, 10, seed) for seed in (1, 1, 2))
    for name in ("item", "annotator", "label"):
        assert_array_equal(getattr(first.crowd, name), getattr(again.crowd, name))
    assert_array_equal(first.confusion, again.confusion)
    assert not np.array_equal(first.crowd.label, other.crowd.label)


def test_labels_are_the_same_on_any_machine():
    """Raise the revision of the cases when new code moves this."""
    digests = {}
    for case in ("rec-IND-III", "rec-COR-I"):
        crowd = simulation.build(case, np.arange(2000) % 10, 10, 7).crowd
        triples = np.stack([crowd.item, crowd.annotator, crowd.label]).astype("<i8")
        digests[case] = hashlib.sha256(triples.tobytes()).hexdigest()[:16]
    assert digests == {
        "rec-IND-III": "fa5c09f825c78a21",
        "rec-COR-I": "e9e89dfc43522f83",
    }


# ---------------------------------------------------------------------- who labels what


@settings(max_examples=80, deadline=None)
@given(
    items=st.integers(0, 40),
    annotators=st.integers(1, 12),
    average=st.floats(0, 12),
    idle=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_assign_properties(items, annotators, average, idle, seed):
    weights = drawing.participation(annotators, rng=seed)
    weights[0] = 0 if idle and annotators > 1 else weights[0]
    average = min(average, (weights > 0).sum())
    item, annotator = drawing.assign_among_many(items, weights, average, seed)
    assert len(item) == round(items * average)  # the average is exact
    assert (np.diff(item * annotators + annotator) > 0).all()  # sorted, and no pair twice
    assert ((annotator >= 0) & (annotator < annotators)).all()
    assert (weights[annotator] > 0).all()
    counts = np.bincount(item, minlength=items)
    assert ((counts == math.floor(average)) | (counts == math.ceil(average))).all()


@pytest.mark.parametrize("rounds", [drawing.ROUNDS, 0])
@pytest.mark.parametrize("average", [2, 1.5])
def test_assign_draws_one_after_the_other(average, rounds, monkeypatch):
    """Two of three without replacement: P(both r and s) = w_r w_s (1 / (1 - w_r) + 1 / (1 - w_s)); also where those who are
    left are weighed one by one."""
    monkeypatch.setattr(drawing, "ROUNDS", rounds)
    weights, items = np.array([0.5, 0.3, 0.2]), 30000
    item, annotator = drawing.assign_among_many(items, weights, average, 1)
    counts = np.bincount(item, minlength=items)
    left_out = 3 - np.bincount(item, weights=annotator, minlength=items)[counts == 2].astype(int)
    expected = np.array([np.prod(w) * (1 / (1 - w)).sum() for w in (weights[[1, 2]], weights[[0, 2]], weights[[0, 1]])])
    assert p_value(np.bincount(left_out, minlength=3)[None], expected[None]) > 1e-3
    if average < 2:  # an item with one label is as if that were all there is
        alone = annotator[np.isin(item, np.flatnonzero(counts == 1))]
        assert p_value(np.bincount(alone, minlength=3)[None], weights[None]) > 1e-3


def test_assign_does_not_depend_on_the_chunk(monkeypatch):
    weights = np.array([1e9, 1e9, 1.0, 2.0, 3.0])  # two that are drawn again and again
    whole = drawing.assign_among_many(200, weights, 4, 5)
    monkeypatch.setattr(drawing, "_CHUNK", 7)
    assert_array_equal(drawing.assign_among_many(200, weights, 4, 5), whole)
    third = whole[1].reshape(200, 4)[:, 2:]
    assert p_value(np.bincount(third.ravel(), minlength=5)[None, 2:], _left_two([1.0, 2.0, 3.0])[None]) > 1e-3


def _left_two(weights) -> np.ndarray:
    """Shares of each of three in draws of two without replacement."""
    w = np.array(weights) / sum(weights)
    out = [w[a] * w[b] * (1 / (1 - w[a]) + 1 / (1 - w[b])) for a, b in ((1, 2), (0, 2), (0, 1))]
    return (1 - np.array(out)) / 2


def test_participation_follows_the_weights():
    made = simulation.build("rec-IND-I", BALANCED, 10, 0, labels_per_item=1)
    counts = made.crowd.labels_per_annotator
    assert p_value(counts[None], made.participation[None]) > 1e-3
    equal = simulation.build("rec-IND-I", BALANCED, 10, 0, labels_per_item=1, participation="equal")
    assert_allclose(equal.participation, 1 / 250)
    assert p_value(equal.crowd.labels_per_annotator[None], equal.participation[None]) > 1e-3


def test_some_annotators_give_very_few_labels():
    """The published histogram: 96 of 250 in the first of 20 bins from least to most; minimum near 10 for a mean of 147."""
    first, least, median, most = [], [], [], []
    for seed in range(60):
        weights = simulation.build("rec-IND-I", BALANCED[:10], 10, seed).participation * 250 * 147
        first.append(np.histogram(weights, bins=20)[0][0])
        least.append(weights.min())
        median.append(np.median(weights))
        most.append(weights.max())
    assert abs(np.mean(first) - 96) < 5
    assert abs(np.mean(least) - 10) < 1
    assert abs(np.mean(median) - 84) < 6
    assert abs(np.mean(most) - 784) < 60


@pytest.mark.parametrize(
    ("weights", "average", "message"),
    [
        ([1.0, 1.0, 0.0], 2.5, "between 0 and the 2 annotators that take part, found 2.5"),
        ([1.0, 1.0], float("nan"), "found nan"),
        ([1.0, -1.0], 1, "not negative"),
        ([0.0, 0.0], 1, "between 0 and the 0 annotators"),
    ],
)
def test_assign_refuses(weights, average, message):
    with pytest.raises(ValueError, match=message):
        drawing.assign_among_many(10, np.array(weights), average)


def test_many_annotators_cost_nothing():
    """Items times annotators would be 8 GB."""
    import tracemalloc

    y = np.zeros(100_000, dtype=int)
    tracemalloc.start()
    made = simulation.build("rec-COR-I", y, 4, 0, n_annotators=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(made.crowd) == 300_000
    assert peak < 2e8


# ---------------------------------------------------------------------- the reconstruction


@pytest.mark.parametrize("case", PROMISED)
def test_reconstruction_has_the_promised_accuracies(case):
    y = np.arange(45000) % 10
    label_accuracy, vote_accuracy = [], []
    for seed in range(2):
        crowd = simulation.build(case, y, 10, seed, partner="cifar10").crowd
        label_accuracy.append((crowd.label == y[crowd.item]).mean())
        vote_accuracy.append((majority_vote(crowd) == y).mean())
    assert abs(np.mean(label_accuracy) - PROMISED[case][0]) < 0.01
    assert abs(np.mean(vote_accuracy) - PROMISED[case][1]) < 0.015
    assert abs(np.mean(vote_accuracy) - ccc.CASES[case].target) < 0.02


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


def _agreement(made) -> tuple[float, float]:
    """How often two annotators say the same of an item: of one group, and of two."""
    crowd = made.crowd
    said, who = crowd.label.reshape(-1, 3), made.groups[crowd.annotator].reshape(-1, 3)
    same, alike = said[:, 0] == said[:, 1], who[:, 0] == who[:, 1]
    return same[alike].mean(), same[~alike].mean()


def test_copying_is_within_groups_and_as_frequent_as_it_should():
    options = {"labels_per_item": 3, "n_annotators": 50}
    without = _agreement(simulation.build("rec-COR-I", BALANCED, 10, 0, copying=0.0, **options))
    half = _agreement(simulation.build("rec-COR-I", BALANCED, 10, 0, **options))
    whole = _agreement(simulation.build("rec-COR-I", BALANCED, 10, 0, copying=1.0, **options))
    assert whole[0] == 1
    assert abs(half[0] - (0.25 + 0.75 * without[0])) < 0.04  # both copy, with probability 1/4
    assert abs(half[1] - without[1]) < 0.02
    assert abs(whole[1] - without[1]) < 0.02


def test_copying_leaves_the_matrices():
    made = simulation.build("rec-COR-IV", BALANCED, 10, 1, labels_per_item=1)
    counts = np.zeros((5, 10, 10))  # one label an item: nobody to agree with
    np.add.at(counts, made.groups, table(made.crowd, BALANCED))
    matrices = np.stack([made.confusion[made.groups == group][0] for group in range(5)])
    assert p_value(counts, matrices) > 1e-4


def test_jitter_spreads_the_matrices_of_a_group():
    made = simulation.build("rec-IND-I", BALANCED[:10], 10, 0, jitter=0.2)
    p = 0.35
    diagonal = made.confusion[made.groups == 2][:, np.arange(10), np.arange(10)]
    assert abs(diagonal.mean() - p) < 0.02
    assert abs(diagonal.std() - 0.2 * math.sqrt(p * (1 - p))) < 0.01


def test_look_alikes_follow_the_data_set():
    for partner in ("cifar10", "fashion_mnist", None):
        made = simulation.build("rec-IND-III", BALANCED[:10], 10, 0, partner=partner)
        best = made.confusion[made.groups == 0][0].argsort(axis=1)[:, -1]
        wanted = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8] if partner is None else ccc.PARTNERS[partner]
        assert_array_equal(best, wanted)  # of an accuracy of 0.2, most labels are the partner
    for pairs in ccc.PARTNERS.values():
        assert_array_equal(np.array(pairs)[list(pairs)], np.arange(10))  # each other's partners


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("case", "wrong", "message"),
    [
        ("rec-IND-X", {}, "did you mean 'rec-IND-I"),
        ("rec-IND-I", {"annotators": 5}, "did you mean 'n_annotators'"),
        ("rec-IND-I", {"n_annotators": 4}, "number of groups must lie in 1 .. 4.*found 5"),
        ("rec-IND-I", {"jitter": 0.7}, "jitter.*0.7"),
        ("rec-COR-I", {"copying": 1.5}, "copying.*1.5"),
        ("rec-IND-I", {"participation": "gamma"}, "beta, equal, found 'gamma'"),
        ("rec-IND-III", {"partner": "mnist"}, "Known: cifar10, fashion_mnist"),
        ("rec-IND-III", {"partner": [1, 0]}, "each of 10, found 2"),
        ("symmetric", {"n_annotators": 0}, "found 0"),
    ],
)
def test_build_refuses_options(case, wrong, message):
    with pytest.raises(ValueError, match=message):
        simulation.build(case, BALANCED[:20], 10, 0, **wrong)


@pytest.mark.parametrize(
    ("y", "n_classes", "seed", "message"),
    [
        ([0, 10], 10, 0, "classes in 0 .. 9"),
        ([0.0, 1.0], 10, 0, "found float64"),
        ([0, 1], 1, 0, "at least 2, found 1"),
        ([0, 1], 10, -1, "from 0 on, found -1"),
        ([0, 1], 10, 0.5, "found 0.5"),
    ],
)
def test_build_refuses(y, n_classes, seed, message):
    with pytest.raises(ValueError, match=message):
        simulation.build("symmetric", np.array(y), n_classes, seed)


def test_nothing_to_label():
    assert len(simulation.build("rec-COR-I", np.zeros(0, dtype=int), 10, 0).crowd) == 0
