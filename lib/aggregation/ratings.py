"""Numbers from a crowd: their mean, and EM for annotators with a bias and a precision.

Annotator ``r`` rates item ``i`` as ``t_i + b_r`` plus noise of variance ``1 / precision_r``, where ``t_i`` is the item's
true rating, itself ``f(x_i)`` plus noise of variance ``spread`` (Raykar et al., JMLR 2010, with a bias; Rodrigues & Pereira,
AAAI 2018).

A constant can be moved from the true ratings to all biases without changing what is said. So the mean of the biases over the
*ratings* is taken to be zero here and wherever biases are reported: what the crowd has in common is not held against anybody.
"""

from dataclasses import dataclass

import numpy as np

from lib.crowd.labels import CrowdRatings

SMALLEST = 1e-8  # of a variance, so that annotators who never differ do not get all the weight there is


def mean_rating(crowd: CrowdRatings) -> np.ndarray:
    """``[items]`` mean of each item's ratings; NaN where there is none."""
    total = np.bincount(crowd.item, weights=crowd.value, minlength=crowd.n_items)
    return np.divide(total, crowd.labels_per_item, out=np.full(crowd.n_items, np.nan), where=crowd.labels_per_item > 0)


def weights(crowd: CrowdRatings) -> np.ndarray:
    """``[annotators]`` each one's share of the ratings; sums to one (all zero without ratings)."""
    return crowd.labels_per_annotator / max(len(crowd), 1)


def centered(bias: np.ndarray, crowd: CrowdRatings) -> np.ndarray:
    """``[annotators]`` biases moved by a constant so that their mean over the ratings is zero."""
    return bias - weights(crowd) @ bias


def true_bias(crowd: CrowdRatings, y: np.ndarray) -> np.ndarray:
    """``[annotators]`` mean of rating minus truth ``y`` ``[items]`` over what each one rated; NaN where that is nothing.

    Raises ValueError where ``y`` does not fit the items.
    """
    if np.shape(y) != (crowd.n_items,):
        raise ValueError(f"y must have one true rating for each of the {crowd.n_items} items, found shape {np.shape(y)}")
    total = np.bincount(crowd.annotator, weights=crowd.value - np.asarray(y)[crowd.item], minlength=crowd.n_annotators)
    n = crowd.labels_per_annotator
    return np.divide(total, n, out=np.full(crowd.n_annotators, np.nan), where=n > 0)


# ---------------------------------------------------------------------- expectation-maximization


@dataclass(frozen=True)
class Annotators:
    """What EM believes of the annotators, and of the items around the network's predictions.

    Attributes:
        bias: ``[annotators]`` what each adds.
        variance: ``[annotators]`` of its ratings around truth plus bias: one over its precision.
        spread: variance of the true ratings around the predictions; infinite before there are any.
    """

    bias: np.ndarray
    variance: np.ndarray
    spread: float


def e_step(prediction: np.ndarray, annotators: Annotators, crowd: CrowdRatings) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance ``[items]`` of each true rating, given the network's predictions ``[items]`` and the ratings; the
    prediction and ``spread`` where nobody rated."""
    precision = 1 / annotators.variance[crowd.annotator]
    said = precision * (crowd.value - annotators.bias[crowd.annotator])
    own = 1 / annotators.spread
    total = own + np.bincount(crowd.item, weights=precision, minlength=crowd.n_items)
    evidence = np.bincount(crowd.item, weights=said, minlength=crowd.n_items)
    with np.errstate(divide="ignore", invalid="ignore"):  # an item without ratings before there are predictions
        mean = np.where(total > 0, (own * prediction + evidence) / total, prediction)
        return mean, 1 / total


def m_step(
    prediction: np.ndarray, mean: np.ndarray, variance: np.ndarray, crowd: CrowdRatings, prior: float = 0.0
) -> Annotators:
    """What the annotators are, given the network's predictions and the true ratings' posterior of :func:`e_step`.

    ``prior`` stands for as many more ratings of each annotator, without bias and with the crowd's average variance; 0 leaves
    the annotators with one rating a variance of nearly nothing. Biases have the mean zero over the ratings, and the spread is
    over the items with ratings. An annotator without ratings has the bias 0 and the crowd's average variance.
    """
    annotator, item, n = crowd.annotator, crowd.item, crowd.labels_per_annotator

    def per_annotator(values: np.ndarray) -> np.ndarray:
        return np.bincount(annotator, weights=values, minlength=crowd.n_annotators)

    count = np.maximum(n + prior, SMALLEST)
    bias = per_annotator(crowd.value - mean[item]) / count
    square = (crowd.value - mean[item] - bias[annotator]) ** 2 + variance[item]
    average = square.mean()
    noise = np.where(count > SMALLEST, (per_annotator(square) + prior * average) / count, average)
    rated = crowd.labels_per_item > 0
    spread = float(np.mean((mean[rated] - prediction[rated]) ** 2 + variance[rated]))
    # What is common to the biases goes over to the truth only now, so that it is not taken for noise.
    return Annotators(np.where(n > 0, centered(bias, crowd), 0.0), np.maximum(noise, SMALLEST), max(spread, SMALLEST))
