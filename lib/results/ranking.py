"""Average ranks of methods over data sets and seeds, with the Friedman test and Nemenyi's critical difference."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from lib.results.rows import frame

__all__ = ["Ranks", "ranks"]

BLOCK = ["dataset", "case", "scale", "seed"]


@dataclass(frozen=True)
class Ranks:
    """Average ranks and how far apart two must be to differ.

    Attributes:
        average: average rank by method, the best (lowest) first; ties share the mean of their ranks.
        blocks: the ranks themselves, a line a block, a column a method, in the order of ``average``.
        p_value: of Friedman's test that all methods rank alike; NaN for two methods.
        critical_difference: Nemenyi's: average ranks at least this far apart differ at level ``alpha``.
    """

    average: pd.Series
    blocks: pd.DataFrame
    p_value: float
    critical_difference: float
    alpha: float = 0.05


def ranks(rows: Iterable[dict | None], metric: str) -> Ranks:
    """Rank the methods of ledger rows by a metric, the largest first, within every complete block, and average (Demšar, JMLR
    2006). A block is a (data set, case, scale, seed).

    Seeds of one data set share its items, so blocks are not independent draws of tasks: with few data sets the test says how
    sure the order is *on these*, not on others.

    Raises ValueError for fewer than two methods or complete blocks (and names who lacks what), and for two values of one
    method in one block.
    """
    data = frame(rows)
    data = data[data["metric"] == metric]
    if (again := data.duplicated([*BLOCK, "method"])).any():
        line = data[again].to_dict("records")[0]
        raise ValueError(f"two values of {line['method']!r} in the block {[line[name] for name in BLOCK]}")
    wide = data.pivot(index=BLOCK, columns="method", values="value")  # noqa: PD010 - no aggregation: a repeat is an error
    wide = wide[data["method"].unique()]
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
    p_value = math.nan
    if k > 2 and blocks.nunique(axis=1).max() > 1:
        p_value = float(stats.friedmanchisquare(*scores.T).pvalue)
    studentized = stats.studentized_range.ppf(1 - Ranks.alpha, k, np.inf)
    critical = float(studentized / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n)))
    return Ranks(average, blocks[average.index], p_value, critical)
