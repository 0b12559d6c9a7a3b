"""A crowd in which everything is known: the posterior ``f(x)``, the annotators, and how far each is from ideal.

Made to look at Theorem 1 of Ibrahim, Nguyen & Fu (ICLR 2023): the error of classifier and confusion matrices falls with
the number of labels, down to a floor set by

    xi_1, how far the best specialist of a class is from perfect (near-class specialist assumption), and
    xi_2, how far the best anchor of a class is from certain (near anchor point assumption).

**Items.** ``x`` is standard normal in 8 dimensions; ``f(x) = (1 - blur) softmax(6 V x) + blur / C`` with fixed orthonormal
directions ``V``. The most certain items have ``f`` at distance ``xi_2 = blur sqrt(1 - 1/C)`` from a corner of the simplex. True
classes are drawn from ``f``.

**Annotators.** One specialist, ``(1 - flaw) I + flaw / C``, at distance ``xi_1 = flaw sqrt(1 - 1/C)`` from perfect at every
class; all others are right with probability 0.45 to 0.65 a class and spread their errors unevenly (Dirichlet). Without a
specialist (``flaw = 1`` would make a spammer of it) ask for ``specialist=False``: then all are of the second kind.
"""

from __future__ import annotations

import numpy as np
import torch

from lib import simulate
from lib.datasets import register

DIMENSIONS = 8
SHARPNESS = 6.0
HELD_OUT = 1000
ACCURACY = (0.45, 0.65)


@register("identifiability", title="Identifiability, all known", revision=1)
def load(
    items: int = 2000,
    labels_per_item: float = 2.0,
    flaw: float = 0.0,
    blur: float = 0.0,
    specialist: bool = True,
    annotators: int = 10,
    n_classes: int = 3,
    crowd_seed: int = 0,
) -> dict:
    """The fields of the data set; ``extra`` has ``true_posterior`` and ``true_posterior_test``, ``[items, classes]``.

    Args:
        items: training items; 1000 more each to validate and to test.
        labels_per_item: average, by annotators drawn evenly.
        flaw: of the specialist, 0 (perfect) to 1 (guessing).
        blur: of the posterior, 0 (certain items exist) to 1 (nobody could tell).
        specialist: whether there is one.
        annotators, n_classes: how many.
        crowd_seed: of items and annotators alike.

    Raises:
        ValueError: a share outside 0 .. 1, or more classes than the 8 input dimensions.
    """
    for name, share in (("flaw", flaw), ("blur", blur)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, found {share!r}")
    if not 2 <= n_classes <= DIMENSIONS:
        raise ValueError(f"n_classes must lie between 2 and {DIMENSIONS}, found {n_classes!r}")
    rng = np.random.default_rng(crowd_seed)
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMENSIONS, DIMENSIONS)))[0][:n_classes]
    confusion = _annotators(annotators, n_classes, flaw, specialist, rng)
    fields, posteriors = {}, {}
    for part, size in {"": items, "_valid": HELD_OUT, "_test": HELD_OUT}.items():
        x = rng.normal(size=(size, DIMENSIONS))
        posterior = _posterior(x @ directions.T, blur)
        y = (rng.random((size, 1)) > posterior.cumsum(axis=1)[:, :-1]).sum(axis=1)
        fields[f"x{part}"] = torch.from_numpy(x).float()
        fields[f"y{part}"] = torch.from_numpy(y)
        posteriors[f"true_posterior{part}"] = posterior
    crowd = simulate.simulate(fields["y"].numpy(), confusion, labels_per_item, seed=int(rng.integers(2**31)))
    names = tuple(f"class {k}" for k in range(n_classes))
    return {**fields, "crowd": crowd, "true_confusion": confusion, "class_names": names, "extra": posteriors}


def _posterior(score: np.ndarray, blur: float) -> np.ndarray:
    score = SHARPNESS * (score - score.max(axis=1, keepdims=True))
    prob = np.exp(score)
    prob /= prob.sum(axis=1, keepdims=True)
    return (1 - blur) * prob + blur / score.shape[1]


def _annotators(n: int, n_classes: int, flaw: float, specialist: bool, rng: np.random.Generator) -> np.ndarray:
    right = rng.uniform(*ACCURACY, size=(n, n_classes))
    wrong = rng.dirichlet(np.full(n_classes - 1, 0.7), size=(n, n_classes))
    confusion = np.zeros((n, n_classes, n_classes))
    off = ~np.eye(n_classes, dtype=bool)
    confusion[:, off] = ((1 - right)[:, :, None] * wrong).reshape(n, -1)
    confusion[:, ~off] = right
    if specialist:
        confusion[0] = (1 - flaw) * np.eye(n_classes) + flaw / n_classes
    return confusion
