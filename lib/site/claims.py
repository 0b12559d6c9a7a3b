"""Claims as the site counts and shows them. The fields of a claim are those of ``figures/<notebook>/claims.json``."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lib import paths
from lib.methods import CATALOGUE
from lib.results.verdicts import ORIGINS, VERDICTS

FIELDS = (
    *("id", "notebook", "paper", "locator", "statement", "origin", "headline", "dataset", "case", "methods", "metric", "unit"),
    *("paper_value", "ours", "low", "high", "seeds", "scale", "band", "kind", "keys", "verdict", "shown"),
)
PAPERS = {"crowd-layer": "Crowd Layer", "geocrowdnet": "GeoCrowdNet", "ccc": "CCC", "kd-crowd": "KD-Crowd"}
_SHOWN = ("id", "notebook", "paper", "locator", "statement", "origin", "headline", "dataset", "methods", "unit")
# Of few different values: each is written once, and rows have its place.
_POOLED = ("notebook", "paper", "locator", "origin", "dataset", "unit", "scale", "kind", "verdict")
_SHOWN += ("paper_value", "ours", "low", "high", "seeds", "scale", "band", "kind", "verdict", "shown")


def load(folder: Path) -> tuple[list[dict], list[str]]:
    """All claims of a folder of figures, and the notebooks whose file has another form.

    Raises:
        ValueError: two claims with one id, or a verdict or origin that is not known here.
    """
    claims, skipped = [], []
    for file in sorted(folder.glob("*/claims.json")):
        entries = json.loads(file.read_text(encoding="utf-8"))
        if all(set(FIELDS) <= entry.keys() for entry in entries):
            claims += entries
        else:
            skipped.append(file.parent.name)
    for claim in claims:
        if claim["verdict"] not in VERDICTS or claim["origin"] not in ORIGINS:
            raise ValueError(
                f"claim {claim['id']!r} has verdict {claim['verdict']!r} and origin {claim['origin']!r}, expected one of "
                f"{', '.join(VERDICTS)} and one of {', '.join(ORIGINS)}"
            )
    if twice := [name for name, count in Counter(claim["id"] for claim in claims).items() if count > 1]:
        raise ValueError(f"expected one claim an id, found several for {', '.join(twice)}")
    return claims, skipped


def counts(claims: Iterable[Mapping]) -> dict[str, Counter]:
    """How often each verdict was reached, an origin at a time: numbers of different origins are never added up."""
    found = {origin: Counter() for origin in ORIGINS}
    for claim in claims:
        found[claim["origin"]][claim["verdict"]] += 1
    return {origin: number for origin, number in found.items() if number}


def numbers(claim: Mapping) -> str:
    """The paper's number and ours in words: ``"paper 6.7, ours 6.4 [3.3, 9.5] points"``, ``"paper 3 of 3, ours 1 of 3"``."""
    parts = claim["unit"].startswith("of ")
    unit = f" {claim['unit']}" if claim["unit"] else ""
    printed = "" if claim["paper_value"] is None else f"paper {claim['paper_value']}{unit if parts else ''}, "
    return f"{printed}ours {'not run' if claim['ours'] is None else claim['shown'] + unit}"


def hyphenated(origin: str) -> str:
    """An origin's name that may break, so that a column for each of them fits a phone."""
    return origin.replace("reconstruction", "reconstruc\N{SOFT HYPHEN}tion")


def _static(claims: Sequence[Mapping]) -> str:
    """What the explorer shows without JavaScript: counts and headline claims as tables."""
    found = counts(claims)
    heads = [claim for claim in claims if claim["headline"]]
    counted = [[verdict, *(str(number[verdict] or "·") for number in found.values())] for verdict in VERDICTS]
    lines = [
        [
            f'<a href="notebooks/{claim["notebook"]}.html">{claim["notebook"][:2]}</a> {html.escape(claim["statement"])}',
            html.escape(numbers(claim)),
            claim["verdict"],
        ]
        for claim in heads
    ]
    return (
        f"<h2>How many, by origin</h2>{_table(['verdict', *map(hyphenated, found)], counted, '')}"
        f"<h2>The headline claims</h2>{_table(['claim', 'numbers', 'verdict'], lines, ' class=words')}"
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], attribute: str) -> str:
    """An HTML table of HTML cells; the first of a line names it."""
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{line[0]}</th>{"".join(f"<td>{cell}</td>" for cell in line[1:])}</tr>' for line in lines
    )
    return f"<table{attribute}><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def write_explorer(target: Path, claims: Sequence[Mapping]) -> None:
    """The results explorer: one HTML file with its data, script and style in it."""
    titles = {name: CATALOGUE[name].title if name in CATALOGUE else name for claim in claims for name in claim["methods"] or ()}
    pools = {name: list(dict.fromkeys(claim[name] for claim in claims)) for name in _POOLED}
    data = {
        "fields": _SHOWN,
        "pools": pools,
        "rows": [[pools[name].index(claim[name]) if name in pools else claim[name] for name in _SHOWN] for claim in claims],
        "papers": PAPERS | {"": "none of the four"},
        "methods": titles,
        "verdicts": VERDICTS,
        "origins": ORIGINS,
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    template = (paths.SITE_SOURCES / "explorer.html").read_text(encoding="utf-8")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(template.replace("<!--STATIC-->", _static(claims)).replace("/*DATA*/null", text), encoding="utf-8")
