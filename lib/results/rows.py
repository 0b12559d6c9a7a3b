"""Tables: finished runs in, our numbers beside the papers' out.

Ledger rows and ``table.csv`` hold accuracies as fractions, as they were computed; what is *shown* is in percent. A
spread is always the standard deviation over seeds with ``n - 1`` in the denominator, and stands beside the number of
seeds and the scale.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from lib import paths
from lib.results.tables import COLUMNS, MISSING, Table, markdown, show, with_lines
from lib.storage import write_atomically

__all__ = ["frame", "missing", "save_table", "show_source", "summary"]

RUN = ["experiment", "dataset", "case", "method"]
NOTE = (
    "Mean ± standard deviation (n − 1) over seeds, the number of seeds in parentheses; accuracies in percent; "
    f"{MISSING} where there is no number."
)


def frame(rows: Iterable[dict | None], **columns: str | Callable[[dict], object]) -> pd.DataFrame:
    """Ledger rows as a long table, one line a (run, metric).

    Args:
        rows: as from ``sweep.sweep``; a None (a run that was not made) is passed over, and so is a metric that is
            None or NaN, i.e. not defined for its run.
        columns: further columns, or other words for ``dataset``, ``case``, ``method``: a dotted place in the row's
            config (``n_labels="dataset_options.n_labels"``) or a function of the config.

    Returns:
        Columns experiment, dataset, case, method, those in ``columns``, metric, value, seed, scale, and key, the row's.

    Raises:
        ValueError: a row without config or metrics, a place that a config does not have, or a column that is taken.
    """
    if taken := sorted(set(columns) & {"experiment", "metric", "value", "seed", "scale", "key"}):
        raise ValueError(f"a column cannot be named {taken[0]!r}: every table has one with its own meaning")
    lines = []
    for row in rows:
        if row is None:
            continue
        if absent := {"config", "metrics"} - set(row):
            raise ValueError(f"a ledger row needs 'config' and 'metrics'; {sorted(absent)} missing, found {sorted(row)}")
        config = row["config"]
        run = {name: config[name] for name in RUN} | {name: _place(config, rule) for name, rule in columns.items()}
        for metric, value in row["metrics"].items():
            if value is not None and not np.isnan(value):
                tail = {"metric": metric, "value": float(value), "seed": config["seed"], "scale": config["scale"]}
                lines.append(run | tail | {"key": row.get("key")})
    return pd.DataFrame(lines, columns=_columns(columns))


def summary(
    rows: Iterable[dict | None] | pd.DataFrame,
    metrics: Sequence[str] | None = None,
    expected: Iterable = (),
    **columns: str | Callable[[dict], object],
) -> pd.DataFrame:
    """Mean and spread over seeds.

    Args:
        rows: ledger rows, or a table from :func:`frame`.
        metrics: those wanted, in this order; by default all.
        expected: the configs that were asked for. One of which there is no row at all gets a line with no mean and
            no seeds, so that a gap is seen.
        columns: as in :func:`frame`; further columns separate lines.

    Returns:
        Columns dataset, case, method, further ones, metric, scale, mean, std (n - 1; NaN for one seed), n_seeds; in the
        order of the rows.

    Raises:
        ValueError: a metric that no row has, or two values of the same seed for one line (different settings under
            one name: give them names by a column).
    """
    data = rows if isinstance(rows, pd.DataFrame) else frame(rows, **columns)
    if metrics is not None:
        if len(data) and (unknown := [m for m in metrics if m not in set(data["metric"])]):
            raise ValueError(f"no row has the metric {unknown[0]!r}; found: {', '.join(data['metric'].unique())}")
        data = data[data["metric"].isin(metrics)]
    head = [name for name in data.columns if name not in ("experiment", "metric", "value", "seed", "scale", "key")]
    by = [*head, "metric", "scale"]
    if (again := data.duplicated([*by, "seed"])).any():
        line = data[again].to_dict("records")[0]
        found = ", ".join(f"{name} {line[name]!r}" for name in [*by, "seed"])
        raise ValueError(f"two values for {found}: give different settings different names, by a column of frame()")
    groups = data.groupby(by, sort=False, dropna=False)["value"]
    table = groups.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n_seeds"})
    table = _with_expected(table, by, expected, metrics or list(data["metric"].unique()), columns)
    return _in_order(table, [*head, "scale"], metrics)


def missing(configs: Iterable, rows: Iterable[dict | None]) -> Table:
    """Which of the wanted runs have no row: one line for each (dataset, case, method, scale) with its missing seeds."""
    found = {row["key"] for row in rows if row is not None}
    absent = [_config(config) for config in configs if config.key() not in found]
    data = pd.DataFrame(absent, columns=["dataset", "case", "method", "scale", "seed"])
    groups = data.groupby(["dataset", "case", "method", "scale"], sort=False)["seed"]
    seeds = groups.agg(lambda column: ", ".join(str(seed) for seed in sorted(column)))
    return Table(seeds.rename("missing seeds").reset_index())


def save_table(notebook: str, table: pd.DataFrame, digits: int = 1, titles: Mapping[str, str] | None = None) -> None:
    """Write ``figures/<notebook>/table.csv`` (all digits that matter, accuracies as fractions) and ``table.md`` (as
    shown).

    Args:
        notebook: the notebook's name without ending.
        table: from :func:`summary` or :func:`beside`.
        digits, titles: as in :func:`show`.

    Raises:
        ValueError: a column is missing, or there are others than a table has.
        OSError: it could not be written.
    """
    table = table.assign(**{name: np.nan for name in COLUMNS[-3:] if name not in table.columns})
    if set(table.columns) != set(COLUMNS):
        raise ValueError(
            f"table.csv has the columns {', '.join(COLUMNS)}; found {', '.join(map(str, table.columns))}. "
            "Put what separates the lines into 'case', by frame(rows, case=...)"
        )
    folder = paths.figures(notebook)
    text = table[COLUMNS].to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomically(folder / "table.csv", text)
    write_atomically(folder / "table.md", f"{markdown(show(table[COLUMNS], digits, titles))}\n{NOTE}\n")


def show_source(function: Callable, docstring: bool = True):
    """A function's or a class's source, highlighted in a notebook; no path, no address.

    Args:
        function: what to show.
        docstring: whether to show its docstring too.

    Returns:
        ``IPython.display.Code``.
    """
    from IPython.display import Code

    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    node = ast.parse(source).body[0]
    if not docstring and ast.get_docstring(node) is not None and len(node.body) > 1:
        lines = source.splitlines(keepends=True)
        source = "".join(lines[: node.body[0].lineno - 1] + lines[node.body[0].end_lineno :])
    shown = Code(data=source.rstrip("\n"), language="python")
    shown._repr_latex_ = lambda: None  # for print only, and as large again as the HTML
    return shown


def _columns(extra: Iterable[str]) -> list[str]:
    return [*RUN, *(name for name in extra if name not in RUN), "metric", "value", "seed", "scale", "key"]


def _config(config) -> dict:
    return dataclasses.asdict(config) if dataclasses.is_dataclass(config) else dict(config)


def _place(config: dict, rule: str | Callable[[dict], object]) -> object:
    if callable(rule):
        return rule(config)
    value = config
    for step in rule.split("."):
        if not isinstance(value, Mapping) or step not in value:
            known = sorted(value) if isinstance(value, Mapping) else repr(value)
            raise ValueError(f"a config has no {rule!r}: no {step!r} in {known}")
        value = value[step]
    return value


def _with_expected(table, by: list[str], expected, metrics: Sequence[str], columns: Mapping) -> pd.DataFrame:
    """Lines without seeds for configs that have none."""
    seen = set(map(tuple, table[by].to_numpy().tolist()))
    lines = []
    for config in map(_config, expected):
        own = {name: config[name] for name in (*RUN, "scale")} | {name: _place(config, rule) for name, rule in columns.items()}
        if odd := [name for name in by if name not in own and name != "metric"]:
            raise ValueError(f"to find the expected runs, give summary() the column {odd[0]!r}, as you gave it to frame()")
        for metric in metrics:
            line = own | {"metric": metric}
            key = tuple(line[name] for name in by)
            if key not in seen:
                seen.add(key)
                lines.append({name: line[name] for name in by} | {"mean": np.nan, "std": np.nan, "n_seeds": 0})
    return with_lines(table, lines)


def _in_order(table: pd.DataFrame, head: list[str], metrics: Sequence[str] | None) -> pd.DataFrame:
    """Lines of one method together, its metrics in the wanted order."""
    order = list(metrics) if metrics is not None else list(table["metric"].unique())
    group = table.groupby(head, sort=False, dropna=False).ngroup()
    place = table["metric"].map({metric: position for position, metric in enumerate(order)})
    table = table.assign(_group=group, _place=place).sort_values(["_group", "_place"], kind="stable")
    return table.drop(columns=["_group", "_place"]).reset_index(drop=True).astype({"n_seeds": int})
