"""What few labels say about an annotator, and what chance alone would show.

A confusion matrix counted from a handful of labels is mostly luck. So any difference between annotators is to be held
against a crowd of the same shape in which there is none (:func:`interchangeable`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist, squareform

from lib.aggregation.confusion import rows_to_one
from lib.crowd.labels import CrowdLabels
from lib.simulation import drawing

ESTIMATES = ("own", "crowd", "both")
SPARE = 20  # labels of an annotator to be scored on, at least
_UNIFORM = 1.0  # labels per row that an annotator's own matrix starts from, spread equally over all classes


def confusion_distances(confusion: np.ndarray) -> np.ndarray:
    """``[annotators, annotators]``: how far confusion matrices ``[annotators, true class, label]`` lie apart, as the mean
    squared difference of their entries (Zhang et al., CCC, 2024, Figure 3).

    Rows of zeros (no item of that class seen) count as they are. Raises ValueError for another shape.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    if confusion.ndim != 3:
        raise ValueError(f"confusion must be [annotators, true class, label], found shape {confusion.shape}")
    flat = confusion.reshape(len(confusion), -1)
    return squareform(pdist(flat, "sqeuclidean") / flat.shape[1])


def similar_together(distances: np.ndarray) -> np.ndarray:
    """``[annotators]``: an order in which similar annotators are neighbors, the leaves of a clustering (average linkage) of
    symmetric distances ``[annotators, annotators]``; ValueError where they are no such matrix of at least two."""
    return leaves_list(linkage(squareform(distances, checks=True), "average", optimal_ordering=True))


def explained_by_groups(confusion: np.ndarray, groups: np.ndarray) -> float:
    """The share of the spread between matrices ``[annotators, true class, label]`` that lies between groups ``[annotators]``
    (whole numbers from 0 on).

    ``1 - (squared distances to the group's mean) / (squared distances to the common mean)``, 0 to 1; 0 where all matrices are
    equal. Raises ValueError for sizes that do not fit.
    """
    if np.shape(groups) != (len(confusion),):
        raise ValueError(f"groups must be one for each of {len(confusion)} annotators, found shape {np.shape(groups)}")
    raw = np.asarray(confusion, dtype=np.float64).reshape(len(confusion), -1)
    flat = raw - raw.mean(axis=0)
    means = pd.DataFrame(flat).groupby(np.asarray(groups)).transform("mean").to_numpy()
    total = (flat**2).sum()
    if total <= np.finfo(np.float64).eps * (raw**2).sum():  # equal, but for rounding
        return 0.0
    return float(1 - ((flat - means) ** 2).sum() / total)


def interchangeable(crowd: CrowdLabels, y: np.ndarray, seed: int) -> CrowdLabels:
    """The same annotators on the same items, all with one confusion matrix: that of the whole crowd.

    From true classes ``y`` ``[items]``; ValueError where they do not fit. ``seed`` is that of the labels.
    """
    counts = crowd.confusion_counts(y).sum(axis=0).astype(np.float64)
    counts[counts.sum(axis=1) == 0] = 1  # a class without labels, which nothing will be drawn from
    everyone = np.broadcast_to(rows_to_one(counts), (crowd.n_annotators, *counts.shape))
    label = drawing.draw(y, everyone, crowd.item, crowd.annotator, rng=seed)
    return replace(crowd, label=label)


def accuracy_spread(crowd: CrowdLabels, y: np.ndarray) -> float:
    """How much annotators differ in accuracy, without the part that is chance: a variance, of shares.

    The mean, over pairs of labels by the same annotator, of the product of their deviations from how often the crowd is
    right on items of that class, by true classes ``y`` ``[items]``. Chance cancels; so the estimate may be negative where
    annotators do not differ. Those with many labels count most.

    Raises:
        ValueError: ``y`` does not fit, or nobody has two labels.
    """
    counts = crowd.confusion_counts(y).sum(axis=0)
    true, n = y[crowd.item], crowd.labels_per_annotator
    if not (n > 1).any():
        raise ValueError("a spread needs an annotator with two labels or more, found none")
    typical = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    deviation = (crowd.label == true) - typical[true]
    sums, squares = (np.bincount(crowd.annotator, values, crowd.n_annotators) for values in (deviation, deviation**2))
    return float((sums**2 - squares).sum() / (n * (n - 1)).sum())


def held_out_loss(crowd: CrowdLabels, y: np.ndarray, sizes: Sequence[int], seed: int, strength: float = 5.0) -> pd.DataFrame:
    """How well a confusion matrix made of an annotator's first labels predicts the others, by true classes ``y`` ``[items]``.

    Three matrices, of as many labels as ``sizes`` say: the annotator's own counts; the average of all other annotators; and
    both, the own counts added to ``strength`` labels per row of the others' average. Only annotators take part who have enough
    labels for the largest size, and :data:`SPARE` more to be scored on; so all sizes are of the same annotators.

    Returns:
        One line per size and estimate: columns ``n_labels``, ``estimate`` (one of :data:`ESTIMATES`), ``loss`` (mean surprise
        at a held-out label, nats), ``n_annotators``.

    Raises:
        ValueError: ``y`` does not fit, or nobody has that many labels.
    """
    total = crowd.confusion_counts(y)
    first, most = sorted(sizes), crowd.labels_per_annotator.max(initial=0)
    if most < first[-1] + SPARE:
        raise ValueError(f"nobody has {first[-1]} labels and {SPARE} to spare; the most anybody has is {most}")
    enough = crowd.labels_per_annotator >= first[-1] + SPARE
    order, place = np.random.default_rng(seed).permutation(len(crowd)), np.empty(len(crowd), dtype=np.int64)
    place[order] = pd.Series(order).groupby(crowd.annotator[order]).cumcount()  # 0, 1, ... among the labels of its annotator
    others = rows_to_one(total.sum(axis=0) - total + _UNIFORM / crowd.n_classes)
    scored = enough[crowd.annotator] & (place >= first[-1])
    cell = crowd.annotator[scored], y[crowd.item[scored]], crowd.label[scored]
    lines = []
    for size in first:
        counts = crowd.select_labels(place < size).confusion_counts(y)
        matrices = (counts + _UNIFORM / crowd.n_classes, others, counts + strength * others)
        for name, matrix in zip(ESTIMATES, matrices, strict=True):
            lines.append((size, name, float(-np.log(rows_to_one(matrix)[cell]).mean()), int(enough.sum())))
    return pd.DataFrame(lines, columns=["n_labels", "estimate", "loss", "n_annotators"])
