"""CIFAR-10: 60,000 photographs of ten kinds of things, 32 x 32 pixels (Krizhevsky, 2009), with simulated annotators.

**Where the images come from.** The training images are the same from the official archive and from a lossless copy. The
test images differ, so ``test`` says which are meant, and every ledger row keeps it:

=============  ==================================================================================================
``lossless``   the first 1,000 test images, exactly; an unbiased but noisy estimate of the official accuracy
``all``        all 10,000, exactly, from the official archive; on a machine that has JPEG files (quality 75,
               median PSNR 30.5 dB) and not the archive, the first 1,000 exactly and the others as JPEG: rows then
               have the accuracy on each kind too, and that on the others is not the official one: a head on frozen
               features is about ten points worse on JPEG copies
``held-out``   the last 10,000 of the 50,000 training images, which are then neither trained nor validated on: exact, and
               to be had wherever the training images are; an accuracy on them is not the official one, since less is
               left to learn from
=============  ==================================================================================================

The 5,000 validation images of the papers' split are lossless too and beyond what anything is trained on.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from lib.datasets import image_files, image_parts, register
from lib.datasets.image_files import Piece, Source
from lib.datasets.image_parts import Images
from lib.registry import choice

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Of CCC's released code. The true standard deviations are .2470, .2435, .2616; these are those of each image on average.
NORMALIZE = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
HELD_OUT = "held-out"
TESTS = ("lossless", "all", HELD_OUT)

_LABELS, _JPEG, _ARCHIVE = "cifar10/cifar10_labels.js", "cifar10/test_jpeg.zip", "cifar10/cifar-10-python.tar.gz"
_TRAIN = 50_000
_SHA256 = (
    "ba52cb2d72c412975d7556bb26bd094956f1c002d1937053f6f1252f2ac17114",
    "350ff9000489d02f2568c0dcf4912ffdbae9e50932147905fb1b8159ad54f0ac",
    "a2b8653fc457df407af6c38b7e0d1a12530f3b5f81fce9f81516efd065daf722",
    "133e6292c377755074c305db8a684d48d5397372cb0aba34f52b4335eab35d97",
    "eb08cdc11fd1267ef871cf4790f193684b3f556d13317be68f4eb374a078ea87",
)


def _png(file: int) -> str:
    return f"cifar10/cifar10_batch_{file}.png"


def _from_png(files: list[Path], start: int) -> image_files.Images:
    images = image_files.png_rows(files[:-1], channels=3, side=32)
    return images, image_files.read_js_labels(files[-1])[start : start + len(images)]


def _from_archive(files: list[Path], start: int, size: int) -> image_files.Images:
    images, labels = _archive(files[0])
    return images[start : start + size].transpose(0, 3, 1, 2), labels[start : start + size]


@lru_cache(maxsize=1)
def _archive(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """All 60,000 images, those to train first, and their classes."""
    from torchvision.datasets import CIFAR10  # here, since a machine that has the pieces need not have it

    with tempfile.TemporaryDirectory() as folder:
        try:
            Path(folder, file.name).symlink_to(file.resolve())
        except OSError:  # no symbolic links on this file system
            shutil.copy(file, folder)
        splits = [CIFAR10(folder, train=train, download=True) for train in (True, False)]  # it finds the archive there
    return np.concatenate([part.data for part in splits]), np.concatenate([part.targets for part in splits]).astype(np.uint8)


def _exact(name: str, start: int, size: int, sha256: str = "", copied: bool = True) -> Piece:
    """Images ``start .. start + size`` of all 60,000, from the archive or the lossless copy."""
    sources = [Source((_ARCHIVE,), partial(_from_archive, start=start, size=size))]
    if copied:
        files = (*map(_png, range(start // 1000, (start + size) // 1000)), _LABELS)
        sources.append(Source(files, partial(_from_png, start=start)))
    return Piece(f"cifar10/{name}", tuple(sources), sha256)


TRAIN = tuple(_exact(f"train_{part}", 10_000 * part, 10_000, sha256) for part, sha256 in enumerate(_SHA256))
_LOSSLESS = _exact("test_lossless", _TRAIN, 1000, "2c7f1e2769a741f695dfd5f74aa4a4ef08a7d20b9ec8576214dabab76c75c784")
_OFFICIAL = _exact("test_official", _TRAIN, 10_000, copied=False)
_COMPRESSED = Piece(
    "cifar10/test_jpeg",
    (Source((_JPEG,), lambda files: image_files.jpeg_folder(files[0], CLASS_NAMES)),),
    "fd89fac60f4a80a61f139b14b3ba7d37b2a583bb343923289e12d0dd3dd618df",
)
PIECES = (*TRAIN, _LOSSLESS)
FILES = [*(_png(file) for file in range(51)), _LABELS]


def official() -> bool:
    """Whether all 10,000 test images can be had exactly, or are to be downloaded, for want of JPEG files."""
    return _OFFICIAL.is_local or not _COMPRESSED.is_local


def load_images(test: str = "lossless", n_test: int | None = None) -> tuple[Images, Images, np.ndarray]:
    """Training images, test images, and the kind of each test image (``lossless``, ``jpeg`` or ``held-out``).

    Raises:
        ValueError: an unknown ``test``, or more test images than there are.
    """
    if choice("test", test, TESTS) == HELD_OUT:
        whole, tested = Images.read(TRAIN[:-1]), Images.read(TRAIN[-1:])
    else:
        whole = Images.read(TRAIN)
        tested = Images.read([_OFFICIAL if test == "all" and official() else _LOSSLESS])
    kind = np.repeat([HELD_OUT if test == HELD_OUT else "lossless"], len(tested))
    if test == "all" and not official():
        tested, kind = _without_repeats(Images.read([_LOSSLESS, _COMPRESSED]))
    chosen = image_parts.subset(np.arange(len(tested)), tested.y, n_test, "n_test")
    _archive.cache_clear()
    return whole, tested.take(chosen), kind[chosen]


def _without_repeats(both: Images) -> tuple[Images, np.ndarray]:
    """The 1,000 exact images, then of each class's JPEG images those that come after them in the original order."""
    exact = both.y[:1000]
    later = [1000 + np.flatnonzero(both.y[1000:] == k)[(exact == k).sum() :] for k in range(len(CLASS_NAMES))]
    keep = np.concatenate([np.arange(1000), *later])
    return both.take(keep), np.where(keep < 1000, "lossless", "jpeg")


@register("cifar10", title="CIFAR-10, simulated annotators", files=FILES, ensure=partial(image_files.ensure, PIECES))
def load(
    crowd: str = image_parts.PLAIN,
    crowd_seed: int = 0,
    crowd_options: dict | None = None,
    n_train: int | None = None,
    n_valid: int = 0,
    n_test: int | None = None,
    test: str = "lossless",
    features: str | None = None,
) -> dict:
    """The fields of the data set; ``extra`` has ``test_kind``, of each test image.

    Args:
        crowd: who labels the training images, see :func:`lib.datasets.image_parts.simulated`.
        crowd_seed, crowd_options: of that crowd.
        n_train, n_valid, n_test: see :mod:`lib.datasets.image_parts`. CCC validates on 5,000.
        test: which test images, see above.
        features: see :func:`lib.datasets.image_parts.fields`.
    """
    whole, tested, kind = load_images(test, n_test)
    return image_parts.load(
        whole,
        tested,
        CLASS_NAMES,
        NORMALIZE,
        (crowd, crowd_seed, crowd_options),
        (n_train, n_valid),
        test_kind=kind,
        features=features,
    )
