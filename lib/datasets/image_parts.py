"""What the image data sets have in common: parts, class-balanced subsets, simulated crowds.

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

from lib import simulation
from lib.crowd.labels import CrowdLabels
from lib.datasets import image_features, image_files
from lib.datasets.kinds import first_of_each, stratified
from lib.registry import check_options, choice, options_of, within
from lib.simulation import drawing

PLAIN = "plain"
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
    """Which of the training images, of classes ``y`` ``[items]``, are used to train and which to validate.

    Args:
        n_train: how many to train on, drawn from those that are not set aside; None for all of them.
        n_valid: how many to set aside, the last of each class.

    Returns:
        Two vectors of item indices, ascending. Raises ValueError for more images than there are.
    """
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
    """The fields of :class:`lib.datasets.kinds.CrowdDataset`.

    Args:
        train: all training images.
        test: the test images to use.
        class_names, crowd, true_confusion: as there; the crowd labels the chosen training images.
        normalize: mean and standard deviation of each channel, of values from 0 to 1.
        chosen: from :func:`parts`.
        features: None for the images as bytes; or :data:`lib.datasets.image_features.NAME`, for what that network sees in them.
        extra: what else the data set has.

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


# ---------------------------------------------------------------------- simulated crowds


def load(
    train: Images,
    test: Images,
    class_names: Sequence[str],
    normalize: tuple[Sequence[float], Sequence[float]],
    crowd: tuple[str, int, dict | None],
    sizes: tuple[int | None, int] = (None, 0),
    **extra,
) -> dict:
    """The fields of a data set whose training images a simulated crowd labels.

    Args:
        train, test, class_names, normalize, extra: as in :func:`fields`.
        crowd: case, seed and options, see :func:`simulated`.
        sizes: ``n_train`` and ``n_valid`` of :func:`parts`.
    """
    chosen = parts(train.y, *sizes)
    case, seed, options = crowd
    given, confusion = simulated(case, train.y[chosen[0]], len(class_names), seed, options)
    return fields(train, test, class_names, normalize, chosen, given, confusion, **extra)


def simulated(case: str, y: np.ndarray, n_classes: int, seed: int, options: dict | None) -> tuple[CrowdLabels, np.ndarray]:
    """A crowd that labels images of classes ``y`` ``[items]``, and its confusion matrices ``[annotators, true class, label]``.

    Args:
        case: ``"plain"``, see :func:`plain`, or one of :mod:`lib.simulation`, such as ``"rec-IND-I"``.
        seed: of the crowd.
        options: the case's own.

    Raises:
        ValueError: an unknown case, or an option that it does not have.
    """
    options = options or {}
    if case == PLAIN:
        check_options(f"crowd {case!r}", options, options_of(plain, first=3))
        return plain(y, n_classes, seed, **options)
    made = simulation.build(case, y, n_classes, seed, **options)
    return made.crowd, made.confusion


def plain(
    y: np.ndarray, n_classes: int, seed: int, annotators: int = 50, accuracy: float = 0.6, labels_per_item: float = 3.0
) -> tuple[CrowdLabels, np.ndarray]:
    """Annotators who are all alike and take part alike: right with probability ``accuracy``, else any other class."""
    confusion = np.repeat(drawing.symmetric(accuracy, n_classes)[None], annotators, axis=0)
    return drawing.simulate(y, confusion, labels_per_item, seed=seed), confusion
