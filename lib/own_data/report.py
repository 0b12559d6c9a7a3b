"""The tables that a user gets: annotators, labels of items and of people, and what to look at again."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import gammaln, xlogy
from scipy.stats import norm

from lib.aggregation import fusion, judging
from lib.aggregation.fusion import Estimate
from lib.crowd.labels import CrowdLabels

__all__ = ["CLASSIFIER", "annotator_table", "cleaned_labels", "decided", "label_quality", "to_relabel"]

CLASSIFIER = "classifier"
P_BELOW = 0.01  # an annotator with a smaller p-value does not guess
ODDS_ABOVE = 1.0  # log10: guessing must explain the labels ten times better than typical work
FEWEST = 5  # judged labels, below which nobody looks random
NUMBERS_AT_MOST = 30_000_000  # of labels x classes, for the test of guessing; with more, a sample of labels


def annotator_table(
    crowd: CrowdLabels, estimate: Estimate, known: np.ndarray, prob: np.ndarray | None = None
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """One line an annotator, and one of the classifier, the last.

    ``looks_random``: the labels may be unrelated to the items (``p_guessing`` above 0.01) *and* somebody who draws labels from
    shares of their own, whatever the item, would give them ten times more likely than a typical annotator. The first half
    spares those who are wrong in a system, the second those who gave too few labels to tell. With fewer than five judged
    labels nobody is flagged.

    Returns:
        Columns annotator, n_labels, n_judged (on items with two labels or more, or a known class), accuracy, ci_low,
        ci_high, confusions ("3 → 8 (40 %)": of the 3, 40 % are called 8), p_guessing, looks_random; and the line of the
        classifier, None without one.
    """
    several = (crowd.labels_per_item >= 2) | (known >= 0)
    said = None if prob is None else prob.argmax(axis=1)
    values = judging.accuracies(crowd, estimate, known, said)
    table = pd.DataFrame({"annotator": pd.Series(crowd.annotator_names, dtype=object), "n_labels": crowd.labels_per_annotator})
    table["n_judged"] = np.bincount(crowd.annotator, weights=several[crowd.item], minlength=crowd.n_annotators).astype(int)
    table[["accuracy", "ci_low", "ci_high"]] = values[: crowd.n_annotators]
    table["confusions"] = _typical_errors(crowd, estimate.posterior) if estimate.told_apart else ""
    p_value, odds = _guessing(crowd, estimate, several)
    table["p_guessing"] = p_value
    table["looks_random"] = (p_value > P_BELOW) & (odds >= ODDS_ABOVE) & (table["n_judged"] >= FEWEST)
    if said is None:
        return table, None
    name = CLASSIFIER if CLASSIFIER not in set(table["annotator"]) else f"{CLASSIFIER} (trained)"
    line = {"annotator": name, "n_labels": crowd.n_items, "n_judged": int((several & (crowd.labels_per_item > 0)).sum())}
    line |= dict(zip(["accuracy", "ci_low", "ci_high"], values[-1], strict=True))
    line |= {"confusions": "", "p_guessing": np.nan, "looks_random": False}
    return pd.concat([table, pd.DataFrame([line])], ignore_index=True), values[-1]


def _typical_errors(crowd: CrowdLabels, posterior: np.ndarray) -> np.ndarray:
    """The two errors that are expected most often of each annotator, if they are expected at least twice."""
    n = crowd.n_classes
    words = np.full(crowd.n_annotators, "", dtype=object)
    if crowd.n_annotators * n * n > NUMBERS_AT_MOST:
        return words
    counts = (crowd.incidence.T @ posterior).reshape(crowd.n_annotators, n, n).transpose(0, 2, 1)
    errors = (counts * (1 - np.eye(n))).reshape(crowd.n_annotators, -1)
    names, rows = np.array(crowd.class_names, dtype=object), np.arange(crowd.n_annotators)
    for turn in range(2):
        place = errors.argmax(axis=1)
        true, label = np.divmod(place, n)
        percent = np.rint(100 * counts[rows, true, label] / np.maximum(counts[rows, true].sum(axis=1), 1e-9)).astype(int)
        found = errors[rows, place] >= 2
        text = pd.Series(names[true]).astype(str) + " → " + names[label].astype(str) + " (" + percent.astype(str) + " %)"
        words = words + np.where(found, (", " if turn else "") + text.to_numpy(dtype=object), "")
        errors[rows, place] = 0
    return words


def _guessing(crowd: CrowdLabels, estimate: Estimate, several: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[annotators]`` p-value of guessing, and how much better guessing explains the labels (log10); NaN where nothing is
    known.

    Under guessing, an annotator's labels could as well be exchanged among the items. Two statistics are compared with what
    exchanges give, by their exact means and variances and a normal tail: agreement with the others, and the cell (class,
    label) of the table that is farthest off (times the number of cells), which also finds somebody who is wrong in a
    system.
    """
    size, n = crowd.n_annotators, crowd.n_classes
    if not estimate.told_apart:
        return np.full(size, np.nan), np.full(size, -np.inf)
    rows = np.flatnonzero(several[crowd.item])
    if len(rows) * n > NUMBERS_AT_MOST:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[: NUMBERS_AT_MOST // n])
    who, label = crowd.annotator[rows], crowd.label[rows]
    q = _others(crowd, estimate, rows)
    times = np.bincount(who * n + label, minlength=size * n).reshape(size, n).astype(np.float64)
    total = times.sum(axis=1)
    by_cell = sparse.csr_array((np.ones(len(rows)), (who * n + label, np.arange(len(rows)))), shape=(size * n, len(rows)))
    table = (by_cell @ q).reshape(size, n, n)  # [annotator, label, class]
    first, second = table.sum(axis=1), (by_cell @ q**2).reshape(size, n, n).sum(axis=1)
    m = np.maximum(total, 2)[:, None]
    spread = np.maximum(second / m - (first / m) ** 2, 0)
    variance = (times * (m - times) / (m - 1))[:, :, None] * spread[:, None, :]
    off = np.abs(table - times[:, :, None] * (first / m)[:, None, :]) / np.sqrt(np.maximum(variance, 1e-9))
    p_cell = np.minimum(1, 2 * norm.sf(off.max(axis=(1, 2))) * n * n)
    shares = times / m
    mixed = (q * shares[who]).sum(axis=1)
    squares = (times * second).sum(axis=1) - m[:, 0] * np.bincount(who, weights=mixed**2, minlength=size)
    squares += -m[:, 0] * (times * (first / m) ** 2).sum(axis=1) + ((times * first / m).sum(axis=1)) ** 2
    agreed = np.trace(table, axis1=1, axis2=2) - (shares * first).sum(axis=1)
    p_agree = norm.sf(agreed / np.sqrt(np.maximum(squares / (m[:, 0] - 1), 1e-9)))
    p_value = np.where(total > 0, np.minimum(1, 2 * np.minimum(p_cell, p_agree)), np.nan)
    a = float(np.clip(estimate.accuracy @ total / max(total.sum(), 1), 0.5 / n, 0.999))
    own = q[np.arange(len(rows)), label]
    working = np.bincount(who, weights=np.log(a * own + (1 - a) * (1 - own) / (n - 1)), minlength=size)
    guessing = gammaln(n / 2) - gammaln(total + n / 2) + (gammaln(times + 0.5) - gammaln(0.5)).sum(axis=1)
    return p_value, np.where(total > 0, (guessing - working) / np.log(10), -np.inf)


def _others(crowd: CrowdLabels, estimate: Estimate, rows: np.ndarray) -> np.ndarray:
    """``[rows, classes]`` the posterior of a label's item without it."""
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
    """``[items]`` the most probable class; of equals the one that is first in ``order`` ``[classes]``, whatever classes are
    called."""
    best = estimate.posterior >= estimate.posterior.max(axis=1, keepdims=True) - 1e-9
    return np.where(best, order, crowd.n_classes).argmin(axis=1)


def cleaned_labels(crowd: CrowdLabels, estimate: Estimate, label: np.ndarray, known: np.ndarray) -> pd.DataFrame:
    """One line an item.

    Returns:
        Columns item, label, confidence, n_labels, votes (for this label), majority_vote (``a|b`` where classes are tied;
        empty where nobody labeled the item), tied, known, and the probability of each class. Confidence and probabilities
        are empty where accuracies cannot be told apart.
    """
    counts, names = crowd.counts, np.array(crowd.class_names, dtype=object)
    top = (counts == counts.max(axis=1, keepdims=True)) & (counts > 0)
    tied = top.sum(axis=1) > 1
    votes = np.where(crowd.labels_per_item > 0, names[counts.argmax(axis=1)], "").astype(object)
    joined = np.full(int(tied.sum()), "", dtype=object)
    for number, name in enumerate(names):
        joined = joined + np.where(top[tied, number], f"|{name}", "")
    votes[tied] = pd.Series(joined, dtype=object).str[1:].to_numpy() if len(joined) else joined
    table = pd.DataFrame({"item": pd.Series(crowd.item_names, dtype=object), "label": names[label]})
    prob = estimate.posterior if estimate.told_apart else np.full_like(estimate.posterior, np.nan)
    table["confidence"] = prob[np.arange(len(label)), label]
    table["n_labels"] = crowd.labels_per_item
    table["votes"] = counts[np.arange(len(label)), label].astype(int)
    table["majority_vote"], table["tied"], table["known"] = votes, tied, known >= 0
    return pd.concat([table, pd.DataFrame(prob, columns=[f"p({name})" for name in names])], axis=1)


def label_quality(crowd: CrowdLabels, estimate: Estimate, prob: np.ndarray | None = None) -> pd.DataFrame:
    """One line a label: columns item, annotator, label, score: how probable the label is by all that is known but itself. Where
    accuracies cannot be told apart, only a classifier can say something: its probability; else it is empty."""
    if estimate.told_apart:
        score = fusion.support(crowd, estimate.posterior, estimate.accuracy, estimate.confusion)
    elif prob is not None:
        score = prob[crowd.item, crowd.label]
    else:
        score = np.full(len(crowd), np.nan)
    names = (crowd.item_names, crowd.annotator_names, crowd.class_names)
    codes = (crowd.item, crowd.annotator, crowd.label)
    values = [np.array(name, dtype=object)[code] for name, code in zip(names, codes, strict=True)]
    return pd.DataFrame(dict(zip(["item", "annotator", "label", "score"], [*values, score], strict=True)))


def to_relabel(
    crowd: CrowdLabels, estimate: Estimate, annotators: pd.DataFrame, known: np.ndarray, prob: np.ndarray | None
) -> pd.DataFrame:
    """Which items next, and by whom: those most worth one more label first, known ones left out.

    Worth is the information (bits) that one label of a typical annotator is expected to give of the class. Where accuracies
    cannot be told apart, worth is what the classifier says against the label, or 1 less for each label that an item has.

    Returns:
        Columns item, n_labels, label, confidence, runner_up, gain, ask: the annotator of whom most is known to be good
        (lower end of the interval) and who has not labeled the item; empty where nobody is left.
    """
    p, names = estimate.posterior, np.array(crowd.class_names, dtype=object)
    best = p.argmax(axis=1)
    rest = p.copy()
    rest[np.arange(len(p)), best] = -1
    share = crowd.labels_per_annotator / max(len(crowd), 1)
    if estimate.told_apart and estimate.confusion is not None:
        typical = np.tensordot(share, estimate.confusion, 1)
    else:
        a = float(share @ estimate.accuracy)
        typical = np.full((crowd.n_classes, crowd.n_classes), (1 - a) / (crowd.n_classes - 1))
        np.fill_diagonal(typical, a)
    if estimate.told_apart:
        gain = np.maximum(_entropy(p @ typical) - p @ _entropy(typical), 0)
    elif prob is not None:
        gain = 1 - prob[np.arange(len(p)), best]
    else:
        gain = 1.0 / (1 + crowd.labels_per_item)
    table = pd.DataFrame(
        {"item": pd.Series(crowd.item_names, dtype=object), "n_labels": crowd.labels_per_item, "label": names[best]}
    )
    table["confidence"] = p.max(axis=1) if estimate.told_apart else np.nan
    table["runner_up"] = names[rest.argmax(axis=1)] if estimate.told_apart else ""
    table["gain"] = gain
    table["ask"] = _whom(crowd, annotators)
    table = table[known < 0]
    return table.iloc[np.argsort(-table["gain"].to_numpy().round(9), kind="stable")].reset_index(drop=True)


def _whom(crowd: CrowdLabels, annotators: pd.DataFrame) -> np.ndarray:
    people = annotators.iloc[: crowd.n_annotators]
    worth = people["ci_low"].fillna(0).to_numpy() - people["looks_random"].to_numpy()
    order = np.argsort(-worth, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    most = min(int(crowd.labels_per_item.max(initial=0)) + 1, crowd.n_annotators)  # one of so many is free, if anybody is
    asked = np.zeros((crowd.n_items, most), dtype=bool)
    near = rank[crowd.annotator] < most
    asked[crowd.item[near], rank[crowd.annotator[near]]] = True
    names = np.array(crowd.annotator_names, dtype=object)[order]
    return np.where(asked.all(axis=1), "", names[asked.argmin(axis=1)])


def _entropy(prob: np.ndarray) -> np.ndarray:
    """Of the last axis, in bits."""
    return -xlogy(prob, prob).sum(axis=-1) / np.log(2) + 0.0
