"""README, RESULTS.md, the map of the notebooks and their first cells: made from claims and tables, and checked against them."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache

import pytest

from lib import datasets, paths
from lib.results import agreement, minutes, pages, tables
from lib.results.claims import Book, load, shown
from lib.results.pages import Project
from lib.results.rows import save_table, summary
from lib.runs import ledger

TEXTS = """
[papers.ccc]
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


def row(method, seed, accuracy):
    config = {"experiment": "e", "dataset": "labelme", "case": "real", "method": method, "seed": seed, "scale": "quick"}
    return {"key": f"{method}{seed}", "config": config, "metrics": {"test_acc_last": accuracy}, "history": {}}


@pytest.fixture
def rows():
    made = [row(method, s, mean + s / 1000) for method, mean in {"a": 0.85, "b": 0.8}.items() for s in range(3)]
    return {entry["key"]: entry for entry in made}


@pytest.fixture
def project(tmp_path, monkeypatch, rows) -> Project:
    """One notebook with two claims and a table, all pages written."""
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path / "figures"))
    book = Book("10_toy", list(rows.values()), paper="ccc", locator="Table 1")
    book.value("accuracy", "A has this accuracy", book.of("a"), "85.00", 2)
    book.ahead("above", "A is above B", "a", "b", "6.0", headline=True)
    book.save()
    save_table("10_toy", summary(rows.values(), ["test_acc_last"]))
    companion = {
        "paper": "ccc",
        "says": "A is best.",
        "takeaways": ["A: {10-above}."],
        "data": ["labelme"],
    }
    first = {"cell_type": "markdown", "source": "# 10 · Toy\n\n<!-- generated:header -->\n<!-- end -->\n\nRest."}
    output = {"output_type": "execute_result", "data": {"text/plain": repr(book.table())}}
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
    line = (
        f"| [Zhang et al. 2024](https://example.org/paper) | A is above B | 6.0 | {shown(claim)} points | reproduced | quick, 3"
    )
    assert line in texts["README.md"]
    assert f"1. A is above B by {shown(claim)} points; A has 85.1 ± 0.1 %." in texts["README.md"]
    assert "| paper number | 2 | – | – | – | – | – | 2 |" in texts["README.md"]
    assert all(f"Kept {name}." in texts["README.md"] for name in GENERATED)
    assert "\nold\n" not in texts["README.md"]
    assert "**What held.** \n\n- A is above B: 5.0 [5.0, 5.0] points (paper: 6.0), *reproduced*" in texts["RESULTS.md"]
    assert "1 differences have an interval; noise\nalone would put 0 of them" in texts["RESULTS.md"]
    assert (
        "| [Zhang et al. 2024](https://example.org/paper) | Table 1 | [10 · Toy](10_toy.ipynb) | – |"
        in texts["notebooks/README.md"]
    )
    header = pages.headers(project)["10_toy"]
    assert "**It says.** A is best." in header
    assert "| A is above B | 6.0 | 5.0 [5.0, 5.0] points | reproduced | quick, 3 |" in header
    assert "- A: 5.0 [5.0, 5.0] points." in header
    assert header.endswith("<!-- end -->\n\nRest.")


def test_minutes_on_pages_are_those_that_were_measured(project, rows):
    header, readme = pages.headers(project)["10_toy"], (project.root / "README.md").read_text()
    assert "Retrained in: not measured yet" in header
    assert "make reproduce    # not measured yet: every run" in readme
    path = project.root / "data" / "reference" / "minutes.csv"
    minutes.take_in([minutes.measured(what, "quick", 7500, 2) for what in ("10_toy", "make reproduce")], path)
    found = agreement.disagreements(Project(project.root), rows)
    assert [line.split(":")[0] for line in found] == [
        "README.md, line 4",
        "notebooks/README.md, line 15",
        "notebooks/10_toy.ipynb, first cell, line 15",
    ]
    assert "2.1 hours (quick, 2 cores)" in pages.notebook_map(Project(project.root))
    assert all("2.1 hours (quick, 2 cores)" in line for line in (found[0], found[2]))


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


FALSIFIED = {
    "README.md": ("6.0 | 5.0", "6.0 | 9.0", "README.md, line"),
    "RESULTS.md": ("*reproduced*", "*contradicted*", "RESULTS.md, line"),
    "figures/10_toy/claims.json": (
        '"ours": 5.0',
        '"ours": 5.5',
        "claims.json, claim '10-above': ours is 5.5, its rows say 5.0",
    ),
    "figures/10_toy/table.csv": ("0.851", "0.852", "table.csv"),
    "notebooks/10_toy.ipynb": (
        "A has this accuracy",
        "A has that accuracy",
        "notebooks/10_toy.ipynb shows no line 'A has this",
    ),
}


@pytest.mark.parametrize("name", FALSIFIED)
def test_a_changed_digit_or_verdict_is_found_and_its_place_named(project, rows, name):
    old, new, words = FALSIFIED[name]
    changed(project.root / name, old, new)
    assert any(words in line for line in agreement.disagreements(Project(project.root), rows))


def test_a_flipped_verdict_and_a_lost_row_are_found(project, rows):
    path = project.root / "figures" / "10_toy" / "claims.json"
    changed(path, '"verdict": "reproduced"', '"verdict": "inconclusive"')
    found = agreement.disagreements(Project(project.root), rows)
    assert any("claim '10-accuracy': verdict is 'inconclusive', its rows say 'reproduced'" in line for line in found)
    assert any("no ledger row has the key a0" in line for line in agreement.disagreements(Project(project.root), {}))


def test_a_first_cell_that_was_edited_is_found(project, rows):
    notebook = project.notebooks["10_toy"]
    first = "".join(notebook["cells"][0]["source"])
    write(project.root, pages.with_header(notebook, first.replace("| reproduced |", "| contradicted |")))
    found = agreement.disagreements(Project(project.root), rows)
    assert any(line.startswith("notebooks/10_toy.ipynb, first cell, line") for line in found)


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
    changed(project.root / "data" / "papers.toml", "{10-above}", text)
    with pytest.raises(ValueError, match=r"no claim '10-gone'|fits 0 lines"):
        pages.write_pages(Project(project.root))


# ---------------------------------------------------------------------------------------------- what is committed


@cache
def reference():
    return {row["key"]: row for row in ledger.reference_rows()}


def test_all_that_is_committed_agrees():
    found = agreement.disagreements(Project(paths.ROOT), reference())
    assert not found, "\n".join(found) + "\nmade anew by: python -m lib.reproduce --in-place"


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A copy of what is published."""
    root = tmp_path_factory.mktemp("project")
    for name in ("README.md", "RESULTS.md", "data/papers.toml", "data/reference/minutes.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / name, root / name)
    shutil.copytree(paths.ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns("solutions", "lessons", ".*"))
    keep = ("claims.json", "table.csv", "methods.md")
    for path in (paths.ROOT / "figures").glob("*/*"):
        if path.name in keep:
            (root / "figures" / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / "figures" / path.parent.name)
    return root


# In each published file a digit and a verdict: what is changed, where the first is found.
PUBLISHED = [
    ("README.md", r"(?<=\d)\.\d(?= \[)"),
    ("README.md", r"(?<=\| )(reproduced|contradicted)(?= \| quick)"),
    ("RESULTS.md", r"(?<=\d)\.\d(?= ± )"),
    ("RESULTS.md", r"(?<=\*)(reproduced|inconclusive)(?=\* \()"),
    ("figures/33_ccc_table2/claims.json", r'(?<="ours": )\d\d'),
    ("figures/33_ccc_table2/claims.json", r'(?<="verdict": ")[a-z]+'),
    ("figures/33_ccc_table2/claims.json", r'(?<="shown": ")\d'),
    ("figures/10_crowdlayer_labelme/claims.json", r'(?<="paper_value": ")8\d'),
    ("figures/33_ccc_table2/table.csv", r"(?<=,0)\.\d"),
    ("figures/33_ccc_table2/table.csv", r"(?<=quick,0)\.\d"),
    ("notebooks/33_ccc_table2.ipynb", r"\d(?= of 4)"),
    ("notebooks/33_ccc_table2.ipynb", r"(?<= )(contradicted|inconclusive)(?=\\n)"),
]


def falsified(text: str) -> str:
    """Another last digit, or another verdict."""
    if text[-1].isdigit():
        return text[:-1] + str((int(text[-1]) + 1) % 10)
    return "reproduced" if text != "reproduced" else "contradicted"


@pytest.mark.parametrize(("name", "pattern"), PUBLISHED)
def test_another_digit_or_verdict_in_what_is_published_is_found(committed, name, pattern):
    path = committed / name
    before = path.read_text(encoding="utf-8")
    other = re.sub(pattern, lambda found: falsified(found[0]), before, count=1)
    assert other != before
    path.write_text(other, encoding="utf-8")
    found = agreement.disagreements(Project(committed), reference())
    path.write_text(before, encoding="utf-8")
    assert any(name.split("/")[-1] in line for line in found)


def test_no_committed_id_is_used_twice_and_headlines_are_few():
    known = [claim for path in (paths.ROOT / "figures").glob("*/claims.json") for claim in load(path)]
    assert len({claim.id for claim in known}) == len(known)
    heads = [claim.notebook for claim in known if claim.headline]
    assert all(1 <= heads.count(claim.notebook) <= 3 for claim in known)


def test_the_readme_is_short():
    assert len(paths.README.read_bytes()) < 10_000


def test_no_table_of_a_notebook_shows_the_code_words_of_data_or_metrics():
    words = {name for name in datasets.names() if "_" in name} | set(tables.METRICS) | set(tables.FACTS) - {"items"}
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, sorted(words)))})\b")
    for stem, notebook in Project(paths.ROOT).notebooks.items():
        for place, cell in enumerate(notebook["cells"]):
            for output in cell.get("outputs", ()):
                html = "".join(output.get("data", {}).get("text/html", ""))
                found = pattern.search(html) if html.startswith("<table") else None
                assert found is None, f"{stem}, cell {place} shows {found and found[0]!r}: give it a title"
