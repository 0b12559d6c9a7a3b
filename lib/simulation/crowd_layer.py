"""The five annotators of Rodrigues & Pereira's Dogs vs. Cats experiment (AAAI 2018): two classes, everybody labels everything.

The nominal values are read off the released notebook, whose stored empirical ones (0.70528, 0.59088, ...) they round to; with
them the majority vote is right with probability 0.84175, and the notebook's is right on 0.84224 of the images.
"""

from collections.abc import Sequence

import numpy as np

from lib.crowd.labels import CrowdLabels
from lib.simulation import SimulatedCrowd, drawing, register

SENSITIVITY = (0.7, 0.8, 0.5, 0.2, 0.9)  # P(says 1 | class 1)
SPECIFICITY = (0.6, 0.9, 0.5, 0.9, 0.9)  # P(says 0 | class 0)


@register("crowd-layer-five", title="Five annotators")
def five_annotators(
    y: np.ndarray,
    n_classes: int,
    seed: int,
    sensitivity: Sequence[float] = SENSITIVITY,
    specificity: Sequence[float] = SPECIFICITY,
) -> SimulatedCrowd:
    """Annotators who label every item, independently: items of class 1 as 1 with probability ``sensitivity`` ``[annotators]``,
    those of class 0 as 0 with ``specificity`` ``[annotators]``.

    Raises:
        ValueError: other than two classes, a probability outside 0 .. 1, or two lists of different lengths.
    """
    if n_classes != 2:
        raise ValueError(f"sensitivity and specificity are of two classes, found {n_classes}")
    if len(sensitivity) != len(specificity) or not len(sensitivity):
        found = f"{len(sensitivity)} and {len(specificity)}"
        raise ValueError(f"each annotator needs a sensitivity and a specificity, found {found}")
    right = np.stack([specificity, sensitivity], axis=1).astype(np.float64)  # [annotators, true class]
    if not ((right >= 0) & (right <= 1)).all():
        raise ValueError(f"sensitivity and specificity must lie between 0 and 1, found {right.min()} .. {right.max()}")
    confusion = np.where(np.eye(2, dtype=bool), right[:, :, None], 1 - right[:, :, None])
    item, annotator = np.divmod(np.arange(len(y) * len(right)), len(right))
    label = drawing.draw(y, confusion, item, annotator, rng=seed)
    return SimulatedCrowd(CrowdLabels(item, annotator, label, len(y), len(right), 2), confusion)
