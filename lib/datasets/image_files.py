"""Images of published data sets: decoded once, checked, and kept as bytes.

A data set is made of *pieces* of at most 50 MB, each an ``.npz`` file of ``images`` (``[items, channels, height, width]``
uint8) and ``labels`` (``[items]`` uint8) in ``decoded/`` of the cache. A piece can come from several sources, such as an
official archive or a lossless copy of it, and is the same whichever it came from: its SHA-256 is written down with it.

A machine that holds the pieces needs neither the published files nor anything that decodes images.
"""

import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from lib import paths
from lib.datasets import download
from lib.datasets.download import DataUnavailable
from lib.storage import cached

Arrays = tuple[np.ndarray, np.ndarray]  # images and labels, as in a piece
_KEPT = 12  # pieces held in memory, so that data sets which differ in their crowd alone are read once


@dataclass(frozen=True)
class Source:
    """One way to the images of a piece.

    Args:
        files: paths in ``data/sources.toml``; or, with ``package``, of files that the system has where it is installed.
        decode: what to make of them, given where they lie.
        package: the system's package that holds the files, if they come that way.
    """

    files: tuple[str, ...]
    decode: Callable[[list[Path]], Arrays]
    package: str = ""

    def local(self) -> list[Path] | None:
        """Where the files lie on this machine; None where one would have to be downloaded or installed."""
        files = [Path(file) if self.package else download.local(file) for file in self.files]
        return files if all(path is not None and path.is_file() for path in files) else None

    def get(self) -> list[Path]:
        """The same after downloading what is missing. Raises DataUnavailable."""
        if self.package:
            reason = f"the system has no {self.files[0]} (in Debian's package {self.package})"
            raise DataUnavailable(Path(self.files[0]).name, reason)
        return [download.path(file) for file in self.files]


@dataclass(frozen=True)
class Piece:
    """A part of a data set.

    Args:
        name: of the file, such as ``cifar10/train_0``.
        sources: ways to its images; what is on this machine comes first, then the order given.
        sha256: of the bytes of images and labels, one after the other; empty where only the source vouches for them.
    """

    name: str
    sources: tuple[Source, ...]
    sha256: str = ""

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return paths.cache() / "decoded" / f"{self.name}.npz"

    @property
    def is_local(self) -> bool:
        """Whether it, or what it is made of, is on this machine."""
        return self.path.is_file() or any(source.local() is not None for source in self.sources)


def ensure(pieces: Sequence[Piece]) -> None:
    """Make sure that all pieces can be had, without decoding any. Raises DataUnavailable, with every way to get one."""
    for piece in pieces:
        if not piece.path.is_file():
            _files(piece)


def read(piece: Piece) -> Arrays:
    """Images and labels of a piece, decoded and kept if need be. Not to be changed: they are shared.

    Raises:
        DataUnavailable: neither the piece nor any of its sources.
        ValueError: a source has other images than it should.
    """
    return _read(piece, piece.path)  # the path too, since the cache may move


@lru_cache(maxsize=_KEPT)
def _read(piece: Piece, path: Path) -> Arrays:
    def make() -> dict[str, np.ndarray]:
        source, files = _files(piece)
        try:
            images, labels = (np.ascontiguousarray(part, dtype=np.uint8) for part in source.decode(files))
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{piece.name}: {', '.join(file.name for file in files)} cannot be decoded: {error}") from error
        if piece.sha256 and (digest := _digest(images, labels)) != piece.sha256:
            raise ValueError(
                f"{piece.name}: the images decoded from {files[0].name} have SHA-256 {digest}, expected {piece.sha256}; "
                "is it another version of the data, or of the decoder?"
            )
        return {"images": images, "labels": labels}

    def right(kept: dict[str, np.ndarray]) -> bool:  # a piece that was handed over
        return _digest(kept["images"], kept["labels"]) == piece.sha256

    kept = cached(path, make, right)
    for array in kept.values():
        array.flags.writeable = False
    return kept["images"], kept["labels"]


def _files(piece: Piece) -> tuple[Source, list[Path]]:
    """The source to use: one whose files are here, or the first that can be downloaded."""
    for source in piece.sources:
        if (files := source.local()) is not None:
            return source, files
    failures = []
    for source in piece.sources:
        try:
            return source, source.get()
        except DataUnavailable as error:
            failures.append(error)
    first, *others = sorted(failures, key=lambda error: not error.damaged)  # whoever has a damaged copy mends that one
    also = [f"{error.file} ({error.reason})" for error in others]
    looked = [*first.looked, *also, f"decoded images ({piece.path} is not there)"]
    published = any(error.published for error in failures)
    raise DataUnavailable(first.file, first.reason, looked, published, first.damaged) from first


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(images))
    digest.update(np.ascontiguousarray(labels))
    return digest.hexdigest()


# ---------------------------------------------------------------------- decoding


def convnetjs(name: str, batches: range, size: int, channels: int, side: int) -> Source:
    """The copy in the demos of ConvNetJS: numbered pictures in RGB with an image of ``side * side`` pixels in each of ``size``
    rows (gray ones, of one channel, have three equal colors), and a script that assigns one list with the classes of all."""

    def decode(files: list[Path]) -> Arrays:
        from PIL import Image  # here, since a machine that has the pieces need not decode

        rows = []
        for file in files[:-1]:
            with Image.open(file) as picture:
                rows.append(np.asarray(picture))
        images = np.concatenate(rows).reshape(-1, side, side, 3)[..., :channels].transpose(0, 3, 1, 2)
        labels = json.loads(re.search(r"\[[^\]]*\]", files[-1].read_text(encoding="utf-8"))[0])
        return images, np.array(labels[size * batches.start :][: len(images)], dtype=np.uint8)

    return Source((*(f"{name}/{name}_batch_{k}.png" for k in batches), f"{name}/{name}_labels.js"), decode)


def jpeg_folder(file: Path, classes: Sequence[str]) -> Arrays:
    """Images of a zip file with one folder of JPEG pictures per class, ``test/<class>/<number>.jpg``, class by class."""
    from PIL import Image

    images, labels = [], []
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".jpg"):
                with Image.open(io.BytesIO(archive.read(name))) as picture:
                    images.append(np.asarray(picture).transpose(2, 0, 1))
                labels.append(classes.index(name.removeprefix("test/").split("/")[0]))
    return np.stack(images), np.array(labels, dtype=np.uint8)


def read_idx(file: Path) -> np.ndarray:
    """A gzipped array of bytes in the IDX format of Fashion-MNIST: the number of axes in the fourth byte, then their sizes."""
    content = gzip.decompress(file.read_bytes())
    axes = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=axes, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape.astype(int))
