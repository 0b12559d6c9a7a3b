"""What the image data sets have in common: images with classes, parts, class-balanced subsets.

Images stay bytes, ``[items, channels, height, width]`` uint8, from the file to the device; the backbone takes off the mean
and divides by the standard deviation of each channel (:meth:`lib.networks.Backbone.inputs`).

**Parts.** Validation images are the last ones of each class in file order, as in CCC's released code; a subset of the
training images is drawn from the others, with the classes in the same proportions; test images come from the test part
alone. A crowd is simulated on the training images that are left, so it gives no label of any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lib.crowd.labels import CrowdLabels
from lib.datasets import image_features, image_files
from lib.datasets.kinds import first_of_each, stratified
from lib.registry import choice, within

SUBSET_SEED = 0


@dataclass(frozen=True)
class Images:
    """Images with their true classes: ``x`` ``[items, channels, height, width]`` uint8, ``y`` ``[items]`` int64."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def read(cls, pieces: Sequence[image_files.Piece]) -> Images:
        """All images of some pieces, in order."""
        images, labels = zip(*map(image_files.read, pieces), strict=True)
        return cls(np.concatenate(images), np.concatenate(labels).astype(np.int64))

    def __len__(self) -> int:
        return len(self.y)

    def take(self, items: np.ndarray) -> Images:
        """Some of them."""
        return Images(self.x[items], self.y[items])


def parts(y: np.ndarray, n_train: int | None = None, n_valid: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which of the training images, of classes ``y`` ``[items]``, are used to train and which to validate: two vectors of
    indices, ascending. ``n_valid`` are set aside, the last of each class; ``n_train`` are drawn from the others, None for all
    of them. Raises ValueError for more images than there are."""
    within("n_valid", n_valid, 0, len(y) - 1)
    valid = first_of_each(y, n_valid, np.arange(len(y))[::-1])
    return subset(np.setdiff1d(np.arange(len(y)), valid), y, n_train, "n_train"), valid


def subset(items: np.ndarray, y: np.ndarray, size: int | None, name: str) -> np.ndarray:
    """``size`` of the items, always the same, with the classes in the same proportions; all of them for None.

    Raises ValueError for no item, or more than there are; ``name`` is that of the option.
    """
    if size is None:
        return items
    within(name, size, 1, len(items))
    return items[stratified(y[items], size, np.random.default_rng(SUBSET_SEED))]


def fields(
    train: Images,
    test: Images,
    class_names: Sequence[str],
    normalize: tuple[Sequence[float], Sequence[float]],
    chosen: tuple[np.ndarray, np.ndarray],
    crowd: CrowdLabels,
    true_confusion: np.ndarray | None = None,
    features: str | None = None,
    **extra,
) -> dict:
    """The fields of :class:`lib.datasets.kinds.CrowdDataset`, of all training images and the test images to use.

    Args:
        class_names, normalize, crowd, true_confusion, extra: as there; the crowd labels the chosen training images.
        chosen: from :func:`parts`.
        features: None for the images as bytes; or :data:`lib.datasets.image_features.NAME`, for what that network sees in them.

    Raises:
        ValueError: features by another name.
    """
    choice("features", features, (None, image_features.NAME))
    made = {"crowd": crowd, "class_names": tuple(class_names), "true_confusion": true_confusion, "extra": extra}
    if features is None:
        made["normalize"] = tuple(tuple(map(float, part)) for part in normalize)
    for suffix, part in (("", train.take(chosen[0])), ("_valid", train.take(chosen[1])), ("_test", test)):
        if len(part) or suffix != "_valid":
            x = part.x if features is None else image_features.features(part.x)
            made[f"x{suffix}"], made[f"y{suffix}"] = torch.from_numpy(x), torch.from_numpy(part.y)
    return made
