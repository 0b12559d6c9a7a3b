"""The cases of Max-MIG (Cao, Xu, Kong & Wang, ICLR 2019), as in its released code: everybody labels every item.

"Seniors" draw independently from their matrices. "Juniors" are added in two of the three cases: in ``max-mig-naive`` they
say class 0 of everything, in ``max-mig-correlated`` each copies one senior to the letter. With low expertise all seniors
have one poor matrix, with high expertise each has strengths of their own.

The released code draws with fixed seeds; here the seed is an argument.
"""

from __future__ import annotations

import numpy as np

from lib.crowd.labels import CrowdLabels
from lib.registry import unknown
from lib.simulation import SimulatedCrowd, drawing, register
from lib.simulation.ccc import PARTNERS

SOURCE = "Cao et al. (Max-MIG, ICLR 2019), released code"
EXPERTISE = ("low", "high")
SENIORS = {"low": 10, "high": 5}
# (task, expertise): how many say class 0.
NAIVE = {
    ("cifar10", "low"): 5,
    ("dogs_vs_cats", "low"): 15,
    ("luna16", "low"): 15,
    ("cifar10", "high"): 5,
    ("dogs_vs_cats", "high"): 5,
    ("luna16", "high"): 5,
}
# (task, expertise): whom each junior copies. The code has no such case for LUNA16.
COPIED = {
    ("cifar10", "low"): (0, 2),
    ("dogs_vs_cats", "low"): (0, 1),
    ("cifar10", "high"): (0, 0, 2, 2, 2),
    ("dogs_vs_cats", "high"): (0, 0, 0, 2, 2),
}
# Two classes: sensitivities as (P(0 | 0), P(1 | 1)).
BINARY = {
    ("dogs_vs_cats", "low"): [(0.55, 0.55)] * 10,
    ("dogs_vs_cats", "high"): [(0.6, 0.9), (0.8, 0.6), (0.6, 0.6), (0.7, 0.7), (0.7, 0.6)],
    ("luna16", "low"): [(0.6, 0.6)] * 10,
    ("luna16", "high"): [(0.6, 0.9), (0.9, 0.6), (0.6, 0.7), (0.7, 0.7), (0.7, 0.6)],
}
CLASSES = {"cifar10": 10, "dogs_vs_cats": 2, "luna16": 2}


def seniors(task: str, expertise: str) -> np.ndarray:
    """``[seniors, classes, classes]`` of a task (``cifar10``, ``dogs_vs_cats`` or ``luna16``) and expertise (low or high).

    Raises:
        ValueError: an unknown task or expertise.
    """
    for kind, value, known in (("task", task, list(CLASSES)), ("expertise", expertise, list(EXPERTISE))):
        if value not in known:
            raise ValueError(unknown(kind, value, known))
    if task != "cifar10":
        return np.array([[[a, 1 - a], [1 - b, b]] for a, b in BINARY[task, expertise]])
    if expertise == "low":
        return np.stack([drawing.symmetric(0.2, 10)] * SENIORS["low"])
    classes, partner = np.arange(10), np.array(PARTNERS["cifar10"])
    exact, first = np.eye(10), np.eye(10)[np.minimum(classes, partner)]  # the first of a pair for both
    either, mostly = (exact + exact[partner]) / 2, 0.6 * exact + 0.4 * exact[partner]
    animals = np.isin(classes, [3, 4, 5, 7])[:, None]  # cat-dog and deer-horse, against the other three pairs
    return np.stack([first, either, np.where(animals, exact, either), np.where(animals, first, exact), mostly])


@register("max-mig-independent", title="Max-MIG, independent", source=SOURCE)
def independent(y: np.ndarray, n_classes: int, seed: int, task: str = "cifar10", expertise: str = "high") -> SimulatedCrowd:
    """Case 1: seniors only, ten of low or five of high expertise."""
    return _crowd(y, n_classes, seed, seniors(task, expertise), task)


@register("max-mig-naive", title="Max-MIG, naive majority", source=SOURCE)
def naive(y: np.ndarray, n_classes: int, seed: int, task: str = "cifar10", expertise: str = "high") -> SimulatedCrowd:
    """Case 2: and juniors who always say class 0."""
    senior = seniors(task, expertise)
    junior = np.stack([drawing.constant(0, CLASSES[task])] * NAIVE[task, expertise])
    return _crowd(y, n_classes, seed, np.concatenate([senior, junior]), task)


@register("max-mig-correlated", title="Max-MIG, correlated mistakes", source=SOURCE)
def correlated(y: np.ndarray, n_classes: int, seed: int, task: str = "cifar10", expertise: str = "high") -> SimulatedCrowd:
    """Case 3: and juniors who copy a senior to the letter. ``groups`` has who is one voice."""
    senior = seniors(task, expertise)
    if (task, expertise) not in COPIED:
        raise ValueError(f"Max-MIG's correlated case is for {' and '.join(sorted({t for t, _ in COPIED}))}, found {task!r}")
    return _crowd(y, n_classes, seed, senior, task, COPIED[task, expertise])


def _crowd(y, n_classes: int, seed: int, confusion: np.ndarray, task: str, copied: tuple[int, ...] = ()) -> SimulatedCrowd:
    if n_classes != CLASSES[task]:
        raise ValueError(f"Max-MIG's {task} annotators know {CLASSES[task]} classes, found {n_classes}")
    item, annotator = np.repeat(np.arange(len(y)), len(confusion)), np.tile(np.arange(len(confusion)), len(y))
    said = drawing.draw(y, confusion, item, annotator, seed).reshape(len(y), len(confusion))
    voice = np.concatenate([np.arange(len(confusion)), copied]).astype(np.int64)
    crowd = CrowdLabels.from_dense(said[:, voice], n_classes=n_classes)
    return SimulatedCrowd(crowd, confusion[voice], groups=voice)
