"""The standard families of annotators, for studies of aggregation and of what a method needs.

Every family takes ``labels_per_item``, ``n_annotators`` and ``participation`` ("equal" as in most of the literature, or
"beta" as in CCC). Parameters of annotators come from a stream of their own, so that the same seed has the same annotators
whatever the number of labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.simulation import SimulatedCrowd, crowds, drawing, register

KHETAN = "Khetan, Lipton & Anandkumar (ICLR 2018)"


def _crowd(y, confusion, labels_per_item, participation, people, answers, groups=None) -> SimulatedCrowd:
    weights = crowds.participation(participation, len(confusion), 0.5, 2.5, 0.07, people)
    return crowds.label(y, confusion, labels_per_item, weights, answers, groups)


def _people(seed: int, n_annotators: int) -> tuple[np.random.Generator, np.random.Generator]:
    if n_annotators < 1:
        raise ValueError(f"n_annotators must be at least 1, found {n_annotators}")
    people, answers = np.random.default_rng(seed).spawn(2)
    return people, answers


def _check_shares(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, found {value}")


@register("hammer-spammer", title="Hammer-spammer", source="Karger, Oh & Shah (NeurIPS 2011)")
def hammer_spammer(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    hammer: float = 0.5,
    labels_per_item: float = 3.0,
    n_annotators: int = 100,
    participation: str = "equal",
) -> SimulatedCrowd:
    """Annotators are always right, with probability ``hammer``, or say any class alike; groups: 1 for a hammer, else 0."""
    _check_shares(hammer=hammer)
    people, answers = _people(seed, n_annotators)
    right = people.random(n_annotators) < hammer
    confusion = np.where(right[:, None, None], np.eye(n_classes), 1 / n_classes)
    return _crowd(y, confusion, labels_per_item, participation, people, answers, right.astype(np.int64))


@register("class-wise-hammer-spammer", title="Class-wise hammer-spammer", source=KHETAN)
def class_wise_hammer_spammer(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    hammer: float = 0.5,
    labels_per_item: float = 3.0,
    n_annotators: int = 100,
    participation: str = "equal",
) -> SimulatedCrowd:
    """Annotators know each class, independently, with probability ``hammer``: items of a class that they know are labeled
    right, of others with any class alike."""
    _check_shares(hammer=hammer)
    people, answers = _people(seed, n_annotators)
    knows = people.random((n_annotators, n_classes)) < hammer
    confusion = np.where(knows[:, :, None], np.eye(n_classes), 1 / n_classes)
    return _crowd(y, confusion, labels_per_item, participation, people, answers)


@register("one-coin", title="One coin", source="Raykar & Yu (JMLR 2012)")
def one_coin(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    least: float = 0.3,
    most: float = 0.9,
    labels_per_item: float = 3.0,
    n_annotators: int = 100,
    participation: str = "equal",
) -> SimulatedCrowd:
    """Annotators are right with a probability of their own, uniform in ``least .. most``, else say any other class alike."""
    _check_range(least, most)
    people, answers = _people(seed, n_annotators)
    accuracy = people.uniform(least, most, n_annotators)
    confusion = _symmetric_rows(np.tile(accuracy[:, None], n_classes))
    return _crowd(y, confusion, labels_per_item, participation, people, answers)


@register("two-coin", title="A coin a class", source="Raykar et al. (JMLR 2010)")
def two_coin(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    least: float = 0.3,
    most: float = 0.9,
    labels_per_item: float = 3.0,
    n_annotators: int = 100,
    participation: str = "equal",
) -> SimulatedCrowd:
    """Annotators are right with a probability for each class (of two: specificity and sensitivity), uniform in
    ``least .. most``, else say any other class alike."""
    _check_range(least, most)
    people, answers = _people(seed, n_annotators)
    confusion = _symmetric_rows(people.uniform(least, most, (n_annotators, n_classes)))
    return _crowd(y, confusion, labels_per_item, participation, people, answers)


@register("dawid-skene", title="Dirichlet confusion matrices", source="Kim & Ghahramani (AISTATS 2012)")
def dirichlet(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    diagonal: float = 3.0,
    others: float = 0.5,
    labels_per_item: float = 3.0,
    n_annotators: int = 100,
    participation: str = "equal",
) -> SimulatedCrowd:
    """Rows of the matrices are Dirichlet distributed, with the parameters ``diagonal`` for the true class and ``others``."""
    if not (diagonal > 0 and others > 0):
        raise ValueError(f"diagonal and others must be positive, found {diagonal} and {others}")
    people, answers = _people(seed, n_annotators)
    shape = np.full((n_classes, n_classes), float(others))
    np.fill_diagonal(shape, diagonal)
    confusion = people.standard_gamma(shape, (n_annotators, n_classes, n_classes))
    confusion /= confusion.sum(axis=2, keepdims=True)
    return _crowd(y, confusion, labels_per_item, participation, people, answers)


@register("symmetric", title="Symmetric noise", source="standard")
def symmetric(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    accuracy: float = 0.7,
    labels_per_item: float = 3.0,
    n_annotators: int = 100,
    participation: str = "equal",
) -> SimulatedCrowd:
    """Everybody is right with probability ``accuracy``, else says any other class alike."""
    people, answers = _people(seed, n_annotators)
    confusion = np.tile(drawing.symmetric(accuracy, n_classes), (n_annotators, 1, 1))
    return _crowd(y, confusion, labels_per_item, participation, people, answers)


@register("pair", title="Pair flips", source="standard")
def pair(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    accuracy: float = 0.7,
    partner: Sequence[int] | None = None,
    labels_per_item: float = 3.0,
    n_annotators: int = 100,
    participation: str = "equal",
) -> SimulatedCrowd:
    """Everybody is right with probability ``accuracy``, else says the class's partner: ``[classes]``, by default the next."""
    people, answers = _people(seed, n_annotators)
    partner = [(k + 1) % n_classes for k in range(n_classes)] if partner is None else partner
    if len(partner) != n_classes:
        raise ValueError(f"partner must name a class for each of {n_classes}, found {len(partner)}")
    confusion = np.tile(drawing.pair_confusion(accuracy, partner, 1.0), (n_annotators, 1, 1))
    return _crowd(y, confusion, labels_per_item, participation, people, answers)


def _check_range(least: float, most: float) -> None:
    if not 0 <= least <= most <= 1:
        raise ValueError(f"least and most must be probabilities in order, found {least} and {most}")


def _symmetric_rows(accuracy: np.ndarray) -> np.ndarray:
    """``[annotators, classes, classes]`` from the accuracy of each annotator on each class."""
    n_classes = accuracy.shape[1]
    wrong = (1 - accuracy)[:, :, None] / (n_classes - 1)
    return np.where(np.eye(n_classes, dtype=bool), accuracy[:, :, None], wrong)
