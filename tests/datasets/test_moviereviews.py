"""Movie reviews: the facts of the published files, bags of words by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lib import datasets
from lib.aggregation import ratings
from lib.datasets import download, moviereviews
from lib.training import scoring

needs_data = pytest.mark.needs_data("moviereviews")


@needs_data
def test_facts():
    data = datasets.load("moviereviews")
    summary = data.summary()
    assert (summary["items"], summary["test_items"], summary["annotators"], summary["labels"]) == (1500, 3506, 135, 7440)
    assert summary["labels_per_item"] == pytest.approx(4.96)
    y, crowd = data.y.double().numpy(), data.crowd
    assert (round(y.mean(), 5), round(y.std(), 5)) == (0.57382, 0.18292)
    assert (crowd.value.min(), crowd.value.max()) == (-0.1, 1.1)  # the crowd's scale is wider than the truth's
    assert (crowd.labels_per_item.min(), crowd.labels_per_annotator.min(), crowd.labels_per_annotator.max()) == (4, 2, 1361)
    assert ratings.weights(crowd) @ ratings.true_bias(crowd, y) == pytest.approx(-0.0309, abs=1e-4)
    found = scoring.rating_scores(ratings.mean_rating(crowd), y)
    assert (round(found["r2"], 3), round(found["mae"], 3)) == (0.830, 0.061)


def bags(path) -> np.ndarray:
    """``[documents, words]`` counts of a file in LDA-C's format, line by line."""
    lines = [[pair.split(":") for pair in line.split()[1:]] for line in path.read_text().splitlines()]
    counts = np.zeros((len(lines), 1 + max(int(word) for line in lines for word, _ in line)))
    for row, line in zip(counts, lines, strict=True):
        for word, count in line:
            row[int(word)] = float(count)
    return counts


@needs_data
def test_features_are_of_training_words_alone():
    data = datasets.load("moviereviews")
    counts = bags(download.path(moviereviews.FILES[0]))
    reviews = (counts > 0).sum(axis=0)
    assert_array_equal(data.words, np.flatnonzero(reviews >= moviereviews.MIN_REVIEWS))
    for x, file in ((data.x, 0), (data.x_test, 1)):  # logarithmic counts times the logarithm of rarity in training reviews
        row = bags(download.path(moviereviews.FILES[file]))[:, list(data.words)]
        weight = np.where(row > 0, 1 + np.log(np.maximum(row, 1)), 0) * (np.log(1501 / (1 + reviews[list(data.words)])) + 1)
        length = np.maximum(np.linalg.norm(weight, axis=1, keepdims=True), 1e-12)
        assert_allclose(x, weight / length, rtol=1e-5, atol=1e-6)


@needs_data
def test_validation_part():
    data = datasets.load("moviereviews", validation=0.2, seed=1)
    assert (len(data.x), len(data.x_valid), data.crowd.n_items) == (1200, 300, 1200)
    whole = datasets.load("moviereviews")
    assert sorted(torch.cat([data.y, data.y_valid]).tolist()) == sorted(whole.y.tolist())
    other = datasets.load("moviereviews", validation=0.2, seed=2)
    assert not torch.equal(other.y_valid, data.y_valid)
