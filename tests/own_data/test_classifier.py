"""Held-out predictions never saw the item; a classifier comes back from its file the same, and refuses what it cannot use."""

import pickle

import numpy as np
import pandas as pd
import pytest

from lib.crowd.labels import CrowdLabels
from lib.own_data import classifier
from lib.own_data.features import Source
from lib.own_data.tables import Refusal
from lib.training.recipe import Recipe

SHORT = Recipe(epochs=10, batch_size=16, lr=0.01)


def separable(n_items=60, unlabeled=6):
    """Two clouds, three annotators of whom one always says 0; the last items have no labels."""
    rng = np.random.default_rng(0)
    y = np.arange(n_items) % 2
    values = rng.normal(size=(n_items, 3)) * [1, 1, 0] + np.outer(y, [5, 0, 0]) + [0, 1000, 7]
    features = pd.DataFrame(values, columns=["far", "noise", "constant"], index=[f"item {i}" for i in range(n_items)])
    dense = np.stack([y, y, np.zeros_like(y)], axis=1)
    dense[n_items - unlabeled :] = -1
    return y, features, CrowdLabels.from_dense(dense, item_names=list(features.index), class_names=["low", "high"])


def test_held_out_and_unlabeled_items_are_recognized():
    y, features, crowd = separable()
    told = []
    held = classifier.held_out(features, crowd, SHORT, progress=told.append)
    assert set(held.agreement) == set(classifier.METHODS)
    assert held.agreement[held.method] == max(held.agreement.values())
    assert (held.prob.argmax(axis=1) == y).mean() > 0.95
    np.testing.assert_allclose(held.prob.sum(axis=1), 1)
    assert told[-1].startswith("training 15 of 15")
    assert "left" in told[0]


def test_no_network_sees_the_labels_that_it_is_judged_by(monkeypatch):
    _, features, crowd = separable()
    seen = []

    def train(x, rest, method, recipe, seed, device):
        seen.append(set(rest.item.tolist()))
        return seen[-1]

    def predicted(network, x):
        return np.full((len(x), 2), 0.5)

    monkeypatch.setattr(classifier, "_train", train)
    monkeypatch.setattr(classifier, "_predicted", predicted)
    classifier.held_out(features, crowd, SHORT)
    labeled = set(crowd.item.tolist())
    for start in range(0, len(seen), 3):
        assert 9 <= len(labeled - seen[start]) <= 11
    assert set.union(*(labeled - items for items in seen)) == labeled


def test_a_classifier_comes_back_from_its_file_the_same(tmp_path):
    y, features, crowd = separable()
    made = classifier.train(features, crowd, "majority-vote", Source("columns", tuple(features.columns)), SHORT, seeds=(0, 1))
    made.save(tmp_path / "classifier")
    again = classifier.load(tmp_path / "classifier")
    prob = made.predict_proba(features)
    pd.testing.assert_frame_equal(prob, again.predict_proba(features[["noise", "constant", "far"]]))
    assert list(prob.columns) == ["low", "high"]
    assert (prob.to_numpy().argmax(axis=1) == y).mean() > 0.95
    assert again.source == Source("columns", ("far", "noise", "constant"))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_features_that_are_no_numbers_are_refused(value):
    _, features, crowd = separable()
    made = classifier.train(features, crowd, "majority-vote", Source("columns"), Recipe(epochs=1), seeds=(0,))
    with pytest.raises(Refusal, match="missing: 'noise'"):
        made.predict_proba(features[["far", "constant"]])
    features.iloc[3, 1] = value
    message = "finite numbers, found .* for item 'item 3' in column 'noise'; 1 such cells"
    with pytest.raises(Refusal, match=message):
        made.predict_proba(features)
    with pytest.raises(Refusal, match=message):
        classifier.held_out(features, crowd, SHORT)


def test_a_constant_that_rounding_hides_is_left_alone():
    """The standard deviation of 0.1 is not exactly 0; and 0.1 added up three times is no longer 0.3."""
    features = pd.DataFrame({"x": [0.1] * 7, "z": [0.3, 0.1 + 0.1 + 0.1] * 3 + [0.3], "y": np.arange(7) * 1e200})
    mean, scale = classifier._scale(features)
    assert scale[:2].tolist() == [1, 1]
    assert np.isfinite(mean).all()
    assert scale[2] == pytest.approx(2e200)


def test_too_few_items_are_refused():
    _, features, crowd = separable(8, 0)
    with pytest.raises(Refusal, match="at least 10 labeled items, found 8"):
        classifier.held_out(features, crowd, SHORT)


def test_foreign_files_are_refused_and_never_run(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for content in (b"text", b"", pickle.dumps({"a": 1}), (tmp_path / "other.npz").read_bytes()):
        (tmp_path / "classifier").write_bytes(content)
        with pytest.raises(Refusal, match=r"not a classifier .*; expected the file DIR/classifier of a run$"):
            classifier.load(tmp_path / "classifier")
    with pytest.raises(FileNotFoundError):
        classifier.load(tmp_path / "nowhere")


def test_more_items_are_trained_on_in_larger_batches():
    small, large = classifier.recipe_for(500), classifier.recipe_for(50_000)
    assert (small.batch_size, small.epochs) == (32, 50)
    assert (large.batch_size, large.epochs) == (512, 10)
