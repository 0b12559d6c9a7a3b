"""What crowd labels say about their annotators. No true labels are needed.

It starts from a posterior over the items' true classes and the annotators' confusion matrices that it was made with: of
``dawid_skene.dawid_skene``, or of ``fusion.estimate``.

How an annotator is judged by the others is in :mod:`lib.aggregation.evidence`.

What no method of this kind can see: errors that annotators share. Where many of them take the same item for the same
wrong class, they confirm each other, and accuracies and confidences come out too high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib.aggregation.confusion import expected_counts, rows_to_one
from lib.aggregation.evidence import accuracy_interval, evidence_of_others, guess_odds, guessing_p_value
from lib.crowd.labels import CrowdLabels

__all__ = ["COLUMNS", "report"]

COLUMNS = [
    "annotator", "n_labels", "accuracy", "ci_low", "ci_high", "confusions", "p_guessing", "log10_guess_odds", "looks_random",
]  # fmt: skip
HALF = 0.5  # Jeffreys' pseudo-count
P_BELOW = 0.01  # an annotator with a smaller p-value does not guess
LARGE = 2**18  # labels
STRIDE = 40  # of the grid on which an accuracy is first sought
NEGLIGIBLE = 1e-9  # chance that an annotator's p-value is another one than that of all permutations
ODDS_ABOVE = 1.0  # log10: guessing must explain the labels ten times better than typical work


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


# ---------------------------------------------------------------------- small parts


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
