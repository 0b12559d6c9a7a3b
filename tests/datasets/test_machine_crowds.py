"""Crowds of machine annotators: what is drawn from what they say, and that no image plays two parts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lib import datasets
from lib.datasets import machine_crowds

SAID = np.random.default_rng(0).integers(0, 10, (15, 3000))
SMALL = {"sketch": True, "items": 200, "n_valid": 100, "n_test": 100}
NAMES = [pytest.param(name, marks=pytest.mark.needs_data(name)) for name in ("mnist_machines", "fashion_mnist_machines")]


def triples(crowd, chosen) -> set[tuple[int, int, int]]:
    return set(zip(chosen[crowd.item].tolist(), crowd.annotator.tolist(), crowd.label.tolist(), strict=True))


def test_no_image_plays_two_parts():
    parts = machine_crowds.divide(60_000, 500, 20_000)
    assert {name: len(part) for name, part in parts.items()} == {"machines": 10_000, "pool": 20_000, "valid": 500}
    assert len(set(np.concatenate(list(parts.values())))) == 30_500
    other = machine_crowds.divide(60_000, 100, 4000)
    assert_array_equal(other["machines"], parts["machines"])
    assert_array_equal(other["pool"], parts["pool"][:4000])


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.6, 1.0])
def test_labels_are_kept_with_the_probability_and_are_what_was_said(probability):
    chosen, crowd = machine_crowds.draw(SAID, 2000, probability, seed=1, n_classes=10)
    assert len(set(chosen)) == 2000
    assert_array_equal(crowd.label, SAID[crowd.annotator, chosen[crowd.item]])
    share = crowd.labels_per_annotator / 2000
    assert_allclose(share, probability, atol=4 * np.sqrt(probability * (1 - probability) / 2000))


def test_a_higher_probability_adds_labels_of_the_same_images():
    few, more = (machine_crowds.draw(SAID, 500, p, seed=2, n_classes=10) for p in (0.1, 0.3))
    assert_array_equal(few[0], more[0])
    assert triples(few[1], few[0]) < triples(more[1], more[0])
    same, other = (machine_crowds.draw(SAID, 500, 0.1, seed=seed, n_classes=10) for seed in (2, 3))
    assert triples(same[1], same[0]) == triples(few[1], few[0]) != triples(other[1], other[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: machine_crowds.divide(60_000, -1, 4000), "between 0 and 46000, found -1"),
        (lambda: machine_crowds.divide(60_000, 46_001, 4000), "between 0 and 46000, found 46001"),
        (lambda: machine_crowds.draw(SAID, 3001, 0.1, 0, 10), "between 1 and 3000, found 3001"),
        (lambda: machine_crowds.draw(SAID, 0, 0.1, 0, 10), "between 1 and 3000, found 0"),
        (lambda: machine_crowds.draw(SAID, 10, 1.1, 0, 10), "between 0 and 1, found 1.1"),
        (lambda: machine_crowds.draw(SAID, 10, float("nan"), 0, 10), "between 0 and 1, found nan"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", NAMES)
def test_loaded(name):
    data = datasets.load(name, **SMALL)
    assert data.crowd.n_annotators == len(data.machines) == 15
    assert data.true_confusion.shape == (15, 10, 10)
    assert (len(data.x), len(data.x_valid), len(data.x_test)) == (200, 100, 100)
    own = data.true_confusion.diagonal(axis1=1, axis2=2).mean(axis=1)
    right = (data.crowd.label == data.y.numpy()[data.crowd.item]).mean()
    assert own.mean() > 0.3  # sketches, but no guessers
    assert right == pytest.approx(own.mean(), abs=0.12)
    again = datasets.load(name, **SMALL)
    assert_array_equal(again.crowd.label, data.crowd.label)
    more = datasets.load(name, **SMALL | {"probability": 1.0, "crowd_seed": 4})
    assert (more.crowd.labels_per_item == 15).all()
