"""What is in a file of labels is understood, or refused with its line and the option that decides."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from lib.own_data import columns, intake
from lib.own_data.columns import Options
from lib.own_data.intake import folded, read_labels
from lib.own_data.tables import Refusal

HEADER = "item,annotator,label\n"
PLAIN = HEADER + "a,ann,cat\na,ben,dog\nb,ann,dog\nb,ben,dog\n"


def read(tmp_path, content, name="labels.csv", encoding="utf-8", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_labels(path, Options(**options))


def triples(intake):
    return sorted(map(tuple, intake.crowd.to_frame().to_numpy().tolist()))


EXPECTED = [("a", "ann", "cat"), ("a", "ben", "dog"), ("b", "ann", "dog"), ("b", "ben", "dog")]


@pytest.mark.parametrize(
    ("text", "name", "encoding"),
    [
        (PLAIN, "labels.csv", "utf-8"),
        (PLAIN, "labels.csv", "utf-8-sig"),
        (PLAIN, "labels.csv", "utf-16"),
        (PLAIN.replace(",", ";"), "labels.csv", "utf-8"),
        (PLAIN.replace(",", "\t"), "labels.tsv", "utf-8"),
        (PLAIN.replace("\n", "\r\n"), "labels.csv", "utf-8"),
        (PLAIN.replace("item,annotator", "Item, Annotator"), "labels.csv", "utf-8"),
        (gzip.compress(PLAIN.encode(), mtime=0), "labels.csv.gz", ""),
        ("item,ann,ben,cy\na,cat,dog,\nb,dog,dog,\n", "wide.csv", "utf-8"),
        ("".join(f"{row},{line}\n" for row, line in zip(["", *range(4)], PLAIN.split("\n"), strict=False)), "i.csv", "utf-8"),
    ],
)
def test_forms_of_a_file(tmp_path, text, name, encoding):
    assert triples(read(tmp_path, text, name, encoding)) == EXPECTED


def test_a_cell_may_be_as_long_as_a_book(tmp_path):
    rows = f"a,ann,cat,{'word ' * 300_000}\na,ben,dog,\n\nb,ann,dog,\nb,ben,dog,\n"
    assert triples(read(tmp_path, "item,annotator,label,text\n" + rows)) == EXPECTED


@pytest.mark.parametrize("quoted", [False, True])
def test_names_are_the_text_of_the_file(tmp_path, quoted):
    """Whatever they look like: numbers, dates, words for nothing; in quotes, too."""
    names = ["007", "1.50", "1e3", "True", "2020-01-01", "None", "9" * 30, "a b", "\u00e9", "="]
    lines = [(name, "ann", label) for name, label in zip(names, "yn" * 5, strict=True)]
    text = HEADER + "".join(",".join(f'"{cell}"' if quoted else cell for cell in line) + "\n" for line in lines)
    assert triples(read(tmp_path, text)) == sorted(lines)


def test_parquet_and_frames(tmp_path):
    frame = pd.DataFrame(EXPECTED, columns=["item", "annotator", "label"])
    frame.to_parquet(tmp_path / "labels.parquet")
    assert triples(read_labels(tmp_path / "labels.parquet")) == EXPECTED
    assert triples(read_labels(frame)) == EXPECTED


def test_windows_accents_are_read_and_said(tmp_path):
    intake = read(tmp_path, PLAIN.replace("ann,", "Zoë,"), encoding="cp1252")
    assert "Zoë" in intake.crowd.annotator_names
    assert "labels.csv is not UTF-8, read as Windows-1252" in intake.notes[0]


def test_mechanical_turk(tmp_path):
    text = (
        "HITId,WorkerId,AssignmentStatus,Input.url,Answer.kind\n"
        "h1,W1,Approved,a.png,cat\nh1,W2,Rejected,a.png,dog\nh2,W1,Approved,b.png,\nh2,W2,Submitted,b.png,dog\n"
    )
    intake = read(tmp_path, text)
    assert triples(intake) == [("a.png", "W1", "cat"), ("b.png", "W2", "dog")]
    assert "1 rejected assignment left out" in intake.notes
    boxes = (
        text.replace("Answer.kind", "Answer.cat.on,Answer.dog.on")
        .replace(",cat\n", ",true,false\n")
        .replace(",dog\n", ",,true\n")
    )
    boxes = boxes.replace("b.png,\n", "b.png,true,true\n")
    with pytest.raises(Refusal, match=r"line 4: the label is a list, \"\['cat', 'dog'\]\""):
        read(tmp_path, boxes)


def test_appen_with_known_classes(tmp_path):
    text = (
        "_unit_id,_worker_id,_golden,_tainted,kind,kind_gold\n"
        "1,w1,true,false,cat,cat\n1,w2,true,true,dog,cat\n2,w1,false,false,dog,\n2,w2,false,false,dog,\n"
    )
    intake = read(tmp_path, text)
    assert triples(intake) == [("1", "w1", "cat"), ("2", "w1", "dog"), ("2", "w2", "dog")]
    assert intake.known.tolist() == [0, -1]


def test_label_studio(tmp_path):
    def said(person, *choices, **more):
        return {"completed_by": person, "result": [{"value": {"choices": list(choices)}}] if choices else [], **more}

    tasks = [
        {"id": 1, "data": {"image": "a"}, "annotations": [said(1, "cat"), said(2, "dog", was_cancelled=True)]},
        {"id": 2, "data": {"image": "b"}, "annotations": [said(1, "dog", ground_truth=True), said({"email": "x@y"}, "cat")]},
    ]
    intake = read(tmp_path, json.dumps(tasks), "export.json")
    assert triples(intake) == [("a", "1", "cat"), ("b", "1", "dog"), ("b", "x@y", "cat")]
    assert intake.known.tolist() == [-1, 1]
    with pytest.raises(Refusal, match="no Label Studio export"):
        read(tmp_path, "[1, 2]", "export.json")


@pytest.mark.parametrize(
    ("rows", "message", "mended", "labels"),
    [
        ("c,ann,nan\n", "line 6: is 'nan' a class, or a missing label.*--missing 'nan'", {"missing": ("nan",)}, 4),
        ("c,ann,nan\n", "line 6: is 'nan' a class", {"classes": ("cat", "dog", "nan")}, 5),
        ("c,ann,unsure\n", "line 6: is 'unsure' a class", {"missing": ("unsure",)}, 4),
        ("c,ann,Cat \n", "line 6: are 'cat', 'Cat ' the same label.*--merge-spellings", {"merge_spellings": True}, 5),
        ("c,Ann,cat\n", "line 6: are 'ann', 'Ann' the same annotator", {"merge_spellings": True}, 5),
        (
            "b,ben,dog\n",
            "line 6: 'ben' labeled 'b' again .*in line 5 'dog'.*1 such row, 1 with the same",
            {"duplicates": "first"},
            4,
        ),
        ("b,ben,cat\n", "line 6: 'ben' labeled 'b' again.*1 such row, 0 with the same", {"duplicates": "none"}, 3),
        ('c,ann,"[""cat"", ""dog""]"\n', "line 6: the label is a list", None, 0),
        ("c,ann,cat|dog\n", r"line 6: several answers in one cell, 'cat\|dog'", None, 0),
        (",ann,cat\n", "line 6: 1 label without item", None, 0),
        ("c,ann\n", "line 6 has 2 cells, but the header has 3", None, 0),
    ],
)
def test_what_could_be_two_things_is_refused_until_an_option_decides(tmp_path, rows, message, mended, labels):
    with pytest.raises(Refusal, match=message):
        read(tmp_path, PLAIN + rows)
    if mended is not None:
        assert len(read(tmp_path, PLAIN + rows, **mended).crowd) == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\ufeff", "is empty"),  # a mark of the encoding and nothing else
        (PLAIN.encode("utf-16")[:-1], "marked as UTF-16, but is damaged"),
        (HEADER, "has a header .* but no rows"),
        (HEADER + "a,ann,cat\nb,ann,cat\n", "all labels are 'cat'"),
        (HEADER + "a,ann,cat\na,ben,dog\n", "one item only"),
        (HEADER + "a,ann,0.31\nb,ann,0.5\n", "line 2: the label '0.31' is a measurement"),
        (HEADER + "".join(f"i{n},ann,text {n}\n" for n in range(50)), "50 different labels among 50"),
        (HEADER + "a,ann,1\na,ben,2\nb,ann,-1\n", "line 4: is '-1' a class"),
        ("item,annotator,cat,dog\na,ann,.3,.7\nb,ann,.5,.5\n", "line 2: columns 'cat', 'dog' add up to one"),
        ("x,y,z\na,ann,cat\n", "which column holds the item.*--item COLUMN"),
        ("item,item,label\na,b,c\n", "two columns named 'item'"),
        (PLAIN.replace("cat", "c\0t"), "is not plain text"),
        (PLAIN.encode("utf-16-le"), "UTF-16 without the mark"),
        (PLAIN + "c,ann,cat\u200b\n", "line 6: are 'cat', 'cat.*' the same label"),
        (PLAIN + PLAIN, "line 6 is the header again"),
        (b"PK\3\4 of a zip", "found a zip archive or an Excel workbook; unpack it"),
        (gzip.compress(PLAIN.encode(), mtime=0), "found a file packed by gzip; call it .gz"),
        ('{"item": "a", "annotator": "ann", "label": "cat"}\n', "found JSON; save it as CSV"),
        ("a,ann,cat\na,ben,dog\n", "which column holds the item.*the first line must name the columns"),
        ("item,ann,ben,gold\na,cat,dog,cat\nb,dog,dog,\n", "is 'gold' an annotator, .* say --known-column gold"),
    ],
)
def test_what_nothing_can_be_made_of(tmp_path, text, message):
    with pytest.raises(Refusal, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ("a,ann,cat\n\n\nb,ben,nan\n", 5),  # blank lines
        ('"a\nb",ann,cat\nb,ben,nan\n', 4),  # a name of two lines
        ("a,ann,cat\r\n\r\nb,ben,nan\r\n", 4),
        ("b,ann,null\nb,ben,nan\na,cy,NA\nc,ann,cat\n", 2),  # of several words the first in the file is named
    ],
)
def test_lines_are_those_of_the_file(tmp_path, rows, line):
    with pytest.raises(Refusal, match=f"line {line}: is '(nan|null)' a class"):
        read(tmp_path, HEADER + rows)


def test_options_that_contradict_themselves(tmp_path):
    with pytest.raises(Refusal, match="must name each class once"):
        read(tmp_path, PLAIN, classes=("cat", "dog", "Dog"))
    with pytest.raises(Refusal, match="must be three columns"):
        read(tmp_path, PLAIN, item="label")
    with pytest.raises(Refusal, match="no annotator 'cy' to trust"):
        read(tmp_path, PLAIN, trusted="cy")


def test_empty_labels_are_left_out_and_said(tmp_path):
    intake = read(tmp_path, PLAIN + "c,ann,  \n")
    assert triples(intake) == EXPECTED
    assert intake.notes == ["1 empty label left out, the first at labels.csv, line 6"]


def test_classes_in_the_wanted_order_also_those_that_nobody_said(tmp_path):
    intake = read(tmp_path, PLAIN, classes=("owl", "dog", "cat"))
    assert intake.crowd.class_names == ("owl", "dog", "cat")
    with pytest.raises(Refusal, match="line 2: the label 'cat' is not among the given classes"):
        read(tmp_path, PLAIN, classes=("owl", "dog"))


def test_truth_values_and_numbers_are_one_class_each(tmp_path):
    text = HEADER + "a,ann,True\na,ben,1\nb,ann,0\nb,ben,False\nc,ann,True\nc,ben,0\n"
    with pytest.raises(Refusal, match="2 labels in several spellings"):
        read(tmp_path, text)
    assert read(tmp_path, text, merge_spellings=True).crowd.class_names == ("0", "True")


def test_spellings_fold():
    assert folded(" Owl ") == folded("owl") == folded("\uff2f\uff37\uff2c")
    assert folded("7") == folded("7.0") == folded("007")
    assert folded("7.5") != folded("7")


@pytest.mark.parametrize("way", ["file", "column", "trusted"])
def test_known_classes_three_ways(tmp_path, way):
    (tmp_path / "known.csv").write_text("item,class\nb,Dog\nunlabeled,cat\n", encoding="utf-8")
    text = "item,annotator,label,gold\na,ann,cat,\na,ben,dog,\nb,ann,cat,dog\nb,ben,dog,dog\nb,boss,dog,\n"
    options = {
        "file": {"known": str(tmp_path / "known.csv")},
        "column": {"known_column": "gold"},
        "trusted": {"trusted": "boss"},
    }[way]
    assert read(tmp_path, text, **options).known.tolist() == [-1, 1]


def test_a_wide_table_may_hold_texts_and_known_classes(tmp_path):
    text = "item,ann,ben,gold,words\na,cat,dog,cat,hello\nb,dog,dog,,bye\n"
    intake = read(tmp_path, text, known_column="gold", text="words")
    assert triples(intake) == EXPECTED
    assert intake.known.tolist() == [0, -1]
    with pytest.raises(Refusal, match="no column 'word'; its columns are"):
        read(tmp_path, text, text="word")


def test_contradicting_truths_are_refused(tmp_path):
    text = "item,annotator,label,gold\na,ann,cat,cat\na,ben,dog,dog\n" + "b,ann,cat,\n"
    with pytest.raises(Refusal, match="item 'a' has two different known classes"):
        read(tmp_path, text, known_column="gold")


def test_what_was_understood_in_words(tmp_path):
    """Long names are cut."""
    words = read(tmp_path, PLAIN.replace("cat", "c" * 5000).replace("dog", '"dog,\nor cat"')).summary()
    assert "4 labels for 2 items from 2 annotators" in words
    assert "items with two or more: 2" in words
    assert f"2 classes: {'c' * 40} ... {'c' * 40} (1), dog, or cat (3)" in words


def test_names_are_held_in_the_order_of_the_rows_that_are_left(tmp_path):
    """Of classes that are tied the first in the file counts, of spellings as frequent too."""
    text = HEADER + "a,ann,dog\na,ann,dog\nb,ann,cat\nb,ben,dog\nA,ben,cat\nc,cy,nan\n"
    found = read(tmp_path, text, duplicates="none", missing=("nan",), merge_spellings=True)
    assert triples(found) == [("a", "ben", "cat"), ("b", "ann", "cat"), ("b", "ben", "dog")]
    assert found.first_said[found.crowd.class_names.index("cat")] == 0
    column = columns.coded(np.array(["y", "x", "y", "z"], dtype=object))
    assert column.categories.tolist() == ["y", "x", "z"]
    left = columns.without(pd.DataFrame({"item": column, "row": range(4)}), np.array([True, False, False, False]))
    assert left["item"].cat.categories.tolist() == left["item"].tolist() == ["x", "y", "z"]
    assert left["row"].tolist() == [1, 2, 3]


def test_many_plain_names_are_folded_at_once_as_one_by_one():
    plain = ["Cat", "dog.7", "0", "10", "a-B_c", "\u212aelvin"]  # with the sign for Kelvin, which folds to k
    for more in ([], ["007"], ["two words"], ["1.0"], [""], ["a\nb"], ["É"]):
        assert intake._all_folded([*plain, *more]) == [folded(name) for name in [*plain, *more]]
    assert intake._all_folded([]) == []
    assert intake.PLAIN.fullmatch("\n".join(plain).lower())
