"""Movie reviews: the facts of the published files, bags of words by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

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


@needs_data
def test_features_are_of_training_words_alone():
    data = datasets.load("moviereviews")
    counts = moviereviews.read_lda_c(download.path(moviereviews.FILES[0]))
    reviews = (counts > 0).sum(axis=0)
    assert all(reviews[0, word] >= moviereviews.MIN_REVIEWS for word in data.words)
    assert data.x.shape == (1500, len(data.words))
    assert data.x_test.shape == (3506, len(data.words))
    assert_allclose(data.x.norm(dim=1), 1, rtol=1e-5)
    # The first review by hand: logarithmic counts times the logarithm of rarity over training reviews.
    row = counts[0, list(data.words)].toarray()[0]
    rarity = np.log((1 + 1500) / (1 + np.asarray(reviews)[0, list(data.words)])) + 1
    expected = np.where(row > 0, 1 + np.log(np.maximum(row, 1)), 0)
    weight = expected * rarity
    assert_allclose(data.x[0], weight / np.linalg.norm(weight), rtol=1e-5, atol=1e-7)


@needs_data
def test_validation_part():
    data = datasets.load("moviereviews", validation=0.2, seed=1)
    assert (len(data.x), len(data.x_valid), data.crowd.n_items) == (1200, 300, 1200)
    whole = datasets.load("moviereviews")
    assert sorted(torch.cat([data.y, data.y_valid]).tolist()) == sorted(whole.y.tolist())
    other = datasets.load("moviereviews", validation=0.2, seed=2)
    assert not torch.equal(other.y_valid, data.y_valid)


def test_bags_by_hand(tmp_path):
    file = tmp_path / "bags.txt"
    file.write_text("2 0:1 4:3\n0\n1 1:2\n")
    assert moviereviews.read_lda_c(file).toarray().tolist() == [[1, 0, 0, 0, 3], [0] * 5, [0, 2, 0, 0, 0]]


@pytest.mark.parametrize("line", ["3 0:1 4:3", "1 0:x", "1 0", "", "one 0:1"])
def test_bad_bags(tmp_path, line):
    file = tmp_path / "bags.txt"
    file.write_text(f"1 0:1\n{line}\n")
    with pytest.raises(ValueError, match=r"bags.txt, line 2: expected 'n word:count ...' with n entries, found "):
        moviereviews.read_lda_c(file)
