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

import pickle
import tarfile
from functools import partial
from pathlib import Path

import numpy as np

from lib import simulation
from lib.datasets import image_files, image_parts, register
from lib.datasets.image_files import Piece, Source
from lib.datasets.image_parts import Images
from lib.registry import choice

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Of CCC's released code. The true standard deviations are .2470, .2435, .2616; these are those of each image on average.
NORMALIZE = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
HELD_OUT = "held-out"
TESTS = ("lossless", "all", HELD_OUT)

_SHA256 = (
    "ba52cb2d72c412975d7556bb26bd094956f1c002d1937053f6f1252f2ac17114",
    "350ff9000489d02f2568c0dcf4912ffdbae9e50932147905fb1b8159ad54f0ac",
    "a2b8653fc457df407af6c38b7e0d1a12530f3b5f81fce9f81516efd065daf722",
    "133e6292c377755074c305db8a684d48d5397372cb0aba34f52b4335eab35d97",
    "eb08cdc11fd1267ef871cf4790f193684b3f556d13317be68f4eb374a078ea87",
)


def _archived(batch: str, size: int) -> Source:
    """The first ``size`` images of one of the six files of the official archive."""

    def decode(files: list[Path]) -> image_files.Arrays:
        with tarfile.open(files[0]) as archive:
            found = pickle.load(archive.extractfile(f"cifar-10-batches-py/{batch}"), encoding="latin1")
        return found["data"][:size].reshape(-1, 3, 32, 32), np.array(found["labels"][:size], dtype=np.uint8)

    return Source(("cifar10/cifar-10-python.tar.gz",), decode)


def _piece(name: str, batch: str, copies: range, sha256: str) -> Piece:
    """Images of the archive that are also in some files of the lossless copy, a thousand in each."""
    copied = image_files.convnetjs("cifar10", copies, 1000, 3, 32)
    return Piece(f"cifar10/{name}", (_archived(batch, 1000 * len(copies)), copied), sha256)


TRAIN = tuple(
    _piece(f"train_{part}", f"data_batch_{part + 1}", range(10 * part, 10 * part + 10), sha256)
    for part, sha256 in enumerate(_SHA256)
)
_LOSSLESS = _piece(
    "test_lossless", "test_batch", range(50, 51), "2c7f1e2769a741f695dfd5f74aa4a4ef08a7d20b9ec8576214dabab76c75c784"
)
_OFFICIAL = Piece("cifar10/test_official", (_archived("test_batch", 10_000),))
_COMPRESSED = Piece(
    "cifar10/test_jpeg",
    (Source(("cifar10/test_jpeg.zip",), lambda files: image_files.jpeg_folder(files[0], CLASS_NAMES)),),
    "fd89fac60f4a80a61f139b14b3ba7d37b2a583bb343923289e12d0dd3dd618df",
)
PIECES = (*TRAIN, _LOSSLESS)
FILES = tuple(dict.fromkeys(file for piece in PIECES for file in piece.sources[-1].files))


def official() -> bool:
    """Whether all 10,000 test images can be had exactly, or are to be downloaded, for want of JPEG files."""
    return _OFFICIAL.is_local or not _COMPRESSED.is_local


def load_images(test: str = "lossless", n_test: int | None = None) -> tuple[Images, Images, np.ndarray]:
    """Training images, test images, and the kind of each test image (``lossless``, ``jpeg`` or ``held-out``).

    Raises:
        ValueError: an unknown ``test``, or more test images than there are.
    """
    held_out = choice("test", test, TESTS) == HELD_OUT
    whole = Images.read(TRAIN[:-1] if held_out else TRAIN)
    if test == "all" and not official():
        tested, kind = _without_repeats(Images.read([_LOSSLESS, _COMPRESSED]))
    else:
        tested = Images.read(TRAIN[-1:] if held_out else [_OFFICIAL if test == "all" else _LOSSLESS])
        kind = np.repeat([HELD_OUT if held_out else "lossless"], len(tested))
    chosen = image_parts.subset(np.arange(len(tested)), tested.y, n_test, "n_test")
    return whole, tested.take(chosen), kind[chosen]


def _without_repeats(both: Images) -> tuple[Images, np.ndarray]:
    """The 1,000 exact images, then of each class's JPEG images those that come after them in the original order."""
    exact = both.y[:1000]
    later = [1000 + np.flatnonzero(both.y[1000:] == k)[(exact == k).sum() :] for k in range(len(CLASS_NAMES))]
    keep = np.concatenate([np.arange(1000), *later])
    return both.take(keep), np.where(keep < 1000, "lossless", "jpeg")


@register("cifar10", title="CIFAR-10, simulated annotators", files=FILES, ensure=partial(image_files.ensure, PIECES))
def load(
    crowd: str = "plain",
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
        crowd, crowd_seed, crowd_options: who labels the training images, see :func:`lib.simulation.build`.
        n_train, n_valid, n_test: see :mod:`lib.datasets.image_parts`. CCC validates on 5,000.
        test: which test images, see above.
        features: see :func:`lib.datasets.image_parts.fields`.
    """
    whole, tested, kind = load_images(test, n_test)
    chosen = image_parts.parts(whole.y, n_train, n_valid)
    made = simulation.build(crowd, whole.y[chosen[0]], len(CLASS_NAMES), crowd_seed, **crowd_options or {})
    used = (whole, tested, CLASS_NAMES, NORMALIZE, chosen, made.crowd, made.confusion)
    return image_parts.fields(*used, features=features, test_kind=kind)
