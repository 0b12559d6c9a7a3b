"""``rec-IND-I`` to ``rec-COR-IV``: a reconstruction of the eight cases of CCC's Table 1.

**What the paper says** (Zhang et al., AAAI 2024): in IND-I to IV annotators err independently of each other, in COR-I to IV
their confusions depend on each other; how many labels an annotator gives follows a Beta distribution; an item of IND-I has
three on average; annotators come in groups with similar matrices. The project's page shows a histogram of 250 annotators. The
matrices themselves are in an appendix that we could not read.

**What we made of it.** 250 annotators in five groups of 50; a group shares one matrix, and every group has as many busy
annotators as the others. Weights are Beta(0.5, 2.5) with a floor, fitted to the histogram. Matrices are symmetric, except in
IND-III, where most errors go to a look-alike class. Their accuracies were fitted to *one* row of the paper's Table 1, majority
vote's last accuracy on CIFAR-10: a network that has memorized its labels is about as accurate on clean test data as those
labels are. No method was run for it. In the COR cases annotators of a group copy: for each (group, item) one answer is drawn,
and an annotator gives it with probability ``copying``, else an answer of their own; the matrices stay what they were.

Results on these cases may be compared with the paper in shape (the order of methods, the gap between best and last), not
digit by digit.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from lib.registry import choice, within
from lib.simulation import SimulatedCrowd, drawing, register

ANNOTATORS, LABELS_PER_ITEM, SHARE = 250, 3.0, 0.8
# CIFAR-10: the pairs of Max-MIG's released code, airplane-bird, automobile-truck, cat-dog, deer-horse, frog-ship.
# Fashion-MNIST: ours, T-shirt-shirt, pullover-coat, sandal-sneaker, trouser-dress, bag-ankle boot.
PARTNERS = {"cifar10": (2, 9, 0, 5, 7, 3, 8, 4, 6, 1), "fashion_mnist": (6, 3, 4, 1, 2, 7, 0, 5, 9, 8)}


@dataclass(frozen=True)
class Case:
    """One of the eight."""

    accuracies: tuple[float, ...]  # of the groups, which have equally many labels
    copying: float  # probability that an annotator gives the answer of the group
    pairs: bool  # whether most errors go to a look-alike class
    target: float  # the paper's majority vote, last, CIFAR-10 (Table 1), a share: what the case was fitted to


CASES = {
    "rec-IND-I": Case((0.10, 0.20, 0.35, 0.50, 0.60), 0.0, False, 0.411),
    "rec-IND-II": Case((0.10, 0.15, 0.25, 0.40, 0.55), 0.0, False, 0.329),
    "rec-IND-III": Case((0.20, 0.30, 0.40, 0.50, 0.65), 0.0, True, 0.420),
    "rec-IND-IV": Case((0.20, 0.35, 0.50, 0.65, 0.75), 0.0, False, 0.602),
    "rec-COR-I": Case((0.15, 0.25, 0.35, 0.50, 0.60), 0.5, False, 0.436),
    "rec-COR-II": Case((0.20, 0.30, 0.45, 0.55, 0.65), 0.5, False, 0.504),
    "rec-COR-III": Case((0.30, 0.40, 0.50, 0.60, 0.70), 0.5, False, 0.590),
    "rec-COR-IV": Case((0.30, 0.40, 0.50, 0.60, 0.70), 0.8, False, 0.580),
}


def build(
    case: Case,
    y: np.ndarray,
    n_classes: int,
    seed: int,
    copying: float,
    labels_per_item: float = LABELS_PER_ITEM,
    n_annotators: int = ANNOTATORS,
    groups: int = 5,
    jitter: float = 0.0,
    participation: str = "beta",
    a: float = 0.5,
    b: float = 2.5,
    floor: float = 0.07,
    partner: str | None = None,
) -> SimulatedCrowd:
    """A crowd of a case, whose accuracies were fitted for ten classes.

    Args:
        groups: how many; another number than five has its accuracies between those of the five.
        copying: within a group, 0 .. 1.
        jitter: how much annotators of a group differ: the standard deviation of an entry ``p`` of their matrices is
            ``jitter * sqrt(p (1 - p))``; 0 .. 0.5.
        participation: "beta" or "equal"; ``a``, ``b``, ``floor`` as in :func:`lib.simulation.drawing.participation`.
        partner: for IND-III, whose look-alikes: a name of :data:`PARTNERS`; by default the next class of a pair 0-1, 2-3, ...
            (the last of an odd number goes to class 0). Others ignore it.
    """
    people, answers = np.random.default_rng(seed).spawn(2)
    drawn = drawing.participation(n_annotators, a, b, floor, people)  # in any case: the same groups follow
    even = np.full(n_annotators, 1 / n_annotators)
    weights = drawn if choice("participation", participation, ("beta", "equal")) == "beta" else even
    group = drawing.stratified_groups(weights, groups, people)
    accuracies = np.interp(np.linspace(0, 1, groups), np.linspace(0, 1, len(case.accuracies)), case.accuracies)
    matrices = np.stack([_matrix(case, accuracy, n_classes, partner) for accuracy in accuracies])
    confusion = _jittered(matrices[group], jitter, people)
    crowd = drawing.simulate(y, confusion, labels_per_item, answers, weights, group, copying, drawing.assign_among_many)
    return SimulatedCrowd(crowd, confusion, weights, group)


def _matrix(case: Case, accuracy: float, n_classes: int, partner: str | None) -> np.ndarray:
    if not case.pairs:
        return drawing.symmetric(accuracy, n_classes)
    if partner is None:
        return drawing.pair_confusion(accuracy, [k ^ 1 if k ^ 1 < n_classes else 0 for k in range(n_classes)], SHARE)
    alike = PARTNERS[choice("partner", partner, PARTNERS)]
    if len(alike) != n_classes:
        raise ValueError(f"partner {partner!r} is for {len(alike)} classes, found {n_classes}")
    return drawing.pair_confusion(accuracy, alike, SHARE)


def _jittered(confusion: np.ndarray, jitter: float, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn from Dirichlet distributions around the given ones."""
    within("jitter", jitter, 0, 0.5)
    if jitter == 0:
        return confusion
    drawn = rng.standard_gamma(confusion * (1 / jitter**2 - 1))
    return drawn / drawn.sum(axis=2, keepdims=True)


for _name, _case in CASES.items():
    register(_name, f"{_name.removeprefix('rec-')}, reconstructed")(partial(build, _case, copying=_case.copying))
