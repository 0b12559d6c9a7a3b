"""Votes, which count every label equally, and Dawid-Skene, which gives every annotator a confusion matrix ``A[r, j, k]``.

The true class ``y_i`` is hidden: ``y_i ~ Categorical(prior)``, ``p(annotator r says k | y_i = j) = A[r, j, k]``. Two steps
that never decrease the likelihood of the labels (without smoothing) alternate:

    M:  A[r, j, k]  proportional to  sum of p(y_i = j) over the items i of which r said k;   prior[j] = mean p(y_i = j)
    E:  p(y_i = j)  proportional to  prior[j] * product of A[r, j, k] over the labels (r, k) of item i

A full matrix takes many labels to learn, and ``annotators * classes^2`` numbers to store. Two models have fewer: an
annotator is right with one probability for each true class (``"per class"``) or with one for all (``"one coin"``), and
otherwise says any wrong class with equal probability. Their steps cost one number per label. All is float64.

References: Dawid, Skene (JRSS C 28(1), 1979); one coin: Zhang, Chen, Zhou, Jordan (NeurIPS 2014).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from lib.aggregation.confusion import coin_matrices, of_shape
from lib.aggregation.em_steps import FLOOR, check_known, check_memory, e_step, e_step_right, m_step, m_step_right
from lib.crowd.labels import CrowdLabels
from lib.registry import choice, within

MODELS = ("confusion", "per class", "one coin")


# ------------------------------------------------------------------ votes


def majority_vote(
    crowd: CrowdLabels,
    ties: Literal["lowest", "random"] = "lowest",
    seed: int | np.random.Generator | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """``[items]`` int64: the class that most annotators gave each item; -1 for an item that nobody labeled (whose vote counts).

    Args:
        crowd: the labels.
        ties: ``"lowest"`` takes the lowest of the most frequent classes, which reproduces the published LabelMe votes
            but favors low indices; ``"random"`` draws one of them evenly.
        seed: for ``ties="random"``, which needs one.
        weights: ``[annotators]`` votes that a label of each counts for, 0 to leave somebody out; one each by default.

    Raises:
        ValueError: another rule for ties, random ties without a seed or beside weights, or weights that do not fit.
    """
    choice("ties", ties, ("lowest", "random"))
    counts = _votes(crowd, weights)
    if ties == "random" and weights is not None:
        raise ValueError("random ties are for whole votes: give either weights or ties='random'")
    if ties == "random":
        if seed is None:
            raise ValueError("random ties need a seed, so that the votes can be repeated; found None")
        # Counts are whole, so a draw below one orders only the classes that are tied.
        counts = counts + np.random.default_rng(seed).random(counts.shape)
    votes = counts.argmax(axis=1).astype(np.int64, copy=False)
    votes[crowd.labels_per_item == 0 if weights is None else ~counts.any(axis=1)] = -1
    return votes


def soft_vote(crowd: CrowdLabels, weights: np.ndarray | None = None) -> np.ndarray:
    """``[items, classes]``: the share of an item's labels that each class got; uniform for an item that nobody labeled.

    ``weights`` as in :func:`majority_vote`.
    """
    counts = _votes(crowd, weights)
    total = crowd.labels_per_item if weights is None else counts.sum(axis=1)
    shares = counts / np.where(total > 0, total, 1)[:, None]
    shares[total == 0] = 1 / crowd.n_classes
    return shares


def _votes(crowd: CrowdLabels, weights: np.ndarray | None) -> np.ndarray:
    """``[items, classes]`` (weighted) counts."""
    if weights is None:
        return crowd.counts
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (crowd.n_annotators,) or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        expected = f"a finite number of at least 0 for each of the {crowd.n_annotators} annotators, not all 0"
        raise ValueError(f"weights must be {expected}, found {weights}")
    return crowd.sums_by_item(weights[crowd.annotator])


# ------------------------------------------------------------------ Dawid-Skene


@dataclass(frozen=True, eq=False)
class DawidSkene:
    """What Dawid-Skene found. ``posterior`` and ``log_likelihood`` are those of ``confusion`` and ``prior``.

    Attributes:
        posterior: ``[items, classes]`` ``p(true class | labels)``; the prior for an item that nobody labeled, and certain
            for one whose class was known.
        parameters: ``[annotators, true class, label]`` confusion matrices; in the model ``"per class"`` ``[annotators,
            true class]``, and in ``"one coin"`` ``[annotators]`` probabilities of a right label.
        prior: ``[classes]`` share of each true class among the labeled items.
        log_likelihood: of all labels (and known classes of labeled items), in nats.
        log_likelihoods: ``[n_iterations]``, after each round of M- and E-step; the last is ``log_likelihood``.
        converged: whether the rounds ended because the likelihood had stopped growing.
    """

    posterior: np.ndarray
    parameters: np.ndarray
    prior: np.ndarray
    log_likelihood: float
    log_likelihoods: np.ndarray
    converged: bool

    @property
    def n_iterations(self) -> int:
        """Rounds of M- and E-step."""
        return len(self.log_likelihoods)

    @property
    def labels(self) -> np.ndarray:
        """``[items]`` int64 most probable classes, ties to the lowest; by the prior alone for an unlabeled item."""
        return self.posterior.argmax(axis=1).astype(np.int64, copy=False)

    @cached_property
    def confusion(self) -> np.ndarray:
        """``[annotators, true class, label]``, rows sum to one; uniform rows where there is no evidence.

        Raises:
            MemoryError: more than this machine holds (where the model has fewer parameters); names the bytes.
        """
        if self.parameters.ndim == 3:
            return self.parameters
        check_memory(len(self.parameters), len(self.prior), 1)
        return coin_matrices(self.parameters, len(self.prior))


def dawid_skene(
    crowd: CrowdLabels,
    smoothing: float = 0.01,
    start: Literal["soft", "hard"] | np.ndarray = "soft",
    max_iterations: int = 200,
    tolerance: float = 1e-6,
    model: Literal["confusion", "per class", "one coin"] = "confusion",
    known: np.ndarray | None = None,
    prior_counts: np.ndarray | None = None,
) -> DawidSkene:
    """True classes and confusion matrices by expectation-maximization (Dawid & Skene 1979).

    Args:
        crowd: the labels.
        smoothing: added to every count of the M-step; 0 is maximum likelihood with crowd-kit's conventions, see :func:`m_step`.
        start: the first posterior: ``"soft"`` vote shares, ``"hard"`` majority votes, or an array ``[items, classes]``; or the
            first matrices ``[annotators, true class, label]``, with which vote shares are the first prior. Rows sum to one.
        max_iterations: rounds of M- and E-step at most. 0 keeps the start: its posterior, with the matrices counted from
            it (or its matrices, with the posterior that they give).
        tolerance: stop when a round adds less to the log-likelihood per label, in nats; ``-inf`` never stops early.
        model: an annotator's parameters: a full ``"confusion"`` matrix, a probability of being right ``"per class"``, or
            ``"one coin"`` for all classes.
        known: ``[items]`` true classes where they are known (gold items), -1 elsewhere. They are held fixed.
        prior_counts: ``[annotators, true class, label]`` how often each annotator said what in earlier work; added to the
            counts of every M-step, like ``smoothing``.

    Raises:
        ValueError: a setting out of range, or a start, known classes or counts that do not fit the crowd.
        MemoryError: more confusion matrices than this machine holds; names the bytes, before any work is done.
    """
    within("max_iterations", max_iterations, 0)
    if np.isnan(tolerance):
        raise ValueError("tolerance must be a number, found NaN")
    choice("model", model, MODELS)
    if full := model == "confusion":
        check_memory(crowd.n_annotators, crowd.n_classes, 2)
    sizes = (crowd.n_annotators, crowd.n_classes, crowd.n_classes)
    if prior_counts is not None:
        prior_counts = of_shape("prior_counts", prior_counts, sizes)
        if not (np.isfinite(prior_counts).all() and (prior_counts >= 0).all()):
            raise ValueError("prior_counts must be finite and at least 0")
    labeled = (crowd.labels_per_item > 0).astype(np.float64)
    certain = 0.0  # what to add to a log-prior: -inf for the classes that a known item is not
    if known is not None:
        known = check_known(crowd, known)
        fixed, is_known = known[:, None] == np.arange(crowd.n_classes), (known >= 0)[:, None]
        certain = np.where(is_known & ~fixed, -np.inf, 0.0)

    def maximize(posterior: np.ndarray) -> np.ndarray:
        if full:
            return m_step(posterior, crowd, smoothing, prior_counts)
        return m_step_right(posterior, crowd, smoothing, prior_counts, model == "one coin")

    def expect(prior: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, float]:
        log_prior = np.log(np.maximum(prior, FLOOR)) + certain
        return (e_step if full else e_step_right)(log_prior, parameters, crowd)

    def shares(posterior: np.ndarray) -> np.ndarray:
        """Mean posterior of the labeled items, ``[classes]``; uniform where there are none."""
        total = labeled.sum()
        return labeled @ posterior / total if total else np.full(crowd.n_classes, 1 / crowd.n_classes)

    parameters = None
    if np.ndim(start) == 3:
        matrices = _rows_of_probabilities(start, sizes)
        posterior, _ = e_step(np.log(np.maximum(shares(soft_vote(crowd)), FLOOR)), matrices, crowd)
        parameters = matrices if full else None
    else:
        posterior = _start(crowd, start)
    if known is not None:
        posterior = np.where(is_known, fixed, posterior)
    history: list[float] = []
    converged = False
    while len(history) < max_iterations and not converged:
        parameters = None  # gone before the next ones are made
        parameters = maximize(posterior)
        prior = shares(posterior)
        posterior, log_likelihood = expect(prior, parameters)
        converged = bool(history) and log_likelihood - history[-1] < tolerance * max(len(crowd), 1)
        history.append(log_likelihood)
    if max_iterations == 0:
        prior = shares(posterior)
        parameters = maximize(posterior) if parameters is None else parameters
        _, log_likelihood = expect(prior, parameters)
    return DawidSkene(posterior, parameters, prior, log_likelihood, np.array(history), converged)


def _start(crowd: CrowdLabels, start: Literal["soft", "hard"] | np.ndarray) -> np.ndarray:
    """The first posterior, ``[items, classes]``."""
    if not isinstance(start, str):
        return _rows_of_probabilities(start, (crowd.n_items, crowd.n_classes))
    if start not in ("soft", "hard"):
        raise ValueError(f"start must be 'soft', 'hard' or an array of posteriors, found {start!r}")
    posterior = soft_vote(crowd)
    if start == "hard":
        votes = posterior.argmax(axis=1)[:, None] == np.arange(crowd.n_classes)
        posterior = np.where((crowd.labels_per_item > 0)[:, None], votes, posterior)
    return posterior


def _rows_of_probabilities(start: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The start as float64. Raises ValueError for another shape, or rows that are no distribution."""
    start = of_shape("start", start, shape)
    rows = start.reshape(-1, shape[-1])
    wrong = np.flatnonzero((rows < 0).any(axis=1) | ~(np.abs(rows.sum(axis=1) - 1) < 1e-6))
    if len(wrong):
        found = f"{rows[wrong[0]]} in row {wrong[0]}"
        raise ValueError(f"start needs rows of probabilities that sum to one, found {found}")
    return start
