"""Lines over runs: a number against the epoch, and errors against a size. The mean over seeds, ± std as a band or as bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lib.plotting.panels import Titles, legend, name_panels, over_seeds, panels_of, seeds_in_words
from lib.plotting.style import GRAY, color, dashes, in_style, marker
from lib.results.tables import is_share, metric_title

__all__ = ["curves", "error_grid", "error_lines"]


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
    histories = _histories(rows, metric)
    data = over_seeds(histories, ["dataset", "case", "method", "epoch"])
    panels = panels_of(histories)
    with in_style():
        fig, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False)
        for axis, part in zip(axes[0], panels.values(), strict=True):
            _lines(axis, part, "epoch", "value", "method", "band")
            every = max(1, part["epoch"].nunique() // 6)
            for place, drawn in enumerate(axis.lines):  # marks not all at one epoch
                drawn.set_markevery((place * every // len(axis.lines), every))
            axis.set_xlabel("epoch")
        axes[0, 0].set_ylabel(ylabel or metric_title(metric, titles))
        name_panels(fig, axes[0], panels, title, titles)
        legend(fig, data["method"].unique(), titles, seeds_in_words(data["n_seeds"], "band"))
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
    if frame.empty:
        raise ValueError("there is nothing to draw: the table has no lines")
    data = over_seeds(frame.rename(columns={y: "value"}), [hue, x])
    with in_style():
        fig, axis = plt.subplots()
        _lines(axis, frame, x, y, hue, "bars")
        if slope is not None:
            first = data[data[hue] == data[hue].iloc[0]].sort_values(x, kind="stable")
            guide = first["mean"].iloc[0] * (first[x] / first[x].iloc[0]) ** slope
            axis.plot(first[x], guide, color=GRAY, ls=":", marker="", zorder=1, label=f"slope {slope:g}".replace("-", "−"))
        _scale(axis, np.sort(data[x].unique()), log)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
        guides = [handle for handle in axis.lines if str(handle.get_label()).startswith("slope")]
        legend(fig, data[hue].unique(), titles, seeds_in_words(data["n_seeds"], "bar"), guides)
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
    titles: Titles = None,
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
    frame = frame.assign(value=frame["value"] * frame["metric"].map(lambda metric: 100 if is_share(metric) else 1))
    data = over_seeds(frame, by)
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
            part = frame[(frame["metric"] == metric) & ((frame[column] == name) if column else True)]
            _lines(axis, part, x, "value", hue, "bars")
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
        legend(fig, data[hue].unique(), titles, seeds_in_words(data["n_seeds"], "bar"))
    return fig, data


def _lines(axis: Axes, runs: pd.DataFrame, x: str, y: str, hue: str, spread: str) -> None:
    """A line for each value of ``hue``, in its looks: mean over runs and ± std."""
    runs = runs.assign(**{hue: runs[hue].astype(str)})
    names = list(runs[hue].unique())
    sns.lineplot(
        runs, x=x, y=y, hue=hue, style=hue, hue_order=names, style_order=names, ax=axis, legend=False,
        palette={name: color(name) for name in names}, markers={name: marker(name) for name in names},
        dashes={name: dashes(name) for name in names}, errorbar="sd", err_style=spread,
        err_kws={"lw": 0} if spread == "band" else {"capsize": 4},
    )  # fmt: skip
    axis.set(xlabel="", ylabel="")


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


def _histories(rows: Iterable[dict | None], metric: str) -> pd.DataFrame:
    """One line a run and epoch: dataset, case, method, epoch (from 1), value."""
    parts: dict[tuple, list[pd.DataFrame]] = {}
    known: set[str] = set()
    for row in rows:
        if row is not None:
            known |= set(row["history"])
            place = {name: row["config"][name] for name in ("dataset", "case", "method")}
            if metric in row["history"]:
                values = np.array(row["history"][metric], dtype=float) * (100 if is_share(metric) else 1)
                run = pd.DataFrame(place | {"epoch": np.arange(1, len(values) + 1), "value": values})
                parts.setdefault(tuple(place.values()), []).append(run)
    if not parts:
        raise ValueError(f"no run has {metric!r} in its history; found {', '.join(sorted(known)) or 'nothing'}")
    for (dataset, _, method), runs in parts.items():
        if len(lengths := {len(run) for run in runs}) > 1:
            raise ValueError(f"runs of {method!r} on {dataset!r} have different numbers of epochs: {sorted(lengths)}")
    return pd.concat([run for runs in parts.values() for run in runs], ignore_index=True)
