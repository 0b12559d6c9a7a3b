"""Aggregate first, train afterwards: the plain baselines, and the true labels as the upper bound.

Each fixes one target for every item before training: the true class, the majority vote (hard or soft) or the most likely
class of Dawid & Skene (1979). Training is then ordinary cross-entropy. The first three stand in every paper as DL-TRUE,
DL-MV and DL-DS.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib.aggregation.dawid_skene import dawid_skene, majority_vote, soft_vote
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.crowd import soft_cross_entropy
from lib.methods.base import Method
from lib.networks import Backbone


class Aggregated(Method):
    """Cross-entropy against a fixed target for each item.

    Args:
        target: ``[items, classes]`` weights; rows of unlabeled items are never looked at.
    """

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels, target: np.ndarray) -> None:
        super().__init__(backbone, crowd)
        self.register_buffer("target", torch.as_tensor(target, dtype=torch.float32))

    def loss(self, batch: Batch) -> Tensor:
        """Mean over items, in nats."""
        return soft_cross_entropy(self.backbone(batch.x), self.target[batch.items])

    def posterior(self) -> Tensor:
        return self.target


def one_hot(label: np.ndarray, n_classes: int) -> np.ndarray:
    """``[items, classes]`` of ``[items]`` classes."""
    # Unlabeled items carry -1; any row will do for them, since training skips them.
    return np.eye(n_classes)[np.maximum(label, 0)]


class TrueLabels(Aggregated):
    """Trained on the truth of the labeled items: what no crowd method can be expected to pass.

    Raises:
        ValueError: no truth was given, or it does not fit the items or classes.
    """

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels, truth: Tensor | None = None) -> None:
        if truth is None or len(truth) != crowd.n_items:
            found = "none" if truth is None else f"{len(truth)}"
            raise ValueError(f"true-labels needs the true class of each of the {crowd.n_items} items, found {found}")
        truth = np.asarray(truth)
        if truth.size and not 0 <= truth.min() <= truth.max() < crowd.n_classes:
            raise ValueError(f"true classes must lie in 0 .. {crowd.n_classes - 1}, found {truth.min()} .. {truth.max()}")
        super().__init__(backbone, crowd, one_hot(truth, crowd.n_classes))


class MajorityVote(Aggregated):
    """Trained on the most frequent label of each item.

    Args:
        ties: ``lowest`` class index (reproduces the published LabelMe figure) or seeded ``random``.
    """

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels, ties: str = "lowest", seed: int = 0) -> None:
        label = majority_vote(crowd, ties=ties, seed=seed)
        super().__init__(backbone, crowd, one_hot(label, crowd.n_classes))


class SoftMajorityVote(Aggregated):
    """Trained on the label frequencies of each item."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd, soft_vote(crowd))


class DawidSkene(Aggregated):
    """Trained on the most likely class of each item under Dawid & Skene's model (``soft``: on the posterior)."""

    def __init__(
        self, backbone: Callable[[], Backbone], crowd: CrowdLabels, smoothing: float = 0.01, soft: bool = False
    ) -> None:
        fitted = dawid_skene(crowd, smoothing=smoothing)
        hard = one_hot(fitted.posterior.argmax(axis=1), crowd.n_classes)
        super().__init__(backbone, crowd, fitted.posterior if soft else hard)
        self.register_buffer("_confusion", torch.as_tensor(fitted.confusion, dtype=torch.float32))

    def confusion(self) -> Tensor:
        return self._confusion
