"""Patch features: what is computed is what is written, and nothing but images has a part in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from lib.datasets import patch_features


def images(items: int = 40, channels: int = 3, side: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (items, channels, side, side), dtype=np.uint8)


@pytest.fixture(scope="module")
def filters() -> patch_features.Filters:
    return patch_features.draw_filters(images(), 5)


def test_one_patch_by_hand(filters):
    mean, weight = (part.double().numpy() for part in filters)
    image = images(1, side=6, seed=3)  # one patch, so every quarter sees the same
    patch = image[0].reshape(-1).astype(float)
    patch -= patch.mean()
    patch /= np.sqrt((patch**2).mean() + 10)
    along = (patch - mean) @ weight
    expected = np.concatenate([np.maximum(along - 0.25, 0), np.maximum(-along - 0.25, 0)])
    assert_allclose(patch_features.describe(image, filters).reshape(10, 4), np.repeat(expected[:, None], 4, axis=1), atol=1e-4)


def test_quarters_keep_their_places(filters):
    image = np.zeros((1, 3, 32, 32), dtype=np.uint8)
    image[:, :, :10, 22:] = images(1, side=10, seed=5)  # something in the upper right corner alone
    seen = patch_features.describe(image, filters).reshape(10, 2, 2)
    flat = patch_features.describe(np.zeros((1, 3, 32, 32), dtype=np.uint8), filters).reshape(10, 2, 2)
    changed = np.abs(seen - flat).max(axis=0) > 1e-4
    assert_array_equal(changed, [[False, True], [False, False]])


def test_no_direction_outweighs_the_others():
    """Neighboring pixels are alike, so without whitening a few directions have nearly all of the variance."""
    smooth = np.cumsum(np.random.default_rng(2).normal(size=(300, 3, 6, 6)), axis=3)
    x = np.clip(128 + 30 * smooth, 0, 255).astype(np.uint8)
    mean, weight = patch_features.draw_filters(x, 50)
    seen = x.reshape(300, -1).astype(float)
    seen -= seen.mean(axis=1, keepdims=True)
    seen /= np.sqrt((seen**2).mean(axis=1, keepdims=True) + 10)
    covariance = np.cov(seen.T, bias=True)
    ahead = ((mean.numpy() - seen.mean(axis=0)) ** 2).max() ** 0.5
    assert ahead < 0.05  # 20,000 draws from 300 patches
    variance = np.einsum("nk,nm,mk->k", weight.numpy(), covariance + 0.1 * np.eye(108), weight.numpy())
    assert_allclose(variance, 1, rtol=0.1)


def test_chunks_and_seeds(filters, monkeypatch):
    x = images(7, side=12)
    whole = patch_features.describe(x, filters)
    monkeypatch.setattr(patch_features, "CHUNK", 3)
    assert_allclose(patch_features.describe(x, filters), whole, atol=1e-6)
    again, other = patch_features.draw_filters(images(), 5), patch_features.draw_filters(images(), 5, seed=1)
    assert torch.equal(again[1], filters[1])
    assert not torch.equal(other[1], filters[1])
    assert patch_features.describe(x[:0], filters).shape == (0, 40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: patch_features.describe(images() / 255, f), "uint8.*float64"),
        (lambda f: patch_features.describe(images(channels=1), f), "patches of 108 numbers"),
        (lambda f: patch_features.describe(images(side=5), f), "at least 6 pixels high and wide, found 5 x 5"),
        (lambda f: patch_features.draw_filters(images(), 0), "between 1 and 20000, found 0"),
        (lambda f: patch_features.draw_filters(images()[0], 4), "uint8"),
    ],
)
def test_refuses(make, message, filters):
    with pytest.raises(ValueError, match=message):
        make(filters)
