"""Annotators on top of true labels: who labels what, and what they say.

Confusion matrices are ``A[annotator, true class, label]`` with rows that sum to one. Everything random comes from
``numpy.random.default_rng(seed)``: the same seed gives the same triples, whatever the size of the chunks that bound
memory.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from lib.crowd.labels import CrowdLabels
from lib.registry import within

ROUNDS = 16  # of drawing an annotator again, before those who are left are weighed one by one
CHUNK = 1 << 22  # numbers held at once, 32 MB: changes memory, not what is drawn


# ---------------------------------------------------------------------- confusion matrices


def symmetric(accuracy: float, n_classes: int) -> np.ndarray:
    """``[classes, classes]``: right with probability ``accuracy``, else any other class alike; at ``1 / n_classes`` a guesser.

    Raises:
        ValueError: accuracy outside 0 .. 1, or fewer than two classes.
    """
    within("accuracy", accuracy, 0, 1)
    within("n_classes", n_classes, 2)
    matrix = np.full((n_classes, n_classes), (1 - accuracy) / (n_classes - 1))
    np.fill_diagonal(matrix, accuracy)
    return matrix


def pair_confusion(accuracy: float, partner: Sequence[int], share: float = 0.8) -> np.ndarray:
    """``[classes, classes]``: right with probability ``accuracy``; ``share`` of the errors (of two classes, all) go to the
    class's partner (``[classes]``, such as ``[1, 0, 3, 2]``), the rest to the other classes alike.

    Raises:
        ValueError: accuracy or share outside 0 .. 1, a partner out of range, or a class that is its own partner.
    """
    within("accuracy", accuracy, 0, 1)
    within("share", share, 0, 1)
    partner = np.asarray(partner)
    classes = np.arange(len(partner))
    if len(partner) < 2 or partner.dtype.kind not in "iu" or not np.isin(partner, classes).all():
        raise ValueError(f"partner must name one of the classes 0 .. {len(partner) - 1} for each, found {partner.tolist()}")
    if (partner == classes).any():
        raise ValueError(f"a class cannot be its own partner, found class {int(np.flatnonzero(partner == classes)[0])}")
    others = len(partner) - 2
    matrix = np.full((len(partner), len(partner)), (1 - share) * (1 - accuracy) / max(others, 1))
    matrix[classes, partner] = (share if others else 1) * (1 - accuracy)
    matrix[classes, classes] = accuracy
    return matrix


def constant(label: int, n_classes: int) -> np.ndarray:
    """``[classes, classes]`` of an annotator who says ``label`` whatever the item. Raises ValueError for one out of range."""
    within("label", label, 0, n_classes - 1)
    matrix = np.zeros((n_classes, n_classes))
    matrix[:, label] = 1
    return matrix


# ---------------------------------------------------------------------- who labels what


def participation(
    n_annotators: int, a: float = 0.5, b: float = 2.5, floor: float = 0.07, rng: np.random.Generator | int = 0
) -> np.ndarray:
    """``[annotators]`` weights that sum to one, Beta distributed: a few do most of the work, many do little (Zhang et al., CCC,
    2024; ``a`` and ``b`` are fitted to their published histogram). ``floor`` is the least weight, in parts of the mean weight,
    so that nobody is left without a chance.

    Raises:
        ValueError: no annotators, a shape that is not positive, or a negative floor.
    """
    within("n_annotators", n_annotators, 1)
    if not (a > 0 and b > 0 and floor >= 0):
        raise ValueError(f"a and b must be positive and floor at least 0, found a={a}, b={b}, floor={floor}")
    weights = np.random.default_rng(rng).beta(a, b, size=n_annotators)
    weights = np.maximum(weights, floor * weights.mean())
    return weights / weights.sum()


def assign(
    n_items: int, weights: np.ndarray, labels_per_item: float, rng: np.random.Generator | int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Which annotators label which items: ``item`` and ``annotator``, ``[labels]`` int64, sorted by item, then annotator.

    Every item gets distinct annotators, drawn one after the other with probabilities proportional to the weights of those left
    (the largest of ``log weight + Gumbel noise``). When ``labels_per_item`` is no whole number, a random part of the items gets
    one label more than the others, so that there are ``round(n_items * labels_per_item)`` labels exactly.

    Args:
        weights: ``[annotators]``, not negative; one of weight 0 labels nothing.
        labels_per_item: average number, between 0 and the number of annotators of positive weight.

    Raises:
        ValueError: weights negative, not finite or all zero, or too few annotators for ``labels_per_item``.
    """
    rng, weights, wanted = _start(n_items, weights, labels_per_item, rng)
    most = math.ceil(labels_per_item)
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    rows = max(1, CHUNK // max(len(weights), 1))
    chosen = [np.zeros(0, dtype=np.int64)]
    for start in range(0, n_items if most else 0, rows):
        size = min(rows, n_items - start)
        keys = log_weights + rng.gumbel(size=(size, len(weights)))
        ahead = np.argpartition(-keys, most - 1, axis=1)[:, :most]
        # The first `least` of the order drawn are a fair draw of that size, so the last one drawn is what is left out.
        order = np.argsort(-np.take_along_axis(keys, ahead, axis=1), axis=1)
        ahead = np.take_along_axis(ahead, order, axis=1)
        ahead = np.where(np.arange(most) < wanted[start : start + size, None], ahead, len(weights))
        ahead.sort(axis=1)
        chosen.append(ahead[ahead < len(weights)])
    return np.repeat(np.arange(n_items), wanted), np.concatenate(chosen)


def assign_among_many(
    n_items: int, weights: np.ndarray, labels_per_item: float, rng: np.random.Generator | int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`assign`, in law and options, for very many annotators: its work and memory grow with the labels. An annotator
    is drawn from all, and drawn again where the item has had that one already."""
    rng, weights, wanted = _start(n_items, weights, labels_per_item, rng)
    active = np.flatnonzero(weights)
    most = int(wanted.max(initial=0))
    # A column for each label; `len(active)` stands for none, and sorts behind all annotators.
    chosen = np.full((n_items, most), len(active))
    if n_items and (wanted == len(active)).all():
        chosen[:] = np.arange(len(active))
    else:
        for place in range(most):
            _add_one(chosen, place, np.flatnonzero(wanted > place), weights[active], rng)
    chosen.sort(axis=1)
    return np.repeat(np.arange(n_items), wanted), active[chosen[chosen < len(active)]]


def _start(n_items: int, weights, labels_per_item: float, rng) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """The generator, the weights, and ``[items]`` how many labels each gets: the whole numbers around the average."""
    rng, weights = np.random.default_rng(rng), np.asarray(weights, dtype=np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"weights must be a vector of finite numbers that are not negative, found {weights}")
    available = np.count_nonzero(weights)
    if not 0 <= labels_per_item <= available:
        expected = f"between 0 and the {available} annotators that take part"
        raise ValueError(f"labels_per_item must lie {expected}, found {labels_per_item}")
    wanted = np.full(n_items, int(labels_per_item))
    wanted[rng.permutation(n_items)[: round(n_items * labels_per_item) - wanted.sum()]] += 1
    return rng, weights, wanted


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
    rows = max(1, CHUNK // len(weights))
    for start in range(0, len(items), rows):
        part = items[start : start + rows]
        left = np.tile(weights, (len(part), 1))
        np.put_along_axis(left, chosen[part, :place], 0.0, axis=1)
        upper = np.cumsum(left, axis=1)
        # Not past the last one who is left: rounding must not choose somebody of weight 0 behind it.
        target = np.minimum(quantile[start : start + rows] * upper[:, -1], np.nextafter(upper[:, -1], 0))
        chosen[part, place] = (upper <= target[:, None]).sum(axis=1)


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


# ---------------------------------------------------------------------- what they say


def draw(
    y: np.ndarray,
    confusion: np.ndarray,
    item: np.ndarray,
    annotator: np.ndarray,
    rng: np.random.Generator | int = 0,
    quantile: np.ndarray | None = None,
) -> np.ndarray:
    """``[labels]`` int64 from the annotators' confusion matrices, by inverting the cumulative distribution.

    Args:
        y, item, annotator: true classes of ``[items]``, and who labels what, ``[labels]`` each.
        confusion: ``[annotators, classes, classes]``.
        quantile: ``[labels]`` numbers in [0, 1) to draw with, in place of ``rng``; equal ones give equal labels where the
            distributions are equal.

    Raises:
        ValueError: ``confusion`` is not a stack of square matrices whose rows are probabilities.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    if confusion.ndim != 3 or confusion.shape[1] != confusion.shape[2]:
        raise ValueError(f"confusion must have the axes annotators x classes x classes, found shape {confusion.shape}")
    if not (confusion >= 0).all() or not np.allclose(confusion.sum(axis=2), 1, atol=1e-6):
        raise ValueError("every row of confusion must be probabilities that sum to one; a NaN, negative or other sum was found")
    if quantile is None:
        quantile = np.random.default_rng(rng).random(len(item))
    upper = np.cumsum(confusion, axis=2)
    upper = (upper / upper[:, :, -1:])[:, :, :-1]  # ends at exactly one, so a last class of probability 0 is never said
    label = np.zeros(len(item), dtype=np.int64)
    rows = max(1, CHUNK // confusion.shape[1])
    for start in range(0, len(item), rows):
        part = slice(start, start + rows)
        label[part] = (quantile[part, None] >= upper[annotator[part], y[item[part]]]).sum(axis=1)
    return label


def simulate(
    y: np.ndarray,
    confusion: np.ndarray,
    labels_per_item: float = 3.0,
    seed: np.random.Generator | int = 0,
    participation: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    copying: float = 0.0,
    assign: Callable = assign,
) -> CrowdLabels:
    """A crowd that labels items of known classes.

    With ``copying = 0`` labels are independent given the true classes. Else every group has one draw per item, and each of its
    annotators gives the label of that draw with probability ``copying``. The common draw is a quantile, put through each
    annotator's own matrix: so the law of everybody's labels is their own matrix in any case, and annotators of a group with
    equal matrices copy to the letter. Who is asked, own answers, group answers and copying have a random stream each: calls
    that differ in ``copying`` or in ``confusion`` ask the same annotators about the same items.

    Args:
        y: ``[items]`` true classes.
        confusion: ``[annotators, classes, classes]``.
        labels_per_item, participation: average number, and ``[annotators]`` weights (all equal), of :func:`assign`.
        seed: of all randomness; or a generator.
        groups: ``[annotators]`` group of each annotator, -1 for one in no group.
        copying: probability of giving the group's answer, 0 .. 1; needs ``groups``.
        assign: :func:`assign` or :func:`assign_among_many`, which draw differently from the same seed.

    Raises:
        ValueError: sizes that do not fit, classes out of range, or what :func:`assign` and :func:`draw` refuse.
    """
    n_annotators, n_classes = len(confusion), np.shape(confusion)[-1]
    y = check_classes(y, n_classes)
    weights = np.full(n_annotators, 1 / n_annotators) if participation is None else np.asarray(participation)
    if weights.shape != (n_annotators,):
        raise ValueError(f"participation must have one weight for each of {n_annotators} annotators, found {weights.shape}")
    within("copying", copying, 0, 1)
    if copying and groups is None:
        raise ValueError("copying needs groups: the group of each annotator")
    who, own, common, copies = np.random.default_rng(seed).spawn(4)
    item, annotator = assign(len(y), weights, labels_per_item, who)
    quantile = own.random(len(item))
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (n_annotators,) or groups.dtype.kind not in "iu" or (groups < -1).any():
            raise ValueError(f"groups must be {n_annotators} whole numbers, -1 or more, found {groups}")
        group = groups[annotator].astype(np.int64)
        # A random number for every (item, group) that occurs, spread over its labels.
        pairs, which = np.unique(item * (int(groups.max()) + 2) + group + 1, return_inverse=True)
        shared = common.random(len(pairs))[which]
        quantile = np.where((group >= 0) & (copies.random(len(item)) < copying), shared, quantile)
    label = draw(y, confusion, item, annotator, quantile=quantile)
    return CrowdLabels(item, annotator, label, len(y), n_annotators, n_classes)


def check_classes(y: np.ndarray, n_classes: int) -> np.ndarray:
    """``[items]`` classes as an array. Raises ValueError where they are no vector of whole numbers, or out of range."""
    y = np.asarray(y)
    if y.ndim != 1 or y.dtype.kind not in "iu" or (len(y) and not 0 <= y.min() <= y.max() < n_classes):
        raise ValueError(f"y must be a vector of classes in 0 .. {n_classes - 1}, found {y.dtype} of shape {y.shape}")
    return y
