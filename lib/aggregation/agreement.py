"""How much annotators agree: Krippendorff's alpha with an interval, and Cohen's kappa for each pair.

``alpha = 1 - observed disagreement / disagreement expected by chance``, over the items with two labels or more: 1 is full
agreement, 0 is agreement by chance. ``kappa`` is the same for two annotators, with chance computed from the class shares of
each. Both are undefined where there is nothing to compare, or where every label is the same class.

References: Krippendorff, *Content Analysis*, 2004, chapter 11; Cohen (Educational and Psychological Measurement 20(1), 1960).
"""

import numpy as np
import pandas as pd

from lib.crowd.labels import CrowdLabels

REPLICATES = 200
PAIRS_AT_MOST = 20_000_000  # pairs of labels of the same item; with more, a sample of items


def alpha(crowd: CrowdLabels) -> tuple[float, float, float]:
    """Krippendorff's alpha for unordered classes, and a 95 % bootstrap interval over items; NaN where undefined."""
    several = crowd.labels_per_item >= 2
    if not several.any():
        return np.nan, np.nan, np.nan
    items, kind = np.flatnonzero(several), np.zeros(several.sum(), dtype=np.int64)
    for votes in crowd.counts[items].T.astype(np.int64):  # a million items differ in a few hundred ways
        kind, _ = pd.factorize(kind * (votes.max() + 1) + votes)
    items, times = items[~pd.Series(kind).duplicated()], np.bincount(kind)
    agreed = crowd.agreeing_pairs[items] / (crowd.labels_per_item[items] - 1)
    parts = np.column_stack([agreed, crowd.counts[items]])  # all that alpha needs, to be summed over items
    drawn = _alpha(np.random.default_rng(0).multinomial(len(kind), times / len(kind), REPLICATES) @ parts)
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return float(_alpha((times @ parts)[None])[0]), float(low), float(high)


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

    Columns first, second (annotators), n_items (that both labeled), agreement (share of them with equal labels), kappa (NaN
    where undefined).
    """
    first, second = _pairs(crowd)
    place, pairs = pd.factorize(crowd.annotator[first] * crowd.n_annotators + crowd.annotator[second], sort=True)
    said, then = crowd.label[first], crowd.label[second]
    n = np.bincount(place)
    agree, chance = np.bincount(place[said == then], minlength=len(pairs)) / n, np.zeros(len(pairs))
    for label in range(crowd.n_classes):
        by_one, by_other = (np.bincount(place[told == label], minlength=len(pairs)) for told in (said, then))
        chance += by_one * by_other
    chance /= n.astype(np.float64) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = np.where(chance < 1 - 1e-12, (agree - chance) / (1 - chance), np.nan)
    names = np.array(crowd.annotator_names or range(crowd.n_annotators), dtype=object)
    who = {"first": names[pairs // crowd.n_annotators], "second": names[pairs % crowd.n_annotators]}
    who = {column: pd.Series(values, dtype=object) for column, values in who.items()}
    return pd.DataFrame(who | {"n_items": n, "agreement": agree, "kappa": kappa})


def _pairs(crowd: CrowdLabels) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the first and of the second label of every pair of labels of the same item."""
    later = crowd.offsets[crowd.item + 1] - 1 - np.arange(len(crowd))  # labels of the item that follow; they lie side by side
    share = PAIRS_AT_MOST / max(later.sum(), 1)
    if share < 1:
        later = later * (np.random.default_rng(0).random(crowd.n_items) < share)[crowd.item]
    first = np.repeat(np.arange(len(crowd)), later)
    return first, first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)


def agreement(crowd: CrowdLabels) -> pd.DataFrame:
    """The table ``agreement.csv``: alpha first, then kappa of each pair.

    Columns measure, first, second, n_items, agreement, value, ci_low, ci_high, remark (``undefined: why``).
    """
    value, low, high = alpha(crowd)
    several = crowd.labels_per_item >= 2
    n = crowd.labels_per_item[several]
    shared = float((crowd.agreeing_pairs[several] / (n * (n - 1))).mean()) if len(n) else np.nan
    top = {"measure": "krippendorff_alpha", "first": "", "second": "", "n_items": len(n), "agreement": shared}
    top |= {"value": value, "ci_low": low, "ci_high": high}
    pairs = kappas(crowd).rename(columns={"kappa": "value"})
    pairs = pairs.assign(measure="cohen_kappa", ci_low=np.nan, ci_high=np.nan)
    table = pd.DataFrame([top])
    table = pd.concat([table, pairs[list(table.columns)]], ignore_index=True) if len(pairs) else table
    undefined, nothing = table["value"].isna(), table["n_items"] == 0
    table["remark"] = pd.Series("", table.index, dtype=object)
    table.loc[undefined & nothing, "remark"] = "undefined: no item has two labels"
    table.loc[undefined & ~nothing, "remark"] = "undefined: all labels are the same class"
    return table
