"""What crowd labels say about their annotators. No true labels are needed.

Each annotator is judged by the others, label by label: the judge is ``q``, the posterior of the item *without* that label
(:func:`said_by_others`). If the annotator is right with probability ``a`` and otherwise says any wrong class with equal
probability, a label ``k`` has the probability ``a q[k] + (1 - a) (1 - q[k]) / (classes - 1)``: a label about which the
others are certain says much about ``a``, and one about which they know nothing says nothing. Errors that annotators share
escape it (see :mod:`lib.aggregation.shared_errors`).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import gammaln, xlogy

from lib.aggregation.confusion import expected_counts, rows_to_one
from lib.aggregation.judging import accuracy_grid
from lib.crowd.labels import CrowdLabels

COLUMNS = [
    "annotator", "n_labels", "accuracy", "ci_low", "ci_high", "confusions", "p_guessing", "log10_guess_odds", "looks_random",
]  # fmt: skip
HALF = 0.5  # Jeffreys' pseudo-count
GRID = 2001  # accuracies
COARSE = 40  # a first look takes every 40th of them
NEGLIGIBLE = 50.0  # nats below the highest likelihood
FACTORS = 16  # label probabilities in a product; the smallest is about 1e-10, so it does not vanish
NUMBERS_AT_ONCE = 2**17  # in the arrays of one block, which then stay in the processor's cache
NEVER = 1e-6  # probability that a draw which is left out would have changed a result
P_BELOW = 0.01  # an annotator with a smaller p-value does not guess
ODDS_ABOVE = 1.0  # log10: guessing must explain the labels ten times better than typical work


def report(crowd: CrowdLabels, posterior: np.ndarray, confusion: np.ndarray, permutations: int = 499) -> pd.DataFrame:
    """One line per annotator, in the crowd's order; ``posterior`` and ``confusion`` as in :func:`said_by_others`.

    ``looks_random`` is the rule: the labels may be unrelated to the items (``p_guessing`` above 0.01) *and* someone who
    guesses would have given them ten times more likely than a typical annotator (``log10_guess_odds`` of at least 1).
    The first half spares those who are systematically wrong, the second those who have given too few labels to tell.

    Returns:
        Columns ``annotator`` (the caller's name), ``n_labels``, ``accuracy``, ``ci_low``, ``ci_high`` (95 %, from
        :func:`accuracy_interval`), ``confusions`` (the most frequent errors: "3 → 8 (40 %)" where 40 % of the 3 are called
        8), ``p_guessing``, ``log10_guess_odds`` (from :func:`guess_odds`), ``looks_random``. Numbers are NaN for an
        annotator without labels.

    Raises:
        ValueError: shapes that do not fit, fewer than two classes, or no permutations.
    """
    others = said_by_others(crowd, posterior, confusion)
    counts = expected_counts(posterior, crowd)
    everyone, rng = counts.sum(axis=0), np.random.default_rng(0)
    by_annotator = np.split(np.argsort(crowd.annotator, kind="stable"), np.cumsum(crowd.labels_per_annotator)[:-1])
    annotator_names = crowd.annotator_names or range(crowd.n_annotators)
    class_names = crowd.class_names or range(crowd.n_classes)
    lines = []
    for annotator, rows in enumerate(by_annotator[: crowd.n_annotators]):
        said, q = crowd.label[rows], others[rows]
        accuracy, low, high = accuracy_interval(q[np.arange(len(rows)), said], crowd.n_classes)
        p_value = guessing_p_value(q, said, permutations, rng)
        odds = guess_odds(q, said, rows_to_one(everyone - counts[annotator] + HALF))
        random = bool(p_value > P_BELOW and odds >= ODDS_ABOVE)
        errors = _confusions(counts[annotator], class_names)
        lines.append((annotator_names[annotator], len(rows), accuracy, low, high, errors, p_value, odds, random))
    return pd.DataFrame(lines, columns=COLUMNS)


def _confusions(counts: np.ndarray, class_names: Sequence) -> str:
    """The two errors expected most often, if they are expected at least twice."""
    errors = counts * (1 - np.eye(len(counts)))
    frequent = [np.unravel_index(place, errors.shape) for place in np.argsort(-errors.ravel(), kind="stable")[:2]]
    words = [
        f"{class_names[true]} → {class_names[said]} ({100 * errors[true, said] / counts[true].sum():.0f} %)"
        for true, said in frequent
        if errors[true, said] >= 2
    ]
    return ", ".join(words)


def said_by_others(crowd: CrowdLabels, posterior: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """``[labels, classes]``: for each label, what the others say, the posterior of its item without it.

    ``q[j]`` is proportional to ``posterior[item, j] / confusion[annotator, j, label]``, of a posterior ``[items, classes]`` and
    the matrices ``[annotators, true class, label]`` that it was made with; the prior for the only label of an item. Exact up to
    the parameters, to which the label has contributed its part. Raises ValueError for shapes that do not fit the crowd.
    """
    posterior, confusion = np.asarray(posterior, dtype=np.float64), np.asarray(confusion, dtype=np.float64)
    sizes = {"posterior": (crowd.n_items, crowd.n_classes), "confusion": (crowd.n_annotators, *[crowd.n_classes] * 2)}
    for name, values in (("posterior", posterior), ("confusion", confusion)):
        if values.shape != sizes[name]:
            raise ValueError(f"{name} must have the shape {sizes[name]}, found {values.shape}")
    return rows_to_one(posterior[crowd.item] / np.maximum(confusion[crowd.annotator, :, crowd.label], 1e-300))


def accuracy_interval(support: np.ndarray, n_classes: int, level: float = 0.95) -> tuple[float, float, float]:
    """An annotator's accuracy: posterior mean, and the ends of an equal-tailed credible interval; three NaN without labels.

    Bayes' rule with Jeffreys' prior Beta(1/2, 1/2) and the likelihood at the head of this module, on a grid, from ``support``
    ``[labels]``, the others' probability of the class that the annotator said. Where the others are certain (all 0 or 1), this
    is the Jeffreys interval of that many right (Brown, Cai, DasGupta, Statistical Science 16(2), 2001); else it is wider.

    Raises:
        ValueError: fewer than two classes, a level or a support out of range.
    """
    support = np.asarray(support, dtype=np.float64)
    if n_classes < 2:
        raise ValueError(f"an accuracy needs at least two classes, found {n_classes}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
    if not ((support >= 0) & (support <= 1 + 1e-9)).all():
        raise ValueError("support must hold probabilities, found a number outside 0 .. 1")
    if len(support) == 0:
        return np.nan, np.nan, np.nan
    accuracy = accuracy_grid(GRID)
    # The logarithm of the likelihood is concave in the accuracy, so beyond a negligible place there are only smaller ones.
    coarse = _log_likelihood(support, accuracy[::COARSE], n_classes)
    inside = np.flatnonzero(coarse >= coarse.max() - NEGLIGIBLE)
    near = slice(max(inside[0] - 1, 0) * COARSE, (inside[-1] + 1) * COARSE + 1)
    log_likelihood = _log_likelihood(support, accuracy[near], n_classes)
    weight = np.zeros(GRID)
    weight[near] = np.exp(log_likelihood - log_likelihood.max())
    weight /= weight.sum()
    tails = [(1 - level) / 2, (1 + level) / 2]
    ends = np.interp(tails, np.concatenate([[0], np.cumsum(weight)]), np.linspace(0, 1, GRID + 1))
    low, high = np.sin(np.pi / 2 * ends) ** 2
    return float(weight @ accuracy), float(low), float(high)


def _log_likelihood(support: np.ndarray, accuracy: np.ndarray, n_classes: int) -> np.ndarray:
    """Of the labels, in nats, for each of some accuracies; one logarithm is taken of the product of 16 labels'
    probabilities."""
    ways, odds = np.stack([support, np.maximum(1 - support, 0) / (n_classes - 1)], axis=1), np.stack([accuracy, 1 - accuracy])
    total, rows = np.zeros(len(accuracy)), FACTORS * max(NUMBERS_AT_ONCE // (FACTORS * len(accuracy)), 1)
    for start in range(0, len(ways), rows):
        prob = ways[start : start + rows] @ odds  # [labels, accuracies]
        total += np.log(np.multiply.reduceat(prob, np.arange(0, len(prob), FACTORS))).sum(axis=0)
    return total


def guessing_p_value(
    others: np.ndarray, said: np.ndarray, permutations: int = 499, rng: np.random.Generator | int = 0
) -> float:
    """How often labels unrelated to the items would look at least as informed: a permutation test; NaN without labels.

    Under guessing, of whatever kind, an annotator's labels ``said`` ``[labels]`` could as well be exchanged among the items.
    Two statistics are compared with their values after random exchanges: the expected number of agreements with what the
    others say ``[labels, classes]``, which finds ordinary work in few labels; and the mutual information with the others'
    classes, which also finds somebody who is systematically wrong. The smaller p-value is doubled, since there were two.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, found {permutations}")
    if len(said) == 0:
        return np.nan
    if _agrees_beyond_chance(others, said, permutations):
        return min(1.0, 2 / (permutations + 1))
    rng = np.random.default_rng(rng)
    order = np.argsort(said, kind="stable")
    others, (used, starts) = others[order], np.unique(said[order], return_index=True)

    def statistics(q: np.ndarray) -> np.ndarray:
        """``[exchanges, 2]`` of ``[exchanges, labels, classes]``."""
        table = np.add.reduceat(q, starts, axis=1)  # [exchanges, labels used, classes]
        # Both margins stay under exchange, so the sum of n log n orders as the mutual information does.
        return np.stack([table[:, np.arange(len(used)), used].sum(axis=1), xlogy(table, table).sum(axis=(1, 2))], axis=1)

    least = statistics(others[None]) - 1e-9  # an exchange of equals must count as equal
    at_once = max(NUMBERS_AT_ONCE // others.size, 1)
    hits = np.zeros(2, dtype=int)
    for start in range(0, permutations, at_once):
        exchanges = np.tile(np.arange(len(said)), (min(at_once, permutations - start), 1))
        hits += (statistics(others[rng.permuted(exchanges, axis=1)]) >= least).sum(axis=0)
    return float(min(1.0, 2 * (hits.min() + 1) / (permutations + 1)))


def _agrees_beyond_chance(others: np.ndarray, said: np.ndarray, permutations: int) -> bool:
    """Whether so many agree that not one of the exchanges would: then none needs to be drawn.

    By Bernstein's inequality for exchanges, ``P(agreements >= mean + t) <= 2 exp(-t² / (4 mean + 2 t))`` (Chatterjee,
    Probability Theory and Related Fields 138, 2007, Proposition 1.1).
    """
    mean = others.mean(axis=0) @ np.bincount(said, minlength=others.shape[1])
    beyond = others[np.arange(len(said)), said].sum() - mean
    return beyond > 0 and beyond**2 / (4 * mean + 2 * beyond) > np.log(2 * permutations / NEVER)


def guess_odds(others: np.ndarray, said: np.ndarray, typical: np.ndarray) -> float:
    """How much better guessing explains an annotator's labels than typical work does, as a power of ten.

    Guessing: labels drawn from fixed shares of one's own, whatever the item; the shares are averaged over Jeffreys'
    Dirichlet prior, so their freedom is paid for. Typical work: labels from the matrix ``typical``.

    ``others`` and ``said`` as in :func:`guessing_p_value`, ``typical`` ``[true class, label]`` the matrix of the other
    annotators together. Returns log10 of the likelihood ratio; NaN without labels.
    """
    if len(said) == 0:
        return np.nan
    n_classes = len(typical)
    times = np.bincount(said, minlength=n_classes)
    guessing = gammaln(n_classes * HALF) - gammaln(len(said) + n_classes * HALF)
    guessing += (gammaln(times + HALF) - gammaln(HALF)).sum()
    working = np.log((others * typical[:, said].T).sum(axis=1)).sum()
    return float((guessing - working) / np.log(10))
