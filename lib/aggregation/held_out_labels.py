"""Choosing by labels that were held out: an epoch and a temperature, without a single true class.

Predictions ``p`` of the training items are good if they explain labels that nobody trained on: the score is the mean of
``log sum_j p[i, j] A[r, j, k]`` over hidden labels. The confusion matrices are those under which ``p`` explains the visible
labels best. They start at counts, as if ``p`` were the truth,

    A[r, j, k] = (sum of p[i, j] over r's items with label k  +  s m[j, k]) / (sum of p[i, j] over r's items  +  s),

with ``m`` the same average over all annotators. Some rounds of EM then put ``p[i, j] A[r, j, k]``, normalized over ``j``, in
the place of ``p[i, j]``. Without them doubt in ``p`` would count twice, and the score would favor overconfident predictions.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import softmax

from lib.aggregation.confusion import of_shape
from lib.aggregation.em_steps import FLOOR
from lib.crowd.labels import CrowdLabels

TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
STRENGTH = 5.0
ROUNDS = 10


def spare(crowd: CrowdLabels, order: np.ndarray) -> np.ndarray:
    """``[labels]`` mask: all but the label of each item that comes first in this order of the labels."""
    mask = np.ones(len(crowd), dtype=bool)
    mask[order[np.unique(crowd.item[order], return_index=True)[1]]] = False
    return mask


def hide(crowd: CrowdLabels, share: float, generator: np.random.Generator) -> tuple[CrowdLabels, CrowdLabels]:
    """Split the labels at random into visible ones and a share of hidden ones; items and annotators stay.

    An item keeps one visible label as long as there are other labels to hide. Only where most items have a single one
    do some of them lose it. Raises ValueError for a share that is not at least 0 and below 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of labels to hide must be at least 0 and below 1, found {share}")
    order = generator.permutation(len(crowd))
    first = spare(crowd, order)[order]
    keep = np.ones(len(crowd), dtype=bool)
    keep[np.concatenate([order[first], order[~first]])[: round(share * len(crowd))]] = False
    return crowd.select_labels(keep), crowd.select_labels(~keep)


def soften(prob: np.ndarray, temperature: float) -> np.ndarray:
    """``p ** (1 / temperature)`` of rows ``[items, classes]``, normalized: what dividing the logits by the temperature does.

    A temperature above 1 softens, one below sharpens; ValueError where it is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, found {temperature}")
    prob = np.asarray(prob, dtype=np.float64)
    return softmax(np.log(np.maximum(prob, np.finfo(np.float32).tiny)) / temperature, axis=1)


def fit_confusion(prob: np.ndarray, crowd: CrowdLabels, strength: float = STRENGTH, rounds: int = ROUNDS) -> np.ndarray:
    """Confusion matrices ``[annotators, true class, label]`` with which predictions ``[items, classes]`` explain the labels.

    Shrunk towards those of the whole crowd, which count for ``strength`` (above 0) labels of each class and stand alone for an
    annotator without labels. ``rounds`` of EM follow the counting; with 0, labels are counted as if ``prob`` were the truth.
    """
    if not strength > 0:
        raise ValueError(f"strength must be above 0, found {strength}")
    prob = np.ascontiguousarray(of_shape("prob", prob, (crowd.n_items, crowd.n_classes)))
    belief = prob[crowd.item]  # [labels, classes], of the true class that a label was given for
    cell = crowd.annotator * crowd.n_classes + crowd.label
    cells = (crowd.n_annotators * crowd.n_classes, len(crowd))
    by_cell = sparse.csr_array((np.ones(len(crowd)), (cell, np.arange(len(crowd)))), shape=cells)
    ones = np.ones(crowd.n_classes)
    table = _average(by_cell @ belief, crowd, strength)
    for _ in range(rounds):
        share = np.take(table, cell, axis=0)
        share *= belief
        share /= (share @ ones)[:, None]  # for so short an axis much faster than sum()
        table = _average(by_cell @ share, crowd, strength)
    return np.ascontiguousarray(table.reshape(crowd.n_annotators, crowd.n_classes, crowd.n_classes).transpose(0, 2, 1))


def _average(counts: np.ndarray, crowd: CrowdLabels, strength: float) -> np.ndarray:
    """Probabilities of a label given the class, from expected counts; both ``[annotators * labels, true class]``, a layout in
    which the entries that a label needs lie side by side."""
    counts = counts.reshape(crowd.n_annotators, crowd.n_classes, crowd.n_classes)
    # The floor decides only for a class that no prediction gives any weight.
    pooled = np.maximum(counts.sum(axis=0), FLOOR)
    counts = counts + strength * (pooled / pooled.sum(axis=0))
    return (counts / counts.sum(axis=1, keepdims=True)).reshape(-1, crowd.n_classes)


def score(prob: np.ndarray, visible: CrowdLabels, hidden: CrowdLabels) -> float:
    """Mean log-probability, in nats, of the hidden labels (of :func:`hide`) under predictions ``[items, classes]`` and matrices
    fitted to the visible ones. Raises ValueError where nothing is hidden.
    """
    if len(hidden) == 0:
        raise ValueError("a score by held-out labels needs at least one, found none")
    confusion = fit_confusion(prob, visible)
    expected = (np.asarray(prob)[hidden.item] * confusion[hidden.annotator, :, hidden.label]).sum(axis=1)
    return float(np.log(np.maximum(expected, np.finfo(np.float64).tiny)).mean())


@dataclass(frozen=True, eq=False)
class Chosen:
    """Predictions of the training items, as chosen.

    Attributes:
        prob: ``[items, classes]`` float64, at ``temperature``.
        temperature: that they were softened by.
        epoch: after which they were made, from 0.
        score: by the held-out labels; NaN where there were none.
    """

    prob: np.ndarray
    temperature: float
    epoch: int
    score: float


@dataclass
class Choice:
    """Keeps the best of several offers: each epoch's predictions, at each temperature, by the labels of :func:`hide`.

    Without hidden labels the newest offer is kept, at the first temperature. ``best`` is None before the first offer.
    """

    visible: CrowdLabels
    hidden: CrowdLabels
    best: Chosen | None = None

    def offer(self, epoch: int, prob: np.ndarray) -> None:
        """Consider ``[items, classes]`` predictions made after an epoch; of equals the earlier stays."""
        if len(self.hidden) == 0:
            self.best = Chosen(soften(prob, TEMPERATURES[0]), TEMPERATURES[0], epoch, float("nan"))
            return
        for temperature in TEMPERATURES:
            softened = soften(prob, temperature)
            value = score(softened, self.visible, self.hidden)
            if self.best is None or value > self.best.score:
                self.best = Chosen(softened, temperature, epoch, value)
