"""Simulated annotators: their labels follow the matrices, whoever labels follows the weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from lib.simulation import drawing

MATRICES = np.stack([drawing.symmetric(0.7, 4), drawing.pair_confusion(0.6, [1, 0, 3, 2]), drawing.constant(2, 4), np.eye(4)])


def p_value(counts: np.ndarray, expected: np.ndarray) -> float:
    """Chi-square test of a table of counts against probabilities, row by row; impossible cells must be empty."""
    assert not counts[expected == 0].any()
    expected = expected * counts.sum(axis=-1, keepdims=True)
    cells = expected > 0
    statistic = ((counts - expected)[cells] ** 2 / expected[cells]).sum()
    freedom = cells.sum() - np.prod(counts.shape[:-1])
    return stats.chi2.sf(statistic, freedom)


def label_table(crowd, y: np.ndarray) -> np.ndarray:
    shape = (crowd.n_annotators, crowd.n_classes, crowd.n_classes)
    table = np.zeros(shape)
    np.add.at(table, (crowd.annotator, y[crowd.item], crowd.label), 1)
    return table


# ---------------------------------------------------------------------- matrices


def test_matrices_by_hand():
    assert_allclose(drawing.symmetric(0.7, 4)[1], [0.1, 0.7, 0.1, 0.1])
    assert_allclose(drawing.pair_confusion(0.5, [1, 0, 3, 2], share=0.8)[0], [0.5, 0.4, 0.05, 0.05])
    assert_allclose(drawing.pair_confusion(0.6, [1, 0], share=0.8), [[0.6, 0.4], [0.4, 0.6]])
    assert_allclose(drawing.constant(1, 3), [[0, 1, 0]] * 3)
    assert_allclose(MATRICES.sum(axis=2), 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: drawing.symmetric(1.2, 3), "accuracy.*1.2"),
        (lambda: drawing.symmetric(float("nan"), 3), "accuracy.*nan"),
        (lambda: drawing.symmetric(1, 1), "at least 2, found 1"),
        (lambda: drawing.pair_confusion(0.5, [0, 1]), "own partner, found class 0"),
        (lambda: drawing.pair_confusion(0.5, [1, 2]), r"classes 0 .. 1 .*\[1, 2\]"),
        (lambda: drawing.constant(3, 3), "0 .. 2, found 3"),
    ],
)
def test_matrices_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------------- who labels what


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(0, 60),
    annotators=st.integers(1, 12),
    average=st.floats(0, 12),
    chunk=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
)
def test_assign_properties(items, annotators, average, chunk, seed):
    average = min(average, annotators)
    weights = drawing.participation(annotators, rng=seed)
    item, annotator = drawing.assign(items, weights, average, seed)
    assert len(item) == round(items * average)  # the average is exact
    pairs = item * annotators + annotator
    assert (np.diff(pairs) > 0).all()  # sorted, and no pair twice
    assert ((annotator >= 0) & (annotator < annotators)).all()
    counts = np.bincount(item, minlength=items)
    assert ((counts == np.floor(average)) | (counts == np.ceil(average))).all()
    again = drawing.assign(items, weights, average, seed, chunk=chunk)
    assert_array_equal(again, (item, annotator))


def test_assign_follows_the_weights():
    weights = np.array([0.5, 0.3, 0.2])
    _, annotator = drawing.assign(20000, weights, 1, 0)
    assert p_value(np.bincount(annotator, minlength=3)[None], weights[None]) > 1e-3


@pytest.mark.parametrize("average", [2, 1.5])
def test_assign_draws_one_after_the_other(average):
    """Two of three without replacement: P(both r and s) = w_r w_s (1 / (1 - w_r) + 1 / (1 - w_s))."""
    weights = np.array([0.5, 0.3, 0.2])
    item, annotator = drawing.assign(30000, weights, average, 1)
    counts = np.bincount(item, minlength=30000)
    left_out = 3 - np.bincount(item, weights=annotator, minlength=30000)[counts == 2].astype(int)
    expected = np.array([np.prod(w) * (1 / (1 - w)).sum() for w in (weights[[1, 2]], weights[[0, 2]], weights[[0, 1]])])
    assert_allclose(expected.sum(), 1)
    assert p_value(np.bincount(left_out, minlength=3)[None], expected[None]) > 1e-3
    alone = annotator[np.isin(item, np.flatnonzero(counts == 1))]
    if average < 2:  # an item with one label is as if that were all there is
        assert p_value(np.bincount(alone, minlength=3)[None], weights[None]) > 1e-3


def test_annotator_of_no_weight_labels_nothing():
    _, annotator = drawing.assign(500, np.array([0.0, 1.0, 1.0]), 2, 0)
    assert set(annotator) == {1, 2}


@pytest.mark.parametrize(
    ("weights", "average", "message"),
    [
        ([1.0, 1.0, 0.0], 2.5, "between 0 and the 2 annotators that take part, found 2.5"),
        ([1.0, 1.0], -1, "found -1"),
        ([1.0, -1.0], 1, "not negative"),
        ([1.0, float("nan")], 1, "finite"),
    ],
)
def test_assign_refuses(weights, average, message):
    with pytest.raises(ValueError, match=message):
        drawing.assign(10, np.array(weights), average)


def test_participation_is_beta_with_a_floor():
    weights = drawing.participation(250, rng=3)
    assert_allclose(weights.sum(), 1)
    assert weights.min() > 0.06 * weights.mean()  # the floor is relative to the mean before it was applied
    assert weights.max() > 3 * weights.mean()
    free = drawing.participation(20000, a=2.0, b=5.0, floor=0, rng=0)
    scaled = free * (2 / 7) / free.mean()
    assert stats.kstest(scaled, stats.beta(2, 5).cdf).statistic < 0.015


@pytest.mark.parametrize("wrong", [{"n_annotators": 0}, {"a": 0}, {"b": -1}, {"floor": -0.1}])
def test_participation_refuses(wrong):
    with pytest.raises(ValueError, match="found"):
        drawing.participation(**{"n_annotators": 5, **wrong})


# ---------------------------------------------------------------------- what they say


@pytest.mark.parametrize("copying", [0.0, 0.6, 1.0])
def test_labels_follow_the_matrices(copying):
    y = np.random.default_rng(0).integers(4, size=6000)
    groups = np.array([0, 0, 1, -1])
    crowd = drawing.simulate(y, MATRICES, 2.5, seed=5, groups=groups, copying=copying)
    assert p_value(label_table(crowd, y), MATRICES) > 1e-3


def test_transposed_matrices_would_be_noticed():
    one_way = np.array([[[0.5, 0.5], [0.0, 1.0]]])  # class 1 is never called 0
    y = np.tile([0, 1], 500)
    crowd = drawing.simulate(y, one_way, 1, seed=0)
    assert (crowd.label[y == 1] == 1).all()
    assert 0.4 < (crowd.label[y == 0] == 0).mean() < 0.6


def test_impossible_classes_are_never_said():
    first, last = np.array([[[0, 0.3, 0.7]] * 3]), np.array([[[0.1] * 10 + [0]] * 11])  # ten tenths add up to less than 1
    zeros, ones = np.zeros(1, dtype=int), np.array([np.nextafter(1, 0)])
    assert drawing.draw(zeros, first, zeros, zeros, quantile=np.zeros(1)) == [1]
    assert drawing.draw(zeros, last, zeros, zeros, quantile=ones) == [9]


def test_draw_does_not_depend_on_the_chunk():
    rng = np.random.default_rng(0)
    y, item, annotator = rng.integers(4, size=50), rng.integers(50, size=300), rng.integers(4, size=300)
    whole = drawing.draw(y, MATRICES, item, annotator, 7)
    assert_array_equal(drawing.draw(y, MATRICES, item, annotator, 7, chunk=13), whole)


def test_same_seed_same_triples():
    y = np.arange(300) % 4
    first, again, other = (drawing.simulate(y, MATRICES, 1.7, seed=seed) for seed in (1, 1, 2))
    assert_array_equal([first.item, first.annotator, first.label], [again.item, again.annotator, again.label])
    assert not np.array_equal(first.annotator, other.annotator)


def test_copying_changes_answers_only():
    y = np.arange(400) % 4
    alone = drawing.simulate(y, MATRICES, 2, seed=1)
    for copying in (0.0, 0.5):
        crowd = drawing.simulate(y, MATRICES, 2, seed=1, groups=np.zeros(4, dtype=int), copying=copying)
        assert_array_equal(crowd.item, alone.item)
        assert_array_equal(crowd.annotator, alone.annotator)
        assert np.array_equal(crowd.label, alone.label) == (copying == 0)


def agreement(copying: float, groups, accuracy: float = 0.4) -> np.ndarray:
    """Share of items on which two annotators of equal matrices agree, for the pairs (0, 1) and (0, 2)."""
    matrices = np.stack([drawing.symmetric(accuracy, 4)] * 3)
    y = np.zeros(20000, dtype=int)
    crowd = drawing.simulate(y, matrices, 3, seed=4, groups=np.array(groups), copying=copying)
    said = crowd.label.reshape(-1, 3)
    return np.array([(said[:, 0] == said[:, 1]).mean(), (said[:, 0] == said[:, 2]).mean()])


def test_full_copying_makes_a_group_of_one_voice():
    within, between = agreement(1.0, [0, 0, 1])
    assert within == 1.0
    assert abs(between - (0.4**2 + 3 * 0.2**2)) < 0.02


def test_partial_copying_agrees_as_often_as_it_should():
    chance = 0.4**2 + 3 * 0.2**2
    within, _ = agreement(0.5, [0, 0, -1])
    assert abs(within - (0.25 + 0.75 * chance)) < 0.02
    none, outside = agreement(1.0, [-1, -1, -1])  # in no group: nobody to copy
    assert abs(none - chance) < 0.02
    assert abs(outside - chance) < 0.02


def test_permuting_annotators_permutes_the_law():
    y = np.random.default_rng(0).integers(4, size=8000)
    weights, order = np.array([0.4, 0.3, 0.2, 0.1]), np.array([2, 0, 3, 1])
    crowd = drawing.simulate(y, MATRICES[order], 1, seed=0, participation=weights[order])
    assert p_value(crowd.labels_per_annotator[None], weights[order][None]) > 1e-3
    assert p_value(label_table(crowd, y), MATRICES[order]) > 1e-3


def test_memory_grows_with_labels():
    """A million items and 200 annotators would be 1.6 GB at once."""
    import tracemalloc

    y = np.zeros(100_000, dtype=int)
    matrices = np.stack([drawing.symmetric(0.5, 4)] * 200)
    tracemalloc.start()
    crowd = drawing.simulate(y, matrices, 1.0, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(crowd) == 100_000
    assert peak < 0.9 * 100_000 * 200 * 8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"y": np.array([0, 4])}, "classes in 0 .. 3"),
        ({"y": np.array([0.0, 1.0])}, "found float64"),
        ({"confusion": MATRICES[:, :2]}, "annotators x classes x classes"),
        ({"confusion": MATRICES * 0.9}, "sum to one"),
        ({"confusion": MATRICES * np.nan}, "NaN"),
        ({"participation": np.ones(3)}, r"4 annotators, found \(3,\)"),
        ({"copying": 0.5}, "needs groups"),
        ({"copying": 1.5, "groups": np.zeros(4, dtype=int)}, "copying.*1.5"),
        ({"groups": np.zeros(3, dtype=int)}, "groups must be 4"),
        ({"labels_per_item": 5}, "found 5"),
    ],
)
def test_simulate_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        drawing.simulate(**{"y": np.array([0, 1]), "confusion": MATRICES, "labels_per_item": 1, **wrong})


def test_nothing_to_label():
    crowd = drawing.simulate(np.zeros(0, dtype=int), MATRICES, 2, groups=np.zeros(4, dtype=int), copying=0.5)
    assert len(crowd) == 0
