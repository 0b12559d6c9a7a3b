"""Aggregation: crowd labels in; votes, posteriors and confusion matrices out.

Two ways to turn several opinions on an item into one. *Voting* counts every label alike. *Dawid-Skene* treats the true
class ``y_i`` as hidden and gives every annotator a confusion matrix,

    y_i ~ Categorical(prior),        p(annotator r says k | y_i = j) = A[r, j, k],

and alternates two steps that never decrease the likelihood of the labels (without smoothing):

    M:  A[r, j, k]  proportional to  sum of p(y_i = j) over the items i of which r said k;   prior[j] = mean p(y_i = j)
    E:  p(y_i = j)  proportional to  prior[j] * product of A[r, j, k] over the labels (r, k) of item i

Both are one sparse matrix product each. With ``S`` the incidence matrix ``[items, annotators * classes]`` that has a
one where an annotator said a class of an item, the M-step counts ``S^T p``, and the E-step sums ``S log A``. Work and
memory therefore grow with the labels, not with items x annotators. The steps are public: DL-EM runs them with a network
in the place of the prior.

Everything is float64. References: Dawid, Skene (Journal of the Royal Statistical Society C 28(1), 1979); for the step
with a network Rodrigues, Pereira (AAAI 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lib.crowd.labels import CrowdLabels

__all__ = ["DawidSkene", "dawid_skene", "e_step", "m_step", "majority_vote", "soft_vote"]

# Without smoothing, a count or a prior of zero would rule a class out by a single label. crowd-kit uses the same floor.
FLOOR = 1e-10


# ------------------------------------------------------------------ votes


def majority_vote(
    crowd: CrowdLabels,
    ties: Literal["lowest", "random"] = "lowest",
    seed: int | np.random.Generator | None = None,
) -> np.ndarray:
    """The class that most annotators said of each item.

    Args:
        crowd: the labels.
        ties: ``"lowest"`` takes the lowest of the most frequent classes, which reproduces the published LabelMe votes
            but favors low indices; ``"random"`` draws one of them evenly.
        seed: for ``ties="random"``, which needs one.

    Returns:
        ``[items]`` int64 classes; -1 for an item that nobody labeled.

    Raises:
        ValueError: another rule for ties, or random ties without a seed.
    """
    if ties not in ("lowest", "random"):
        raise ValueError(f"ties must be 'lowest' or 'random', found {ties!r}")
    counts = crowd.counts
    if ties == "random":
        if seed is None:
            raise ValueError("random ties need a seed, so that the votes can be repeated; found None")
        # Counts are whole, so a draw below one orders only the classes that are tied.
        counts = counts + np.random.default_rng(seed).random(counts.shape)
    votes = counts.argmax(axis=1).astype(np.int64, copy=False)
    votes[crowd.labels_per_item == 0] = -1
    return votes


def soft_vote(crowd: CrowdLabels) -> np.ndarray:
    """The share of an item's labels that each class got.

    Returns:
        ``[items, classes]``, rows sum to one; uniform for an item that nobody labeled.
    """
    shares = crowd.counts / np.maximum(crowd.labels_per_item, 1)[:, None]
    shares[crowd.labels_per_item == 0] = 1 / crowd.n_classes
    return shares


# ------------------------------------------------------------------ Dawid-Skene


@dataclass(frozen=True, eq=False)
class DawidSkene:
    """What Dawid-Skene found. ``posterior`` and ``log_likelihood`` are those of ``confusion`` and ``prior``.

    Args:
        posterior: ``[items, classes]`` ``p(true class | labels)``; the prior for an item that nobody labeled.
        confusion: ``[annotators, true class, label]``, rows sum to one; uniform rows where there is no evidence.
        prior: ``[classes]`` share of each true class among the labeled items.
        log_likelihood: of all labels, in nats.
        log_likelihoods: ``[n_iterations]``, after each round; the last is ``log_likelihood``.
        n_iterations: rounds of M- and E-step.
        converged: whether the rounds ended because the likelihood had stopped growing.
    """

    posterior: np.ndarray
    confusion: np.ndarray
    prior: np.ndarray
    log_likelihood: float
    log_likelihoods: np.ndarray
    n_iterations: int
    converged: bool

    @property
    def labels(self) -> np.ndarray:
        """``[items]`` int64 most probable classes, ties to the lowest; by the prior alone for an unlabeled item."""
        return self.posterior.argmax(axis=1).astype(np.int64, copy=False)


def dawid_skene(
    crowd: CrowdLabels,
    smoothing: float = 0.01,
    start: Literal["soft", "hard"] | np.ndarray = "soft",
    max_iterations: int = 200,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """True classes and confusion matrices by expectation-maximization (Dawid & Skene 1979).

    Args:
        crowd: the labels.
        smoothing: added to every count of the M-step. 0 is maximum likelihood with the conventions of crowd-kit, see
            :func:`m_step`.
        start: the first posterior: ``"soft"`` vote shares, ``"hard"`` majority votes, or an array ``[items, classes]``
            whose rows sum to one.
        max_iterations: rounds of M- and E-step at most.
        tolerance: stop when a round adds less than this to the log-likelihood per label, in nats. ``-inf`` never stops
            early.

    Returns:
        The posterior of the last E-step with the parameters that it was made from.

    Raises:
        ValueError: a setting out of range, or a start that does not fit the crowd.
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, found {max_iterations}")
    if np.isnan(tolerance):
        raise ValueError("tolerance must be a number, found NaN")
    posterior = _start(crowd, start)
    labeled = (crowd.labels_per_item > 0).astype(np.float64)
    history: list[float] = []
    converged = False
    while len(history) < max_iterations and not converged:
        confusion = m_step(posterior, crowd, smoothing)
        prior = _prior(posterior, labeled)
        posterior, log_likelihood = e_step(np.log(np.maximum(prior, FLOOR)), confusion, crowd)
        converged = bool(history) and log_likelihood - history[-1] < tolerance * max(len(crowd), 1)
        history.append(log_likelihood)
    return DawidSkene(
        posterior=posterior,
        confusion=confusion,
        prior=prior,
        log_likelihood=log_likelihood,
        log_likelihoods=np.array(history),
        n_iterations=len(history),
        converged=converged,
    )


def m_step(posterior: np.ndarray, crowd: CrowdLabels, smoothing: float = 0.01) -> np.ndarray:
    """Confusion matrices from posteriors: expected counts, smoothed and normalized.

    Args:
        posterior: ``[items, classes]``, rows sum to one.
        crowd: the labels.
        smoothing: added to every count. With 0, counts are raised to at least 1e-10 among the classes that the
            annotator ever said; the others keep probability zero.

    Returns:
        ``[annotators, true class, label]``, rows sum to one. Without evidence a row is uniform: over all classes, or
        with ``smoothing=0`` over those that the annotator ever said (over all, for an annotator without labels).

    Raises:
        ValueError: a posterior of another shape, or negative or non-finite smoothing.
    """
    if not 0 <= smoothing < np.inf:
        raise ValueError(f"smoothing must be a number of at least 0, found {smoothing}")
    posterior = np.ascontiguousarray(posterior, dtype=np.float64)
    if posterior.shape != (crowd.n_items, crowd.n_classes):
        raise ValueError(f"posterior must have the shape {(crowd.n_items, crowd.n_classes)}, found {posterior.shape}")
    # The transpose of a CSR matrix is a CSC view of it: it reads items in order and adds into a table that stays in
    # cache, which is twice as fast as a transposed copy in CSR.
    counts = (crowd.incidence.T @ posterior).reshape(crowd.n_annotators, crowd.n_classes, crowd.n_classes)
    if smoothing > 0:
        counts += smoothing
    else:
        used = counts.sum(axis=2, keepdims=True) > 0  # [annotators, label, 1]; posteriors sum to one
        used |= ~used.any(axis=1, keepdims=True)
        counts = np.where(used, np.maximum(counts, FLOOR), 0.0)
    counts /= counts.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(counts.transpose(0, 2, 1))


def e_step(log_prior: np.ndarray, confusion: np.ndarray, crowd: CrowdLabels) -> tuple[np.ndarray, float]:
    """Posteriors of the true classes from a prior and the labels, in log space.

    Args:
        log_prior: ``[classes]`` for all items, or ``[items, classes]`` for each (a network's log-softmax); normalized.
        confusion: ``[annotators, true class, label]``.
        crowd: the labels.

    Returns:
        ``posterior`` ``[items, classes]``, and the log-likelihood of the labels in nats,
        ``sum_i log sum_j prior[i, j] * prod_(r, k) A[r, j, k]``. An item that nobody labeled keeps its prior and adds
        nothing to the likelihood.

    Raises:
        ValueError: shapes that do not fit the crowd.
    """
    log_prior, confusion = np.asarray(log_prior, dtype=np.float64), np.asarray(confusion, dtype=np.float64)
    sizes = (crowd.n_annotators, crowd.n_classes, crowd.n_classes)
    if confusion.shape != sizes:
        raise ValueError(f"confusion must have the shape {sizes}, found {confusion.shape}")
    if log_prior.shape not in ((crowd.n_classes,), (crowd.n_items, crowd.n_classes)):
        expected = f"{(crowd.n_classes,)} or {(crowd.n_items, crowd.n_classes)}"
        raise ValueError(f"log_prior must have the shape {expected}, found {log_prior.shape}")
    # The smallest normal number stands in for a zero, so that no -inf (and from it no NaN) can enter the sums.
    log_confusion = np.log(np.maximum(confusion.transpose(0, 2, 1), np.finfo(np.float64).tiny))
    scores = crowd.incidence @ log_confusion.reshape(-1, crowd.n_classes)  # [items, classes]
    evidence = _normalize(scores, np.broadcast_to(log_prior, scores.shape))
    return scores, float(evidence.sum(where=crowd.labels_per_item > 0))


def _normalize(scores: np.ndarray, log_prior: np.ndarray, block: int = 4096) -> np.ndarray:
    """Add the prior to ``scores`` ``[items, classes]``, softmax in place, and return the log-sum-exp ``[items]``.

    Works on blocks that fit the cache and turns each class-major: NumPy reduces over a long last axis much faster than
    over the few classes, and no second array of all items is made.
    """
    evidence = np.empty(len(scores))
    for first in range(0, len(scores), block):
        rows = slice(first, first + block)
        by_class = np.ascontiguousarray(scores[rows].T)  # [classes, items of the block]
        by_class += log_prior[rows].T
        largest = by_class.max(axis=0)
        by_class -= largest
        np.exp(by_class, out=by_class)
        total = by_class.sum(axis=0)
        by_class /= total
        scores[rows] = by_class.T
        evidence[rows] = np.log(total) + largest
    return evidence


def _prior(posterior: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """Mean posterior of the labeled items, ``[classes]``; uniform where there are none."""
    total = labeled.sum()
    return labeled @ posterior / total if total else np.full(posterior.shape[1], 1 / posterior.shape[1])


def _start(crowd: CrowdLabels, start: Literal["soft", "hard"] | np.ndarray) -> np.ndarray:
    """The first posterior, ``[items, classes]``."""
    if isinstance(start, str):
        if start not in ("soft", "hard"):
            raise ValueError(f"start must be 'soft', 'hard' or an array of posteriors, found {start!r}")
        posterior = soft_vote(crowd)
        if start == "hard":
            labeled = np.flatnonzero(crowd.labels_per_item)
            votes = posterior.argmax(axis=1)[labeled]
            posterior[labeled] = 0.0
            posterior[labeled, votes] = 1.0
        return posterior
    posterior = np.asarray(start, dtype=np.float64)
    if posterior.shape != (crowd.n_items, crowd.n_classes):
        raise ValueError(f"start must have the shape {(crowd.n_items, crowd.n_classes)}, found {posterior.shape}")
    wrong = np.flatnonzero((posterior < 0).any(axis=1) | ~(np.abs(posterior.sum(axis=1) - 1) < 1e-6))
    if len(wrong):
        found = f"{posterior[wrong[0]]} in row {wrong[0]}"
        raise ValueError(f"start needs rows of probabilities that sum to one, found {found}")
    return posterior
