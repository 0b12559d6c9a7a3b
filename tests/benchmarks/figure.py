"""The figures of the benchmarks: a panel a question, drawn from the files; peers in one, our own variants in another."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.plotting import style
from tests.benchmarks.questions import OWN, QUESTIONS

LOOKS = [(style.BLUE, "o"), (style.ORANGE, "s"), (style.GREEN, "^")]
TITLES = {
    "aggregation": "Aggregation: a peer's time over ours",
    "memory": "Aggregation: a peer's memory over ours",
    "training": "A training run: a peer's time over ours",
    "ccc": "A step of CCC: the authors' time over ours",
    "annotators": "A training step as annotators grow",
    "classes": "A training step as classes grow",
    "own_labels": "Own labels, 1,000,000 items",
    "ten_million": "10,000,000 labels, ours alone",
    "own_losses": "A loss with its gradients",
    "own_ccc": "A step of CCC",
    "own_memory": "An epoch on 100,000 items",
}
ALT = (
    "One panel a question. Dots right of the line at one are tasks that take a peer longer, or more memory, than this project, "
    "with a line from the smallest to the largest of three runs; curves are milliseconds a step, ours solid and MaML's dashed; "
    "bars are seconds of our own, with a mark at what they should stay under."
)
ALT_OWN = (
    "This project's own variants beside each other, no peer: dots right of the line at one are variants that take longer than "
    "what the project does; bars are seconds of an epoch."
)


def draw_all(folder: Path) -> list[Path]:
    """Draw ``benchmarks.png`` and ``own_variants.png`` from the CSV files of a folder, with the numbers and the words beside.

    A figure for which there are no measurements is not drawn.
    """
    drawn = []
    for name, questions, alt in (("benchmarks", QUESTIONS, ALT), ("own_variants", OWN, ALT_OWN)):
        tables = {part: _table(folder / f"{part}.csv") for part in questions}
        tables = {part: table for part, table in tables.items() if len(table)}
        if not tables:
            continue
        panels = [(part, table, _panel_of(table)) for part, table in tables.items()]
        if "aggregation" in tables and tables["aggregation"]["peer_mb"].notna().any():
            panels.insert([part for part, _, _ in panels].index("aggregation") + 1, ("memory", tables["aggregation"], _memory))
        # Figures go to the parent of a folder, of which it is then a notebook's.
        with style.in_style(), patch.dict(os.environ, CROWDS_FIGURES=str(folder.resolve().parent)):
            figure = _draw(panels)
            whole = pd.concat([table.assign(question=part) for part, table in tables.items()], ignore_index=True)
            style.save(figure, folder.name, name, whole, alt)
        drawn.append(folder / f"{name}.png")
    return drawn


def _table(file: Path) -> pd.DataFrame:
    """The rows of a question that have a time of ours."""
    if not file.is_file():
        return pd.DataFrame()
    table = pd.read_csv(file, dtype={"peer": str})
    return table[table["ours_seconds"].notna()].fillna({"peer": ""})


def _panel_of(table: pd.DataFrame) -> Callable[[Axes, pd.DataFrame], None]:
    if (table["peer"] == "").all():
        return _seconds
    several = len(table["size"].unique()) > 1
    return _growth if several and table["size_unit"].isin(["annotators", "classes"]).all() else _ratios


def _draw(panels: list) -> Figure:
    columns = min(len(panels), 2)
    rows = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    heights = [max(_height(table, panel) for _, table, panel in row) for row in rows]
    figure = Figure(figsize=(7.4 * columns, sum(heights)))
    FigureCanvasAgg(figure)  # measures words
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (name, table, panel) in zip(axes.flat, panels, strict=False):
        panel(ax, table)
        ax.set_title(TITLES[name] + ("" if table["idle"].astype(bool).all() else "\n(machine not idle)"), loc="left")
    return figure


def _height(table: pd.DataFrame, panel: Callable) -> float:
    return 4.6 if panel is _growth else 2.0 + 0.42 * len(_lines(table))


def _lines(table: pd.DataFrame) -> pd.DataFrame:
    """One line a task and peer, over all sizes and data sets."""
    task, series = table["what"], table["size"].map("{:,}".format) + " " + table["size_unit"]
    if table["size_unit"].eq("epochs").all():  # of several data sets, which stand after the last comma
        task, series = table["what"].str.rsplit(", ", n=1).str[0], table["what"].str.rsplit(", ", n=1).str[1]
    return table.assign(task=task, series=series).groupby(["peer", "task"], sort=False)


def _ratios(ax: Axes, table: pd.DataFrame, value: str = "ratio") -> None:
    """A line a task, a dot a size: how many times as long the other side takes."""
    lines = _lines(table)
    names, seen = [], {}
    shown = lines.obj[value].dropna()
    for place, ((peer, task), part) in enumerate(lines):
        names.append(f"{task}\n{peer}")
        for _, row in part.iterrows():
            look = seen.setdefault(row["series"], LOOKS[len(seen) % len(LOOKS)])
            if pd.isna(row[value]):
                continue
            height = place + 0.22 * (list(seen).index(row["series"]) - 1) * (len(set(lines.obj["series"])) > 1)
            ax.plot(row[value], height, color=look[0], marker=look[1], linestyle="none")
            if value == "ratio":
                ax.hlines(height, row["ratio_low"], row["ratio_high"], color=look[0])
    for series, (hue, mark) in seen.items():
        ax.plot([], [], color=hue, marker=mark, linestyle="none", label=series)
    ax.axvline(1, color=style.PAPER, linewidth=1.2)
    low, high = min([1, *shown]) / 1.7, max([1, *shown]) * 1.7
    ax.set(xscale="log", xlim=(low, high), xlabel="times as much as ours (log scale)", ylabel="task and peer")
    _ticks(ax, "x", [0.01, 0.1, *([0.2, 0.5, 1, 2, 5] if high <= 51 else [1]), 10, 100, 1000, 10000])
    ax.set_yticks(range(len(names)), names, fontsize=10)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    if len(seen) > 1:
        ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.16 if len(names) < 6 else -0.1), ncols=3, columnspacing=1)


def _ticks(ax: Axes, letter: str, places: Iterable[float], words: str = "{:g}") -> None:
    """Numbers at those of some places that lie within an axis."""
    low, high = getattr(ax, f"get_{letter}lim")()
    within = [place for place in places if low <= place <= high]
    getattr(ax, f"set_{letter}ticks")(within, [words.format(place) for place in within])
    getattr(ax, f"set_{letter}ticks")([], minor=True)


def _memory(ax: Axes, table: pd.DataFrame) -> None:
    """As :func:`_ratios`, of memory at the largest size that the peer has got to: small ones drown in what libraries take."""
    table = table[table["peer_mb"].notna()]
    table = table[table["size"] == table.groupby(["what", "peer"])["size"].transform("max")]
    _ratios(ax, table.assign(memory=table["peer_mb"].clip(lower=1.0) / table["ours_mb"].clip(lower=1.0)), "memory")


def _growth(ax: Axes, table: pd.DataFrame) -> None:
    """Milliseconds a step against a size: ours solid, the peer's dashed."""
    for (what, part), (hue, mark) in zip(table.groupby("what", sort=False), LOOKS, strict=False):
        part = part.sort_values("size")
        ax.plot(part["size"], 1e3 * part["ours_seconds"], color=hue, marker=mark, label=f"{what}, ours")
        ax.plot(part["size"], 1e3 * part["peer_seconds"], color=hue, marker=mark, linestyle="--", mfc="white", label="its peer")
    values = 1e3 * pd.concat([table["ours_seconds"], table["peer_seconds"]]).dropna()
    ax.set(xscale="log", yscale="log", ylim=(values.min() / 3, values.max() * 3))
    ax.set(xlabel=f"{table['size_unit'].iloc[0]} (log scale)", ylabel="milliseconds a step (log scale)")
    _ticks(ax, "x", sorted(table["size"].unique()), "{:,}")
    _ticks(ax, "y", [0.1, 1, 10, 100, 1000, 10000])
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, columnspacing=1)


def _seconds(ax: Axes, table: pd.DataFrame) -> None:
    """Bars of our own seconds with memory in words, and a mark at the limit."""
    places = np.arange(len(table))
    ax.barh(places, table["ours_seconds"], height=0.5, color=style.BLUE)
    right = np.nanmax([table["ours_seconds"].max(), table["limit_seconds"].max()])
    for place, (_, row) in zip(places, table.iterrows(), strict=True):
        if pd.notna(row["limit_seconds"]):
            ax.vlines(row["limit_seconds"], place - 0.4, place + 0.4, color=style.PAPER, linestyle="--")
        words = f"{row['ours_seconds']:.3g} s" + (f", {row['ours_mb']:,.0f} MiB" if pd.notna(row["ours_mb"]) else "")
        ax.annotate(words, (1.05 * right, place), va="center")
    ax.set(xlabel="seconds; dashes: should stay under" if table["limit_seconds"].notna().any() else "seconds", ylabel="task")
    ax.set_yticks(places, table["what"])
    ax.set(xlim=(0, 1.75 * right), ylim=(len(table) - 0.4, -0.6))
    ax.grid(visible=False, axis="y")
