"""Decoded images: kept in pieces, checked, and made anew where they are wrong."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from lib.datasets import download as fetch
from lib.datasets import image_files
from lib.datasets.image_files import Piece, Source

IMAGES, LABELS = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4), np.array([1, 0], dtype=np.uint8)
SHA256 = image_files._digest(IMAGES, LABELS)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """An empty cache, no mirror, and nothing remembered."""
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CROWDS_MIRROR", str(tmp_path / "nowhere"))
    image_files._read.cache_clear()
    yield
    image_files._read.cache_clear()


@pytest.fixture
def decoded():
    """How often the source was decoded."""
    return []


@pytest.fixture
def piece(tmp_path, decoded):
    """A piece whose one source is a file of the system."""
    file = tmp_path / "published"
    file.write_bytes(b"")

    def decode(files):
        decoded.append(files)
        return IMAGES.astype(np.int64), LABELS

    return Piece("toy/train", (Source((str(file),), decode, package="toys"),), SHA256)


def test_decoded_once_and_kept(piece, decoded):
    for _ in range(2):
        image_files._read.cache_clear()  # as in another process
        images, labels = image_files.read(piece)
        assert_array_equal(images, IMAGES)
        assert_array_equal(labels, LABELS)
        assert images.dtype == labels.dtype == np.uint8
    assert len(decoded) == 1
    assert not images.flags.writeable
    assert sorted(path.suffix for path in piece.path.parent.iterdir()) == [".lock", ".npz", ".sha256"]


def test_a_piece_of_other_images_is_made_anew(piece, decoded, caplog):
    image_files.read(piece)
    np.savez(piece.path, images=IMAGES + 1, labels=LABELS)
    image_files._read.cache_clear()
    assert_array_equal(image_files.read(piece)[0], IMAGES)
    assert len(decoded) == 2
    assert "made again" in caplog.text


def test_a_piece_that_travelled_needs_no_source_and_no_digest(piece):
    image_files.read(piece)
    image_files._read.cache_clear()
    piece.path.with_suffix(".sha256").unlink()
    alone = Piece(piece.name, (Source(("/nowhere/published",), piece.sources[0].decode, package="toys"),), SHA256)
    image_files.ensure([alone])
    assert_array_equal(image_files.read(alone)[1], LABELS)


def test_other_images_than_expected(piece):
    other = Piece("toy/other", piece.sources, "0" * 64)
    with pytest.raises(ValueError, match=r"toy/other: the images decoded from published have SHA-256 .*expected 0000"):
        image_files.read(other)
    assert not other.path.exists()


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    def decode(files):
        raise OSError("image file is truncated")

    file = tmp_path / "rows.png"
    file.write_bytes(b"half")
    cut = Piece("toy/cut", (Source((str(file),), decode, package="toys"),), SHA256)
    with pytest.raises(ValueError, match=r"toy/cut: rows\.png cannot be decoded: image file is truncated"):
        image_files.read(cut)


def test_no_source_tells_every_way():
    missing = Piece("toy/train", (Source(("/nowhere/toy.gz",), None, package="toys"),), SHA256)
    with pytest.raises(fetch.DataUnavailable, match=r"toy.gz.*Debian's package toys.*decoded images .*train.npz"):
        image_files.ensure([missing])


def test_what_is_here_comes_before_what_must_be_downloaded(piece, decoded, monkeypatch):
    monkeypatch.setattr(fetch, "local", lambda name: None)
    monkeypatch.setattr(fetch, "path", lambda name: pytest.fail("downloaded"))
    both = Piece("toy/train", (Source(("toy/archive",), None), *piece.sources), SHA256)
    assert_array_equal(image_files.read(both)[0], IMAGES)


def test_the_next_way_where_one_fails(tmp_path, monkeypatch):
    good = tmp_path / "good"

    def download(name):
        if name == "toy/bad":
            raise fetch.DataUnavailable(name, "no connection")
        good.write_bytes(b"")
        return good

    monkeypatch.setattr(fetch, "local", lambda name: None)
    monkeypatch.setattr(fetch, "path", download)
    sources = (Source(("toy/bad",), None), Source(("toy/good",), lambda files: (IMAGES, LABELS)))
    assert_array_equal(image_files.read(Piece("toy/train", sources, SHA256))[0], IMAGES)


def test_of_several_ways_a_damaged_file_is_named(monkeypatch):
    """Whoever has the pictures is not sent for the archive."""

    def refuse(name):
        raise fetch.DataUnavailable(name, f"no {name}", [f"where {name} was"], damaged=name == "toy/rows.png")

    monkeypatch.setattr(fetch, "local", lambda name: None)
    monkeypatch.setattr(fetch, "path", refuse)
    toy = Piece("toy/train", (Source(("toy/archive",), None), Source(("toy/rows.png",), None)), SHA256)
    message = r"^data file toy/rows\.png is not available: no toy/rows.*where toy/rows.*toy/archive \(no toy/archive\)"
    with pytest.raises(fetch.DataUnavailable, match=message) as caught:
        image_files.ensure([toy])
    assert caught.value.damaged


def test_rows_of_pixels_and_labels_of_a_script(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (15, 3, 4, 4), dtype=np.uint8)
    (tmp_path / "toy_labels.js").write_text(f"var labels={list(range(15))};")
    for k in range(3):
        part = images[5 * k : 5 * k + 5]
        Image.fromarray(part.transpose(0, 2, 3, 1).reshape(5, 16, 3)).save(tmp_path / f"toy_batch_{k}.png")

    def decoded(**changes):
        source = image_files.convnetjs("toy", **{"batches": range(1, 3), "size": 5, "channels": 3, "side": 4} | changes)
        assert source.files == ("toy/toy_batch_1.png", "toy/toy_batch_2.png", "toy/toy_labels.js")
        return source.decode([tmp_path / file.split("/")[1] for file in source.files])

    found, labels = decoded()
    assert_array_equal(found, images[5:])
    assert_array_equal(labels, np.arange(5, 15))
    assert_array_equal(decoded(channels=1)[0], images[5:, :1])


def test_jpeg_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for k, name in enumerate(("cat/0000", "ant/0001", "ant/0000")):
            packed = io.BytesIO()
            Image.fromarray(np.full((8, 8, 3), 40 * k, dtype=np.uint8)).save(packed, "JPEG")
            archive.writestr(f"test/{name}.jpg", packed.getvalue())
    images, labels = image_files.jpeg_folder(tmp_path / "a.zip", ("ant", "cat"))
    assert_array_equal(labels, [0, 0, 1])
    assert images.shape == (3, 3, 8, 8)
    assert_array_equal(images.mean(axis=(1, 2, 3)).round(), [80, 40, 0])


def test_idx(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    head = b"\0\0\x08\x03" + np.array(array.shape, dtype=">u4").tobytes()
    (tmp_path / "a.gz").write_bytes(gzip.compress(head + array.tobytes()))
    assert_array_equal(image_files.read_idx(tmp_path / "a.gz"), array)
