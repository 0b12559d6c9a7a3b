"""Claims: what a paper says, what we found, and the verdict, with the rules for the verdict in one place.

Intervals are two-sided 95% t-intervals over seeds. Accuracies are counted in percent, their differences in
percentage points; the claim's words end in the unit.

A **value** is

- ``reproduced`` when our interval meets ``paper_value ± band`` and is no wider than that band, so that noise alone
  cannot do it;
- ``trend only`` when our mean lies inside the band but the interval is wider than it, or there is one seed;
- ``not reproduced`` otherwise.

A **difference** (paired: the same seeds on both sides) is

- ``reproduced`` when the interval lies above zero and, where the paper's difference is given with a band, meets that
  band;
- ``trend only`` when the mean is above zero, but the interval reaches zero or misses the band, or there is one seed;
- ``not reproduced`` otherwise.

A **fact** is a number that no seed moves, such as a count of published labels: ``reproduced`` when it is the paper's, to
within the rounding of what is printed, else ``not reproduced``.

A number **beyond chance** is set against simulations in which there is nothing to find: ``reproduced`` when it lies above
the 95% prediction interval for one more simulation, ``trend only`` when it is above a single one, else ``not reproduced``.

A claim that needs a larger scale than the runs have, or has no runs, is ``not run at paper scale``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from lib import paths
from lib.results import rows as report
from lib.results.tables import Table, is_share, number
from lib.storage import write_atomically

__all__ = [
    "SCALES",
    "VERDICTS",
    "Claim",
    "Sample",
    "beyond_chance",
    "difference",
    "fact",
    "interval",
    "load",
    "sample",
    "save",
    "table",
    "value",
]

logger = logging.getLogger(__name__)

VERDICTS = ("reproduced", "trend only", "not reproduced", "not run at paper scale")
SCALES = ("smoke", "quick", "overnight", "fast", "paper")


@dataclass(frozen=True)
class Sample:
    """One number a seed.

    Attributes:
        values: seed to number.
        scale: what the runs were made at.
        unit: ``"%"`` for accuracies, which are then in percent, else ``""``.
    """

    values: Mapping[int, float]
    scale: str
    unit: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict; a number that there is not is None.

    Attributes:
        claim: in words, with the unit at the end.
        source: paper, table or figure.
        paper_value: the paper's number.
        ours: our mean over seeds.
        ci_low, ci_high: the ends of its 95% interval.
        n_seeds: how many seeds (pairs, for a difference); 0 for a fact.
        scale: what our runs were made at.
        verdict: one of :data:`VERDICTS`.
    """

    claim: str
    source: str
    paper_value: float | None
    ours: float | None
    ci_low: float | None
    ci_high: float | None
    n_seeds: int
    scale: str
    verdict: str


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
    data = rows if isinstance(rows, pd.DataFrame) else report.frame(rows)
    wanted = {"metric": metric} | where
    for column, choice in wanted.items():
        if column not in data.columns:
            raise ValueError(f"runs cannot be chosen by {column!r}; they have {', '.join(data.columns)}")
        there = data[column].unique().tolist()
        data = data[data[column] == choice]
        if data.empty:
            if missing_ok:
                return Sample({}, str(where.get("scale", "")), "%" if is_share(metric) else "")
            raise ValueError(f"no runs with {column} {choice!r}; found {', '.join(map(repr, there)) or 'none at all'}")
    if len(set(data["scale"])) > 1 or data["seed"].duplicated().any():
        about = [name for name in data.columns if name not in ("value", "seed") and len(set(data[name])) > 1]
        raise ValueError(
            f"a sample has one value a seed, found {len(data)} values of {len(set(data['seed']))} seeds for {wanted}; "
            f"they differ in {', '.join(about) or 'settings without a name: name them by a column of report.frame()'}"
        )
    factor = 100 if is_share(metric) else 1
    values = (data.set_index("seed")["value"] * factor).sort_index().to_dict()
    return Sample(values, data["scale"].iloc[0], "%" if is_share(metric) else "")


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
    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def value(
    claim: str,
    source: str,
    ours: Sample,
    paper_value: float,
    band: float,
    *,
    needs: str | None = None,
    best_verdict: str = "reproduced",
) -> Claim:
    """A number of the paper that ours should come near to.

    Args:
        claim: in words; the unit is appended.
        source: paper, table or figure.
        ours: from :func:`sample`.
        paper_value: in the unit of ``ours`` (accuracies: percent).
        band: how far from it still counts, same unit, fixed before any run.
        needs: the scale below which the claim cannot be judged.
        best_verdict: the best that can be said at all, e.g. ``"trend only"`` where the paper's setting had to be
            guessed.

    Raises:
        ValueError: a band that is not positive, an accuracy of the paper that is not in percent, an unknown scale or
            verdict.
    """
    _check_band(band)
    if ours.unit == "%" and 0 < paper_value <= 1:
        raise ValueError(f"the paper's accuracy must be in percent, found {paper_value}")
    mean, low, high = interval(list(ours.values.values()))
    verdict = "not reproduced"
    if _meets(low, high, paper_value, band) and high - low <= 2 * band:
        verdict = "reproduced"
    elif abs(mean - paper_value) <= band:
        verdict = "trend only"
    words = f"{claim} (%)" if ours.unit else claim
    return _claim(words, source, paper_value, (mean, low, high), ours.values, ours.scale, verdict, needs, best_verdict)


def difference(
    claim: str,
    source: str,
    better: Sample,
    worse: Sample,
    paper_value: float | None = None,
    band: float | None = None,
    *,
    lower_is_better: bool = False,
    needs: str | None = None,
    best_verdict: str = "reproduced",
) -> Claim:
    """One thing is better than another, in pairs of runs with the same seed.

    Args:
        claim, source, needs, best_verdict: as in :func:`value`.
        better, worse: from :func:`sample`; only seeds that both have are used.
        paper_value: by how much the paper says it is better (positive; accuracies: percentage points).
        band: how far from it still counts; without it the paper's difference is shown and not judged.
        lower_is_better: for errors: the difference is then ``worse - better``.

    Raises:
        ValueError: no common seed, two units or scales, a band without a paper's value, or as in :func:`value`.
    """
    if better.values and worse.values and (better.unit, better.scale) != (worse.unit, worse.scale):
        sides = [f"{side.scale} {side.unit}".strip() for side in (better, worse)]
        raise ValueError(f"both sides need the same scale and unit, found {sides[0]!r} and {sides[1]!r}")
    if band is not None:
        _check_band(band)
        if paper_value is None:
            raise ValueError("a band needs the paper's value that it lies around")
    gaps = _gaps(better, worse) * (-1 if lower_is_better else 1)
    mean, low, high = interval(gaps)
    verdict = "not reproduced"
    if mean > 0:
        near = band is None or _meets(low, high, paper_value, band)
        verdict = "reproduced" if low > 0 and near else "trend only"
    words = f"{claim} (points)" if better.unit else claim
    scale = (better if better.values else worse).scale
    return _claim(words, source, paper_value, (mean, low, high), gaps, scale, verdict, needs, best_verdict)


def fact(claim: str, source: str, ours: float, paper_value: float, scale: str, *, band: float = 0.0) -> Claim:
    """A number that no seed moves, against the paper's.

    Args:
        claim: in words, with the unit at the end.
        source: paper, table or figure.
        ours, paper_value: in the same unit.
        scale: of the notebook that counted it.
        band: how far from it still counts: 0 for a count, half a unit of the last digit for a rounded number.

    Raises:
        ValueError: a negative band, or an unknown scale.
    """
    if not band >= 0:
        raise ValueError(f"the band must be at least 0, found {band}")
    verdict = "reproduced" if abs(ours - paper_value) <= band else "not reproduced"
    ends = (float(ours), math.nan, math.nan)
    return replace(_claim(claim, source, paper_value, ends, [ours], scale, verdict, None, "reproduced"), n_seeds=0)


def beyond_chance(claim: str, source: str, ours: float, chance: Sample) -> Claim:
    """One number from data is larger than chance would make it.

    Args:
        claim, source: as in :func:`value`; what is shown is by how much, in the unit of ``ours``.
        ours: the number found.
        chance: the same number of simulations without anything to find, by seed.

    Returns:
        A claim whose interval is the difference's, from the spread of the simulations: its width is that of the 95%
        prediction interval for one more of them.

    Raises:
        ValueError: no simulations, or an unknown scale.
    """
    if not chance.values:
        raise ValueError("chance needs simulations, found none")
    mean, low, _ = interval(list(chance.values.values()))
    half = (mean - low) * math.sqrt(len(chance.values) + 1)  # of a draw, not of the mean of all
    excess = ours - mean
    above = "trend only" if math.isnan(half) else "reproduced"
    verdict = above if excess > (0 if math.isnan(half) else half) else "not reproduced"
    ends = (excess, excess - half, excess + half)
    return _claim(claim, source, None, ends, chance.values, chance.scale, verdict, None, "reproduced")


def table(claims: Sequence[Claim]) -> Table:
    """Claims for a reader: a table of strings."""
    head = ["claim", "source", "paper", "ours [95% interval]", "seeds", "scale", "verdict"]
    lines = [
        [c.claim, c.source, _number(c, c.paper_value), _with_interval(c), _seeds(c), c.scale or "–", c.verdict] for c in claims
    ]
    return Table(lines, columns=head)


def save(notebook: str, claims: Sequence[Claim]) -> None:
    """Write ``figures/<notebook>/claims.json``; numbers to six significant digits, so that the file is stable.

    Raises:
        ValueError: two claims in the same words, by which the drift report tells them apart.
        OSError: it could not be written.
    """
    words = [claim.claim for claim in claims]
    if again := sorted({text for text in words if words.count(text) > 1}):
        raise ValueError(f"two claims read {again[0]!r}; give each words of its own")
    lines = [{name: _stable(entry) for name, entry in dataclasses.asdict(claim).items()} for claim in claims]
    text = json.dumps(lines, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(paths.figures(notebook) / "claims.json", f"{text}\n")


def load(path: Path) -> list[Claim]:
    """The claims of a ``claims.json``.

    Raises:
        ValueError: not a list of claims; the message names the file and what is wrong.
    """
    try:
        claims = [Claim(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no list of claims: {error}") from error
    if strange := [claim.verdict for claim in claims if claim.verdict not in VERDICTS]:
        raise ValueError(f"{path} has the verdict {strange[0]!r}; expected one of {', '.join(VERDICTS)}")
    return claims


def _claim(words, source, paper_value, ours, values, scale, verdict, needs, best_verdict) -> Claim:
    for name, known in ((needs, SCALES), (best_verdict, VERDICTS[:3]), (scale or None, SCALES)):
        if name is not None and name not in known:
            raise ValueError(f"expected one of {', '.join(known)}; found {name!r}")
    verdict = max(verdict, best_verdict, key=VERDICTS.index)
    if len(values) == 0 or (needs is not None and SCALES.index(scale) < SCALES.index(needs)):
        verdict = "not run at paper scale"
    mean, low, high = (None if math.isnan(number) else number for number in ours)
    theirs = None if paper_value is None else float(paper_value)  # a number of NumPy would not go into the file
    return Claim(words, source, theirs, mean, low, high, len(values), scale, verdict)


def _gaps(better: Sample, worse: Sample) -> np.ndarray:
    """``better - worse`` for the seeds that both have; what is only rounding is zero."""
    seeds = sorted(set(better.values) & set(worse.values))
    if not seeds and better.values and worse.values:
        raise ValueError(f"no common seed: {sorted(better.values)} and {sorted(worse.values)}")
    if len(seeds) < max(len(better.values), len(worse.values)):
        logger.warning("of %d and %d seeds, %d in common", len(better.values), len(worse.values), len(seeds))
    first = np.array([better.values[seed] for seed in seeds], dtype=float)
    second = np.array([worse.values[seed] for seed in seeds], dtype=float)
    gaps = first - second
    gaps[np.abs(gaps) <= 1e-12 * np.maximum(np.abs(first), np.abs(second))] = 0
    return gaps


def _check_band(band: float) -> None:
    if not band > 0:
        raise ValueError(f"the band must be positive, found {band}")


def _meets(low: float, high: float, center: float, band: float) -> bool:
    return low <= center + band and high >= center - band  # False where the interval is NaN


def _stable(entry: object) -> object:
    return float(f"{entry:.6g}") + 0.0 if isinstance(entry, float) else entry  # + 0.0 turns -0.0 into 0.0


def _number(claim: Claim, entry: float | None) -> str:
    return number(entry, 1 if claim.claim.endswith(("(%)", "(points)")) else 3)


def _seeds(claim: Claim) -> str:
    return "–" if claim.n_seeds == 0 and claim.ours is not None else str(claim.n_seeds)  # a fact has none


def _with_interval(claim: Claim) -> str:
    ours = _number(claim, claim.ours)
    if claim.ci_low is None:
        return ours
    return f"{ours} [{_number(claim, claim.ci_low)}, {_number(claim, claim.ci_high)}]"


LIFT_COLUMNS = ["dataset", "case", "method", "metric", "mean", "ci_low", "ci_high", "n_seeds"]


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
    return pd.DataFrame([line for line in lines if line[-1]], columns=LIFT_COLUMNS)


def mean_sample(frame: pd.DataFrame, metric: str, methods: Sequence[str], **where: object) -> Sample:
    """The mean over several methods, by seed: what can be said of all of them together on one crowd.

    Args:
        frame: from ``rows.frame``.
        metric: shares are returned in percent.
        methods: all of which a seed needs, or it is left out.
        where: what other columns must be.

    Returns:
        For ``claims.difference``; empty where no seed has all methods.
    """
    data = frame[(frame["metric"] == metric) & frame["method"].isin(list(methods))]
    for column, wanted in where.items():
        data = data[data[column] == wanted]
    wide = data.pivot_table(index="seed", columns="method", values="value").reindex(columns=list(methods)).dropna()
    values = wide.mean(axis=1) * (100 if is_share(metric) else 1)
    scale = str(data["scale"].iloc[0]) if len(data) else ""
    return Sample(values.to_dict(), scale, "%" if is_share(metric) else "")
