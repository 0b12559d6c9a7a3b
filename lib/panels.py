"""Figures of several panels: errors against a size in a grid, and predictions as points of the simplex.

As in :mod:`lib.plots`, each function returns the figure and the numbers in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from lib.style import GRAY, color, in_style, line, marker
from lib.tables import method_title

__all__ = ["error_grid", "simplex"]


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
    """Errors against a size, mean and error bar over seeds: a row of panels for each metric.

    Args:
        frame: from ``report.frame``: one line a (run, metric), with columns ``x``, ``hue`` and ``column``.
        x: what is varied; numbers.
        hue: one line in a panel for each of its values.
        rows: the metrics to show, each with its axis label.
        column: one column of panels for each of its values; by default a single one.
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
    groups = frame[frame["metric"].isin(list(rows))].groupby(by, sort=False)["value"]
    data = groups.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n_seeds"})
    columns = list(data[column].unique()) if column else [None]
    with in_style():
        shape = (4.0 + 2.6 * len(columns), 0.9 + 2.5 * len(rows))
        fig, axes = plt.subplots(len(rows), len(columns), figsize=shape, sharex=True, sharey="row", squeeze=False, dpi=100)
        for (metric, label), line_of_axes in zip(rows.items(), axes, strict=True):
            for name, axis in zip(columns, line_of_axes, strict=True):
                part = data[(data["metric"] == metric) & ((data[column] == name) if column else True)]
                _draw_lines(axis, part, x, hue, titles)
                _scale(axis, np.sort(data[x].unique()), log)
            line_of_axes[0].set_ylabel(label)
        for name, axis in zip(columns, axes[0], strict=True):
            axis.set_title("" if name is None else str(name))
        fig.supxlabel(xlabel, fontsize=13)
        fig.suptitle(title, fontsize=14)
        _legend(fig, axes[0, 0], data["n_seeds"])
    return fig, data


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
        fig, axes = plt.subplots(lines, columns, figsize=(2.9 * columns, 0.6 + 2.9 * lines), squeeze=False, dpi=90)
        for axis in axes.flat:
            axis.set_axis_off()
        for (name, (points, classes)), axis in zip(panels.items(), axes.flat, strict=False):
            points, classes = np.asarray(points)[:most], np.asarray(classes)[:most]
            axis.plot(*_flat(np.eye(3)[[0, 1, 2, 0]]).T, color=GRAY, lw=1)
            axis.scatter(*_flat(points).T, s=7, c=[colors[k] for k in classes], alpha=0.6, lw=0)
            for corner, (across, up), lift in zip(corners, _flat(np.eye(3)), (-0.04, -0.04, 0.03), strict=True):
                axis.text(across, up + lift, corner, ha="center", va="bottom" if lift > 0 else "top", fontsize=11)
            axis.set(aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.16, 1.0))
            axis.set_title(name, fontsize=12)
            parts.append(pd.DataFrame(points, columns=list(corners)).assign(panel=name, true_class=classes))
        fig.suptitle(title, fontsize=14)
    return fig, pd.concat(parts, ignore_index=True)[["panel", "true_class", *corners]]


def _flat(points: np.ndarray) -> np.ndarray:
    """Points of the simplex in the plane, the first two corners below."""
    return points @ np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def _draw_lines(axis: Axes, part: pd.DataFrame, x: str, hue: str, titles: Mapping[str, str] | None) -> None:
    for name, values in part.groupby(hue, sort=False):
        name, values = str(name), values.sort_values(x)
        looks = {"color": color(name), "ls": line(name), "marker": marker(name), "capsize": 4}
        axis.errorbar(values[x], values["mean"], values["std"].fillna(0), label=method_title(name, titles), **looks)


def _scale(axis: Axes, sizes: np.ndarray, log: str) -> None:
    plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
    for letter in log:
        axis.set(**{f"{letter}scale": "log"})
    if "x" in log:
        axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(sizes, [f"{size:.2g}" if size < 1 else f"{size:,.0f}" for size in sizes])
    if "y" in log:
        axis.yaxis.set_major_formatter(plain)
    else:
        axis.set_ylim(bottom=0)


def _legend(fig: Figure, axis: Axes, n_seeds: pd.Series) -> None:
    counts = sorted(set(n_seeds))
    seeds = (
        "one seed" if counts == [1] else f"mean, bar ± std,\n{'–'.join(str(n) for n in sorted({counts[0], counts[-1]}))} seeds"
    )
    handles, labels = axis.get_legend_handles_labels()
    legend = fig.legend(handles, labels, title=seeds, loc="outside right upper", alignment="left")
    legend.get_title().set_multialignment("left")
