"""Confusion matrices ``[annotators, true class, label]``: counting them, and how far an estimate is from the truth."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from lib.crowd.labels import CrowdLabels


def expected_counts(posterior: np.ndarray, crowd: CrowdLabels) -> np.ndarray:
    """``[annotators, true class, label]``: how often each annotator is expected to have said what of what."""
    counts = crowd.incidence.T @ np.asarray(posterior, dtype=np.float64)
    return counts.reshape(crowd.n_annotators, crowd.n_classes, crowd.n_classes).transpose(0, 2, 1)


def of_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The values as float64. Raises ValueError where they have another shape."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, found {values.shape}")
    return values


def coin_matrices(right: np.ndarray, n_classes: int) -> np.ndarray:
    """``[annotators, true class, label]`` of annotators who are right with probability ``right`` ``[annotators]`` or
    ``[annotators, true class]`` and say every wrong class equally often."""
    right = np.broadcast_to(right if right.ndim == 2 else right[:, None], (len(right), n_classes))
    matrices = np.repeat(((1 - right) / max(n_classes - 1, 1))[:, :, None], n_classes, axis=2)
    diagonal = np.arange(n_classes)
    matrices[:, diagonal, diagonal] = right
    return matrices


def rows_to_one(values: np.ndarray) -> np.ndarray:
    """The values over the sum of their row (the last axis)."""
    return values / values.sum(axis=-1, keepdims=True)


def alignment(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """``[classes]``: the one order of the estimate's classes, for *all* annotators, in which ``estimate[:, order]`` agrees best
    with the truth (Hungarian method on the summed agreement); the identity when nothing was switched.

    A permutation for each annotator would hide that labels were switched between them. Raises ValueError for different shapes.
    """
    of_shape("estimate", estimate, truth.shape)
    agreement = np.einsum("rik,rjk->ji", estimate, truth)
    return linear_sum_assignment(-agreement)[1]


def confusion_error(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Mean relative L1 error of confusion matrices, 0 (equal) to 2.

    ``mean over r of |A^_r - A_r|_1 / |A_r|_1`` over the annotators with a label, and their rows with a label in truth; a row of
    zeros there (nothing of that class seen) is left out. From Ibrahim et al. 2023, without the slips of the released function.

    Raises:
        ValueError: different shapes, or no row to compare.
    """
    of_shape("estimate", estimate, truth.shape)
    seen = truth.sum(axis=2) > 0
    annotators = seen.any(axis=1)
    if not annotators.any():
        raise ValueError("no annotator has a true confusion matrix to compare with")
    difference = (np.abs(estimate - truth).sum(axis=2) * seen).sum(axis=1)
    return float((difference[annotators] / seen.sum(axis=1)[annotators]).mean())
