"""MNIST: handwritten digits in gray, 28 x 28 pixels (LeCun, Bottou, Bengio & Haffner, 1998), with simulated annotators.

60,000 to train and the first 3,000 of those to test, from a published copy that is a little darker than the original: its
mean is .1299 of white, the official one .1307.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lib.datasets import image_files, image_parts, register
from lib.datasets.image_files import Piece, Source

CLASS_NAMES = tuple(str(digit) for digit in range(10))
NORMALIZE = ((0.1307,), (0.3081,))  # as everybody does, of the original
_LABELS, _ROWS = "mnist/mnist_labels.js", 3000


def _from_png(files: list[Path], start: int) -> image_files.Images:
    images = image_files.png_rows(files[:-1], channels=1, side=28)
    return images, image_files.read_js_labels(files[-1])[start : start + len(images)]


def _piece(part: str, first: int, last: int, sha256: str) -> Piece:
    files = (*(f"mnist/mnist_batch_{file}.png" for file in range(first, last)), _LABELS)
    return Piece(f"mnist/{part}", (Source(files, partial(_from_png, start=_ROWS * first)),), sha256)


TRAIN = _piece("train", 0, 20, "11e8d6ab2a2ce5646c4476ec83425babb924ec39a42e6dc7bf59c384856bbc8e")
TEST = _piece("test", 20, 21, "48dbc42030897f39429fc3a482b66f0c0cda9b5d9331372cad798d9fe4e91baa")
PIECES = (TRAIN, TEST)
FILES = [*(f"mnist/mnist_batch_{file}.png" for file in range(21)), _LABELS]


register("mnist", title="MNIST, simulated annotators", files=FILES, ensure=partial(image_files.ensure, PIECES))(
    image_parts.loader(TRAIN, TEST, CLASS_NAMES, NORMALIZE)
)
