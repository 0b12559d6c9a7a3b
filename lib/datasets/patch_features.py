"""Features of photographs from random patches: what a small network can learn from in seconds.

One layer, nothing learned from labels (Coates & Ng, "The importance of encoding versus training with sparse coding and
vector quantization", ICML 2011, who find random patches nearly as good as learned ones): patches of 6 x 6 pixels have their
contrast normalized and are whitened; some of them, drawn at random from training images, are the filters; a patch is
described by how far it goes along each filter, in either direction, beyond a threshold, and an image by the averages over
its four quarters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["SIDE", "Filters", "describe", "draw_filters"]

SIDE, STRIDE, SAMPLE = 6, 2, 20_000
CONTRAST, RIDGE, THRESHOLD = 10.0, 0.1, 0.25  # the paper's, for pixels 0 .. 255
CHUNK = 500

Filters = tuple[Tensor, Tensor]  # the mean patch [n], and what it is multiplied by, whitening and filters in one [n, filters]


def draw_filters(images: np.ndarray, n_filters: int, seed: int = 0) -> Filters:
    """Filters from random patches of some images.

    Args:
        images: ``[items, channels, height, width]`` uint8; training images, no labels needed.
        n_filters: how many.
        seed: of the draw.

    Raises:
        ValueError: images of another type, fewer than one filter, or images smaller than a patch.
    """
    _check(images)
    if not 1 <= n_filters <= SAMPLE:
        raise ValueError(f"n_filters must lie between 1 and {SAMPLE}, found {n_filters}")
    rng, (items, _, height, width) = np.random.default_rng(seed), images.shape
    item = rng.integers(items, size=SAMPLE)
    top, left = rng.integers(height - SIDE + 1, size=SAMPLE), rng.integers(width - SIDE + 1, size=SAMPLE)
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(2, 3))
    patches = _normalized(torch.from_numpy(windows[item, :, top, left].reshape(SAMPLE, -1)).double())
    mean = patches.mean(dim=0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / SAMPLE)
    whiten = vectors @ torch.diag((values + RIDGE).rsqrt()) @ vectors.T
    chosen = (patches[:n_filters] - mean) @ whiten  # the sample is in random order
    return mean.float(), (whiten @ F.normalize(chosen, dim=1).T).float()


def describe(images: np.ndarray, filters: Filters) -> np.ndarray:
    """``[items, 8 * filters]`` float32: for each quarter of an image and each filter, both directions.

    Raises:
        ValueError: images of another type, or of another number of channels than the filters.
    """
    _check(images)
    mean, weight = filters
    if images.shape[1] * SIDE * SIDE != len(mean):
        raise ValueError(f"the filters are of patches of {len(mean)} numbers, found images of the shape {images.shape}")
    with torch.no_grad():
        parts = [_describe(torch.from_numpy(images[k : k + CHUNK]), mean, weight) for k in range(0, len(images), CHUNK)]
    return torch.cat(parts).numpy() if parts else np.zeros((0, 8 * weight.shape[1]), dtype=np.float32)


def _describe(images: Tensor, mean: Tensor, weight: Tensor) -> Tensor:
    windows = images.float().unfold(2, SIDE, STRIDE).unfold(3, SIDE, STRIDE).permute(0, 2, 3, 1, 4, 5)
    items, down, across = windows.shape[:3]
    along = (_normalized(windows.reshape(items * down * across, -1)) - mean) @ weight
    both = torch.cat([F.relu(along - THRESHOLD), F.relu(-along - THRESHOLD)], dim=1)
    maps = both.reshape(items, down, across, -1).permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(maps, 2).flatten(1)


def _normalized(patches: Tensor) -> Tensor:
    """Each patch without its mean, over its standard deviation."""
    patches = patches - patches.mean(dim=1, keepdim=True)
    return patches / (patches.square().mean(dim=1, keepdim=True) + CONTRAST).sqrt()


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images must be uint8 [items, channels, height, width], found {images.dtype} {images.shape}")
    if min(images.shape[2:]) < SIDE:
        raise ValueError(f"images must be at least {SIDE} pixels high and wide, found {images.shape[2]} x {images.shape[3]}")
