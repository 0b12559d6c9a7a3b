"""The claims of a notebook: a :class:`Book` makes them from runs, judges them, shows them and writes them down.

    book = claims.Book(NOTEBOOK, rows, paper="ccc", locator="Table 2")
    book.value("accuracy", "CCC has this test accuracy", book.of("ccc"), "87.65", band=2)
    book.ahead("above-vote", "CCC is above the majority vote", "ccc", "majority-vote")
    book.save()
    book.table()

What else a notebook needs is at hand here: numbers by seed and their intervals (:mod:`lib.results.samples`), and the rules
(:mod:`lib.results.verdicts`).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from lib import paths
from lib.results import samples, tables
from lib.results.rows import frame as as_frame
from lib.results.samples import Sample, beyond_chance, constant, interval, lifts, mean, mean_sample, sample, spanned
from lib.results.tables import MISSING, Table
from lib.results.verdicts import HELD, ORIGINS, SCALES, VERDICTS, Claim, judge
from lib.storage import write_atomically

__all__ = [
    "Book", "ClaimTable", "Prose", "Sample", "beyond_chance", "constant", "counted", "filled", "holm", "interval", "lifts",
    "mean", "mean_sample", "recompute", "sample", "shown", "spanned", "table",
]  # fmt: skip


class Book:
    """The claims of one notebook.

    Args:
        notebook: its name without ending; the ids of its claims begin with its number.
        rows: the table of ``rows.frame`` that :meth:`of` chooses from, or ledger rows.
        paper: ``"crowd-layer"``, ``"geocrowdnet"``, ``"ccc"``, ``"kd-crowd"`` or ``""``.
        metric: what :meth:`of` takes when it is not told.
        locator, origin, needs: of claims that do not say their own.
        scale: of facts; by default that of the rows.
        where: what other columns must be, unless :meth:`of` is told otherwise.

    Attributes:
        claims: in the order in which they were made.

    Its methods share these arguments: ``id``, without the notebook's number; ``statement``, one plain sentence; ``ours``, in
    the unit of the paper's; ``paper_value``, as printed; and ``about``, other fields of the claim: locator, origin, headline.
    Each returns the claim, and raises ValueError for an id that is taken or an origin that there is not.
    """

    def __init__(
        self,
        notebook: str,
        rows: pd.DataFrame | Iterable[dict | None] = (),
        *,
        paper: str = "",
        metric: str = "test_acc_last",
        locator: str = "",
        origin: str = "paper number",
        scale: str = "",
        needs: str | None = None,
        **where: object,
    ) -> None:
        self.notebook, self.claims = notebook, []
        self.frame = rows if isinstance(rows, pd.DataFrame) else as_frame(rows)
        self._metric, self._where = metric, where
        scales = self.frame["scale"].unique()
        self._scale = scale or (scales[0] if len(scales) == 1 else "")
        self._given = {"paper": paper, "locator": locator, "origin": origin, "needs": needs}

    def of(self, method: str, metric: str | None = None, missing_ok: bool = False, **where: object) -> Sample:
        """A method's numbers by seed; see :func:`sample`."""
        chosen = {"method": method} | self._where | where
        chosen = {name: choice for name, choice in chosen.items() if choice is not None}
        return sample(self.frame, metric or self._metric, missing_ok, **chosen)

    def value(self, id: str, statement: str, ours: Sample, paper_value: str, band: float, **about: object) -> Claim:
        """A number of the paper that ours should come near to, within a positive ``band`` that was fixed before any run."""
        if not band > 0:
            raise ValueError(f"the band must be positive, found {band}")
        if ours.unit == "%" and 0 < float(paper_value) <= 1:
            raise ValueError(f"the paper's accuracy must be in percent, found {paper_value}")
        return self._add("value", id, statement, ours, samples.ends(ours), paper_value, about, band=band)

    def difference(
        self, id: str, statement: str, better: Sample, worse: Sample, paper_value: str | None = None, *,
        lower_is_better: bool = False, **about: object,
    ) -> Claim:  # fmt: skip
        """One thing is better than another, in pairs of runs with the same seed; errors are ``lower_is_better``.

        ``paper_value`` is by how much the paper says so. Raises ValueError as :meth:`above_zero`, and for two samples without
        a common seed, or of two units or scales.
        """
        return self.above_zero(id, statement, worse - better if lower_is_better else better - worse, paper_value, **about)

    def above_zero(self, id: str, statement: str, gap: Sample, paper_value: str | None = None, **about: object) -> Claim:
        """A difference that is there already, such as one fall minus another; the paper's must be positive."""
        if paper_value is not None and not float(paper_value) > 0:
            raise ValueError(f"the paper's difference must be positive, found {paper_value}: turn the sides round")
        return self._add("difference", id, statement, gap, samples.ends(gap), paper_value, about)

    def ahead(self, id: str, statement: str, better: str, worse: str, paper_value: str | None = None, **about) -> Claim:
        """:meth:`difference` of two methods of this book, by name."""
        return self.difference(id, statement, self.of(better), self.of(worse), paper_value, **about)

    def fact(self, id: str, statement: str, ours: float, paper_value: str, *, band: float = 0.0, **about: object) -> Claim:
        """A number that no seed moves, against the paper's; ``band`` is half a unit of the last digit of a rounded number."""
        if not band >= 0:
            raise ValueError(f"the band must be at least 0, found {band}")
        only = Sample({}, self._scale, str(about.pop("unit", "")))
        return self._add("fact", id, statement, only, (float(ours), math.nan, math.nan), str(paper_value), about, band=band)

    def beyond_chance(self, id: str, statement: str, ours: float, chance: Sample, **about: object) -> Claim:
        """A number from data is larger than in simulations in which there is nothing to find; see :func:`beyond_chance`."""
        alike, about = replace(chance, terms=()), {"over": "simulations"} | about
        return self._add("difference", id, statement, alike, beyond_chance(ours, chance), None, about)

    def every(self, id: str, statement: str, parts: Sequence[Claim], paper: int | None = None, **about: object) -> Claim:
        """A statement that holds when each of its parts does; ours is how many parts hold.

        ``paper`` is how many parts hold by the paper's own numbers, where not all do.
        """
        if not parts:
            raise ValueError(f"{id}: a statement in parts needs parts")
        alike = {name: samples.joined(getattr(part, name) for part in parts) for name in ("dataset", "case", "metric", "scale")}
        alike["methods"] = dict.fromkeys(name for part in parts for name in part.methods)
        # The origin that promises least.
        origin = max((part.origin for part in parts), key=list(ORIGINS).index)
        only = Sample({}, alike.pop("scale"), f"of {len(parts)}", about=alike)
        count, keys = (_held(parts), math.nan, math.nan), tuple(dict.fromkeys(key for part in parts for key in part.keys))
        about = {"origin": origin, "parts": tuple(part.id for part in parts), "keys": keys} | about
        return self._add("fact", id, statement, only, count, str(paper or len(parts)), about, parts)

    def prose(self, text: str) -> Prose:
        """A notebook's conclusion, with numbers from this book's claims put in by :func:`filled`."""
        return Prose(filled(text.strip(), {claim.id: claim for claim in self.claims}))

    def save(self) -> None:
        """Write ``figures/<notebook>/claims.json``. Raises OSError where it cannot be written."""
        lines = [json.dumps(asdict(claim), ensure_ascii=False, allow_nan=False) for claim in self.claims]
        text = "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
        write_atomically(paths.figures(self.notebook) / "claims.json", text)

    def table(self, *claims: Claim) -> ClaimTable:
        """Some claims, or all of them, for a reader; the headline rows are open."""
        return ClaimTable(claims or tuple(self.claims))

    def _add(self, kind, id, statement, ours: Sample, spread, paper_value, about, parts=(), band=None) -> Claim:
        fields = {name: str(ours.about.get(name, "")) for name in ("dataset", "case", "metric")}
        fields |= {"over": ours.over if kind != "fact" else "", "unit": ours.unit, "scale": ours.scale, "headline": False}
        terms, keys = _placed(ours.terms)
        fields |= {"methods": ours.about.get("methods", ()), "keys": keys, "terms": terms} | self._given | about
        fields["id"] = f"{self.notebook.split('_')[0]}-{id}"
        if fields["id"] in {claim.id for claim in self.claims}:
            raise ValueError(f"two claims of {self.notebook} are called {fields['id']!r}")
        for name, known in (("origin", ORIGINS), ("needs", (None, *SCALES))):
            if fields[name] not in known:
                raise ValueError(f"expected one of {', '.join(map(str, known))}; found {fields[name]!r}")
        fields["methods"] = tuple(fields["methods"])
        center, low, high = map(samples.stable, spread)
        claim = Claim(
            notebook=self.notebook, statement=statement, kind=kind, paper_value=paper_value, ours=center, low=low, high=high,
            seeds=len(ours.values), band=band, verdict="", **fields,
        )  # fmt: skip
        self.claims.append(_judged(claim, parts))
        return self.claims[-1]


def _placed(terms: tuple) -> tuple[tuple, tuple[str, ...]]:
    """Terms with positions in place of keys, and the keys."""
    keys: dict[str, int] = {}
    placed = []
    for factor, metric, by_seed in terms:
        places = [keys.setdefault(key, len(keys)) if metric else -1 for key in by_seed.values()]
        # A factor may be a sum, whose last digits another processor computes otherwise.
        placed.append((float(f"{factor:.12g}"), metric, tuple(places)))
    return tuple(placed), tuple(keys)


def _held(parts: Sequence[Claim]) -> float:
    """How many parts hold; NaN where none was run at the scale that it needs, so that nothing reads as "0 of 32"."""
    judged = any(part.verdict != "not run at paper scale" for part in parts)
    return float(sum(part.verdict in HELD for part in parts)) if judged else math.nan


def _judged(claim: Claim, parts: Sequence[Claim]) -> Claim:
    return replace(claim, verdict=judge(claim, parts), shown=shown(claim))


def recompute(claim: Claim, rows: Mapping[str, Mapping], known: Mapping[str, Claim]) -> Claim:
    """A claim made again: its numbers from the rows behind it, or from its parts made again, and its verdict from the numbers.

    One that comes from no rows, or from more than their metrics (a count of published labels, a simulation, a history), keeps
    its numbers: its notebook alone can make them again.

    ``rows`` are ledger rows by key, all of the claim's among them, and ``known`` claims by id.
    """
    parts = [recompute(known[name], rows, known) for name in claim.parts]
    runs = [rows[key] for key in claim.keys]
    if parts:
        claim = replace(claim, ours=samples.stable(_held(parts)))
    elif claim.terms and all(metric in runs[at]["metrics"] for _, metric, places in claim.terms if metric for at in places):
        found = samples.combined(
            [(factor, _term(runs, metric, places, claim)) for factor, metric, places in claim.terms], claim.unit
        )
        center, low, high = map(samples.stable, samples.ends(found))
        claim = replace(claim, ours=center, low=low, high=high, seeds=len(found.values), over=found.over)
    return _judged(claim, parts)


def _term(runs: Sequence[Mapping], metric: str, places: Sequence[int], claim: Claim) -> Sample:
    """A term of a claim by number in place of seed, with its items where the claim's interval is over them too."""
    values, items = {}, {}
    for number, at in enumerate(places):
        values[number] = runs[at]["metrics"][metric] if metric else 1.0
        if claim.over == samples.BOTH:
            items[number] = samples.per_item(runs[at], metric) if metric else np.asarray(1.0)
    return Sample(values, claim.scale, claim.unit, items=items)


# ---------------------------------------------------------------------- for a reader


@dataclass(frozen=True)
class ClaimTable:
    """Claims in a notebook: the headline rows are open, the others folded; as text, all of them."""

    claims: Sequence[Claim]

    def __repr__(self) -> str:
        return repr(table(self.claims))

    def _repr_html_(self) -> str:
        first, rest = [c for c in self.claims if c.headline], [c for c in self.claims if not c.headline]
        if not first or not rest:
            return table(self.claims)._repr_html_()
        by_origin = {origin: [c for c in rest if c.origin == origin] for origin in ORIGINS}  # counts never mix origins
        counts = "; ".join(f"{origin}: {counted(own)}" for origin, own in by_origin.items() if own)
        summary = f"<summary>{len(rest)} more claim{'s' * (len(rest) > 1)} ({counts})</summary>"
        return f"{table(first)._repr_html_()}\n<details>{summary}\n{table(rest)._repr_html_()}\n</details>"


class Prose(str):
    """Text in Markdown as a notebook's output, for sentences with numbers that code puts in."""

    __repr__ = _repr_markdown_ = str.__str__


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
    digits = 0 if claim.parts else 1 if samples.plain(claim.unit) in ("%", "annotators") else 3
    if claim.kind == "fact" and not claim.parts:
        digits = max(0, -Decimal(claim.paper_value).as_tuple().exponent)
    text = tables.spanned(claim.ours, claim.low, claim.high, digits)
    return f"{text} {claim.unit}" if unit and claim.ours is not None and claim.unit else text


def filled(text: str, claims: Mapping[str, Claim]) -> str:
    """Prose with numbers put in from claims by id: ``{10-mw-mv}`` becomes ours with interval and unit, ``{10-mw-mv:ours}`` the
    mean alone, ``{10-mw-mv:paper}`` the paper's value. Raises ValueError for a claim or a part of it that there is not.
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
        }
        if part not in words:
            raise ValueError(f"{match[0]!r} asks for {part!r} of a claim; there are {', '.join(filter(None, words))}")
        return words[part]

    return re.sub(r"\{(\d\d-[^{}\s]+)\}", fill, text)


def holm(claims: Iterable[Claim]) -> dict[str, bool]:
    """Headline differences by id: whether each stays above zero when a notebook's headline claims are taken together.

    Holm's step-down rule on the two-sided t-tests within each notebook, for a family-wise error of 5 %. A statement in
    parts counts with its least certain part, so ``claims`` are all, headlines or not. What was not tested (a fact, a value,
    a difference without runs) is left out.
    """
    known = {claim.id: claim for claim in claims}
    by_notebook: dict[str, list[tuple[float, str]]] = {}
    for claim in known.values():
        if claim.headline and (p := _p_value(claim, known)) is not None:
            by_notebook.setdefault(claim.notebook, []).append((p, claim.id))
    kept = {}
    for tests in by_notebook.values():
        stays = True
        for place, (p, id) in enumerate(sorted(tests)):
            stays = stays and p <= 0.05 / (len(tests) - place)
            kept[id] = stays
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
