"""The claims of a notebook: a :class:`Book` makes them from runs, judges them, shows them and writes them down.

    book = claims.Book(NOTEBOOK, rows, paper="ccc", locator="Table 2")
    book.value("accuracy", "CCC has this test accuracy", book.of("ccc"), "87.65", band=2)
    book.ahead("above-vote", "CCC is above the majority vote", "ccc", "majority-vote")
    book.save()
    book.table()

What else a notebook needs is at hand here: numbers by seed and their intervals (:mod:`lib.results.samples`), the rules
(:mod:`lib.results.verdicts`), tables and files of claims (:mod:`lib.results.claim_tables`, :mod:`lib.results.claim_files`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import pandas as pd

from lib.results.claim_files import load, misprinted, recompute, save
from lib.results.claim_tables import ClaimTable, Prose, chance, filled, holm, shown, table
from lib.results.rows import frame as as_frame
from lib.results.samples import (
    Sample,
    beyond_chance,
    constant,
    ends,
    interval,
    lifts,
    mean,
    mean_sample,
    sample,
    spanned,
    stable,
)  # fmt: skip
from lib.results.verdicts import KINDS, ORIGINS, SCALES, VERDICTS, Claim, judge

__all__ = [
    "KINDS", "ORIGINS", "SCALES", "VERDICTS", "Book", "Claim", "Prose", "Sample", "beyond_chance", "chance", "constant",
    "filled",
    "holm", "interval", "judge", "lifts", "load", "mean", "mean_sample", "misprinted", "recompute", "sample", "save",
    "shown", "spanned", "table",
]  # fmt: skip


class Book:
    """The claims of one notebook.

    Args:
        notebook: its name without ending; the ids of its claims begin with its number.
        rows: the table of ``rows.frame`` that :meth:`of` chooses from, or ledger rows.
        paper: ``"crowd-layer"``, ``"geocrowdnet"``, ``"ccc"``, ``"kd-crowd"`` or ``""``.
        metric: what :meth:`of` takes when it is not told.
        locator, origin, needs: of claims that do not say their own.
        where: what other columns must be, unless :meth:`of` is told otherwise.

    Attributes:
        claims: in the order in which they were made.
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
        self._metric, self._where, self._scale = metric, where, scale
        self._given = {"paper": paper, "locator": locator, "origin": origin, "needs": needs}

    def of(self, method: str, metric: str | None = None, missing_ok: bool = False, **where: object) -> Sample:
        """A method's numbers by seed; see :func:`sample`."""
        chosen = {"method": method} | self._where | where
        chosen = {name: choice for name, choice in chosen.items() if choice is not None}
        return sample(self.frame, metric or self._metric, missing_ok, **chosen)

    def value(self, id: str, statement: str, ours: Sample, paper_value: str, band: float, **about: object) -> Claim:
        """A number of the paper that ours should come near to.

        Args:
            id: without the notebook's number.
            statement: one plain sentence.
            ours: from :meth:`of`.
            paper_value: as printed, in the unit of ``ours`` (accuracies: percent).
            band: how far from it still counts, same unit, fixed before any run.
            about: other fields of the claim: locator, origin, headline, needs, unit, ...

        Raises:
            ValueError: a band that is not positive, or an accuracy of the paper that is not in percent.
        """
        if not band > 0:
            raise ValueError(f"the band must be positive, found {band}")
        if ours.unit == "%" and 0 < float(paper_value) <= 1:
            raise ValueError(f"the paper's accuracy must be in percent, found {paper_value}")
        return self._add(id, statement, "value", ours, ends(ours), paper_value, band, about)

    def difference(
        self, id: str, statement: str, better: Sample, worse: Sample, paper_value: str | None = None, *,
        lower_is_better: bool = False, **about: object,
    ) -> Claim:  # fmt: skip
        """One thing is better than another, in pairs of runs with the same seed.

        Args:
            id, statement, about: as in :meth:`value`.
            better, worse: from :meth:`of`; only seeds that both have are used.
            paper_value: by how much the paper says it is better, as printed (positive).
            lower_is_better: for errors: the difference is then ``worse - better``.

        Raises:
            ValueError: no common seed, two units or scales, a paper's difference that is not positive.
        """
        gap = worse - better if lower_is_better else better - worse
        return self.above_zero(id, statement, gap, paper_value, **about)

    def above_zero(self, id: str, statement: str, gap: Sample, paper_value: str | None = None, **about: object) -> Claim:
        """A difference that is there already, such as one fall minus another."""
        if paper_value is not None and not float(paper_value) > 0:
            raise ValueError(f"the paper's difference must be positive, found {paper_value}: turn the sides round")
        return self._add(id, statement, "difference", gap, ends(gap), paper_value, None, about)

    def ahead(self, id: str, statement: str, better: str, worse: str, paper_value: str | None = None, **about) -> Claim:
        """:meth:`difference` of two methods of this book, by name."""
        return self.difference(id, statement, self.of(better), self.of(worse), paper_value, **about)

    def fact(self, id: str, statement: str, ours: float, paper_value: str, *, band: float = 0.0, **about: object) -> Claim:
        """A number that no seed moves, against the paper's.

        Args:
            id, statement, about: as in :meth:`value`.
            ours: in the unit of the paper's.
            paper_value: as printed.
            band: 0 for a count, half a unit of the last digit for a rounded number.
        """
        if not band >= 0:
            raise ValueError(f"the band must be at least 0, found {band}")
        only = Sample({}, self._scale or self._one_scale(), str(about.pop("unit", "")))
        return self._add(id, statement, "fact", only, (float(ours), math.nan, math.nan), str(paper_value), band, about)

    def beyond_chance(self, id: str, statement: str, ours: float, chance: Sample, **about: object) -> Claim:
        """A number from data is larger than in simulations in which there is nothing to find; see :func:`beyond_chance`."""
        beyond, about = beyond_chance(ours, chance), {"over": "simulations"} | about
        return self._add(id, statement, "difference", dataclasses.replace(chance, terms=()), beyond, None, None, about)

    def every(self, id: str, statement: str, parts: Sequence[Claim], paper: int | None = None, **about: object) -> Claim:
        """A statement that holds when each of its parts does; ours is how many parts hold.

        Args:
            id: within the notebook.
            statement: as the paper states it.
            parts: what has to hold.
            paper: how many parts hold by the paper's own numbers, where not all do.
            about: other fields of the claim.

        Raises:
            ValueError: no parts.
        """
        if not parts:
            raise ValueError(f"{id}: a statement in parts needs parts")
        held = sum(part.verdict in ("reproduced", "holds on our reconstruction") for part in parts)
        run = any(part.ours is not None for part in parts)
        alike = {name: _one(getattr(part, name) for part in parts) for name in ("dataset", "case", "metric", "scale")}
        methods = list(dict.fromkeys(name for part in parts for name in part.methods))
        only = Sample({}, alike.pop("scale"), f"of {len(parts)}", about=alike | {"methods": methods})
        about = {"parts": tuple(part.id for part in parts), "origin": _weakest(parts)} | about
        keys = tuple(dict.fromkeys(key for part in parts for key in part.keys))
        count = (float(held) if run else math.nan, math.nan, math.nan)
        return self._add(id, statement, "fact", only, count, str(paper or len(parts)), None, about, keys, parts)

    def prose(self, text: str) -> Prose:
        """A notebook's conclusion, with numbers from this book's claims put in by :func:`filled`."""
        return Prose(filled(text.strip(), {claim.id: claim for claim in self.claims}))

    def save(self) -> None:
        """Write ``figures/<notebook>/claims.json``."""
        save(self.notebook, self.claims)

    def table(self, *claims: Claim) -> ClaimTable:
        """Some claims, or all of them, for a reader; the headline rows are open."""
        return ClaimTable(claims or self.claims)

    def _one_scale(self) -> str:
        found = self.frame["scale"].unique().tolist() if len(self.frame) else []
        return str(found[0]) if len(found) == 1 else ""

    def _add(self, id, statement, kind, ours: Sample, spread, paper_value, band, about, keys=(), parts=()) -> Claim:
        over = ours.over if kind != "fact" else ""
        fields = {"headline": False, "parts": (), "unit": ours.unit, "over": over} | self._given | about
        fields["id"] = f"{self.notebook.split('_')[0]}-{id}"
        if fields["id"] in {claim.id for claim in self.claims}:
            raise ValueError(f"two claims of {self.notebook} are called {fields['id']!r}")
        for name, known in (("origin", ORIGINS), ("needs", (None, *SCALES))):
            if fields[name] not in known:
                raise ValueError(f"expected one of {', '.join(map(str, known))}; found {fields[name]!r}")
        center, low, high = (None if math.isnan(end) else stable(end) for end in spread)
        terms, found = _placed(ours.terms)
        place = {name: str(ours.about.get(name, "")) for name in ("dataset", "case", "metric")}
        place = {name: str(fields.pop(name, text)) for name, text in place.items()}
        methods = tuple(fields.pop("methods", ours.about.get("methods", ())))
        claim = Claim(
            notebook=self.notebook, statement=statement, kind=kind, paper_value=paper_value, ours=center, low=low, high=high,
            seeds=len(ours.values), scale=str(fields.pop("scale", ours.scale)), band=band, keys=tuple(keys) or found,
            terms=terms, methods=methods, verdict="", **place, **fields,
        )  # fmt: skip
        claim = dataclasses.replace(claim, verdict=judge(claim, parts))
        self.claims.append(claim)
        return claim


def _placed(terms: tuple) -> tuple[tuple, tuple[str, ...]]:
    """Terms with positions in place of keys, and the keys."""
    keys: dict[str, int] = {}
    placed = []
    for factor, metric, by_seed in terms:
        places = [keys.setdefault(key, len(keys)) if metric else -1 for key in by_seed.values()]
        # A factor may be a sum, whose last digits another processor computes otherwise.
        placed.append((float(f"{factor:.12g}"), metric, tuple(places)))
    return tuple(placed), tuple(keys)


def _weakest(parts: Sequence[Claim]) -> str:
    """The origin that promises least among those of the parts."""
    return max((part.origin for part in parts), key=list(ORIGINS).index)


def _one(words: Iterable[str]) -> str:
    found = list(dict.fromkeys(words))
    return found[0] if len(found) == 1 else ", ".join(word for word in found if word)
