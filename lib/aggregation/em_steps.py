"""The two steps of Dawid-Skene's EM, on sparse labels; what they maximize is in :mod:`lib.aggregation.dawid_skene`.

Both are one sparse matrix product each. With ``S`` the incidence matrix ``[items, annotators * classes]`` that has a one where
an annotator said a class of an item, the M-step counts ``S^T p``, and the E-step sums ``S log A``. So work and memory grow with
the labels, not with items x annotators. DL-EM runs the same steps with a network in the place of the prior.
"""

import contextlib
import math
import os
from pathlib import Path

import numpy as np

from lib.aggregation.confusion import expected_counts, of_shape
from lib.crowd.labels import CrowdLabels
from lib.registry import within

# Without smoothing, a count or a prior of zero would rule a class out by a single label. crowd-kit uses the same floor.
FLOOR = 1e-10
ROW_TOLERANCE = 1e-3  # rows that come from float32
BLOCK = 4096  # items


def m_step(
    posterior: np.ndarray, crowd: CrowdLabels, smoothing: float = 0.01, prior_counts: np.ndarray | None = None
) -> np.ndarray:
    """Confusion matrices ``[annotators, true class, label]`` from posteriors ``[items, classes]``: expected counts, to which
    counts from earlier work and ``smoothing`` are added, normalized so that rows sum to one.

    Without smoothing, counts are raised to at least 1e-10 among the classes that the annotator ever said; the others keep
    probability zero. Without evidence a row is uniform: over all classes, or with ``smoothing=0`` over those that the annotator
    ever said (over all, for an annotator without labels).

    Raises:
        ValueError: a posterior of another shape, or negative or non-finite smoothing.
    """
    within("smoothing", smoothing, 0)
    posterior = of_shape("posterior", posterior, (crowd.n_items, crowd.n_classes))
    counts = expected_counts(posterior, crowd).transpose(0, 2, 1)  # [annotators, label, true class], as it lies in memory
    if prior_counts is not None:
        counts += prior_counts.transpose(0, 2, 1)
    if smoothing > 0:
        counts += smoothing
    else:
        used = counts.sum(axis=2, keepdims=True) > 0  # [annotators, label, 1]; posteriors sum to one
        used |= ~used.any(axis=1, keepdims=True)
        counts = np.where(used, np.maximum(counts, FLOOR), 0.0)
    counts /= counts.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(counts.transpose(0, 2, 1))


def e_step(log_prior: np.ndarray, confusion: np.ndarray, crowd: CrowdLabels) -> tuple[np.ndarray, float]:
    """Posteriors ``[items, classes]`` of the true classes from a prior and the labels, and the labels' log-likelihood in nats,
    ``sum_i log sum_j prior[i, j] * prod_(r, k) A[r, j, k]``.

    ``log_prior`` is ``[classes]`` for all items, or ``[items, classes]`` for each (a network's log-softmax). Rows of
    ``confusion`` ``[annotators, true class, label]`` sum to one, or to zero where nothing is known of them. An item that
    nobody labeled keeps its prior and adds nothing to the likelihood.

    Raises:
        ValueError: shapes that do not fit the crowd, or rows of ``confusion`` that sum to something else.
    """
    log_prior = np.asarray(log_prior, dtype=np.float64)
    confusion = of_shape("confusion", confusion, (crowd.n_annotators, crowd.n_classes, crowd.n_classes))
    total = confusion.sum(axis=2)
    wrong = np.argwhere(~((np.abs(total - 1) < ROW_TOLERANCE) | (total == 0)))
    if len(wrong):
        annotator, true = wrong[0]
        found = f"{total[annotator, true]} for annotator {annotator} and class {true}"
        raise ValueError(f"confusion needs rows that sum to one (or to zero, without evidence), found {found}")
    if log_prior.shape not in ((crowd.n_classes,), (crowd.n_items, crowd.n_classes)):
        expected = f"{(crowd.n_classes,)} or {(crowd.n_items, crowd.n_classes)}"
        raise ValueError(f"log_prior must have the shape {expected}, found {log_prior.shape}")
    # The smallest normal number stands in for a zero, so that no -inf (and from it no NaN) can enter the sums.
    log_confusion = np.empty(confusion.shape)  # laid out for the product, which needs no copy of it
    np.maximum(confusion.transpose(0, 2, 1), np.finfo(np.float64).tiny, out=log_confusion)
    np.log(log_confusion, out=log_confusion)
    scores = crowd.incidence @ log_confusion.reshape(-1, crowd.n_classes)  # [items, classes]
    return _posterior(scores, log_prior, crowd)


def _posterior(scores: np.ndarray, log_prior: np.ndarray, crowd: CrowdLabels) -> tuple[np.ndarray, float]:
    total, largest = normalize(scores, log_prior)
    return scores, float((np.log(total) + largest).sum(where=crowd.labels_per_item > 0))


def normalize(scores: np.ndarray, log_prior: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Add the prior to ``scores`` ``[items, classes]``, softmax in place, and return two vectors ``[items]`` of which the
    log-sum-exp is ``log(first) + second``.

    Works on blocks that fit the cache and turns each class-major: NumPy reduces over a long last axis much faster than
    over the few classes, and no second array of all items is made.
    """
    log_prior, (total, largest) = np.broadcast_to(log_prior, scores.shape), np.empty((2, len(scores)))
    for first in range(0, len(scores), BLOCK):
        rows = slice(first, first + BLOCK)
        by_class = np.ascontiguousarray(scores[rows].T)  # [classes, items of the block]
        by_class += log_prior[rows].T
        by_class -= by_class.max(axis=0, out=largest[rows])
        np.exp(by_class, out=by_class)
        by_class /= by_class.sum(axis=0, out=total[rows])
        scores[rows] = by_class.T
    return total, largest


# ------------------------------------------------------------------ annotators with fewer parameters


def m_step_right(
    posterior: np.ndarray, crowd: CrowdLabels, smoothing: float, prior_counts: np.ndarray | None, one_coin: bool
) -> np.ndarray:
    """M-step of the models with fewer parameters: ``[annotators, true class]`` or ``[annotators]`` probabilities of a right
    label, from the counts that :func:`m_step` has; 1 / classes without evidence."""
    within("smoothing", smoothing, 0)
    classes = crowd.n_classes
    given = crowd.participation.T @ posterior  # [annotators, true class] labels
    right = crowd.sums_by_annotator(crowd.said_in(posterior))
    wrong = np.maximum(given - right, 0.0)
    if prior_counts is not None:
        diagonal = prior_counts.diagonal(axis1=1, axis2=2)
        right, wrong = right + diagonal, wrong + prior_counts.sum(axis=2) - diagonal
    right, wrong = right + smoothing, wrong + (classes - 1) * smoothing
    if one_coin:
        right, wrong = right.sum(axis=1), wrong.sum(axis=1)
    total = right + wrong
    share = np.divide(right, total, out=np.full(total.shape, 1 / classes), where=total > 0)
    return np.clip(share, FLOOR, 1 - FLOOR) if classes > 1 else share


def e_step_right(log_prior: np.ndarray, right: np.ndarray, crowd: CrowdLabels) -> tuple[np.ndarray, float]:
    """:func:`e_step` of the models with fewer parameters: every class gets the score of a wrong label, and the label's class
    the difference to a right one."""
    classes = crowd.n_classes
    with np.errstate(divide="ignore"):  # of one class, where nothing can be wrong
        log_right, log_wrong = np.log(right), np.log((1 - right) / (classes - 1)) if classes > 1 else np.zeros_like(right)
    one_coin = right.ndim == 1
    scores = crowd.sums_by_item((log_right - log_wrong)[crowd.annotator if one_coin else (crowd.annotator, crowd.label)])
    everywhere = crowd.participation @ log_wrong  # [items], or [items, classes]
    scores += everywhere[:, None] if one_coin else everywhere
    return _posterior(scores, log_prior, crowd)


# ------------------------------------------------------------------ what is checked


def check_known(crowd: CrowdLabels, known: np.ndarray | None) -> np.ndarray:
    """``[items]`` known classes, -1 where they are not (everywhere, for None).

    Raises:
        ValueError: not a whole number in ``-1 .. n_classes - 1`` for each item.
    """
    known = np.full(crowd.n_items, -1) if known is None else np.asarray(known)
    if known.shape != (crowd.n_items,) or known.dtype.kind not in "iu":
        expected = f"one whole number for each of the {crowd.n_items} items"
        raise ValueError(f"known must be {expected}, found shape {known.shape} of {known.dtype}")
    wrong = np.flatnonzero((known < -1) | (known >= crowd.n_classes))
    if len(wrong):
        expected = f"0 .. {crowd.n_classes - 1}, or -1 where it is not known"
        raise ValueError(f"known must lie in {expected}, found {known[wrong[0]]} for item {wrong[0]}")
    return known


FEWER = 'the models "per class" and "one coin" of Dawid-Skene, and MACE, need none'


def check_memory(annotators: int, classes: int, arrays: int, instead: str = FEWER) -> None:
    """Refuse ``arrays`` of ``[annotators, classes, classes]`` float64 numbers that this machine cannot hold at once.

    Raises:
        MemoryError: names the bytes, and what needs less (``instead``).
    """
    needed, there = 8 * annotators * classes * classes * arrays, _memory()
    if needed > there:
        raise MemoryError(
            f"confusion matrices of {annotators} annotators and {classes} classes take {needed:,} bytes, and this machine has "
            f"{there:,}; {instead}"
        )


def _memory() -> float:
    """Bytes that this process may still take: free on the machine, and allowed to its container; infinite if unknown."""
    found = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no such names
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError, StopIteration):  # Linux, where files in memory can give way
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(found, default=math.inf)
