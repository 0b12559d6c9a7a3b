"""Simulated annotators: their labels follow the matrices, whoever labels follows the weights."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from lib.simulation import drawing
from tests.simulation.counts import p_value

MATRICES = np.stack([drawing.symmetric(0.7, 4), drawing.pair_confusion(0.6, [1, 0, 3, 2]), drawing.constant(2, 4), np.eye(4)])
either = pytest.mark.parametrize("assign", [drawing.assign, drawing.assign_among_many])


# ---------------------------------------------------------------------- matrices


def test_matrices_by_hand():
    assert_allclose(drawing.symmetric(0.7, 4)[1], [0.1, 0.7, 0.1, 0.1])
    assert_allclose(drawing.pair_confusion(0.5, [1, 0, 3, 2], share=0.8)[0], [0.5, 0.4, 0.05, 0.05])
    assert_allclose(drawing.pair_confusion(0.6, [1, 0], share=0.8), [[0.6, 0.4], [0.4, 0.6]])
    assert_allclose(drawing.constant(1, 3), [[0, 1, 0]] * 3)


# ---------------------------------------------------------------------- who labels what


@either
@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(0, 60),
    annotators=st.integers(1, 12),
    average=st.floats(0, 12),
    idle=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_assign_properties(assign, items, annotators, average, idle, seed):
    weights = drawing.participation(annotators, rng=seed)
    weights[0] = 0 if idle and annotators > 1 else weights[0]
    average = min(average, (weights > 0).sum())
    item, annotator = assign(items, weights, average, seed)
    assert len(item) == round(items * average)  # the average is exact
    assert (np.diff(item * annotators + annotator) > 0).all()  # sorted, and no pair twice
    assert ((annotator >= 0) & (annotator < annotators)).all()
    assert (weights[annotator] > 0).all()
    counts = np.bincount(item, minlength=items)
    assert ((counts == np.floor(average)) | (counts == np.ceil(average))).all()


@pytest.mark.parametrize(
    ("assign", "rounds"), [(drawing.assign, 0), (drawing.assign_among_many, drawing.ROUNDS), (drawing.assign_among_many, 0)]
)
@pytest.mark.parametrize("average", [2, 1.5])
def test_assign_draws_one_after_the_other(assign, rounds, average, monkeypatch):
    """Two of three without replacement: P(both r and s) = w_r w_s (1 / (1 - w_r) + 1 / (1 - w_s)); also where those who are
    left are weighed one by one."""
    monkeypatch.setattr(drawing, "ROUNDS", rounds)
    weights, items = np.array([0.5, 0.3, 0.2]), 30000
    item, annotator = assign(items, weights, average, 1)
    counts = np.bincount(item, minlength=items)
    left_out = 3 - np.bincount(item, weights=annotator, minlength=items)[counts == 2].astype(int)
    expected = np.array([np.prod(w) * (1 / (1 - w)).sum() for w in (weights[[1, 2]], weights[[0, 2]], weights[[0, 1]])])
    assert p_value(np.bincount(left_out, minlength=3)[None], expected[None]) > 1e-3
    if average < 2:  # an item with one label is as if that were all there is
        alone = annotator[np.isin(item, np.flatnonzero(counts == 1))]
        assert p_value(np.bincount(alone, minlength=3)[None], weights[None]) > 1e-3


@either
def test_nothing_depends_on_the_chunk(assign, monkeypatch):
    weights = np.array([1e9, 1e9, 1.0, 2.0, 3.0])  # two that are drawn again and again
    y, matrices = np.arange(200) % 4, MATRICES[[0, 1, 2, 3, 0]]

    def drawn():
        crowd = drawing.simulate(y, matrices, 4, 5, weights, assign=assign)
        return crowd.item, crowd.annotator, crowd.label

    whole = drawn()
    monkeypatch.setattr(drawing, "CHUNK", 13)
    assert_array_equal(drawn(), whole)
    behind = np.bincount(whole[1], minlength=5)[2:]
    w = np.array([1.0, 2.0, 3.0]) / 6
    left_out = [w[a] * w[b] * (1 / (1 - w[a]) + 1 / (1 - w[b])) for a, b in ((1, 2), (0, 2), (0, 1))]
    assert p_value(behind[None], (1 - np.array(left_out))[None] / 2) > 1e-3


@either
def test_memory_is_bounded(assign):
    """Items times annotators would be 160 MB at once."""
    y, matrices = np.zeros(100_000, dtype=int), np.stack([drawing.symmetric(0.5, 4)] * 200)
    tracemalloc.start()
    crowd = drawing.simulate(y, matrices, 1.0, assign=assign)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(crowd) == 100_000
    assert peak < (145e6 if assign is drawing.assign else 30e6)


def test_participation_is_beta_with_a_floor():
    weights = drawing.participation(250, rng=3)
    assert_allclose(weights.sum(), 1)
    assert weights.min() > 0.06 * weights.mean()  # the floor is relative to the mean before it was applied
    assert weights.max() > 3 * weights.mean()
    free = drawing.participation(20000, a=2.0, b=5.0, floor=0, rng=0)
    scaled = free * (2 / 7) / free.mean()
    assert stats.kstest(scaled, stats.beta(2, 5).cdf).statistic < 0.015


# ---------------------------------------------------------------------- what they say


@pytest.mark.parametrize("copying", [0.0, 0.6, 1.0])
def test_labels_follow_the_matrices(copying):
    y = np.random.default_rng(0).integers(4, size=6000)
    groups = np.array([0, 0, 1, -1])
    crowd = drawing.simulate(y, MATRICES, 2.5, seed=5, groups=groups, copying=copying)
    assert p_value(crowd.confusion_counts(y), MATRICES) > 1e-3


def test_impossible_classes_are_never_said():
    first, last = np.array([[[0, 0.3, 0.7]] * 3]), np.array([[[0.1] * 10 + [0]] * 11])  # ten tenths add up to less than 1
    zeros, ones = np.zeros(1, dtype=int), np.array([np.nextafter(1, 0)])
    assert drawing.draw(zeros, first, zeros, zeros, quantile=np.zeros(1)) == [1]
    assert drawing.draw(zeros, last, zeros, zeros, quantile=ones) == [9]


def test_copying_changes_answers_only():
    y = np.arange(400) % 4
    alone = drawing.simulate(y, MATRICES, 2, seed=1)
    for copying in (0.0, 0.5):
        crowd = drawing.simulate(y, MATRICES, 2, seed=1, groups=np.zeros(4, dtype=int), copying=copying)
        assert_array_equal(crowd.item, alone.item)
        assert_array_equal(crowd.annotator, alone.annotator)
        assert np.array_equal(crowd.label, alone.label) == (copying == 0)


@pytest.mark.parametrize(
    ("copying", "groups", "within"),
    [(1.0, [0, 0, 1], 1.0), (0.5, [0, 0, -1], 0.25 + 0.75 * 0.28), (1.0, [-1, -1, -1], 0.28)],  # in no group: nobody to copy
)
def test_a_group_agrees_as_often_as_it_should(copying, groups, within):
    """Two annotators of accuracy 0.4 among four classes agree by chance with probability 0.4² + 3 · 0.2² = 0.28."""
    matrices = np.stack([drawing.symmetric(0.4, 4)] * 3)
    crowd = drawing.simulate(np.zeros(20000, dtype=int), matrices, 3, seed=4, groups=np.array(groups), copying=copying)
    said = crowd.label.reshape(-1, 3)
    found = (said[:, 0] == said[:, 1]).mean(), (said[:, 0] == said[:, 2]).mean()
    assert_allclose(found, (within, 0.28), rtol=0, atol=0.02)
    assert within < 1 or found[0] == 1


# ---------------------------------------------------------------------- what is refused


def simulate(**wrong):
    return drawing.simulate(**{"y": np.array([0, 1]), "confusion": MATRICES, "labels_per_item": 1, **wrong})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: drawing.symmetric(1.2, 3), "accuracy.*1.2"),
        (lambda: drawing.symmetric(float("nan"), 3), "accuracy.*nan"),
        (lambda: drawing.symmetric(1, 1), "at least 2, found 1"),
        (lambda: drawing.pair_confusion(0.5, [0, 1]), "own partner, found class 0"),
        (lambda: drawing.pair_confusion(0.5, [1, 2]), r"classes 0 .. 1 .*\[1, 2\]"),
        (lambda: drawing.constant(3, 3), "label must lie between 0 and 2, found 3"),
        (lambda: drawing.participation(0), "at least 1, found 0"),
        (lambda: drawing.participation(5, a=0), "found a=0"),
        (lambda: drawing.participation(5, b=-1), "b=-1"),
        (lambda: drawing.participation(5, floor=-0.1), "floor=-0.1"),
        (lambda: simulate(y=np.array([0, 4])), "classes in 0 .. 3"),
        (lambda: simulate(y=np.array([0.0, 1.0])), "found float64"),
        (lambda: simulate(confusion=MATRICES[:, :2]), "annotators x classes x classes"),
        (lambda: simulate(confusion=MATRICES * 0.9), "sum to one"),
        (lambda: simulate(confusion=MATRICES * np.nan), "NaN"),
        (lambda: simulate(participation=np.ones(3)), r"4 annotators, found \(3,\)"),
        (lambda: simulate(copying=0.5), "needs groups"),
        (lambda: simulate(copying=1.5, groups=np.zeros(4, dtype=int)), "copying.*1.5"),
        (lambda: simulate(groups=np.zeros(3, dtype=int)), "groups must be 4"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@either
@pytest.mark.parametrize(
    ("weights", "average", "message"),
    [
        ([1.0, 1.0, 0.0], 2.5, "between 0 and the 2 annotators that take part, found 2.5"),
        ([1.0, 1.0], float("nan"), "found nan"),
        ([1.0, -1.0], 1, "not negative"),
        ([1.0, float("nan")], 1, "finite"),
        ([0.0, 0.0], 1, "between 0 and the 0 annotators"),
    ],
)
def test_assign_refuses(assign, weights, average, message):
    with pytest.raises(ValueError, match=message):
        assign(10, np.array(weights), average)
