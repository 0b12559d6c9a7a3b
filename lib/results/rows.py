"""Finished runs to tables. Rows and ``table.csv`` hold accuracies as fractions, as they were computed; percent is only shown.

A spread is the standard deviation over seeds with ``n - 1`` in the denominator, beside the number of seeds and the scale.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import getitem

import numpy as np
import pandas as pd

from lib import paths
from lib.results.tables import COLUMNS, PAPERS, Table, page, with_lines
from lib.runs.config import RunConfig
from lib.storage import write_atomically

__all__ = ["RUN", "frame", "missing", "save_table", "show_source", "summary"]

RUN = ["experiment", "dataset", "case", "method"]
TAIL = ["metric", "value", "seed", "scale", "key"]  # of a long table


def frame(rows: Iterable[dict | None], **columns: str | Callable[[dict], object]) -> pd.DataFrame:
    """Ledger rows as a long table, one line a (run, metric); a None in place of a row or a metric is passed over.

    Args:
        rows: as from ``sweep.sweep``.
        columns: further columns, or other words for ``dataset``, ``case``, ``method``: a dotted place in the row's config
            (``n_labels="dataset_options.n_labels"``) or a function of the config.

    Returns:
        Columns experiment, dataset, case, method, those in ``columns``, metric, value, seed, scale, and key, the row's.

    Raises:
        ValueError: a place that a config does not have, or a column that is taken.
    """
    if taken := sorted(set(columns) & {"experiment", *TAIL}):
        raise ValueError(f"a column cannot be named {taken[0]!r}: every table has one with its own meaning")
    lines = []
    for row in rows:
        if row is None:
            continue
        config = row["config"]
        run = {name: config[name] for name in RUN} | {name: _place(config, rule) for name, rule in columns.items()}
        lines += [
            [*run.values(), metric, float(value), config["seed"], config["scale"], row.get("key")]
            for metric, value in row["metrics"].items()
            if value is not None and not np.isnan(value)
        ]
    return pd.DataFrame(lines, columns=[*dict.fromkeys([*RUN, *columns]), *TAIL])


def _place(config: dict, rule: str | Callable[[dict], object]) -> object:
    if callable(rule):
        return rule(config)
    try:
        return reduce(getitem, rule.split("."), config)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a config has no {rule!r}: {error!r} in {config}") from error


def summary(
    rows: Iterable[dict | None] | pd.DataFrame,
    metrics: Sequence[str] | None = None,
    expected: Iterable[RunConfig | Mapping] = (),
) -> pd.DataFrame:
    """Mean and spread over seeds, a line a (data set, case, method, further column, metric, scale), in the order of the rows.

    Args:
        rows: ledger rows, or a table from :func:`frame`, whose further columns separate lines.
        metrics: those wanted, in this order; by default all.
        expected: the runs that were asked for, or their rows' configs. One without any row gets a line without mean and seeds.

    Returns:
        Those columns, and mean, std (n - 1; NaN for one seed), n_seeds.

    Raises:
        ValueError: a metric that no row has, two values of one seed for one line, expected runs for further columns.
    """
    data = rows if isinstance(rows, pd.DataFrame) else frame(rows)
    there = list(data["metric"].unique())
    metrics = there if metrics is None else list(metrics)
    if there and (unknown := [metric for metric in metrics if metric not in there]):
        raise ValueError(f"no row has the metric {unknown[0]!r}; found: {', '.join(there)}")
    data = data[data["metric"].isin(metrics)]
    head = [name for name in data.columns if name not in ("experiment", *TAIL)]
    by = [*head, "metric", "scale"]
    if (again := data.duplicated([*by, "seed"])).any():
        line = data[again].to_dict("records")[0]
        found = ", ".join(f"{name} {line[name]!r}" for name in [*by, "seed"])
        raise ValueError(f"two values for {found}: give different settings different names, by a column of frame()")
    if expected and (further := set(head) - set(RUN)):
        raise ValueError(f"expected runs are found by {', '.join(RUN[1:])}; this table has {', '.join(sorted(further))} too")
    groups = data.groupby(by, sort=False, dropna=False)["value"]
    table = groups.agg(mean="mean", std="std", n_seeds="count").reset_index()
    seen = set(map(tuple, table[by].to_numpy().tolist()))
    configs = [config if isinstance(config, Mapping) else vars(config) for config in expected]
    wanted = [config | {"metric": metric} for config in configs for metric in metrics]
    absent = dict.fromkeys(tuple(line[name] for name in by) for line in wanted)
    table = with_lines(table, [dict(zip(by, place, strict=True)) | {"n_seeds": 0} for place in absent if place not in seen])
    # Lines of one method together, its metrics in the wanted order.
    group = table.groupby([*head, "scale"], sort=False, dropna=False).ngroup()
    place = table["metric"].map({metric: position for position, metric in enumerate(metrics)})
    order = np.lexsort([place.to_numpy(), group.to_numpy()])
    return table.iloc[order].reset_index(drop=True).astype({"n_seeds": int})


def missing(configs: Iterable[RunConfig], rows: Iterable[dict | None]) -> Table:
    """Which of the wanted runs have no row: a line for each (dataset, case, method, scale) with its missing seeds."""
    found = {row["key"] for row in rows if row is not None}
    seeds: dict[tuple, list[int]] = {}
    for config in configs:
        if config.key() not in found:
            seeds.setdefault((config.dataset, config.case, config.method, config.scale), []).append(config.seed)
    lines = [[*place, ", ".join(map(str, sorted(absent)))] for place, absent in seeds.items()]
    return Table(lines, columns=["dataset", "case", "method", "scale", "missing seeds"])


def save_table(notebook: str, table: pd.DataFrame) -> None:
    """Write a summary as ``figures/<notebook>/table.csv`` (six digits, accuracies as fractions) and ``table.md`` (as shown).

    Raises:
        ValueError: a column is missing, or there are others than a table has.
        OSError: it could not be written.
    """
    table = table.assign(**{name: np.nan for name in PAPERS if name not in table.columns})
    if set(table.columns) != set(COLUMNS):
        raise ValueError(
            f"table.csv has the columns {', '.join(COLUMNS)}; found {', '.join(map(str, table.columns))}. "
            "Put what separates the lines into 'case', by frame(rows, case=...)"
        )
    folder, table = paths.figures(notebook), table[COLUMNS]
    write_atomically(folder / "table.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_atomically(folder / "table.md", page(table))


def show_source(function: Callable, docstring: bool = True):
    """A function's or a class's source as an ``IPython.display.Code``, with or without its docstring; no path, no address."""
    from IPython.display import Code

    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    node = ast.parse(source).body[0]
    if not docstring and ast.get_docstring(node) is not None and len(node.body) > 1:
        lines = source.splitlines(keepends=True)
        source = "".join(lines[: node.body[0].lineno - 1] + lines[node.body[0].end_lineno :])
    shown = Code(data=source.rstrip("\n"), language="python")
    shown._repr_latex_ = lambda: None  # for print only, and as large again as the HTML
    return shown
