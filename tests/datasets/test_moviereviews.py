"""Movie reviews: the facts of the published files, bags of words by hand, and what is refused."""

from collections import Counter

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


def bags(file: str) -> list[dict[int, int]]:
    """The counts of each review's words in a file in LDA-C's format, line by line."""
    lines = download.path(file).read_text().splitlines()
    return [dict(map(int, pair.split(":")) for pair in line.split()[1:]) for line in lines]


@needs_data
def test_features_are_of_training_words_alone():
    data = datasets.load("moviereviews")
    train, test = (bags(file) for file in moviereviews.FILES[:2])
    reviews = Counter(word for bag in train for word in bag)
    assert list(data.words) == sorted(word for word, n in reviews.items() if n >= moviereviews.MIN_REVIEWS)
    rarity = {word: np.log(1501 / (1 + reviews[word])) + 1 for word in data.words}  # in training reviews
    for x, bag in zip((*data.x[:40], *data.x_test[:40]), (*train[:40], *test[:40]), strict=True):
        weight = np.array([(1 + np.log(bag[word])) * rarity[word] if word in bag else 0 for word in data.words])
        assert_allclose(x, weight / np.linalg.norm(weight), rtol=1e-5, atol=1e-6)


@needs_data
def test_validation_part():
    data = datasets.load("moviereviews", validation=0.2, seed=1)
    assert (len(data.x), len(data.x_valid), data.crowd.n_items) == (1200, 300, 1200)
    whole = datasets.load("moviereviews")
    assert sorted(torch.cat([data.y, data.y_valid]).tolist()) == sorted(whole.y.tolist())
    other = datasets.load("moviereviews", validation=0.2, seed=2)
    assert not torch.equal(other.y_valid, data.y_valid)
