"""The command, from files to a folder: what is written, that it is harmless, and that nothing else is touched."""

from __future__ import annotations

import html.parser
import io
import json

import numpy as np
import pandas as pd
import pytest

from lib.aggregation import fusion
from lib.own_data import Options, fit, outcome, page, report, write
from lib.own_data import __main__ as command
from lib.own_data import folder as out_folder
from lib.own_data.__main__ import main
from lib.own_data.intake import read_labels
from lib.training.recipe import Recipe

EVIL = "=1+1\"<script>alert('x')</script>"


def labels(per_item=3, n_items=60, seed=0, names=("ann", "ben", "cy", "dee"), classes=("cat", "dog")):
    rng = np.random.default_rng(seed)
    y = np.arange(n_items) % len(classes)
    rows = [
        (f"item {i}", names[who], classes[y[i] if rng.random() < 0.9 - 0.1 * who else rng.integers(len(classes))])
        for i in range(n_items)
        for who in rng.permutation(len(names))[:per_item]
    ]
    return y, pd.DataFrame(rows, columns=["item", "annotator", "label"])


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
    files = {"cleaned_labels", "label_quality", "annotators", "to_relabel", "agreement"}
    assert {path.name for path in folder.iterdir()} == {"labels.csv", "out"}
    assert {path.name for path in (folder / "out").iterdir()} == {f"{n}.csv" for n in files} | {"report.html", "settings.json"}
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
    people = pd.read_csv("out/annotators.csv").set_index("annotator")
    assert people.loc["classifier", "accuracy"] > 0.8
    x.iloc[:7].to_csv("new.csv", index=False)
    assert main(["predict", "out/classifier", "new.csv", "--out", "new_labels.csv"]) == 0
    new = pd.read_csv("new_labels.csv")
    assert new["label"].tolist() == np.array(["cat", "dog"])[y[:7]].tolist()
    x.assign(x="").iloc[:3].to_csv("new.csv", index=False)
    capsys.readouterr()
    assert main(["predict", "out/classifier", "new.csv", "--out", "new_labels.csv"]) == 2
    assert "line 2: column 'x' must hold finite numbers, found ''" in capsys.readouterr().err


def test_refusals_are_one_line_and_come_before_anything_is_made(folder, capsys):
    labels()[1].assign(label="cat").to_csv("labels.csv", index=False)
    assert main(["labels.csv", "--out", "out"]) == 2
    assert capsys.readouterr().err == (
        "error: all labels are 'cat': nothing to decide. If there are more classes, name them all with --classes\n"
    )
    labels(n_items=4)[1].to_csv("labels.csv", index=False)
    assert main(["labels.csv", "--features", "x.csv", "--check"]) == 2
    assert "at least 10 labeled items, found 4" in capsys.readouterr().err
    labels()[1].to_csv("labels.csv", index=False)
    assert main(["labels.csv"]) == 2
    assert "--out FOLDER" in capsys.readouterr().err
    assert main(["nowhere.csv", "--out", "out"]) == 2
    assert [path.name for path in folder.iterdir()] == ["labels.csv"]


def test_names_do_no_harm(folder):
    frame = labels()[1].replace({"annotator": {"ann": EVIL}, "label": {"cat": "@cat"}, "item": {"item 3": "-cmd|'x'!A0"}})
    found = fit(frame)
    write(found, "out")
    page_text = (folder / "out" / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page_text)
    assert "script" not in tags.seen
    assert "img" in tags.seen
    assert all(link.startswith("data:image/png;base64,") for link in tags.links)  # self-contained
    assert "&lt;script&gt;" in page_text
    for name in out_folder.TABLES:
        cells = pd.read_csv(f"out/{name}.csv", dtype=str, keep_default_na=False)
        for values in [*(cells[column] for column in cells), pd.Series(cells.columns)]:
            risky = values[values.str.match(r"[=+@\t\r-]")]
            assert pd.to_numeric(risky, errors="coerce").notna().all(), f"{name}: {risky.tolist()[:3]}"


def test_numbers_stay_numbers_in_csv():
    assert out_folder.safe_csv(pd.DataFrame({"item": ["-1", "-1.5e3", "-x"], "v": [-0.5, 1, 2]})).split("\n")[1:4] == [
        "-1,-0.5000",
        "-1.5e3,1.0000",
        "'-x,2.0000",
    ]


def test_too_little_overlap_is_said_and_nothing_is_claimed():
    _, frame = labels(per_item=1)
    found = fit(frame)
    told, warned = page.sentences(found)
    assert "Too few items have two labels" in warned[0]
    assert any("4 groups that share no items" in text for text in warned)
    assert found.tables["cleaned_labels"]["confidence"].isna().all()
    assert found.tables["annotators"]["accuracy"].isna().all()
    assert found.tables["label_quality"]["score"].isna().all()
    assert (found.tables["cleaned_labels"]["label"].to_numpy() == found.tables["cleaned_labels"]["majority_vote"]).all()
    assert not any("right with probability" in text for text in told)


def test_ties_are_shown_and_do_not_hang_on_names():
    frame = pd.DataFrame(
        [
            (f"i{n}", who, label)
            for n in range(40)
            for who, label in zip("ab", ("cat", "dog") if n % 2 else ("dog", "cat"), strict=True)
        ],
        columns=["item", "annotator", "label"],
    )
    first = fit(frame).tables["cleaned_labels"]
    renamed = fit(frame.replace({"label": {"cat": "xcat"}, "annotator": {"a": "z"}})).tables["cleaned_labels"]
    assert first["tied"].all()
    assert set(first["majority_vote"]) == {"cat|dog"}
    assert first.set_index("item")["label"].to_dict() == renamed.replace("xcat", "cat").set_index("item")["label"].to_dict()
    _, warned = page.sentences(fit(frame))
    assert any("no more than by chance" in text for text in warned)


def test_known_classes_cure_a_shared_error_and_are_not_asked_for_again():
    y, frame = labels(classes=("a", "b", "c"), n_items=90)
    shifted = frame.replace({"label": {"a": "b", "b": "c", "c": "a"}})
    known = {f"item {i}": "abc"[y[i]] for i in range(30)}
    found = fit(shifted.assign(gold=shifted["item"].map(known).fillna("")), options=Options(known_column="gold"))
    cleaned = found.tables["cleaned_labels"].set_index("item")
    assert np.mean([cleaned.loc[f"item {i}", "label"] == "abc"[y[i]] for i in range(90)]) > 0.9
    assert set(found.tables["to_relabel"]["item"]).isdisjoint(known)
    assert cleaned["known"].sum() == 30


def test_the_number_of_wrong_labels_is_a_range_and_measured_where_classes_are_known():
    y, frame = labels(per_item=4, n_items=120)
    found = fit(frame)
    told, warned = page.sentences(found)
    low, middle, high = found.wrong()
    assert 0 <= low < middle < high
    assert middle == pytest.approx((1 - found.tables["cleaned_labels"]["confidence"]).sum())
    said = f"About {middle:,.0f} of the 120 cleaned labels are expected to be wrong: from {low:,.0f}, if annotators err indep"
    assert any(text.startswith(said) for text in told)
    assert any("find out the classes of 50 or more items" in text for text in warned)
    known = pd.Series(np.array(["cat", "dog"])[y[:40]], [f"item {i}" for i in range(40)])
    measured = fit(frame.assign(gold=frame["item"].map(known).fillna("")), options=Options(known_column="gold"))
    told, warned = page.sentences(measured)
    assert any("measured by hiding known classes" in text for text in told)
    assert not any("find out the classes" in text for text in [*told, *warned])


def test_shared_errors_that_labels_show_are_said_first():
    rng = np.random.default_rng(0)
    rows = []
    for item in range(400):
        true, tempting = rng.permutation(5)[:2]
        for who in range(6):
            said = tempting if item % 5 == 0 and rng.random() < 0.6 else true if rng.random() < 0.8 else rng.integers(5)
            rows.append((item, f"w{who}", f"c{said}"))
    told, _ = page.sentences(fit(pd.DataFrame(rows, columns=["item", "annotator", "label"])))
    assert told[1].startswith("Annotators appear to share errors")
    assert "--known FILE" in told[1]


def test_who_guesses_looks_random_and_who_mixes_up_classes_does_not():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    swapped = np.array([1, 0, 2])
    says = {
        "good 1": np.where(rng.random(240) < 0.9, y, rng.integers(0, 3, 240)),
        "good 2": np.where(rng.random(240) < 0.9, y, rng.integers(0, 3, 240)),
        "good 3": np.where(rng.random(240) < 0.85, y, rng.integers(0, 3, 240)),
        "swaps": swapped[y],
        "guesses": rng.integers(0, 3, 240),
        "constant": np.zeros(240, dtype=int),
    }
    frame = pd.DataFrame(
        [(i, who, f"c{said[i]}") for who, said in says.items() for i in range(240)], columns=["item", "annotator", "label"]
    )
    people = fit(frame).tables["annotators"].set_index("annotator")
    assert people["looks_random"].to_dict() == {who: who in ("guesses", "constant") for who in says}
    assert "c0 → c1" in people.loc["swaps", "confusions"]


def test_who_is_asked_is_the_best_who_has_not_labeled_the_item():
    frame = labels(per_item=2, n_items=80)[1]
    found = fit(frame)
    ranking, people = found.tables["to_relabel"], found.tables["annotators"].set_index("annotator")
    asked = set(frame.itertuples(index=False, name=None))
    have = {(item, who) for item, who, _ in asked}
    assert not any((row.item, row.ask) in have for row in ranking.itertuples())
    best = people["ci_low"].idxmax()
    free = ~ranking["item"].isin(frame.loc[frame["annotator"] == best, "item"])
    assert (ranking.loc[free, "ask"] == best).all()
    assert (np.diff(ranking["gain"]) <= 1e-9).all()


def test_an_annotator_may_be_called_classifier():
    frame = labels(names=("classifier", "ben", "cy", "dee"))[1]
    intake = read_labels(frame)
    found = fit(intake)
    prob = np.full((60, 2), 0.5)
    people = report.annotator_table(intake.crowd, found.estimate, intake.known, prob)
    assert people["annotator"].tolist()[-1] == "classifier (trained)"


def test_what_is_written_is_read_again_as_it_was():
    table = pd.DataFrame(
        {
            "item": ['a,"b"', "two\nlines", "plain", ""],
            "score": [0.25, np.nan, -0.00001, 123456.78901],
            "n": [1, -2, 3, 4],
            "tied": [True, False, True, False],
        }
    )
    text = out_folder.safe_csv(table)
    assert text.split("\n")[0] == "item,score,n,tied"
    again = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={"score": [""]})
    pd.testing.assert_frame_equal(again.assign(score=table["score"]), table)
    np.testing.assert_allclose(again["score"], [0.25, np.nan, 0, 123456.789], atol=1e-4)
    assert "-0.0000" not in text


def test_a_device_that_is_not_there_is_refused_before_anything_runs(folder, capsys):
    labels()[1].to_csv("labels.csv", index=False)
    assert main(["labels.csv", "--out", "out", "--device", "tpu"]) == 2
    assert "unknown device 'tpu'" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_where_matrices_would_not_fit_there_is_one_accuracy_an_annotator(monkeypatch):
    monkeypatch.setattr(fusion, "NUMBERS_AT_MOST", 3 * 3 * 4 - 1)
    monkeypatch.setattr(report, "NUMBERS_AT_MOST", 3 * 3 * 4 - 1)
    y = np.arange(300) % 3
    rows = [(i, f"w{k}", f"c{(y[i] + (k == 3)) % 3}") for i in range(300) for k in range(4)]  # the last is wrong in a system
    found = fit(pd.DataFrame(rows, columns=["item", "annotator", "label"]))
    assert found.estimate.model == "one coin"
    people = found.tables["annotators"]
    assert people["p_guessing"].isna().all()
    assert (people["confusions"] == "").all()
    monkeypatch.undo()
    assert fit(pd.DataFrame(rows, columns=["item", "annotator", "label"])).estimate.model == "full matrices"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "Interrupted"),
        (MemoryError("matrices of 8 bytes"), 1, "error: matrices of 8 bytes"),
        (FloatingPointError("the loss is nan"), 1, "error: the loss is nan"),
    ],
)
def test_whatever_ends_the_command_is_one_line(tmp_path, monkeypatch, capsys, error, code, told):
    def fail(*given, **options):
        raise error

    monkeypatch.setattr(command, "fit", fail)
    labels()[1].to_csv(tmp_path / "labels.csv", index=False)
    assert main([str(tmp_path / "labels.csv"), "--out", str(tmp_path / "out")]) == code
    assert capsys.readouterr().err.strip() == told
