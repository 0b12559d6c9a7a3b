"""CIFAR-10 as features of random patches (:mod:`lib.datasets.patch_features`): photographs that a small network learns from
in seconds.

The filters are patches of the first 10,000 training images, no label has a part in them. Features are standardized by their
mean and standard deviation on those images, kept as half precision numbers in ``patches/`` of the cache, and made once.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from lib import paths
from lib.datasets import cifar10, image_files, image_parts, patch_features, register
from lib.datasets.image_parts import Images
from lib.storage import cached_array

REVISION = 1  # raised whenever other numbers come out; part of the files' names
N_FILTERS = 64


@register(
    "cifar10_patches",
    title="CIFAR-10, patch features",
    files=cifar10.FILES,
    revision=REVISION,
    ensure=partial(image_files.ensure, cifar10.PIECES),
)
def load(
    crowd: str = image_parts.PLAIN,
    crowd_seed: int = 0,
    crowd_options: dict | None = None,
    n_train: int | None = None,
    n_valid: int = 0,
    n_test: int | None = None,
    test: str = "lossless",
    filters: int = N_FILTERS,
) -> dict:
    """The fields of the data set; ``extra`` has ``test_kind``, of each test image, as in :mod:`lib.datasets.cifar10`.

    Args:
        crowd, crowd_seed, crowd_options: who labels the training images, see :func:`lib.datasets.image_parts.simulated`.
        n_train, n_valid, n_test: see :mod:`lib.datasets.image_parts`.
        test: which test images.
        filters: how many; an image has eight times as many features.
    """
    whole, tested, kind = cifar10.load_images(test, n_test)
    train, valid = image_parts.parts(len(whole), whole.y, n_train, n_valid)
    given, confusion = image_parts.simulated(crowd, whole.y[train], len(cifar10.CLASS_NAMES), crowd_seed, crowd_options)
    made = {"crowd": given, "true_confusion": confusion, "class_names": cifar10.CLASS_NAMES, "extra": {"test_kind": kind}}
    return made | features({"": whole.take(train), "_valid": whole.take(valid), "_test": tested}, filters)


def features(parts: dict[str, Images], filters: int) -> dict[str, torch.Tensor]:
    """``x`` and ``y`` of each part, by its suffix; a part without images is left out."""
    fields = {}
    for suffix, part in parts.items():
        if len(part) or not suffix:
            fields[f"x{suffix}"] = torch.from_numpy(_kept(part.x, filters).astype(np.float32))
            fields[f"y{suffix}"] = torch.from_numpy(part.y)
    return fields


def _kept(x: np.ndarray, filters: int) -> np.ndarray:
    """``[items, 8 * filters]`` standardized features, half precision, from the cache where they are there."""
    content = {"revision": REVISION, "filters": filters, "images": hashlib.sha256(np.ascontiguousarray(x)).hexdigest()}
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def make() -> np.ndarray:
        bank, mean, deviation = _bank(filters, paths.cache())
        return ((patch_features.describe(x, bank) - mean) / deviation).astype(np.float16)

    return cached_array(paths.cache() / "patches", key, make)


@lru_cache(maxsize=2)
def _bank(filters: int, cache: Path) -> tuple[patch_features.Filters, np.ndarray, np.ndarray]:
    """Filters, and the features' mean and deviation over a tenth of the images that the filters are of."""
    first = Images.read(cifar10.TRAIN[:1]).x
    bank = patch_features.draw_filters(first, filters)
    seen = patch_features.describe(first[::10], bank)
    return bank, seen.mean(axis=0), seen.std(axis=0) + 1e-6
