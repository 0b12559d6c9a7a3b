"""Whether every number in README, RESULTS.md, ``claims.json``, ``table.md`` and a notebook agrees with what it is made from."""

import html
import re
from collections.abc import Mapping
from itertools import zip_longest

from lib.results import tables
from lib.results.claims import recompute
from lib.results.pages import headers, pages
from lib.results.project import Project, source_of
from lib.results.verdicts import Claim

__all__ = ["disagreements"]

SHOWN_AS = ("text/plain", "text/html")  # the second is what GitHub, JupyterLab and the site show


def disagreements(project: Project, rows: Mapping[str, Mapping]) -> list[str]:
    """Where something committed is not what it is made from, one line each; empty when all agree.

    A claim is made again from its rows, which are given by key; README, RESULTS.md, notebooks/README.md and the notebooks'
    first cells from claims and tables, ``table.md`` from ``table.csv``; and a notebook must show each of its claims as
    ``claims.json`` has it.
    """
    try:
        found = _wrong_claims(project, rows)
        made_pages = pages(project)
        for stem in project.notebooks:
            if (table := project.table(stem)) is not None:
                made_pages[f"figures/{stem}/table.md"] = tables.page(table)
        for name, made in made_pages.items():
            found += _first_difference(name, project.read(name), made)
        for stem, made in headers(project).items():
            there = source_of(project.notebooks[stem]["cells"][0])
            found += _first_difference(f"notebooks/{stem}.ipynb, first cell", there, made)
    except ValueError as error:
        return [str(error)]
    return found


def _first_difference(name: str, there: str, made: str) -> list[str]:
    for number, lines in enumerate(zip_longest(*(text.splitlines(keepends=True) for text in (there, made)), fillvalue=""), 1):
        if lines[0] != lines[1]:
            pairs = enumerate(zip(*lines, strict=False))
            at = next((place for place, (one, other) in pairs if one != other), min(map(len, lines)))
            found, expected = (line[max(at - 60, 0) : at + 60] for line in lines)
            return [f"{name}, line {number}: found {found!r}, expected {expected!r}"]
    return []


def _wrong_claims(project: Project, rows: Mapping[str, Mapping]) -> list[str]:
    found, lines = [], {(stem, kind): _lines(book, kind) for stem, book in project.notebooks.items() for kind in SHOWN_AS}
    for claim in project.claims.values():
        place = f"figures/{claim.notebook}/claims.json, claim {claim.id!r}"
        if lost := [key for key in claim.keys if key not in rows]:
            found.append(f"{place}: no ledger row has the key {lost[0]}")
            continue
        again = recompute(claim, rows, project.claims)
        found += [
            f"{place}: {name} is {getattr(claim, name)!r}, its rows say {getattr(again, name)!r}"
            for name in ("ours", "low", "high", "seeds", "verdict", "shown")
            if getattr(claim, name) != getattr(again, name)
        ]
        for kind in SHOWN_AS:
            if not any(_shows(line, claim) for line in lines.get((claim.notebook, kind), ())):
                wanted = f"{claim.statement!r} with {claim.shown} and {claim.verdict!r}"
                found.append(f"{place}: notebooks/{claim.notebook}.ipynb shows no line {wanted} ({kind})")
    return found


def _lines(notebook: Mapping, kind: str) -> list[str]:
    """The lines of text that a notebook's outputs show; a row of an HTML table is one, its cells apart by blanks."""
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", ()))
    texts = ["".join(output.get("data", {}).get(kind, "")) for output in outputs]
    if kind == "text/html":
        rows = (re.sub(r"\s+", " ", text) for text in texts)
        texts = [html.unescape(re.sub(r"<[^>]*>", " ", row.replace("</tr>", "\n"))) for row in rows]
    return [line.strip() for text in texts for line in text.splitlines()]


def _shows(line: str, claim: Claim) -> bool:
    # A number stands there as a whole: 84.9 is not in "84.2 [83.5, 84.9]".
    numbers = [claim.shown, *filter(None, [claim.paper_value])]
    there = all(re.search(rf"(?<!\S){re.escape(number)}(?!\S)", line) for number in numbers)
    return there and claim.statement in line and line.endswith(claim.verdict)
