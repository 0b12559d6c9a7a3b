"""Simulated crowds by name: annotators on top of true labels, with the matrices that they drew from.

``build("rec-IND-I", y, 10, seed=0)`` gives a :class:`SimulatedCrowd`. A module of this package holds the cases of a paper and
registers each with :func:`register`; a new case is a function, its line in :data:`CATALOGUE`, and its test. What they are
made of is in :mod:`lib.simulation.drawing`. The cases ``rec-...`` are **reconstructions** of what the CCC paper does not
publish: results on them are no reproduction of its Table 1, and claims about them have the origin "reconstruction".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.crowd.labels import CrowdLabels
from lib.registry import Registry, check_options, options_of
from lib.simulation.drawing import check_classes


@dataclass(frozen=True, eq=False)
class SimulatedCrowd:
    """Labels and where they came from.

    Args:
        confusion: ``[annotators, true class, label]`` what each annotator drew from.
        participation: ``[annotators]`` weights that sum to one, or None where all are asked alike.
        groups: ``[annotators]`` int64, annotators of one kind or who copy from each other; -1 for none.
    """

    crowd: CrowdLabels
    confusion: np.ndarray
    participation: np.ndarray | None = None
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Info:
    """A registered case: its title, its options with their defaults, and the function that makes it."""

    title: str
    options: Mapping[str, Any]
    make: Callable[..., SimulatedCrowd]


# The module of each.
CATALOGUE = {
    "symmetric": "standard",
    "plain": "standard",
    "crowd-layer-five": "crowd_layer",
    "geo-separable-and-uniform": "geocrowdnet",
    "geo-separable-and-uniform-random": "geocrowdnet",
    "geo-random": "geocrowdnet",
    "geo-diagonally-dominant": "geocrowdnet",
    "geo-separable-and-diagonally-dominant": "geocrowdnet",
    "geo-hammer-spammer": "geocrowdnet",
    "geo-symmetric-flipping": "geocrowdnet",
} | {f"rec-{family}-{case}": "ccc" for family in ("IND", "COR") for case in ("I", "II", "III", "IV")}
_registry: Registry[Info] = Registry("simulated crowd", __name__, CATALOGUE)


def register(name: str, title: str):
    """Decorator for a function ``(y, n_classes, seed, **options) -> SimulatedCrowd``. Raises ValueError for a name
    that is taken, or not in the catalogue."""

    def decorate(make: Callable[..., SimulatedCrowd]):
        _registry.add(name, Info(title, options_of(make, first=3), make))
        return make

    return decorate


def names() -> list[str]:
    """All cases."""
    return _registry.names()


def info(case: str) -> Info:
    """What is known of a case. Raises ValueError for an unknown one; the message lists the known ones."""
    return _registry.get(case)


def build(case: str, y: np.ndarray, n_classes: int, seed: int, **options) -> SimulatedCrowd:
    """A crowd of a case about items of known classes. The same call gives the same labels on any machine.

    Args:
        y: ``[items]`` true classes; of training items only, since nobody labels the others.
        n_classes: at least two.
        seed: of everything random, from 0 on.
        options: the case's own, see :func:`info`.

    Raises:
        ValueError: an unknown case or option, classes out of range, a seed that is no whole number, or what the case refuses.
    """
    entry = info(case)
    check_options(f"simulated crowd {case!r}", options, entry.options)
    for name, value, least in (("seed", seed, 0), ("n_classes", n_classes, 2)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number from {least} on, found {value!r}")
    return entry.make(check_classes(y, n_classes).astype(np.int64), int(n_classes), int(seed), **options)
