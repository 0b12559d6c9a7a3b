"""Which runs of a large table there are, at which scale: a table that takes hours is shown as far as it has been run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import pandas as pd

from lib.protocols import ccc
from lib.results.tables import MISSING, Table, method_title
from lib.runs import ledger
from lib.runs.config import RunConfig

__all__ = ["at_largest", "complete_seeds", "coverage", "found", "larger", "largest", "so_far"]


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
    return Table(pd.DataFrame(shown, columns=["data", "case", *grids])).folded("data")


def so_far(configs: Sequence[RunConfig], titles: Mapping[str, str] | None = None) -> Table:
    """Single runs of a table that is not complete: accuracies in the best epoch and, after the arrow, in the last.

    Args:
        configs: one run per method and column, where there is one; a column is a data set with a case.
        titles: of data sets and methods.

    Returns:
        A line per method, a column per (data set, case); "–" where there is no run.
    """
    titles, cells = titles or {}, {}
    for row in ccc.named(found(configs)):
        config, ends = row["config"], (100 * row["metrics"][f"test_acc_{epoch}"] for epoch in ("best", "last"))
        head = f"{titles.get(config['dataset'], config['dataset'])} {config['case']}"
        cells.setdefault(config["method"], {})[head] = " → ".join(f"{end:.1f}" for end in ends)
    heads = list(dict.fromkeys(head for line in cells.values() for head in line))
    lines = [[method_title(name, titles), *(line.get(head, MISSING) for head in heads)] for name, line in cells.items()]
    return Table(lines, columns=["method", *heads])


def larger(scale: str) -> list[str]:
    """The scales above one that a reader's processor does not train while the notebook is read; none above ``smoke``, which is
    for tests."""
    known = ("smoke", "quick", "overnight", "fast", "paper")
    above = known[known.index(scale) + 1 :] if scale != "smoke" else ()
    return [name for name in above if name != "quick"]


def complete_seeds(configs: Sequence[RunConfig]) -> list[int]:
    """The seeds of which every run is there, in order."""
    absent = {config.seed for config, row in zip(configs, found(configs), strict=True) if row is None}
    return sorted({config.seed for config in configs} - absent)


def largest(
    grids: Mapping[str, Sequence[RunConfig]], column: Callable[[RunConfig], Hashable] = lambda c: (c.dataset, c.case)
) -> dict[Hashable, tuple[str, list[int]]]:
    """The largest scale at which a column of a table is complete, and its seeds; columns complete at none are left out.

    A scale counts when every run of at least two seeds is there, since one seed says nothing about noise; the first scale,
    which a notebook trains while it is read, counts with one. Runs of other seeds are not used.

    Args:
        grids: scale to the runs that are wanted, from the smallest scale to the largest.
        column: what a run belongs to.
    """
    best: dict[Hashable, tuple[str, list[int]]] = {}
    for place, (scale, configs) in enumerate(grids.items()):
        parts: dict[Hashable, list[RunConfig]] = {}
        for config in configs:
            parts.setdefault(column(config), []).append(config)
        for name, part in parts.items():
            seeds = complete_seeds(part)
            if len(seeds) > (0 if place == 0 else 1):
                best[name] = scale, seeds
    return best


def at_largest(grids: Mapping[str, Sequence[RunConfig]]) -> list[dict]:
    """The rows of each column, (data set, case), at its largest complete scale."""
    best, rows = largest(grids), []
    for scale, configs in grids.items():
        for config, row in zip(configs, found(configs), strict=True):
            chosen, seeds = best.get((config.dataset, config.case), (None, []))
            if row is not None and chosen == scale and config.seed in seeds:
                rows.append(row)
    return rows
