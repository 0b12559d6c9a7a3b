"""Figures of several panels: errors against a size, tables as colored cells, predictions as points of the simplex.

As in :mod:`lib.plotting.charts`, each function returns the figure and the numbers in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lib.plotting.style import GRAY, color, in_style, line, marker
from lib.results.tables import is_share, method_title

__all__ = ["error_grid", "heat", "simplex"]


def error_grid(
    frame: pd.DataFrame,
    x: str,
    hue: str = "method",
    *,
    rows: Mapping[str, str],
    column: str | None = None,
    xlabel: str,
    title: str = "",
    log: str = "",
    titles: Mapping[str, str] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Errors against a size, mean and error bar over seeds: a panel for each metric, or a row of them.

    Errors are drawn from zero; shares, such as accuracies, in percent and in a range of their own.

    Args:
        frame: from ``rows.frame``: one line a (run, metric), with columns ``x``, ``hue`` and ``column``.
        x: what is varied; numbers.
        hue: one line in a panel for each of its values.
        rows: the metrics to show, each with its axis label.
        column: one column of panels for each of its values; without it the metrics stand side by side.
        xlabel, title: in words.
        log: which axes are logarithmic: ``"xy"``, ``"x"``, ``"y"`` or ``""``.
        titles: titles for the values of ``hue`` other than the registry's.

    Returns:
        The figure and columns metric, column (if any), hue, x, mean, std, n_seeds.

    Raises:
        ValueError: a column is missing, or no line has one of the metrics.
    """
    by = ["metric", *([column] if column else []), hue, x]
    if absent := [name for name in [*by, "value"] if name not in frame.columns]:
        raise ValueError(f"the table needs a column {absent[0]!r}; found {', '.join(map(str, frame.columns))}")
    if unknown := set(rows) - set(frame["metric"]):
        raise ValueError(f"no line has the metric {min(unknown)!r}; found {', '.join(frame['metric'].unique()) or 'none'}")
    frame = frame[frame["metric"].isin(list(rows))]
    groups = frame.assign(value=frame["value"] * frame["metric"].map(_factor)).groupby(by, sort=False)["value"]
    data = groups.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n_seeds"})
    columns = list(data[column].unique()) if column else [None]
    cells = [(metric, name) for metric in rows for name in columns]
    lines = len(rows) if column else 1  # without columns, the metrics stand side by side
    across = len(cells) // lines
    with in_style():
        shape = (2.6 + (3.1 if column else 3.9) * across, 1.4 + 2.5 * lines)
        fig, axes = plt.subplots(
            lines, across, figsize=shape, sharex=True, sharey="row" if column else False, squeeze=False, dpi=90
        )
        for (metric, name), axis in zip(cells, axes.flat, strict=True):
            part = data[(data["metric"] == metric) & ((data[column] == name) if column else True)]
            _draw_lines(axis, part, x, hue, titles)
            if name in (None, columns[0]):
                axis.set_ylabel(rows[metric])
            if name is not None and metric == next(iter(rows)):
                axis.set_title(str(name))
        _scale(axes.flat, [is_share(metric) for metric, _ in cells], np.sort(data[x].unique()), log)
        fig.supxlabel(xlabel, fontsize=13)
        fig.suptitle(title, fontsize=14)
        _legend(fig, axes[0, 0], data["n_seeds"])
    return fig, data


def heat(
    tables: Mapping[str, pd.DataFrame],
    framed: Collection[tuple[str, str]] = (),
    *,
    xlabel: str,
    ylabel: str,
    most: float = 1.0,
) -> tuple[Figure, pd.DataFrame]:
    """Tables of numbers side by side, as cells that are darker where the number is larger.

    Args:
        tables: title to numbers of at least 0, all with the same rows and columns.
        framed: cells to mark, as (row, column).
        xlabel, ylabel: what columns and rows are.
        most: the number that is darkest.

    Returns:
        The figure and columns table, row, column, value.

    Raises:
        ValueError: tables with other rows or columns than the first.
    """
    first = next(iter(tables.values()))
    if any(not (table.index.equals(first.index) and table.columns.equals(first.columns)) for table in tables.values()):
        raise ValueError("the tables need the same rows and columns")
    with in_style():
        shape = (2.6 + 3.3 * len(tables), 1.6 + 0.48 * len(first))
        fig, axes = plt.subplots(1, len(tables), figsize=shape, sharey=True, squeeze=False, dpi=90)
        for axis, (title, table) in zip(axes.flat, tables.items(), strict=True):
            axis.imshow(table.to_numpy(), cmap="Blues", vmin=0, vmax=most, aspect="auto")
            for (row, column), value in np.ndenumerate(table.to_numpy()):
                ink = "white" if value > 0.55 * most else "black"
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink)
                if (table.index[row], table.columns[column]) in framed:
                    axis.add_patch(Rectangle((column - 0.47, row - 0.44), 0.94, 0.88, fill=False, ec="#D55E00", lw=2.5))
            axis.set_xticks(range(len(table.columns)), [name.replace(" ", "\n") for name in table.columns], fontsize=11)
            axis.set(title=title, xlabel=xlabel)
            axis.grid(visible=False)
        axes[0, 0].set_yticks(range(len(first)), list(first.index))
        axes[0, 0].set_ylabel(ylabel)
    wide = pd.concat(tables, names=["table", "row"]).reset_index()
    return fig, wide.melt(["table", "row"], var_name="column")


def simplex(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    corners: Sequence[str],
    title: str = "",
    columns: int = 3,
    most: int = 400,
) -> tuple[Figure, pd.DataFrame]:
    """Class probabilities of three classes as points of a triangle: a corner is certainty, the center knows nothing.

    Args:
        panels: title to (``[items, 3]`` probabilities, ``[items]`` classes that color the points).
        corners: names of the three classes.
        title: of the figure.
        columns: panels side by side.
        most: items drawn, the first ones.

    Returns:
        The figure and columns panel, class and one with the probability of each class.

    Raises:
        ValueError: other than three classes.
    """
    if len(corners) != 3 or any(np.shape(points)[1:] != (3,) for points, _ in panels.values()):
        raise ValueError(f"a triangle shows three classes, found {len(corners)} names")
    lines, colors = -(-len(panels) // columns), ("#0072B2", "#D55E00", "#009E73")
    parts = []
    with in_style():
        columns = min(columns, len(panels))
        fig, axes = plt.subplots(lines, columns, figsize=(2.9 * columns, 0.6 + 2.7 * lines), squeeze=False, dpi=90)
        for axis in axes.flat:
            axis.set_axis_off()
        for (name, (points, classes)), axis in zip(panels.items(), axes.flat, strict=False):
            points, classes = np.asarray(points)[:most], np.asarray(classes)[:most]
            axis.plot(*_flat(np.eye(3)[[0, 1, 2, 0]]).T, color=GRAY, lw=1)
            axis.scatter(*_flat(points).T, s=8, c=[colors[k] for k in classes], lw=0)
            for corner, (across, up), lift in zip(corners, _flat(np.eye(3)), (-0.04, -0.04, 0.03), strict=True):
                axis.text(across, up + lift, corner, ha="center", va="bottom" if lift > 0 else "top", fontsize=10)
            axis.set(aspect="equal", xlim=(-0.2, 1.2), ylim=(-0.16, 1.0))
            axis.set_title(name, fontsize=12)
            parts.append(pd.DataFrame(points, columns=list(corners)).assign(panel=name, true_class=classes))
        fig.suptitle(title, fontsize=14)
    return fig, pd.concat(parts, ignore_index=True)[["panel", "true_class", *corners]]


def _flat(points: np.ndarray) -> np.ndarray:
    """Points of the simplex in the plane, the first two corners below."""
    return points @ np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def _draw_lines(axis: Axes, part: pd.DataFrame, x: str, hue: str, titles: Mapping[str, str] | None) -> None:
    for name, values in part.groupby(hue, sort=False):
        name, values = str(name), values.sort_values(x, kind="stable")
        looks = {"color": color(name), "ls": line(name), "marker": marker(name), "capsize": 4}
        axis.errorbar(values[x], values["mean"], values["std"].fillna(0), label=method_title(name, titles), **looks)


def _factor(metric: str) -> float:
    return 100.0 if is_share(metric) else 1.0


def _scale(axes: Iterable[Axes], shares: Iterable[bool], sizes: np.ndarray, log: str) -> None:
    """After all lines are drawn, since panels share their axes."""
    for axis, share in zip(axes, shares, strict=True):
        axis.set(**{f"{letter}scale": "log" for letter in log})
        axis.set_xticks(sizes, [f"{size:.2g}" if size < 1 else f"{size:,.0f}" for size in sizes])
        axis.xaxis.set_minor_locator(NullLocator())
        if "y" in log:
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
        elif not share:
            axis.set_ylim(bottom=0)


def _legend(fig: Figure, axis: Axes, n_seeds: pd.Series) -> None:
    counts = sorted(set(n_seeds))
    seeds = (
        "one seed" if counts == [1] else f"mean, bar ± std,\n{'–'.join(str(n) for n in sorted({counts[0], counts[-1]}))} seeds"
    )
    handles, labels = axis.get_legend_handles_labels()
    legend = fig.legend(handles, labels, title=seeds, loc="outside right upper", alignment="left")
    legend.get_title().set_multialignment("left")
