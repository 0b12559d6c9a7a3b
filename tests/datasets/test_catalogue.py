"""Data sets: the facts of the published ones, the simulated one, and the registry."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lib import datasets, paths
from lib.crowd.labels import CrowdLabels
from lib.datasets import download
from lib.datasets.kinds import CrowdDataset, stratified

REAL = [pytest.param(name, marks=pytest.mark.needs_data(name)) for name in ("labelme", "music", "sentiment_polarity")]


def vote(data: CrowdDataset) -> float:
    """Accuracy of the majority vote, ties to the lowest class."""
    return float((data.crowd.counts.argmax(axis=1) == data.y.numpy()).mean())


def small(**changes) -> CrowdDataset:
    """Four items, two annotators, two classes."""
    crowd = CrowdLabels.from_dense(np.array([[0, 1], [1, 1], [-1, -1], [0, -1]]), n_classes=2)
    x, y = torch.arange(12.0).reshape(4, 3), torch.tensor([0, 1, 0, 1])
    fields = {"name": "small", "title": "Small", "x": x, "crowd": crowd, "y": y, "class_names": ("no", "yes")}
    return CrowdDataset(**{**fields, "x_test": x[:2], "y_test": y[:2], **changes})


# ---------------------------------------------------------------------- the facts of each


@pytest.mark.needs_data("labelme")
def test_labelme_facts():
    data = datasets.load("labelme")
    assert [tuple(part.shape) for part in (data.x, data.x_valid, data.x_test)] == [(1000, 512), (500, 512), (1188, 512)]
    summary = data.summary()
    assert (summary["annotators"], summary["labels"], summary["classes"]) == (59, 2547, 8)
    assert round(summary["label_accuracy"], 4) == 0.7405
    assert vote(data) == 0.769
    counts = np.bincount(data.crowd.labels_per_annotator)
    assert (data.crowd.labels_per_annotator.min(), len(counts) - 1) == (3, 182)
    assert np.median(data.crowd.labels_per_annotator) == 27
    for images, y in ((data.images, data.y), (data.images_valid, data.y_valid), (data.images_test, data.y_test)):
        assert [name.split("_")[0] for name in images] == [data.class_names[k] for k in y]
    assert data.crowd.item_names == data.images


@pytest.mark.needs_data("labelme")
def test_labelme_images_that_do_not_fit_the_classes(tmp_path, monkeypatch):
    rows = download.path("labelme/filenames_test.txt").read_text().split()
    rows[0], rows[1] = rows[1], rows[0]
    other = tmp_path / "filenames_test.txt"
    other.write_text("\n".join(rows))
    found = download.path
    monkeypatch.setattr(download, "path", lambda name: other if name.endswith(other.name) else found(name))
    with pytest.raises(ValueError, match=r"insidecity_hous120.jpg is of class 2 in test.*'tallbuilding'"):
        datasets.load("labelme")


@pytest.mark.needs_data("music")
def test_music_facts():
    data = datasets.load("music")
    assert (tuple(data.x.shape), tuple(data.x_test.shape), data.x_valid) == ((700, 124), (300, 124), None)
    summary = data.summary()
    assert (summary["annotators"], summary["labels"], summary["classes"]) == (44, 2945, 10)
    assert round(summary["label_accuracy"], 4) == 0.5603
    assert round(vote(data), 3) == 0.711
    assert list(data.class_names) == sorted(data.class_names)
    assert (data.crowd.labels_per_annotator.min(), data.crowd.labels_per_annotator.max()) == (2, 368)
    assert "A2PQHWG79HDCX6" in data.crowd.annotator_names
    assert [clip.split(".")[0] for clip in data.clips_test] == [data.class_names[k] for k in data.y_test]
    assert data.crowd.item_names == data.clips


@pytest.mark.needs_data("music")
def test_music_is_standardized_by_the_training_clips():
    data = datasets.load("music")
    assert_allclose(data.x.mean(dim=0), np.zeros(124), atol=1e-5)
    assert_allclose(data.x.std(dim=0, correction=0), np.ones(124), atol=1e-5)
    published = [
        pd.read_csv(download.path(f"music/music_genre_{part}.csv")).filter(like="feature") for part in ("gold", "test")
    ]
    train, test = (part.to_numpy(dtype=float) for part in published)
    assert_allclose(data.x_test, (test - train.mean(axis=0)) / train.std(axis=0), rtol=1e-3, atol=1e-3)


@pytest.mark.needs_data("sentiment_polarity")
def test_sentiment_polarity_facts():
    data = datasets.load("sentiment_polarity")
    assert (tuple(data.x.shape), tuple(data.x_test.shape)) == ((4999, 2000), (3999, 2000))
    summary = data.summary()
    assert (summary["annotators"], summary["labels"], summary["classes"]) == (203, 27746, 2)
    assert round(summary["label_accuracy"], 4) == 0.7895
    assert (len(data.texts), len(data.texts_test), len(data.vocabulary)) == (4999, 3999, 2000)
    assert data.texts[0] == "the cast is phenomenal , especially the women ."
    assert data.class_names[data.y[0]] == "positive"
    lengths = data.x.norm(dim=1)
    assert_allclose(lengths[lengths > 0], np.ones(int((lengths > 0).sum())), rtol=1e-5)
    column = data.vocabulary.index("cast")
    assert data.x[0, column] > 0
    assert ((data.x[:, column] > 0).numpy() == [bool(re.search(r"\bcast\b", text)) for text in data.texts]).all()


@pytest.mark.needs_data("sentiment_polarity")
def test_sentiment_polarity_width_and_validation():
    data = datasets.load("sentiment_polarity", max_features=50, validation=0.2, seed=3)
    assert (tuple(data.x.shape), tuple(data.x_valid.shape)) == ((3999, 50), (1000, 50))
    whole = datasets.load("sentiment_polarity", max_features=50)
    place = {text: row for row, text in enumerate(whole.texts)}
    assert_array_equal(data.x_valid, whole.x[[place[text] for text in data.texts_valid]])
    assert_array_equal(data.x, whole.x[[place[text] for text in data.texts]])
    assert data.texts_test == whole.texts_test


@pytest.mark.parametrize("name", [*REAL, "digits"])
def test_loading_twice_gives_the_same(name):
    first, again = datasets.load(name), datasets.load(name)
    for part in ("x", "y", "x_test", "y_test"):
        assert torch.equal(getattr(first, part), getattr(again, part))
    for part in ("item", "annotator", "label"):
        assert_array_equal(getattr(first.crowd, part), getattr(again.crowd, part))


# ---------------------------------------------------------------------- digits


def test_digits_parts():
    data = datasets.load("digits")
    assert [len(part) for part in (data.x, data.x_valid, data.x_test)] == [1000, 297, 500]
    assert data.x.shape[1] == 64
    assert (data.x.min(), data.x.max()) == (0, 1)
    rows = torch.cat([data.x, data.x_valid, data.x_test]).numpy()
    from sklearn.datasets import load_digits

    assert_array_equal(np.sort(rows.sum(axis=1)), np.sort((load_digits().data / 16).astype("float32").sum(axis=1)))
    share = torch.bincount(torch.cat([data.y, data.y_valid, data.y_test])) / 1797
    for y in (data.y, data.y_valid, data.y_test):
        assert (torch.bincount(y) - share * len(y)).abs().max() <= 2


def test_digits_crowd_is_as_described():
    data = datasets.load("digits")
    assert len(data.crowd) == 3000
    assert 0.5 < data.summary()["label_accuracy"] < 0.65
    assert data.summary()["label_accuracy"] + 0.05 < vote(data) < 0.8
    accuracy = data.true_confusion.diagonal(axis1=1, axis2=2).mean(axis=1)
    kinds = np.array(data.kinds)
    assert {kind: int((kinds == kind).sum()) for kind in kinds} == dict.fromkeys(np.unique(kinds), 4)
    assert accuracy[kinds == "expert"].min() > 0.9
    assert_allclose(accuracy[kinds == "spammer"], 0.1)
    assert (accuracy[kinds == "confuser"] < 0.2).sum() == 1  # the adversary
    labels = data.crowd.labels_per_annotator
    assert labels.min() < 20 < 300 < labels.max()
    for kind in np.unique(kinds):  # busy and idle ones of each kind
        assert np.ptp(np.argsort(np.argsort(labels))[kinds == kind]) > 8


def test_digits_labels_follow_the_true_confusion():
    data = datasets.load("digits", labels_per_item=20)
    seen = data.crowd.true_confusion(data.y.numpy())
    assert np.abs(seen - data.true_confusion).sum(axis=2).mean() < 0.3


def test_digits_correlated_has_the_same_matrices_and_errs_together():
    alone, together = (datasets.load("digits", crowd=c, labels_per_item=20) for c in ("independent", "correlated"))
    assert_array_equal(alone.true_confusion, together.true_confusion)
    a, b = np.flatnonzero(np.array(alone.kinds) == "careless")[:2]

    def agree(data):
        said = data.crowd.label.reshape(1000, 20)
        return (said[:, a] == said[:, b]).mean()

    assert agree(together) > agree(alone) + 0.2


def test_digits_options():
    data = datasets.load("digits", annotators=7, labels_per_item=1.5)
    assert (data.crowd.n_annotators, len(data.crowd)) == (7, 1500)
    assert data.true_confusion.shape == (7, 10, 10)
    other = datasets.load("digits", crowd_seed=1)
    assert torch.equal(other.x, data.x)
    assert not np.array_equal(other.crowd.annotator[:50], datasets.load("digits").crowd.annotator[:50])
    with pytest.raises(ValueError, match="'independent' or 'correlated', found 'loud'"):
        datasets.load("digits", crowd="loud")
    with pytest.raises(ValueError, match=r"the 2 annotators that take part, found 3.0"):
        datasets.load("digits", annotators=2)


def test_digits_do_not_move_without_a_new_revision():
    """Stored results were made with exactly this crowd: when this fails on purpose, raise the revision in digits.py."""
    crowd = datasets.load("digits").crowd
    check = [int((column * np.arange(1, 3001)).sum()) for column in (crowd.annotator, crowd.label)]
    assert (datasets.info("digits").revision, check) == (1, [47816123, 19660744])


# ---------------------------------------------------------------------- registry


def test_names_and_info():
    assert set(datasets.names()) >= {"digits", "labelme", "music", "sentiment_polarity"}
    assert datasets.names() == sorted(datasets.names())
    for name in datasets.names():
        entry = datasets.info(name)
        assert entry.title
        assert all(download.source(file).sha256 for file in entry.files)
    assert datasets.info("digits").options["labels_per_item"] == 3.0


def test_unknown_data_set():
    with pytest.raises(ValueError, match=r"data set 'label_me'; did you mean 'labelme'\? Known: (.*, )?digits, .*labelme, "):
        datasets.load("label_me")


@pytest.mark.parametrize("call", [datasets.load, datasets.fingerprint])
def test_unknown_option(call):
    with pytest.raises(
        ValueError, match=r"'digits': 'anotators'; did you mean 'annotators'\? Known: validation, seed, annotators"
    ):
        call("digits", anotators=3)


def test_register_twice_is_refused():
    datasets.info("digits")
    with pytest.raises(ValueError, match="data set 'digits' is registered twice"):
        datasets.register("digits", title="again")(lambda: None)


def test_files_without_features_are_known_by_name(monkeypatch):
    monkeypatch.setitem(datasets.CATALOGUE, "answers", "labelme")
    monkeypatch.setattr(datasets._registry, "_entries", dict(datasets._registry._entries))
    datasets.register_files("answers", title="Some answers", files=["labelme/answers.txt"])
    assert "answers" in datasets.names()
    assert datasets.info("answers").files == ("labelme/answers.txt",)
    with pytest.raises(ValueError, match=r"'answers' \(Some answers\) names files without features"):
        datasets.load("answers")
    with pytest.raises(ValueError, match="'answers' is registered twice"):
        datasets.register_files("answers", title="again", files=[])


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


def test_fingerprint_needs_no_files_and_follows_their_hashes(tmp_path, monkeypatch):
    before = datasets.fingerprint("music")
    monkeypatch.setenv("CROWDS_MIRROR", str(tmp_path))
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path))
    assert datasets.fingerprint("music") == before
    hash_ = download.source("music/music_genre_test.csv").sha256
    changed = tmp_path / "sources.toml"
    changed.write_text(paths.SOURCES.read_text().replace(hash_, "0" * 64))
    monkeypatch.setattr(paths, "SOURCES", changed)
    assert datasets.fingerprint("music") != before


def test_fingerprint_follows_the_revision(monkeypatch):
    before = datasets.fingerprint("digits")
    newer = replace(datasets.info("digits"), revision=datasets.info("digits").revision + 1)
    monkeypatch.setitem(datasets._registry._entries, "digits", newer)
    assert datasets.fingerprint("digits") != before


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


def test_library_imports_without_what_only_downloads():
    """A machine that only computes has neither pooch nor requests; scikit-learn is imported by who needs it."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pooch', 'requests', 'tqdm', 'sklearn']));"
        "from lib import datasets, simulation; print(datasets.fingerprint('labelme'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == datasets.fingerprint("labelme"), done.stderr


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


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan")])
def test_validation_share_out_of_range(share):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        datasets.load("digits", validation=share)


def test_validation_where_there_is_one():
    with pytest.raises(ValueError, match="digits has its own validation part of 297 items"):
        datasets.load("digits", validation=0.1)


@pytest.mark.needs_data("music")
def test_validation_that_leaves_nothing():
    with pytest.raises(ValueError, match="leaves 700 to train and 0 to validate"):
        datasets.load("music", validation=1e-5)


def test_stratified():
    y = np.repeat([0, 1, 2, 4], [10, 20, 30, 1])
    for size in (0, 1, 13, 60, 61):
        taken = stratified(y, size, np.random.default_rng(0))
        assert len(np.unique(taken)) == len(taken) == size
        assert (np.abs(np.bincount(y[taken], minlength=5) - np.bincount(y) * size / 61) < 1).all()
    with pytest.raises(ValueError, match="between 0 and the 61 items, found 62"):
        stratified(y, 62, np.random.default_rng(0))


# ---------------------------------------------------------------------- CrowdDataset


def test_summary_by_hand():
    assert small().summary() == {
        "items": 4,
        "valid_items": 0,
        "test_items": 2,
        "classes": 2,
        "annotators": 2,
        "labels": 5,
        "labels_per_item": 1.25,
        "label_accuracy": 3 / 5,
    }
    json.dumps(small().summary())


def test_data_of_ones_own_needs_no_truth():
    data = small(y=None, x_test=None, y_test=None)
    assert data.summary()["label_accuracy"] is None
    assert data.n_classes == 2


def test_extra_entries_are_attributes_and_survive_copies():
    data = small(extra={"texts": ("a", "b", "c", "d")})
    for twin in (data, copy.deepcopy(data), pickle.loads(pickle.dumps(data)), replace(data, title="Other")):
        assert twin.texts == ("a", "b", "c", "d")
    with pytest.raises(AttributeError, match="no attribute 'images'"):
        data.images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(5, 3), "y": torch.zeros(5, dtype=torch.int64)}, "of 4 items, found 5 rows of x"),
        ({"y": torch.zeros(3, dtype=torch.int64)}, r"y must be int64 \[4\], as x, found torch.int64 \(3,\)"),
        ({"y": torch.zeros(4)}, r"y must be int64 \[4\].*float32"),
        ({"y": torch.tensor([0, 1, 2, 0])}, r"y must lie in 0 .. 1, found 0 .. 2"),
        ({"y_test": torch.tensor([-1, 0])}, r"y_test must lie in 0 .. 1, found -1 .. 0"),
        ({"x": torch.full((4, 3), float("nan"))}, "x is not finite in 4 rows, the first is row 0"),
        ({"x_test": torch.tensor([[0, 0, 0], [0, float("inf"), 0]])}, "x_test is not finite in 1 rows.* row 1"),
        ({"x": torch.zeros(4, 3, dtype=torch.float64)}, "x must be float32.*float64"),
        ({"x_test": torch.zeros(2, 4)}, r"x_test must be float32.*\(3,\) numbers per item.*\(2, 4\)"),
        ({"x": None}, "x is missing"),
        ({"y_test": None}, "y_test is missing, though x_test is given"),
        ({"x_test": None}, "x_test is missing, though y_test is given"),
        ({"y_valid": torch.zeros(2, dtype=torch.int64)}, "x_valid is missing, though y_valid is given"),
        ({"class_names": ("a", "b", "c")}, "the crowd has 2 classes, found 3 class_names"),
        ({"true_confusion": np.ones((2, 2, 2))}, "rows that sum to one"),
        ({"true_confusion": np.ones((3, 2, 2)) / 2}, r"shape \(2, 2, 2\).*found shape \(3, 2, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=f"^small: .*{message}"):
        small(**changes)
