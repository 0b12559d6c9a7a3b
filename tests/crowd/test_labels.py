"""CrowdLabels: what it keeps, what it shows, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.crowd.labels import CrowdLabels
from tests.strategies import crowds

# Item 2 has no label, annotator 1 gave none; given out of order.
ITEM, ANNOTATOR, LABEL = [3, 0, 0, 1], [0, 2, 0, 2], [1, 2, 0, 2]


@pytest.fixture
def small() -> CrowdLabels:
    return CrowdLabels(ITEM, ANNOTATOR, LABEL, n_items=4, n_annotators=3, n_classes=3)


def assert_same(one: CrowdLabels, other: CrowdLabels) -> None:
    for name in ("item", "annotator", "label"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("n_items", "n_annotators", "n_classes"):
        assert getattr(one, name) == getattr(other, name), name


# ------------------------------------------------------------------ what it keeps and shows


def test_triples_are_sorted_copied_and_fixed():
    item = np.array(ITEM)
    small = CrowdLabels(item, ANNOTATOR, LABEL, n_items=4, n_annotators=3, n_classes=3)
    item[:] = 1
    assert small.item.tolist() == [0, 0, 1, 3]
    assert small.annotator.tolist() == [0, 2, 2, 0]
    assert small.label.tolist() == [0, 2, 2, 1]
    for column in (small.item, small.annotator, small.label):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1
    assert repr(small) == "CrowdLabels(4 labels: 4 items, 3 annotators, 3 classes)"


def test_views_by_hand(small):
    assert small.labels_per_item.tolist() == [2, 1, 0, 1]
    assert small.labels_per_annotator.tolist() == [2, 0, 2]
    assert small.offsets.tolist() == [0, 2, 3, 3, 4]
    assert small.counts.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [0, 1, 0]]
    dense = np.zeros((4, 9))
    dense[[0, 0, 1, 3], [0, 8, 8, 1]] = 1  # column: annotator * 3 + label
    np.testing.assert_array_equal(small.incidence.toarray(), dense)


@given(crowds())
def test_views_as_slow_loops(crowd):
    table = np.random.default_rng(0).random((crowd.n_items, crowd.n_classes))
    labels = list(zip(crowd.item, crowd.label, strict=True))
    assert crowd.said_in(table).tolist() == [table[i, k] for i, k in labels]
    said = [[k for i, k in labels if i == item] for item in range(crowd.n_items)]
    pairs = [sum(a == b for p, a in enumerate(row) for q, b in enumerate(row) if p != q) for row in said]
    assert crowd.agreeing_pairs.tolist() == pairs


@pytest.mark.parametrize(("items", "annotators"), [(0, 3), (3, 0)])
def test_crowds_without_labels_are_allowed(items, annotators):
    crowd = CrowdLabels([], [], [], items, annotators, 2)
    assert len(crowd) == 0
    assert crowd.counts.shape == (items, 2)
    assert crowd.offsets.tolist() == [0] * (items + 1)
    assert crowd.incidence.shape == (items, annotators * 2)
    assert crowd.to_frame().shape == (0, 3)
    assert crowd.true_confusion(np.zeros(items, dtype=int)).shape == (annotators, 2, 2)


def test_true_confusion_by_hand():
    crowd = CrowdLabels([0, 1, 2, 0], [0, 0, 0, 1], [0, 1, 1, 1], 3, 3, 2)
    plain = crowd.true_confusion([0, 0, 1])
    # Annotator 0 said 0 and 1 of class 0, and 1 of class 1; annotator 1 said 1 of class 0; annotator 2 said nothing.
    assert plain.tolist() == [[[0.5, 0.5], [0, 1]], [[0, 1], [0, 0]], [[0, 0], [0, 0]]]
    smooth = crowd.true_confusion([0, 0, 1], smoothing=1.0)
    np.testing.assert_allclose(smooth[1:], [[[1 / 3, 2 / 3], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]])


# ------------------------------------------------------------------ selections


@given(crowds(), st.data())
def test_select_items_renumbers_in_the_given_order(crowd, data):
    order = data.draw(st.permutations(range(crowd.n_items)))[: data.draw(st.integers(0, crowd.n_items))]
    part = crowd.select_items(order)
    assert (part.n_items, part.n_annotators, part.n_classes) == (len(order), crowd.n_annotators, crowd.n_classes)
    np.testing.assert_array_equal(part.incidence.toarray(), crowd.incidence.toarray()[order])
    assert_same(crowd.select_items(np.isin(range(crowd.n_items), order)), crowd.select_items(sorted(order)))


def test_selections_keep_names():
    crowd = CrowdLabels([0, 1, 2], [0, 0, 1], [0, 1, 1], 3, 2, 2, item_names=["a", "b", "c"], class_names=["no", "yes"])
    part = crowd.select_items([2, 0])
    assert part.item_names == ("c", "a")
    assert part.to_frame()["label"].tolist() == ["yes", "no"]
    assert crowd.select_labels(crowd.label == 1).to_frame()["item"].tolist() == ["b", "c"]
    with pytest.raises(ValueError, match=r"mask of shape \(3,\), found int64 of shape \(2,\)"):
        crowd.select_labels([0, 1])


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([0, 0], "must not repeat"),
        ([-1], r"items must lie in 0 \.\. 3, found -1"),
        ([True, False], r"mask needs the shape \(4,\), found \(2,\)"),
    ],
)
def test_select_items_refuses(small, items, message):
    with pytest.raises(ValueError, match=message):
        small.select_items(items)


# ------------------------------------------------------------------ from and to other shapes


@given(crowds())
def test_round_trip_through_a_dense_matrix(crowd):
    dense = np.full((crowd.n_items, crowd.n_annotators), -1)
    dense[crowd.item, crowd.annotator] = crowd.label
    assert_same(CrowdLabels.from_dense(dense, n_classes=crowd.n_classes), crowd)
    assert_same(CrowdLabels.from_dense(dense.astype(float), n_classes=crowd.n_classes), crowd)
    masked = np.ma.masked_equal(dense, -1)
    assert_same(CrowdLabels.from_dense(masked, n_classes=crowd.n_classes), crowd)


@given(crowds(), st.randoms(use_true_random=False))
def test_round_trip_through_a_table(crowd, random):
    sizes = {"items": crowd.n_items, "annotators": crowd.n_annotators, "classes": crowd.n_classes}
    names = {role: [f"{role} {number}" for number in range(size)] for role, size in sizes.items()}
    for given_names in names.values():
        random.shuffle(given_names)
    triples = (crowd.item, crowd.annotator, crowd.label)
    keys = ("item_names", "annotator_names", "class_names")
    named = CrowdLabels(*triples, *sizes.values(), **dict(zip(keys, names.values(), strict=True)))
    frame = named.to_frame()
    assert frame.columns.tolist() == ["item", "annotator", "label"]
    shuffled = frame.iloc[random.sample(range(len(frame)), len(frame))]
    again = CrowdLabels.from_frame(shuffled, **names)
    assert_same(again, crowd)
    assert again.item_names == tuple(names["items"])
    pd.testing.assert_frame_equal(again.to_frame(), frame)


def test_from_frame_with_other_columns_and_types():
    frame = pd.DataFrame(
        {
            "task": pd.Categorical(["t2", "t1", "t2"]),
            "worker": pd.array([7, 7, 5], dtype="Int64"),
            "answer": [True, False, False],
            "seconds": [1.0, None, 3.0],  # a column we do not ask for may have gaps
        }
    )
    crowd = CrowdLabels.from_frame(frame, item="task", annotator="worker", label="answer")
    assert crowd.item_names == ("t1", "t2")
    assert crowd.annotator_names == (5, 7)
    assert crowd.class_names == (False, True)
    assert crowd.counts.tolist() == [[1, 0], [1, 1]]


def test_names_may_be_pairs():
    crowd = CrowdLabels([0, 1], [0, 0], [0, 1], 2, 1, 2, item_names=[("page", 1), ("page", 2)])
    frame = crowd.to_frame()
    assert frame["item"].tolist() == [("page", 1), ("page", 2)]
    assert CrowdLabels.from_frame(frame, items=[("page", 2), ("page", 1)]).item.tolist() == [0, 1]


def test_whole_numbers_in_text_keep_their_order():
    frame = pd.DataFrame([(str(item), "a", str(item % 11 - 1)) for item in range(12)], columns=["item", "annotator", "label"])
    crowd = CrowdLabels.from_frame(frame)
    assert crowd.item_names == tuple(str(item) for item in range(12))
    assert crowd.class_names == tuple(str(label) for label in range(-1, 10))
    np.testing.assert_array_equal(crowd.label, crowd.item % 11)


# ------------------------------------------------------------------ bad input


GOOD = {"item": [0, 1], "annotator": [0, 0], "label": [0, 1], "n_items": 2, "n_annotators": 1, "n_classes": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [0, 2]}, r"label must lie in 0 \.\. 1, found 2 at position 1; 1 such values"),
        ({"annotator": [-3, 0]}, r"annotator must lie in 0 \.\. 0, found -3 at position 0"),
        ({"n_items": 0}, "item must be empty, found 0 at position 0; 2 such values"),
        ({"label": [0, np.nan]}, "label must hold whole numbers, found nan at position 1"),
        ({"label": [0, 0.5]}, "label must hold whole numbers, found 0.5 at position 1"),
        ({"label": ["cat", "dog"]}, "label must hold whole numbers, found values of type <U3"),
        ({"label": [True, False]}, "label must hold whole numbers, found values of type bool"),
        ({"label": [[0, 1]]}, r"label must be a vector, found shape \(1, 2\)"),
        ({"label": [0]}, r"equally long, found lengths \{'item': 2, 'annotator': 2, 'label': 1\}"),
        ({"item": [1, 1]}, r"\(item, annotator\) pair may occur once, found \(1, 0\) more than once; 1 such repeats"),
        ({"n_classes": 0}, "n_classes must be a whole number of at least 1, found 0"),
        ({"n_items": -1}, "n_items must be a whole number of at least 0, found -1"),
        ({"n_annotators": 1.5}, "n_annotators must be a whole number of at least 0, found 1.5"),
        ({"n_items": True}, "n_items must be a whole number of at least 0, found True"),
        ({"class_names": ["a"]}, "class_names must have 2 entries, found 1"),
        ({"item_names": ["a", "a"]}, "item_names must not repeat"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        CrowdLabels(**GOOD | change)
    CrowdLabels(**GOOD)  # and only because of the change


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([[0, np.nan]], {}, "labels hold 1 NaN; code a missing label as -1"),
        ([[0, 3]], {"n_classes": 2}, r"label must lie in 0 \.\. 1, found 3"),
        ([[0, -2]], {}, "label must be at least 0, found -2"),
        ([[0, 1.5]], {}, "label must hold whole numbers, found 1.5"),
        ([0, 1], {}, r"two axes items x annotators, found shape \(2,\)"),
        ([[-1, -1]], {}, "there are no labels, so n_classes must be given"),
    ],
)
def test_from_dense_refuses(labels, options, message):
    with pytest.raises(ValueError, match=message):
        CrowdLabels.from_dense(np.array(labels), **options)


ROWS = {"item": ["a", "b", "a"], "annotator": ["x", "x", "y"], "label": ["no", "yes", "no"]}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"item": "task"}, r"needs the columns \['task', 'annotator', 'label'\], each once, found \['item'"),
        ({"annotator": ["x", None, "y"]}, {}, "column 'annotator' has 1 empty cells, the first in row 1"),
        ({"item": ["b", "b", "b"]}, {}, r"pair may occur once, found \('b', 'x'\) more than once; 1 such repeats"),
        ({}, {"classes": ["no", "maybe"]}, "column 'label' has the value 'yes', expected one of 'no', 'maybe'"),
        ({}, {"items": ["a", "b", "a"]}, "item_names must not repeat"),
        ({"item": ["a", 1, 2]}, {}, "column 'item' must hold names of one type, found int, str"),
        ({"item": pd.Series([1, True, 2], dtype=object)}, {}, "column 'item' .* of one type, found bool, int"),
        ({"item": [[1], [2], [3]]}, {}, "column 'item' .* cannot be one: unhashable type: 'list'"),
        ({role: [] for role in ROWS}, {}, "no rows and no classes were given"),
    ],
)
def test_from_frame_refuses(change, options, message):
    with pytest.raises(ValueError, match=message):
        CrowdLabels.from_frame(pd.DataFrame(ROWS | change), **options)


@pytest.mark.parametrize("truth", [[0, 1, 0], [0, 1, 0, 3]])
def test_true_confusion_refuses_a_truth_that_does_not_fit(small, truth):
    with pytest.raises(ValueError, match="y must"):
        small.true_confusion(truth)
