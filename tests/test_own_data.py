"""Reading features beside labels, training without any truth, and what is written; the example that ships with it."""

from __future__ import annotations

import errno

import numpy as np
import pandas as pd
import pytest
import torch

from lib import own_data
from lib.crowd.labels import CrowdLabels
from lib.datasets import wine_tasting
from lib.training.recipe import Recipe

SHORT = Recipe(epochs=15, batch_size=16, lr=0.01)


@pytest.fixture
def labels() -> CrowdLabels:
    frame = pd.DataFrame({"item": ["b", "a", "b"], "annotator": ["ann", "ann", "ben"], "label": ["no", "yes", "no"]})
    return CrowdLabels.from_frame(frame, annotators=["ann", "ben", "cy"], classes=["no", "yes", "perhaps"])


def separable(n_items=60, unlabeled=6):
    """Two clouds, three annotators of whom one always says 0; the last items have no labels."""
    rng = np.random.default_rng(0)
    y = np.arange(n_items) % 2
    values = rng.normal(size=(n_items, 3)) * [1, 1, 0] + np.outer(y, [5, 0, 0]) + [0, 1000, 7]
    features = pd.DataFrame(values, columns=["far", "noise", "constant"], index=[f"item {i}" for i in range(n_items)])
    dense = np.stack([y, y, np.zeros_like(y)], axis=1)
    dense[n_items - unlabeled :] = -1
    return y, features, CrowdLabels.from_dense(dense, item_names=list(features.index), class_names=["low", "high"])


# ------------------------------------------------------------------ reading


def written(folder, text):
    path = folder / "features.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_features_come_in_the_order_of_their_file(tmp_path, labels):
    path = written(tmp_path, "name,width,height\na,1,2.5\nc,-3,1e3\nb,0,4\n")
    features, crowd = own_data.read_features(path, labels)
    expected = pd.DataFrame({"width": [1.0, -3, 0], "height": [2.5, 1000, 4]}, index=pd.Index(["a", "c", "b"], name="name"))
    pd.testing.assert_frame_equal(features, expected)
    assert crowd.item_names == ("a", "c", "b")
    assert crowd.labels_per_item.tolist() == [1, 0, 2]
    assert (crowd.n_annotators, crowd.n_classes) == (3, 3)  # also those that occur in no row
    key = ["item", "annotator"]
    pd.testing.assert_frame_equal(
        crowd.to_frame().sort_values(key, ignore_index=True), labels.to_frame().sort_values(key, ignore_index=True)
    )


def test_names_are_compared_as_text(tmp_path):
    crowd = CrowdLabels.from_dense([[0], [1]], item_names=[7, 8])
    features, arranged = own_data.read_features(written(tmp_path, "item,x\n8,1\n7,2\n"), crowd)
    assert features.index.tolist() == ["8", "7"]
    assert arranged.label.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item\na\nb\n", r"at least one of numbers, found \['item'\]"),
        ("item,x\na,1\n", r"1 items of the labels have no row of features: 'b'; expected one for each"),
        ("item,x\nA,1\nB,1\n", r"2 items of the labels have no row of features: 'a', 'b'"),
        ("item,x\na,1\nb,tall\n", r"column 'x' must hold finite numbers, found 'tall' for item 'b'; 1 such cells"),
        ("item,x\na,1\nb,\n", r"column 'x' must hold finite numbers, found '' for item 'b'"),
        ("item,x,y\na,1,nan\nb,2,3\n", r"column 'y' must hold finite numbers, found 'nan' for item 'a'"),
        ("item,x\na,inf\nb,2\n", r"column 'x' must hold finite numbers, found 'inf' for item 'a'"),
        ("item,x\na,1\nb,2\na,3\n", r"each item may have one row, found 'a' again; 1 such rows"),
        ("item,x\na,1\nb,2\n,3\n", r"column 'item' has 1 items without a name, the first in row 2"),
        ("item,x\na,1,5\nb,2,5\n", "Length of header or names"),
        ("item,x\na,1\nb,2,3,4\n", "Expected 2 fields in line 3, saw 4"),
        ("", "No columns to parse"),
    ],
)
def test_bad_features_are_refused_by_name(tmp_path, labels, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        own_data.read_features(path, labels)
    assert str(caught.value).startswith(f"{path}: ")


def test_no_features_file(tmp_path, labels):
    with pytest.raises(FileNotFoundError, match=r"no CSV file of features at .*absent\.csv"):
        own_data.read_features(tmp_path / "absent.csv", labels)


def test_labels_without_the_needed_columns(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("picture,worker,answer\n1,ann,cat\n")
    with pytest.raises(ValueError, match=r"needs the columns \['item', 'annotator', 'label'\].*'picture', 'worker', 'answer'"):
        CrowdLabels.from_csv(path)
    assert len(CrowdLabels.from_csv(path, item="picture", annotator="worker", label="answer")) == 1


def test_both_files_or_none(tmp_path):
    features, crowd = own_data.read()
    assert (len(features), crowd.n_annotators) == (178, 12)
    for given in ({"labels_csv": "a.csv"}, {"features_csv": "a.csv"}):
        with pytest.raises(ValueError, match=f"{next(iter(given))} was given"):
            own_data.read(**given)
    (tmp_path / "labels.csv").write_text("picture,worker,answer\n1,ann,cat\n")
    names = {"item": "picture", "annotator": "worker", "label": "answer"}
    path = written(tmp_path, "picture,size\n1,2\n")
    _, crowd = own_data.read(str(tmp_path / "labels.csv"), str(path), **names)
    assert crowd.class_names == ("cat",)
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
        own_data.read(str(tmp_path / "absent.csv"), str(path), **names)


def test_features_are_scaled_and_constants_stay_finite():
    _, features, crowd = separable()
    data = own_data.data_set(features, crowd)
    assert data.y is data.x_test is None
    assert data.class_names == ("low", "high")
    np.testing.assert_allclose(data.x.mean(dim=0), [0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(data.x.std(dim=0, correction=0), [1, 1, 0], atol=1e-5)


# ------------------------------------------------------------------ training


def test_predictions_are_of_items_not_trained_on(monkeypatch):
    _, features, crowd = separable()
    data, seen = own_data.data_set(features, crowd), []
    genuine = own_data._train

    def spy(part, *rest):
        seen.append(set(np.unique(part.crowd.item)))
        return genuine(part, *rest)

    monkeypatch.setattr(own_data, "_train", spy)
    prob = own_data.held_out_predictions(data, "majority-vote", Recipe(epochs=1), seeds=[0, 1], folds=3)
    np.testing.assert_allclose(prob.sum(axis=1), 1)
    assert len(seen) == 6
    for round_ in (seen[:3], seen[3:]):  # each labeled item is left out exactly once a seed
        assert sum(item not in part for part in round_ for item in range(54)) == 54
        assert all(part <= set(range(54)) for part in round_)


@pytest.mark.parametrize("method", ["dl-em", "crowdlayer-mw"])
def test_unlabeled_and_held_out_items_are_recognized(method):
    y, features, crowd = separable()
    prob = own_data.held_out_predictions(own_data.data_set(features, crowd), method, SHORT)
    assert (prob.argmax(axis=1) == y).mean() > 0.9
    assert (prob.argmax(axis=1)[-6:] == y[-6:]).all()


def test_predictions_repeat_and_leave_the_generator_alone():
    _, features, crowd = separable(n_items=24, unlabeled=0)
    data, state = own_data.data_set(features, crowd), torch.get_rng_state()
    first, second = (own_data.held_out_predictions(data, "dl-em", Recipe(epochs=2), folds=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds must lie between 2 and the 54 labeled items, found 1"),
        ({"folds": 55}, "found 55"),
        ({"seeds": []}, "at least one seed"),
        ({"method": "true-labels"}, "true-labels needs the true class"),
        ({"method": "dl-me"}, "dl-em"),
    ],
)
def test_what_cannot_be_trained_is_refused(options, message):
    _, features, crowd = separable()
    settings = {"method": "dl-em", "recipe": SHORT} | options
    with pytest.raises(ValueError, match=message):
        own_data.held_out_predictions(own_data.data_set(features, crowd), **settings)


# ------------------------------------------------------------------ the classifier


def test_a_classifier_comes_back_from_its_file_the_same(tmp_path):
    y, features, crowd = separable()
    classifier = own_data.train(features, crowd, "dl-em", SHORT, seeds=[0, 1])
    path = tmp_path / "new folder" / "classifier.pt"
    classifier.save(path)
    again = own_data.load_classifier(path)
    found = again.predict(features[["constant", "noise", "far"]].assign(other=1))  # by name, not by place
    pd.testing.assert_frame_equal(found, classifier.predict(features))
    assert found.item.tolist() == list(features.index)
    assert (found.label == np.array(["low", "high"])[y]).mean() > 0.9
    assert found.confidence.between(0.5, 1).all()
    assert len(again.networks) == 2


def test_a_classifier_names_what_it_misses():
    _, features, crowd = separable()
    classifier = own_data.train(features, crowd, "majority-vote", Recipe(epochs=1))
    with pytest.raises(ValueError, match=r"missing are \['noise'\]"):
        classifier.predict(features.drop(columns="noise"))
    with pytest.raises(ValueError, match="at least one seed"):
        own_data.train(features, crowd, "dl-em", SHORT, seeds=[])
    with pytest.raises(ValueError, match="'doctornet' predicts with more than its backbone"):
        own_data.train(features, crowd, "doctornet", Recipe(epochs=1))


# ------------------------------------------------------------------ writing


def test_tables_are_written_whole(tmp_path):
    table = pd.DataFrame({"item": ["a", "b, c"], "label": ["no", ""], "confidence": [1 / 3, 1.0]})
    own_data.write(tmp_path / "new", {"cleaned_labels": table})
    assert (tmp_path / "new" / "cleaned_labels.csv").read_bytes() == b'item,label,confidence\na,no,0.3333\n"b, c",,1.0000\n'
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cleaned_labels.csv"]


def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path, monkeypatch):
    table = pd.DataFrame({"item": ["a"]})
    own_data.write(tmp_path, {"annotators": table})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left.*annotators\.csv"):
        own_data.write(tmp_path, {"annotators": table.assign(item="b")})
    assert (tmp_path / "annotators.csv").read_text() == "item\na\n"
    assert [path.name for path in tmp_path.iterdir()] == ["annotators.csv"]


# ------------------------------------------------------------------ the example


def test_the_committed_example_is_the_one_that_is_made(tmp_path):
    wine_tasting.write(tmp_path)
    assert sorted(path.name for path in wine_tasting.FOLDER.iterdir()) == ["features.csv", "labels.csv"]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (wine_tasting.FOLDER / path.name).read_bytes()


def test_the_example_is_read_like_anybodys_files():
    crowd = CrowdLabels.from_csv(wine_tasting.FOLDER / "labels.csv")
    features, crowd = own_data.read_features(wine_tasting.FOLDER / "features.csv", crowd)
    labels, _, truth = wine_tasting.wine()
    assert features.shape == (178, 13)
    assert (crowd.labels_per_item == 0).sum() == wine_tasting.UNTASTED
    assert len(crowd) == len(labels) == 510
    assert truth["item"].tolist() == features.index.tolist()
    right = labels.merge(truth, on="item", suffixes=("", "_true")).eval("label == label_true").groupby(labels.annotator).mean()
    assert right["Alba"] > 0.9 > right["Dario"] > 0.7 > right["Luca"]
