"""Charts. Each function returns the figure and the numbers in it, which :func:`lib.plotting.style.save` keeps side by side.

    fig, data = charts.bars(table, metric="test_acc_last")
    style.save(fig, "10_crowdlayer_labelme", "accuracy", data, alt="...")
    plt.show()

Methods are given by their names in the catalogue, which decide color, marker and title; ``titles`` has other titles for
methods, data sets, cases and metrics. Shares are drawn in percent. Lines over runs are seaborn's: the mean over seeds, with
± std as a band or as bars. A ValueError says what a table lacks.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.plotting.style import GRAY, PAPER, color, in_style, look, marker
from lib.results.tables import dataset_title, is_share, method_title, metric_title

__all__ = ["bars", "best_to_last", "curves", "dots", "dumbbells"]

Titles = Mapping[str, str] | None
PLACE = ["dataset", "case", "method"]
BEST, LAST = "test_acc_best", "test_acc_last"
DASHES = {"-": "", "--": (3.7, 1.6), "-.": (6.4, 1.6, 1, 1.6), (0, (1, 1)): (1, 1)}  # line styles as seaborn wants them


# ---------------------------------------------------------------------- methods from top to bottom


def bars(table: pd.DataFrame, metric: str, title: str = "", titles: Titles = None) -> tuple[Figure, pd.DataFrame]:
    """Our means with error bars, the paper's numbers as diamonds beneath them; a panel a (data set, case).

    Points, not columns: the axis need not begin at zero to be honest, so differences of a few percent can be seen. ``table`` is
    from ``rows.summary`` or ``papers.beside``. Returns the figure and the lines of the table that it shows.
    """
    data = _of_metrics(table, [metric])
    factor = factor_of(metric)
    with in_style():
        fig, panels = _methods_down(data, titles)
        fig.set_size_inches(8, max(3.0, 1.7 + 0.42 * data["method"].nunique()))
        for axis, part in panels:
            for line in part.to_dict("records"):
                name, level = line["method"], line["level"]
                if np.isnan(line["mean"]):
                    axis.annotate("not run", (0.02, level), xycoords=("axes fraction", "data"), va="center", color=GRAY)
                else:
                    looks = {"color": color(name), "marker": marker(name), "ms": 9, "capsize": 5, "lw": 2.5}
                    axis.errorbar(factor * line["mean"], level, xerr=factor * np.nan_to_num(line["std"]), **looks)
                if not np.isnan(line.get("paper_mean", np.nan)):
                    looks = {"color": PAPER, "marker": "D", "mfc": "white", "ms": 6, "lw": 1}
                    spread = factor * np.nan_to_num(line["paper_std"])
                    axis.errorbar(factor * line["paper_mean"], level + 0.3, xerr=spread, **looks)
            axis.set_xlabel(textwrap.fill(metric_title(metric, titles), 52 // len(panels)))
        panels[0][0].set_ylabel("method")
        _head(fig, panels, title)
        handles = [Line2D([], [], color=GRAY, marker="o", label=f"ours, {_seeds_in_words(data['n_seeds'])}")]
        if "paper_mean" in data and data["paper_mean"].notna().any():
            words = "paper, mean ± std" if data["paper_std"].notna().any() else "paper"
            handles.append(Line2D([], [], color=PAPER, marker="D", mfc="white", ls="", label=words))
        fig.legend(handles=handles, loc="outside lower center", ncols=2)
    return fig, data


def best_to_last(table: pd.DataFrame, titles: Titles = None) -> tuple[Figure, pd.DataFrame]:
    """From the best test epoch (open) to the last one (filled), the paper's beneath ours; a panel a (data set, case).

    ``table`` is from ``papers.beside``, with the metrics ``test_acc_best`` and ``test_acc_last``. Returns the figure and the
    lines of the table that it shows.
    """
    data = _of_metrics(table, [BEST, LAST])
    with in_style():
        share = len(set(data["dataset"])) == 1  # accuracies on two data sets would leave each half of an axis
        fig, panels = _methods_down(data, titles, across=4, sharex=share, dpi=90)
        down, across = panels[0][0].get_gridspec().get_geometry()
        fig.set_size_inches(3.2 + 3.6 * across, down * (1.4 + 0.44 * data["method"].nunique()) + 0.6)
        for axis, part in panels:
            for (method, level), cells in part.sort_values("metric").groupby(["method", "level"], sort=False):
                _draw_fall(axis, cells, "", level - 0.12, {"color": color(method), "marker": "o", "ms": 7}, 2)
                if "paper_mean" in cells:
                    _draw_fall(axis, cells, "paper_", level + 0.25, {"color": PAPER, "marker": "D", "ms": 4.5}, 0.8)
            axis.tick_params(labelbottom=True)  # also where the panel below is empty
        fig.supxlabel("test accuracy (%)", fontsize=13)
        fig.supylabel("method", fontsize=13)
        seeds, theirs = _seed_counts(data["n_seeds"]), {"color": PAPER, "marker": "D", "ms": 4.5, "lw": 0.8}
        handles = [
            Line2D([], [], color=GRAY, marker="o", mfc="white", label="ours, best epoch"),
            Line2D([], [], color=GRAY, marker="o", label=f"ours, last epoch ({seeds})"),
        ]
        if "paper_mean" in data and data["paper_mean"].notna().any():
            handles.append(Line2D([], [], mfc="white", label="paper, best", **theirs))
            handles.append(Line2D([], [], label="paper, last", **theirs))
        fig.legend(handles=handles, loc="outside upper center", ncols=4 if across > 2 else 2)
    return fig, data


def _draw_fall(axis: Axes, cells: pd.DataFrame, whose: str, level: float, looks: dict, width: float) -> None:
    """The best epoch's mark and the last one's, with a line between them."""
    axis.plot(100 * cells[f"{whose}mean"], [level] * len(cells), color=looks["color"], lw=width)
    for line in cells.to_dict("records"):
        fill = "white" if line["metric"] == BEST else looks["color"]
        spread = 100 * np.nan_to_num(line[f"{whose}std"])
        axis.errorbar(100 * line[f"{whose}mean"], level, xerr=spread, mfc=fill, lw=1, capsize=2, **looks)


def dots(table: pd.DataFrame, xlabel: str, titles: Titles = None) -> tuple[Figure, pd.DataFrame]:
    """Differences, a panel a (data set, case); the bar is the interval, and what crosses the line may be luck.

    ``table`` is from :func:`lib.results.claims.lifts`; ``xlabel`` has the unit. Returns the figure and the table.
    """
    if table.empty:
        raise ValueError("there is nothing to draw: the table has no lines")
    counts = _seed_counts(table["n_seeds"])
    words = counts if counts == "one seed" else f"bar: 95 % interval{' over' if ' to ' not in counts else ','} {counts}"
    with in_style():
        fig, panels = _crowds(table, titles)
        for axis, part in panels:
            axis.axvline(0, color=GRAY, ls="--", lw=1.5)
            for line in part.itertuples():
                looks = {"color": color(line.method), "marker": marker(line.method), "capsize": 4}
                axis.errorbar(line.mean, line.level, xerr=np.nan_to_num(line.ci_high - line.mean), **looks)
        fig.supxlabel(f"{xlabel}; {words}", fontsize=13)
        fig.suptitle("")  # air above the panels
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

    ``table`` is from ``rows.summary``, of one metric; ``added`` gives a method's name with the addition, as in
    :func:`lib.results.claims.lifts`; ``floor`` is the least value by (data set, case), with no line where there is none;
    ``words`` are for the legend: without, with, and the floor. Returns the figure and columns dataset, case, method, without,
    added, floor (means over seeds).
    """
    means = table.set_index(PLACE)["mean"]
    lines = [
        [dataset, case, method, means[dataset, case, method], means[dataset, case, added(method)], floor.get((dataset, case))]
        for dataset, case, method in means.index
        if (dataset, case, added(method)) in means.index
    ]
    if not lines:
        raise ValueError("no method is there both without and with the addition")
    data = pd.DataFrame(lines, columns=[*PLACE, "without", "added", "floor"]).astype({"floor": float})
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


def _of_metrics(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    data = table[table["metric"].isin(metrics)].reset_index(drop=True)
    if data.empty:
        raise ValueError(f"the table has no {' or '.join(metrics)}; found {', '.join(table['metric'].unique()) or 'nothing'}")
    return data


def _crowds(table: pd.DataFrame, titles: Titles) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    fig, panels = _methods_down(table, titles, joint=",\n")
    fig.set_size_inches(3.2 + 2.2 * len(panels), 2.2 + 0.4 * table["method"].nunique())
    panels[0][0].set_ylabel("base method")
    return fig, panels


def _methods_down(data: pd.DataFrame, titles: Titles, **options):
    """As :func:`_panels`, with the methods from top to bottom, each at its ``level``."""
    methods = list(data["method"].unique())
    fig, panels = _panels(data.assign(level=data["method"].map(methods.index)), titles, **options)
    for axis, _ in panels:
        axis.set_ylim(len(methods) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
    panels[0][0].set_yticks(range(len(methods)), [method_title(method, titles) for method in methods])
    return fig, panels


def _panels(data: pd.DataFrame, titles: Titles, across: int = 0, joint: str = ", ", **options):
    """The figure, and a panel for each (data set, case) with its lines of the table."""
    parts = list(data.groupby(["dataset", "case"], sort=False))
    across = min(across or len(parts), len(parts))
    fig, axes = plt.subplots(-(-len(parts) // across), across, sharey=True, squeeze=False, **options)
    for axis in axes.flat[len(parts) :]:
        axis.set_visible(False)
    known = titles or {}
    for axis, ((dataset, case), _) in zip(axes.flat, parts, strict=False):
        name = dataset_title(dataset, titles)
        name = name if case == "real" else f"{name}{joint}{known.get(case, case)}"
        axis.set_title(known.get(f"{dataset}, {case}", name))
    return fig, [(axis, part) for axis, (_, part) in zip(axes.flat, parts, strict=False)]


def _head(fig: Figure, panels: list[tuple[Axes, pd.DataFrame]], title: str) -> None:
    """The title over several panels, or in place of the only one's."""
    if len(panels) == 1:
        panels[0][0].set_title(title)
    else:
        fig.suptitle(title, fontsize=14)


def factor_of(metric: str) -> int:
    """What a metric is multiplied with to be drawn: 100 for a share, which is drawn in percent."""
    return 100 if is_share(metric) else 1


def _seed_counts(n_seeds: pd.Series) -> str:
    """How many seeds the numbers of a figure have."""
    counts = sorted(set(n_seeds[n_seeds > 0].astype(int)))
    if len(counts) < 2:
        return "no runs" if not counts else "one seed" if counts == [1] else f"{counts[0]} seeds"
    return f"{counts[0]} to {counts[-1]} seeds"


def _seeds_in_words(n_seeds: pd.Series, spread: str = "") -> str:
    """What is drawn, for the legend; ``spread`` is what the std is drawn as, where that is not plain."""
    counts = _seed_counts(n_seeds)
    if counts in ("no runs", "one seed"):
        return counts
    return f"mean, {spread} ± std,\n{counts}" if spread else f"mean ± std over {counts}"


# ---------------------------------------------------------------------- lines over runs


def curves(
    rows: Iterable[dict | None], metric: str = "test_acc", title: str = "", titles: Titles = None
) -> tuple[Figure, pd.DataFrame]:
    """A number of each epoch's end: mean over seeds as a line, ± std as a band, by method; a panel a (data set, case).

    ``rows`` are ledger rows, ``metric`` a key of their history. Runs of one method need equally many epochs. Returns the figure
    and columns dataset, case, method, epoch (from 1), mean, std, n_seeds.
    """
    histories = _histories(rows, metric)
    data = over_seeds(histories, [*PLACE, "epoch"])
    for place, part in data.groupby(PLACE, sort=False):
        if (part["n_seeds"] != part["n_seeds"].iloc[0]).any():
            raise ValueError(f"runs of {place[2]!r} on {place[0]!r} have different numbers of epochs")
    with in_style():
        fig, panels = _panels(histories, titles)
        for axis, part in panels:
            lines_over_runs(axis, part, "epoch", "value", "method", "band")
            every = max(1, part["epoch"].nunique() // 6)
            for place, drawn in enumerate(axis.lines):  # marks not all at one epoch
                drawn.set_markevery((place * every // len(axis.lines), every))
            axis.set_xlabel("epoch")
        panels[0][0].set_ylabel(metric_title(metric, titles))
        _head(fig, panels, title)
        legend_of_methods(fig, data, "method", "band", titles)
    return fig, data


def _histories(rows: Iterable[dict | None], metric: str) -> pd.DataFrame:
    """One line a run and epoch: dataset, case, method, epoch (from 1), value."""
    runs = [row for row in rows if row is not None]
    parts = []
    for row in runs:
        if metric in row["history"]:
            values = factor_of(metric) * np.array(row["history"][metric], dtype=float)
            place = {name: row["config"][name] for name in PLACE}
            parts.append(pd.DataFrame(place | {"epoch": np.arange(1, len(values) + 1), "value": values}))
    if not parts:
        known = sorted({name for row in runs for name in row["history"]})
        raise ValueError(f"no run has {metric!r} in its history; found {', '.join(known) or 'nothing'}")
    return pd.concat(parts, ignore_index=True)


def over_seeds(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Columns ``by``, mean, std (of a sample) and n_seeds of the column ``value``, in the order of first appearance."""
    groups = frame.groupby(list(by), sort=False)["value"]
    return groups.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n_seeds"})


def lines_over_runs(axis: Axes, runs: pd.DataFrame, x: str, y: str, hue: str, spread: str) -> None:
    """A line for each value of ``hue``, in its looks: mean over runs and ± std."""
    runs = runs.assign(**{hue: runs[hue].astype(str)})
    looks = {name: look(name) for name in runs[hue].unique()}
    sns.lineplot(
        runs, x=x, y=y, hue=hue, style=hue, hue_order=list(looks), style_order=list(looks), ax=axis, legend=False,
        palette={name: color for name, (color, _, _) in looks.items()},
        markers={name: marker for name, (_, marker, _) in looks.items()},
        dashes={name: DASHES[line] for name, (_, _, line) in looks.items()},
        errorbar="sd", err_style=spread, err_kws={"lw": 0} if spread == "band" else {"capsize": 4},
    )  # fmt: skip
    axis.set(xlabel="", ylabel="")


def legend_of_methods(fig: Figure, data: pd.DataFrame, hue: str, spread: str, titles: Titles = None) -> None:
    """One legend to the right, each name once."""
    handles = []
    for name in data[hue].unique().astype(str):
        shade, mark, line = look(name)
        handles.append(Line2D([], [], label=method_title(name, titles), color=shade, marker=mark, ls=line))
    heading = _seeds_in_words(data["n_seeds"], spread)
    legend = fig.legend(handles=handles, title=heading, loc="outside right upper", alignment="left")
    legend.get_title().set_multialignment("left")
