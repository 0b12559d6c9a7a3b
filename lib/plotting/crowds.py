"""Figures of a crowd at work: images with what was said of them, and annotators with their accuracies."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.crowd.labels import CrowdLabels
from lib.plotting.style import BLUE, GRAY, GREEN, ORANGE, PAPER, PURPLE, RED, in_style

# Shapes tell groups apart where colors do not.
LOOKS = [(BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (RED, "D"), (PURPLE, "v"), (GRAY, "P")]
CALM, RANDOM = "no sign of guessing", "looks random"
NORMAL = 1.96  # 95 % of a normal distribution lie within so many standard deviations


def disagreement(
    images: np.ndarray,
    crowd: CrowdLabels,
    items: Sequence[int],
    y: np.ndarray | None,
    names: Sequence[str] | None = None,
    title: str = "",
) -> tuple[Figure, pd.DataFrame]:
    """Some images, above each what was said of it, and by whom.

    ``images`` are ``[items, height, width]`` gray values, ``items`` those to show, ``y`` ``[items]`` true classes, shown
    beneath; None covers them, for a class to guess. ``names`` of the annotators are by default the crowd's, else their numbers.
    Returns the figure and columns item, true_class (empty where covered), annotator, label. Raises ValueError without items.
    """
    if len(items) == 0:
        raise ValueError("there is nothing to show: no items were given")
    names = names if names is not None else crowd.annotator_names or range(crowd.n_annotators)
    classes = crowd.class_names or range(crowd.n_classes)
    columns, lines = min(4, len(items)), []
    rows = -(-len(items) // columns)
    with in_style():
        fig, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 2.75 * rows), squeeze=False)
        for axis in axes.flat[len(items) :]:
            axis.set_axis_off()
        for axis, item in zip(axes.flat, items, strict=False):
            labels = range(crowd.offsets[item], crowd.offsets[item + 1])
            said = [(names[crowd.annotator[row]], classes[crowd.label[row]]) for row in labels]
            axis.imshow(images[item], cmap="gray_r", interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            axis.set_title("\n".join(f"{name}: {label}" for name, label in said), fontsize=12, parse_math=False)
            true = None if y is None else classes[y[item]]
            axis.set_xlabel("true: ?" if y is None else f"true: {true}", color=GRAY, parse_math=False)
            lines += [(item, true, name, label) for name, label in said]
        fig.suptitle(title, fontsize=14)
    return fig, pd.DataFrame(lines, columns=["item", "true_class", "annotator", "label"])


def accuracies(
    report: pd.DataFrame,
    groups: Mapping | None = None,
    truth: Mapping | None = None,
    legend: str = "",
    title: str = "",
) -> tuple[Figure, pd.DataFrame]:
    """Annotators from the best to the worst: estimated accuracy with its interval, the truth where it is known.

    ``report`` is from ``annotator_report.report``; an annotator without labels is left out. ``groups`` gives annotators the
    name of a group, which decides color and shape (by default who looks random), ``truth`` their true accuracy (a share);
    ``legend`` says what the groups are. Returns the figure and columns annotator, group, n_labels, accuracy, ci_low, ci_high,
    true_accuracy (where given), in percent, from top to bottom. Raises ValueError where nobody gave a label, or there are more
    groups than shapes.
    """
    data = report[report["n_labels"] > 0].sort_values(["accuracy", "annotator"], ascending=[False, True], ignore_index=True)
    if data.empty:
        raise ValueError("there is nothing to show: nobody gave a label")
    if groups is None:
        group, looks = data["looks_random"].map({False: CALM, True: RANDOM}), {CALM: LOOKS[0], RANDOM: LOOKS[3]}
    else:
        group = data["annotator"].map(groups)
        looks = dict(zip(group.unique(), LOOKS, strict=False))
    if absent := set(group) - set(looks):
        raise ValueError(f"at most {len(LOOKS)} groups can be told apart, found {len(looks) + len(absent)}")
    drawn = pd.DataFrame({"annotator": data["annotator"], "group": group, "n_labels": data["n_labels"]})
    drawn[["accuracy", "ci_low", "ci_high"]] = data[["accuracy", "ci_low", "ci_high"]] * 100
    if truth is not None:
        drawn["true_accuracy"] = data["annotator"].map(truth) * 100
    with in_style():
        fig, axis = plt.subplots(figsize=(8, max(3.6, 1.6 + 0.31 * len(drawn))))
        for level, line in enumerate(drawn.to_dict("records")):
            color, marker = looks[line["group"]]
            ends = [[line["accuracy"] - line["ci_low"]], [line["ci_high"] - line["accuracy"]]]
            axis.errorbar(line["accuracy"], level, xerr=ends, color=color, marker=marker, capsize=3, lw=1.6, ms=7)
        handles = [Line2D([], [], color=c, marker=m, label=name) for name, (c, m) in looks.items() if name in set(group)]
        if truth is not None:
            mark = {"color": PAPER, "marker": "|", "ls": "", "ms": 14, "mew": 2.2, "zorder": 5}
            axis.plot(drawn["true_accuracy"], range(len(drawn)), **mark)
            handles.append(Line2D([], [], label="true accuracy", **mark))
        names = [f"{name} ({count})" for name, count in zip(drawn["annotator"], drawn["n_labels"], strict=True)]
        axis.set_yticks(range(len(drawn)), names, parse_math=False)  # a name with dollars is no formula
        axis.set(xlabel="accuracy (%)", ylabel="annotator (number of labels)", title=title, xlim=(-2, 102))
        axis.set_ylim(len(drawn) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
        words = f"{legend}\n(mean and 95 % interval)".strip()
        fig.legend(handles=handles, title=words, loc="outside right upper", alignment="left")
    return fig, drawn


def funnels(crowds: Mapping[str, tuple[CrowdLabels, np.ndarray]]) -> tuple[Figure, pd.DataFrame]:
    """Each annotator's accuracy against the number of labels, in the funnel that would hold 95 % of them if all were alike.

    ``crowds`` has labels and ``[items]`` true classes by title, two side by side. Returns the figure and columns crowd,
    annotator, n_labels, accuracy, crowd_accuracy, inside (the funnel); annotators without labels are left out.
    """
    lines, parts = -(-len(crowds) // 2), []
    with in_style():
        fig, axes = plt.subplots(lines, 2, figsize=(9.6, 3.5 * lines), dpi=100, sharey=True, squeeze=False)
        for axis in axes.flat[len(crowds) :]:
            axis.set_axis_off()
        for axis, (title, (crowd, y)) in zip(axes.flat, crowds.items(), strict=False):
            right, there = crowd.label == y[crowd.item], np.flatnonzero(crowd.labels_per_annotator)
            p, n = right.mean(), crowd.labels_per_annotator[there]
            accuracy = np.bincount(crowd.annotator, right, crowd.n_annotators)[there] / n
            inside = np.abs(accuracy - p) <= NORMAL * np.sqrt(p * (1 - p) / n)
            numbers = {"annotator": there, "n_labels": n, "accuracy": accuracy, "crowd_accuracy": p, "inside": inside}
            parts.append(pd.DataFrame({"crowd": title, **numbers}))
            grid = np.geomspace(n.min(), n.max(), 200)
            half = NORMAL * np.sqrt(p * (1 - p) / grid)
            low, high = (100 * np.clip(p + sign * half, 0, 1) for sign in (-1, 1))
            axis.fill_between(grid, low, high, color="#E3E3E3", label="95 %, if all were alike")
            axis.plot(n, 100 * accuracy, "o", ms=4, alpha=0.5, color=BLUE, mec="none", label="an annotator")
            axis.set(xscale="log", ylim=(-3, 103), title=f"{title}: {inside.mean():.0%} inside")
        axes.flat[len(crowds) - 1].legend(loc="lower right")
        fig.supxlabel("labels of an annotator (logarithmic)", fontsize=13)
        fig.supylabel("labels that are right (%)", fontsize=13)
    return fig, pd.concat(parts, ignore_index=True)
