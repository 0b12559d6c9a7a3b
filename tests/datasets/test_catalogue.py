"""Data sets: the facts of the published ones, the simulated one, and the registry."""

import copy
import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lib import datasets, paths
from lib.crowd.labels import CrowdLabels
from lib.datasets import cifar10, download
from lib.datasets.kinds import CrowdDataset, stratified
from tests.simulation.counts import p_value

NORMALIZE = ((0.5,) * 3, (0.25,) * 3)


def small(**changes) -> CrowdDataset:
    """Four items, two annotators, two classes."""
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 1], [-1, -1], [0, -1]]), n_classes=2)
    x, y = torch.arange(12.0).reshape(4, 3), torch.tensor([0, 1, 0, 1])
    fields = {"name": "small", "title": "Small", "x": x, "crowd": crowd, "y": y, "class_names": ("no", "yes")}
    return CrowdDataset(**{**fields, "x_test": x[:2], "y_test": y[:2], **changes})


# ---------------------------------------------------------------------- the facts of each


# Sizes of the parts, annotators, labels, fewest and most of an annotator, classes, shares of right labels and of right votes.
FACTS = {
    "labelme": ([(1000, 512), (500, 512), (1188, 512)], 59, 2547, (3, 182), 8, 0.7405, 0.769),
    "music": ([(700, 124), None, (300, 124)], 44, 2945, (2, 368), 10, 0.5603, 0.711),
    "sentiment_polarity": ([(4999, 2000), None, (3999, 2000)], 203, 27746, (5, 3993), 2, 0.7895, 0.89),
    "digits": ([(1000, 64), (297, 64), (500, 64)], 20, 3000, (7, 427), 10, 0.5557, 0.68),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.needs_data(name)) for name in FACTS])
def test_facts(name):
    data, again = datasets.load(name), datasets.load(name)
    summary, votes = data.summary(), (data.crowd.counts.argmax(axis=1) == data.y.numpy()).mean()
    labels = data.crowd.labels_per_annotator
    found = [None if x is None else tuple(x.shape) for x in (data.x, data.x_valid, data.x_test)]
    accuracy = round(summary["label_accuracy"], 4)
    facts = (found, summary["annotators"], summary["labels"], (labels.min(), labels.max()), summary["classes"])
    assert (*facts, accuracy, round(votes, 3)) == FACTS[name]
    for part in ("x", "y", "x_test", "y_test"):
        assert torch.equal(getattr(data, part), getattr(again, part))
    for part in ("item", "annotator", "label"):
        assert_array_equal(getattr(data.crowd, part), getattr(again.crowd, part))


@pytest.mark.needs_data("labelme")
def test_labelme_images_go_with_the_classes():
    data = datasets.load("labelme")
    for images, y in ((data.images, data.y), (data.images_valid, data.y_valid), (data.images_test, data.y_test)):
        assert [name.split("_")[0] for name in images] == [data.class_names[k] for k in y]
    assert data.crowd.item_names == data.images


@pytest.mark.needs_data("music")
def test_music_is_standardized_by_the_training_clips():
    data = datasets.load("music")
    assert list(data.class_names) == sorted(data.class_names)
    assert "A2PQHWG79HDCX6" in data.crowd.annotator_names
    assert [clip.split(".")[0] for clip in data.clips_test] == [data.class_names[k] for k in data.y_test]
    assert data.crowd.item_names == data.clips
    train, test = (
        pd.read_csv(download.path(f"music/music_genre_{part}.csv")).filter(like="feature").to_numpy(dtype=float)
        for part in ("gold", "test")
    )
    for x, published in ((data.x, train), (data.x_test, test)):
        assert_allclose(x, (published - train.mean(axis=0)) / train.std(axis=0), rtol=1e-3, atol=1e-3)


@pytest.mark.needs_data("sentiment_polarity")
def test_sentiment_polarity_texts_and_features():
    data = datasets.load("sentiment_polarity", validation=0.2, seed=3)
    whole = datasets.load("sentiment_polarity")
    assert (len(whole.texts), len(whole.texts_test), len(whole.vocabulary)) == (4999, 3999, 2000)
    assert whole.texts[0] == "the cast is phenomenal , especially the women ."
    assert whole.class_names[whole.y[0]] == "positive"
    lengths = whole.x.norm(dim=1)
    assert_allclose(lengths[lengths > 0], 1, rtol=1e-5)
    cast = whole.x[:, whole.vocabulary.index("cast")] > 0
    assert cast.tolist() == [bool(re.search(r"\bcast\b", text)) for text in whole.texts]
    place = {text: row for row, text in enumerate(whole.texts)}
    for x, texts in ((data.x, data.texts), (data.x_valid, data.texts_valid)):
        assert_array_equal(x, whole.x[[place[text] for text in texts]])
    assert data.texts_test == whole.texts_test
    assert datasets.load("sentiment_polarity", max_features=50).x.shape == (4999, 50)


# ---------------------------------------------------------------------- digits


def test_digits_parts():
    data = datasets.load("digits")
    assert (data.x.min(), data.x.max()) == (0, 1)
    rows = torch.cat([data.x, data.x_valid, data.x_test]).numpy()
    from sklearn.datasets import load_digits

    assert_array_equal(np.sort(rows.sum(axis=1)), np.sort((load_digits().data / 16).astype("float32").sum(axis=1)))
    share = torch.bincount(torch.cat([data.y, data.y_valid, data.y_test])) / 1797
    for y in (data.y, data.y_valid, data.y_test):
        assert (torch.bincount(y) - share * len(y)).abs().max() <= 2


def test_digits_crowd_is_as_described():
    data = datasets.load("digits")
    accuracy = data.true_confusion.diagonal(axis1=1, axis2=2).mean(axis=1)
    kinds = np.array(data.kinds)
    assert {kind: int((kinds == kind).sum()) for kind in kinds} == dict.fromkeys(np.unique(kinds), 4)
    assert accuracy[kinds == "expert"].min() > 0.9
    assert_allclose(accuracy[kinds == "spammer"], 0.1)
    assert (accuracy[kinds == "confuser"] < 0.2).sum() == 1  # the adversary
    busy = np.argsort(np.argsort(data.crowd.labels_per_annotator))
    for kind in np.unique(kinds):  # busy and idle ones of each kind
        assert np.ptp(busy[kinds == kind]) > 8


def test_digits_follow_their_matrices_and_correlated_ones_err_together():
    alone, together = (datasets.load("digits", crowd=c, labels_per_item=20) for c in ("independent", "correlated"))
    assert_array_equal(alone.true_confusion, together.true_confusion)
    assert p_value(alone.crowd.confusion_counts(alone.y.numpy()), alone.true_confusion) > 1e-4
    a, b = np.flatnonzero(np.array(alone.kinds) == "careless")[:2]
    agree = [(said[:, a] == said[:, b]).mean() for said in (d.crowd.label.reshape(1000, 20) for d in (alone, together))]
    assert agree[1] > agree[0] + 0.2


def test_digits_options():
    data = datasets.load("digits", annotators=7, labels_per_item=1.5)
    assert (data.crowd.n_annotators, len(data.crowd)) == (7, 1500)
    assert data.true_confusion.shape == (7, 10, 10)
    other = datasets.load("digits", crowd_seed=1)
    assert torch.equal(other.x, data.x)
    assert not np.array_equal(other.crowd.annotator[:50], datasets.load("digits").crowd.annotator[:50])
    with pytest.raises(ValueError, match="one of independent, correlated, found 'loud'"):
        datasets.load("digits", crowd="loud")
    with pytest.raises(ValueError, match=r"the 2 annotators that take part, found 3.0"):
        datasets.load("digits", annotators=2)


def test_digits_do_not_move_without_a_new_revision():
    """Stored results were made with exactly this crowd: when this fails on purpose, raise the revision in digits.py."""
    crowd = datasets.load("digits").crowd
    check = [int((column * np.arange(1, 3001)).sum()) for column in (crowd.annotator, crowd.label)]
    assert (datasets.info("digits").revision, check) == (1, [47816123, 19660744])


# ---------------------------------------------------------------------- registry


def test_the_readme_of_data_names_the_test_images_of_cifar10():
    text = (paths.DATA / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r'`test="([^"]+)"', text)) == set(cifar10.TESTS)


@pytest.mark.parametrize("call", [datasets.load, datasets.fingerprint])
def test_unknown_names_and_options(call):
    with pytest.raises(ValueError, match=r"data set 'label_me'; did you mean 'labelme'\? Known: (.*, )?digits, .*labelme, "):
        call("label_me")
    message = r"'digits': 'anotators'; did you mean 'annotators'\? Known: validation, seed, annotators"
    with pytest.raises(ValueError, match=message):
        call("digits", anotators=3)


@pytest.mark.needs_data("cifar10n_labels")
def test_files_without_features_are_known_by_name():
    with pytest.raises(ValueError, match="'cifar10n_labels' names files without features"):
        datasets.load("cifar10n_labels")


def test_fingerprint_tells_what_changes_the_data():
    same = datasets.fingerprint("digits")
    assert len(same) == 16
    assert int(same, 16) >= 0
    assert datasets.fingerprint("digits", annotators=20, validation=0.0, seed=5) == same
    others = [{"annotators": 21}, {"crowd": "correlated"}, {"crowd_seed": 1}, {"validation": 0.1}]
    prints = {datasets.fingerprint("digits", **options) for options in others} | {same}
    prints |= {datasets.fingerprint(name) for name in datasets.names()}
    prints |= {datasets.fingerprint("music", validation=0.1, seed=seed) for seed in (0, 1)}
    assert len(prints) == 1 + len(others) + len(datasets.names()) - 1 + 2


def test_fingerprint_needs_no_files_and_follows_their_hashes_and_the_revision(tmp_path, monkeypatch):
    before = datasets.fingerprint("music")
    monkeypatch.setenv("CROWDS_MIRROR", str(tmp_path))
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path))
    assert datasets.fingerprint("music") == before
    hash_ = download.source("music/music_genre_test.csv").sha256
    changed = tmp_path / "sources.toml"
    changed.write_text(paths.SOURCES.read_text().replace(hash_, "0" * 64))
    with monkeypatch.context() as patch:
        patch.setattr(paths, "SOURCES", changed)
        assert datasets.fingerprint("music") != before
    newer = replace(datasets.info("music"), revision=2)
    monkeypatch.setitem(datasets._registry._entries, "music", newer)
    assert datasets.fingerprint("music") != before


def test_missing_data_is_told_with_the_way_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_MIRROR", str(tmp_path))
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_unreachable", {"raw.githubusercontent.com": "no connection"})
    reason = datasets.missing("labelme")
    assert "labelme/answers.txt" in reason
    assert "no connection" in reason
    assert "set CROWDS_MIRROR to a folder" in reason
    with pytest.raises(download.DataUnavailable, match=r"labelme/answers.txt"):
        datasets.load("labelme")
    assert datasets.missing("digits") is None


# ---------------------------------------------------------------------- validation part


@pytest.mark.needs_data("music")
def test_validation_part_is_stratified_and_loses_its_labels():
    whole, data = datasets.load("music"), datasets.load("music", validation=0.2, seed=1)
    assert (len(data.x), len(data.x_valid)) == (560, 140)
    wanted = torch.bincount(whole.y) * 0.2
    assert (torch.bincount(data.y_valid) - wanted).abs().max() < 1
    assert sorted(data.clips + data.clips_valid) == sorted(whole.clips)
    assert data.crowd.item_names == data.clips
    place = {clip: row for row, clip in enumerate(whole.clips)}
    assert_array_equal(data.x_valid, whole.x[[place[clip] for clip in data.clips_valid]])
    assert len(data.crowd) == sum(whole.crowd.labels_per_item[place[clip]] for clip in data.clips)
    again, other = (datasets.load("music", validation=0.2, seed=seed).clips_valid for seed in (1, 2))
    assert again == data.clips_valid
    assert other != data.clips_valid


@pytest.mark.parametrize(
    ("name", "share", "message"),
    [
        ("digits", -0.1, "at least 0 and below 1"),
        ("digits", 1, "at least 0 and below 1"),
        ("digits", float("nan"), "at least 0 and below 1"),
        ("digits", 0.1, "digits has its own validation part of 297 items"),
        pytest.param("music", 1e-5, "leaves 700 to train and 0 to validate", marks=pytest.mark.needs_data("music")),
    ],
)
def test_validation_parts_that_cannot_be(name, share, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(name, validation=share)


def test_stratified():
    y = np.repeat([0, 1, 2, 4], [10, 20, 30, 1])
    for size in (0, 1, 13, 60, 61):
        taken = stratified(y, size, np.random.default_rng(0))
        assert len(np.unique(taken)) == len(taken) == size
        assert (np.abs(np.bincount(y[taken], minlength=5) - np.bincount(y) * size / 61) < 1).all()
    with pytest.raises(ValueError, match="between 0 and 61, found 62"):
        stratified(y, 62, np.random.default_rng(0))


# ---------------------------------------------------------------------- CrowdDataset


def test_summary_by_hand():
    sizes = {"items": 4, "valid_items": 0, "test_items": 2, "classes": 2, "annotators": 2, "labels": 5}
    assert small().summary() == sizes | {"labels_per_item": 1.25, "label_accuracy": 3 / 5}
    json.dumps(small().summary())
    own = small(y=None, x_test=None, y_test=None)  # data of one's own need no truth
    assert own.summary() == sizes | {"test_items": 0, "labels_per_item": 1.25, "label_accuracy": None}


def test_extra_entries_are_attributes_and_survive_copies():
    data = small(extra={"texts": ("a", "b", "c", "d")})
    for twin in (data, copy.deepcopy(data), pickle.loads(pickle.dumps(data)), replace(data, title="Other")):
        assert twin.texts == ("a", "b", "c", "d")
    with pytest.raises(AttributeError, match="no attribute 'images'"):
        data.images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(5, 3), "y": torch.zeros(5, dtype=torch.int64)}, "of 4 items, found 5 in x"),
        ({"y": torch.zeros(3, dtype=torch.int64)}, r"y must be int64 \[4\], as x, found torch.int64 \(3,\)"),
        ({"y": torch.tensor([0, 1, 2, 0])}, r"y must lie in 0 .. 1, found 0 .. 2"),
        ({"x_test": torch.tensor([[0, 0, 0], [0, float("inf"), 0]])}, "x_test is not finite in 1 rows.* row 1"),
        ({"x": torch.zeros(4, 3, dtype=torch.float64)}, "x must be float32.*float64"),
        ({"x_test": torch.zeros(2, 4)}, r"x_test must be float32.*\(3,\) numbers per item.*\(2, 4\)"),
        ({"normalize": NORMALIZE}, r"x must be uint8 \[items, channels, height, width\].*found torch.float32"),
        ({"x": torch.zeros(4, 1, 2, 2).byte(), "normalize": NORMALIZE}, "normalize must hold 1 means and deviations"),
        ({"x": None}, "x is missing"),
        ({"y_test": None}, "y_test is missing, though x_test is given"),
        ({"x_test": None}, "x_test is missing, though y_test is given"),
        ({"class_names": ("a", "b", "c")}, "the crowd has 2 classes, found 3 class_names"),
        ({"true_confusion": np.ones((2, 2, 2))}, "rows that sum to one"),
        ({"true_confusion": np.ones((3, 2, 2)) / 2}, r"shape \(2, 2, 2\).*found shape \(3, 2, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=f"^small: .*{message}"):
        small(**changes)
