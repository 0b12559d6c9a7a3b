"""Which runs of a large table there are, at which scale: a table that takes hours is shown as far as it has been run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lib.results.tables import MISSING, Table
from lib.runs import ledger
from lib.runs.config import RunConfig

__all__ = ["coverage", "found", "largest"]


def found(configs: Sequence[RunConfig]) -> list[dict | None]:
    """The ledger's row of each configuration, None where there is none; nothing is trained."""
    rows = ledger.lookup(config.experiment for config in configs)
    return [rows.get(config.key()) for config in configs]


def coverage(grids: Mapping[str, Sequence[RunConfig]], titles: Mapping[str, str] | None = None) -> Table:
    """How many of the runs there are: a line a (data set, case), a column a scale.

    Args:
        grids: scale to the runs that are wanted.
        titles: of data sets.

    Returns:
        Cells "27" (all of them), "9 of 27", "0 of 27", or "–" where a scale does not have the column.
    """
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for scale, configs in grids.items():
        cells: dict[tuple[str, str], list[bool]] = {}
        for config, row in zip(configs, found(configs), strict=True):
            cells.setdefault((config.dataset, config.case), []).append(row is not None)
        for place, present in cells.items():
            full = all(present)
            lines.setdefault(place, {})[scale] = f"{len(present)}" if full else f"{sum(present)} of {len(present)}"
    titles = titles or {}
    heads = [{"data": titles.get(dataset, dataset), "case": case} for dataset, case in lines]
    shown = [
        head | {scale: line.get(scale, MISSING) for scale in grids} for head, line in zip(heads, lines.values(), strict=True)
    ]
    return Table(pd.DataFrame(shown, columns=["data", "case", *grids]))


def largest(grids: Mapping[str, Sequence[RunConfig]]) -> dict[tuple[str, str], str | None]:
    """The largest scale at which every run of a (data set, case) is there; None where there is none.

    Args:
        grids: scale to the runs that are wanted, from the smallest scale to the largest.
    """
    best: dict[tuple[str, str], str | None] = {}
    for scale, configs in grids.items():
        complete: dict[tuple[str, str], bool] = {}
        for config, row in zip(configs, found(configs), strict=True):
            place = (config.dataset, config.case)
            complete[place] = complete.get(place, True) and row is not None
        for place, full in complete.items():
            best[place] = scale if full else best.get(place)
    return best
