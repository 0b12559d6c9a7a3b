"""The tables for the user: annotators, the class of each item, the quality of each label, and what to label again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import gammaln
from scipy.stats import norm

from lib.aggregation import fusion, shared_errors
from lib.aggregation.fusion import Estimate
from lib.crowd.labels import CrowdLabels

__all__ = ["annotator_table", "beliefs", "classifier_quality", "cleaned_labels", "decided", "label_quality", "to_relabel"]

P_BELOW = 0.01  # an annotator with a smaller p-value does not guess
ODDS_ABOVE = 1.0  # log10: guessing must explain the labels ten times better than typical work
FEWEST = 5  # judged labels, below which nobody looks random
# Of labels x classes, for the test of guessing; with more, it takes a sample of labels. And of annotators x classes x classes;
# with more, there is neither that test nor typical errors.
NUMBERS_AT_MOST = 30_000_000
BLOCK = 2**14  # labels, of which everything fits a processor's cache


def annotator_table(crowd: CrowdLabels, estimate: Estimate, known: np.ndarray, accuracies: np.ndarray) -> pd.DataFrame:
    """One row per annotator, people only; ``accuracies`` ``[annotators, 3]`` are those of :func:`judging.accuracies`.

    ``looks_random``: the labels may be unrelated to the items (``p_guessing`` above 0.01) *and* they are ten times more likely
    from somebody who labels every item with the same class probabilities than from a typical annotator. The first condition
    spares those who are systematically wrong, the second those who gave too few labels to tell. Nobody with fewer than five
    judged labels is flagged.

    Returns:
        Columns annotator, n_labels, n_judged (labels of items with two or more, or with a known class), accuracy, ci_low,
        ci_high, confusions ("3 → 8 (40 %)": 40 % of the 3s are labeled 8), p_guessing, looks_random.
    """
    several = (crowd.labels_per_item >= 2) | (known >= 0)
    table = pd.DataFrame({"annotator": pd.Series(crowd.annotator_names, dtype=object), "n_labels": crowd.labels_per_annotator})
    table["n_judged"] = np.bincount(crowd.annotator, weights=several[crowd.item], minlength=crowd.n_annotators).astype(int)
    table[["accuracy", "ci_low", "ci_high"]] = accuracies
    table["confusions"] = _typical_errors(crowd, estimate.posterior) if estimate.told_apart else ""
    p_value, odds = _guessing(crowd, estimate, several)
    table["p_guessing"] = p_value
    table["looks_random"] = (p_value > P_BELOW) & (odds >= ODDS_ABOVE) & (table["n_judged"] >= FEWEST)
    return table


def classifier_quality(
    crowd: CrowdLabels, known: np.ndarray, method: str, agreement: float, accuracy: np.ndarray
) -> pd.DataFrame:
    """One row: the method, for how many items it predicts a class, how many of these people's labels can judge (those with two
    or more, or a known class), its agreement with labels that it never saw, and its accuracy ``[3]`` as people's labels tell.

    Columns method, n_items, n_judged, agreement, accuracy, ci_low, ci_high.
    """
    judged = int(((crowd.labels_per_item >= 2) | ((known >= 0) & (crowd.labels_per_item > 0))).sum())
    row = (method, crowd.n_items, judged, agreement, *accuracy)
    return pd.DataFrame([row], columns=["method", "n_items", "n_judged", "agreement", "accuracy", "ci_low", "ci_high"])


def _typical_errors(crowd: CrowdLabels, posterior: np.ndarray) -> np.ndarray:
    """The two most frequent errors expected of each annotator, if they are expected at least twice."""
    n, rows = crowd.n_classes, np.arange(crowd.n_annotators)
    words = np.full(crowd.n_annotators, "", dtype=object)
    if crowd.n_annotators * n * n > NUMBERS_AT_MOST:
        return words
    counts = (crowd.incidence.T @ posterior).reshape(crowd.n_annotators, n, n).transpose(0, 2, 1)
    errors = (counts * (1 - np.eye(n))).reshape(crowd.n_annotators, -1)
    for comma in ("", ", "):
        place = errors.argmax(axis=1)
        for row in np.flatnonzero(errors[rows, place] >= 2):
            true, label = divmod(place[row], n)
            percent = 100 * counts[row, true, label] / counts[row, true].sum()
            words[row] += f"{comma}{crowd.class_names[true]} → {crowd.class_names[label]} ({percent:.0f} %)"
        errors[rows, place] = 0
    return words


def _guessing(crowd: CrowdLabels, estimate: Estimate, several: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[annotators]`` p-value of guessing, and by how much guessing explains the labels better (log10); NaN if unknown.

    The labels of somebody who guesses may be permuted among the items. Two statistics are compared with their exact mean and
    variance under permutation and a normal tail: the agreement with the others, and the cell (class, label) of the table that
    deviates most (with Bonferroni's correction), which also detects somebody who is systematically wrong.
    """
    size, n = crowd.n_annotators, crowd.n_classes
    if not estimate.told_apart or size * n * n > NUMBERS_AT_MOST:
        return np.full(size, np.nan), np.full(size, -np.inf)
    rows = np.flatnonzero(several[crowd.item])
    if len(rows) * n > NUMBERS_AT_MOST:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[: NUMBERS_AT_MOST // n])
    cell = crowd.annotator[rows] * n + crowd.label[rows]
    times = np.bincount(cell, minlength=size * n).reshape(size, n).astype(np.float64)
    total = times.sum(axis=1)
    m = np.maximum(total, 2)[:, None]
    shares, a = times / m, float(np.clip(estimate.accuracy @ total / max(total.sum(), 1), 0.5 / n, 0.999))
    table, second, mixed, working = np.zeros((size * n, n)), np.zeros((size, n)), np.zeros(size), np.zeros(size)
    block = max(BLOCK, size * n)  # as large as the table that it is added to
    for start in range(0, len(rows), block):
        some = slice(start, start + block)
        q, (who, label) = _others(crowd, estimate, rows[some]), np.divmod(cell[some], n)
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
    guessing = gammaln(n / 2) - gammaln(total + n / 2) + (gammaln(times + 0.5) - gammaln(0.5)).sum(axis=1)
    return p_value, np.where(total > 0, (guessing - working) / np.log(10), -np.inf)


def _summed_by(place: np.ndarray, size: int) -> sparse.csc_array:
    """``[size, rows]`` a matrix whose product sums the rows of each place."""
    return sparse.csc_array((np.ones(len(place)), place, np.arange(len(place) + 1)), shape=(size, len(place)))


def _others(crowd: CrowdLabels, estimate: Estimate, rows: np.ndarray) -> np.ndarray:
    """``[rows, classes]`` the posterior of each label's item without that label."""
    who, label = crowd.annotator[rows], crowd.label[rows]
    if estimate.confusion is not None:
        own = estimate.confusion[who, :, label]
    else:
        a = estimate.accuracy[who]
        own = np.repeat(((1 - a) / (crowd.n_classes - 1))[:, None], crowd.n_classes, axis=1)
        own[np.arange(len(rows)), label] = a
    rest = estimate.posterior[crowd.item[rows]] / np.maximum(own, 1e-300)
    return rest / rest.sum(axis=1, keepdims=True)


# ---------------------------------------------------------------------- items


def decided(estimate: Estimate, crowd: CrowdLabels, order: np.ndarray) -> np.ndarray:
    """``[items]`` the most probable class; of equally probable ones the first by rank ``order`` ``[classes]``."""
    best = estimate.posterior >= estimate.posterior.max(axis=1, keepdims=True) - 1e-9
    by_rank = np.argsort(order)
    return by_rank[best[:, by_rank].argmax(axis=1)]


def beliefs(estimate: Estimate, known: np.ndarray, misled: float) -> np.ndarray:
    """``[items, classes]`` the posterior, with an allowance for errors that annotators share; NaN if accuracies cannot be told
    apart."""
    if not estimate.told_apart:
        return np.full_like(estimate.posterior, np.nan)
    p, certain = estimate.posterior, np.flatnonzero(known >= 0)
    prob = shared_errors.discounted(p, misled, p.shape[1])
    prob[certain] = p[certain]
    return prob


def cleaned_labels(crowd: CrowdLabels, prob: np.ndarray, label: np.ndarray, known: np.ndarray) -> pd.DataFrame:
    """One row per item, of the probabilities of :func:`beliefs`.

    Returns:
        Columns item, label, confidence, n_labels, votes (for this label), majority_vote (``a|b`` for a tie, empty for an
        item without labels), tied, known, and the probability of each class. Confidence and probabilities are empty if
        accuracies cannot be told apart.
    """
    counts, names, rows = crowd.counts, _objects(crowd.class_names), np.arange(crowd.n_items)
    top = (counts == counts.max(axis=1, keepdims=True)) & (counts > 0)
    tied = top.sum(axis=1) > 1
    votes = np.where(crowd.labels_per_item > 0, names[counts.argmax(axis=1)], "").astype(object)
    words = cache(lambda row: "|".join(map(str, names[np.frombuffer(row, dtype=bool)])))  # of many ties, few are different
    votes[tied] = [words(row.tobytes()) for row in top[tied]]
    columns = {
        "item": _text(_objects(crowd.item_names)),
        "label": _text(names[label]),
        "confidence": prob[rows, label],
        "n_labels": crowd.labels_per_item,
        "votes": counts[rows, label].astype(int),
        "majority_vote": _text(votes),
        "tied": tied,
        "known": known >= 0,
    }
    classes = pd.DataFrame(prob, columns=[f"p({name})" for name in names], copy=False)
    return pd.concat([pd.DataFrame(columns, copy=False), classes], axis=1)


def label_quality(crowd: CrowdLabels, estimate: Estimate, prob: np.ndarray | None = None, misled: float = 0.0) -> pd.DataFrame:
    """One row per label: item, annotator, label, and score, the probability that the label is right, given everything except
    the label itself, with the allowance of :func:`beliefs`. If accuracies cannot be told apart, the score is the classifier's
    probability, or empty without one."""
    if estimate.told_apart:
        score = fusion.support(crowd, estimate)
        score = shared_errors.discounted(score, misled, crowd.n_classes)
    elif prob is not None:
        score = crowd.said_in(prob)
    else:
        score = np.full(len(crowd), np.nan)
    columns = {"item": crowd.item_names, "annotator": crowd.annotator_names, "label": crowd.class_names}
    named = {column: _text(_objects(names)[getattr(crowd, column)]) for column, names in columns.items()}
    return pd.DataFrame(named | {"score": score}, copy=False)


def to_relabel(
    crowd: CrowdLabels,
    estimate: Estimate,
    annotators: pd.DataFrame,
    known: np.ndarray,
    prob: np.ndarray | None,
    misled: float = 0.0,
) -> pd.DataFrame:
    """Which items to label next, and by whom: those where one more label is worth most come first, known ones are left out.

    The gain is the information (bits) about the class that one label by a typical annotator is expected to give. If
    accuracies cannot be told apart, it is the classifier's probability of other classes, or, without one, 1 / (1 + labels).

    Returns:
        Columns item, n_labels, label, confidence, runner_up, gain, and ask: of the annotators who have not labeled the item,
        the one with the highest lower end of the interval. It is empty where there are no grounds to name anybody: accuracies
        cannot be told apart, or nobody is left whose interval lies above chance (1 / classes) and who does not look random.
    """
    p, names, n = estimate.posterior, _objects(crowd.class_names), crowd.n_classes
    best, rows = p.argmax(axis=1), np.arange(len(p))
    rest = p.copy()
    rest[rows, best] = -1
    if estimate.told_apart:
        share = crowd.labels_per_annotator / max(len(crowd), 1)
        if estimate.confusion is not None:
            typical = np.tensordot(share, estimate.confusion, 1)
        else:
            a = float(share @ estimate.accuracy)
            typical = np.where(np.eye(n), a, (1 - a) / (n - 1))
        gain = np.maximum(_entropy(p @ typical) - p @ _entropy(typical), 0)
    else:
        gain = 1.0 / (1 + crowd.labels_per_item) if prob is None else 1 - prob[rows, best]
    items = np.flatnonzero(known < 0)
    items = items[np.argsort(-gain[items].round(9), kind="stable")]
    confidence = shared_errors.discounted(p[items, best[items]], misled, n) if estimate.told_apart else np.nan
    columns = {
        "item": _text(_objects(crowd.item_names)[items]),
        "n_labels": crowd.labels_per_item[items],
        "label": _text(names[best[items]]),
        "confidence": confidence,
        "runner_up": _text(names[rest.argmax(axis=1)[items]]) if estimate.told_apart else "",
        "gain": gain[items],
        "ask": _text(_whom(crowd, annotators)[items]),
    }
    return pd.DataFrame(columns, copy=False)


def _whom(crowd: CrowdLabels, annotators: pd.DataFrame) -> np.ndarray:
    low = annotators["ci_low"].to_numpy()
    good = (low > 1 / crowd.n_classes) & ~annotators["looks_random"].to_numpy()  # NaN is not
    order = np.argsort(np.where(good, -low, np.inf), kind="stable")[: good.sum()]
    rank = np.full(crowd.n_annotators, crowd.n_annotators)
    rank[order] = np.arange(len(order))
    most = min(int(crowd.labels_per_item.max(initial=0)) + 1, len(order))  # among so many, one is free if anybody is
    asked = np.zeros((crowd.n_items, most + 1), dtype=bool)  # nobody, at the end, is always free
    near = rank[crowd.annotator] < most
    asked[crowd.item[near], rank[crowd.annotator[near]]] = True
    names = np.append(_objects(crowd.annotator_names)[order[:most]], "")
    return names[asked.argmin(axis=1)]


def _text(names: np.ndarray) -> pd.Series:
    """Names as a column of Python's own text; pandas would copy each into a text of its own kind, which takes longer than all
    else in a table."""
    return pd.Series(names, dtype=object)


def _objects(names: Sequence) -> np.ndarray:
    return np.fromiter(names, dtype=object, count=len(names))


def _entropy(prob: np.ndarray) -> np.ndarray:
    """Entropy over the last axis, in bits."""
    return -(prob * np.log(np.maximum(prob, 1e-300))).sum(axis=-1) / np.log(2) + 0.0
