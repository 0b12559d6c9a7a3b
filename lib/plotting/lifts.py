"""What an addition to a method brings: paired differences over seeds, in a table and in a figure.

As in :mod:`lib.plotting.charts`, figures come with the numbers in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.plotting.style import GRAY, color, in_style, marker
from lib.results.tables import dataset_title, method_title

__all__ = ["dots", "dumbbells"]


def dots(
    table: pd.DataFrame, xlabel: str, title: str = "", titles: Mapping[str, str] | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Differences from top to bottom, a panel a crowd; the bar is the interval, and what crosses the line may be luck.

    Args:
        table: from :func:`lifts`.
        xlabel: with the unit.
        title: of the figure.
        titles: for methods, data sets and cases; a crowd's title may be given as "data set, case".

    Returns:
        The figure and the table.

    Raises:
        ValueError: nothing to draw.
    """
    if table.empty:
        raise ValueError("there is nothing to draw: the table has no lines")
    with in_style():
        fig, panels = _panels(table, titles)
        for axis, part in panels:
            axis.axvline(0, color=GRAY, ls="--", lw=1.5)
            for line in part.itertuples():
                half = 0 if np.isnan(line.ci_low) else line.ci_high - line.mean
                looks = {"color": color(line.method), "marker": marker(line.method), "capsize": 4}
                axis.errorbar(line.mean, line.level, xerr=half, **looks)
        fig.supxlabel(f"{xlabel}; {_bar(table['n_seeds'])}", fontsize=13)
        fig.suptitle(title, fontsize=14)
    return fig, table


def dumbbells(
    table: pd.DataFrame,
    added: Callable[[str], str],
    floor: Mapping[tuple[str, str], float],
    xlabel: str,
    words: tuple[str, str, str],
    titles: Mapping[str, str] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Where each method stands without (open) and with (filled) an addition, and the least that could be reached.

    Args:
        table: from ``rows.summary``, of one metric.
        added: as in :func:`lifts`.
        floor: the least value by (dataset, case); no line where there is none.
        xlabel: with the unit.
        words: for the legend: without, with, and the floor.
        titles: as in :func:`dots`.

    Returns:
        The figure and columns dataset, case, method, without, added, floor (means over seeds).

    Raises:
        ValueError: no method is there both without and with.
    """
    means = table.set_index(["dataset", "case", "method"])["mean"]
    lines = [
        [dataset, case, method, means[dataset, case, method], means[dataset, case, added(method)], floor.get((dataset, case))]
        for dataset, case, method in means.index
        if (dataset, case, added(method)) in means.index
    ]
    if not lines:
        raise ValueError("no method is there both without and with the addition")
    data = pd.DataFrame(lines, columns=["dataset", "case", "method", "without", "added", "floor"]).astype({"floor": float})
    with in_style():
        fig, panels = _panels(data, titles)
        for axis, part in panels:
            for line in part.itertuples():
                looks = {"color": color(line.method)}
                axis.plot([line.without, line.added], [line.level, line.level], "-", **looks)
                axis.plot(line.without, line.level, "o", mfc="white", **looks)
                axis.plot(line.added, line.level, "o", **looks)
            if not np.isnan(least := part["floor"].iloc[0]):
                axis.axvline(least, color=GRAY, ls="--", lw=1.5)
            axis.set_xlim(0, 1.1 * part[["without", "added"]].to_numpy().max())
        fig.supxlabel(xlabel, fontsize=13)
        marks = [{"marker": "o", "mfc": "white", "ls": ""}, {"marker": "o", "ls": ""}, {"ls": "--"}]
        handles = [Line2D([], [], color=GRAY, label=word, **looks) for word, looks in zip(words, marks, strict=True)]
        fig.legend(handles=handles, loc="outside upper center", ncols=3)
    return fig, data


def _panels(table: pd.DataFrame, titles: Mapping[str, str] | None) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A panel a crowd with the methods from top to bottom; its lines of the table with their ``level``."""
    methods = list(table["method"].unique())
    parts = list(table.assign(level=table["method"].map(methods.index)).groupby(["dataset", "case"], sort=False))
    shape = (3.2 + 2.2 * len(parts), 2.2 + 0.4 * len(methods))
    fig, axes = plt.subplots(1, len(parts), figsize=shape, sharey=True, squeeze=False)
    for axis, (crowd, _) in zip(axes[0], parts, strict=True):
        axis.set_title(_crowd(*crowd, titles))
        axis.set_ylim(len(methods) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(methods)), [method_title(method, titles) for method in methods])
    axes[0, 0].set_ylabel("base method")
    return fig, [(axis, part) for axis, (_, part) in zip(axes[0], parts, strict=True)]


def _crowd(dataset: str, case: str, titles: Mapping[str, str] | None) -> str:
    titles = titles or {}
    both = f"{dataset}, {case}"
    if both in titles:
        return titles[both]
    name = dataset_title(dataset, titles)
    return name if case == "real" else f"{name},\n{titles.get(case, case)}"


def _bar(n_seeds: pd.Series) -> str:
    counts = sorted(set(n_seeds))
    if counts == [1]:
        return "one seed"
    return (
        f"bar: 95 % interval over {counts[0]} seeds"
        if len(counts) == 1
        else f"bar: 95 % interval, {counts[0]} to {counts[-1]} seeds"
    )
