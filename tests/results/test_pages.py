"""README, RESULTS.md, the map of the notebooks and their first cells: made from claims and tables, and checked against them."""

import html
import json
import re
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import pytest

from lib import datasets, paths
from lib.results import minutes, pages, tables
from lib.results.claims import Book, recompute, shown
from lib.results.project import Project, source_of
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


def test_what_was_just_made_is_not_made_again(project):
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


def test_minutes_on_pages_are_those_that_were_measured(project):
    header, readme = pages.headers(project)["10_toy"], project.read("README.md")
    assert "Retrained in: not measured yet" in header
    assert "make reproduce    # not measured yet: retrains" in readme
    path = project.root / "data" / "reference" / "minutes.csv"
    minutes.take_in([minutes.measured(what, "quick", 7500, 2) for what in ("10_toy", "make reproduce")], path)
    project = Project(project.root)
    assert pages.write_pages(project) == ["README.md", "notebooks/README.md"]
    for text in (project.read("README.md"), project.read("notebooks/README.md"), pages.headers(project)["10_toy"]):
        assert "2.1 hours (quick, 2 cores)" in text


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
    (project.root / "data" / "papers.toml").write_text(TEXTS.replace("{10-above}", text))
    with pytest.raises(ValueError, match=r"no claim '10-gone'|fits 0 lines"):
        pages.write_pages(Project(project.root))


# ---------------------------------------------------------------------------------------------- what is committed


COMMITTED = Project(paths.ROOT)


def test_every_page_is_what_it_is_made_from():
    made = pages.pages(COMMITTED)
    tabled = {stem: table for stem in COMMITTED.notebooks if (table := COMMITTED.table(stem)) is not None}
    made |= {f"figures/{stem}/table.md": tables.page(table) for stem, table in tabled.items()}
    there = {name: COMMITTED.read(name) for name in made}
    made |= pages.headers(COMMITTED)
    there |= {stem: source_of(notebook["cells"][0]) for stem, notebook in COMMITTED.notebooks.items()}
    lines = [(name, *pair) for name in made for pair in zip_longest(there[name].splitlines(True), made[name].splitlines(True))]
    differing = [line for line in lines if line[1] != line[2]]
    assert differing == [], "made anew by: python -m lib.reproduce --in-place"


def test_every_claim_is_what_its_rows_say():
    rows = {row["key"]: row for row in ledger.reference_rows()}
    for claim in COMMITTED.claims.values():
        assert recompute(claim, rows, COMMITTED.claims) == claim


def shown_by(notebook, kind):
    """The lines of text that a notebook's outputs show; a row of an HTML table is one, its cells apart by blanks."""
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", ()))
    text = "\n".join("".join(output.get("data", {}).get(kind, "")) for output in outputs)
    if kind == "text/html":
        text = html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"\s+", " ", text).replace("</tr>", "\n")))
    return [line.strip() for line in text.splitlines()]


def shows(line, claim):
    """Whether a line has the claim, each number as a whole: 84.9 is not in "84.2 [83.5, 84.9]"."""
    numbers = [re.escape(number) for number in (claim.shown, claim.paper_value) if number]
    there = all(re.search(rf"(?<!\S){number}(?!\S)", line) for number in numbers)
    return there and claim.statement in line and line.endswith(claim.verdict)


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])  # the second is what GitHub, JupyterLab and the site show
def test_every_claim_stands_in_its_notebook(kind):
    lines = {stem: shown_by(notebook, kind) for stem, notebook in COMMITTED.notebooks.items()}
    for claim in COMMITTED.claims.values():
        assert any(shows(line, claim) for line in lines[claim.notebook]), claim
        wrong = [replace(claim, shown=f"1{claim.shown}"), replace(claim, paper_value="-1"), replace(claim, verdict="proved")]
        assert not any(shows(line, other) for line in lines[claim.notebook] for other in wrong), claim


def test_every_interval_says_on_which_side_of_zero_it_lies():
    """A verdict about a difference rests on it, so no rounding may hide it."""
    tried = [claim for claim in COMMITTED.claims.values() if claim.kind == "difference" and claim.low is not None]
    assert len(tried) > 100
    for claim in tried:
        printed = [float(end) for end in claim.shown.partition("[")[2].rstrip("]").split(", ")]
        assert np.sign(printed).tolist() == np.sign([claim.low, claim.high]).tolist(), (claim.id, claim.shown)


def test_what_runs_decide_leads_to_their_rows():
    """Only what is counted in published labels, or simulated, has none."""
    rowless = {claim.notebook[:2] for claim in COMMITTED.claims.values() if claim.ours is not None and not claim.keys}
    assert rowless == {"14", "30", "31"}


def test_headlines_are_few_and_the_readme_is_short():
    known = COMMITTED.claims.values()
    heads = [claim.notebook for claim in known if claim.headline]
    assert all(1 <= heads.count(claim.notebook) <= 3 for claim in known)
    assert len(paths.README.read_bytes()) < 10_000


def test_pages_and_catalogue_have_one_name_for_a_data_set():
    told = {name: title for name, (title, _) in COMMITTED.texts["data"].items()}
    assert told == {name: datasets.info(name).title for name in told}
    assert {name for book in COMMITTED.notebooks.values() for name in book["metadata"]["companion"]["data"]} <= set(told)


def test_no_table_of_a_notebook_shows_the_code_words_of_data_or_metrics():
    words = {name for name in datasets.names() if "_" in name} | set(tables.METRICS) | set(tables.FACTS)
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, sorted(words)))})\b")
    for stem, notebook in COMMITTED.notebooks.items():
        for place, cell in enumerate(notebook["cells"]):
            for output in cell.get("outputs", ()):
                html = "".join(output.get("data", {}).get("text/html", ""))
                found = pattern.search(html) if html.startswith("<table") else None
                assert found is None, f"{stem}, cell {place} shows {found and found[0]!r}: give it a title"
