"""Errors against a size, over runs, on axes that may be logarithmic; each figure with its numbers as in the charts."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lib.plotting.charts import Titles, factor_of, legend_of_methods, lines_over_runs, over_seeds
from lib.plotting.style import in_style
from lib.results.tables import is_share


def error_lines(
    frame: pd.DataFrame, x: str, y: str, *, xlabel: str, ylabel: str, titles: Titles = None
) -> tuple[Figure, pd.DataFrame]:
    """How an error falls: mean with error bars against a size, on logarithmic axes, a line a method.

    ``frame`` has one line a run, with columns ``method``, ``x`` and ``y``, both positive. Returns the figure and columns
    method, x, mean, std, n_seeds.
    """
    for name in (x, y):
        if not (frame[name] > 0).all():
            raise ValueError(f"a logarithmic axis needs positive numbers, found {frame[name].min()} in {name!r}")
    data = over_seeds(frame.rename(columns={y: "value"}), ["method", x])
    with in_style():
        fig, axis = plt.subplots()
        lines_over_runs(axis, frame, x, y, "method", "bars")
        _scale(axis, np.sort(data[x].unique()), "xy")
        axis.set(xlabel=xlabel, ylabel=ylabel)
        legend_of_methods(fig, data, "method", "bar", titles)
    return fig, data


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
) -> tuple[Figure, pd.DataFrame]:
    """Errors against a size, mean and error bar over seeds: a panel for each metric, or a row of them.

    Errors are drawn from zero; shares, such as accuracies, in percent and in a range of their own.

    ``frame`` is from ``rows.frame``: one line a (run, metric). ``x`` is its column of sizes; ``hue`` and ``column`` those with
    a line in each panel and a column of panels for each value; without ``column`` the metrics stand side by side. ``rows`` are
    the metrics to show, each with its axis label, and ``log`` the logarithmic axes: ``"xy"``, ``"x"``, ``"y"`` or ``""``.
    Returns the figure and columns metric, column (if any), hue, x, mean, std, n_seeds.
    """
    by = ["metric", *([column] if column else []), hue, x]
    if unknown := set(rows) - set(frame["metric"]):
        raise ValueError(f"no line has the metric {min(unknown)!r}; found {', '.join(frame['metric'].unique()) or 'none'}")
    frame = frame[frame["metric"].isin(list(rows))]
    frame = frame.assign(value=frame["value"] * frame["metric"].map(factor_of))
    data = over_seeds(frame, by)
    columns = list(data[column].unique()) if column else [None]
    cells = [(metric, name) for metric in rows for name in columns]
    lines = len(rows) if column else 1
    across = len(cells) // lines
    with in_style():
        shape = (2.6 + (3.1 if column else 3.9) * across, 1.4 + 2.5 * lines)
        shared = {"sharex": True, "sharey": "row" if column else False}
        fig, axes = plt.subplots(lines, across, figsize=shape, squeeze=False, dpi=90, **shared)
        for (metric, name), axis in zip(cells, axes.flat, strict=True):
            part = frame[(frame["metric"] == metric) & ((frame[column] == name) if column else True)]
            lines_over_runs(axis, part, x, "value", hue, "bars")
            if name in (None, columns[0]):
                axis.set_ylabel(rows[metric])
            if name is not None and metric == next(iter(rows)):
                axis.set_title(str(name))
        for (metric, _), axis in zip(cells, axes.flat, strict=True):  # when all are drawn, since panels share their axes
            _scale(axis, np.sort(data[x].unique()), log)
            axis.tick_params("x", labelsize=11)  # sizes stand close on a logarithmic axis
            if "y" not in log and not is_share(metric):
                axis.set_ylim(bottom=0)
        fig.supxlabel(xlabel, fontsize=13)
        fig.suptitle(title, fontsize=14)
        legend_of_methods(fig, data, hue, "bar")
    return fig, data


def _scale(axis: Axes, sizes: np.ndarray, log: str) -> None:
    """Logarithmic scales, with ticks in plain numbers; on the x axis the sizes that were run, where they are few."""
    axis.set(**{f"{letter}scale": "log" for letter in log})
    for letter in log:
        scale = getattr(axis, f"{letter}axis")
        scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
        scale.set_minor_locator(NullLocator())
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if len(sizes) <= 8:
        labels = [f"{size:.2g}" if size < 1 else f"{size:,.10g}" for size in sizes]
        kept = _apart(axis, np.log(sizes) if "x" in log else sizes, labels)
        axis.set_xticks(sizes[kept], [labels[place] for place in kept])
        axis.xaxis.set_minor_locator(NullLocator())


def _apart(axis: Axes, places: np.ndarray, labels: Sequence[str]) -> list[int]:
    """Which tick labels do not touch the next one, from the right to the left."""
    inches = 0.7 * axis.get_window_extent().width / axis.figure.dpi  # about what the layout leaves
    span = np.ptp(places) or 1.0
    kept: list[int] = []
    for place in reversed(range(len(labels))):
        letters = (len(labels[place]) + len(labels[kept[-1]])) / 2 if kept else 0
        if not kept or (places[kept[-1]] - places[place]) / span * inches > 0.09 * letters + 0.05:
            kept.append(place)
    return kept[::-1]
