"""What crowd labels say about their annotators. No true labels are needed.

Each annotator is judged by the others, label by label: the judge is ``q``, the posterior of the item *without* that label
(:func:`lib.aggregation.fusion.without_own`). If the annotator is right with probability ``a`` and otherwise says any wrong
class with equal probability, a label ``k`` has the probability ``a q[k] + (1 - a) (1 - q[k]) / (classes - 1)``: a label about
which the others are certain says much about ``a``, and one about which they know nothing says nothing. Errors that annotators
share escape it (see :mod:`lib.aggregation.shared_errors`).
"""

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import gammaln
from scipy.stats import norm

from lib.aggregation.confusion import of_shape, rows_to_one
from lib.aggregation.fusion import Fit, support, without_own
from lib.aggregation.judging import accuracy_grid
from lib.crowd.labels import CrowdLabels

GRID = 2001  # accuracies
COARSE = 40  # a first look takes every 40th of them
NEGLIGIBLE = 50.0  # nats below the highest likelihood
P_BELOW = 0.01  # an annotator with a smaller p-value does not guess
ODDS_ABOVE = 1.0  # log10: guessing must explain the labels ten times better than typical work
BLOCK = 2**14  # labels, of which everything fits a processor's cache


def report(crowd: CrowdLabels, posterior: np.ndarray, confusion: np.ndarray) -> pd.DataFrame:
    """One line per annotator, in the crowd's order, from a posterior ``[items, classes]`` and the matrices ``[annotators, true
    class, label]`` that it was made with, to which each label has contributed its part.

    Columns ``annotator`` (the caller's name), ``n_labels``, ``accuracy``, ``ci_low``, ``ci_high`` (95 %, from
    :func:`accuracy_interval`), ``p_guessing`` (from :func:`guessing`), ``looks_random``. Numbers are NaN for an annotator
    without labels. Raises ValueError for shapes that do not fit, or fewer than two classes.
    """
    posterior = of_shape("posterior", posterior, (crowd.n_items, crowd.n_classes))
    confusion = of_shape("confusion", confusion, (crowd.n_annotators, crowd.n_classes, crowd.n_classes))
    fit = Fit(posterior, confusion.diagonal(axis1=1, axis2=2).mean(axis=1), confusion, True)
    by_annotator = support(crowd, fit)[np.argsort(crowd.annotator, kind="stable")]
    parts = np.split(by_annotator, np.cumsum(crowd.labels_per_annotator)[:-1])[: crowd.n_annotators]
    intervals = [accuracy_interval(part, crowd.n_classes) for part in parts]
    table = pd.DataFrame(np.reshape(intervals, (-1, 3)), columns=["accuracy", "ci_low", "ci_high"])
    table.insert(0, "annotator", list(crowd.annotator_names or range(crowd.n_annotators)))
    table.insert(1, "n_labels", crowd.labels_per_annotator)
    table["p_guessing"], table["looks_random"] = guessing(crowd, fit, np.arange(len(crowd)))
    return table


def accuracy_interval(support: np.ndarray, n_classes: int) -> tuple[float, float, float]:
    """An annotator's accuracy: posterior mean, and the ends of an equal-tailed 95 % credible interval; NaN without labels.

    Bayes' rule with Jeffreys' prior Beta(1/2, 1/2) and the likelihood at the head of this module, on a grid, from ``support``
    ``[labels]``, the others' probability of the class that the annotator said. Where the others are certain (all 0 or 1), this
    is the Jeffreys interval of that many right (Brown, Cai, DasGupta, Statistical Science 16(2), 2001); else it is wider.

    Raises:
        ValueError: fewer than two classes, or a support out of range.
    """
    support = np.asarray(support, dtype=np.float64)
    if n_classes < 2:
        raise ValueError(f"an accuracy needs at least two classes, found {n_classes}")
    if not ((support >= 0) & (support <= 1 + 1e-9)).all():
        raise ValueError("support must hold probabilities, found a number outside 0 .. 1")
    if len(support) == 0:
        return np.nan, np.nan, np.nan
    ways = np.stack([support, np.maximum(1 - support, 0) / (n_classes - 1)], axis=1)
    parts = np.array_split(ways, len(ways) // 1000 + 1)  # bounds memory

    def log_likelihood(accuracy: np.ndarray) -> np.ndarray:
        return sum(np.log(part @ np.stack([accuracy, 1 - accuracy])).sum(axis=0) for part in parts)

    # It is concave in the accuracy, so beyond a negligible place there are only smaller ones.
    accuracy = accuracy_grid(GRID)
    coarse = log_likelihood(accuracy[::COARSE])
    inside = np.flatnonzero(coarse >= coarse.max() - NEGLIGIBLE)
    near = slice(max(inside[0] - 1, 0) * COARSE, (inside[-1] + 1) * COARSE + 1)
    values, weight = log_likelihood(accuracy[near]), np.zeros(GRID)
    weight[near] = np.exp(values - values.max())
    weight /= weight.sum()
    ends = np.interp([0.025, 0.975], np.concatenate([[0], np.cumsum(weight)]), np.linspace(0, 1, GRID + 1))
    low, high = np.sin(np.pi / 2 * ends) ** 2
    return float(weight @ accuracy), float(low), float(high)


def guessing(crowd: CrowdLabels, fit: Fit, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[annotators]`` p-value of guessing (NaN without labels), and whether somebody looks random; from some labels, ``rows``.

    Looks random: the labels may be unrelated to the items (a p-value above 0.01) *and* they are ten times more likely from
    somebody who labels every item with the same class probabilities, averaged over Jeffreys' Dirichlet prior, than from a
    typical annotator, who is right as often as the crowd. The first condition spares those who are systematically wrong, the
    second those who gave too few labels to tell.

    The labels of somebody who guesses may be permuted among the items. Two statistics are compared with their exact mean and
    variance under permutation and a normal tail: the agreement with the others, and the cell (class, label) of the table that
    deviates most (with Bonferroni's correction), which also detects somebody who is systematically wrong.
    """
    size, n = crowd.n_annotators, crowd.n_classes
    cell = crowd.annotator[rows] * n + crowd.label[rows]
    times = np.bincount(cell, minlength=size * n).reshape(size, n).astype(np.float64)
    total = times.sum(axis=1)
    m = np.maximum(total, 2)[:, None]
    shares, a = times / m, float(np.clip(fit.accuracy @ total / max(total.sum(), 1), 0.5 / n, 0.999))
    table, second, mixed, working = np.zeros((size * n, n)), np.zeros((size, n)), np.zeros(size), np.zeros(size)
    block = max(BLOCK, size * n)  # as large as the table that it is added to
    for start in range(0, len(rows), block):
        some = slice(start, start + block)
        q, (who, label) = rows_to_one(without_own(crowd, fit, rows[some])), np.divmod(cell[some], n)
        table += _summed_by(cell[some], size * n) @ q
        second += _summed_by(who, size) @ q**2
        mixed += np.bincount(who, weights=(q * shares[who]).sum(axis=1) ** 2, minlength=size)
        own = q[np.arange(len(q)), label]
        working += np.bincount(who, weights=np.log(a * own + (1 - a) * (1 - own) / (n - 1)), minlength=size)
    table = table.reshape(size, n, n)  # [annotator, label, class]
    first = table.sum(axis=1)
    spread = np.maximum(second / m - (first / m) ** 2, 0)
    variance = (times * (m - times) / (m - 1))[:, :, None] * spread[:, None, :]
    off = np.abs(table - times[:, :, None] * (first / m)[:, None, :]) / np.sqrt(np.maximum(variance, 1e-9))
    p_cell = np.minimum(1, 2 * norm.sf(off.max(axis=(1, 2))) * n * n)
    squares = (times * second).sum(axis=1) - m[:, 0] * mixed
    squares += -m[:, 0] * (times * (first / m) ** 2).sum(axis=1) + ((times * first / m).sum(axis=1)) ** 2
    agreed = np.trace(table, axis1=1, axis2=2) - (shares * first).sum(axis=1)
    p_agree = norm.sf(agreed / np.sqrt(np.maximum(squares / (m[:, 0] - 1), 1e-9)))
    p_value = np.where(total > 0, np.minimum(1, 2 * np.minimum(p_cell, p_agree)), np.nan)
    guesses = gammaln(n / 2) - gammaln(total + n / 2) + (gammaln(times + 0.5) - gammaln(0.5)).sum(axis=1)
    return p_value, (p_value > P_BELOW) & ((guesses - working) / np.log(10) >= ODDS_ABOVE)


def _summed_by(place: np.ndarray, size: int) -> sparse.csc_array:
    """``[size, rows]`` a matrix whose product sums the rows of each place."""
    return sparse.csc_array((np.ones(len(place)), place, np.arange(len(place) + 1)), shape=(size, len(place)))
