"""Claims for a reader: tables of them, their numbers in words, and how many of them luck alone would make."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from scipy.special import stdtr, stdtrit

from lib.results.samples import plain
from lib.results.tables import MISSING, Table, spanned
from lib.results.verdicts import VERDICTS, Claim

__all__ = ["ClaimTable", "Prose", "chance", "counted", "filled", "holm", "shown", "table"]


class ClaimTable:
    """Claims in a notebook: the headline rows are open, the others folded; as text, all of them."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.claims = list(claims)

    def __repr__(self) -> str:
        return repr(table(self.claims))

    def _repr_html_(self) -> str:
        first, rest = [c for c in self.claims if c.headline], [c for c in self.claims if not c.headline]
        if not first or not rest:
            return table(self.claims)._repr_html_()
        summary = f"<summary>{len(rest)} more claim{'s' * (len(rest) > 1)}: {counted(rest)}</summary>"
        return f"{table(first)._repr_html_()}\n<details>{summary}\n{table(rest)._repr_html_()}\n</details>"


@dataclass(frozen=True)
class Prose:
    """Text in Markdown as a notebook's output, for sentences with numbers that code puts in."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def counted(claims: Iterable[Claim]) -> str:
    """How many claims have each verdict: ``"3 reproduced, 1 inconclusive"``."""
    counts = Counter(claim.verdict for claim in claims)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])


def table(claims: Sequence[Claim]) -> Table:
    """Claims for a reader: a table of strings; what is alike in all is said once, in the caption."""
    overs = list(dict.fromkeys(c.over for c in claims if c.low is not None))
    columns = {
        "claim": lambda c: c.statement,
        "origin": lambda c: f"{c.origin}: {c.locator}" if c.locator else c.origin,
        "paper": lambda c: c.paper_value,
        "ours [95 % interval]": shown,
        "interval over": lambda c: c.over if c.low is not None else "",
        "unit": lambda c: c.unit,
        "seeds": lambda c: c.seeds,
        "scale": lambda c: c.scale,
        "verdict": lambda c: c.verdict,
    }
    if len(overs) < 2:
        del columns["interval over"]
    if all(c.paper_value is None for c in claims):
        del columns["paper"]
    caption = f"intervals over {overs[0]}" if len(overs) == 1 else ""
    lines = [[str(cell(c) or MISSING) for cell in columns.values()] for c in claims]
    return Table(lines, columns=list(columns), caption=caption).folded("origin", "unit", "seeds", "scale")


def shown(claim: Claim, unit: bool = False) -> str:
    """Our number with its interval, as it stands everywhere: ``6.4 [3.3, 9.5]``, with the unit where that is asked for."""
    digits = 0 if claim.parts else 1 if plain(claim.unit) in ("%", "annotators") else 3
    if claim.kind == "fact" and not claim.parts:
        digits = max(0, -Decimal(claim.paper_value).as_tuple().exponent)
    text = spanned(claim.ours, claim.low, claim.high, digits)
    return f"{text} {claim.unit}" if unit and claim.ours is not None and claim.unit else text


def filled(text: str, claims: Mapping[str, Claim]) -> str:
    """Prose with numbers put in from claims by id.

    ``{10-mw-mv}`` becomes ours with interval and unit, ``{10-mw-mv:ours}`` the mean alone, ``{10-mw-mv:paper}`` the paper's
    value, ``{10-mw-mv:verdict}`` the verdict.
    Raises ValueError for a claim or a part of it that there is not.
    """

    def fill(match: re.Match) -> str:
        id, _, part = match[1].partition(":")
        if id not in claims:
            raise ValueError(f"there is no claim {id!r}, named in {text[:80]!r}")
        claim = claims[id]
        words = {
            "": shown(claim, unit=True),
            "ours": shown(replace(claim, low=None, high=None), unit=True),
            "paper": f"{claim.paper_value} {claim.unit}".strip(),
            "verdict": claim.verdict,
        }
        if part not in words:
            raise ValueError(f"{match[0]!r} asks for {part!r} of a claim; there are {', '.join(filter(None, words))}")
        return words[part]

    return re.sub(r"\{(\d\d-[^{}\s]+)\}", fill, text)


def chance(claims: Iterable[Claim]) -> tuple[int, float]:
    """How many differences were tried, and how many of them noise alone would put above zero (one in forty)."""
    tried = sum(claim.kind == "difference" and claim.low is not None for claim in claims)
    return tried, 0.025 * tried


def holm(claims: Iterable[Claim]) -> set[str]:
    """The ids of the headline differences that stay above zero when a notebook's headline claims are taken together.

    Holm's step-down rule on the two-sided t-tests within each notebook, for a family-wise error of 5 %. A statement in
    parts counts with its least certain part, so ``claims`` are all, headlines or not.
    """
    known = {claim.id: claim for claim in claims}
    by_notebook: dict[str, list[tuple[float, str]]] = {}
    for claim in known.values():
        if claim.headline and (p := _p_value(claim, known)) is not None:
            by_notebook.setdefault(claim.notebook, []).append((p, claim.id))
    kept = set()
    for tests in by_notebook.values():
        for place, (p, id) in enumerate(sorted(tests)):
            if p > 0.05 / (len(tests) - place):
                break
            kept.add(id)
    return kept


def _p_value(claim: Claim, known: Mapping[str, Claim]) -> float | None:
    """Two-sided, from the interval; 1 where the mean is not above zero; None where nothing was tested."""
    if claim.parts:
        found = [_p_value(known[name], known) for name in claim.parts]
        return None if None in found else max(found)
    if claim.kind != "difference" or claim.low is None:
        return None
    if claim.ours <= 0:
        return 1.0
    half = claim.ours - claim.low
    if half == 0:
        return 0.0
    freedom = claim.seeds - 1
    return float(2 * stdtr(freedom, -claim.ours / half * stdtrit(freedom, 0.975)))
