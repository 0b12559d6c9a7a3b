"""Fashion-MNIST: 70,000 gray pictures of ten kinds of clothes, 28 x 28 pixels (Xiao, Rasul & Vollgraf, 2017), with
simulated annotators.

60,000 to train and 10,000 to test, from the published files or from Debian's package of them (the same images).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lib.datasets import image_files, image_parts, register
from lib.datasets.image_files import Piece, Source

CLASS_NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
NORMALIZE = ((0.2860,), (0.3530,))  # of the training images
PACKAGE, FOLDER = "dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"


def _from_idx(files: list[Path]) -> image_files.Images:
    return image_files.read_idx(files[0])[:, None], image_files.read_idx(files[1])


def _piece(part: str, stem: str, sha256: str) -> Piece:
    names = [f"{stem}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    published = Source(tuple(f"fashion_mnist/{name}" for name in names), _from_idx)
    packaged = Source(tuple(f"{FOLDER}/{name}" for name in names), _from_idx, package=PACKAGE)
    return Piece(f"fashion_mnist/{part}", (published, packaged), sha256)


TRAIN = _piece("train", "train", "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157")
TEST = _piece("test", "t10k", "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4")
PIECES = (TRAIN, TEST)
FILES = [file for piece in PIECES for file in piece.sources[0].files]


register("fashion_mnist", title="Fashion-MNIST, simulated annotators", files=FILES, ensure=partial(image_files.ensure, PIECES))(
    image_parts.loader(TRAIN, TEST, CLASS_NAMES, NORMALIZE)
)
