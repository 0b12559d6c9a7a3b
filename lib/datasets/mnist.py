"""MNIST: handwritten digits in gray, 28 x 28 pixels (LeCun, Bottou, Bengio & Haffner, 1998), with simulated annotators.

60,000 to train and the first 3,000 of those to test, from a published copy that is a little darker than the original: its
mean is .1299 of white, the official one .1307.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lib.datasets import images, pixels, register
from lib.datasets.images import Images
from lib.datasets.pixels import Piece, Source

CLASS_NAMES = tuple(str(digit) for digit in range(10))
NORMALIZE = ((0.1307,), (0.3081,))  # as everybody does, of the original
_LABELS, _ROWS = "mnist/mnist_labels.js", 3000


def _from_png(files: list[Path], start: int) -> pixels.Images:
    found = pixels.png_rows(files[:-1], channels=1, side=28)
    return found, pixels.read_js_labels(files[-1])[start : start + len(found)]


def _piece(part: str, first: int, last: int, sha256: str) -> Piece:
    files = (*(f"mnist/mnist_batch_{file}.png" for file in range(first, last)), _LABELS)
    return Piece(f"mnist/{part}", (Source(files, partial(_from_png, start=_ROWS * first)),), sha256)


TRAIN = _piece("train", 0, 20, "11e8d6ab2a2ce5646c4476ec83425babb924ec39a42e6dc7bf59c384856bbc8e")
TEST = _piece("test", 20, 21, "48dbc42030897f39429fc3a482b66f0c0cda9b5d9331372cad798d9fe4e91baa")
PIECES = (TRAIN, TEST)
FILES = [*(f"mnist/mnist_batch_{file}.png" for file in range(21)), _LABELS]
pixels.register_pieces("mnist", PIECES)


@register("mnist", title="MNIST, simulated annotators", files=FILES, ensure=partial(pixels.ensure, PIECES))
def load(
    crowd: str = images.PLAIN,
    crowd_seed: int = 0,
    crowd_options: dict | None = None,
    n_train: int | None = None,
    n_valid: int = 0,
    n_test: int | None = None,
    subset_seed: int = 0,
) -> dict:
    """The fields of the data set.

    Args:
        crowd: who labels the training images, see :func:`lib.datasets.images.simulated`.
        crowd_seed, crowd_options: of that crowd.
        n_train, n_valid, n_test, subset_seed: see :mod:`lib.datasets.images`.
    """
    whole, test = Images.read([TRAIN]), Images.read([TEST])
    test = test.take(images.subset(np.arange(len(test)), test.y, n_test, subset_seed, "n_test"))
    return images.load(whole, test, CLASS_NAMES, NORMALIZE, (crowd, crowd_seed, crowd_options), (n_train, n_valid, subset_seed))
