"""The pieces that the cases share: who labels what among very many annotators, and the labels of groups that copy.

:func:`lib.simulation.drawing.assign` weighs every annotator for every item. Here the work grows with the labels: an annotator
is drawn from all, and drawn again where the item has had that one already, which is the same law.
"""

from __future__ import annotations

import logging

import numpy as np

from lib.crowd.labels import CrowdLabels
from lib.simulation import SimulatedCrowd, drawing

log = logging.getLogger(__name__)

__all__ = ["PARTICIPATION", "assign", "label", "participation", "stratified_groups", "wanted_labels"]

# Zhang et al. (CCC, 2024) draw how much each annotator takes part from a Beta distribution; earlier work asks everybody alike.
PARTICIPATION = ("beta", "equal")
ROUNDS = 16  # of drawing again, before the annotators who are left are weighed one by one
_CHUNK = 1 << 22  # numbers held at once, 32 MB


def participation(kind: str, n_annotators: int, a: float, b: float, floor: float, rng: np.random.Generator) -> np.ndarray:
    """``[annotators]`` weights that sum to one: see :func:`lib.simulation.drawing.participation`, or all equal.

    Raises:
        ValueError: an unknown kind, or what :func:`lib.simulation.drawing.participation` refuses.
    """
    if kind not in PARTICIPATION:
        raise ValueError(f"participation must be one of {', '.join(PARTICIPATION)}; found {kind!r}")
    weights = drawing.participation(n_annotators, a, b, floor, rng)
    return weights if kind == "beta" else np.full(n_annotators, 1 / n_annotators)


def stratified_groups(weights: np.ndarray, n_groups: int, rng: np.random.Generator) -> np.ndarray:
    """``[annotators]`` group of each, such that every group has as many busy and idle annotators as the others.

    Sorted by weight and cut in blocks of ``n_groups``, each block has one annotator of each group, in random order: otherwise
    the accuracy of the labels would hang on who happens to be busy.

    Raises:
        ValueError: fewer annotators than groups, or no groups.
    """
    if not 1 <= n_groups <= len(weights):
        raise ValueError(f"the number of groups must lie in 1 .. {len(weights)}, the number of annotators; found {n_groups}")
    groups = np.zeros(len(weights), dtype=np.int64)
    busiest_first = np.argsort(-weights, kind="stable")
    for start in range(0, len(weights), n_groups):
        members = busiest_first[start : start + n_groups]
        groups[members] = rng.permutation(n_groups)[: len(members)]
    return groups


def wanted_labels(n_items: int, labels_per_item: float, available: int, rng: np.random.Generator) -> np.ndarray:
    """``[items]`` how many labels each item gets: the whole numbers around the average, ``round(items * average)`` in all.

    Raises:
        ValueError: an average below 0 or above the number of annotators that take part.
    """
    if not 0 <= labels_per_item <= available:
        raise ValueError(
            f"labels_per_item must lie between 0 and the {available} annotators that take part, found {labels_per_item}"
        )
    least = int(labels_per_item)
    wanted = np.full(n_items, least)
    wanted[rng.permutation(n_items)[: round(n_items * labels_per_item) - n_items * least]] += 1
    return wanted


def assign(n_items: int, weights: np.ndarray, labels_per_item: float, rng: np.random.Generator | int = 0):
    """Which annotators label which items: distinct ones, one after the other, in proportion to the weights of those left.

    The law is that of :func:`lib.simulation.drawing.assign`, the work and memory that of the labels.

    Args:
        n_items: how many items.
        weights: ``[annotators]``, not negative; one of weight 0 labels nothing.
        labels_per_item: average number; where it is no whole number, a random part of the items gets one more than the rest.
        rng: generator or seed.

    Returns:
        ``item`` and ``annotator``, each ``[labels]`` int64, sorted by item, then annotator.

    Raises:
        ValueError: weights negative, not finite or all zero, or too few annotators for ``labels_per_item``.
    """
    rng, weights = np.random.default_rng(rng), np.asarray(weights, dtype=np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"weights must be finite numbers that are not negative, some of them positive; found {weights}")
    active = np.flatnonzero(weights)
    wanted = wanted_labels(n_items, labels_per_item, len(active), rng)
    most = int(wanted.max(initial=0))
    # A column for each label; `len(active)` stands for none, and sorts behind all annotators.
    chosen = np.full((n_items, most), len(active))
    if n_items and (wanted == len(active)).all():
        chosen[:] = np.arange(len(active))
    else:
        for place in range(most):
            _add_one(chosen, place, np.flatnonzero(wanted > place), weights[active], rng)
    chosen.sort(axis=1)
    item = np.repeat(np.arange(n_items), wanted)
    return item, active[chosen[chosen < len(active)]]


def _add_one(chosen: np.ndarray, place: int, items: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> None:
    """Fill a column of some items with annotators that they have not had."""
    upper = np.cumsum(weights)
    upper /= upper[-1]
    for _ in range(ROUNDS):
        drawn = np.searchsorted(upper, rng.random(len(items)), side="right")
        again = (chosen[items, :place] == drawn[:, None]).any(axis=1)
        chosen[items[~again], place] = drawn[~again]
        items = items[again]
        if not len(items):
            return
    quantile = rng.random(len(items))  # at once, so that the chunks change nothing
    rows = max(1, _CHUNK // len(weights))
    for start in range(0, len(items), rows):
        part = items[start : start + rows]
        left = np.tile(weights, (len(part), 1))
        np.put_along_axis(left, chosen[part, :place], 0.0, axis=1)
        upper = np.cumsum(left, axis=1)
        # Not past the last one who is left: rounding must not choose somebody of weight 0 behind it.
        target = np.minimum(quantile[start : start + rows] * upper[:, -1], np.nextafter(upper[:, -1], 0))
        chosen[part, place] = (upper <= target[:, None]).sum(axis=1)


def label(
    y: np.ndarray,
    confusion: np.ndarray,
    labels_per_item: float,
    weights: np.ndarray,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
    copying: float = 0.0,
) -> SimulatedCrowd:
    """A crowd's labels, as :func:`lib.simulation.drawing.simulate` describes them: copying changes answers, not who is asked.

    Args:
        y: ``[items]`` true classes.
        confusion: ``[annotators, classes, classes]``.
        labels_per_item: average.
        weights: ``[annotators]`` participation.
        rng: assignment, own answers, group answers and copying each get a stream of it.
        groups: ``[annotators]``; -1 for no group.
        copying: probability of giving the group's answer, 0 .. 1; needs groups.

    Raises:
        ValueError: what :func:`assign` and :func:`lib.simulation.drawing.draw` refuse, or copying out of range or
            without groups.
    """
    if not 0 <= copying <= 1:
        raise ValueError(f"copying must lie between 0 and 1, found {copying}")
    if copying and groups is None:
        raise ValueError("copying needs groups: the group of each annotator")
    who, own, common, copies = rng.spawn(4)
    item, annotator = assign(len(y), weights, labels_per_item, who)
    quantile = own.random(len(item))
    if copying:
        n_groups = int(groups.max()) + 1
        group = groups[annotator]
        # One random number for every (item, group) that occurs, spread over its labels.
        _, which = np.unique(item * (n_groups + 1) + group + 1, return_inverse=True)
        shared = common.random(int(which.max()) + 1 if len(which) else 0)[which]
        quantile = np.where((group >= 0) & (copies.random(len(item)) < copying), shared, quantile)
    said = drawing.draw(y, confusion, item, annotator, quantile=quantile)
    n_annotators, n_classes = confusion.shape[:2]
    crowd = CrowdLabels(item, annotator, said, len(y), n_annotators, n_classes)
    if idle := int((crowd.labels_per_annotator == 0).sum()):
        log.info("%d of %d annotators have no label", idle, n_annotators)
    return SimulatedCrowd(crowd, confusion, weights, groups)
