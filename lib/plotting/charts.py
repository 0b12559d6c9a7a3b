"""Figures. Each function returns the figure and the numbers in it, which :func:`lib.plotting.style.save` keeps
side by side.

    fig, data = charts.bars(table, metric="test_acc_last")
    style.save(fig, "10_crowdlayer_labelme", "accuracy", data)
    plt.show()

Methods are given by their names in the registry, which decide color, marker and title. Shares are drawn in percent.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lib.plotting.style import GRAY, PAPER, color, in_style, line, marker
from lib.results.tables import dataset_title, is_share, method_title, metric_title

__all__ = ["bars", "curves", "error_lines"]

Titles = Mapping[str, str] | None


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
    panels = _panels(data)
    with in_style():
        height = max(3.0, 1.7 + 0.42 * len(methods))
        fig, axes = plt.subplots(1, len(panels), figsize=(8, height), sharey=True, squeeze=False)
        for axis, part in zip(axes[0], panels.values(), strict=True):
            for entry in part.to_dict("records"):
                _draw_result(axis, methods.index(entry["method"]), entry, 100 if is_share(metric) else 1)
            axis.set_xlabel(textwrap.fill(metric_title(metric, titles), 60 // len(panels)))
            axis.grid(axis="y", visible=False)
            axis.set_ylim(len(methods) - 0.4, -0.6)
        axes[0, 0].set_yticks(range(len(methods)), [method_title(method, titles) for method in methods])
        axes[0, 0].set_ylabel("method")
        _name_panels(fig, axes[0], panels, title, titles)
        handles = [Line2D([], [], color=GRAY, marker="o", label=f"ours, {_mean_and_std(data['n_seeds'])}")]
        if "paper_mean" in data and data["paper_mean"].notna().any():
            words = "paper, mean ± std" if data["paper_std"].notna().any() else "paper"
            handles.append(Line2D([], [], color=PAPER, marker="D", mfc="white", ls="", label=words))
        fig.legend(handles=handles, loc="outside lower center", ncols=2)
    return fig, data


def curves(
    rows: Iterable[dict | None],
    metric: str = "test_acc",
    title: str = "",
    ylabel: str | None = None,
    titles: Titles = None,
) -> tuple[Figure, pd.DataFrame]:
    """A number of each epoch's end: mean over seeds as a line, ± std as a band, by method.

    Args:
        rows: ledger rows.
        metric: a key of the rows' history.
        title, titles: as in :func:`bars`.
        ylabel: with unit; by default the metric in words.

    Returns:
        The figure, a panel a (data set, case), and columns dataset, case, method, epoch (from 1), mean, std, n_seeds.

    Raises:
        ValueError: no row has it in its history, or runs of one method have different numbers of epochs.
    """
    data = _histories(rows, metric)
    panels = _panels(data)
    with in_style():
        fig, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False)
        for axis, part in zip(axes[0], panels.values(), strict=True):
            for place, (method, values) in enumerate(part.groupby("method", sort=False)):
                looks = {"color": color(method), "ls": line(method), "marker": marker(method)}
                every = max(1, len(values) // 6)
                looks["markevery"] = (place * every // len(part["method"].unique()), every)  # not all at one epoch
                axis.plot(values["epoch"], values["mean"], label=method_title(method, titles), **looks)
                low, high = values["mean"] - values["std"], values["mean"] + values["std"]
                axis.fill_between(values["epoch"], low, high, color=looks["color"], alpha=0.18, lw=0)
            axis.set_xlabel("epoch")
        axes[0, 0].set_ylabel(ylabel or metric_title(metric, titles))
        _name_panels(fig, axes[0], panels, title, titles)
        _legend(fig, axes[0], _mean_and_std(data["n_seeds"], "band"))
    return fig, data


def error_lines(
    frame: pd.DataFrame,
    x: str,
    y: str,
    hue: str = "method",
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    slope: float | None = None,
    log: str = "xy",
    titles: Titles = None,
) -> tuple[Figure, pd.DataFrame]:
    """How an error falls: mean with error bars against a size, on logarithmic axes.

    Args:
        frame: one line a run.
        x, y, hue: its columns; one line in the figure for each value of ``hue``.
        xlabel, ylabel: in words, with units.
        title: of the figure.
        slope: draws a dotted guide ``y ~ x ** slope`` through the first line's first point.
        log: which axes are logarithmic: ``"xy"``, ``"x"``, ``"y"`` or ``""``.
        titles: other titles for the values of ``hue``.

    Returns:
        The figure and columns hue, x, mean, std, n_seeds.

    Raises:
        ValueError: a column is missing, nothing to draw, or a value that a logarithmic axis cannot show.
    """
    if absent := [name for name in (x, y, hue) if name not in frame.columns]:
        raise ValueError(f"the table needs a column {absent[0]!r}; found {', '.join(map(str, frame.columns))}")
    for letter, name in (("x", x), ("y", y)):
        if letter in log and not (frame[name] > 0).all():
            raise ValueError(f"a logarithmic axis needs positive numbers, found {frame[name].min()} in {name!r}")
    data = frame.groupby([hue, x], sort=False)[y].agg(["mean", "std", "count"]).reset_index()
    data = data.rename(columns={"count": "n_seeds"})
    if data.empty:
        raise ValueError("there is nothing to draw: the table has no lines")
    with in_style():
        fig, axis = plt.subplots()
        for name, part in data.groupby(hue, sort=False):
            part, name = part.sort_values(x), str(name)
            looks = {"color": color(name), "ls": line(name), "marker": marker(name), "capsize": 4}
            axis.errorbar(part[x], part["mean"], part["std"].fillna(0), label=method_title(name, titles), **looks)
        if slope is not None:
            first = data[data[hue] == data[hue].iloc[0]].sort_values(x)
            guide = first["mean"].iloc[0] * (first[x] / first[x].iloc[0]) ** slope
            axis.errorbar(first[x], guide, color=GRAY, ls=":", label=f"slope {slope:g}".replace("-", "−"), zorder=1)
        _plain_ticks(axis, data[x].unique(), log)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
        _legend(fig, [axis], _mean_and_std(data["n_seeds"], "bar"))
    return fig, data


def _of_metric(table: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    there = list(table["metric"].unique())
    if (metric is None and len(there) != 1) or (metric is not None and metric not in there):
        raise ValueError(f"choose one metric of the table; found {', '.join(there) or 'none'}, asked for {metric!r}")
    return table[table["metric"] == (metric or there[0])].reset_index(drop=True)


def _panels(data: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    return dict(list(data.groupby(["dataset", "case"], sort=False)))


def _name_panels(fig: Figure, axes: Sequence[Axes], panels: Mapping[tuple[str, str], object], title: str, titles: Titles):
    """The figure's title; above several panels, their data set and case."""
    if len(panels) == 1:
        axes[0].set_title(title)
        return
    fig.suptitle(title, fontsize=14)
    for axis, name in zip(axes, panels, strict=True):
        dataset, case = dataset_title(name[0], titles), (titles or {}).get(name[1], name[1])
        axis.set_title(dataset if case == "real" else f"{dataset}, {case}")


def _mean_and_std(n_seeds: pd.Series, spread: str = "") -> str:
    """What is drawn, for the legend; ``spread`` is what the std is drawn as, where that is not plain."""
    counts = sorted(set(n_seeds[n_seeds > 0].astype(int)))
    if not counts:
        return "no runs"
    if counts == [1]:
        return "one seed"
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"mean, {spread} ± std,\n{seeds} seeds" if spread else f"mean ± std over {seeds} seeds"


def _legend(fig: Figure, axes: Sequence[Axes], heading: str) -> None:
    """One legend to the right, each name once, in the order of the methods' first appearance."""
    found = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    legend = fig.legend(found.values(), found.keys(), title=heading, loc="outside right upper", alignment="left")
    legend.get_title().set_multialignment("left")


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


def _histories(rows: Iterable[dict | None], metric: str) -> pd.DataFrame:
    groups: dict[tuple, list] = {}
    known: set[str] = set()
    for row in rows:
        if row is not None:
            known |= set(row["history"])
            place = tuple(row["config"][name] for name in ("dataset", "case", "method"))
            if metric in row["history"]:
                groups.setdefault(place, []).append(row["history"][metric])
    if not groups:
        raise ValueError(f"no run has {metric!r} in its history; found {', '.join(sorted(known)) or 'nothing'}")
    factor, parts = (100 if is_share(metric) else 1), []
    for place, histories in groups.items():
        if len(lengths := {len(history) for history in histories}) > 1:
            raise ValueError(f"runs of {place[2]!r} on {place[0]!r} have different numbers of epochs: {sorted(lengths)}")
        values = np.array(histories, dtype=float) * factor
        std = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
        numbers = {"epoch": np.arange(1, values.shape[1] + 1), "mean": values.mean(axis=0), "std": std}
        head = dict(zip(("dataset", "case", "method"), place, strict=True))
        parts.append(pd.DataFrame(head | numbers | {"n_seeds": len(values)}))
    return pd.concat(parts, ignore_index=True)


def _plain_ticks(axis: Axes, sizes: np.ndarray, log: str) -> None:
    """Logarithmic scales, with ticks in plain numbers; on the x axis the sizes that were run, where they are few."""
    plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
    for letter in log:
        axis.set(**{f"{letter}scale": "log"})
        scale = getattr(axis, f"{letter}axis")
        scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
        scale.set_minor_locator(NullLocator())
        scale.set_major_formatter(plain)
    if len(sizes) <= 8:
        axis.set_xticks(np.sort(sizes))
        axis.xaxis.set_major_formatter(plain)
