"""CIFAR-10N: the 50,000 training images of CIFAR-10, each labeled by three workers of Amazon Mechanical Turk.

Wei, Zhu, Cheng, Liu, Niu & Liu, "Learning with noisy labels revisited" (ICLR 2022). 747 workers gave 10 to 3070 labels each
(median 80), of which 82.33 % are right; the majority vote is right for 91.18 % of the images. :func:`crowd` reads the labels
alone; the data set ``cifar10n`` joins them to the images of :mod:`lib.datasets.cifar10`.

**Who gave which label** stands in a second file, ten images per line, and its publishers say that it follows the order of the
labels. Joined that way, as CCC's code does too, the workers cannot be told apart: their accuracies vary no more than chance
alone makes them (notebook 31).
"""

import numpy as np
import pandas as pd

from lib.crowd.labels import CrowdLabels
from lib.datasets import cifar10, download, image_files, image_parts, register
from lib.datasets.cifar10 import CLASS_NAMES
from lib.registry import choice

LABELS, WORKERS = "cifar10n/CIFAR-10_human.pt", "cifar10n/side_info_cifar10N.csv"
IMAGES_PER_LINE = 10  # of the workers' file


@register("cifar10n_labels", title="CIFAR-10N, labels without images", files=[LABELS, WORKERS])
def load_labels() -> dict:
    """No data set by itself: the name is for what needs the labels alone, which :func:`crowd` reads."""
    raise ValueError("'cifar10n_labels' names files without features: lib.datasets.cifar10n.crowd() reads them")


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
    test: str = "lossless",
    features: str | None = None,
) -> dict:
    """The fields of the data set; ``extra`` has ``test_kind``, of each test image, as in :mod:`lib.datasets.cifar10`.

    Args:
        variant: which labels, see :func:`crowd`.
        n_train, n_valid, n_test: see :mod:`lib.datasets.image_parts`. By default CCC's split: of each class
            the first 4,500 images to train and the last 500 to validate, the latter without their labels.
        test, features: as in :func:`lib.datasets.cifar10.load`.
    """
    whole, tested, kind = cifar10.load_images(test, n_test)
    chosen = image_parts.parts(whole.y, n_train, n_valid)
    labels = crowd(variant)[0].select_items(chosen[0])
    return image_parts.fields(whole, tested, CLASS_NAMES, cifar10.NORMALIZE, chosen, labels, features=features, test_kind=kind)


def crowd(variant: str = "all") -> tuple[CrowdLabels, np.ndarray]:
    """The labels, and the ``[50000]`` int64 true classes, in the order of CIFAR-10's training images.

    Args:
        variant: ``"all"``: three labels per item, by 747 annotators, who are numbered as in the published file;
            ``"places"``: the same labels without the workers, as if one annotator had given the first label of every item,
            one the second and one the third; ``"dealt"``: the same labels with the lines of the workers' file in random order,
            always the same one, so that each worker has as many labels as before, but another's.

    Raises:
        ValueError: an unknown variant.
        DataUnavailable: a file cannot be had.
    """
    choice("variant", variant, ("all", "places", "dealt"))
    labels = _read_labels()
    y = labels["clean_label"]
    if variant == "places":
        workers = np.tile(np.arange(3), (len(y), 1))
    else:
        workers = pd.read_csv(download.path(WORKERS))[[f"Worker{place}-id" for place in (1, 2, 3)]].to_numpy(dtype=np.int64)
        workers = np.random.default_rng(0).permutation(workers) if variant == "dealt" else workers
        workers = workers.repeat(IMAGES_PER_LINE, axis=0)
    item = np.repeat(np.arange(len(y)), 3)
    label = np.stack([labels[f"random_label{place}"] for place in (1, 2, 3)], axis=1).ravel()
    sizes = (len(y), int(workers.max()) + 1, len(CLASS_NAMES))
    return CrowdLabels(item, workers.ravel(), label, *sizes, class_names=CLASS_NAMES), y


def _read_labels() -> dict[str, np.ndarray]:
    """The arrays of the label file, a pickle: only what rebuilds a NumPy array of whole numbers may be called."""
    import torch

    rebuild = np.empty(0).__reduce__()[0]
    names = [f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")]  # NumPy 1, which wrote the file, and 2
    allowed = [*((rebuild, name) for name in names), np.ndarray, np.dtype, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(allowed):
        return torch.load(download.path(LABELS), weights_only=True)
