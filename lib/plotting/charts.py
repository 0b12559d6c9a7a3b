"""Charts. Each function returns the figure and the numbers in it, which :func:`lib.plotting.style.save` keeps
side by side.

    fig, data = charts.bars(table, metric="test_acc_last")
    style.save(fig, "10_crowdlayer_labelme", "accuracy", data, alt="...")
    plt.show()

Methods are given by their names in the catalogue, which decide color, marker and title. Shares are drawn in percent. Lines over
runs are seaborn's: the mean over seeds, with ± std as a band or as bars.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.plotting.lines import curves, error_grid, error_lines
from lib.plotting.panels import Titles, name_panels, panels_of, seed_counts, seeds_in_words
from lib.plotting.style import BLUE, GRAY, GREEN, PAPER, RED, color, in_style, marker
from lib.results.tables import dataset_title, is_share, method_title, metric_title

__all__ = ["bars", "best_to_last", "curves", "dots", "dumbbells", "error_grid", "error_lines", "simplex"]

BEST, LAST = "test_acc_best", "test_acc_last"
ACROSS = 4  # panels of `best_to_last` side by side, at most


def bars(table: pd.DataFrame, metric: str | None = None, title: str = "", titles: Titles = None) -> tuple[Figure, pd.DataFrame]:
    """Methods from top to bottom: our mean with an error bar, the paper's number as a diamond beneath it.

    Points, not columns: the axis need not begin at zero to be honest, so differences of a few percent can be seen.

    Args:
        table: from ``rows.summary`` or ``papers.beside``.
        metric: needed where the table has several.
        title: of the figure.
        titles: other titles for methods, data sets or the metric.

    Returns:
        The figure, a panel a (data set, case), and the lines of the table that it shows.

    Raises:
        ValueError: no such metric, several where none was chosen, or nothing to draw.
    """
    data = _of_metric(table, metric)
    metric, methods = data["metric"].iloc[0], list(data["method"].unique())
    panels = panels_of(data)
    with in_style():
        height = max(3.0, 1.7 + 0.42 * len(methods))
        fig, axes = plt.subplots(1, len(panels), figsize=(8, height), sharey=True, squeeze=False)
        for axis, part in zip(axes[0], panels.values(), strict=True):
            for entry in part.to_dict("records"):
                _draw_result(axis, methods.index(entry["method"]), entry, 100 if is_share(metric) else 1)
            axis.set_xlabel(textwrap.fill(metric_title(metric, titles), 52 // len(panels)))
        _methods_down(axes, methods, titles)
        axes[0, 0].set_ylabel("method")
        name_panels(fig, axes[0], panels, title, titles)
        handles = [Line2D([], [], color=GRAY, marker="o", label=f"ours, {seeds_in_words(data['n_seeds'])}")]
        if "paper_mean" in data and data["paper_mean"].notna().any():
            words = "paper, mean ± std" if data["paper_std"].notna().any() else "paper"
            handles.append(Line2D([], [], color=PAPER, marker="D", mfc="white", ls="", label=words))
        fig.legend(handles=handles, loc="outside lower center", ncols=2)
    return fig, data


def best_to_last(table: pd.DataFrame, titles: Titles = None) -> tuple[Figure, pd.DataFrame]:
    """Methods from top to bottom: from the best test epoch (open) to the last one (filled), the paper's beneath ours.

    Args:
        table: from ``papers.beside`` with the metrics ``test_acc_best`` and ``test_acc_last``.
        titles: other titles for methods and data sets.

    Returns:
        The figure, a panel a (data set, case), and the lines of the table that it shows.

    Raises:
        ValueError: no line with one of the two metrics.
    """
    data = table[table["metric"].isin([BEST, LAST])]
    if data.empty:
        raise ValueError(f"the table has no {BEST} or {LAST}; found {', '.join(table['metric'].unique()) or 'nothing'}")
    methods = list(data["method"].unique())
    panels = list(data.groupby(["dataset", "case"], sort=False))
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    with in_style():
        shape = (3.2 + 3.6 * across, down * (1.4 + 0.44 * len(methods)) + 0.6)
        share = len(set(data["dataset"])) == 1  # accuracies on two data sets would leave each half of an axis
        fig, axes = plt.subplots(down, across, figsize=shape, sharex=share, sharey=True, squeeze=False, dpi=90)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, ((dataset, case), part) in zip(axes.flat, panels, strict=False):
            for method, cells in part.groupby("method", sort=False):
                _draw_fall(axis, methods.index(method), cells.set_index("metric"), color(method))
            where = dataset_title(dataset, titles)
            axis.set_title(where if case == "real" else f"{where}, {case}")
            axis.tick_params(labelbottom=True)  # also where the panel below is empty
        _methods_down(axes, methods, titles)
        fig.supxlabel("test accuracy (%)", fontsize=13)
        fig.supylabel("method", fontsize=13)
        fig.legend(handles=_fall_legend(data), loc="outside upper center", ncols=4 if across > 2 else 2)
    return fig, data


def dots(table: pd.DataFrame, xlabel: str, title: str = "", titles: Titles = None) -> tuple[Figure, pd.DataFrame]:
    """Differences from top to bottom, a panel a crowd; the bar is the interval, and what crosses the line may be luck.

    Args:
        table: from :func:`lib.results.claims.lifts`.
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
    counts = seed_counts(table["n_seeds"])
    words = counts if counts == "one seed" else f"bar: 95 % interval{' over' if ' to ' not in counts else ','} {counts}"
    with in_style():
        fig, panels = _crowds(table, titles)
        for axis, part in panels:
            axis.axvline(0, color=GRAY, ls="--", lw=1.5)
            for line in part.itertuples():
                half = 0 if np.isnan(line.ci_low) else line.ci_high - line.mean
                looks = {"color": color(line.method), "marker": marker(line.method), "capsize": 4}
                axis.errorbar(line.mean, line.level, xerr=half, **looks)
        fig.supxlabel(f"{xlabel}; {words}", fontsize=13)
        fig.suptitle(title, fontsize=14)
    return fig, table


def dumbbells(
    table: pd.DataFrame,
    added: Callable[[str], str],
    floor: Mapping[tuple[str, str], float],
    xlabel: str,
    words: tuple[str, str, str],
    titles: Titles = None,
) -> tuple[Figure, pd.DataFrame]:
    """Where each method stands without (open) and with (filled) an addition, and the least that could be reached.

    Args:
        table: from ``rows.summary``, of one metric.
        added: as in :func:`lib.results.claims.lifts`.
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
        fig, panels = _crowds(data, titles)
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
    lines, colors = -(-len(panels) // columns), (BLUE, RED, GREEN)
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


def _methods_down(axes: np.ndarray, methods: Sequence[str], titles: Titles) -> None:
    """The methods from top to bottom, on the axes of the first panel for all."""
    for axis in axes.flat:
        axis.set_ylim(len(methods) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(methods)), [method_title(method, titles) for method in methods])


def _of_metric(table: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    there = list(table["metric"].unique())
    if (metric is None and len(there) != 1) or (metric is not None and metric not in there):
        raise ValueError(f"choose one metric of the table; found {', '.join(there) or 'none'}, asked for {metric!r}")
    return table[table["metric"] == (metric or there[0])].reset_index(drop=True)


def _draw_result(axis: Axes, level: int, entry: Mapping, factor: float) -> None:
    """One method of :func:`bars`."""
    method = entry["method"]
    if np.isnan(entry["mean"]):
        axis.annotate("not run", (0.02, level), xycoords=("axes fraction", "data"), va="center", color=GRAY)
    else:
        std = 0 if np.isnan(entry["std"]) else entry["std"] * factor
        looks = {"color": color(method), "marker": marker(method), "ms": 9, "capsize": 5, "lw": 2.5}
        axis.errorbar(entry["mean"] * factor, level, xerr=std, **looks)
    if not np.isnan(entry.get("paper_mean", np.nan)):
        std = 0 if np.isnan(entry["paper_std"]) else entry["paper_std"] * factor
        looks = {"color": PAPER, "marker": "D", "mfc": "white", "ms": 6, "lw": 1}
        axis.errorbar(entry["paper_mean"] * factor, level + 0.3, xerr=std, **looks)


def _draw_fall(axis: Axes, level: int, cells: pd.DataFrame, shade: str) -> None:
    """Two marks of ours with a line between them, and the paper's two beneath."""
    for mean, std, place, ink, mark, size in (
        ("mean", "std", level - 0.12, shade, "o", 7),
        ("paper_mean", "paper_std", level + 0.25, PAPER, "D", 4.5),
    ):
        if mean not in cells or cells[mean].isna().all():
            continue
        axis.plot(100 * cells[mean], [place] * len(cells), color=ink, lw=2 if mean == "mean" else 0.8)
        for metric, filled in ((BEST, False), (LAST, True)):
            if metric in cells.index:
                spread = 0 if np.isnan(cells.loc[metric, std]) else 100 * cells.loc[metric, std]
                looks = {"color": ink, "marker": mark, "ms": size, "mfc": ink if filled else "white", "lw": 1, "capsize": 2}
                axis.errorbar(100 * cells.loc[metric, mean], place, xerr=spread, **looks)


def _fall_legend(data: pd.DataFrame) -> list[Line2D]:
    seeds = seed_counts(data["n_seeds"])
    handles = [
        Line2D([], [], color=GRAY, marker="o", mfc="white", label="ours, best epoch"),
        Line2D([], [], color=GRAY, marker="o", label=f"ours, last epoch ({seeds})"),
    ]
    if "paper_mean" in data and data["paper_mean"].notna().any():
        looks = {"color": PAPER, "marker": "D", "ms": 4.5, "lw": 0.8}
        handles += [Line2D([], [], mfc="white", label="paper, best", **looks), Line2D([], [], label="paper, last", **looks)]
    return handles


def _crowds(table: pd.DataFrame, titles: Titles) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A panel a crowd with the methods from top to bottom; its lines of the table with their ``level``."""
    methods = list(table["method"].unique())
    parts = list(table.assign(level=table["method"].map(methods.index)).groupby(["dataset", "case"], sort=False))
    shape = (3.2 + 2.2 * len(parts), 2.2 + 0.4 * len(methods))
    fig, axes = plt.subplots(1, len(parts), figsize=shape, sharey=True, squeeze=False)
    for axis, (crowd, _) in zip(axes[0], parts, strict=True):
        axis.set_title(_crowd(*crowd, titles))
    _methods_down(axes, methods, titles)
    axes[0, 0].set_ylabel("base method")
    return fig, [(axis, part) for axis, (_, part) in zip(axes[0], parts, strict=True)]


def _crowd(dataset: str, case: str, titles: Titles) -> str:
    titles = titles or {}
    both = f"{dataset}, {case}"
    if both in titles:
        return titles[both]
    name = dataset_title(dataset, titles)
    return name if case == "real" else f"{name},\n{titles.get(case, case)}"
