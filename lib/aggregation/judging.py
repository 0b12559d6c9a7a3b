"""The accuracy of each annotator, with intervals that allow for what the other annotators do not know.

A label is judged as in :mod:`lib.aggregation.annotator_report`, by the probability ``q`` of its class given everything known
about the item except this label. Bayes' rule gives an interval *as if the accuracies of the others were known*. Since they
are not, the model is fitted again to bootstrap samples of the items (Efron, Annals of Statistics 7(1), 1979), and the
posteriors are averaged over these fits. Only items with two labels or more, or with a known class, count.

Where annotators share errors they confirm each other, and their accuracies come out too high, by the share ``h`` of items that
mislead. Labels hardly tell ``h``, so every value between the ends that ``shared_errors.allowance`` gives is taken to be equally
probable, and the lower end of each interval is that of ``a - h``. For a classifier the upper end is that of ``a + h``: where
everybody was misled, it may have been right against them, or wrong along with them. On real crowds whose labels share more
errors than this allows for, the intervals are still too narrow (``tests/benchmarks/own_data_real.py``).
"""

import numpy as np

from lib.aggregation import fusion
from lib.aggregation.confusion import rows_to_one
from lib.aggregation.fusion import Estimate
from lib.crowd.labels import CrowdLabels

GRID = 400  # values of an accuracy
BINS = 200  # of the support of a label
REPLICATES = 24
SHARES = 25  # values of a share of misleading items
LABELS = 1_500_000  # of all replicates together; with many labels the others' accuracies are nearly known


def accuracies(
    crowd: CrowdLabels,
    estimate: Estimate,
    known: np.ndarray | None = None,
    said: np.ndarray | None = None,
    misled: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """``[annotators, 3]`` mean of each annotator's accuracy and the ends of its 95 % interval; NaN where nothing is known.

    Args:
        crowd, known: those of the estimate.
        said: ``[items]`` the class that a classifier predicts; it is judged by the labels alone and becomes the last row.
        misled: the smallest and the largest share of items on which annotators may share an error.
    """
    known = np.full(crowd.n_items, -1) if known is None else known
    rows = crowd.n_annotators + (said is not None)
    if not estimate.told_apart:
        return np.full((rows, 3), np.nan)
    several = (crowd.labels_per_item >= 2) | (known >= 0)
    judged = several[crowd.item]
    who, told = crowd.annotator[judged], known[crowd.item[judged]]
    people = who
    if said is not None:
        witnessed = np.flatnonzero((crowd.labels_per_item > 0) & several)
        people = np.concatenate([who, np.full(len(witnessed), crowd.n_annotators)])
    shares, model = fusion.class_shares(crowd, known), (estimate.model, estimate.leaning)
    rng, total = np.random.default_rng(0), np.zeros((rows, GRID))
    replicates = int(np.clip(LABELS // max(len(crowd), 1), 1, REPLICATES))
    for _ in range(replicates):
        weight = None
        if replicates > 1:
            weight = np.bincount(rng.integers(0, crowd.n_items, crowd.n_items), minlength=crowd.n_items).astype(np.float64)
        fit = fusion.fitted(crowd, model, shares, known, several, start=estimate.people, weight=weight, rounds=10)
        q = fusion.support(crowd, fit)[judged]
        q[told >= 0] = (told == crowd.label[judged])[told >= 0]
        if said is not None:
            q = np.concatenate([q, fit.posterior[witnessed, said[witnessed]]])
        values = likelihoods(people, q, rows, crowd.n_classes)
        total += rows_to_one(np.exp(values - values.max(axis=1, keepdims=True)))
    mass, grid = np.cumsum(total / replicates, axis=1), accuracy_grid(GRID)
    lower, upper = mass @ _moved(*misled), mass
    if said is not None:
        upper = np.vstack([mass[:-1], mass[-1] @ _moved(-misled[0], -misled[1])])
    places = [np.minimum((part < end).sum(axis=1), GRID - 1) for part, end in ((lower, 0.025), (upper, 0.975))]
    result = np.column_stack([(total / replicates) @ grid, *(grid[place] for place in places)])
    result[: crowd.n_annotators][np.bincount(who, minlength=crowd.n_annotators) == 0] = np.nan
    return result


def _moved(first: float, last: float) -> np.ndarray:
    """``[GRID, GRID]`` a matrix that turns the distribution function of ``a`` into that of ``a - h``, where ``h`` lies anywhere
    between two values with equal probability; both are given at the accuracies of the grid."""
    grid, shares = accuracy_grid(GRID), np.linspace(first, last, SHARES)
    place = np.interp(grid[:, None] + shares, grid, np.arange(GRID))
    left = np.minimum(place.astype(np.int64), GRID - 2)
    matrix, columns = np.zeros((GRID, GRID)), np.repeat(np.arange(GRID)[:, None], SHARES, axis=1)
    np.add.at(matrix, (left, columns), (1 - (place - left)) / SHARES)
    np.add.at(matrix, (left + 1, columns), (place - left) / SHARES)
    return matrix


def likelihoods(annotator: np.ndarray, q: np.ndarray, n_annotators: int, n_classes: int) -> np.ndarray:
    """``[annotators, GRID]`` log-likelihood of each accuracy, given ``q`` of each label.

    Each ``q`` is split between the two nearest bins, so that the work is one small matrix product.
    """
    place = np.clip(q, 0, 1) * BINS
    left = np.minimum(place.astype(np.int64), BINS - 1)
    share = place - left
    width = BINS + 1
    counts = np.bincount(annotator * width + left, weights=1 - share, minlength=n_annotators * width)
    counts += np.bincount(annotator * width + left + 1, weights=share, minlength=n_annotators * width)
    support, grid = np.linspace(0, 1, width)[:, None], accuracy_grid(GRID)
    return counts.reshape(n_annotators, width) @ np.log(grid * support + (1 - grid) * (1 - support) / (n_classes - 1))


def accuracy_grid(size: int) -> np.ndarray:
    """``[size]`` accuracies at equal steps of ``u``, ``a = sin²(u pi / 2)``, where Jeffreys' prior is flat; finest near 0
    and 1."""
    return np.sin(np.pi / 2 * (np.arange(size) + 0.5) / size) ** 2
