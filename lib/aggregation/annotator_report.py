"""What crowd labels say about their annotators, and about the items that need another look. No true labels are needed.

Everything starts from a posterior over the items' true classes and the annotators' confusion matrices that it was made
with: of ``dawid_skene.dawid_skene``, or of :func:`estimate`, which treats rare annotators with more care and can take a
trained network along as one more annotator (:func:`with_classifier`).

How an annotator is judged by the others is in :mod:`lib.aggregation.evidence`.

What no method of this kind can see: errors that annotators share. Where many of them take the same item for the same
wrong class, they confirm each other, and accuracies and confidences come out too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import xlogy

from lib.aggregation.confusion import expected_counts, rows_to_one
from lib.aggregation.dawid_skene import e_step, majority_vote, soft_vote
from lib.aggregation.evidence import accuracy_interval, evidence_of_others, guess_odds, guessing_p_value
from lib.crowd.labels import CrowdLabels

__all__ = [
    "COLUMNS", "Estimate", "cleaned", "estimate", "relabel", "report", "with_classifier",
]  # fmt: skip

COLUMNS = [
    "annotator", "n_labels", "accuracy", "ci_low", "ci_high", "confusions", "p_guessing", "log10_guess_odds", "looks_random",
]  # fmt: skip
HALF = 0.5  # Jeffreys' pseudo-count
P_BELOW = 0.01  # an annotator with a smaller p-value does not guess
LARGE = 2**18  # labels
STRIDE = 40  # of the grid on which an accuracy is first sought
NEGLIGIBLE = 1e-9  # chance that an annotator's p-value is another one than that of all permutations
ODDS_ABOVE = 1.0  # log10: guessing must explain the labels ten times better than typical work


# ---------------------------------------------------------------------- classes and matrices


@dataclass(frozen=True, eq=False)
class Estimate:
    """What :func:`estimate` found.

    Attributes:
        posterior: ``[items, classes]``, rows sum to one; the prior for an item that nobody labeled.
        confusion: ``[annotators, true class, label]``, rows sum to one: those that the posterior was made with.
        prior: ``[classes]`` share of each class among the labeled items.
        n_iterations: rounds until nothing moved any more.
    """

    posterior: np.ndarray
    confusion: np.ndarray
    prior: np.ndarray
    n_iterations: int


def with_classifier(crowd: CrowdLabels, prob: np.ndarray, name: str = "classifier") -> CrowdLabels:
    """The crowd with a classifier as one more annotator, the last, who labels every item with its most probable class.

    It is then judged like everybody else, and trusted as far as it proves right. Its predictions must be of items that
    it was not trained on, as :func:`lib.own_data.held_out_predictions` makes them: a network that was trained on an
    annotator's labels would confirm them.

    Args:
        crowd: the labels.
        prob: ``[items, classes]`` its class probabilities.
        name: of the new annotator.

    Raises:
        ValueError: sizes that do not fit, or a name that is taken.
    """
    prob = np.asarray(prob)
    _check_shape("prob", prob, (crowd.n_items, crowd.n_classes))
    names = list(range(crowd.n_annotators)) if crowd.annotator_names is None else list(crowd.annotator_names)
    if name in names:
        raise ValueError(f"an annotator is named {name!r} already; give the classifier another name")
    items = np.arange(crowd.n_items)
    return CrowdLabels(
        np.concatenate([crowd.item, items]),
        np.concatenate([crowd.annotator, np.full(len(items), crowd.n_annotators)]),
        np.concatenate([crowd.label, prob.argmax(axis=1)]),
        crowd.n_items,
        crowd.n_annotators + 1,
        crowd.n_classes,
        crowd.item_names,
        [*names, name],
        crowd.class_names,
    )


def estimate(crowd: CrowdLabels, strength: float = 5.0, max_iterations: int = 200, tolerance: float = 1e-4) -> Estimate:
    """Dawid-Skene with matrices that lean on the crowd's average.

    The M-step adds ``strength`` labels, spread as the average annotator would have given them, to the counts in each row
    of a matrix. So an annotator with three labels is taken for about average, one with three hundred for what they are.
    Plain Dawid-Skene (``dawid_skene.dawid_skene``) believes three labels as much as three hundred.

    Args:
        crowd: the labels.
        strength: in labels a row, above 0. The default is ours.
        max_iterations: rounds of M- and E-step at most.
        tolerance: stop when no posterior probability moves by more.

    Raises:
        ValueError: a setting out of range.
    """
    if not 0 < strength < np.inf:
        raise ValueError(f"strength must be a number above 0, found {strength}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, found {max_iterations}")
    posterior, moved, rounds = soft_vote(crowd), np.inf, 0
    labeled = crowd.labels_per_item > 0
    while moved > tolerance and rounds < max_iterations:
        counts = expected_counts(posterior, crowd)
        confusion = rows_to_one(counts + strength * rows_to_one(counts.sum(axis=0) + HALF))
        prior = rows_to_one(posterior[labeled].sum(axis=0) + HALF)
        before = posterior
        posterior, _ = e_step(np.log(prior), confusion, crowd)
        moved, rounds = float(np.abs(posterior - before).max(initial=0)), rounds + 1
    return Estimate(posterior, confusion, prior, rounds)


# ---------------------------------------------------------------------- annotators


def report(
    crowd: CrowdLabels,
    posterior: np.ndarray,
    confusion: np.ndarray,
    level: float = 0.95,
    permutations: int = 499,
    seed: int = 0,
) -> pd.DataFrame:
    """One line an annotator.

    ``looks_random`` is the rule: the labels may be unrelated to the items (``p_guessing`` above 0.01) *and* someone who
    guesses would have given them ten times more likely than a typical annotator (``log10_guess_odds`` of at least 1).
    The first half spares those who are wrong in a system, the second those who have given too few labels to tell.

    Args:
        crowd, posterior, confusion: as in ``evidence_of_others``; this and the next functions
            are in :mod:`lib.aggregation.evidence`.
        level: of the intervals.
        permutations, seed: of ``guessing_p_value``. From 2^18 labels on, an annotator for whom they are proved to be of no
            use goes without.

    Returns:
        Columns ``annotator`` (the caller's name), ``n_labels``, ``accuracy``, ``ci_low``, ``ci_high`` (from
        ``accuracy_interval``), ``confusions`` (the most frequent errors: "3 → 8 (40 %)" where 40 % of the 3 are called
        8), ``p_guessing``, ``log10_guess_odds`` (from ``guess_odds``), ``looks_random``; in the crowd's order. Numbers
        are NaN for an annotator without labels.

    Raises:
        ValueError: shapes that do not fit, fewer than two classes, or a level or number of permutations out of range.
    """
    others = evidence_of_others(crowd, posterior, confusion)
    counts = expected_counts(posterior, crowd)
    everyone, rng = counts.sum(axis=0), np.random.default_rng(seed)
    negligible, stride = (NEGLIGIBLE, STRIDE) if len(crowd) >= LARGE else (0.0, 1)
    by_annotator = np.split(np.argsort(crowd.annotator, kind="stable"), np.cumsum(crowd.labels_per_annotator)[:-1])
    annotator_names, class_names = _names(crowd.annotator_names, crowd.n_annotators), _class_names(crowd)
    lines = []
    for annotator, rows in enumerate(by_annotator[: crowd.n_annotators]):
        said, q = crowd.label[rows], others[rows]
        accuracy, low, high = accuracy_interval(q[np.arange(len(rows)), said], crowd.n_classes, level, stride)
        p_value = guessing_p_value(q, said, permutations, rng, negligible)
        odds = guess_odds(q, said, rows_to_one(everyone - counts[annotator] + HALF))
        random = bool(p_value > P_BELOW and odds >= ODDS_ABOVE)
        errors = _confusions(counts[annotator], class_names)
        lines.append((annotator_names[annotator], len(rows), accuracy, low, high, errors, p_value, odds, random))
    return pd.DataFrame(lines, columns=COLUMNS)


# ---------------------------------------------------------------------- items


def relabel(crowd: CrowdLabels, posterior: np.ndarray) -> pd.DataFrame:
    """The items, those most worth one more label first.

    Worth is what one label of a typical annotator is expected to tell of the class, in bits: the mutual information of
    class and label, ``H(label) - H(label | class)``. It is high where the posterior is undecided *and* annotators tell
    the candidates apart; it is zero where the class is certain, or nobody could say.

    Args:
        crowd: the labels, from which the typical annotator's matrix is counted.
        posterior: ``[items, classes]``.

    Returns:
        Columns ``item``, ``n_labels``, ``label`` (most probable class), ``confidence`` (its probability), ``runner_up``,
        ``runner_up_confidence``, ``entropy`` (bits), ``gain`` (bits), by falling ``gain``.

    Raises:
        ValueError: a posterior of another shape, or fewer than two classes.
    """
    posterior = np.asarray(posterior, dtype=np.float64)
    _check_shape("posterior", posterior, (crowd.n_items, crowd.n_classes))
    if crowd.n_classes < 2:
        raise ValueError(f"there is nothing to decide between {crowd.n_classes} classes; expected at least two")
    typical = rows_to_one(expected_counts(posterior, crowd).sum(axis=0) + HALF)
    gain = np.maximum(_entropy(posterior @ typical) - posterior @ _entropy(typical), 0)
    order = np.argsort(-posterior, axis=1, kind="stable")
    items, classes = np.arange(crowd.n_items), np.array(_class_names(crowd), dtype=object)
    table = pd.DataFrame(
        {
            "item": _names(crowd.item_names, crowd.n_items),
            "n_labels": crowd.labels_per_item,
            "label": classes[order[:, 0]],
            "confidence": posterior[items, order[:, 0]],
            "runner_up": classes[order[:, 1]],
            "runner_up_confidence": posterior[items, order[:, 1]],
            "entropy": _entropy(posterior),
            "gain": gain,
        }
    )
    return table.iloc[np.argsort(-gain.round(9), kind="stable")].reset_index(drop=True)


def cleaned(crowd: CrowdLabels, posterior: np.ndarray) -> pd.DataFrame:
    """One label an item.

    Returns:
        Columns ``item``, ``label`` (the most probable class, the lowest of equals), ``confidence`` (its probability),
        ``n_labels`` and ``majority_vote`` (ties to the lowest; empty where nobody labeled the item), with the caller's
        names, in the order of the items.

    Raises:
        ValueError: a posterior of another shape.
    """
    posterior = np.asarray(posterior, dtype=np.float64)
    _check_shape("posterior", posterior, (crowd.n_items, crowd.n_classes))
    classes = np.array([*_class_names(crowd), ""], dtype=object)  # the vote -1 is the empty name
    return pd.DataFrame(
        {
            "item": _names(crowd.item_names, crowd.n_items),
            "label": classes[posterior.argmax(axis=1)],
            "confidence": posterior.max(axis=1),
            "n_labels": crowd.labels_per_item,
            "majority_vote": classes[majority_vote(crowd)],
        }
    )


# ---------------------------------------------------------------------- small parts


def _entropy(prob: np.ndarray) -> np.ndarray:
    """Of the last axis, in bits."""
    return -xlogy(prob, prob).sum(axis=-1) / np.log(2) + 0.0


def _confusions(counts: np.ndarray, class_names: Sequence, most: int = 2, least: float = 2.0) -> str:
    """The errors expected most often, if they are expected at least ``least`` times."""
    errors = counts * (1 - np.eye(len(counts)))
    found = [np.unravel_index(place, errors.shape) for place in np.argsort(-errors.ravel(), kind="stable")[:most]]
    words = [
        f"{class_names[true]} → {class_names[said]} ({100 * errors[true, said] / counts[true].sum():.0f} %)"
        for true, said in found
        if errors[true, said] >= least
    ]
    return ", ".join(words)


def _names(names: Sequence | None, size: int) -> list:
    return list(range(size)) if names is None else list(names)


def _class_names(crowd: CrowdLabels) -> list:
    return _names(crowd.class_names, crowd.n_classes)


def _check_shape(name: str, values: np.ndarray, wanted: tuple[int, ...]) -> None:
    if values.shape != wanted:
        raise ValueError(f"{name} must have the shape {wanted}, found {values.shape}")
