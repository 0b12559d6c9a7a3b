"""What few labels say: hand values, a slow reference each, and that chance is told from difference."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lib.aggregation import sparsity
from lib.crowd.labels import CrowdLabels
from lib.plotting import crowds, matrices
from tests.strategies import simulated

# ---------------------------------------------------------------------- distances


def test_distance_by_hand():
    first, second = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.8, 0.2], [0.0, 0.0]])  # the second saw no class 1
    found = sparsity.confusion_distances(np.stack([first, second]))
    assert_allclose(found, [[0, (0.04 + 0.04 + 0 + 1) / 4], [(0.04 + 0.04 + 0 + 1) / 4, 0]])
    with pytest.raises(ValueError, match=r"\[annotators, true class, label\], found shape \(2, 2\)"):
        sparsity.confusion_distances(first)


# ---------------------------------------------------------------------- a crowd without differences


def test_interchangeable_keeps_who_labeled_what_and_the_whole_crowds_matrix():
    crowd, y = simulated(4000, 5, [0.95] * 10 + [0.4] * 10)
    found = sparsity.interchangeable(crowd, y, seed=1)
    assert_array_equal(found.item, crowd.item)
    assert_array_equal(found.annotator, crowd.annotator)
    assert_array_equal(found.label, sparsity.interchangeable(crowd, y, seed=1).label)
    assert (found.label != sparsity.interchangeable(crowd, y, seed=2).label).any()

    def pooled(labels):
        return CrowdLabels(np.arange(len(labels)), np.zeros(len(labels)), labels.label, len(labels), 1, 3)

    real, drawn = (pooled(one).true_confusion(y[one.item]) for one in (crowd, found))
    assert_allclose(drawn, real, atol=0.02)
    accuracy = found.true_confusion(y)[:, range(3), range(3)].mean(axis=1)
    assert accuracy[:10].mean() == pytest.approx(accuracy[10:].mean(), abs=0.03)  # 0.95 and 0.4 in the real crowd


def test_interchangeable_with_a_class_that_nobody_labeled():
    crowd = CrowdLabels([0, 1], [0, 1], [0, 1], n_items=3, n_annotators=2, n_classes=3)
    found = sparsity.interchangeable(crowd, np.array([0, 1, 2]), seed=0)
    assert_array_equal(found.label, [0, 1])


# ---------------------------------------------------------------------- spread of accuracies


def test_spread_is_the_mean_over_pairs():
    crowd, y = simulated(40, 1.5, [0.9, 0.7, 0.5])
    true = y[crowd.item]
    right = crowd.label == true
    typical = np.array([right[true == k].mean() for k in range(3)])
    products = [
        (right[a] - typical[true[a]]) * (right[b] - typical[true[b]])
        for a in range(len(crowd))
        for b in range(len(crowd))
        if a != b and crowd.annotator[a] == crowd.annotator[b]
    ]
    assert sparsity.accuracy_spread(crowd, y) == pytest.approx(np.mean(products))
    with pytest.raises(ValueError, match="two labels or more, found none"):
        sparsity.accuracy_spread(crowd.select_labels(np.arange(len(crowd)) < 1), y)
    with pytest.raises(ValueError, match="each of the 40 items, found 39"):
        sparsity.accuracy_spread(crowd, y[:-1])


def test_spread_finds_what_was_put_in():
    accuracies = np.random.default_rng(3).uniform(0.6, 0.95, 100)
    crowd, y = simulated(4000, 5, accuracies)
    assert math.sqrt(sparsity.accuracy_spread(crowd, y)) == pytest.approx(accuracies.std(), abs=0.015)
    assert abs(sparsity.accuracy_spread(sparsity.interchangeable(crowd, y, 0), y)) < 0.03**2


# ---------------------------------------------------------------------- own labels or the crowd's


def test_held_out_loss_by_hand():
    """Annotator 0 always says 0, annotator 1 always says 1, of items of class 0: no luck in which labels come first."""
    n = 24
    item, annotator = np.repeat(np.arange(n), 2), np.tile([0, 1], n)
    crowd = CrowdLabels(item, annotator, annotator, n, 2, 2)
    found = sparsity.held_out_loss(crowd, np.zeros(n, int), [4], seed=0, strength=5)
    own = (4 + 0.5) / 5
    other = 0.5 / (n + 1)  # the other annotator's labels, all different, and half a label of each class
    both = (4 + 5 * other) / 9
    assert found["estimate"].tolist() == list(sparsity.ESTIMATES)
    assert_allclose(found["loss"], [-math.log(own), -math.log(other), -math.log(both)])
    assert set(found["n_annotators"]) == {2}


def test_own_labels_pay_where_annotators_differ_and_only_there():
    crowd, y = simulated(2000, 5, [0.95] * 5 + [0.2] * 5)

    def gain(one):
        loss = sparsity.held_out_loss(one, y, [10, 200], seed=0).set_index(["n_labels", "estimate"])["loss"]
        return loss[200, "crowd"] - loss[200, "own"]

    assert gain(crowd) > 0.1
    assert gain(sparsity.interchangeable(crowd, y, 0)) < 0


def test_only_annotators_with_enough_labels_take_part():
    crowd, y = simulated(300, 5, [0.8] * 6)
    few = crowd.select_labels((crowd.annotator > 0) | (crowd.item < 30))
    assert set(sparsity.held_out_loss(few, y, [5, 50], seed=0)["n_annotators"]) == {5}
    with pytest.raises(ValueError, match=r"nobody has 5000 labels and 20 to spare; the most anybody has is \d+"):
        sparsity.held_out_loss(few, y, [5, 5000], seed=0)


# ---------------------------------------------------------------------- order and groups


def test_similar_annotators_become_neighbors():
    points = np.array([0.0, 5.0, 0.1, 5.1, 0.2])
    order = sparsity.similar_together((points[:, None] - points) ** 2)
    assert sorted(order) == list(range(5))
    assert {tuple(sorted(order[:2])), tuple(sorted(order[-2:]))} & {(1, 3)}


def test_explained_by_groups():
    confusion = np.random.default_rng(0).dirichlet(np.ones(3), size=(8, 3))
    groups = np.array([0, 0, 0, 2, 2, 2, 2, 3])  # group 1 is empty
    within = sum(((confusion[groups == g] - confusion[groups == g].mean(axis=0)) ** 2).sum() for g in (0, 2, 3))
    total = ((confusion - confusion.mean(axis=0)) ** 2).sum()
    assert sparsity.explained_by_groups(confusion, groups) == pytest.approx(1 - within / total)
    assert sparsity.explained_by_groups(confusion, np.zeros(8, int)) == pytest.approx(0)
    assert sparsity.explained_by_groups(confusion, np.arange(8)) == pytest.approx(1)
    assert sparsity.explained_by_groups(confusion[[0] * 8], groups) == 0
    with pytest.raises(ValueError, match=r"each of 8 annotators, found shape \(7,\)"):
        sparsity.explained_by_groups(confusion, groups[:-1])


# ---------------------------------------------------------------------- figures


def test_funnels_show_who_is_outside():
    crowd, y = simulated(400, 4, [0.8] * 20 + [0.1])
    nobody = CrowdLabels(crowd.item, crowd.annotator, crowd.label, crowd.n_items, 22, 3)  # the last labels nothing
    fig, data = crowds.funnels({"one": (nobody, y)})
    assert len(data) == 21
    assert not data.set_index("annotator")["inside"][20]
    right = crowd.label == y[crowd.item]
    assert_allclose(data["accuracy"], [right[crowd.annotator == r].mean() for r in range(21)])
    assert fig.axes[0].get_title() == f"one: {data['inside'].mean():.0%} inside"


def test_distance_maps_draw_what_they_return():
    distances = sparsity.confusion_distances(np.random.default_rng(1).dirichlet(np.ones(3), size=(5, 3)))
    annotators, n = np.array([7, 3, 9, 1, 4]), {"a": np.arange(1, 6), "b": np.arange(1, 6)}
    panels = {"a": (distances, annotators), "b": (distances, annotators)}
    fig, data = matrices.distance_maps(panels, limits={"a": (0, 1), "b": (0, 0.5)}, n_labels=n, ordered=True)
    images = [axis.collections[0] for axis in fig.axes if axis.get_xlabel() == "annotators"]
    order = sparsity.similar_together(distances)
    assert_allclose(images[0].get_array().reshape(5, 5), distances[np.ix_(order, order)])
    assert [image.get_clim() for image in images] == [(0, 1), (0, 0.5)]
    pair = data[(data["panel"] == "b") & (data["annotator"] == 3) & (data["other"] == 1)]
    assert pair["distance"].item() == distances[1, 3]
    assert order[pair["place"].item()] == 1
    plain, data = matrices.distance_maps({"a": panels["a"]})
    assert_allclose(plain.axes[0].collections[0].get_array().reshape(5, 5), distances)
    assert_allclose(plain.axes[0].collections[0].get_clim(), np.percentile(distances, [10, 90]))
    assert len(data) == 10
