"""The tables for the user: annotators, the class of each item, the quality of each label, and what to label again."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from lib.aggregation import fusion, shared_errors
from lib.aggregation.annotator_report import guessing
from lib.aggregation.fusion import Estimate
from lib.crowd.labels import CrowdLabels

FEWEST = 5  # judged labels, below which nobody looks random
# Of labels x classes, for the test of guessing; with more, it takes a sample of labels. And of annotators x classes x classes;
# with more, there is neither that test nor typical errors.
NUMBERS_AT_MOST = 30_000_000


def annotator_table(crowd: CrowdLabels, estimate: Estimate, known: np.ndarray, accuracies: np.ndarray) -> pd.DataFrame:
    """One row per annotator, people only; ``accuracies`` ``[annotators, 3]`` are those of
    :func:`lib.aggregation.judging.accuracies`.

    ``p_guessing`` and ``looks_random`` are those of :func:`lib.aggregation.annotator_report.guessing`; nobody with fewer than
    five judged labels looks random.

    Returns:
        Columns annotator, n_labels, n_judged (labels of items with two or more, or with a known class), accuracy, ci_low,
        ci_high, confusions ("3 → 8 (40 %)": 40 % of the 3s are labeled 8), p_guessing, looks_random.
    """
    several = (crowd.labels_per_item >= 2) | (known >= 0)
    table = pd.DataFrame({"annotator": pd.Series(crowd.annotator_names, dtype=object), "n_labels": crowd.labels_per_annotator})
    table["n_judged"] = np.bincount(crowd.annotator, weights=several[crowd.item], minlength=crowd.n_annotators).astype(int)
    table[["accuracy", "ci_low", "ci_high"]] = accuracies
    table["confusions"] = _typical_errors(crowd, estimate.posterior) if estimate.told_apart else ""
    p_value, random = np.full(crowd.n_annotators, np.nan), np.zeros(crowd.n_annotators, dtype=bool)
    if estimate.told_apart and crowd.n_annotators * crowd.n_classes**2 <= NUMBERS_AT_MOST:
        rows = np.flatnonzero(several[crowd.item])
        if len(rows) * crowd.n_classes > NUMBERS_AT_MOST:
            rows = np.sort(np.random.default_rng(0).permutation(rows)[: NUMBERS_AT_MOST // crowd.n_classes])
        p_value, random = guessing(crowd, estimate, rows)
    table["p_guessing"] = p_value
    table["looks_random"] = random & (table["n_judged"] >= FEWEST)
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
