"""GLAD: aggregation that weighs each label by its annotator's ability and its item's difficulty.

The label of item i by annotator r is right with probability ``sigma(ability_r * easiness_i)``, ``easiness_i > 0``; a wrong
label is one of the other ``C - 1`` classes alike. EM: the E-step gives posteriors of the true classes; the M-step raises

    Q = sum over labels of  p log sigma(m) + (1 - p) log((1 - sigma(m)) / (C - 1))  +  log prior,   m = ability_r easiness_i

where ``p`` is the posterior that the label is right, under the standard normal priors of Whitehill et al. around one on
abilities and on ``log easiness``. A label enters Q through ``p`` alone, so an M-step costs what the labels cost.

Reference: Whitehill, Ruvolo, Wu, Bergsma, Movellan, *Whose Vote Should Count More*, NeurIPS 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from lib.crowd.labels import CrowdLabels

__all__ = ["Glad", "glad"]


@dataclass(frozen=True, eq=False)
class Glad:
    """What GLAD estimates.

    Attributes:
        posterior: ``[items, classes]``, uniform for an item that nobody labeled.
        ability: ``[annotators]``; 0 is a guesser of two classes, below 0 is adversarial.
        easiness: ``[items]``, above 0; 0 is an item on which everybody guesses.
        n_iterations: EM iterations done.
        converged: whether Q moved by less than the tolerance at the end.
    """

    posterior: np.ndarray
    ability: np.ndarray
    easiness: np.ndarray
    n_iterations: int
    converged: bool


def glad(crowd: CrowdLabels, max_iterations: int = 100, tolerance: float = 1e-5, m_steps: int = 25) -> Glad:
    """Fit GLAD by EM; classes are equally likely before the labels are seen, as in the paper's experiments.

    Args:
        crowd: the labels, of two classes or more.
        max_iterations: EM iterations at most.
        tolerance: stop when Q changes by less, in nats a label.
        m_steps: L-BFGS iterations of an M-step at most.

    Raises:
        ValueError: fewer than two classes, or settings that are not positive.
    """
    if crowd.n_classes < 2:
        raise ValueError(f"GLAD needs at least 2 classes, found {crowd.n_classes}")
    if max_iterations < 1 or m_steps < 1 or not tolerance >= 0:
        found = f"max_iterations={max_iterations}, m_steps={m_steps}, tolerance={tolerance}"
        raise ValueError(f"max_iterations and m_steps must be at least 1 and tolerance at least 0, found {found}")
    point = np.concatenate([np.ones(crowd.n_annotators), np.ones(crowd.n_items)])  # the means of the priors
    last, converged, iterations = -np.inf, False, 0
    while iterations < max_iterations and not converged:
        right = _e_step(point, crowd)[crowd.item, crowd.label]
        found = minimize(_negative_q, point, (right, crowd), jac=True, method="L-BFGS-B", options={"maxiter": m_steps})
        point, iterations = found.x, iterations + 1
        converged = abs(-found.fun - last) < tolerance * max(len(crowd), 1)
        last = -found.fun
    ability, log_easiness = np.split(point, [crowd.n_annotators])
    return Glad(_e_step(point, crowd), ability, np.exp(log_easiness), iterations, converged)


def _margin(point: np.ndarray, crowd: CrowdLabels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``[labels]`` each: ability, easiness, and their product."""
    ability = point[crowd.annotator]
    easiness = np.exp(point[crowd.n_annotators + crowd.item])
    return ability, easiness, ability * easiness


def _log_right_wrong(margin: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """``[labels]`` log-probability of the label if it is right, and if it is one certain wrong class."""
    return -np.logaddexp(0, -margin), -np.logaddexp(0, margin) - np.log(n_classes - 1)


def _e_step(point: np.ndarray, crowd: CrowdLabels) -> np.ndarray:
    """``[items, classes]`` posteriors. Every class but the label's gets the same from a label, so one sum a label's class
    is enough: what all classes share cancels."""
    right, wrong = _log_right_wrong(_margin(point, crowd)[2], crowd.n_classes)
    place = crowd.item * crowd.n_classes + crowd.label
    scores = np.bincount(place, right - wrong, minlength=crowd.n_items * crowd.n_classes)
    return np.exp(log_softmax(scores.reshape(crowd.n_items, crowd.n_classes), axis=1))


def _negative_q(point: np.ndarray, right: np.ndarray, crowd: CrowdLabels) -> tuple[float, np.ndarray]:
    """``-Q`` up to a constant, and its gradient; ``right`` ``[labels]`` is the posterior that a label is right."""
    _, easiness, margin = _margin(point, crowd)
    log_right, log_wrong = _log_right_wrong(margin, crowd.n_classes)
    q = right @ log_right + (1 - right) @ log_wrong - 0.5 * ((point - 1) ** 2).sum()
    by_margin = right - expit(margin)
    by_ability = np.bincount(crowd.annotator, by_margin * easiness, minlength=crowd.n_annotators)
    by_log_easiness = np.bincount(crowd.item, by_margin * margin, minlength=crowd.n_items)
    return -q, point - 1 - np.concatenate([by_ability, by_log_easiness])
