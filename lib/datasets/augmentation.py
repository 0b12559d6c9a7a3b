"""Augmentation of images in batches, on the device where they lie.

A pass draws the shifts and flips of all its images at once, with NumPy, so that they are the same on any device; a batch is
then cropped and flipped by one gather. Works on bytes and on floats alike: what comes in at the edge is zero, the black of
images as bytes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Random crops and flips.

    Args:
        crop: pixels of black border from which an image of the original size is cut at random; 0 for none.
        flip: whether to flip half of the images from left to right.
    """

    crop: int = 0
    flip: bool = False

    def __bool__(self) -> bool:
        return bool(self.crop or self.flip)

    def draw(self, items: int, generator: np.random.Generator) -> np.ndarray:
        """``[items, 3]`` int64: the row and column of each crop's corner, and 1 where the image is flipped."""
        corners = generator.integers(0, 2 * self.crop + 1, (items, 2))
        flips = generator.integers(0, 2, (items, 1)) if self.flip else np.zeros((items, 1), dtype=np.int64)
        return np.concatenate([corners, flips], axis=1)

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Cropped and flipped copies of ``images`` ``[batch, channels, height, width]``; ``drawn`` ``[batch, 3]`` are some rows
        of :meth:`draw` on the same device. Raises ValueError for inputs that are no images."""
        if images.ndim != 4:
            raise ValueError(f"only images can be cropped and flipped, found inputs of shape {tuple(images.shape)}")
        batch, channels, height, width = images.shape
        device = images.device
        row, column, flip = drawn.unbind(1)
        rows = row[:, None] + torch.arange(height, device=device)
        across = torch.arange(width, device=device)
        columns = column[:, None] + torch.where(flip[:, None] > 0, width - 1 - across, across)
        if self.crop:
            images = F.pad(images, (self.crop,) * 4)
        item = torch.arange(batch, device=device)[:, None, None, None]
        channel = torch.arange(channels, device=device)[None, :, None, None]
        return images[item, channel, rows[:, None, :, None], columns[:, None, None, :]]
