"""Average ranks of methods over data sets and seeds, with the Friedman test and Nemenyi's critical difference."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from lib.results.rows import frame

__all__ = ["Ranks", "ranks"]


@dataclass(frozen=True)
class Ranks:
    """Average ranks and how far apart two must be to differ.

    Attributes:
        average: average rank by method, the best (lowest) first; ties share the mean of their ranks.
        blocks: the ranks themselves, a line a block, a column a method, in the order of ``average``.
        n_left_out: blocks without a value of every method; they are not ranked.
        statistic, p_value: Friedman's test that all methods rank alike; NaN for two methods.
        critical_difference: Nemenyi's: average ranks at least this far apart differ at level ``alpha``.
        metric: what was ranked.
    """

    average: pd.Series
    blocks: pd.DataFrame
    n_left_out: int
    statistic: float
    p_value: float
    critical_difference: float
    metric: str
    alpha: float = 0.05

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The largest sets of two or more neighboring methods that do not differ, the best first."""
        names, average = list(self.average.index), self.average.to_numpy()
        # strictly closer than the difference; the margin keeps ranks that differ by rounding alone in one set
        last = [int(np.sum(average < rank + self.critical_difference - 1e-9)) for rank in average]
        found = [(i, end) for i, end in enumerate(last) if end - i > 1 and (i == 0 or end > last[i - 1])]
        return [tuple(names[start:end]) for start, end in found]


def ranks(rows: Iterable[dict | None] | pd.DataFrame, metric: str) -> Ranks:
    """Rank the methods by a metric, the largest first, within every block, a (data set, case, scale, seed), and average.

    Seeds of one data set share its items, so blocks are not independent draws of tasks: with few data sets the test says how
    sure the order is *on these*, not on others. A summary has one block a data set (Demšar, JMLR 2006).

    ``rows`` are ledger rows, a table from ``rows.frame`` or one from ``rows.summary``. Raises ValueError for fewer than two
    methods or complete blocks (and names who lacks what), and for two values of one method in one block.
    """
    wide = _wide(rows, metric)
    complete = wide.dropna()
    if wide.shape[1] < 2 or len(complete) < 2:
        lacking = {str(name): int(count) for name, count in wide.isna().sum().items() if count}
        raise ValueError(
            f"ranks need two methods and two blocks that have them all; found {wide.shape[1]} methods and {len(wide)} "
            f"blocks, {len(complete)} of them complete. Blocks that a method lacks: {lacking or 'none'}"
        )
    # rounded, since equal accuracies may differ in the last bit
    scores = np.round(-complete.to_numpy(dtype=float), 12)
    blocks = pd.DataFrame(stats.rankdata(scores, axis=1), index=complete.index, columns=complete.columns)
    average = blocks.mean().sort_values(kind="stable").rename("average rank")
    n, k = blocks.shape
    statistic = p_value = math.nan
    if k > 2 and blocks.nunique(axis=1).max() > 1:
        statistic, p_value = map(float, stats.friedmanchisquare(*scores.T))
    studentized = stats.studentized_range.ppf(1 - Ranks.alpha, k, np.inf)
    critical = float(studentized / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n)))
    return Ranks(average, blocks[average.index], len(wide) - n, statistic, p_value, critical, metric)


def _wide(rows: Iterable[dict | None] | pd.DataFrame, metric: str) -> pd.DataFrame:
    """One line a block, one column a method, in the order in which they come."""
    data = rows if isinstance(rows, pd.DataFrame) else frame(rows)
    values, by = ("mean", []) if "mean" in data.columns else ("value", ["seed"])
    by = ["dataset", "case", "scale", *by]
    data = data[data["metric"] == metric]
    if (again := data.duplicated([*by, "method"])).any():
        line = data[again].to_dict("records")[0]
        raise ValueError(f"two values of {line['method']!r} in the block {[line[name] for name in by]}")
    wide = data.pivot(index=by, columns="method", values=values)  # noqa: PD010 - no aggregation: a repeat is an error
    return wide[data["method"].unique()]
