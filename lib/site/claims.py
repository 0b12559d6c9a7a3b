"""Claims as the site counts and shows them."""

import html
import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lib import paths
from lib.results.titles import method_title, paper_title
from lib.results.verdicts import ORIGINS, VERDICTS, Claim

# Of few different values: each is written once, and rows have its place.
_POOLED = ("notebook", "paper", "locator", "origin", "dataset", "unit", "scale", "over", "kind", "verdict")
_SHOWN = (*_POOLED, "id", "statement", "headline", "methods", "paper_value", "ours", "low", "high", "seeds", "band", "shown")


def told() -> dict:
    """``data/papers.toml``: what is said of the papers, and the names of papers and data sets."""
    return tomllib.loads((paths.DATA / "papers.toml").read_text(encoding="utf-8"))


def tally(claims: Sequence[Claim]) -> list[list[str]]:
    """How often each verdict was reached, an origin at a time, as cells: the heading, a line a verdict, and the sums.

    Numbers of different origins are never added up.
    """
    found = {origin: Counter(claim.verdict for claim in claims if claim.origin == origin) for origin in ORIGINS}
    found = {origin: counts for origin, counts in found.items() if counts}
    # A heading that may break, so that a column for each origin fits a phone.
    head = ["verdict", *(origin.replace("reconstruction", "reconstruc\N{SOFT HYPHEN}tion") for origin in found)]
    reached = [verdict for verdict in VERDICTS if any(counts[verdict] for counts in found.values())]
    lines = [[verdict, *(str(counts[verdict] or "·") for counts in found.values())] for verdict in reached]
    return [head, *lines, ["all", *(str(counts.total()) for counts in found.values())]]


def numbers(claim: Claim) -> str:
    """The paper's number and ours in words: ``"paper 6.7, ours 6.4 [3.3, 9.5] points"``, ``"paper 3 of 3, ours 1 of 3"``."""
    unit = f" {claim.unit}" if claim.unit else ""
    printed = "" if claim.paper_value is None else f"paper {claim.paper_value}{unit if claim.parts else ''}, "
    return f"{printed}ours {'not run' if claim.ours is None else claim.shown + unit}"


def write_explorer(target: Path, claims: Sequence[Claim]) -> None:
    """The results explorer: one HTML file with its data, script and style in it; tables for those without JavaScript."""
    pools = {name: list(dict.fromkeys(getattr(claim, name) for claim in claims)) for name in _POOLED}
    cells = [{name: getattr(claim, name) for name in _SHOWN} for claim in claims]
    words = told()
    data = {
        "fields": _SHOWN,
        "pools": pools,
        "rows": [[pools[name].index(cell) if name in pools else cell for name, cell in line.items()] for line in cells],
        "papers": {paper: paper_title(entry) for paper, entry in words["papers"].items()} | {"": "none of the four"},
        "methods": {name: method_title(name) for claim in claims for name in claim.methods},
        "datasets": {name: title for name, (title, _) in words["data"].items()},
        "verdicts": VERDICTS,
        "origins": ORIGINS,
    }
    heads = [["claim", "numbers", "verdict"]]
    for claim in (claim for claim in claims if claim.headline):
        link = f'<a href="notebooks/{claim.notebook}.html">{claim.notebook[:2]}</a>'
        heads.append([f"{link} {html.escape(claim.statement)}", html.escape(numbers(claim)), claim.verdict])
    static = f"<h2>How many, by origin</h2>{_table(tally(claims), '')}"
    static += f"<h2>The headline claims</h2>{_table(heads, ' class=words')}"
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    template = (paths.SITE_SOURCES / "explorer.html").read_text(encoding="utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(template.replace("<!--STATIC-->", static).replace("/*DATA*/null", text), encoding="utf-8")


def _table(lines: Sequence[Sequence[str]], attribute: str) -> str:
    """An HTML table of HTML cells; the first line is the heading, and the first cell of a line names it."""
    head = "".join(f'<th scope="col">{name}</th>' for name in lines[0])
    body = "".join(
        f'<tr><th scope="row">{line[0]}</th>{"".join(f"<td>{cell}</td>" for cell in line[1:])}</tr>' for line in lines[1:]
    )
    return f"<table{attribute}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
