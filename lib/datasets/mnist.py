"""MNIST and Fashion-MNIST: gray images of ten classes, 28 x 28 pixels, with simulated annotators.

``mnist``: handwritten digits (LeCun, Bottou, Bengio & Haffner, 1998). 60,000 to train and the first 3,000 of those to test,
from a published copy that is a little darker than the original: its mean is .1299 of white, the official one .1307.

``fashion_mnist``: kinds of clothes (Xiao, Rasul & Vollgraf, 2017). 60,000 to train and 10,000 to test, from the published
files or from Debian's package of them (the same images).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lib import simulation
from lib.datasets import image_files, image_parts, register
from lib.datasets.image_files import Piece, Source
from lib.datasets.image_parts import Images

PACKAGE, FOLDER = "dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclass(frozen=True)
class Gray:
    """One of the two: its pieces, and what :func:`lib.datasets.image_parts.fields` asks for."""

    title: str
    class_names: tuple[str, ...]
    normalize: tuple[tuple[float], tuple[float]]
    train: Piece
    test: Piece

    def registered(self, name: str, crowd: str):
        """Decorator for a loader that has these images labeled by some crowd."""
        pieces = (self.train, self.test)
        files = dict.fromkeys(file for piece in pieces for file in piece.sources[0].files)
        return register(name, title=f"{self.title}, {crowd}", files=tuple(files), ensure=partial(image_files.ensure, pieces))

    def images(self, n_test: int | None) -> tuple[Images, Images]:
        """All images to train, and ``n_test`` to test."""
        test = Images.read([self.test])
        return Images.read([self.train]), test.take(image_parts.subset(np.arange(len(test)), test.y, n_test, "n_test"))


def _digits(part: str, batches: range, sha256: str) -> Piece:
    return Piece(f"mnist/{part}", (image_files.convnetjs("mnist", batches, 3000, 1, 28),), sha256)


def _from_idx(files: list[Path]) -> image_files.Arrays:
    return image_files.read_idx(files[0])[:, None], image_files.read_idx(files[1])


def _clothes(part: str, stem: str, sha256: str) -> Piece:
    names = [f"{stem}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    published = Source(tuple(f"fashion_mnist/{name}" for name in names), _from_idx)
    packaged = Source(tuple(f"{FOLDER}/{name}" for name in names), _from_idx, package=PACKAGE)
    return Piece(f"fashion_mnist/{part}", (published, packaged), sha256)


SETS = {
    "mnist": Gray(
        title="MNIST",
        class_names=tuple(str(digit) for digit in range(10)),
        normalize=((0.1307,), (0.3081,)),  # as everybody does, of the original
        train=_digits("train", range(20), "11e8d6ab2a2ce5646c4476ec83425babb924ec39a42e6dc7bf59c384856bbc8e"),
        test=_digits("test", range(20, 21), "48dbc42030897f39429fc3a482b66f0c0cda9b5d9331372cad798d9fe4e91baa"),
    ),
    "fashion_mnist": Gray(
        title="Fashion-MNIST",
        class_names=CLOTHES,
        normalize=((0.2860,), (0.3530,)),  # of the training images
        train=_clothes("train", "train", "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157"),
        test=_clothes("test", "t10k", "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4"),
    ),
}


def load(
    gray: Gray,
    crowd: str = "plain",
    crowd_seed: int = 0,
    crowd_options: dict | None = None,
    n_train: int | None = None,
    n_valid: int = 0,
    n_test: int | None = None,
) -> dict:
    """The fields of the data set: a crowd as in :func:`lib.simulation.build`, sizes as in :mod:`lib.datasets.image_parts`."""
    whole, test = gray.images(n_test)
    chosen = image_parts.parts(whole.y, n_train, n_valid)
    made = simulation.build(crowd, whole.y[chosen[0]], len(gray.class_names), crowd_seed, **crowd_options or {})
    return image_parts.fields(whole, test, gray.class_names, gray.normalize, chosen, made.crowd, made.confusion)


for _name, _gray in SETS.items():
    _gray.registered(_name, "simulated annotators")(partial(load, _gray))
