"""The command, from files to a folder: what is written, that it is harmless, and that nothing else is touched."""

import html
import html.parser
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lib import paths
from lib.own_data import __main__ as command
from lib.own_data import classifier, outcome
from lib.own_data import folder as out_folder
from lib.own_data.__main__ import main
from lib.own_data.features import Source
from lib.own_data.intake import read_labels
from lib.training.recipe import Recipe
from tests.own_data.test_outcome import labels

EVIL = "=1+1\"<script>alert('x')</script>"


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_labels_alone(folder, capsys):
    y, frame = labels()
    frame.to_csv("labels.csv", index=False)
    assert main(["labels.csv", "--out", "out"]) == 0
    assert {path.name for path in folder.iterdir()} == {"labels.csv", "out"}
    tables = {f"{name}.csv" for name in out_folder.TABLES}
    assert {path.name for path in (folder / "out").iterdir()} == tables | {"report.html", "settings.json"}
    cleaned = pd.read_csv("out/cleaned_labels.csv").set_index("item")
    right = (cleaned.loc[[f"item {i}" for i in range(60)], "label"] == np.array(["cat", "dog"])[y]).mean()
    assert right > 0.9
    np.testing.assert_allclose(cleaned[["p(cat)", "p(dog)"]].sum(axis=1), 1, atol=1e-3)
    assert json.loads((folder / "out" / "settings.json").read_text())["accuracies_told_apart"] is True
    assert "report.html" in capsys.readouterr().out


def test_check_writes_nothing(folder, capsys):
    labels()[1].to_csv("labels.csv", index=False)
    pd.DataFrame({"item": [f"item {i}" for i in range(62)], "x": range(62)}).to_csv("x.csv", index=False)
    assert main(["labels.csv", "--features", "x.csv", "--check"]) == 0
    said = capsys.readouterr().out
    assert "180 labels for 60 items from 4 annotators" in said
    assert "62 items with 1 feature" in said
    assert "items without a label: 2" in said
    assert sorted(path.name for path in folder.iterdir()) == ["labels.csv", "x.csv"]


def test_with_features_and_then_new_items(folder, monkeypatch, capsys):
    monkeypatch.setattr(outcome.training, "recipe_for", lambda n: Recipe(epochs=8, batch_size=16, lr=0.01))
    y, frame = labels()
    frame.to_csv("labels.csv", index=False)
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"item": [f"item {i}" for i in range(60)], "x": y * 4 + rng.normal(size=60), "flat": 1.0})
    x.to_csv("x.csv", index=False)
    assert main(["labels.csv", "--features", "x.csv", "--out", "out"]) == 0
    flat = "features that are the same for all items, and therefore of no use: 'flat'"
    assert f"note: {flat}\n" in capsys.readouterr().out
    said = html.unescape((folder / "out" / "report.html").read_text(encoding="utf-8"))
    assert f"<p>How the files were read:</p><ul><li>60 items with 2 features</li><li>{flat}</li></ul>" in said
    assert len(pd.read_csv("out/annotators.csv")) == 4
    assert pd.read_csv("out/classifier_quality.csv").loc[0, "accuracy"] > 0.8
    x.iloc[:7].to_csv("new.csv", index=False)
    assert main(["predict", "out/classifier", "new.csv", "--out", "new_labels.csv"]) == 0
    new = pd.read_csv("new_labels.csv")
    assert new["label"].tolist() == np.array(["cat", "dog"])[y[:7]].tolist()
    x.assign(x="").iloc[:3].to_csv("new.csv", index=False)
    capsys.readouterr()
    assert main(["predict", "out/classifier", "new.csv", "--out", "new_labels.csv"]) == 2
    assert "line 2: column 'x' must hold finite numbers, found ''" in capsys.readouterr().err
    assert main(["labels.csv", "--out", "out"]) == 0  # into the same folder, without features
    said = capsys.readouterr().out
    assert "warning: classifier in out is that of an earlier run\nwarning: classifier_quality.csv in out is that of" in said


@pytest.mark.parametrize(
    ("frame", "arguments", "told"),
    [
        (labels()[1].assign(label="cat"), ["--out", "out"], "all labels are 'cat': nothing to decide. If there are more"),
        (labels(n_items=4)[1], ["--features", "x.csv", "--check"], "a classifier needs at least 10 labeled items, found 4"),
        (labels()[1], [], "say where to write with --out FOLDER, or use --check to see only how the file is read"),
        (labels()[1], ["--out", "out", "--device", "tpu"], "unknown device 'tpu'"),
        (None, ["--out", "out"], "there is no file labels.csv"),
    ],
)
def test_refusals_are_one_line_and_come_before_anything_is_made(folder, capsys, frame, arguments, told):
    if frame is not None:
        frame.to_csv("labels.csv", index=False)
    assert main(["labels.csv", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {told}")
    assert said.count("\n") == 1
    assert not {path.name for path in folder.iterdir()} - {"labels.csv"}


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "Interrupted"),
        (MemoryError("matrices of 8 bytes"), 1, "error: matrices of 8 bytes"),
        (FloatingPointError("the loss is nan"), 1, "error: the loss is nan"),
    ],
)
def test_whatever_ends_the_command_is_one_line(folder, monkeypatch, capsys, error, code, told):
    def fail(*given, **options):
        raise error

    monkeypatch.setattr(command, "fit", fail)
    labels()[1].to_csv("labels.csv", index=False)
    assert main(["labels.csv", "--out", "out"]) == code
    assert capsys.readouterr().err.strip() == told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cleaned_labels.csv", "--out", "."], "cleaned_labels.csv would replace a file that is read"),
        (["cleaned_labels.csv", "--out", "notes.txt"], "expected a folder, found the file"),
        (["cleaned_labels.csv", "--out", "notes.txt/deep"], "expected a folder, found the file"),
        (["cleaned_labels.csv", "--out", "taken"], "report.html: expected a file, found a folder"),
        (["predict", "classifier", "new.csv", "--out", "new.csv"], "new.csv would replace a file that is read"),
        (["predict", "classifier", "new.csv", "--out", "classifier"], "classifier would replace a file that is read"),
        (["predict", "classifier", "new.csv", "--out", "taken"], "taken: expected a file, found a folder"),
        (["predict", ".", "new.csv", "--out", "x.csv"], "expected the file DIR/classifier of a run"),
        (["predict", "nowhere", "new.csv", "--out", "x.csv"], "there is no file nowhere; expected the file DIR/classifier"),
        (["predict", "classifier", "cleaned_labels.csv", "--out", "x.csv"], "Found are 'item', 'annotator', 'label'"),
        (["."], "expected a file, found the folder ."),
    ],
)
def test_where_nothing_can_be_written_is_said_before_anything_is_computed(folder, monkeypatch, capsys, arguments, told):
    monkeypatch.setattr(command, "fit", None)
    labels()[1].to_csv("cleaned_labels.csv", index=False)
    x = pd.DataFrame({"x": np.arange(60.0)}, index=[f"item {i}" for i in range(60)])
    made = classifier.train(x, read_labels("cleaned_labels.csv").crowd, "majority-vote", Source("columns"), Recipe(1, 64), (0,))
    made.save("classifier")
    for name in ("new.csv", "notes.txt"):
        (folder / name).write_text("item,x\nitem 0,1\n")
    (folder / "taken" / "report.html").mkdir(parents=True)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(arguments) == 2
    assert told in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_with_standard_error_closed_what_is_said_there_goes_nowhere(folder):
    """Not to standard output, where Python would print it."""
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "lib.own_data", str(folder / "no.csv"), "--check"]
    done = subprocess.run(command, cwd=paths.ROOT, stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


def test_sigterm_ends_the_command_with_a_word(folder, monkeypatch, capsys):
    monkeypatch.setattr(command, "fit", lambda *given, **options: os.kill(os.getpid(), signal.SIGTERM))
    labels()[1].to_csv("labels.csv", index=False)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["labels.csv", "--out", "out"]) == 143
    assert capsys.readouterr().err.strip() == "Terminated"
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (folder / "out").exists()


def test_names_do_no_harm(folder):
    frame = labels()[1].replace({"annotator": {"ann": EVIL}, "label": {"cat": "@cat"}, "item": {"item 3": "-cmd|'x'!A0"}})
    out_folder.write(outcome.fit(frame), "out")
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert "img" in tags.seen
    assert all(link.startswith("data:image/png;base64,") for link in tags.links)  # self-contained
    assert "&lt;script&gt;" in page
    for name in out_folder.TABLES:
        cells = pd.read_csv(f"out/{name}.csv", dtype=str, keep_default_na=False)
        for values in [*(cells[column] for column in cells), pd.Series(cells.columns)]:
            risky = values[values.str.match(r"[=+@\t\r-]")]
            assert pd.to_numeric(risky, errors="coerce").notna().all(), f"{name}: {risky.tolist()[:3]}"


def test_what_is_written_is_read_again_as_it_was(folder):
    table = pd.DataFrame(
        {
            "item": ['a,"b"', "two\nlines", "-1.5e3", ""],  # a number needs no apostrophe
            "score": [0.25, np.nan, -0.00001, 123456.78901],
            "n": [1, -2, 3, 4],
            "tied": [True, False, True, False],
        }
    )
    text = out_folder.safe_csv(table)
    assert text.startswith("item,score,n,tied\n")
    (folder / "table.csv").write_text(text)
    again = pd.read_csv("table.csv", keep_default_na=False, na_values={"score": [""]})
    pd.testing.assert_frame_equal(again.assign(score=table["score"]), table)
    np.testing.assert_allclose(again["score"], [0.25, np.nan, 0, 123456.789], atol=1e-4)
    assert "-0.0000" not in text


@pytest.mark.parametrize("odd", [[], ["=1+1"], ["a,b"], ['"'], ["two\nlines"], ["\r"], ["-1"], [""]])
def test_many_plain_names_are_written_at_once_as_one_by_one(odd):
    names = ["plain", "a-b", "7", *odd, "x=y"]
    assert out_folder._quoted(names) == [out_folder._cell(name) for name in names]


def test_a_large_table_is_written_in_parts_that_do_not_show(monkeypatch):
    table = pd.DataFrame({"item": list("abcdefg"), "n": range(7)})
    whole = out_folder.safe_csv(table)
    for rows in (1, 3, 7):
        monkeypatch.setattr(out_folder, "ROWS", rows)
        assert out_folder.safe_csv(table) == whole
    assert out_folder.safe_csv(table[:0]) == "item,n\n"
