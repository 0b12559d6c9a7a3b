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
from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lib.plotting.style import GRAY, PAPER, color, dashes, in_style, line, marker
from lib.results.tables import dataset_title, is_share, method_title, metric_title

__all__ = ["bars", "best_to_last", "curves", "dots", "dumbbells", "error_grid", "error_lines", "simplex"]

Titles = Mapping[str, str] | None
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
    panels = _panels(data)
    with in_style():
        height = max(3.0, 1.7 + 0.42 * len(methods))
        fig, axes = plt.subplots(1, len(panels), figsize=(8, height), sharey=True, squeeze=False)
        for axis, part in zip(axes[0], panels.values(), strict=True):
            for entry in part.to_dict("records"):
                _draw_result(axis, methods.index(entry["method"]), entry, 100 if is_share(metric) else 1)
            axis.set_xlabel(textwrap.fill(metric_title(metric, titles), 52 // len(panels)))
        _methods_down(axes, methods, titles)
        axes[0, 0].set_ylabel("method")
        _name_panels(fig, axes[0], panels, title, titles)
        handles = [Line2D([], [], color=GRAY, marker="o", label=f"ours, {seeds_in_words(data['n_seeds'])}")]
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
    histories = _histories(rows, metric)
    data = over_seeds(histories, ["dataset", "case", "method", "epoch"])
    panels = _panels(histories)
    with in_style():
        fig, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False)
        for axis, part in zip(axes[0], panels.values(), strict=True):
            _lines(axis, part, "epoch", "value", "method", "band")
            every = max(1, part["epoch"].nunique() // 6)
            for place, drawn in enumerate(axis.lines):  # marks not all at one epoch
                drawn.set_markevery((place * every // len(axis.lines), every))
            axis.set_xlabel("epoch")
        axes[0, 0].set_ylabel(ylabel or metric_title(metric, titles))
        _name_panels(fig, axes[0], panels, title, titles)
        _legend(fig, data["method"].unique(), titles, seeds_in_words(data["n_seeds"], "band"))
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
        _legend(fig, data[hue].unique(), titles, seeds_in_words(data["n_seeds"], "bar"), guides)
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
        _legend(fig, data[hue].unique(), titles, seeds_in_words(data["n_seeds"], "bar"))
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


# ---------------------------------------------------------------------- what charts share


def over_seeds(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Columns ``by``, mean, std (of a sample) and n_seeds of the column ``value``, in the order of first appearance."""
    groups = frame.groupby(list(by), sort=False)["value"]
    return groups.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n_seeds"})


def seed_counts(n_seeds: pd.Series) -> str:
    """How many seeds the numbers of a figure have."""
    counts = sorted(set(n_seeds[n_seeds > 0].astype(int)))
    if len(counts) < 2:
        return "no runs" if not counts else "one seed" if counts == [1] else f"{counts[0]} seeds"
    return f"{counts[0]} to {counts[-1]} seeds"


def seeds_in_words(n_seeds: pd.Series, spread: str = "") -> str:
    """What is drawn, for the legend; ``spread`` is what the std is drawn as, where that is not plain."""
    counts = seed_counts(n_seeds)
    if counts in ("no runs", "one seed"):
        return counts
    return f"mean, {spread} ± std,\n{counts}" if spread else f"mean ± std over {counts}"


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


def _legend(fig: Figure, names: Iterable[str], titles: Titles, heading: str, others: Sequence[Line2D] = ()) -> None:
    """One legend to the right, each name once."""
    looks = {name: {"color": color(name), "ls": line(name), "marker": marker(name)} for name in map(str, names)}
    handles = [Line2D([], [], label=method_title(name, titles), **look) for name, look in looks.items()]
    legend = fig.legend(handles=[*handles, *others], title=heading, loc="outside right upper", alignment="left")
    legend.get_title().set_multialignment("left")


def _methods_down(axes: np.ndarray, methods: Sequence[str], titles: Titles) -> None:
    """The methods from top to bottom, on the axes of the first panel for all."""
    for axis in axes.flat:
        axis.set_ylim(len(methods) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(methods)), [method_title(method, titles) for method in methods])


def _scale(axis: Axes, sizes: np.ndarray, log: str) -> None:
    """Logarithmic scales, with ticks in plain numbers; on the x axis the sizes that were run, where they are few."""
    axis.set(**{f"{letter}scale": "log" for letter in log})
    for letter in log:
        scale = getattr(axis, f"{letter}axis")
        scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
        scale.set_minor_locator(NullLocator())
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if len(sizes) <= 8:
        axis.set_xticks(sizes, [f"{size:.2g}" if size < 1 else f"{size:,.10g}" for size in sizes])
        axis.xaxis.set_minor_locator(NullLocator())


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
