"""The image data sets: published facts, parts, test images of two kinds, and crowds on the training images alone."""

import pickle
import tarfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lib import datasets
from lib.datasets import cifar10, cifar10n, download, image_parts
from lib.datasets.image_parts import Images

SMALL = {"n_train": 200, "n_valid": 100, "n_test": 100}
ALL = [pytest.param(name, marks=pytest.mark.needs_data(name)) for name in ("cifar10", "cifar10n", "fashion_mnist", "mnist")]
SHAPES = {"cifar10": (3, 32, 32), "cifar10n": (3, 32, 32), "fashion_mnist": (1, 28, 28), "mnist": (1, 28, 28)}
cifar10_images = pytest.mark.needs_data("cifar10")


@pytest.mark.parametrize("name", ALL)
def test_sizes(name):
    data = datasets.load(name, **SMALL)
    shapes = [tuple(part.shape) for part in (data.x, data.x_valid, data.x_test)]
    assert shapes == [(size, *SHAPES[name]) for size in (200, 100, 100)]
    assert data.x.dtype == torch.uint8
    for y in (data.y, data.y_valid) if name != "mnist" else ():  # digits are not equally frequent
        assert set(torch.bincount(y, minlength=10).tolist()) == {len(y) // 10}
    assert data.crowd.n_items == 200
    assert set(data.crowd.labels_per_item) == {3}


@pytest.mark.needs_data("cifar10n")
def test_cifar10n_is_split_as_in_the_paper():
    data = datasets.load("cifar10n")
    assert_array_equal(torch.bincount(data.y), np.full(10, 4500))
    assert_array_equal(torch.bincount(data.y_valid), np.full(10, 500))
    crowd, y = cifar10n.crowd()
    first = np.sort(np.concatenate([np.flatnonzero(y == k)[:4500] for k in range(10)]))
    assert_array_equal(data.y, y[first])
    expected = crowd.select_items(first)
    assert_array_equal(data.crowd.annotator, expected.annotator)
    assert_array_equal(data.crowd.label, expected.label)
    assert (data.crowd.n_annotators, len(data.crowd)) == (747, 135_000)
    assert data.normalize == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


@cifar10_images
def test_cifar10_labels_go_with_the_images():
    """The first training image is a frog on green ground; class means of the channels are the published data's."""
    data = datasets.load("cifar10", n_test=10)
    assert data.class_names[data.y[0]] == "frog"
    mean = data.x.double().mean(dim=(0, 2, 3)) / 255
    assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=5e-5)
    blue = [float(data.x[data.y == k, 2].double().mean()) for k in range(10)]
    assert data.class_names[int(np.argmax(blue))] == "airplane"  # the sky


@cifar10_images
def test_test_images_of_two_kinds():
    lossless, jpeg = Images.read([cifar10._LOSSLESS]), Images.read([cifar10._COMPRESSED])
    mixed, kind = cifar10._without_repeats(Images.read([cifar10._LOSSLESS, cifar10._COMPRESSED]))
    assert [len(images) for images in (lossless, jpeg, mixed)] == [1000, 10_000, 10_000]
    assert_array_equal(mixed.x[:1000], lossless.x)
    assert_array_equal(kind == "lossless", np.arange(10_000) < 1000)
    assert_array_equal(np.bincount(mixed.y), np.full(10, 1000))
    # The k-th image of a class is the same photograph in both: that is what leaves each of them in `mixed` once.
    for k in range(10):
        exact, compressed = lossless.x[lossless.y == k].astype(float), jpeg.x[jpeg.y == k].astype(float)
        error = ((exact - compressed[: len(exact)]) ** 2).mean(axis=(1, 2, 3))
        other = ((exact - compressed[1 : len(exact) + 1]) ** 2).mean(axis=(1, 2, 3))
        assert np.median(error) < np.median(other) / 10
        assert_array_equal(mixed.x[(mixed.y == k) & (kind == "jpeg")], jpeg.x[jpeg.y == k][len(exact) :])


@pytest.mark.needs_data("mnist")
def test_mnist_facts():
    data = datasets.load("mnist")
    assert (len(data.x), len(data.x_test), data.x_valid) == (60_000, 3000, None)
    assert_array_equal(data.y[:5], [5, 0, 4, 1, 9])


@pytest.mark.needs_data("fashion_mnist")
def test_fashion_mnist_facts():
    data = datasets.load("fashion_mnist", n_valid=6000)
    assert [len(part) for part in (data.x, data.x_valid, data.x_test)] == [54_000, 6000, 10_000]
    assert_array_equal(torch.bincount(data.y), np.full(10, 5400))
    x = torch.cat([data.x, data.x_valid]).double() / 255
    assert_allclose([x.mean(), x.std()], [part[0] for part in data.normalize], atol=5e-5)


# ---------------------------------------------------------------------- the official archive


def test_the_official_archive_is_read_in_order(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    batches = {}
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        batches[name] = {"data": rng.integers(0, 256, (10, 3072), dtype=np.uint8), "labels": rng.integers(0, 10, 10).tolist()}
        (folder / name).write_bytes(pickle.dumps(batches[name]))
    file = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        tar.add(folder, folder.name)
    names = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch", "test_batch"]
    for piece, name in zip((*cifar10.PIECES, cifar10._OFFICIAL), names, strict=True):
        images, labels = piece.sources[0].decode([file])
        assert images.shape == (10, 3, 32, 32)
        assert_array_equal(images.reshape(10, -1), batches[name]["data"])
        assert_array_equal(labels, batches[name]["labels"])


@cifar10_images
def test_official_test_images_that_cannot_be_had_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "local", lambda name: None)

    def refuse(name):
        raise download.DataUnavailable(name, "the download failed: no connection")

    official = replace(cifar10._OFFICIAL, name="cifar10/absent")
    monkeypatch.setattr(cifar10, "_OFFICIAL", official)
    monkeypatch.setattr(cifar10, "official", lambda: True)
    monkeypatch.setattr(download, "path", refuse)
    with pytest.raises(download.DataUnavailable, match=r"cifar-10-python.tar.gz is not available: the download failed"):
        cifar10.load_images("all")


@pytest.mark.parametrize(
    ("archive_here", "jpeg_here", "exact"),
    [(True, True, True), (True, False, True), (False, True, False), (False, False, True)],
)
def test_all_test_images_are_the_official_ones_where_they_can_be_had(monkeypatch, archive_here, jpeg_here, exact):
    monkeypatch.setattr(cifar10, "_OFFICIAL", SimpleNamespace(is_local=archive_here))
    monkeypatch.setattr(cifar10, "_COMPRESSED", SimpleNamespace(is_local=jpeg_here))
    assert cifar10.official() == exact


@cifar10_images
def test_all_test_images_say_what_they_are():
    data = datasets.load("cifar10", n_train=10, test="all")
    assert len(data.x_test) == 10_000
    assert set(data.test_kind.tolist()) == ({"lossless"} if cifar10.official() else {"lossless", "jpeg"})


@cifar10_images
def test_held_out_test_images_are_the_last_to_train_and_nothing_else_uses_them():
    whole = Images.read(cifar10.TRAIN)
    data = datasets.load("cifar10", n_valid=500, test="held-out")
    assert set(data.test_kind) == {"held-out"}
    assert_array_equal(data.x_test, whole.x[40_000:])
    chosen, valid = image_parts.parts(whole.y[:40_000], n_valid=500)
    assert_array_equal(data.x, whole.x[chosen])
    assert_array_equal(data.x_valid, whole.x[valid])


# ---------------------------------------------------------------------- parts


def test_parts_by_hand():
    y = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    train, valid = image_parts.parts(y, n_valid=2)
    assert_array_equal(valid, [6, 7])
    assert_array_equal(train, np.arange(6))
    train, valid = image_parts.parts(y, n_train=4, n_valid=2)
    assert_array_equal(valid, [6, 7])  # whatever the subset
    assert_array_equal(np.bincount(y[train]), [2, 2])
    assert not set(train) & set(valid)
    assert_array_equal(train, image_parts.parts(y, n_train=4, n_valid=2)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_valid": 8}, "n_valid must lie between 0 and 7"),
        ({"n_valid": -1}, "n_valid must lie between 0 and 7"),
        ({"n_train": 7, "n_valid": 2}, "n_train must lie between 1 and 6, found 7"),
        ({"n_train": 0}, "n_train must lie between 1 and 8, found 0"),
    ],
)
def test_parts_that_do_not_exist(changes, message):
    with pytest.raises(ValueError, match=message):
        image_parts.parts(np.tile([0, 1], 4), **changes)
