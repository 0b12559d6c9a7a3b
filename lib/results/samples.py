"""Samples: one number a seed, its mean and interval, differences of two, and the rows that they come from.

Intervals are two-sided 95 % t-intervals over seeds. Where each run kept which test items it got right, they are over seeds and
test items: the half width is the root of the summed squares of two, that over the seeds' means and that over the items' means.
Both sides of a difference are paired by seed and by item.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from lib import paths
from lib.results import tables
from lib.results.rows import frame as as_frame
from lib.results.tables import is_share
from lib.runs import ledger

__all__ = [
    "BOTH", "SEEDS", "Sample", "beyond_chance", "combined", "constant", "ends", "interval", "joined", "lifts", "mean",
    "mean_sample", "per_item", "plain", "sample", "spanned", "stable",
]  # fmt: skip

logger = logging.getLogger(__name__)

SEEDS, BOTH = "seeds", "seeds and test items"  # what an interval is over
UNITS = {"r2": "R²", "confusion": "L1", "posterior": "L1", "bias": "RMS", "mae": "MAE", "rmse": "RMSE", "pearson": "r"}


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
        items: seed to ``[test items]`` numbers whose mean is that seed's value; empty where they were not kept.
    """

    values: Mapping[int, float]
    scale: str
    unit: str = ""
    terms: tuple[tuple[float, str, Mapping[int, str]], ...] = ()
    about: Mapping[str, object] = field(default_factory=dict)
    items: Mapping[int, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def __sub__(self, other: Sample) -> Sample:
        """This minus the other, for the seeds that both have; raises ValueError as :func:`combined`."""
        return combined([(1.0, self), (-1.0, other)], "points" if self.unit == "%" else self.unit)

    @property
    def over(self) -> str:
        """What the interval of :func:`ends` is over."""
        return BOTH if self.items else SEEDS

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
    factor, unit = (100.0, "%") if is_share(metric) else (1.0, next((UNITS[w] for w in metric.split("_") if w in UNITS), ""))
    wanted = {"metric": metric} | where
    for column, choice in wanted.items():
        if column not in data.columns:
            raise ValueError(f"runs cannot be chosen by {column!r}; they have {', '.join(data.columns)}")
        there = data[column].unique().tolist()
        data = data[data[column] == choice]
        if data.empty and not missing_ok:
            raise ValueError(f"no runs with {column} {choice!r}; found {', '.join(map(repr, there)) or 'none at all'}")
    if data.empty:
        methods = [str(where["method"])] if "method" in where else []
        return Sample({}, str(where.get("scale", "")), unit, about={"methods": methods, "metric": metric})
    if len(set(data["scale"])) > 1 or data["seed"].duplicated().any():
        differ = [name for name in data.columns if name not in ("value", "seed", "key") and len(set(data[name])) > 1]
        raise ValueError(
            f"a sample has one value a seed, found {len(data)} values of {len(set(data['seed']))} seeds for {wanted}; "
            f"they differ in {', '.join(differ) or 'settings without a name: name them by a column of frame()'}"
        )
    data = data.sort_values("seed")
    seeds = [int(seed) for seed in data["seed"]]
    values = dict(zip(seeds, (data["value"] * factor).tolist(), strict=True))
    first = data.iloc[0]
    about = {"dataset": str(first["dataset"]), "case": str(first["case"]), "methods": [str(first["method"])], "metric": metric}
    found = Sample(values, str(first["scale"]), unit, about=about)
    if "key" not in data.columns or data["key"].isna().any():
        return found
    terms = ((factor, metric, dict(zip(seeds, data["key"].tolist(), strict=True))),)
    return replace(found, terms=terms, items=_items(data, metric, factor))


def _items(data: pd.DataFrame, metric: str, factor: float) -> dict[int, np.ndarray]:
    """By seed the numbers of the test items, in the unit of the values; empty unless every run has them."""
    folders = (paths.reference() / "arrays", paths.runs())
    runs = list(data[["seed", "experiment", "key"]].itertuples(index=False))
    if not metric.startswith("test_acc_") or not all(
        any((folder / run.experiment / f"{run.key}.npz").exists() for folder in folders) for run in runs
    ):
        return {}
    rows = ledger.lookup(data["experiment"])
    found = {int(run.seed): per_item(rows.get(run.key, {}), metric) for run in runs}
    return {} if any(one is None for one in found.values()) else {seed: factor * one for seed, one in found.items()}


def per_item(row: Mapping, metric: str) -> np.ndarray | None:
    """``[test items]`` 1 where a run was right and 0 where not, in the metric's epoch; None where it was not kept."""
    name = metric.replace("test_acc", "correct", 1)
    if name not in ledger.names(row):
        return None
    bits = np.unpackbits(ledger.arrays(row)[name])
    share = row["metrics"][metric]
    return bits[: round(bits.sum() / share) if share else len(bits)].astype(float)  # without the last byte's filling


def constant(value: float, like: Sample) -> Sample:
    """The same number for every seed of another sample, such as the error of a flat start."""
    term = (float(value), "", dict.fromkeys(like.values, ""))
    items = dict.fromkeys(like.items, np.asarray(float(value)))
    return replace(like, values=dict.fromkeys(like.values, float(value)), terms=(term,), about={}, items=items)


def mean(samples: Sequence[Sample]) -> Sample:
    """The mean of several samples, by seed, for the seeds that all have; empty where one of them is."""
    return combined([(1 / len(samples), one) for one in samples], samples[0].unit if samples else "")


def mean_sample(frame: pd.DataFrame, metric: str, methods: Iterable[str], **where: object) -> Sample:
    """The mean over several methods of a table of ``rows.frame``, by seed; empty where no seed has all of them."""
    return mean([sample(frame, metric, missing_ok=True, method=name, **where) for name in methods])


def combined(parts: Sequence[tuple[float, Sample]], unit: str) -> Sample:
    """The sum of factor times sample, for the seeds that all have; what is only rounding is zero.

    Raises ValueError for other scales or units, or no common seed.
    """
    samples = [one for _, one in parts]
    full = [one for one in samples if one.values]
    if len({(one.scale, plain(one.unit)) for one in full}) > 1:
        sides = sorted({f"{one.scale} {one.unit}".strip() for one in full})
        raise ValueError(f"both sides need the same scale and unit, found {' and '.join(map(repr, sides))}")
    seeds = sorted(set.intersection(*(set(one.values) for one in samples))) if samples else []
    if not seeds and len(full) == len(samples) > 0:
        raise ValueError(f"no common seed: {', '.join(str(sorted(one.values)) for one in samples)}")
    if seeds and len(seeds) < max(len(one.values) for one in samples):
        logger.warning("of %s seeds, %d in common", ", ".join(str(len(one.values)) for one in samples), len(seeds))
    values = {}
    for seed in seeds:
        each = [factor * one.values[seed] for factor, one in parts]
        values[seed] = 0.0 if abs(sum(each)) <= 1e-12 * max(map(abs, each)) else sum(each)
    terms = [
        (factor * weight, metric, {seed: keys[seed] for seed in seeds})
        for factor, one in parts
        for weight, metric, keys in one.terms
    ]
    known = seeds and all(one.terms for one in samples)
    about: dict[str, object] = {
        name: joined(one.about[name] for one in samples if name in one.about) for name in ("dataset", "case", "metric")
    }
    about["methods"] = list(dict.fromkeys(name for one in samples for name in one.about.get("methods", ())))
    scale = next((one.scale for one in samples if one.scale), "")
    return Sample(values, scale, unit, tuple(terms) if known else (), about, _combined_items(parts, seeds))


def _combined_items(parts: Sequence[tuple[float, Sample]], seeds: Sequence[int]) -> dict[int, np.ndarray]:
    """The items' numbers of a sum of samples; empty unless all have the same items, or are constants."""
    sizes = {one.items[seed].shape if seed in one.items else None for seed in seeds for _, one in parts}
    if None in sizes or len(sizes - {()}) != 1:
        return {}
    return {seed: sum(factor * one.items[seed] for factor, one in parts) for seed in seeds}


def joined(words: Iterable[str]) -> str:
    """Different words with commas between, each once."""
    return ", ".join(filter(None, dict.fromkeys(words)))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % t-interval, NaN for fewer than two values; raises ValueError for one that is not finite."""
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"values must be finite, found {values[~np.isfinite(values)][0]}")
    center, half, n = float(values.mean()) if len(values) else math.nan, math.nan, len(values)
    if n > 1:
        half = float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / math.sqrt(n))
    return center, center - half, center + half


def ends(sample: Sample) -> tuple[float, float, float]:
    """A sample's mean and the ends of its 95 % interval, over what :attr:`Sample.over` says; the ends are NaN for one seed."""
    center, low, high = interval(list(sample.values.values()))
    if math.isnan(low) or not sample.items:
        return center, low, high
    mean, item_low, _ = interval(np.mean(list(sample.items.values()), axis=0))
    half = math.hypot(center - low, mean - item_low)
    return center, center - half, center + half


def spanned(sample: Sample) -> str:
    """A sample's mean and interval as they are shown: ``6.4 [3.3, 9.5]``."""
    return tables.spanned(*ends(sample), digits=1 if plain(sample.unit) == "%" else 3)


def beyond_chance(ours: float, chance: Sample) -> tuple[float, float, float]:
    """By how much a number exceeds the mean of ``chance``, the same number of simulations without anything to find.

    The excess comes with the ends of its 95 % prediction interval, from their spread. Raises ValueError for no simulations.
    """
    if not chance.values:
        raise ValueError("chance needs simulations, found none")
    center, low, _ = interval(list(chance.values.values()))
    half = (center - low) * math.sqrt(len(chance.values) + 1)  # of a draw, not of the mean of all
    return ours - center, ours - center - half, ours - center + half


def lifts(frame: pd.DataFrame, metric: str, methods: Sequence[str], added: Callable[[str], str]) -> pd.DataFrame:
    """Mean paired difference, with addition minus without, and its 95 % t-interval over the seeds that both have.

    Args:
        frame: from ``rows.frame``; shares become percentage points.
        metric: the one to compare.
        methods: to look at, in this order; those without a pair on a crowd have no line there.
        added: from a method's name to its name with the addition.

    Returns:
        Columns dataset, case, method (without the addition), metric, mean, ci_low, ci_high (NaN for one seed), n_seeds.

    Raises:
        ValueError: as :func:`sample` and :func:`combined`, such as for two values of one seed.
    """
    lines = []
    for (dataset, case), part in frame.drop(columns="key").groupby(["dataset", "case"], sort=False):
        for method in methods:
            better, base = (sample(part, metric, True, method=name) for name in (added(method), method))
            gaps = list((better - base).values.values())
            if gaps:
                lines.append([dataset, case, method, metric, *interval(gaps), len(gaps)])
    return pd.DataFrame(lines, columns=["dataset", "case", "method", "metric", "mean", "ci_low", "ci_high", "n_seeds"])


def plain(unit: str) -> str:
    """The unit of what a difference in this unit is of: percent for points."""
    return "%" if unit == "points" else unit


def stable(number: float) -> float | None:
    """A number with six significant digits, as ``claims.json`` holds it; None for NaN."""
    return None if math.isnan(number) else float(f"{number:.6g}") + 0.0  # + 0.0 turns -0.0 into 0.0
