"""Which runs of a large table there are, at which scale: a table that takes hours is shown as far as it has been run."""

from collections.abc import Callable, Hashable, Mapping, Sequence

from lib.protocols import SCALES, ccc
from lib.results.numbers import MISSING, number
from lib.results.tables import Table, method_title
from lib.runs import ledger
from lib.runs.config import RunConfig

__all__ = ["at_largest", "coverage", "found", "larger", "largest", "so_far"]


def found(configs: Sequence[RunConfig]) -> list[dict | None]:
    """The ledger's row of each configuration, None where there is none; nothing is trained."""
    rows = ledger.lookup(config.experiment for config in configs)
    return [rows.get(config.key()) for config in configs]


def _columns(configs: Sequence[RunConfig], column: Callable[[RunConfig], Hashable]) -> dict[Hashable, list[tuple]]:
    """The (configuration, row) of each column."""
    columns: dict[Hashable, list[tuple]] = {}
    for config, row in zip(configs, found(configs), strict=True):
        columns.setdefault(column(config), []).append((config, row))
    return columns


def _place(config: RunConfig) -> tuple[str, str]:
    return config.dataset, config.case


def coverage(grids: Mapping[str, Sequence[RunConfig]], titles: Mapping[str, str]) -> Table:
    """How many of the runs of each scale there are: a line a (data set, case), a column a scale.

    Cells are "27" (all of them), "9 of 27", or "–" where a scale does not have the line; ``titles`` are those of data sets.
    """
    lines: dict[Hashable, dict[str, str]] = {}
    for scale, configs in grids.items():
        for place, runs in _columns(configs, _place).items():
            there = sum(row is not None for _, row in runs)
            lines.setdefault(place, {})[scale] = f"{there}" if there == len(runs) else f"{there} of {len(runs)}"
    cells = [
        [titles.get(dataset, dataset), case, *(line.get(scale, MISSING) for scale in grids)]
        for (dataset, case), line in lines.items()
    ]
    return Table(cells, columns=["data", "case", *grids]).folded("data")


def so_far(configs: Sequence[RunConfig], titles: Mapping[str, str]) -> Table:
    """Single runs of a table that is not complete, a line a method, a column a (data set, case), "–" where there is no run.

    Cells are accuracies in the best epoch and, after the arrow, in the last; ``titles`` are those of data sets and methods.
    """
    cells: dict[str, dict[str, str]] = {}
    for row in ccc.named(found(configs)):
        config, ends = row["config"], (100 * row["metrics"][f"test_acc_{epoch}"] for epoch in ("best", "last"))
        head = f"{titles.get(config['dataset'], config['dataset'])} {config['case']}"
        cells.setdefault(config["method"], {})[head] = " → ".join(number(end, 1) for end in ends)
    heads = list(dict.fromkeys(head for line in cells.values() for head in line))
    lines = [[method_title(name, titles), *(line.get(head, MISSING) for head in heads)] for name, line in cells.items()]
    return Table(lines, columns=["method", *heads])


def larger(scale: str) -> list[str]:
    """The scales above one that a reader's processor does not train while the notebook is read; none above ``smoke``."""
    return [] if scale == "smoke" else [name for name in SCALES[SCALES.index(scale) + 1 :] if name != "quick"]


def largest(
    grids: Mapping[str, Sequence[RunConfig]], column: Callable[[RunConfig], Hashable] = _place
) -> dict[Hashable, tuple[str, list[int]]]:
    """The largest scale at which a column of a table is complete, and its seeds; columns complete at none are left out.

    A scale counts when every run of at least two seeds is there, since one seed says nothing about noise; the first scale,
    which a notebook trains while it is read, counts with one. Runs of other seeds are not used.

    Args:
        grids: scale to the runs that are wanted, from the smallest scale to the largest.
        column: what a run belongs to; by default its (data set, case).
    """
    best: dict[Hashable, tuple[str, list[int]]] = {}
    for place, (scale, configs) in enumerate(grids.items()):
        for name, runs in _columns(configs, column).items():
            absent = {config.seed for config, row in runs if row is None}
            seeds = sorted({config.seed for config, _ in runs} - absent)
            if len(seeds) > (place > 0):
                best[name] = scale, seeds
    return best


def at_largest(grids: Mapping[str, Sequence[RunConfig]]) -> list[dict | None]:
    """The rows of each column, (data set, case), at its largest complete scale."""
    wanted = {(place, scale, seed) for place, (scale, seeds) in largest(grids).items() for seed in seeds}
    of = [(scale, config) for scale, configs in grids.items() for config in configs]
    return found([config for scale, config in of if (_place(config), scale, config.seed) in wanted])
