"""Combine labels and a classifier's predictions into a posterior for every item, hardly ever worse than the majority vote.

Dawid-Skene estimates everything from the data. With few labels per item it explains good labels away, and with a classifier
among the annotators it may end up trusting the classifier alone. Four rules prevent both:

* **Class shares come from the vote**, less the votes that errors add to rare classes, see :func:`class_shares`. Estimated along
  with the rest, they let a frequent class absorb the others.
* **No more parameters than hidden labels justify.** By default an annotator is one coin: right with probability ``a[r]``,
  shrunk towards the crowd's mean with the weight of sixteen labels, and otherwise any wrong class with equal probability.
  Another weight, or full matrices (whose rows are shrunk towards the annotator's coin and the errors of the crowd), replace
  it only if they predict hidden labels better by more than the standard error of the difference.
* **Agreement is counted where annotators can agree**: on items with two labels or more, or with a known class. Where there
  are too few such items, or annotators agree no more than by chance, no accuracy can be estimated, and the labels are kept.
* **A classifier may show which annotators are better than others, but not how accurate they are overall.** Its probabilities,
  predicted without the item's own labels, replace the class shares after a temperature and a share of doubt have been fitted
  to the labels. The mean accuracy of a label stays at least what the annotators' agreement implies, plus one standard error.

Errors that annotators share remain: see :mod:`lib.aggregation.shared_errors`. Below, ``known`` ``[items]`` holds known
classes, -1 for the others, and ``prior`` ``[1 or items, classes]`` log-probabilities before an item's labels. References:
Dawid, Skene (JRSS C 28(1), 1979); on shrinkage James, Stein (4th Berkeley Symposium 1, 1961); the rules are ours.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from lib.aggregation.confusion import expected_counts
from lib.aggregation.dawid_skene import soft_vote
from lib.aggregation.em_steps import BLOCK, check_known, e_step, normalize
from lib.aggregation.held_out_labels import spare
from lib.crowd.labels import CrowdLabels

__all__ = ["Estimate", "estimate", "support"]

COIN, FULL = "one coin", "full matrices"
MODELS = ((COIN, 16.0), (COIN, 64.0), (COIN, 4.0), (FULL, 32.0), (FULL, 8.0))  # with their leaning; the first is the default
CROWD_ROWS = 10.0  # weight, in labels, with which a row of the crowd's errors is shrunk towards equal ones
LABELS_AT_MOST = 100_000  # used to choose a model
LABELS_A_ROW = 0.25  # fewer per row of the full matrices, and these are not tried
NUMBERS_AT_MOST = 30_000_000  # of full matrices; with more, these are not tried
FEWEST_PAIRS = 10  # items with two labels or a known class, below which accuracies are not told apart
KEPT = 0.999  # accuracy of a label where labels are kept
TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 8.0)
DOUBTS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0)
ROUNDS = 100
SETTLED = 1e-3  # a smaller change of every probability ends the rounds


@dataclass(frozen=True, eq=False)
class Fit:
    """One model, fitted.

    Attributes:
        posterior: ``[items, classes]``, rows sum to one; one-hot where the class is known.
        accuracy: ``[annotators]`` probability that a label is right.
        confusion: ``[annotators, true class, label]``; None of one coin per annotator.
        converged: whether the posterior had stopped changing when the rounds ended.
    """

    posterior: np.ndarray
    accuracy: np.ndarray
    confusion: np.ndarray | None
    converged: bool


@dataclass(frozen=True, eq=False)
class Estimate(Fit):
    """What :func:`estimate` found, beside a :class:`Fit`.

    Attributes:
        prior: ``[1, classes]``, or ``[items, classes]`` with a classifier: the prior of an item, before its labels.
        people: ``[items, classes]`` the posterior given the labels alone.
        leaning: the weight, in labels, with which an annotator is shrunk towards the crowd (with full matrices: a row towards
            the annotator's coin).
        told_apart: whether there is enough agreement, on enough items, to estimate accuracies. If not, labels are kept.
        doubt: weight of the class shares against the classifier; 1 means that it is ignored, NaN that there is none.
    """

    prior: np.ndarray
    people: np.ndarray
    leaning: float
    told_apart: bool
    doubt: float = np.nan

    @property
    def model(self) -> str:
        """``"one coin"`` or ``"full matrices"``."""
        return COIN if self.confusion is None else FULL


def estimate(crowd: CrowdLabels, prob: np.ndarray | None = None, known: np.ndarray | None = None) -> Estimate:
    """The class of every item, from its labels and, if there is one, a classifier.

    ``prob`` ``[items, classes]`` are probabilities by a classifier that never saw the item's labels. Known classes
    ``[items]`` (-1 for the others) are held fixed, and annotators are measured against them.

    Raises:
        ValueError: fewer than two classes, or sizes or values that do not fit the crowd.
    """
    if crowd.n_classes < 2:
        raise ValueError(f"there is nothing to decide between {crowd.n_classes} classes; expected at least two")
    if prob is not None:
        prob, wanted = np.asarray(prob, dtype=np.float64), (crowd.n_items, crowd.n_classes)
        if prob.shape != wanted or not np.isfinite(prob).all() or (prob < 0).any():
            raise ValueError(f"prob must hold probabilities of shape {wanted}, found shape {prob.shape} or other numbers")
    known = check_known(crowd, known)
    prior = class_shares(crowd, known)
    several = (crowd.labels_per_item >= 2) | (known >= 0)
    a, low, high = mean_accuracy(crowd, known)
    enough = int((several & (crowd.labels_per_item > 0)).sum()) >= FEWEST_PAIRS
    told_apart = bool(enough and (low > 1 / crowd.n_classes or (known >= 0).any()))
    model, doubt = MODELS[0], np.nan
    if told_apart:
        model = _choose(crowd, prior, known)
        fit = fitted(crowd, model, prior, known, several)
    else:  # every annotator is taken to be nearly always right: the vote decides, and the prior breaks ties
        accuracy = np.full(crowd.n_annotators, KEPT)
        fit = Fit(_fixed(_softmax(coin_scores(crowd, accuracy), prior), known), accuracy, None, True)
    people = fit.posterior
    if prob is not None:
        floor = a + (high - a) / 1.96 if told_apart and high < KEPT else KEPT
        helped, calibrated, doubt = _with_classifier(crowd, fit, model, prior, prob, known, floor)
        if doubt < 1:
            fit, prior = helped, calibrated
    return Estimate(
        fit.posterior, fit.accuracy, fit.confusion, fit.converged, np.exp(prior), people, model[1], told_apart, doubt
    )


def support(crowd: CrowdLabels, fit: Fit) -> np.ndarray:
    """``[labels]`` probability that the label is right, given everything known about the item except this label."""
    if fit.confusion is None:
        said, a = crowd.said_in(fit.posterior), fit.accuracy[crowd.annotator]
        right, wrong = said / a, (1 - said) * (crowd.n_classes - 1) / (1 - a)
        return right / (right + wrong)
    rest = np.empty(len(crowd))
    for start in range(0, len(crowd), 65536):  # bounds memory
        rows = slice(start, start + 65536)
        others = without_own(crowd, fit, rows)
        rest[rows] = others[np.arange(len(others)), crowd.label[rows]] / others.sum(axis=1)
    return rest


def without_own(crowd: CrowdLabels, fit: Fit, rows: np.ndarray | slice) -> np.ndarray:
    """``[rows, classes]`` what the others say, up to a factor for each row: the posterior of the item of each of these labels,
    without the label; the prior for the only label of an item. To the parameters the label has contributed its part."""
    who, label = crowd.annotator[rows], crowd.label[rows]
    if fit.confusion is not None:
        own = fit.confusion[who, :, label]
    else:
        a = fit.accuracy[who]
        own = np.repeat(((1 - a) / (crowd.n_classes - 1))[:, None], crowd.n_classes, axis=1)
        own[np.arange(len(label)), label] = a
    return fit.posterior[crowd.item[rows]] / np.maximum(own, 1e-300)


# ---------------------------------------------------------------------- one model


def fitted(
    crowd: CrowdLabels,
    model: tuple[str, float],
    prior: np.ndarray,
    known: np.ndarray,
    used: np.ndarray,
    floor: float = 0.0,
    start: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    rounds: int = ROUNDS,
) -> Fit:
    """EM, started from the vote, or from the known items if there are some.

    ``model`` is its kind and leaning; ``used`` ``[items]`` masks the items on which annotators are measured, which count
    ``weight`` ``[items]`` times (in a bootstrap sample); the mean accuracy of a label is raised to at least ``floor``;
    ``start`` is the first posterior.
    """
    kind, leaning = model
    posterior = _fixed(soft_vote(crowd) if start is None else start.copy(), known)
    said = crowd.said_in(posterior)
    mask = (known >= 0) if (known >= 0).any() and start is None else used
    counted = _Counted.of(crowd, mask, weight)
    later = counted if mask is used else _Counted.of(crowd, used, weight)
    converged, accuracy, confusion = False, None, None
    for _ in range(rounds):
        accuracy = _accuracies(crowd, said, counted, leaning if kind == COIN else MODELS[0][1], floor)
        if kind == COIN:
            converged = _coin_step(crowd, accuracy, prior, known, posterior, said)
        else:
            confusion = _confusions(crowd, posterior, counted, accuracy, leaning)
            found = _fixed(e_step(prior[0] if len(prior) == 1 else prior, confusion, crowd)[0], known)
            posterior -= found  # in the array of the one before, which is of no more use
            converged = bool(np.abs(posterior, out=posterior).max(initial=0) < SETTLED)
            posterior, said = found, crowd.said_in(found)
        counted = later
        if converged:
            break
    return Fit(posterior, accuracy, confusion, converged)


def _coin_step(
    crowd: CrowdLabels, accuracy: np.ndarray, prior: np.ndarray, known: np.ndarray, posterior: np.ndarray, said: np.ndarray
) -> bool:
    """E-step of the coins, in place: ``posterior``, and what it says of each label's class, ``said`` ``[labels]``. Whether it
    has settled. Items go in blocks that fit the processor's cache, labels with theirs."""
    odds, settled = _log_odds(accuracy, crowd.n_classes), True
    for first in range(0, crowd.n_items, BLOCK):
        items = slice(first, first + BLOCK)
        labels = slice(*crowd.offsets[[first, min(first + BLOCK, crowd.n_items)]])
        before, cell = posterior[items], crowd.cell[labels] - first * crowd.n_classes
        scores = np.bincount(cell, odds[crowd.annotator[labels]], minlength=before.size).reshape(before.shape)
        scores = _softmax(scores.astype(np.float64, copy=False), prior if len(prior) == 1 else prior[items])
        _fixed(scores, known[items])
        settled = settled and bool(np.abs(scores - before).max() < SETTLED)
        before[:] = scores
        said[labels] = np.take(scores, cell)
    return settled


def _fixed(posterior: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The posterior, certain where a class is known; in place."""
    fixed = np.flatnonzero(known >= 0)
    posterior[fixed] = 0.0
    posterior[fixed, known[fixed]] = 1.0
    return posterior


def _softmax(scores: np.ndarray, log_prior: np.ndarray | float = 0.0) -> np.ndarray:
    """Of the rows of ``scores + log_prior``; in place."""
    normalize(scores, log_prior)
    return scores


@dataclass(frozen=True, eq=False)
class _Counted:
    """How often each item counts, each label, and the labels of each annotator together."""

    items: np.ndarray
    labels: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, crowd: CrowdLabels, mask: np.ndarray, weight: np.ndarray | None) -> Self:
        items = mask.astype(np.float64) if weight is None else mask * weight
        labels = items[crowd.item]
        return cls(items, labels, np.bincount(crowd.annotator, weights=labels, minlength=crowd.n_annotators))


def _accuracies(crowd: CrowdLabels, said: np.ndarray, counted: _Counted, leaning: float, floor: float) -> np.ndarray:
    """``[annotators]`` expected share of right labels on the items that count, shrunk towards the crowd's."""
    right, total = np.bincount(crowd.annotator, said * counted.labels, minlength=crowd.n_annotators), counted.total
    mean = (right.sum() + 1.6) / (total.sum() + 2)  # like two more labels, four fifths right
    accuracy = np.clip((right + leaning * mean) / (total + leaning), 0.5 / crowd.n_classes, 0.999)
    return lifted(accuracy, crowd.labels_per_annotator, floor)


def lifted(accuracy: np.ndarray, labels: np.ndarray, floor: float) -> np.ndarray:
    """Accuracies whose odds are all raised by one factor, such that the mean accuracy of a label is at least ``floor``."""
    share = labels / max(labels.sum(), 1)
    if share @ accuracy >= floor:
        return accuracy
    odds = accuracy / (1 - accuracy)
    low, high = 0.0, 20.0  # of the factor's logarithm
    for _ in range(40):
        middle = (low + high) / 2
        raised = odds * np.exp(middle)
        low, high = (middle, high) if share @ (raised / (1 + raised)) < floor else (low, middle)
    raised = odds * np.exp(high)
    return np.clip(raised / (1 + raised), 1e-4, 0.9999)


def _confusions(
    crowd: CrowdLabels, posterior: np.ndarray, counted: _Counted, accuracy: np.ndarray, leaning: float
) -> np.ndarray:
    """``[annotators, true class, label]`` expected shares, shrunk towards the annotator's coin with the errors of the crowd."""
    n_classes = crowd.n_classes
    counts = expected_counts(posterior * counted.items[:, None], crowd)
    wrong = counts.sum(axis=0) * (1 - np.eye(n_classes))
    alike = (1 - np.eye(n_classes)) / (n_classes - 1)
    wrong = (wrong + CROWD_ROWS * alike) / (wrong.sum(axis=1, keepdims=True) + CROWD_ROWS)
    coin = (1 - accuracy)[:, None, None] * wrong
    coin[:, np.arange(n_classes), np.arange(n_classes)] = accuracy[:, None]
    return (counts + leaning * coin) / (counts.sum(axis=2, keepdims=True) + leaning)


def coin_scores(crowd: CrowdLabels, accuracy: np.ndarray) -> np.ndarray:
    """``[items, classes]`` log-likelihood of the labels under one coin per annotator, up to a constant per item."""
    return crowd.sums_by_item(_log_odds(accuracy, crowd.n_classes)[crowd.annotator])


def _log_odds(accuracy: np.ndarray, n_classes: int) -> np.ndarray:
    return np.log(accuracy * (n_classes - 1) / (1 - accuracy))


# ---------------------------------------------------------------------- which model


def _choose(crowd: CrowdLabels, prior: np.ndarray, known: np.ndarray) -> tuple[str, float]:
    """The model that predicts hidden labels best; a later one must beat the best so far by more than a standard error."""
    if len(crowd) > LABELS_AT_MOST:  # a sample of items will do
        items = np.random.default_rng(0).permutation(crowd.n_items)[: int(crowd.n_items * LABELS_AT_MOST / len(crowd))]
        crowd, known = crowd.select_items(items), known[items]
    rows = crowd.n_annotators * crowd.n_classes
    supported = len(crowd) >= LABELS_A_ROW * rows and rows * crowd.n_classes <= NUMBERS_AT_MOST
    models = [m for m in MODELS if supported or m[0] == COIN]
    scores = {model: [] for model in models}
    for seed in (0, 1):
        visible, hidden = _hide(crowd, known, np.random.default_rng(seed))
        used = (visible.labels_per_item >= 2) | (known >= 0)
        for model in models:
            scores[model].append(_predicted(fitted(visible, model, prior, known, used), hidden))
    best, repeats = models[0], 2
    values = {model: np.concatenate(parts) for model, parts in scores.items()}
    for model in models[1:]:
        gain = values[model] - values[best]
        if gain.mean() > gain.std() / np.sqrt(max(len(gain) / repeats, 1)):
            best = model
    return best


def _hide(crowd: CrowdLabels, known: np.ndarray, rng: np.random.Generator) -> tuple[CrowdLabels, CrowdLabels]:
    """Visible and hidden labels: a fifth is hidden, of items that keep another label or whose class is known."""
    candidates = rng.permutation(np.flatnonzero(spare(crowd, rng.permutation(len(crowd))) | (known[crowd.item] >= 0)))
    keep = np.ones(len(crowd), dtype=bool)
    keep[candidates[: max(1, min(len(candidates), round(0.2 * len(crowd))))]] = False
    return crowd.select_labels(keep), crowd.select_labels(~keep)


def _predicted(fit: Fit, hidden: CrowdLabels) -> np.ndarray:
    """``[hidden labels]`` log-probability of each."""
    belief = fit.posterior[hidden.item]
    if fit.confusion is not None:
        return np.log((belief * fit.confusion[hidden.annotator, :, hidden.label]).sum(axis=1))
    said, a = belief[np.arange(len(belief)), hidden.label], fit.accuracy[hidden.annotator]
    return np.log(a * said + (1 - a) * (1 - said) / (hidden.n_classes - 1))


# ---------------------------------------------------------------------- the classifier


def _with_classifier(crowd, fit, model, shares, prob, known, floor):
    """The fit with calibrated probabilities in place of the class shares; these as a prior (log), and the doubt."""
    labeled = crowd.labels_per_item > 0
    for _ in range(3):
        accuracy = lifted(fit.accuracy, crowd.labels_per_annotator, floor)
        scores = coin_scores(crowd, accuracy)
        prior, doubt = _calibrated(prob, scores[labeled], labeled, shares)
        fit = fitted(crowd, model, prior, known, labeled | (known >= 0), floor, start=_softmax(scores, prior))
    return fit, prior, doubt


def _calibrated(prob, scores, labeled, shares):
    """Log-probabilities ``[items, classes]`` at the temperature and doubt under which the labels are most likely."""
    likelihood = np.exp(scores - scores.max(axis=1, keepdims=True))
    plain = likelihood @ np.exp(shares[0])
    logs, best = np.log(np.maximum(prob, 1e-12)), (-np.inf, 1.0, 1.0)
    for temperature in TEMPERATURES:
        sharp = (likelihood * _softmax(logs[labeled] / temperature)).sum(axis=1)
        for doubt in DOUBTS:
            value = np.log((1 - doubt) * sharp + doubt * plain).sum()
            if value > best[0] + 1e-9:
                best = (value, temperature, doubt)
    _, temperature, doubt = best
    return np.log((1 - doubt) * _softmax(logs / temperature) + doubt * np.exp(shares)), doubt


# ---------------------------------------------------------------------- what the votes say of everybody


def mean_accuracy(crowd: CrowdLabels, known: np.ndarray) -> tuple[float, float, float]:
    """The mean accuracy of a label, from how often two annotators agree, and from known classes; and the ends of a 95 %
    interval.

    If all are right with probability ``a`` and otherwise say any other class with equal probability, two agree with probability
    ``a² + (1 - a)² / (C - 1)``. Without anything to compare it is 0.999, and the interval from 0 to 0.999.
    """
    several, told, c = crowd.labels_per_item >= 2, known[crowd.item] >= 0, crowd.n_classes
    if told.sum() > 1:  # what is known counts more than what is agreed on
        right = crowd.label[told] == known[crowd.item[told]]
        a = (right.sum() + 0.5) / (len(right) + 1)
        error = np.sqrt(max(right.var(), 0.25 / len(right)) / (known >= 0).sum())
    elif several.sum() > 1:
        n = crowd.labels_per_item[several]
        agree = crowd.agreeing_pairs[several] / (n * (n - 1))
        share, error = (agree.sum() + 0.5) / (len(agree) + 1), np.sqrt(max(agree.var(), 0.25 / len(agree)) / len(agree))
        a = (1 + np.sqrt(max((c - 1) * (c * share - 1), 0))) / c
        error /= max(2 * a - 2 * (1 - a) / (c - 1), 0.1)
    else:
        return KEPT, 0.0, KEPT
    return min(a, KEPT), max(a - 1.96 * error, 0.0), min(a + 1.96 * error, KEPT)


def class_shares(crowd: CrowdLabels, known: np.ndarray) -> np.ndarray:
    """``[1, classes]`` log of the share of each class among the items.

    If labels are right with probability ``a`` and otherwise any wrong class with equal probability, a class of share ``s`` gets
    ``b + (a - b) s`` of the votes, ``b = (1 - a) / (C - 1)``. Solved for ``s``, the shares are shrunk towards equal
    ones as far as chance explains the differences (James & Stein). Known classes, if there are any, replace the votes, which
    an error that annotators share would shift.
    """
    n_classes = crowd.n_classes
    if (known >= 0).any():
        votes, n, a = np.bincount(known[known >= 0], minlength=n_classes), (known >= 0).sum(), 1.0
    else:  # an item has one vote, which its labels share
        votes = np.bincount(crowd.label, 1 / crowd.labels_per_item[crowd.item], minlength=n_classes)
        n, a = (crowd.labels_per_item > 0).sum(), mean_accuracy(crowd, known)[0]
    equal, b = 1 / n_classes, (1 - a) / (n_classes - 1)
    shares = np.full(n_classes, equal)
    if n and a - b > 0.02:
        votes = votes / n
        noise = (votes * (1 - votes)).sum() / n / (a - b) ** 2
        off = (votes - b) / (a - b) - equal
        shares = np.maximum(equal + max(0.0, 1 - noise / max((off**2).sum(), 1e-12)) * off, 0)
    counts = shares / shares.sum() * n + 1  # no class is ruled out
    return np.log(counts / counts.sum())[None]
