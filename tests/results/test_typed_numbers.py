"""Numbers of papers that stand in notebooks: code takes them from ``paper_results.csv``, and prose agrees with it."""

import ast
import re
from decimal import Decimal
from functools import cache

import pytest

from lib import paths
from lib.results import papers
from lib.results.pages import Project

# Whose numbers a notebook's prose may quote.
QUOTED = {
    "10": [("Crowd Layer", {"dataset": "LabelMe"}), ("CCC", {"result_id": "Table 2", "dataset": "LabelMe"})],
    "11": [("Crowd Layer", {"dataset": "Dogs vs Cats"})],
    "12": [("Crowd Layer", {"dataset": "MovieReviews"})],
    "13": [("Crowd Layer", {"dataset": "CoNLL-2003 NER MTurk"})],
    "14": [("MaML", {"dataset": "sentiment polarity (spc)"})],
    "22": [("GeoCrowdNet", {"dataset": "CIFAR-10"})],
    "23": [("GeoCrowdNet", {"dataset": "LabelMe"}), ("Herde", {"dataset": ["LabelMe", "MUSIC"]})],
    "31": [("CCC", {"result_id": "Fig 3"})],
    "33": [("CCC", {"result_id": "Table 2", "dataset": ["LabelMe", "MUSIC"]})],
    "34": [("CCC", {"result_id": ["text, Ablation", "Fig 4 (top)", "Fig 4 (bottom)"]})],
    "35": [("CCC", {"result_id": "Table 2", "dataset": "CIFAR-10N"})],
}
ABOUT_A_PAPER = re.compile(r"\b(papers?|authors|printed|stored|quoted|third party)\b")
NUMBER = re.compile(r"(?<![\w.,−-])[−-]?(?:\d+|(?=\.))\.?\d+(?![\w.]*\d)")
NOTEBOOKS = Project(paths.ROOT).notebooks


@cache
def known(stem: str) -> list[Decimal]:
    """The printed numbers, means and spreads, that a notebook may quote: accuracies in percent or as they are stored."""
    found = []
    for paper, where in QUOTED.get(stem[:2], ()):
        lines = papers.paper(paper, **where)
        found += [Decimal(text) for line in lines["printed"] for text in line.split(" ± ")]
        found += [Decimal(str(mean)) for mean in lines["mean"]]
    return found


def quoted(text: str) -> list[str]:
    """Numbers with a decimal point of a cell: all of its tables, those with three digits or more of its sentences."""
    text = re.sub(r"```.*?```|\$.*?\$|`[^`]*`|\]\(.*?\)|arXiv \S+", "", text, flags=re.S)
    found = []
    for line in text.splitlines():
        numbers = [number for number in NUMBER.findall(line) if "." in number]
        found += numbers if line.startswith("|") else [number for number in numbers if digits(number) >= 3]
    return found


def digits(number: str) -> int:
    return len(re.sub(r"\D", "", number).lstrip("0"))


def is_one_of(number: str, values: list[Decimal]) -> bool:
    """Whether one of the values is this number, to its last digit."""
    typed = Decimal(number.replace("−", "-"))
    return any(abs(value - typed) <= Decimal("0.5").scaleb(typed.as_tuple().exponent) for value in values)


def prose(notebook: dict) -> list[str]:
    """What speaks of a paper: the cell that states the claim, and paragraphs that name a paper."""
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    cells[0] = re.sub(r"<!-- generated:header -->.*?<!-- end -->", "", cells[0], flags=re.S)  # made from claims
    claim = [cell for cell in cells if cell.startswith(("## The claim", "## What we expect"))]
    others = [part for cell in cells if cell not in claim for part in cell.split("\n\n") if ABOUT_A_PAPER.search(part)]
    return claim + others


def constants(notebook: dict) -> list[str]:
    """Numbers with a decimal point that are typed in code: bare, or as text."""
    found = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = re.sub(r"^%.*$", "", "".join(cell["source"]), flags=re.M)
            nodes = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
            found += [str(value) for value in nodes if isinstance(value, float) and digits(str(value)) >= 3]
            found += [value for value in nodes if isinstance(value, str) and re.fullmatch(r"[−-]?\d*\.\d+", value)]
    return found


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_numbers_of_papers_are_those_of_the_file_in_prose_and_are_not_typed_in_code(stem):
    wrong = [number for text in prose(NOTEBOOKS[stem]) for number in quoted(text) if not is_one_of(number, known(stem))]
    assert not wrong, f"notebooks/{stem}.ipynb quotes {', '.join(wrong)}, which data/paper_results.csv does not have for it"
    typed = [number for number in constants(NOTEBOOKS[stem]) if is_one_of(number, known(stem))]
    assert not typed, f"notebooks/{stem}.ipynb types {', '.join(typed)} in code: take it by lib.results.papers.printed"


def test_a_changed_digit_is_found():
    stem = next(name for name in NOTEBOOKS if name.startswith("22"))
    (text,) = (text for text in prose(NOTEBOOKS[stem]) if "50.96" in text)
    assert not [number for number in quoted(text) if not is_one_of(number, known(stem))]
    assert [number for number in quoted(text.replace("50.96", "50.97")) if not is_one_of(number, known(stem))] == ["50.97"]
    assert constants({"cells": [{"cell_type": "code", "source": "a = '84.82', 0.0176, 0.5"}]}) == ["0.0176", "84.82"]
