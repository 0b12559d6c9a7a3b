"""CrowdRatings: numbers instead of classes, with what the shared triples promise; data sets of them; the methods' tasks."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib import methods, networks
from lib.crowd.labels import CrowdLabels, CrowdRatings
from lib.datasets.batches import TrainingData
from lib.datasets.kinds import RatingDataset

# Item 2 has no rating, annotator 1 gave none; given out of order.
ITEM, ANNOTATOR, VALUE = [3, 0, 0, 1], [0, 2, 0, 2], [0.5, -1.25, 2, 1e6]


@pytest.fixture
def small() -> CrowdRatings:
    return CrowdRatings(ITEM, ANNOTATOR, VALUE, n_items=4, n_annotators=3)


@st.composite
def dense(draw) -> np.ndarray:
    """Small matrices of numbers with gaps."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 4)))
    number = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6, allow_nan=False))
    return np.array(draw(st.lists(number, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))).reshape(shape)


# ------------------------------------------------------------------ what it keeps and shows


def test_triples_and_views_by_hand(small):
    assert small.item.tolist() == [0, 0, 1, 3]
    assert small.annotator.tolist() == [0, 2, 2, 0]
    assert small.value.tolist() == small.said.tolist() == [2, -1.25, 1e6, 0.5]
    assert small.value.dtype == np.float64
    assert small.labels_per_item.tolist() == [2, 1, 0, 1]
    assert small.labels_per_annotator.tolist() == [2, 0, 2]
    assert small.offsets.tolist() == [0, 2, 3, 3, 4]
    assert repr(small) == "CrowdRatings(4 ratings: 4 items, 3 annotators)"
    assert (small.task, small.n_outputs) == ("regression", 1)
    part = small.select_items([3, 2, 0])
    assert isinstance(part, CrowdRatings)
    assert (part.item.tolist(), part.annotator.tolist(), part.value.tolist()) == ([0, 2, 2], [0, 0, 2], [0.5, 2, -1.25])


@given(dense())
def test_dense_and_back(values):
    crowd = CrowdRatings.from_dense(values)
    again = np.full(values.shape, np.nan)
    again[crowd.item, crowd.annotator] = crowd.value
    np.testing.assert_array_equal(again, values)
    coded = CrowdRatings.from_dense(np.where(np.isnan(values), 999999999, values), missing=999999999)
    masked = CrowdRatings.from_dense(np.ma.masked_invalid(values))
    for other in (coded, masked):
        for name in ("item", "annotator", "value"):
            np.testing.assert_array_equal(getattr(other, name), getattr(crowd, name))


@given(dense().filter(lambda values: np.isfinite(values).any()))
def test_table_and_back(values):
    names = {"item_names": [f"i{n}" for n in range(len(values))], "annotator_names": [f"r{n}" for n in range(values.shape[1])]}
    crowd = CrowdRatings.from_dense(values, **names)
    frame = crowd.to_frame()
    assert list(frame.columns) == ["item", "annotator", "value"]
    shuffled = frame.sample(frac=1, random_state=0).astype({"value": str})  # numbers may be text
    other = CrowdRatings.from_frame(shuffled, items=crowd.item_names, annotators=crowd.annotator_names)
    pd.testing.assert_frame_equal(other.to_frame(), frame)
    assert (other.n_items, other.n_annotators) == values.shape


# ------------------------------------------------------------------ what it refuses

GOOD = {"item": [0, 1], "annotator": [0, 0], "value": [0.5, 1], "n_items": 2, "n_annotators": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": [-np.inf, np.nan]}, "value must hold finite numbers, found -inf at position 0; 2 such values"),
        ({"value": ["0.5", "1"]}, "value must hold numbers, found values of type <U3"),
        ({"value": [True, False]}, "value must hold numbers, found values of type bool"),
        ({"value": [[0.5], [1]]}, r"value must be a vector, found shape \(2, 1\)"),
        ({"value": [0.5]}, "item, annotator and value must be equally long, found lengths .*'value': 1"),
    ],
)
def test_bad_triples(changes, message):
    with pytest.raises(ValueError, match=message):
        CrowdRatings(**GOOD | changes)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([0.5, 1], {}, r"the two axes items x annotators, found shape \(2,\)"),
        ([["a", "b"]], {}, "values must hold numbers, found values of type <U1"),
        ([[0.5, np.inf]], {}, "value must hold finite numbers, found inf at position 1; 1 such values"),
        ([[np.nan, 1]], {"missing": -1}, "value must hold finite numbers, found nan at position 0"),
    ],
)
def test_bad_matrices(values, options, message):
    with pytest.raises(ValueError, match=message):
        CrowdRatings.from_dense(values, **options)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("a", "r", "0.5"), ("a", "s", "good")],
            "column 'value' must hold finite numbers, found 'good' in row 1; 1 such",
        ),
        ([("a", "r", None)], "column 'value' has 1 empty cells, the first in row 0"),
        ([("a", "r", 0.5), ("a", "r", 0.6)], r"pair may occur once, found \('a', 'r'\) more than once"),
    ],
)
def test_bad_tables(rows, message):
    with pytest.raises(ValueError, match=message):
        CrowdRatings.from_frame(pd.DataFrame(rows, columns=["item", "annotator", "value"]))


# ------------------------------------------------------------------ data sets and methods of the task


def rated(small, **changes) -> RatingDataset:
    x = torch.arange(12.0).reshape(4, 3)
    y = torch.tensor([1.0, 2.0, 0.0, 0.5])
    return RatingDataset(**{"name": "r", "title": "R", "x": x, "crowd": small, "y": y, "x_test": x, "y_test": y} | changes)


def test_data_set_of_ratings(small):
    data = rated(small)
    assert data.n_outputs == 1
    summary = data.summary()
    assert (summary["items"], summary["test_items"], summary["labels"], summary["annotators"]) == (4, 4, 4, 3)
    assert summary["rating_mae"] == pytest.approx((1 + 2.25 + 999998 + 0) / 4)
    assert replace(data, y=None).summary()["rating_mae"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": torch.tensor([0, 1, 0, 1])}, r"y must be float32 \[4\], as x, found torch.int64 \(4,\)"),
        ({"y": torch.tensor([0.0, 1.0])}, r"y must be float32 \[4\], as x, found torch.float32 \(2,\)"),
        ({"y_test": torch.tensor([0.0, 1.0, torch.nan, torch.inf])}, "y_test is not finite in 2 items, the first is item 2"),
        ({"x": torch.zeros(3, 3), "y": None}, "the crowd labels are of 4 items, found 3 in x"),
    ],
)
def test_bad_data_sets(small, changes, message):
    with pytest.raises(ValueError, match=f"r: {message}"):
        rated(small, **changes)


def test_batches_hold_the_values(small):
    data = TrainingData(rated(small), torch.device("cpu"))
    batch = next(data.batches(8, np.random.default_rng(0)))
    assert batch.label.dtype == torch.float32
    wanted = {(i, r): v for i, r, v in zip(small.item, small.annotator, small.value, strict=True)}
    items = batch.items[batch.position].tolist()
    found = dict(zip(zip(items, batch.annotator.tolist(), strict=True), batch.label.tolist(), strict=True))
    assert found == wanted


def test_a_method_for_another_task_is_an_error(small):
    make = functools.partial(networks.build, "linear", (3,), 1)
    with pytest.raises(
        ValueError, match=r"method 'ccem' is for classification, the crowd was asked for regression: CrowdRatings"
    ):
        methods.build("ccem", make, small)
    assert "ccem" in methods.names("classification")
    assert "ccem" not in methods.names("regression")
    labels = CrowdLabels.from_dense([[0, 1]])
    assert (labels.task, labels.n_outputs) == ("classification", 2)
