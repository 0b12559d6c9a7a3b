"""Figures of matrices, class probabilities and ranks. As in :mod:`lib.plotting.charts`, each comes with the numbers in it."""

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lib.aggregation.sparsity import similar_together
from lib.plotting.style import BLUE, GRAY, GREEN, PAPER, RED, color, in_style, marker
from lib.results.ranking import Ranks
from lib.results.tables import method_title


def confusions(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    titles: Sequence[str],
    title: str = "",
    columns: int = 6,
) -> tuple[Figure, pd.DataFrame]:
    """Annotators' confusion matrices in pairs, learned above true, all on one scale from 0 to 1.

    ``pairs`` are (learned, true), each ``[true class, label]``; a row of zeros, i.e. a class of which the annotator saw no
    item, is gray. ``titles`` name the pairs, such as "annotator 9, 120 labels"; ``columns`` of them stand side by side. Returns
    the figure and columns annotator (the title), matrix, true_class, label, probability (empty in a row of zeros). Raises
    ValueError for another number of titles, or a matrix of another shape than the classes.
    """
    columns, parts = min(columns, len(pairs)), []
    lines = -(-len(pairs) // columns)
    with in_style():
        shape = (1.4 * columns + 2.9, 3.1 * lines + 1.6)
        fig, axes = plt.subplots(2 * lines, columns, figsize=shape, dpi=100, squeeze=False)
        fig.set_layout_engine("none")  # for now: each heat map draws the whole figure
        for axis in axes.flat:
            axis.set_axis_off()
        for place, (pair, name) in enumerate(zip(pairs, titles, strict=True)):
            block, column = divmod(place, columns)
            for line, matrix, whose in zip((2 * block, 2 * block + 1), pair, ("learned", "true"), strict=True):
                axis = axes[line, column]
                seen = np.sum(matrix, axis=1, keepdims=True) != 0
                table = pd.DataFrame(np.where(seen, matrix, np.nan), list(class_names), list(class_names))
                axis.set_axis_on()
                axis.set_facecolor("#D9D9D9")  # seen through where a row has no numbers
                sns.heatmap(
                    table, cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=axis,
                    xticklabels=line == 2 * lines - 1, yticklabels=column == 0,
                )  # fmt: skip
                axis.tick_params(length=0, labelsize=12 if len(class_names) <= 10 else 9)
                axis.tick_params("x", rotation=90)
                axis.tick_params("y", rotation=0)
                axis.set_title(name if whose == "learned" else "", fontsize=13)
                axis.set_ylabel(whose if column == 0 else "", fontweight="bold")
                long = table.rename_axis("true_class").reset_index().melt("true_class", None, "label", "probability")
                parts.append(long.assign(annotator=name, matrix=whose))
        data = pd.concat(parts, ignore_index=True)[["annotator", "matrix", "true_class", "label", "probability"]]
        words = "label given" + (" (gray: no item of that true class was seen)" if data["probability"].isna().any() else "")
        fig.supxlabel(textwrap.fill(words, int(9 * shape[0])), fontsize=13)
        fig.supylabel("true class", fontsize=13)
        fig.suptitle(title, fontsize=14)
        fig.set_layout_engine("constrained", wspace=0.02, hspace=0.02)
        bar = fig.colorbar(axes[0, 0].collections[0], ax=axes, shrink=0.7, aspect=30, pad=0.02)
        bar.set_label("P(label | true class)")
        bar.outline.set_visible(False)
        bar.ax.set_ylim(0, 1)  # a probability is never below zero
    return fig, data


def heat(
    tables: Mapping[str, pd.DataFrame],
    framed: Collection[tuple[str, str]] = (),
    *,
    xlabel: str,
    ylabel: str,
    most: float = 1.0,
) -> tuple[Figure, pd.DataFrame]:
    """Tables of numbers side by side, as cells that are darker where the number is larger.

    ``tables`` are by title, all with the same rows and columns; cells of ``framed`` (row, column) are marked, and ``most`` is
    the number that is darkest. Returns the figure and columns table, row, column, value. Raises ValueError where rows or
    columns differ.
    """
    first = next(iter(tables.values()))
    if any(not (table.index.equals(first.index) and table.columns.equals(first.columns)) for table in tables.values()):
        raise ValueError("the tables need the same rows and columns")
    with in_style():
        shape = (2.6 + 3.3 * len(tables), 1.6 + 0.48 * len(first))
        fig, axes = plt.subplots(1, len(tables), figsize=shape, sharey=True, squeeze=False, dpi=90)
        for axis, (title, table) in zip(axes.flat, tables.items(), strict=True):
            names = [name.replace(" ", "\n") for name in table.columns]
            sns.heatmap(table, cmap="Blues", vmin=0, vmax=most, annot=True, fmt=".2f", cbar=False, xticklabels=names, ax=axis)
            for row, column in np.argwhere([[(row, column) in framed for column in table] for row in table.index]):
                axis.add_patch(Rectangle((column + 0.03, row + 0.06), 0.94, 0.88, fill=False, ec=RED, lw=2.5))
            axis.tick_params("x", labelsize=11, rotation=0)
            axis.tick_params("y", rotation=0)
            axis.set(title=title, xlabel=xlabel, ylabel=ylabel if axis is axes[0, 0] else "")
    wide = pd.concat(tables, names=["table", "row"]).reset_index()
    return fig, wide.melt(["table", "row"], var_name="column")


def distance_maps(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    limits: Mapping[str, tuple[float, float]] | None = None,
    n_labels: Mapping[str, np.ndarray] | None = None,
    ordered: bool = False,
) -> tuple[Figure, pd.DataFrame]:
    """Distances between annotators as maps from blue (near) to red (far), two side by side.

    ``panels`` has distances ``[annotators, annotators]`` and the annotators' numbers by title; ``limits`` where the colors end,
    by default at the 10th and 90th percentile of the panel, as in CCC's Figure 3; ``n_labels`` ``[annotators]`` numbers of
    labels, drawn as a curve above the map. ``ordered`` puts similar annotators together. Returns the figure and columns panel,
    annotator, other, distance (each pair once), place (of the annotator in the map).
    """
    curves, lines, parts = n_labels is not None, -(-len(panels) // 2), []
    with in_style():
        shares = ([1, 4] if curves else [1]) * lines
        size = (8.0, (3.5 + 1.1 * curves) * lines)
        fig, axes = plt.subplots(len(shares), 2, figsize=size, dpi=96, height_ratios=shares, squeeze=False)
        blocks = axes.reshape(lines, -1, 2).swapaxes(1, 2).reshape(2 * lines, -1)  # of a panel: (curve and) map
        for (title, (distances, annotators)), block in zip(panels.items(), blocks, strict=False):
            order = similar_together(distances) if ordered else np.arange(len(distances))
            low, high = limits[title] if limits else np.percentile(distances, [10, 90])
            looks = {"cmap": "coolwarm", "vmin": low, "vmax": high, "cbar_kws": {"label": "distance"}}
            sns.heatmap(distances[np.ix_(order, order)], xticklabels=False, yticklabels=False, ax=block[-1], **looks)
            block[-1].set(xlabel="annotators", ylabel="annotators")
            if curves:
                block[0].step(np.arange(len(order)) + 0.5, n_labels[title][order], where="mid", color=BLUE)
                block[0].set(yscale="log", ylabel="labels", xticks=[], xlim=(0, len(order)))
            block[0].set_title(title, fontsize=13)
            one, two = np.triu_indices(len(distances), 1)
            pairs = {"annotator": annotators[one], "other": annotators[two], "distance": distances[one, two]}
            parts.append(pd.DataFrame({"panel": title, **pairs, "place": np.argsort(order)[one]}))
    return fig, pd.concat(parts, ignore_index=True)


def critical_difference(ranks: Ranks) -> tuple[Figure, pd.DataFrame]:
    """Average ranks as dots, the best on top, a faint dot a crowd; the shaded methods do not differ from the best.

    ``ranks`` are from ``ranking.ranks``. Returns the figure and columns method, average_rank, n_blocks, critical_difference.
    """
    average, n = ranks.average, len(ranks.average)
    crowds = [name for name in ("dataset", "case") if name in ranks.blocks.index.names]
    apart = ranks.blocks.groupby(level=crowds, sort=False).mean() if crowds else ranks.blocks[:0]
    best, critical = average.iloc[0], ranks.critical_difference
    with in_style():
        fig, axis = plt.subplots(figsize=(8, max(3.2, 1.8 + 0.3 * n)))
        axis.axvspan(best, best + critical, color=PAPER, alpha=0.15, lw=0)
        for place, (method, rank) in enumerate(average.items()):
            if len(apart) > 1:
                axis.plot(apart[method], [place] * len(apart), "o", color=color(method), alpha=0.3, ms=5, lw=0)
            axis.plot(rank, place, marker=marker(method), color=color(method), ms=8)
        axis.set_yticks(range(n), [f"{method_title(name)}  {rank:.1f}" for name, rank in average.items()])
        axis.set(ylim=(n - 0.4, -0.6), xlim=(0.5, n + 0.5), ylabel="method, average rank")
        axis.set_xticks(range(1, n + 1, math.ceil(n / 14)))  # numbers that do not touch
        fig.supxlabel(  # of the whole figure, which is wider than the axis
            f"average rank over {len(ranks.blocks)} blocks (1 is best); faint: each crowd\n"
            f"shaded: within the critical difference {critical:.2f} of the best (Nemenyi, {1 - ranks.alpha:.0%})",
            fontsize=13,
        )
        axis.grid(axis="y", visible=False)
    data = pd.DataFrame({"method": average.index, "average_rank": average.to_numpy()})
    return fig, data.assign(n_blocks=len(ranks.blocks), critical_difference=critical)


def simplex(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    corners: Sequence[str],
    title: str = "",
    columns: int = 3,
    most: int = 400,
) -> tuple[Figure, pd.DataFrame]:
    """Class probabilities of three classes as points of a triangle: a corner is certainty, the center knows nothing.

    ``panels`` has ``[items, 3]`` probabilities and ``[items]`` classes, which color the points, by title; ``corners`` are the
    classes' names. ``columns`` panels stand side by side, and the first ``most`` items are drawn. Returns the figure and
    columns panel, class and one with the probability of each class.
    """
    lines, columns, colors, parts = -(-len(panels) // columns), min(columns, len(panels)), np.array([BLUE, RED, GREEN]), []
    plane = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])  # the first two corners below
    with in_style():
        fig, axes = plt.subplots(lines, columns, figsize=(2.9 * columns, 0.6 + 2.7 * lines), squeeze=False, dpi=90)
        for axis in axes.flat:
            axis.set_axis_off()
        for (name, (points, classes)), axis in zip(panels.items(), axes.flat, strict=False):
            points, classes = np.asarray(points)[:most], np.asarray(classes)[:most]
            axis.plot(*plane[[0, 1, 2, 0]].T, color=GRAY, lw=1)
            axis.scatter(*(points @ plane).T, s=8, c=colors[classes], lw=0)
            for corner, (across, up), lift in zip(corners, plane, (-0.04, -0.04, 0.03), strict=True):
                axis.text(across, up + lift, corner, ha="center", va="bottom" if lift > 0 else "top", fontsize=10)
            axis.set(aspect="equal", xlim=(-0.2, 1.2), ylim=(-0.16, 1.0))
            axis.set_title(name, fontsize=12)
            parts.append(pd.DataFrame(points, columns=list(corners)).assign(panel=name, true_class=classes))
        fig.suptitle(title, fontsize=14)
    return fig, pd.concat(parts, ignore_index=True)[["panel", "true_class", *corners]]
