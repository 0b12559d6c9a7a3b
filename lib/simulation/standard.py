"""Crowds in which everybody errs alike, and everybody is asked alike."""

import numpy as np

from lib.registry import within
from lib.simulation import SimulatedCrowd, drawing, register


@register("symmetric", "Symmetric noise")
def symmetric(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    accuracy: float = 0.7,
    labels_per_item: float = 3.0,
    n_annotators: int = 100,
) -> SimulatedCrowd:
    """Everybody is right with probability ``accuracy``, else says any other class alike."""
    within("n_annotators", n_annotators, 1)
    confusion = np.tile(drawing.symmetric(accuracy, n_classes), (n_annotators, 1, 1))
    weights = np.full(n_annotators, 1 / n_annotators)
    _, answers = np.random.default_rng(seed).spawn(2)
    crowd = drawing.simulate(y, confusion, labels_per_item, answers, weights, assign=drawing.assign_among_many)
    return SimulatedCrowd(crowd, confusion, weights)


@register("plain", "Plain noise")
def plain(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    annotators: int = 50,
    accuracy: float = 0.6,
    labels_per_item: float = 3.0,
) -> SimulatedCrowd:
    """The same law from another random stream, by default with fewer annotators, who err more: the usual crowd of images."""
    confusion = np.repeat(drawing.symmetric(accuracy, n_classes)[None], annotators, axis=0)
    return SimulatedCrowd(drawing.simulate(y, confusion, labels_per_item, seed=seed), confusion)
