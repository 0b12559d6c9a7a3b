"""GLAD: aggregation that weighs each label by its annotator's ability and its item's difficulty.

The label of item i by annotator r is right with probability ``sigma(ability_r * easiness_i)``, ``easiness_i > 0``; a wrong
label is one of the other ``C - 1`` classes with equal probability. EM: the E-step gives posteriors of the true classes; the
M-step raises

    Q = sum over labels of  p log sigma(m) + (1 - p) log((1 - sigma(m)) / (C - 1))  +  log prior,   m = ability_r easiness_i

where ``p`` is the posterior that the label is right, under the standard normal priors of Whitehill et al. (*Whose Vote
Should Count More*, NeurIPS 2009) around one on abilities and on ``log easiness``. With
``log(1 - sigma(m)) = log sigma(m) - m`` that is one exponential and one logarithm per label.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from lib.crowd.labels import CrowdLabels
from lib.registry import within

BLOCK = 2**14  # labels


@dataclass(frozen=True, eq=False)
class Glad:
    """What GLAD estimates.

    Attributes:
        posterior: ``[items, classes]``, uniform for an item that nobody labeled.
        ability: ``[annotators]``; 0 is a guesser of two classes, below 0 is adversarial.
        easiness: ``[items]``, above 0; 0 is an item on which everybody guesses.
        n_iterations, converged: EM iterations done, and whether Q moved by less than the tolerance at the end.
    """

    posterior: np.ndarray
    ability: np.ndarray
    easiness: np.ndarray
    n_iterations: int
    converged: bool


def glad(crowd: CrowdLabels, max_iterations: int = 100, tolerance: float = 1e-5, m_steps: int = 10) -> Glad:
    """Fit GLAD by EM; classes are equally likely before the labels are seen, as in the paper's experiments.

    Args:
        max_iterations: EM iterations at most; 0 keeps the means of the priors, with the posterior that they give.
        tolerance: stop when Q changes by less, in nats per label.
        m_steps: L-BFGS iterations of an M-step at most.

    Raises:
        ValueError: fewer than two classes, or a setting out of range.
    """
    if crowd.n_classes < 2:
        raise ValueError(f"GLAD needs at least 2 classes, found {crowd.n_classes}")
    within("max_iterations", max_iterations, 0)
    within("tolerance", tolerance, 0)
    within("m_steps", m_steps, 1)
    point = np.ones(crowd.n_annotators + crowd.n_items)  # abilities and log easiness: the means of the priors
    # Q is the more curved in a number the more labels it speaks of: thousands for an annotator, a few for an item. In numbers
    # of about equal curvature L-BFGS gets by with far fewer steps.
    unit = 1 / np.sqrt(1 + np.concatenate([crowd.labels_per_annotator, crowd.labels_per_item]))
    last, converged, iterations = -np.inf, False, 0
    while iterations < max_iterations and not converged:
        right = crowd.said_in(_e_step(point, crowd))
        given, options = (right, crowd, unit), {"maxiter": m_steps}
        optimum = minimize(_in_units, point / unit, given, jac=True, method="L-BFGS-B", options=options)
        point, iterations = optimum.x * unit, iterations + 1
        converged = abs(-optimum.fun - last) < tolerance * max(len(crowd), 1)
        last = -optimum.fun
    ability, log_easiness = np.split(point, [crowd.n_annotators])
    return Glad(_e_step(point, crowd), ability, np.exp(log_easiness), iterations, converged)


def _blocks(point: np.ndarray, crowd: CrowdLabels) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
    """The items, and their labels, in parts of which everything fits a processor's cache; of each label the easiness, and its
    product with ability."""
    ability, log_easiness = np.split(point, [crowd.n_annotators])
    first = 0
    while first < crowd.n_items:
        last = max(int(np.searchsorted(crowd.offsets, crowd.offsets[first] + BLOCK, side="right")) - 1, first + 1)
        items, labels = slice(first, last), slice(int(crowd.offsets[first]), int(crowd.offsets[last]))
        easiness = np.repeat(np.exp(log_easiness[items]), crowd.labels_per_item[items])
        yield items, labels, easiness, easiness * ability.take(crowd.annotator[labels])
        first = last


def _e_step(point: np.ndarray, crowd: CrowdLabels) -> np.ndarray:
    """``[items, classes]`` posteriors. Every class but the label's gets the same from a label, so one sum for the class of
    the label is enough: what all classes share cancels. What a label's class gets more is ``log sigma(m) - log((1 - sigma(m)) /
    (C - 1)) = m + log(C - 1)``."""
    scores = np.empty((crowd.n_items, crowd.n_classes))
    for items, labels, _, margin in _blocks(point, crowd):
        part = scores[items]
        place = (crowd.item[labels] - items.start) * crowd.n_classes + crowd.label[labels]
        gain = margin + np.log(crowd.n_classes - 1)
        part[:] = softmax(np.bincount(place, gain, minlength=part.size).reshape(part.shape), axis=1)
    return scores


def _in_units(numbers: np.ndarray, right: np.ndarray, crowd: CrowdLabels, unit: np.ndarray) -> tuple[float, np.ndarray]:
    value, gradient = _negative_q(numbers * unit, right, crowd)
    return value, gradient * unit


def _negative_q(point: np.ndarray, right: np.ndarray, crowd: CrowdLabels) -> tuple[float, np.ndarray]:
    """``-Q`` up to a constant, and its gradient; ``right`` ``[labels]`` is the posterior that a label is right."""
    gradient = np.zeros(len(point))
    by_ability, by_log_easiness = gradient[: crowd.n_annotators], gradient[crowd.n_annotators :]
    q = (right.sum() - len(right)) * np.log(crowd.n_classes - 1)
    for items, labels, easiness, margin in _blocks(point, crowd):
        given = right[labels]
        # One exponential of what is not positive, which cannot overflow, gives sigma(m) and its logarithm.
        small = np.exp(-np.abs(margin))
        one = 1 + small
        q += (given - 1) @ margin + np.minimum(margin, 0).sum() - np.log(one).sum()
        by_margin = given - (0.5 + np.copysign(1 / one - 0.5, margin))
        by_ability += np.bincount(crowd.annotator[labels], by_margin * easiness, minlength=crowd.n_annotators)
        by_margin *= margin
        by_log_easiness[items] = np.bincount(crowd.item[labels] - items.start, by_margin, minlength=items.stop - items.start)
    away = point - 1
    gradient -= away
    return -(q - 0.5 * away @ away), np.negative(gradient, out=gradient)
