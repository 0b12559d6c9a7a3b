"""README, RESULTS.md, the map of the notebooks and their first cells: made from claims and tables, and checked against them."""

import json
import re

import numpy as np
import pytest

from lib import datasets, paths
from lib.results import agreement, minutes, pages, tables
from lib.results.claims import Book, shown
from lib.results.pages import Project
from lib.results.rows import save_table, summary
from lib.runs import ledger
from tests.results.conftest import row

TEXTS = """
[papers.ccc]
name = "CCC"
title = "Coupled Confusion Correction"
authors = "H. Zhang, S. Li and S. Ge"
venue = "AAAI 2024"
year = 2024
paper = "https://example.org/paper"
doi = ""
code = ""
notebooks = ["10"]
headlines = ["10-above"]
scope = "What it says."
method = "What was done."
easy = "Little."
hard = "{10-above}"
left = ["Nothing."]
[findings]
list = ["A is above B by {10-above}; A has {10/a/test_acc_last}."]
[[map]]
paper = "ccc"
items = [["Table 1", "10", ""]]
[data]
labelme = ["LabelMe", "https://example.org/data"]
[glossary]
seed = "A number."
"""
GENERATED = ("commands", "status", "findings", "counts")
README = "".join(f"<!-- generated:{name} -->\nold\n<!-- end -->\nKept {name}.\n" for name in GENERATED)


@pytest.fixture
def rows():
    means = {"a": 0.85, "b": 0.8}
    made = [row(method, s, test_acc_last=mean + s / 1000) for method, mean in means.items() for s in range(3)]
    return {entry["key"]: entry for entry in made}


@pytest.fixture
def project(tmp_path, figures, rows) -> Project:
    """One notebook with two claims and a table, all pages written."""
    book = Book("10_toy", list(rows.values()), paper="ccc", locator="Table 1")
    book.value("accuracy", "A has this accuracy", book.of("a"), "85.00", 2)
    book.ahead("above", "A is above B", "a", "b", "6.0", headline=True)
    book.save()
    save_table("10_toy", summary(rows.values(), ["test_acc_last"]))
    companion = {"paper": "ccc", "says": "A is best.", "takeaways": ["A: {10-above}."], "data": ["labelme"]}
    first = {"cell_type": "markdown", "source": "# 10 · Toy\n\n<!-- generated:header -->\n<!-- end -->\n\nRest."}
    shown = {"text/plain": repr(book.table()), "text/html": book.table()._repr_html_()}
    output = {"output_type": "execute_result", "data": shown}
    cells = [first, {"cell_type": "code", "source": "book.table()", "outputs": [output]}]
    for folder in ("notebooks", "data"):
        (tmp_path / folder).mkdir()
    write(tmp_path, {"cells": cells, "metadata": {"companion": companion}})
    (tmp_path / "data" / "papers.toml").write_text(TEXTS)
    (tmp_path / "README.md").write_text(README)
    made = Project(tmp_path)
    write(tmp_path, pages.with_header(made.notebooks["10_toy"], pages.headers(made)["10_toy"]))
    assert pages.write_pages(Project(tmp_path)) == ["README.md", "RESULTS.md", "notebooks/README.md"]
    return Project(tmp_path)


def write(root, notebook):
    (root / "notebooks" / "10_toy.ipynb").write_text(json.dumps(notebook))


def test_what_was_just_made_agrees_and_is_made_once(project, rows):
    assert agreement.disagreements(project, rows) == []
    assert pages.write_pages(project) == []


def test_pages_say_what_the_claims_say(project):
    claim = project.claims["10-above"]
    texts = {name: (project.root / name).read_text() for name in ("README.md", "RESULTS.md", "notebooks/README.md")}
    assert claim.verdict == "reproduced"
    paper = "| [Zhang et al. 2024 (CCC)](https://example.org/paper) |"
    assert f"{paper} A is above B | 6.0 | {shown(claim)} points | reproduced | quick, 3" in texts["README.md"]
    assert f"1. A is above B by {shown(claim)} points; A has 85.1 ± 0.1 %." in texts["README.md"]
    assert "| paper number | 2 | – | – | – | – | – | 2 |" in texts["README.md"]
    assert all(f"Kept {name}." in texts["README.md"] for name in GENERATED)
    assert "\nold\n" not in texts["README.md"]
    assert "**What held.**\n\n- A is above B: 5.0 [5.0, 5.0] points (paper: 6.0), *reproduced*" in texts["RESULTS.md"]
    assert "1 differences have an interval; noise\nalone would put 0 of them" in texts["RESULTS.md"]
    assert f"{paper} Table 1 | [10 · Toy](10_toy.ipynb) | – |" in texts["notebooks/README.md"]
    assert "| [10 · Toy](10_toy.ipynb) | Zhang et al. 2024 (CCC) | A is best. | not" in texts["notebooks/README.md"]
    header = pages.headers(project)["10_toy"]
    assert "**It says.** A is best." in header
    assert "| A is above B | 6.0 | 5.0 [5.0, 5.0] points | reproduced | quick, 3 |" in header
    assert "- A: 5.0 [5.0, 5.0] points." in header
    assert header.endswith("<!-- end -->\n\nRest.")


def test_minutes_on_pages_are_those_that_were_measured(project, rows):
    header, readme = pages.headers(project)["10_toy"], (project.root / "README.md").read_text()
    assert "Retrained in: not measured yet" in header
    assert "make reproduce    # not measured yet: retrains" in readme
    path = project.root / "data" / "reference" / "minutes.csv"
    minutes.take_in([minutes.measured(what, "quick", 7500, 2) for what in ("10_toy", "make reproduce")], path)
    found = agreement.disagreements(Project(project.root), rows)
    assert [line.split(":")[0] for line in found] == [
        "README.md, line 4",
        "notebooks/README.md, line 15",
        "notebooks/10_toy.ipynb, first cell, line 15",
    ]
    assert all("2.1 hours (quick, 2 cores)" in line for line in (found[0], found[2]))


def changed(project, name, pattern, new):
    """The project with the first match of a pattern in a file replaced."""
    path = project.root / name
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(pattern, new, text, count=1), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    return Project(project.root)


# What is changed in a published file, and how the disagreement begins that is found.
CLAIM = "figures/10_toy/claims.json, claim '10-a"
LOST = f"{CLAIM}ccuracy': notebooks/10_toy.ipynb shows no line 'A has this"
FALSIFIED = [
    ("README.md", r"5\.0 \[", "9.0 [", "README.md, line "),
    ("RESULTS.md", r"\*reproduced\*", "*contradicted*", "RESULTS.md, line "),
    ("figures/10_toy/claims.json", '(?<="ours": )5.0', "5.5", f"{CLAIM}bove': ours is 5.5, its rows say 5.0"),
    ("figures/10_toy/claims.json", '(?<="shown": ")8', "9", f"{CLAIM}ccuracy': shown is '95.1 ["),
    ("figures/10_toy/claims.json", '(?<="paper_value": ")85', "86", LOST),
    ("figures/10_toy/claims.json", '(?<="verdict": ")reproduced', "inconclusive", f"{CLAIM}ccuracy': verdict is 'incon"),
    ("figures/10_toy/table.csv", r"(?<=,0)\.001", ".002", "README.md, line "),
    ("figures/10_toy/table.csv", r"(?<=,0)\.851", ".852", "figures/10_toy/table.md, line "),
    ("figures/10_toy/table.md", r"\.1(?= ± )", ".2", "figures/10_toy/table.md, line "),
    ("notebooks/10_toy.ipynb", r"85\.1 (?=\[)", "85.2 ", LOST),
    ("notebooks/10_toy.ipynb", r"(?<=>)85\.1 (?=\[)", "85.2 ", LOST),
    ("notebooks/10_toy.ipynb", r"reproduced(?=\\n)", "contradicted", LOST),
    ("notebooks/10_toy.ipynb", r"reproduced(?= \| quick)", "contradicted", "notebooks/10_toy.ipynb, first cell, line "),
]


@pytest.mark.parametrize(("name", "pattern", "new", "words"), FALSIFIED)
def test_a_changed_digit_or_verdict_is_found_and_its_place_named(project, rows, name, pattern, new, words):
    found = agreement.disagreements(changed(project, name, pattern, new), rows)
    assert any(line.startswith(words) for line in found), found


def test_a_lost_row_is_found(project):
    assert any("no ledger row has the key labelme-real-a-quick-0" in line for line in agreement.disagreements(project, {}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Title\n", "must have the line '<!-- generated:commands -->' once.*found 0"),
        (README + README, "found 2"),
        (README.replace("old\n<!-- end -->", "old"), "has no '<!-- end -->' after it"),
    ],
)
def test_a_missing_marker_is_named(project, text, message):
    (project.root / "README.md").write_text(text)
    with pytest.raises(ValueError, match=message):
        pages.write_pages(project)
    assert (project.root / "README.md").read_text() == text


@pytest.mark.parametrize("text", ["{10-gone}", "{10/c/test_acc_last}"])
def test_prose_that_names_no_number_is_refused(project, text):
    with pytest.raises(ValueError, match=r"no claim '10-gone'|fits 0 lines"):
        pages.write_pages(changed(project, "data/papers.toml", "{10-above}", text))


# ---------------------------------------------------------------------------------------------- what is committed


def test_all_that_is_committed_agrees():
    found = agreement.disagreements(Project(paths.ROOT), {row["key"]: row for row in ledger.reference_rows()})
    assert not found, "\n".join(found) + "\nmade anew by: python -m lib.reproduce --in-place"


def test_every_interval_says_on_which_side_of_zero_it_lies():
    """A verdict about a difference rests on it, so no rounding may hide it."""
    tried = [claim for claim in Project(paths.ROOT).claims.values() if claim.kind == "difference" and claim.low is not None]
    assert len(tried) > 100
    for claim in tried:
        printed = [float(end) for end in claim.shown.partition("[")[2].rstrip("]").split(", ")]
        assert np.sign(printed).tolist() == np.sign([claim.low, claim.high]).tolist(), (claim.id, claim.shown)


def test_what_runs_decide_leads_to_their_rows():
    """Only what is counted in published labels, or simulated, has none."""
    rowless = {claim.notebook[:2] for claim in Project(paths.ROOT).claims.values() if claim.ours is not None and not claim.keys}
    assert rowless == {"14", "30", "31"}


def test_headlines_are_few_and_the_readme_is_short():
    known = Project(paths.ROOT).claims.values()
    heads = [claim.notebook for claim in known if claim.headline]
    assert all(1 <= heads.count(claim.notebook) <= 3 for claim in known)
    assert len(paths.README.read_bytes()) < 10_000


def test_pages_and_catalogue_have_one_name_for_a_data_set():
    project = Project(paths.ROOT)
    told = {name: title for name, (title, _) in project.texts["data"].items()}
    assert told == {name: datasets.info(name).title for name in told}
    assert {name for book in project.notebooks.values() for name in book["metadata"]["companion"]["data"]} <= set(told)


def test_no_table_of_a_notebook_shows_the_code_words_of_data_or_metrics():
    words = {name for name in datasets.names() if "_" in name} | set(tables.METRICS) | set(tables.FACTS) - {"items"}
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, sorted(words)))})\b")
    for stem, notebook in Project(paths.ROOT).notebooks.items():
        for place, cell in enumerate(notebook["cells"]):
            for output in cell.get("outputs", ()):
                html = "".join(output.get("data", {}).get("text/html", ""))
                found = pattern.search(html) if html.startswith("<table") else None
                assert found is None, f"{stem}, cell {place} shows {found and found[0]!r}: give it a title"
