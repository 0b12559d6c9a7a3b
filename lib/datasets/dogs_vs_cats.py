"""Cats and dogs, labeled by the five annotators of Rodrigues & Pereira's experiment (AAAI 2018).

``dogs_vs_cats``: their photographs, where the user has them; they may not be passed on. Get
``train.zip`` of Kaggle's *Dogs vs. Cats* (or Microsoft's *PetImages*), unpack it, and name the
folder in the environment variable ``CROWDS_DOGS_VS_CATS``. A random half of each animal's photographs is to train, the other to
test, 12,500 each as in the paper; the five annotators of :mod:`lib.simulation.crowd_layer` label the first.

``cats_dogs``: the same annotators and the same two animals in CIFAR-10, at 32 x 32 pixels: about 8,000 images to train and
2,000 to test with ``test="held-out"``; 10,000 and 2,000 with ``test="all"``.
"""

import hashlib
import os
import re
from functools import partial
from pathlib import Path

import numpy as np

from lib import paths, simulation
from lib.datasets import cifar10, image_files, image_parts, register
from lib.datasets.download import DataUnavailable
from lib.datasets.image_parts import Images
from lib.storage import cached

CLASS_NAMES = ("cat", "dog")
CROWD = "crowd-layer-five"
SIDE = 150  # of the squares that photographs are brought to, in pixels; as in the paper
VARIABLE = "CROWDS_DOGS_VS_CATS"
_LEAST = 2  # photographs of each animal
_WANTED = (
    f"{VARIABLE} should name a folder with cat.0.jpg, dog.0.jpg, ... in it or in its folder 'train' (Kaggle's train.zip), or "
    "with folders 'Cat' and 'Dog' of 0.jpg, ... (PetImages)"
)


def _labeled(train: Images, test: Images, normalize, crowd_seed: int, n_train: int | None = None, **more) -> dict:
    """The fields of a data set whose training images the five label."""
    chosen = image_parts.parts(train.y, n_train)
    made = simulation.build(CROWD, train.y[chosen[0]], len(CLASS_NAMES), crowd_seed)
    return image_parts.fields(train, test, CLASS_NAMES, normalize, chosen, made.crowd, made.confusion, **more)


# ---------------------------------------------------------------------- of CIFAR-10


@register("cats_dogs", title="CIFAR-10, cats and dogs", files=cifar10.FILES, ensure=partial(image_files.ensure, cifar10.PIECES))
def load_small(
    crowd_seed: int = 0,
    n_train: int | None = None,
    n_test: int | None = None,
    test: str = "lossless",
    features: str | None = None,
) -> dict:
    """The fields of the data set; ``extra`` has ``test_kind``, of each test image, as in :mod:`lib.datasets.cifar10`.

    Args:
        crowd_seed: of the five annotators.
        n_train, n_test: see :mod:`lib.datasets.image_parts`, counted in cats and dogs.
        test, features: as in :func:`lib.datasets.cifar10.load`.
    """
    whole, tested, kind = cifar10.load_images(test)
    (animals, _), (tested, kept) = _two(whole), _two(tested, n_test)
    return _labeled(animals, tested, cifar10.NORMALIZE, crowd_seed, n_train, features=features, test_kind=kind[kept])


def _two(images: Images, size: int | None = None) -> tuple[Images, np.ndarray]:
    """The cats (class 0) and dogs (class 1) among some images, or ``size`` of them, and which they are."""
    classes = [cifar10.CLASS_NAMES.index(name) for name in CLASS_NAMES]
    kept = image_parts.subset(np.flatnonzero(np.isin(images.y, classes)), images.y, size, "n_test")
    return Images(images.x[kept], (images.y[kept] == classes[1]).astype(np.int64)), kept


# ---------------------------------------------------------------------- the user's photographs


class NoPhotographs(DataUnavailable):
    """The folder is not named, not there, or holds something else."""

    def __init__(self, reason: str) -> None:
        super().__init__("the photographs of Dogs vs. Cats", reason, published=False)

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}. {_WANTED}."


def folder() -> Path | None:
    """The folder that the user names in ``CROWDS_DOGS_VS_CATS``; None where the variable is not set."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def photographs(place: Path) -> dict[str, list[Path]]:
    """The photographs of each animal, in the order of their numbers. Raises NoPhotographs where a folder has not both."""
    if not place.is_dir():
        raise NoPhotographs(f"{place} is no folder")
    by_animal: dict[str, list[tuple[int, Path]]] = {name: [] for name in CLASS_NAMES}
    for file in [*place.glob("*.jpg"), *place.glob("train/*.jpg"), *place.glob("[CcDd]*/*.jpg")]:
        named = f"{file.parent.name}/{file.name}" if file.stem.isdigit() else file.name
        match = re.fullmatch(r"(cat|dog)[./](\d+)\.jpg", named, flags=re.IGNORECASE)
        if match and file.is_file():  # no link to nothing
            by_animal[match[1].lower()].append((int(match[2]), file))
    for name, files in by_animal.items():
        if len(files) < _LEAST:
            raise NoPhotographs(f"{place} has {len(files)} photographs of a {name}, too few to train and test on")
        if len({number for number, _ in files}) < len(files):
            raise NoPhotographs(f"{place} has two photographs of a {name} with the same number")
    return {name: [file for _, file in sorted(files)] for name, files in by_animal.items()}


def digest(place: Path) -> str:
    """16 hex digits that tell one collection of photographs from another, by names and sizes: part of a run's key."""
    lines = [f"{name} {file.name} {file.stat().st_size}" for name, files in photographs(place).items() for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _ensure() -> None:
    place = folder()
    if place is None:
        raise NoPhotographs(f"{VARIABLE} is not set")
    photographs(place)


@register("dogs_vs_cats", title="Dogs vs. Cats", ensure=_ensure)
def load(collection: str = "", crowd_seed: int = 0) -> dict:
    """The fields of the data set. Photographs that cannot be read are left out (PetImages has two).

    Args:
        collection: what :func:`digest` says of the user's folder, so that rows of other photographs are not taken for these;
            empty for any.
        crowd_seed: of the five annotators.

    Raises:
        NoPhotographs: there are none, or too few that can be read.
        ValueError: another collection.
    """
    place = folder()
    present = digest(place)
    if collection not in ("", present):
        raise ValueError(f"the photographs in {VARIABLE} are collection {present}, the run is of {collection}")
    path = paths.cache() / "decoded" / f"dogs_vs_cats_{present}_{SIDE}.npz"
    kept = cached(path, lambda: _decoded(photographs(place)))
    whole = Images(kept["images"], kept["labels"].astype(np.int64))
    half = np.concatenate([np.flatnonzero(whole.y == k)[::2] for k in range(len(CLASS_NAMES))])
    train, test = whole.take(np.sort(half)), whole.take(np.setdiff1d(np.arange(len(whole)), half))
    pixel = train.x[:2000] / 255
    normalize = (pixel.mean(axis=(0, 2, 3)), np.maximum(pixel.std(axis=(0, 2, 3)), 1e-3))
    return _labeled(train, test, normalize, crowd_seed)


def _decoded(files: dict[str, list[Path]]) -> dict[str, np.ndarray]:
    """All photographs as squares, in random order: ``images`` ``[photographs, 3, SIDE, SIDE]`` and ``labels``, both uint8."""
    from PIL import Image

    squares, labels = [], []
    for label, name in enumerate(CLASS_NAMES):
        for file in files[name]:
            try:
                with Image.open(file) as picture:
                    square = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            # What Pillow raises for a link to nothing, a file that is cut off or no picture, and one of a billion pixels.
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                continue
            squares.append(np.asarray(square).transpose(2, 0, 1))
            labels.append(label)
        if labels.count(label) < _LEAST:
            raise NoPhotographs(f"{files[name][0].parent} has {labels.count(label)} readable photographs of a {name}")
    order = np.random.default_rng(0).permutation(len(labels))
    return {"images": np.stack(squares)[order], "labels": np.array(labels, dtype=np.uint8)[order]}
