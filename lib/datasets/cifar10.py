"""CIFAR-10: 60,000 photographs of ten kinds of things, 32 x 32 pixels (Krizhevsky, 2009), with simulated annotators.

**Where the images come from.** The training images are the same from the official archive and from a lossless copy. The
test images differ, so ``test`` says which are meant, and every ledger row keeps it:

=============  ==================================================================================================
``lossless``   the first 1,000 test images, exactly; an unbiased but noisy estimate of the official accuracy
``official``   all 10,000 test images, exactly, from the official archive
``jpeg``       all 10,000, class by class, after JPEG compression of quality 75 (median PSNR 30.5 dB): an
               accuracy on them is not the official one
``mixed``      the first 1,000 exactly, the other 9,000 as JPEG; rows have the accuracy on each kind too
``all``        ``official``; on a machine that has the JPEG files and not the archive, ``mixed``
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

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Of CCC's released code. The true standard deviations are .2470, .2435, .2616; these are those of each image on average.
NORMALIZE = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
TESTS = ("lossless", "official", "jpeg", "mixed", "all")

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
    found = image_files.png_rows(files[:-1], channels=3, side=32)
    return found, image_files.read_js_labels(files[-1])[start : start + len(found)]


def _from_archive(files: list[Path], start: int, size: int) -> image_files.Images:
    found, labels = _archive(files[0])
    return found[start : start + size].transpose(0, 3, 1, 2), labels[start : start + size]


@lru_cache(maxsize=1)
def _archive(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """All 60,000 images, those to train first, and their classes."""
    from torchvision.datasets import CIFAR10  # here, since a machine that has the pieces need not have it

    with tempfile.TemporaryDirectory() as folder:
        try:
            Path(folder, file.name).symlink_to(file.resolve())
        except OSError:  # no symbolic links on this file system
            shutil.copy(file, folder)
        found = [CIFAR10(folder, train=train, download=True) for train in (True, False)]  # it finds the archive there
    return np.concatenate([part.data for part in found]), np.concatenate([part.targets for part in found]).astype(np.uint8)


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
image_files.register_pieces("cifar10", PIECES, optional=(_OFFICIAL, _COMPRESSED))


def meant(test: str) -> str:
    """Which test images a word stands for on this machine: itself, but for ``all``. Raises ValueError for an unknown one."""
    if test not in TESTS:
        raise ValueError(f"test must be one of {', '.join(TESTS)}, found {test!r}")
    if test != "all":
        return test
    return "official" if _OFFICIAL.is_local or not _COMPRESSED.is_local else "mixed"


def load_images(test: str = "lossless", n_test: int | None = None, subset_seed: int = 0) -> tuple[Images, Images, np.ndarray]:
    """All training images, test images, and the kind of each test image (``lossless`` or ``jpeg``).

    Raises:
        ValueError: an unknown ``test``, or more test images than there are.
    """
    test = meant(test)
    pieces = {"lossless": [_LOSSLESS], "official": [_OFFICIAL], "jpeg": [_COMPRESSED], "mixed": [_LOSSLESS, _COMPRESSED]}[test]
    found = Images.read(pieces)
    kind = np.repeat(["jpeg" if test == "jpeg" else "lossless"], len(found))
    if test == "mixed":
        found, kind = _without_repeats(found)
    chosen = image_parts.subset(np.arange(len(found)), found.y, n_test, subset_seed, "n_test")
    whole = Images.read(TRAIN)
    _archive.cache_clear()
    return whole, found.take(chosen), kind[chosen]


def _without_repeats(found: Images) -> tuple[Images, np.ndarray]:
    """The 1,000 exact images, then of each class's JPEG images those that come after them in the original order."""
    exact = found.y[:1000]
    later = [1000 + np.flatnonzero(found.y[1000:] == k)[(exact == k).sum() :] for k in range(len(CLASS_NAMES))]
    keep = np.concatenate([np.arange(1000), *later])
    return found.take(keep), np.where(keep < 1000, "lossless", "jpeg")


@register("cifar10", title="CIFAR-10, simulated annotators", files=FILES, ensure=partial(image_files.ensure, PIECES))
def load(
    crowd: str = image_parts.PLAIN,
    crowd_seed: int = 0,
    crowd_options: dict | None = None,
    n_train: int | None = None,
    n_valid: int = 0,
    n_test: int | None = None,
    subset_seed: int = 0,
    test: str = "lossless",
    features: str | None = None,
) -> dict:
    """The fields of the data set; ``extra`` has ``test_kind``, of each test image.

    Args:
        crowd: who labels the training images, see :func:`lib.datasets.image_parts.simulated`.
        crowd_seed, crowd_options: of that crowd.
        n_train, n_valid, n_test, subset_seed: see :mod:`lib.datasets.image_parts`. CCC validates on 5,000.
        test: which test images, see above.
        features: see :func:`lib.datasets.image_parts.fields`.
    """
    whole, found, kind = load_images(test, n_test, subset_seed)
    return image_parts.load(
        whole,
        found,
        CLASS_NAMES,
        NORMALIZE,
        (crowd, crowd_seed, crowd_options),
        (n_train, n_valid, subset_seed),
        test_kind=kind,
        features=features,
    )
