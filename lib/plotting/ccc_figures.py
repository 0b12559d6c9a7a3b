"""Figures of CCC's experiments on images: how far each method falls from its best epoch to its last, and the ablations.

As in :mod:`lib.plotting.charts`, each function returns the figure and the numbers in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.plotting.style import GRAY, PAPER, color, in_style, marker
from lib.results.tables import dataset_title, method_title

__all__ = ["ablation", "best_to_last"]

BEST, LAST = "test_acc_best", "test_acc_last"
ACROSS = 4  # panels side by side, at most


def best_to_last(table: pd.DataFrame, titles: Mapping[str, str] | None = None) -> tuple[Figure, pd.DataFrame]:
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
            axis.set_ylim(len(methods) - 0.4, -0.6)
            axis.tick_params(labelbottom=True)  # also where the panel below is empty
            axis.grid(axis="y", visible=False)
        axes[0, 0].set_yticks(range(len(methods)), [method_title(name, titles) for name in methods])
        fig.supxlabel("test accuracy (%)", fontsize=13)
        fig.supylabel("method", fontsize=13)
        fig.legend(handles=_fall_legend(data), loc="outside upper center", ncols=4 if across > 2 else 2)
    return fig, data


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
    counts = sorted({count for count in data["n_seeds"] if count})
    seeds = f"{counts[0]} seed{'s' if counts[0] > 1 else ''}" if len(counts) == 1 else "seeds as in the table"
    handles = [
        Line2D([], [], color=GRAY, marker="o", mfc="white", label="ours, best epoch"),
        Line2D([], [], color=GRAY, marker="o", label=f"ours, last epoch ({seeds})"),
    ]
    if "paper_mean" in data and data["paper_mean"].notna().any():
        looks = {"color": PAPER, "marker": "D", "ms": 4.5, "lw": 0.8}
        handles += [Line2D([], [], mfc="white", label="paper, best", **looks), Line2D([], [], label="paper, last", **looks)]
    return handles


def ablation(
    ours: pd.DataFrame,
    paper: pd.DataFrame,
    varied: Sequence[tuple[str, str]],
    names: tuple[str, str],
    titles: Mapping[str, str] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Accuracy against what is varied, ours on the left and the paper's on the right: a row of panels for each.

    Args:
        ours, paper: columns family, x, method, metric (``test_acc_best`` or ``test_acc_last``), mean, std, in percent.
        varied: (family, label of the axis) for each row. Values of ``x`` are drawn at equal distances.
        names: titles of the two columns.
        titles: other titles for methods.

    Returns:
        The figure, and both tables with a column ``source``.

    Raises:
        ValueError: a family that neither table has.
    """
    tables = {names[0]: ours, names[1]: paper}
    known = {name for table in tables.values() for name in table["family"]}
    if unknown := [family for family, _ in varied if family not in known]:
        raise ValueError(f"there is no family {unknown[0]!r}; found {', '.join(sorted(known)) or 'none'}")
    with in_style():
        fig, axes = plt.subplots(len(varied), 2, figsize=(9.6, 3.5 * len(varied) + 0.9), squeeze=False, dpi=90)
        for line, (family, label) in zip(axes, varied, strict=True):
            for axis, (source, table) in zip(line, tables.items(), strict=True):
                _draw_ablation(axis, table[table["family"] == family], titles)
                axis.set(xlabel=label, title=source)
        fig.supylabel("test accuracy (%)", fontsize=13)
        handles = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        fig.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, title="mean ± std over seeds")
    return fig, pd.concat([table.assign(source=source) for source, table in tables.items()], ignore_index=True)


def _draw_ablation(axis: Axes, part: pd.DataFrame, titles: Mapping[str, str] | None) -> None:
    places = {value: at for at, value in enumerate(sorted(part["x"].unique()))}
    for method, metric in part[["method", "metric"]].drop_duplicates().itertuples(index=False):
        line = part[(part["method"] == method) & (part["metric"] == metric)].sort_values("x")
        last = metric == LAST
        looks = {"color": color(method), "ls": "-" if last else "--", "marker": marker(method), "capsize": 3}
        label = f"{method_title(method, titles)}, {'last' if last else 'best'}"
        mean, std = line["mean"].to_numpy(), line["std"].fillna(0).to_numpy()
        looks["mfc"] = looks["color"] if last else "white"
        axis.errorbar([places[value] for value in line["x"]], mean, std, label=label, **looks)
    axis.set_xticks(range(len(places)), [f"{value:g}" for value in places])
