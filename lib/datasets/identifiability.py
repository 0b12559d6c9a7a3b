"""A crowd in which everything is known: the posterior ``f(x)``, the annotators, and how far each is from ideal.

Made to look at Theorem 1 of Ibrahim, Nguyen & Fu (ICLR 2023): the error of classifier and confusion matrices falls with
the number of labels, down to a floor set by

    xi_1, how far the best specialist of a class is from perfect (near-class specialist assumption, NCSA), and
    xi_2, how far the best anchor of a class is from certain (near anchor point assumption, NAPA).

**Items.** ``x`` is standard normal in 8 dimensions; ``f(x) = (1 - blur) softmax(6 V x) + blur / C`` with fixed orthonormal
directions ``V``. All of ``f`` keeps at least ``xi_2 = blur sqrt(1 - 1/C)`` away from the corners of the simplex, and the
most certain items come as near as that. True classes are drawn from ``f``.

**Annotators.** The first is the specialist, ``(1 - flaw) I + flaw / C``, at distance ``xi_1 = flaw sqrt(1 - 1/C)`` from
perfect at every class. All others are right with probability 0.45 to 0.65, by class. Half of their errors is spread evenly
over the wrong classes and half at random, so that no error of theirs is rare: an annotator who *never* confuses two
classes tells them apart as well as a specialist would. Without a specialist (``flaw = 1`` would make a guesser of it) ask
for ``specialist=False``: then all are of the second kind.
"""

import numpy as np
import torch

from lib.datasets import register
from lib.registry import within
from lib.simulation import drawing

DIMENSIONS = 8
SHARPNESS = 6.0
HELD_OUT = 1000
ACCURACY = (0.45, 0.65)


@register("identifiability", title="Simulated data, all known", revision=2)
def load(
    items: int = 2000,
    labels_per_item: float = 3.0,
    flaw: float = 0.0,
    blur: float = 0.0,
    specialist: bool = True,
    annotators: int = 5,
    n_classes: int = 3,
    crowd_seed: int = 0,
) -> dict:
    """The fields of the data set; ``extra`` has ``true_posterior``, ``true_posterior_valid`` and ``true_posterior_test``,
    each ``[items, classes]``.

    Args:
        items: training items; 1000 more each to validate and to test.
        labels_per_item: average, by annotators drawn evenly.
        flaw: of the specialist, 0 (perfect) to 1 (guessing).
        blur: of the posterior, 0 (certain items exist) to 1 (nobody could tell).
        specialist: whether there is one.
        annotators, n_classes: how many.
        crowd_seed: of items and annotators alike. The annotators without a flaw are the same whatever the other options.

    Raises:
        ValueError: a share outside 0 .. 1, or more classes than the 8 input dimensions.
    """
    within("flaw", flaw, 0, 1)
    within("blur", blur, 0, 1)
    within("n_classes", n_classes, 2, DIMENSIONS)
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
    crowd = drawing.simulate(fields["y"].numpy(), confusion, labels_per_item, seed=int(rng.integers(2**31)))
    names = tuple(f"class {k}" for k in range(n_classes))
    return {**fields, "crowd": crowd, "true_confusion": confusion, "class_names": names, "extra": posteriors}


def specialist_distance(confusion: np.ndarray) -> float:
    """``xi_1`` of a crowd ``[annotators, true class, label]``: at the class that is served worst, how far its best specialist
    is from perfect.

    A specialist of class ``k`` says ``k`` for all items of that class and for no others, so it is a *column* of ``A`` that
    has to look like a unit vector: ``max over k of min over r of |A[r, :, k] - e_k|_2`` (NCSA; the paper's ``A_m`` is the
    transpose of ``A[m]``, its column our row).
    """
    distance = np.linalg.norm(confusion - np.eye(confusion.shape[1]), axis=1)  # [annotators, label]
    return float(distance.min(axis=0).max())


def anchor_distance(posterior: np.ndarray) -> float:
    """``xi_2`` of some items ``[items, classes]``: at the class that is served worst, how far its most certain item is from
    certain, ``max over k of min over i of |f(x_i) - e_k|_2`` (NAPA)."""
    corners = np.eye(posterior.shape[1])
    return float(max(np.linalg.norm(posterior - corner, axis=1).min() for corner in corners))


def stretch(posterior: np.ndarray, confusion: np.ndarray, amount: float) -> tuple[np.ndarray, np.ndarray]:
    """Another posterior ``[items, classes]`` and other matrices ``[annotators, true class, label]`` that give every label the
    same probability.

    ``f' = (f - amount / C) / (1 - amount)`` is stretched away from the center of the simplex (shrunk toward it, for a
    negative amount); ``A' = (1 - amount) A + amount * mean over true classes of A`` undoes it: ``f' A' = f A``. For an amount
    within :func:`stretch_limits` both are probabilities.
    """
    center = confusion.mean(axis=1, keepdims=True)
    return (posterior - amount / posterior.shape[1]) / (1 - amount), (1 - amount) * confusion + amount * center


def stretch_limits(posterior: np.ndarray, confusion: np.ndarray) -> tuple[float, float]:
    """The least and the largest amount of :func:`stretch` for which no probability is negative: zero and zero where a
    perfect specialist keeps ``A`` and certain items keep ``f`` from being stretched."""
    behind = confusion.mean(axis=1, keepdims=True) - confusion  # positive where stretching A makes an entry smaller
    room = np.divide(confusion, behind, out=np.full_like(confusion, np.inf), where=behind > 0)
    return -float(room.min()), float(posterior.min() * posterior.shape[1])


def _posterior(score: np.ndarray, blur: float) -> np.ndarray:
    score = SHARPNESS * (score - score.max(axis=1, keepdims=True))
    prob = np.exp(score)
    prob /= prob.sum(axis=1, keepdims=True)
    return (1 - blur) * prob + blur / score.shape[1]


def _annotators(n: int, n_classes: int, flaw: float, specialist: bool, rng: np.random.Generator) -> np.ndarray:
    right = rng.uniform(*ACCURACY, size=(n, n_classes))
    wrong = 0.5 / (n_classes - 1) + 0.5 * rng.dirichlet(np.ones(n_classes - 1), size=(n, n_classes))
    confusion = np.zeros((n, n_classes, n_classes))
    off = ~np.eye(n_classes, dtype=bool)
    confusion[:, off] = ((1 - right)[:, :, None] * wrong).reshape(n, -1)
    confusion[:, ~off] = right
    if specialist:
        confusion[0] = (1 - flaw) * np.eye(n_classes) + flaw / n_classes
    return confusion
