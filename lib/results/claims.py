"""Claims: what a paper says, what came out here, and the verdict. The rules for the verdict stand here and nowhere else.

A claim is a **value** (our number should be near the paper's), a **difference** (one thing is better than another, in pairs of
runs with the same seed) or a **fact** (a number that no seed moves, or how many parts of a statement hold). Intervals are
two-sided 95 % t-intervals over seeds. Shares are counted in percent, their differences in percentage points.

============================  ==========================================================================================
verdict                       when
============================  ==========================================================================================
reproduced                    value: the whole interval lies inside ``paper ± band``; difference: the interval lies above
                              zero and our mean is at least half of the paper's difference (where the paper prints none,
                              above zero is enough: it is an order); fact: equal to within the band; statement in parts:
                              every part is reproduced
direction only                difference: the interval lies above zero, the mean is below half of the paper's difference;
                              in parts: every part lies above zero, not all reach half
inconclusive                  value: the interval reaches into the band and out of it; difference: it holds zero; a single
                              seed; in parts: some part is inconclusive, none is contradicted
contradicted                  value: the interval lies outside the band; difference: it lies below zero; fact: another
                              number; in parts: at least one is contradicted
holds on our reconstruction   what would be "reproduced" if data, method and scale were the paper's: the most that a
                              claim of origin "reconstruction" can reach
not run at paper scale        no runs, or smaller ones than the claim needs
============================  ==========================================================================================

Origins are counted apart, always: ``paper number`` (printed in the paper or stored in its authors' notebooks, on its own
data), ``paper order`` (an order or statement without a number), ``reconstruction`` (a crowd or method rebuilt by us, other
images, a far smaller scale, a third party's number), ``ours`` (our own control or question).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from lib import paths
from lib.results.rows import frame as as_frame
from lib.results.tables import MISSING, Table, is_share, number
from lib.storage import write_atomically

__all__ = [
    "KINDS",
    "ORIGINS",
    "SCALES",
    "VERDICTS",
    "Book",
    "Claim",
    "Prose",
    "Sample",
    "beyond_chance",
    "chance",
    "constant",
    "filled",
    "holm",
    "interval",
    "judge",
    "lifts",
    "load",
    "mean",
    "mean_sample",
    "recompute",
    "sample",
    "save",
    "shown",
    "spanned",
    "table",
]

logger = logging.getLogger(__name__)

VERDICTS = (
    "reproduced",
    "direction only",
    "inconclusive",
    "contradicted",
    "not run at paper scale",
    "holds on our reconstruction",
)
ORIGINS = ("paper number", "paper order", "reconstruction", "ours")
KINDS = ("value", "difference", "fact")
SCALES = ("smoke", "quick", "overnight", "fast", "paper")
COLUMNS = ["dataset", "case", "method", "metric", "mean", "ci_low", "ci_high", "n_seeds"]  # of lifts
UNITS = {"r2": "R²", "confusion": "L1", "posterior": "L1", "bias": "RMS", "mae": "MAE", "rmse": "RMSE", "pearson": "r"}


# ---------------------------------------------------------------------- samples


@dataclass(frozen=True)
class Sample:
    """One number a seed, and the rows that it comes from.

    Attributes:
        values: seed to number; shares in percent.
        scale: what the runs were made at.
        unit: ``"%"``, ``"points"``, ``"L1"``, ...
        terms: how each value is computed: triples of a factor, a metric and the ledger key of each seed's row; the value is
            the sum of factor times metric. A term without a metric is a constant. Empty where it comes from no rows.
        about: dataset, case, methods, metric, for the claim.
    """

    values: Mapping[int, float]
    scale: str
    unit: str = ""
    terms: tuple[tuple[float, str, Mapping[int, str]], ...] = ()
    about: Mapping[str, object] = field(default_factory=dict)

    def __sub__(self, other: Sample) -> Sample:
        """This minus the other, for the seeds that both have; what is only rounding is zero.

        Raises:
            ValueError: other scales or units, or no common seed.
        """
        return _combined({1.0: self, -1.0: other}.items())

    @property
    def mean(self) -> float:
        """The mean over seeds; NaN without any."""
        return float(np.mean(list(self.values.values()))) if self.values else math.nan


def sample(rows: Iterable[dict | None] | pd.DataFrame, metric: str, missing_ok: bool = False, **where: object) -> Sample:
    """The values of one metric, by seed.

    Args:
        rows: ledger rows, or a table from ``rows.frame``.
        metric: as in the rows.
        missing_ok: whether finding nothing gives an empty sample, whose claim then reads "not run at paper scale".
        where: what the table's columns must be, such as ``method="majority-vote"``, ``dataset="labelme"``.

    Raises:
        ValueError: nothing fits, several values of one seed, several scales, or a column that is not there.
    """
    data = rows if isinstance(rows, pd.DataFrame) else as_frame(rows)
    unit, factor = _unit(metric), 100 if is_share(metric) else 1
    wanted = {"metric": metric} | where
    for column, choice in wanted.items():
        if column not in data.columns:
            raise ValueError(f"runs cannot be chosen by {column!r}; they have {', '.join(data.columns)}")
        there = data[column].unique().tolist()
        data = data[data[column] == choice]
        if data.empty:
            if missing_ok:
                methods = [str(where["method"])] if "method" in where else []
                return Sample({}, str(where.get("scale", "")), unit, about={"methods": methods, "metric": metric})
            raise ValueError(f"no runs with {column} {choice!r}; found {', '.join(map(repr, there)) or 'none at all'}")
    if len(set(data["scale"])) > 1 or data["seed"].duplicated().any():
        about = [name for name in data.columns if name not in ("value", "seed", "key") and len(set(data[name])) > 1]
        raise ValueError(
            f"a sample has one value a seed, found {len(data)} values of {len(set(data['seed']))} seeds for {wanted}; "
            f"they differ in {', '.join(about) or 'settings without a name: name them by a column of frame()'}"
        )
    data = data.sort_values("seed")
    seeds = [int(seed) for seed in data["seed"]]
    values = dict(zip(seeds, (data["value"] * factor).tolist(), strict=True))
    keys = data["key"].tolist() if "key" in data.columns else [None] * len(seeds)
    terms = () if None in keys else ((float(factor), metric, dict(zip(seeds, keys, strict=True))),)
    about = {name: str(data[name].iloc[0]) for name in ("dataset", "case")}
    about |= {"methods": [str(data["method"].iloc[0])], "metric": metric}
    return Sample(values, str(data["scale"].iloc[0]), unit, terms, about)


def constant(value: float, like: Sample) -> Sample:
    """The same number for every seed of another sample, such as the error of a flat start."""
    term = (float(value), "", dict.fromkeys(like.values, ""))
    return dataclasses.replace(like, values=dict.fromkeys(like.values, float(value)), terms=(term,), about={})


def mean(samples: Sequence[Sample]) -> Sample:
    """The mean of several samples, by seed, for the seeds that all have; empty where one of them is."""
    return _combined([(1 / len(samples), one) for one in samples], difference=False)


def mean_sample(frame: pd.DataFrame, metric: str, methods: Sequence[str], **where: object) -> Sample:
    """The mean over several methods, by seed: what can be said of all of them together on one crowd.

    Args:
        frame: from ``rows.frame``.
        metric: shares are returned in percent.
        methods: all of which a seed needs, or it is left out.
        where: what other columns must be.

    Returns:
        For a difference; empty where no seed has all methods.
    """
    return mean([sample(frame, metric, missing_ok=True, method=name, **where) for name in methods])


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and the ends of its two-sided t-interval; the ends are NaN for fewer than two values.

    Raises:
        ValueError: a value is not finite.
    """
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"values must be finite, found {values[~np.isfinite(values)][0]}")
    if len(values) < 2:
        return (float(values.mean()) if len(values) else math.nan), math.nan, math.nan
    center = float(values.mean())
    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return center, center - half, center + half


def spanned(sample: Sample) -> str:
    """A sample's mean and interval as they are shown: ``6.4 [3.3, 9.5]``."""
    digits = 1 if _plain(sample.unit) == "%" else 3
    center, low, high = interval(list(sample.values.values()))
    text = number(center, digits)
    return text if math.isnan(low) else f"{text} [{number(low, digits)}, {number(high, digits)}]"


def _combined(parts: Iterable[tuple[float, Sample]], difference: bool = True) -> Sample:
    """The sum of factor times sample, for the seeds that all have."""
    parts = list(parts)
    samples = [one for _, one in parts]
    full = [one for one in samples if one.values]
    if len({(one.scale, _plain(one.unit)) for one in full}) > 1:
        sides = sorted({f"{one.scale} {one.unit}".strip() for one in full})
        raise ValueError(f"both sides need the same scale and unit, found {' and '.join(map(repr, sides))}")
    seeds = sorted(set.intersection(*(set(one.values) for one in samples))) if samples else []
    if not seeds and len(full) == len(samples) and samples:
        raise ValueError(f"no common seed: {', '.join(str(sorted(one.values)) for one in samples)}")
    if seeds and len(seeds) < max(len(one.values) for one in samples):
        logger.warning("of %s seeds, %d in common", ", ".join(str(len(one.values)) for one in samples), len(seeds))
    values = {}
    for seed in seeds:
        value = sum(factor * one.values[seed] for factor, one in parts)
        largest = max(abs(factor * one.values[seed]) for factor, one in parts)
        values[seed] = 0.0 if abs(value) <= 1e-12 * largest else value
    terms = [
        (factor * weight, metric, {seed: keys[seed] for seed in seeds})
        for factor, one in parts
        for weight, metric, keys in one.terms
    ]
    unit = samples[0].unit if samples else ""
    unit = "points" if difference and unit == "%" else unit
    known = seeds and all(one.terms for one in samples)
    scale = next((one.scale for one in samples if one.scale), "")
    return Sample(values, scale, unit, tuple(terms) if known else (), _about(samples))


def _about(samples: Sequence[Sample]) -> dict[str, object]:
    methods, about = [], {}
    for one in samples:
        methods += [name for name in one.about.get("methods", []) if name not in methods]
        for name in ("dataset", "case", "metric"):
            if name in one.about:
                found = about.setdefault(name, [])
                found += [one.about[name]] if one.about[name] not in found else []
    return {name: found[0] if len(found) == 1 else ", ".join(found) for name, found in about.items()} | {"methods": methods}


def _plain(unit: str) -> str:
    return "%" if unit == "points" else unit


def _unit(metric: str) -> str:
    if is_share(metric):
        return "%"
    return next((UNITS[word] for word in metric.split("_") if word in UNITS), "")


# ---------------------------------------------------------------------- claims


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict; a number that there is not is None.

    Attributes:
        id: unique over all notebooks; it stays when words change.
        notebook, paper, locator: where it is decided, whose it is, and where the paper says it.
        statement: one plain sentence.
        origin: one of :data:`ORIGINS`.
        headline: whether it is one of the one to three that the notebook is about.
        dataset, case, methods, metric: what the rows behind it are of.
        unit: of all its numbers.
        paper_value: as the paper prints it.
        ours, low, high: our mean over seeds and the ends of its 95 % interval.
        seeds: how many (pairs, for a difference); 0 for a fact.
        scale: what the runs were made at.
        band: how far from the paper's value still counts.
        kind: one of :data:`KINDS`.
        keys: of the ledger rows behind it.
        verdict: one of :data:`VERDICTS`.
        terms: how ours comes from the rows: triples of factor, metric and positions in ``keys``, one a seed.
        parts: ids of the claims that a statement in parts is decided by.
        needs: the scale below which it cannot be judged.
    """

    id: str
    notebook: str
    paper: str
    locator: str
    statement: str
    origin: str
    headline: bool
    dataset: str
    case: str
    methods: tuple[str, ...]
    metric: str
    unit: str
    paper_value: str | None
    ours: float | None
    low: float | None
    high: float | None
    seeds: int
    scale: str
    band: float | None
    kind: str
    keys: tuple[str, ...]
    verdict: str
    terms: tuple = ()
    parts: tuple[str, ...] = ()
    needs: str | None = None


def judge(claim: Claim, parts: Sequence[Claim] = ()) -> str:
    """The verdict that the rules of this module give a claim's numbers.

    Args:
        claim: its own verdict is not looked at.
        parts: the claims named in ``claim.parts``.
    """
    small = claim.needs is not None and SCALES.index(claim.scale or "smoke") < SCALES.index(claim.needs)
    if claim.ours is None or small:
        return "not run at paper scale"
    verdict = _judge_parts(parts) if claim.parts else _judge_numbers(claim)
    return "holds on our reconstruction" if verdict == "reproduced" and claim.origin == "reconstruction" else verdict


def _judge_numbers(claim: Claim) -> str:
    printed = None if claim.paper_value is None else float(claim.paper_value)
    if claim.kind == "fact":
        return "reproduced" if abs(claim.ours - printed) <= (claim.band or 0) + 1e-9 else "contradicted"
    if claim.low is None:  # a single seed says nothing about noise
        return "inconclusive"
    if claim.kind == "value":
        least, most = printed - claim.band, printed + claim.band
        if least <= claim.low and claim.high <= most:
            return "reproduced"
        return "contradicted" if claim.high < least or claim.low > most else "inconclusive"
    if claim.low > 0:
        return "reproduced" if printed is None or claim.ours >= printed / 2 else "direction only"
    return "contradicted" if claim.high < 0 else "inconclusive"


def _judge_parts(parts: Sequence[Claim]) -> str:
    verdicts = {part.verdict for part in parts}
    for verdict in ("contradicted", "not run at paper scale", "inconclusive", "direction only"):
        if verdict in verdicts:
            return verdict
    return "reproduced"


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
        return self._add(id, statement, "value", ours, interval(list(ours.values.values())), paper_value, band, about)

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
        ends = interval(list(gap.values.values()))
        return self._add(id, statement, "difference", gap, ends, paper_value, None, about)

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
        ends = beyond_chance(ours, chance)
        return self._add(id, statement, "difference", dataclasses.replace(chance, terms=()), ends, None, None, about)

    def every(self, id: str, statement: str, parts: Sequence[Claim], **about: object) -> Claim:
        """A statement that holds when each of its parts does; ours is how many parts hold, the paper's how many there are.

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
        ends = (float(held) if run else math.nan, math.nan, math.nan)
        return self._add(id, statement, "fact", only, ends, str(len(parts)), None, about, keys, parts)

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

    def _add(self, id, statement, kind, ours: Sample, ends, paper_value, band, about, keys=(), parts=()) -> Claim:
        fields = {"headline": False, "parts": (), "unit": ours.unit} | self._given | about
        fields["id"] = f"{self.notebook.split('_')[0]}-{id}"
        if fields["id"] in {claim.id for claim in self.claims}:
            raise ValueError(f"two claims of {self.notebook} are called {fields['id']!r}")
        for name, known in (("origin", ORIGINS), ("needs", (None, *SCALES))):
            if fields[name] not in known:
                raise ValueError(f"expected one of {', '.join(map(str, known))}; found {fields[name]!r}")
        center, low, high = (None if math.isnan(end) else _stable(end) for end in ends)
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


def beyond_chance(ours: float, chance: Sample) -> tuple[float, float, float]:
    """By how much a number exceeds what chance makes it.

    Args:
        ours: the number found.
        chance: the same number of simulations without anything to find, by seed.

    Returns:
        The excess over the simulations' mean and the ends of its 95 % prediction interval, from their spread.

    Raises:
        ValueError: no simulations.
    """
    if not chance.values:
        raise ValueError("chance needs simulations, found none")
    center, low, _ = interval(list(chance.values.values()))
    half = (center - low) * math.sqrt(len(chance.values) + 1)  # of a draw, not of the mean of all
    return ours - center, ours - center - half, ours - center + half


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
    return max((part.origin for part in parts), key=ORIGINS.index)


def _one(words: Iterable[str]) -> str:
    found = list(dict.fromkeys(words))
    return found[0] if len(found) == 1 else ", ".join(word for word in found if word)


def _stable(entry: object) -> object:
    return float(f"{entry:.6g}") + 0.0 if isinstance(entry, float) else entry  # + 0.0 turns -0.0 into 0.0


# ---------------------------------------------------------------------- files, and back to the rows


def save(notebook: str, claims: Sequence[Claim]) -> None:
    """Write ``figures/<notebook>/claims.json``; numbers to six significant digits, so that the file is stable.

    Each entry also has ``shown``, our number as it stands everywhere, for readers without this module.

    Raises:
        OSError: it could not be written.
    """
    entries = [dataclasses.asdict(claim) | {"shown": shown(claim)} for claim in claims]
    lines = [json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries]
    text = "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
    write_atomically(paths.figures(notebook) / "claims.json", text)


def load(path: Path) -> list[Claim]:
    """The claims of a ``claims.json``.

    Raises:
        ValueError: not a list of claims; the message names the file and what is wrong.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))
        for entry in entries:
            del entry["shown"]
        claims = [Claim(**{name: _frozen(entry) for name, entry in line.items()}) for line in entries]
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"{path} is no list of claims: {error!r}") from error
    for name, known in (("verdict", VERDICTS), ("origin", ORIGINS), ("kind", KINDS)):
        if strange := [getattr(claim, name) for claim in claims if getattr(claim, name) not in known]:
            raise ValueError(f"{path} has the {name} {strange[0]!r}; expected one of {', '.join(known)}")
    return claims


def misprinted(path: Path) -> list[str]:
    """A line for each claim of a ``claims.json`` whose number is not shown as its other fields say."""
    texts = {entry["id"]: entry["shown"] for entry in json.loads(path.read_text("utf-8"))}
    return [
        f"{path.name}, claim {claim.id!r}: shown as {texts[claim.id]!r}, its numbers say {shown(claim)!r}"
        for claim in load(path)
        if texts[claim.id] != shown(claim)
    ]


def recompute(claim: Claim, rows: Mapping[str, Mapping], others: Mapping[str, Claim] | None = None) -> Claim | None:
    """A claim made again from the rows behind it.

    Args:
        claim: as it is written.
        rows: ledger rows by key; all keys of the claim must be there.
        others: claims by id, for one in parts, which is made from its parts made again.

    Returns:
        The claim with numbers and verdict made anew; None for one that comes from no rows, or from more than their metrics (a
        count of published labels, a simulation, a history), whose notebook alone can make it again.

    Raises:
        KeyError: a key without a row.
    """
    if claim.parts:
        parts = [recompute(others[name], rows, others) or others[name] for name in claim.parts]
        held = sum(part.verdict in ("reproduced", "holds on our reconstruction") for part in parts)
        run = any(part.ours is not None for part in parts)
        claim = dataclasses.replace(claim, ours=float(held) if run else None)
        return dataclasses.replace(claim, verdict=judge(claim, parts))
    metrics = [rows[key]["metrics"] for key in claim.keys]
    kept = all(metric in metrics[at] for _, metric, places in claim.terms if metric for at in places)
    if not claim.terms or not kept:
        return None
    values = []
    for places in zip(*(places for _, _, places in claim.terms), strict=True):
        parts = [
            factor * (metrics[at][metric] if metric else 1.0)
            for (factor, metric, _), at in zip(claim.terms, places, strict=True)
        ]
        total = sum(parts)
        values.append(0.0 if abs(total) <= 1e-12 * max(map(abs, parts)) else total)
    center, low, high = (None if math.isnan(end) else _stable(end) for end in interval(values))
    claim = dataclasses.replace(claim, ours=center, low=low, high=high, seeds=len(values))
    return dataclasses.replace(claim, verdict=judge(claim))


def _frozen(entry: object) -> object:
    return tuple(_frozen(part) for part in entry) if isinstance(entry, list) else entry


# ---------------------------------------------------------------------- many claims


def chance(claims: Iterable[Claim]) -> tuple[int, float]:
    """How many differences were tried, and how many of them noise alone would put above zero (one in forty)."""
    tried = sum(claim.kind == "difference" and claim.low is not None for claim in claims)
    return tried, 0.025 * tried


def holm(claims: Iterable[Claim], level: float = 0.05) -> set[str]:
    """The ids of the headline differences that stay above zero when a notebook's headline claims are taken together.

    Holm's step-down rule on the two-sided t-tests within each notebook. A statement in parts counts with its least certain
    part.

    Args:
        claims: all, since parts need not be headlines.
        level: of the family-wise error.
    """
    known = {claim.id: claim for claim in claims}
    by_notebook: dict[str, list[tuple[float, str]]] = {}
    for claim in known.values():
        if claim.headline and (p := _p_value(claim, known)) is not None:
            by_notebook.setdefault(claim.notebook, []).append((p, claim.id))
    kept = set()
    for tests in by_notebook.values():
        for place, (p, id) in enumerate(sorted(tests)):
            if p > level / (len(tests) - place):
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


def lifts(frame: pd.DataFrame, metric: str, methods: Sequence[str], added: Callable[[str], str]) -> pd.DataFrame:
    """Mean paired difference, with addition minus without, and its 95 % t-interval over the seeds that both have.

    Args:
        frame: from ``rows.frame``: one line a (run, metric).
        metric: shares become percentage points.
        methods: to look at, in this order; those without a pair on a crowd have no line there.
        added: from a method's name to its name with the addition.

    Returns:
        Columns dataset, case, method (without the addition), metric, mean, ci_low, ci_high, n_seeds; the ends are NaN for a
        single seed.

    Raises:
        ValueError: two values of one seed on either side.
    """
    data, lines = frame[frame["metric"] == metric], []
    for (dataset, case), part in data.groupby(["dataset", "case"], sort=False):
        if part.duplicated(["method", "seed"]).any():
            raise ValueError(f"two values of one method and seed on {dataset} ({case}): name what differs")
        wide = part.pivot_table(index="seed", columns="method", values="value") * (100 if is_share(metric) else 1)
        for method in methods:
            if {method, added(method)} <= set(wide):
                gaps = (wide[added(method)] - wide[method]).dropna()
                lines.append([dataset, case, method, metric, *interval(gaps.to_numpy()), len(gaps)])
    return pd.DataFrame([line for line in lines if line[-1]], columns=COLUMNS)


# ---------------------------------------------------------------------- for a reader


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
        counts = Counter(claim.verdict for claim in rest)
        words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
        summary = f"<summary>{len(rest)} more claims: {words}</summary>"
        return f"{table(first)._repr_html_()}\n<details>{summary}\n{table(rest)._repr_html_()}\n</details>"


@dataclass(frozen=True)
class Prose:
    """Text in Markdown as a notebook's output, for sentences with numbers that code puts in."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def table(claims: Sequence[Claim]) -> Table:
    """Claims for a reader: a table of strings; what is alike in all is said once, in the caption."""
    head = ["claim", "origin", "paper", "ours [95 % interval]", "unit", "seeds", "scale", "verdict"]
    lines = [
        [
            c.statement,
            _origin(c),
            c.paper_value or MISSING,
            shown(c),
            c.unit or MISSING,
            _seeds(c),
            c.scale or MISSING,
            c.verdict,
        ]
        for c in claims
    ]
    return Table(lines, columns=head).folded("origin", "seeds", "scale")


def shown(claim: Claim, unit: bool = False) -> str:
    """Our number with its interval, as it stands everywhere: ``6.4 [3.3, 9.5]``, with the unit where that is asked for."""
    digits = 0 if claim.parts else 1 if _plain(claim.unit) in ("%", "annotators") else 3
    if claim.kind == "fact" and not claim.parts:
        digits = max(0, -Decimal(claim.paper_value).as_tuple().exponent)
    text = number(claim.ours, digits)
    if claim.low is not None:
        text = f"{text} [{number(claim.low, digits)}, {number(claim.high, digits)}]"
    if not unit or claim.ours is None or not claim.unit:
        return text
    return f"{text} {'%' if claim.unit == '%' else claim.unit}"


def filled(text: str, claims: Mapping[str, Claim]) -> str:
    """Prose with numbers put in from claims.

    Args:
        text: ``{10-mw-mv}`` becomes ours with interval and unit, ``{10-mw-mv:ours}`` the mean alone, ``{10-mw-mv:paper}`` the
            paper's value, ``{10-mw-mv:verdict}`` the verdict.
        claims: by id.

    Raises:
        ValueError: a claim or a part of it that there is not.
    """

    def fill(match: re.Match) -> str:
        id, _, part = match[1].partition(":")
        if id not in claims:
            raise ValueError(f"there is no claim {id!r}, named in {text[:80]!r}")
        claim = claims[id]
        words = {
            "": shown(claim, unit=True),
            "ours": shown(dataclasses.replace(claim, low=None, high=None), unit=True),
            "paper": f"{claim.paper_value} {claim.unit}".strip(),
            "verdict": claim.verdict,
        }
        if part not in words:
            raise ValueError(f"{match[0]!r} asks for {part!r} of a claim; there are {', '.join(filter(None, words))}")
        return words[part]

    return re.sub(r"\{(\d\d-[^{}\s]+)\}", fill, text)


def _origin(claim: Claim) -> str:
    return f"{claim.origin}: {claim.locator}" if claim.locator else claim.origin


def _seeds(claim: Claim) -> str:
    return MISSING if claim.seeds == 0 else str(claim.seeds)
