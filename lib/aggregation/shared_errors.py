"""Errors that annotators share: what labels reveal of them, and what to allow for where they reveal nothing.

Methods that learn from agreement assume that annotators err independently, given the class. On real items they do not: an item
that misleads one annotator misleads others, who then confirm each other. Accuracies and confidences come out too high.

**A test.** Suppose that an item misleads with probability ``h``: each of its labels is then, with probability ``c``, one and
the same wrong class, and otherwise an ordinary label, right with probability ``a`` and else any wrong class with equal
probability. :func:`detect` asks how much more probable the patterns of equal labels are with the best ``h`` and ``c`` than with
``h = 0``. With two or three labels per item it has little power: there, shared errors look just like better annotators. Where
pages of items go to groups of annotators of which some are much worse than others, it sees shared errors too.

**An allowance.** An item that misleads nearly everybody looks like a clear item of another class, so labels can never rule it
out. :func:`allowance` bounds such items by an assumption (as Rosenbaum, *Observational Studies*, 2002, chapter 4): agreement
shows that a label errs with probability ``e``; on top of that, between none and a share ``e`` of the items mislead.
Where one number is needed, it is half of ``e``; intervals of accuracies take every share up to ``e`` to be equally probable.
``tests/benchmarks/own_data_grid.py`` and ``own_data_real.py`` measure how often the truth is then inside. Items whose class is
known replace the assumption by a measurement.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, gammaln
from scipy.stats import beta

from lib.aggregation import fusion
from lib.aggregation.fusion import Estimate
from lib.crowd.labels import CrowdLabels

CRITICAL = 3.0  # log-likelihood gained by two parameters; chance gives more in one crowd of twenty
ITEMS_AT_MOST = 20_000  # looked at by the test
LABELS_AT_MOST = 10  # of an item
FEWEST_KNOWN = 10  # items whose class is known, to measure errors on
FOLDS = 5


@dataclass(frozen=True)
class SharedErrors:
    """What the test found.

    Attributes:
        share: of the items that mislead; the best value, whether or not there is evidence for it.
        pull: probability that a label of such an item is the wrong class it suggests.
        evidence: log-likelihood gained by the two.
    """

    share: float
    pull: float
    evidence: float

    @property
    def detected(self) -> bool:
        """Whether chance would seldom (once in twenty crowds) show as much."""
        return self.evidence > CRITICAL


def detect(crowd: CrowdLabels, said: np.ndarray | None = None) -> SharedErrors:
    """Test whether annotators share errors, in labels of at least two classes and, where there is one, in what a classifier
    says ``[items]`` that has not seen the item's labels."""
    blocks, own, times = _patterns(crowd, said)
    if len(blocks) == 0:
        return SharedErrors(0.0, 0.0, 0.0)
    # Errors may be confined to fewer classes than there are, which makes equal errors frequent without anybody being misled.
    seen = int((blocks + own > 0).sum(axis=1).max())
    among = sorted({max(seen, 2), min(max(seen, 5), crowd.n_classes), crowd.n_classes})
    best, plain = (np.inf, 0.0, 0.0), np.inf
    for n_classes in among:

        def values(t, n_classes=n_classes):
            lowest = 1 / n_classes
            a, b = np.minimum(lowest + (1 - lowest) * expit(np.array([t[0], t[1]])), 1 - 1e-9)
            return (a, 0.0, 0.5, b) if len(t) == 2 else (a, expit(t[2]) / 2, 0.2 + 0.8 * expit(t[3]), b)

        def loss(t, n_classes=n_classes):
            weak = 0.02 * float(np.square(t).sum()) if len(t) > 2 else 0.0  # keeps flat directions from running off
            return weak - times @ pattern_log_probability(blocks, own, n_classes, *values(t))

        options = {"maxiter": 300, "xatol": 0.01, "fatol": 0.01}
        starts = ((1.0, 1.0), (1.0, -2.0))  # a good classifier, and one near chance
        alone = min((minimize(loss, start, method="Nelder-Mead", options=options) for start in starts), key=lambda f: f.fun)
        plain = min(plain, alone.fun)
        found = values(minimize(loss, (*alone.x, -1.0, 0.0), method="Nelder-Mead", options=options).x)
        best = min(best, (-float(times @ pattern_log_probability(blocks, own, n_classes, *found)), found[1], found[2]))
    return SharedErrors(float(best[1]), float(best[2]), float(max(plain - best[0], 0.0)))


def pattern_log_probability(
    blocks: np.ndarray, own: np.ndarray, n_classes: int, a: float, share: float, pull: float, classifier: float
) -> np.ndarray:
    """``[patterns]`` log-probability of which labels of an item are equal, by the model at the head of this module.

    Args:
        blocks: ``[patterns, most]`` how many labels say the first class mentioned, the second, ...; zeros at the end.
        own: ``[patterns, most]`` 1 where the classifier says it, who is right with probability ``classifier``; zeros without
            one.
        n_classes: at least as many as are mentioned.
    """
    mentioned = (blocks + own) > 0
    d = mentioned.sum(axis=1)
    unsaid, nothing = n_classes - d, np.zeros(len(blocks))
    # Two columns more, of classes that nobody mentioned: the true one, and the misleading one. How many classes a column stands
    # for where it is true: itself, or all that were not mentioned.
    blocks, own = (np.pad(part, [(0, 0), (0, 2)]) for part in (blocks, own))
    weight = np.column_stack([mentioned, unsaid, nothing])
    size, n = blocks.shape[1], blocks.sum(axis=1)
    wrong = (1 - a) / (n_classes - 1)
    right = n[:, None] * np.log(wrong) + blocks * np.log(a / wrong)  # if the column's class is true
    if share > 0:
        high, low = np.log(pull + (1 - pull) * wrong), np.log((1 - pull) * wrong)
        # [pattern, true, misleading]
        misled = n[:, None, None] * low + blocks[:, :, None] * (np.log((1 - pull) * a) - low) + blocks[:, None] * (high - low)
        times = np.repeat(np.column_stack([mentioned, nothing, unsaid])[:, None], size, axis=1)
        times[:, -2, -1] -= 1  # the true class is one of those
        times[:, np.arange(size), np.arange(size)] = 0.0
        with np.errstate(divide="ignore"):
            misled = np.logaddexp.reduce(misled + np.log(np.maximum(times, 0)), axis=2) - np.log(n_classes - 1)
        right = np.logaddexp(np.log(1 - share) + right, np.log(share) + misled)
    right += own.any(axis=1)[:, None] * np.log((1 - classifier) / (n_classes - 1))
    right += own * np.log(classifier * (n_classes - 1) / (1 - classifier))
    with np.errstate(divide="ignore"):
        names = gammaln(n_classes + 1) - gammaln(n_classes - d + 1)  # the classes that the blocks may stand for
        return np.logaddexp.reduce(right + np.log(weight), axis=1) - np.log(n_classes) + names


def _patterns(crowd: CrowdLabels, said: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different patterns of items with two labels or more, the classifier's part in them, and how often each occurs."""
    items = np.flatnonzero((crowd.labels_per_item >= 2) & (crowd.labels_per_item <= LABELS_AT_MOST))
    if len(items) > ITEMS_AT_MOST:
        items = np.random.default_rng(0).permutation(items)[:ITEMS_AT_MOST]
    key = 2 * crowd.counts[items].astype(np.int64)
    if said is not None:
        key[np.arange(len(items)), np.asarray(said)[items]] += 1
    key = -np.sort(-key, axis=1)[:, : LABELS_AT_MOST + 1]
    key, times = np.unique(key, axis=0, return_counts=True)
    key = key[:, (key > 0).any(axis=0)] if len(key) else key
    return key // 2, key % 2, times


# ---------------------------------------------------------------------- what has to be allowed for


def allowance(crowd: CrowdLabels, estimate: Estimate, known: np.ndarray) -> tuple[float, float, float]:
    """The share of items on which the estimate may be misled beyond what it says itself: low, middle, high.

    With fewer than ten known classes it is an assumption: 0, half and all of the error rate of a label (its upper bound), see
    the head of this module. With more, it is measured: each fifth of the known classes is hidden in turn, and the ends are
    those of Jeffreys' 95 % interval. ``estimate`` is that of ``fusion.estimate`` from these labels and known classes
    ``[items]``, -1 for the others. Between 0 and ``1 - 1 / classes``; NaN if accuracies cannot be told apart.
    """
    if not estimate.told_apart:
        return np.nan, np.nan, np.nan
    places = np.flatnonzero((known >= 0) & (crowd.labels_per_item > 0))
    most = 1 - 1 / crowd.n_classes
    if len(places) < FEWEST_KNOWN:
        a, low, _ = fusion.mean_accuracy(crowd, known)
        return 0.0, min((1 - a) / 2, most / 2), min(1 - low, most)
    fold = np.random.default_rng(0).permutation(len(places)) % FOLDS
    model = (estimate.model, estimate.leaning)
    wrong = said = 0.0
    for part in range(FOLDS):
        hidden, rest = places[fold == part], known.copy()
        rest[hidden] = -1
        used = (crowd.labels_per_item >= 2) | (rest >= 0)
        found = fusion.fitted(crowd, model, np.log(estimate.prior), rest, used, rounds=20).posterior[hidden]
        wrong += (found.argmax(axis=1) != known[hidden]).sum()
        said += (1 - found.max(axis=1)).sum()
    n, expected = len(places), said / len(places)
    low, high = beta.ppf([0.025, 0.975], wrong + 0.5, n - wrong + 0.5)
    shares = np.array([low, (wrong + 0.5) / (n + 1), high])
    low, middle, high = np.clip((shares - expected) / max(1 - expected, 1e-9), 0, most)
    return float(low), float(middle), float(high)


def discounted(prob: np.ndarray, share: float, n_classes: int) -> np.ndarray:
    """Probabilities of classes, of any shape, with an allowance: with probability ``share``, another class is true.

    The most probable class stays the same as long as ``share`` is below ``1 - 1 / n_classes``.
    """
    return (1 - share) * prob + share * (1 - prob) / (n_classes - 1)


def wrong_labels(prob: np.ndarray, shares: tuple[float, float, float]) -> tuple[float, float, float]:
    """How many of the most probable classes of ``prob`` ``[items, classes]``, before any allowance, are wrong: low, middle,
    high.

    The expected numbers at the three shares of :func:`allowance`, the first and last two standard deviations farther out.
    """
    highest = prob.max(axis=1)
    wrong = [1 - discounted(highest, share, prob.shape[1]) for share in shares]
    low, middle, high = (part.sum() for part in wrong)
    spread = [2 * np.sqrt((part * (1 - part)).sum()) for part in wrong]
    return float(max(low - spread[0], 0)), float(middle), float(min(high + spread[2], len(prob)))
