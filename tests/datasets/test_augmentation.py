"""Crops and flips: against one image at a time, and what they leave alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.datasets.augmentation import Augmentation

IMAGES = torch.arange(2 * 2 * 3 * 4, dtype=torch.uint8).reshape(2, 2, 3, 4)


def changed(augmentation, images, *rows):
    return augmentation.apply(images, torch.tensor(rows))


@given(st.integers(0, 3), st.booleans(), st.integers(0, 5))
def test_like_one_image_at_a_time(crop, flip, seed):
    augmentation, generator = Augmentation(crop, flip), np.random.default_rng(seed)
    images = torch.from_numpy(generator.integers(0, 256, (5, 3, 4, 6), dtype=np.uint8))
    drawn = augmentation.draw(5, generator)
    made = augmentation.apply(images, torch.from_numpy(drawn))
    for image, (row, column, flipped), found in zip(images, drawn, made, strict=True):
        bordered = np.pad(image.numpy(), ((0, 0), (crop, crop), (crop, crop)))
        expected = bordered[:, row : row + 4, column : column + 6]
        np.testing.assert_array_equal(found, expected[:, :, ::-1] if flipped else expected)


def test_all_shifts_and_both_sides_occur():
    drawn = Augmentation(crop=2, flip=True).draw(2000, np.random.default_rng(0))
    assert [set(column) for column in drawn.T] == [set(range(5)), set(range(5)), {0, 1}]
    assert abs(drawn[:, 2].mean() - 0.5) < 0.05
    assert not Augmentation(crop=2).draw(100, np.random.default_rng(0))[:, 2].any()


def test_bytes_stay_bytes_and_nothing_is_changed_in_place():
    before = IMAGES.clone()
    assert torch.equal(changed(Augmentation(crop=2), IMAGES, (2, 2, 0), (2, 2, 0)), IMAGES)  # the middle
    assert changed(Augmentation(1, True), IMAGES, (0, 0, 1), (2, 2, 0)).dtype == torch.uint8
    assert torch.equal(IMAGES, before)
    assert changed(Augmentation(1, True), IMAGES.float(), (0, 0, 1), (2, 2, 0)).dtype == torch.float32


def test_features_cannot_be_cropped():
    assert not Augmentation()  # nothing to do
    with pytest.raises(ValueError, match=r"only images can be cropped and flipped, found inputs of shape \(2, 5\)"):
        changed(Augmentation(crop=1), torch.zeros(2, 5), (0, 0, 0), (0, 0, 0))
