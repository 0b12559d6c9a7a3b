"""How much annotators agree: Krippendorff's alpha with an interval, and Cohen's kappa for each pair.

``alpha = 1 - observed disagreement / disagreement expected by chance``, over the items with two labels or more: 1 is full
agreement, 0 is agreement by chance. ``kappa`` is the same for two annotators, with chance computed from the class shares of
each. Both are undefined where there is nothing to compare, or where every label is the same class.

References: Krippendorff, *Content Analysis*, 2004, chapter 11; Cohen (Educational and Psychological Measurement 20(1), 1960).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.crowd.labels import CrowdLabels

__all__ = ["agreement", "alpha", "kappas"]

REPLICATES = 200
PAIRS_AT_MOST = 20_000_000  # pairs of labels of the same item; with more, a sample of items


def alpha(crowd: CrowdLabels) -> tuple[float, float, float]:
    """Krippendorff's alpha for unordered classes, and a 95 % bootstrap interval over items; NaN where undefined."""
    counts = crowd.counts[crowd.labels_per_item >= 2]
    if len(counts) == 0:
        return np.nan, np.nan, np.nan
    n = counts.sum(axis=1)
    agreed = (counts * (counts - 1)).sum(axis=1) / (n - 1)
    parts = np.column_stack([agreed, counts])  # all that alpha needs, to be summed over items
    rng = np.random.default_rng(0)
    totals = [np.bincount(rng.integers(0, len(parts), len(parts)), minlength=len(parts)) @ parts for _ in range(REPLICATES)]
    drawn = _alpha(np.array(totals))
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return float(_alpha(parts.sum(axis=0)[None])[0]), float(low), float(high)


def _alpha(totals: np.ndarray) -> np.ndarray:
    """``[draws]`` alpha of sums ``[draws, 1 + classes]``: agreements, and labels of each class."""
    by_class = totals[:, 1:]
    n = by_class.sum(axis=1)
    observed = 1 - totals[:, 0] / n
    expected = 1 - (by_class * (by_class - 1)).sum(axis=1) / (n * (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 1e-12, 1 - observed / expected, np.nan)


def kappas(crowd: CrowdLabels) -> pd.DataFrame:
    """One row per pair of annotators who labeled the same item.

    Returns:
        Columns first, second (annotators), n_items (that both labeled), agreement (share of them with equal labels), kappa (NaN
        where undefined).
    """
    first, second = _pairs(crowd)
    columns = ["first", "second", "n_items", "agreement", "kappa"]
    if len(first) == 0:
        return pd.DataFrame({name: [] for name in columns})
    pair = crowd.annotator[first] * crowd.n_annotators + crowd.annotator[second]
    pairs, place = np.unique(pair, return_inverse=True)
    n = np.bincount(place).astype(np.float64)
    agree = np.bincount(place, weights=crowd.label[first] == crowd.label[second]) / n
    chance = np.zeros(len(pairs))
    for label in range(crowd.n_classes):
        chance += np.bincount(place, weights=crowd.label[first] == label) * np.bincount(
            place, weights=crowd.label[second] == label
        )
    chance /= n**2
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = np.where(chance < 1 - 1e-12, (agree - chance) / (1 - chance), np.nan)
    names = np.array(crowd.annotator_names, dtype=object)
    values = [names[pairs // crowd.n_annotators], names[pairs % crowd.n_annotators], n.astype(int), agree, kappa]
    return pd.DataFrame(dict(zip(columns, values, strict=True)))


def _pairs(crowd: CrowdLabels) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the first and of the second label of every pair of labels of the same item."""
    n = crowd.labels_per_item.astype(np.float64)
    if (n**2).sum() / 2 > PAIRS_AT_MOST:
        share = PAIRS_AT_MOST / ((n**2).sum() / 2)
        mask = (np.random.default_rng(0).random(crowd.n_items) < share)[crowd.item]
        rows = np.flatnonzero(mask)
    else:
        rows = np.arange(len(crowd))
    item, first, second = crowd.item[rows], [], []
    for step in range(1, int(n.max(initial=0))):  # labels of an item lie side by side
        same = np.flatnonzero(item[step:] == item[:-step])
        if len(same) == 0:
            break
        first.append(rows[same])
        second.append(rows[same + step])
    empty = np.zeros(0, dtype=np.int64)
    return (np.concatenate(first), np.concatenate(second)) if first else (empty, empty)


def agreement(crowd: CrowdLabels) -> pd.DataFrame:
    """The table ``agreement.csv``: alpha first, then kappa of each pair.

    Returns:
        Columns measure, first, second, n_items, agreement, value, ci_low, ci_high, remark (``undefined: why``).
    """
    value, low, high = alpha(crowd)
    counts = crowd.counts[crowd.labels_per_item >= 2]
    n = counts.sum(axis=1)
    shared = float(((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))).mean()) if len(counts) else np.nan
    top = {"measure": "krippendorff_alpha", "first": "", "second": "", "n_items": len(counts), "agreement": shared}
    top |= {"value": value, "ci_low": low, "ci_high": high}
    pairs = kappas(crowd).rename(columns={"kappa": "value"})
    pairs = pairs.assign(measure="cohen_kappa", ci_low=np.nan, ci_high=np.nan)
    table = pd.DataFrame([top])
    table = pd.concat([table, pairs[list(table.columns)]], ignore_index=True) if len(pairs) else table
    nothing = np.where(table["n_items"] == 0, "undefined: no item has two labels", "undefined: all labels are the same class")
    return table.assign(remark=np.where(table["value"].isna(), nothing, ""))
