"""Cats and dogs: of CIFAR-10, as images and as frozen features, and the user's own photographs."""

import pickle

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lib import datasets
from lib.datasets import cifar10, dogs_vs_cats, image_features
from lib.datasets.dogs_vs_cats import VARIABLE
from lib.datasets.download import DataUnavailable

SMALL = {"n_train": 40, "n_test": 20}
needs_cifar10 = pytest.mark.needs_data("cifar10")


@needs_cifar10
def test_images_are_cifar10s_cats_and_dogs():
    data, whole = datasets.load("cats_dogs", **SMALL), datasets.load("cifar10", n_test=1000)
    animals = {k: {bytes(x) for x in whole.x[whole.y == k].numpy()} for k in (3, 5)}
    for image, label in zip(data.x.numpy(), data.y.tolist(), strict=True):
        assert bytes(image) in animals[(3, 5)[label]]
    assert [len(data.x), len(data.x_test), data.x_valid] == [40, 20, None]
    assert torch.bincount(data.y).tolist() == [20, 20]
    assert cifar10.CLASS_NAMES[3:6:2] == data.class_names
    assert_array_equal(data.crowd.labels_per_item, 5)


@needs_cifar10
def test_features_are_of_the_same_images():
    images, made = datasets.load("cats_dogs", **SMALL), datasets.load("cats_dogs", **SMALL, features=image_features.NAME)
    assert_array_equal(made.x, image_features.features(images.x.numpy()))
    assert_array_equal(made.x_test, image_features.features(images.x_test.numpy()))
    assert_array_equal(made.y, images.y)
    assert_array_equal(made.crowd.label, images.crowd.label)


# ---------------------------------------------------------------------- the user's photographs


def photograph(file, shade: int, size=(30, 20)) -> None:
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade // 2, 255 - shade)).save(file, quality=95)


@pytest.fixture(params=["kaggle", "train", "petimages"])
def folder(request, tmp_path, monkeypatch):
    place = tmp_path / "animals"
    for number in range(6):
        for shade, name in ((20, "cat"), (220, "dog")):
            inside = {"kaggle": f"{name}.{number}.jpg", "train": f"train/{name}.{number}.jpg"}
            photograph(place / inside.get(request.param, f"{name.title()}/{number}.jpg"), shade + 5 * number)
    monkeypatch.setenv(VARIABLE, str(place))
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dogs_vs_cats, "SIDE", 16)
    return place


def test_photographs_of_a_folder(folder):
    data = datasets.load("dogs_vs_cats")
    assert data.x.shape == data.x_test.shape == (6, 3, 16, 16)
    for x, y in ((data.x, data.y), (data.x_test, data.y_test)):
        assert_array_equal(torch.bincount(y), [3, 3])
        assert_array_equal(x[:, 0].float().mean(dim=(1, 2)) > 128, y == 1)  # dogs are the bright ones
    shades = torch.cat([data.x, data.x_test])[:, 0].float().mean(dim=(1, 2))
    assert_allclose(shades.sort().values, [20 + 200 * dog + 5 * number for dog in (0, 1) for number in range(6)], atol=2)
    assert len(data.crowd) == 30
    again = datasets.load("dogs_vs_cats")  # from the cache
    assert torch.equal(again.x, data.x)
    assert_allclose(data.normalize[0], (data.x / 255).mean(dim=(0, 2, 3)), atol=1e-5)


def test_other_photographs_are_another_collection(folder):
    before = dogs_vs_cats.digest(folder)
    datasets.load("dogs_vs_cats", collection=before)
    photograph(next(folder.rglob("*og*3.jpg"), folder / "Dog" / "3.jpg"), 90, size=(60, 50))
    assert dogs_vs_cats.digest(folder) != before
    with pytest.raises(ValueError, match=f"the run is of {before}"):
        datasets.load("dogs_vs_cats", collection=before)


def test_what_cannot_be_read_is_left_out(folder):
    broken = next(file for file in folder.rglob("*.jpg") if file.stem.endswith("0"))
    broken.write_bytes(b"no picture")
    data = datasets.load("dogs_vs_cats")
    assert len(data.x) + len(data.x_test) == 11


BOTH = ["cat.1", "cat.2", "dog.1", "dog.2"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (None, "is not set"),
        (None, "is no folder"),
        ([], "0 photographs of a cat"),
        (BOTH[:2], "0 photographs of a dog"),
        ([*BOTH, "train/cat.2"], "two photographs of a cat with the same number"),
        (BOTH, "0 readable photographs of a cat"),
    ],
)
def test_a_wrong_folder_is_explained(names, found, tmp_path, monkeypatch):
    place = tmp_path / "animals"
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, "" if found == "is not set" else str(place))
    if names is not None:
        (place / "train").mkdir(parents=True)
        for name in names:
            (place / f"{name}.jpg").write_bytes(b"no picture")
    with pytest.raises(DataUnavailable) as error:
        datasets.load("dogs_vs_cats")
    text = str(error.value)
    assert found in text
    assert "should name a folder with cat.0.jpg, dog.0.jpg" in text
    assert str(pickle.loads(pickle.dumps(error.value))) == text  # as a worker process sends it
    if "readable" not in found:  # which takes decoding to know
        assert "CROWDS_DOGS_VS_CATS" in datasets.missing("dogs_vs_cats")
