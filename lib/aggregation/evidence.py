"""How an annotator is judged by the others, label by label.

On each label the judge is ``q``, the posterior of the item *without* that label. If the annotator is right with probability
``a`` and otherwise says any wrong class alike, a label ``k`` has the probability

    a q[k] + (1 - a) (1 - q[k]) / (classes - 1),

so a label about which the others are certain says much about ``a``, and one about which they know nothing says nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, xlogy

from lib.crowd.labels import CrowdLabels

__all__ = ["accuracy_interval", "agreement_bound", "evidence_of_others", "guess_odds", "guessing_p_value"]

HALF = 0.5  # Jeffreys' pseudo-count
GRID = 2001


def evidence_of_others(crowd: CrowdLabels, posterior: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """What the others say: for each label, the posterior of its item without it.

    Args:
        crowd: the labels.
        posterior: ``[items, classes]``.
        confusion: ``[annotators, true class, label]``, those that the posterior was made with.

    Returns:
        ``[labels, classes]`` ``q[j]`` proportional to ``posterior[item, j] / confusion[annotator, j, label]``; the prior
        for the only label of an item. Exact up to the parameters, to which the label has contributed its part.

    Raises:
        ValueError: shapes that do not fit the crowd.
    """
    posterior, confusion = np.asarray(posterior, dtype=np.float64), np.asarray(confusion, dtype=np.float64)
    sizes = {"posterior": (crowd.n_items, crowd.n_classes), "confusion": (crowd.n_annotators, *[crowd.n_classes] * 2)}
    for name, values in (("posterior", posterior), ("confusion", confusion)):
        if values.shape != sizes[name]:
            raise ValueError(f"{name} must have the shape {sizes[name]}, found {values.shape}")
    own = confusion[crowd.annotator, :, crowd.label]
    rest = posterior[crowd.item] / np.maximum(own, 1e-300)
    return rest / rest.sum(axis=1, keepdims=True)


def accuracy_interval(support: np.ndarray, n_classes: int, level: float = 0.95, stride: int = 1) -> tuple[float, float, float]:
    """An annotator's accuracy with a credible interval, from how far the others support each of the labels.

    Bayes' rule with Jeffreys' prior Beta(1/2, 1/2) for the accuracy ``a`` and the likelihood at the head of this
    module, on a grid. Where the others are certain of everything (``support`` all 0 or 1), this is the Jeffreys interval
    of that many right out of that many; where they are not, it is wider.

    Args:
        support: ``[labels]`` the others' probability of the class that the annotator said.
        n_classes: at least two.
        level: between 0 and 1.
        stride: points of the grid to pass over at first; all are looked at only where it matters, for the same numbers to
            rounding. 1 passes over none.

    Returns:
        Posterior mean, and the ends of the equal-tailed interval; three NaN without labels.

    Raises:
        ValueError: fewer than two classes, a level or a support out of range.

    Reference: Brown, Cai, DasGupta (Statistical Science 16(2), 2001) on Jeffreys' interval.
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
    # In u, with a = sin²(u pi / 2), Jeffreys' prior is flat, and the grid is finest near 0 and 1.
    accuracy = np.sin(np.pi / 2 * (np.arange(GRID) + 0.5) / GRID) ** 2

    def log_likelihood_at(accuracy: np.ndarray) -> np.ndarray:
        total = np.zeros(len(accuracy))
        for start in range(0, len(support), 2048):  # bounds memory
            q = support[start : start + 2048, None]
            total += np.log(accuracy * q + (1 - accuracy) * np.maximum(1 - q, 0) / (n_classes - 1)).sum(axis=0)
        return total

    if stride == 1:
        log_likelihood = log_likelihood_at(accuracy)
    else:  # It is concave: what lies outside of its high points on a coarse grid weighs less than the last digit.
        coarse = log_likelihood_at(accuracy[::stride])
        high = np.flatnonzero(coarse > coarse.max() - 60)
        near = slice(max(high[0] - 1, 0) * stride, (high[-1] + 1) * stride + 1)
        log_likelihood = np.full(GRID, -np.inf)
        log_likelihood[near] = log_likelihood_at(accuracy[near])
    weight = np.exp(log_likelihood - log_likelihood.max())
    weight /= weight.sum()
    tails = [(1 - level) / 2, (1 + level) / 2]
    ends = np.interp(tails, np.concatenate([[0], np.cumsum(weight)]), np.linspace(0, 1, GRID + 1))
    low, high = np.sin(np.pi / 2 * ends) ** 2
    return float(weight @ accuracy), float(low), float(high)


def guessing_p_value(
    others: np.ndarray,
    said: np.ndarray,
    permutations: int = 499,
    rng: np.random.Generator | int = 0,
    negligible: float = 0.0,
) -> float:
    """How often labels unrelated to the items would look at least as informed: a permutation test.

    Under guessing, of whatever kind, an annotator's labels could as well be exchanged among the items. Two statistics are
    compared with their values after random exchanges: the expected number of agreements with the others, which finds
    ordinary work in few labels; and the mutual information with the others' classes, which also finds somebody who is
    wrong in a system. The smaller p-value is doubled, since there were two.

    Args:
        others: ``[labels, classes]`` what the others say.
        said: ``[labels]`` the annotator's labels.
        permutations: how many exchanges; p-values go down to ``2 / (permutations + 1)``.
        rng: generator or seed.
        negligible: no exchange is made where the chance that any of them would agree as often is proved to be smaller:
            the result is then the least p-value there is. 0 makes them all.

    Returns:
        At most 1; NaN without labels.

    Raises:
        ValueError: no permutations.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, found {permutations}")
    if len(said) == 0:
        return np.nan
    rng = np.random.default_rng(rng)
    if permutations * agreement_bound(others, said) < negligible:
        return min(1.0, 2 / (permutations + 1))
    order = np.argsort(said, kind="stable")
    others, (used, starts) = others[order], np.unique(said[order], return_index=True)

    def statistics(q: np.ndarray) -> np.ndarray:
        table = np.add.reduceat(q, starts, axis=0)  # [labels used, classes]
        # Both margins stay under exchange, so the sum of n log n orders as the mutual information does.
        return np.array([table[np.arange(len(used)), used].sum(), xlogy(table, table).sum()])

    least = statistics(others) - 1e-9  # an exchange of equals must count as equal
    hits = sum((statistics(others[rng.permutation(len(said))]) >= least).astype(int) for _ in range(permutations))
    return float(min(1.0, 2 * (hits.min() + 1) / (permutations + 1)))


def agreement_bound(others: np.ndarray, said: np.ndarray) -> float:
    """A bound of the chance that labels exchanged among the items agree with the others as often as they do.

    With the agreement ``T``, a sum of probabilities, and its mean ``E`` over all exchanges, that chance is at most
    ``exp(-t^2 / (4 E + 2 t))`` for ``t = T - E`` above 0 (Chatterjee, Probability Theory and Related Fields 138, 2007, on
    Hoeffding's statistic).

    Args:
        others: ``[labels, classes]`` what the others say.
        said: ``[labels]`` the annotator's labels, at least one.

    Returns:
        A probability, at most 1.
    """
    agreement = others[np.arange(len(said)), said].sum()
    mean = others.mean(axis=0) @ np.bincount(said, minlength=others.shape[1])
    more = agreement - mean
    return float(np.exp(-(more**2) / (4 * mean + 2 * more))) if more > 0 else 1.0


def guess_odds(others: np.ndarray, said: np.ndarray, typical: np.ndarray) -> float:
    """How much better guessing explains an annotator's labels than typical work does, as a power of ten.

    Guessing: labels drawn from fixed shares of one's own, whatever the item; the shares are averaged over Jeffreys'
    Dirichlet prior, so their freedom is paid for. Typical work: labels from the matrix ``typical``.

    Args:
        others: ``[labels, classes]`` what the others say.
        said: ``[labels]`` the annotator's labels.
        typical: ``[true class, label]`` the matrix of the other annotators together.

    Returns:
        log10 of the likelihood ratio; NaN without labels.
    """
    if len(said) == 0:
        return np.nan
    n_classes = len(typical)
    times = np.bincount(said, minlength=n_classes)
    guessing = gammaln(n_classes * HALF) - gammaln(len(said) + n_classes * HALF)
    guessing += (gammaln(times + HALF) - gammaln(HALF)).sum()
    working = np.log((others * typical[:, said].T).sum(axis=1)).sum()
    return float((guessing - working) / np.log(10))
