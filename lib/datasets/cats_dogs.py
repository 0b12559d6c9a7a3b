"""Cats and dogs: two classes of CIFAR-10, labeled by the five annotators of Rodrigues & Pereira (AAAI 2018).

They labeled Dogs vs. Cats, photographs that may not be passed on (:mod:`lib.datasets.dogs_vs_cats` reads those of a user who
has them). Here are the same annotators (:mod:`lib.simulation.crowd_layer`) and the same two animals at 32 x 32 pixels: about
8,000 images to train and 2,000 to test with ``test="held-out"``; 10,000 and 2,000 with ``test="mixed"``.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from lib import simulation
from lib.datasets import cifar10, cifar10_patches, image_files, image_parts, register
from lib.datasets.image_parts import Images

CLASS_NAMES = ("cat", "dog")
CROWD = "crowd-layer-five"


def five_annotators(y: np.ndarray, seed: int) -> dict:
    """``crowd`` and ``true_confusion`` of the five annotators about items of two classes."""
    made = simulation.build(CROWD, y, len(CLASS_NAMES), seed)
    return {"crowd": made.crowd, "true_confusion": made.confusion}


@register("cats_dogs", title="CIFAR-10, cats and dogs", files=cifar10.FILES, ensure=partial(image_files.ensure, cifar10.PIECES))
def load(
    crowd_seed: int = 0,
    n_train: int | None = None,
    n_valid: int = 0,
    n_test: int | None = None,
    subset_seed: int = 0,
    test: str = "lossless",
    filters: int = 0,
) -> dict:
    """The fields of the data set; ``extra`` has ``test_kind``, of each test image, as in :mod:`lib.datasets.cifar10`.

    Args:
        crowd_seed: of the five annotators.
        n_train, n_valid, n_test, subset_seed: see :mod:`lib.datasets.image_parts`, counted in cats and dogs.
        test: which test images, see :func:`lib.datasets.cifar10_patches.divided`.
        filters: 0 for images; else features of so many patches, see :mod:`lib.datasets.cifar10_patches`.
    """
    whole, found, kind = cifar10_patches.divided(test)
    whole, _ = _two(whole)
    found, kept = _two(found)
    tested = image_parts.subset(np.arange(len(found)), found.y, n_test, subset_seed, "n_test")
    found, kind = found.take(tested), kind[kept][tested]
    train, valid = image_parts.parts(len(whole), whole.y, n_train, n_valid, subset_seed)
    crowd = five_annotators(whole.y[train], crowd_seed)
    if not filters:
        labels = (crowd["crowd"], crowd["true_confusion"])
        return image_parts.fields(whole, found, CLASS_NAMES, cifar10.NORMALIZE, (train, valid), *labels, test_kind=kind)
    parts = {"": whole.take(train), "_valid": whole.take(valid), "_test": found}
    return crowd | {"class_names": CLASS_NAMES, "extra": {"test_kind": kind}} | cifar10_patches.features(parts, filters)


def _two(found: Images) -> tuple[Images, np.ndarray]:
    """The cats (class 0) and dogs (class 1) among some images, and which they are."""
    classes = [cifar10.CLASS_NAMES.index(name) for name in CLASS_NAMES]
    kept = np.flatnonzero(np.isin(found.y, classes))
    return Images(found.x[kept], (found.y[kept] == classes[1]).astype(np.int64)), kept
