"""Figures of how little annotators label, and of how alike they look."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.aggregation.sparsity import similar_together
from lib.crowd.labels import CrowdLabels
from lib.plotting.style import in_style

__all__ = ["distance_maps", "funnels"]

BLUE, SHADE = "#0072B2", "#E3E3E3"
NORMAL = 1.96  # 95 % of a normal distribution lie within so many standard deviations


def distance_maps(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    limits: Mapping[str, tuple[float, float]] | None = None,
    n_labels: Mapping[str, np.ndarray] | None = None,
    ordered: bool = False,
    columns: int = 2,
) -> tuple[Figure, pd.DataFrame]:
    """Distances between annotators as maps from blue (near) to red (far).

    Args:
        panels: title to distances ``[annotators, annotators]`` and the annotators' numbers.
        limits: title to where the colors end; by default the 10th and 90th percentile of the panel, as in CCC's Figure 3.
        n_labels: title to ``[annotators]`` numbers of labels, drawn as a curve above the map.
        ordered: whether similar annotators are put together; otherwise they stand as given.
        columns: panels side by side.

    Returns:
        The figure and columns panel, annotator, other, distance (each pair once), place (of the annotator in the map).
    """
    curves = n_labels is not None
    lines, above = -(-len(panels) // columns), 1 + curves
    shares = [1, 4] * lines if curves else [1] * lines
    parts = []
    with in_style():
        size = (4.8 * columns, (4.2 + 1.3 * curves) * lines)
        fig, axes = plt.subplots(above * lines, columns, figsize=size, dpi=80, height_ratios=shares, squeeze=False)
        for place, (title, (distances, annotators)) in enumerate(panels.items()):
            order = similar_together(distances) if ordered else np.arange(len(distances))
            low, high = limits[title] if limits else np.percentile(distances, [10, 90])
            row, column = above * (place // columns), place % columns
            axis = axes[row + curves, column]
            image = axis.imshow(distances[np.ix_(order, order)], cmap="coolwarm", vmin=low, vmax=high, interpolation="nearest")
            axis.set(xticks=[], yticks=[], xlabel="annotators", ylabel="annotators", aspect="auto")
            axis.grid(visible=False)
            fig.colorbar(image, ax=axis, label="distance")
            if curves:
                _curve(axes[row, column], n_labels[title][order])
            axes[row, column].set_title(title)
            parts.append(_pairs(title, distances, annotators, order))
    return fig, pd.concat(parts, ignore_index=True)


def funnels(crowds: Mapping[str, tuple[CrowdLabels, np.ndarray]], columns: int = 2) -> tuple[Figure, pd.DataFrame]:
    """Each annotator's accuracy against the number of labels, in the funnel that would hold 95 % of them if all were alike.

    Args:
        crowds: title to labels and ``[items]`` true classes.
        columns: panels side by side.

    Returns:
        The figure and columns crowd, annotator, n_labels, accuracy, crowd_accuracy, inside (the funnel); annotators
        without labels are left out.
    """
    lines = -(-len(crowds) // columns)
    parts = []
    with in_style():
        fig, axes = plt.subplots(lines, columns, figsize=(4.8 * columns, 3.5 * lines), dpi=100, sharey=True, squeeze=False)
        for axis, (title, (crowd, y)) in zip(axes.flat, crowds.items(), strict=False):
            part = _funnel(title, crowd, y)
            p, grid = part["crowd_accuracy"].iloc[0], np.geomspace(part["n_labels"].min(), part["n_labels"].max(), 200)
            half = NORMAL * np.sqrt(p * (1 - p) / grid)
            low, high = (100 * np.clip(p + sign * half, 0, 1) for sign in (-1, 1))
            axis.fill_between(grid, low, high, color=SHADE, label="95 %, if all were alike")
            axis.plot(
                part["n_labels"], 100 * part["accuracy"], "o", ms=4, alpha=0.5, color=BLUE, mec="none", label="an annotator"
            )
            axis.set(xscale="log", ylim=(-3, 103), title=f"{title}: {part['inside'].mean():.0%} inside")
            parts.append(part)
        axes.flat[len(crowds) - 1].legend(loc="lower right")
        for axis in axes.flat[len(crowds) :]:
            axis.set_axis_off()
        fig.supxlabel("labels of an annotator (logarithmic)", fontsize=13)
        fig.supylabel("labels that are right (%)", fontsize=13)
    return fig, pd.concat(parts, ignore_index=True)


def _curve(axis: Axes, n_labels: np.ndarray) -> None:
    axis.step(np.arange(len(n_labels)), n_labels, where="mid", color=BLUE)
    axis.set(yscale="log", ylabel="labels", xticks=[], xlim=(-0.5, len(n_labels) - 0.5))


def _pairs(title: str, distances: np.ndarray, annotators: np.ndarray, order: np.ndarray) -> pd.DataFrame:
    first, second = np.triu_indices(len(distances), 1)
    columns = {"annotator": annotators[first], "other": annotators[second], "distance": distances[first, second]}
    return pd.DataFrame({"panel": title, **columns, "place": np.argsort(order)[first]})


def _funnel(title: str, crowd: CrowdLabels, y: np.ndarray) -> pd.DataFrame:
    right, n = crowd.label == y[crowd.item], crowd.labels_per_annotator
    p, there = right.mean(), np.flatnonzero(n)
    accuracy = np.bincount(crowd.annotator, right, crowd.n_annotators)[there] / n[there]
    inside = np.abs(accuracy - p) <= NORMAL * np.sqrt(p * (1 - p) / n[there])
    columns = {"annotator": there, "n_labels": n[there], "accuracy": accuracy, "crowd_accuracy": p, "inside": inside}
    return pd.DataFrame({"crowd": title, **columns})
