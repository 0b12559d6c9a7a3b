"""Features are numbers, of the items that were labeled; what is neither is refused by place and with a remedy."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.own_data import features
from lib.own_data.features import Source, arrange, image_files, read_numbers, read_source, read_texts
from lib.own_data.intake import read_labels
from lib.own_data.tables import Refusal, read_table


def intake_of(*items):
    return read_labels(pd.DataFrame([(i, who, "yn"[n % 2]) for n, i in enumerate(items) for who in "ab"],
                                    columns=["item", "annotator", "label"]))  # fmt: skip


def written(tmp_path, text):
    path = tmp_path / "features.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_features_keep_the_order_of_their_file_and_unlabeled_items(tmp_path):
    path = written(tmp_path, "name,width,height\na,1,2.5\nc,-3,1e3\nb,0,4\n")
    table, arranged, source = read_source(intake_of("b", "a"), Source("columns"), path)
    assert table.to_numpy().tolist() == [[1, 2.5], [-3, 1000], [0, 4]]
    assert arranged.crowd.item_names == ("a", "c", "b")
    assert arranged.crowd.labels_per_item.tolist() == [2, 0, 2]
    assert arranged.known.tolist() == [-1, -1, -1]
    assert source.columns == ("width", "height")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item\na\n", "at least one of numbers"),
        ("item,x\na,1\nb,tall\n", r"line 3: column 'x' must hold finite numbers, found 'tall'; 1 such cell. To fix it"),
        ("item,x\na,1\nb,\n", "line 3: .* found ''.*fill in the cell or remove the row"),
        ("item,x\na,1\nb,inf\n", "line 3: .* found 'inf'"),
        ("item,x\na,red\nb,blue\n", "remove the column or code its values"),
        ('item,x\na,"1,5"\nb,"2,5"\n', "say --decimal ,"),
        ('item,x\na,"1,500"\nb,"2,500"\n', "if they separate thousands, remove them"),
        ("x,item\n1,a\n2,b\n", "column 'item' must hold finite numbers.* items are named in the first column"),
        ("item,x\na,1\na,2\n", "line 3: item 'a' again"),
        ("item,x\na,1\n,2\n", "line 3: a row without the name"),
    ],
)
def test_what_is_no_number_is_refused(tmp_path, text, message):
    with pytest.raises(Refusal, match=message):
        read_numbers(written(tmp_path, text))


def test_decimal_commas(tmp_path):
    assert read_numbers(written(tmp_path, 'item,x\na,"1,5"\n'), ",")[0].loc["a", "x"] == 1.5
    assert read_numbers(written(tmp_path, "item;x\na;1,5\n"))[0].loc["a", "x"] == 1.5
    assert read_numbers(written(tmp_path, "item,x\na,\N{MINUS SIGN}1.5\n"))[0].loc["a", "x"] == -1.5


@pytest.mark.parametrize(
    ("labeled", "named", "match"),
    [
        (("7", "8"), ("7.0", "8.0"), "number"),
        (("7", "8"), ("007", "008"), "number"),
        (("x", "caf\u00e9"), ("X ", "cafe\u0301"), "spelling"),
        (("x.jpg", "y.jpg"), ("data/x.jpg", "data/y.jpg"), "file-name"),
        (("x", "y"), ("data/x.png", "data/y.png"), "stem"),
    ],
)
def test_items_that_match_in_another_way_are_hinted_at(labeled, named, match):
    intake = intake_of(*labeled)
    with pytest.raises(Refusal, match=f"2 of 2 labeled items have no features.*say --match {match}"):
        arrange(intake, list(named))
    assert arrange(intake, list(named), match).crowd.labels_per_item.tolist() == [2, 2]


def test_labeled_items_without_features_are_named():
    with pytest.raises(Refusal, match=r"1 of 2 labeled items have no features: 'b'; there are features for 'a', 'c'"):
        arrange(intake_of("a", "b"), ["a", "c"])
    with pytest.raises(Refusal, match=r"2 of 2 labeled items have no features.*the first column of a table must name the item"):
        arrange(intake_of("a", "b"), ["1.5", "2.5"])
    with pytest.raises(Refusal, match=r"1 of 2 labeled items have no features.*by file-name, several of these are 'a'; rename"):
        arrange(intake_of("a", "b"), ["x/a", "y/a", "b"], "file-name")
    with pytest.raises(Refusal, match="several labeled items match the same item"):
        arrange(intake_of("x/a", "y/a"), ["a", "b"], "file-name")


def test_texts_come_from_the_labels_file(tmp_path, monkeypatch):
    path = tmp_path / "labels.csv"
    path.write_text("item,annotator,label,words\n1,a,y,hello\n1,b,y,hello\n2,a,n,bye\n", encoding="utf-8")
    monkeypatch.setattr(features.sentence_vectors, "sentences", lambda texts: np.array([[len(text)] for text in texts]))
    table, _, source = read_source(read_labels(path), Source("text", ("words",)))
    assert table.to_numpy().tolist() == [[5], [3]]
    assert source.columns == ("words",)
    with pytest.raises(Refusal, match="no column 'text'"):
        read_texts(read_labels(path).table, "text", "item")


def test_images_of_any_size_come_from_a_folder(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    Image.new("L", (8, 8), 255).save(tmp_path / "a.png")
    Image.new("RGB", (9, 5), (255, 0, 0)).save(tmp_path / "deep" / "b.jpg")
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    monkeypatch.setattr(features.image_features, "features", lambda images: images.mean(axis=(2, 3)).astype(np.float32))
    table, arranged, _ = read_source(intake_of("a.png", "b.jpg"), Source("images"), tmp_path, "file-name")
    assert arranged.crowd.item_names == ("a.png", "deep/b.jpg")
    np.testing.assert_allclose(table.to_numpy(), [[255, 255, 255], [254, 0, 0]], atol=1)
    with pytest.raises(Refusal, match="there is no folder"):
        image_files(tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refusal, match="there is no image in"):
        image_files(tmp_path / "empty")


def damaged(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"broken"), "cannot identify"),
        (lambda path: path.write_bytes(b""), "cannot identify"),
        (damaged, ""),
        (lambda path: Image.new("I;16", (8, 8), 40000).save(path), "expected 8 bits per color, found pixels of mode I;16"),
        (lambda path: Image.new("1", (20000, 20000)).save(path), "exceeds limit"),
    ],
)
def test_images_that_cannot_be_used_are_named(tmp_path, write, message):
    write(tmp_path / "a.png")
    with pytest.raises(Refusal, match=rf"a\.png cannot be read as an image: .*{message}"):
        features.features_of("images", image_files(tmp_path))


def test_a_dry_look_opens_the_images(tmp_path):
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    assert "2 images" in features.check(intake_of("a.png", "b.png"), Source("images"), tmp_path, "exact", "")
    (tmp_path / "b.png").write_bytes(b"broken")
    with pytest.raises(Refusal, match=r"b\.png cannot be read as an image"):
        features.check(intake_of("a.png", "b.png"), Source("images"), tmp_path, "exact", "")


def test_features_of_an_image_depend_on_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(features.image_features, "features", lambda images: images.reshape(len(images), -1).astype(np.float32))
    gradient = np.add.outer(np.arange(40), np.arange(40)).astype(np.uint8)
    for mode in ("RGB", "L", "P", "RGBA", "LA", "CMYK"):
        Image.fromarray(gradient).convert("RGB").convert(mode).save(tmp_path / f"{mode}.tif")
    alone = features.features_of("images", image_files(tmp_path))
    Image.new("RGB", (300, 200)).save(tmp_path / "other.jpg")
    among = features.features_of("images", image_files(tmp_path))
    np.testing.assert_array_equal(alone.to_numpy(), among.loc[alone.index].to_numpy())
    off = np.abs(alone - alone.loc["RGB.tif"])
    assert off.drop("P.tif").max(axis=None) <= 2
    assert off.loc["P.tif"].mean() < 10  # a palette has few colors


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,hello\n2, \n3,\n", r"line 3: a row without a text in column 'words'; 2 such rows"),
        ("1,hello\n,bye\n", r"line 3: a row without the name of its item; 1 such row"),
        ("1,hello\n1,bye\n", r"item '1' \(column 'item'\) has two different texts in column 'words'"),
    ],
)
def test_texts_that_cannot_be_used_are_named(tmp_path, rows, message):
    with pytest.raises(Refusal, match=message):
        read_texts(read_table(written(tmp_path, "item,words\n" + rows)), "words", "item")
