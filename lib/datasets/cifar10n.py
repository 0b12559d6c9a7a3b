"""CIFAR-10N: the 50,000 training images of CIFAR-10, each labeled by three workers of Amazon Mechanical Turk.

Wei, Zhu, Cheng, Liu, Niu & Liu, "Learning with noisy labels revisited" (ICLR 2022). 747 workers gave 10 to 3070 labels each
(median 80), of which 82.33 % are right; the majority vote is right for 91.18 % of the images. :func:`crowd` reads the labels
alone; the data set ``cifar10n`` joins them to the images of :mod:`lib.datasets.cifar10`.

**Who gave which label** stands in a second file, ten images a line, and its publishers say that it follows the order of the
labels. Joined that way, as CCC's code does too, the workers cannot be told apart: their accuracies vary no more than chance
alone makes them (notebook 31).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.crowd.labels import CrowdLabels
from lib.datasets import cifar10, download, image_files, image_parts, register, register_files
from lib.datasets.cifar10 import CLASS_NAMES

LABELS, WORKERS = "cifar10n/CIFAR-10_human.pt", "cifar10n/side_info_cifar10N.csv"
BATCH = 10  # images a line of the workers' file
# What the label file calls it, by our name. The first three have workers; the others were made of those.
COLUMNS = {
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "aggregate": "aggre_label",
    "worst": "worse_label",
}
VARIANTS = ("all", "places", *COLUMNS)

register_files("cifar10n_labels", title="CIFAR-10N, labels without images", files=[LABELS, WORKERS])


def _ensure() -> None:
    for file in (LABELS, WORKERS):
        download.path(file)
    image_files.ensure(cifar10.PIECES)


@register("cifar10n", title="CIFAR-10N", files=[*cifar10.FILES, LABELS, WORKERS], ensure=_ensure)
def load(
    variant: str = "all",
    n_train: int | None = None,
    n_valid: int = 5000,
    n_test: int | None = None,
    subset_seed: int = 0,
    test: str = "lossless",
    features: str | None = None,
) -> dict:
    """The fields of the data set; ``extra`` has ``test_kind``, of each test image, as in :mod:`lib.datasets.cifar10`.

    Args:
        variant: which labels, see :func:`crowd`.
        n_train, n_valid, n_test, subset_seed: see :mod:`lib.datasets.image_parts`. By default CCC's split: of each class
            the first 4,500 images to train and the last 500 to validate, the latter without their labels.
        test: which test images.
        features: see :func:`lib.datasets.image_parts.fields`.

    Raises:
        ValueError: images whose classes are not those of the labels, or an option out of range.
    """
    given, y = crowd(variant)
    whole, found, kind = cifar10.load_images(test, n_test, subset_seed)
    if not np.array_equal(whole.y, y):
        differ = np.flatnonzero(whole.y != y)
        raise ValueError(f"CIFAR-10N and CIFAR-10 differ in the true class of {len(differ)} images, the first is {differ[0]}")
    chosen = image_parts.parts(len(whole), y, n_train, n_valid, subset_seed)
    labels = given.select_items(chosen[0])
    return image_parts.fields(whole, found, CLASS_NAMES, cifar10.NORMALIZE, chosen, labels, features=features, test_kind=kind)


def crowd(variant: str = "all") -> tuple[CrowdLabels, np.ndarray]:
    """The labels, and the truth to score against.

    Args:
        variant: ``"all"``: three labels an item, by 747 annotators, who are numbered as in the published file;
            ``"places"``: the same labels without the workers, as if one annotator had given the first label of every item,
            one the second and one the third;
            ``"random1"`` to ``"random3"``: one of the three, by the same annotators (17.2 to 18.1 % wrong);
            ``"aggregate"``: the majority's label, or one of the three where all differ (9.0 % wrong); ``"worst"``: a wrong one
            of the three where there is any (40.2 % wrong). The last two come from one annotator who stands for nobody.

    Returns:
        The crowd and the ``[50000]`` int64 true classes, in the order of CIFAR-10's training images.

    Raises:
        ValueError: an unknown variant, or files that hold something else.
        DataUnavailable: a file cannot be had.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; found {variant!r}")
    labels = _read_labels()
    y = labels["clean_label"]
    if variant in ("aggregate", "worst"):
        alone = labels[COLUMNS[variant]][:, None]
        return CrowdLabels.from_dense(alone, n_classes=len(CLASS_NAMES), class_names=CLASS_NAMES), y
    workers = np.tile(np.arange(3), (len(y), 1)) if variant == "places" else _read_workers(len(y))
    places = range(3) if variant in ("all", "places") else [int(variant[-1]) - 1]
    item = np.repeat(np.arange(len(y)), len(places))
    annotator = workers[:, places].ravel()
    label = np.stack([labels[COLUMNS[f"random{place + 1}"]] for place in places], axis=1).ravel()
    n_annotators = int(workers.max()) + 1  # of all three places, so that a number means one worker in each variant
    return CrowdLabels(item, annotator, label, len(y), n_annotators, len(CLASS_NAMES), class_names=CLASS_NAMES), y


def _read_labels() -> dict[str, np.ndarray]:
    """The arrays of the label file, a pickle: only what rebuilds a NumPy array of whole numbers may be called."""
    import torch

    rebuild = np.empty(0).__reduce__()[0]
    names = [f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")]  # NumPy 1, which wrote the file, and 2
    allowed = [*((rebuild, name) for name in names), np.ndarray, np.dtype, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(allowed):
        labels = torch.load(download.path(LABELS), weights_only=True)
    wanted = {"clean_label", *COLUMNS.values()}
    if set(labels) != wanted or len({array.shape for array in labels.values()}) != 1:
        raise ValueError(f"{LABELS} must hold {', '.join(sorted(wanted))}, equally long; found {', '.join(sorted(labels))}")
    return labels


def _read_workers(n_items: int) -> np.ndarray:
    """``[items, 3]``: who gave each label."""
    table = pd.read_csv(download.path(WORKERS))
    batches = [f"{start}--{start + BATCH - 1}" for start in range(0, n_items, BATCH)]
    if table["Image-batch"].tolist() != batches:
        raise ValueError(f"{WORKERS} must have a line for each {BATCH} of {n_items} images, in order; found {len(table)} lines")
    return table[[f"Worker{place}-id" for place in (1, 2, 3)]].to_numpy(dtype=np.int64).repeat(BATCH, axis=0)
