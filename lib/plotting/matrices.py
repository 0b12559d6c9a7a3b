"""Figures of matrices and of ranks. As in :mod:`lib.plotting.charts`, each comes with the numbers in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.plotting.style import PAPER, color, in_style, marker
from lib.results.ranking import Ranks
from lib.results.tables import method_title

__all__ = ["confusions", "critical_difference"]

Titles = Mapping[str, str] | None


def confusions(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    titles: Sequence[str],
    names: tuple[str, str] = ("learned", "true"),
    title: str = "",
    columns: int = 6,
) -> tuple[Figure, pd.DataFrame]:
    """Annotators' confusion matrices in pairs, one above the other, all on one scale from 0 to 1.

    Args:
        pairs: (learned, true), each ``[true class, label]``; a row of zeros, i.e. a class of which the annotator saw no
            item, is gray.
        class_names: one a class.
        titles: one a pair, such as "annotator 9, 120 labels".
        names: what the upper and the lower matrix are.
        title: of the figure.
        columns: pairs side by side.

    Returns:
        The figure and columns annotator (the title), matrix, true_class, label, probability (empty in a row of zeros).

    Raises:
        ValueError: no pairs, another number of titles, or a matrix of another shape than the classes.
    """
    if len(pairs) == 0 or len(pairs) != len(titles):
        raise ValueError(f"need pairs of matrices and as many titles, found {len(pairs)} and {len(titles)}")
    size = len(class_names)
    pairs = [[_seen(matrix, size) for matrix in pair] for pair in pairs]
    columns = min(columns, len(pairs))
    lines = -(-len(pairs) // columns)
    with in_style():
        shape = (1.4 * columns + 2.9, 3.1 * lines + 1.6)
        fig, axes = plt.subplots(2 * lines, columns, figsize=shape, dpi=100, squeeze=False)
        fig.get_layout_engine().set(wspace=0.02, hspace=0.02)
        for place, axis in enumerate(axes.flat):
            block, which, column = place // columns // 2, place // columns % 2, place % columns
            number = block * columns + column
            if number >= len(pairs):
                axis.set_axis_off()
                continue
            image = _draw_matrix(axis, pairs[number][which])
            if which == 0:
                axis.set_title(titles[number], fontsize=13)
            _name_classes(axis, class_names, bottom=which == 1 and block == lines - 1, left=column == 0)
            if column == 0:
                axis.set_ylabel(names[which], fontweight="bold")
        gray = any(np.isnan(matrix).any() for pair in pairs for matrix in pair)
        fig.supxlabel("label given" + (" (gray: no item of that true class was seen)" if gray else ""), fontsize=13)
        fig.supylabel("true class", fontsize=13)
        fig.suptitle(title, fontsize=14)
        bar = fig.colorbar(image, ax=axes, shrink=0.7, aspect=30, pad=0.02)
        bar.set_label("P(label | true class)")
        bar.outline.set_visible(False)
        bar.ax.set_ylim(0, 1)  # a probability is never below zero
    return fig, _long_matrices(pairs, class_names, titles, names)


def critical_difference(ranks: Ranks, title: str = "", titles: Titles = None) -> tuple[Figure, pd.DataFrame]:
    """Average ranks as dots, the best on top, a faint dot a crowd; the shaded methods do not differ from the best.

    Args:
        ranks: from ``ranking.ranks``.
        title: of the figure.
        titles: other titles for methods.

    Returns:
        The figure and columns method, average_rank, n_blocks, critical_difference.
    """
    average, n = ranks.average, len(ranks.average)
    crowds = [name for name in ("dataset", "case") if name in ranks.blocks.index.names]
    apart = ranks.blocks.groupby(level=crowds, sort=False).mean() if crowds else ranks.blocks[:0]
    best, critical = average.iloc[0], ranks.critical_difference
    with in_style():
        fig, axis = plt.subplots(figsize=(8, 1.8 + 0.3 * n))
        axis.axvspan(best, best + critical, color=PAPER, alpha=0.15, lw=0)
        for place, (method, rank) in enumerate(average.items()):
            if len(apart) > 1:
                axis.plot(apart[method], [place] * len(apart), "o", color=color(method), alpha=0.3, ms=5, lw=0)
            axis.plot(rank, place, marker=marker(method), color=color(method), ms=8)
        axis.set_yticks(range(n), [f"{method_title(name, titles)}  {rank:.1f}" for name, rank in average.items()])
        axis.set(ylim=(n - 0.4, -0.6), xlim=(0.5, n + 0.5), ylabel="method, average rank", title=title)
        axis.set_xticks(range(1, n + 1, math.ceil(n / 14)))  # numbers that do not touch
        axis.set_xlabel(
            f"average rank over {len(ranks.blocks)} blocks (1 is best); faint: each crowd\n"
            f"shaded: critical difference {critical:.2f} (Nemenyi, {1 - ranks.alpha:.0%}) from the best"
        )
        axis.grid(axis="y", visible=False)
    lines = {"method": average.index, "average_rank": average.to_numpy(), "n_blocks": len(ranks.blocks)}
    return fig, pd.DataFrame(lines | {"critical_difference": critical})


def _seen(matrix: np.ndarray, size: int) -> np.ndarray:
    matrix = np.array(matrix, dtype=float)
    if matrix.shape != (size, size):
        raise ValueError(f"a matrix of {size} classes has the shape ({size}, {size}), found {matrix.shape}")
    matrix[matrix.sum(axis=1) == 0] = np.nan
    return matrix


def _draw_matrix(axis: Axes, matrix: np.ndarray):
    colors = plt.get_cmap("Blues").with_extremes(bad="#D9D9D9")
    image = axis.imshow(np.ma.masked_invalid(matrix), cmap=colors, vmin=0, vmax=1, interpolation="nearest")
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    return image


def _name_classes(axis: Axes, class_names: Sequence[str], bottom: bool, left: bool) -> None:
    places = range(len(class_names))
    axis.set_xticks(places, class_names if bottom else [""] * len(class_names), rotation=90)
    axis.set_yticks(places, class_names if left else [""] * len(class_names))
    axis.tick_params(length=0, labelsize=12 if len(class_names) <= 10 else 9)


def _long_matrices(pairs, class_names, titles, names) -> pd.DataFrame:
    parts = []
    for pair, title in zip(pairs, titles, strict=True):
        for matrix, name in zip(pair, names, strict=True):
            wide = pd.DataFrame(matrix, index=pd.Index(class_names, name="true_class"), columns=list(class_names))
            long = wide.reset_index().melt("true_class", var_name="label", value_name="probability")
            parts.append(long.assign(annotator=title, matrix=name))
    columns = ["annotator", "matrix", "true_class", "label", "probability"]
    return pd.concat(parts, ignore_index=True)[columns]
