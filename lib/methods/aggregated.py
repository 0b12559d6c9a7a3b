"""Aggregate first, train afterwards: the plain baselines, and the true labels as the upper bound.

Each fixes one target for every item before training: the true class, the majority vote (hard or soft) or the most likely
class of a model of the annotators (Dawid & Skene 1979; GLAD, Whitehill et al. 2009; MACE, Hovy et al. 2013). Training is
then ordinary cross-entropy. True labels, vote and Dawid-Skene stand in every paper as DL-TRUE, DL-MV and DL-DS.

One of them is a robust learner without annotators, the control for what KD-Crowd gains beyond it: the majority vote with
early-learning regularization (Liu, Niles-Weed, Razavian & Fernandez-Granda, NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib.aggregation.dawid_skene import dawid_skene, majority_vote, soft_vote
from lib.aggregation.glad import glad
from lib.aggregation.mace import mace
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.crowd import soft_cross_entropy
from lib.losses.early_learning import EarlyLearning
from lib.methods.base import Method, check_trainable
from lib.networks import Backbone

ELR_WEIGHT = 1.0  # of the penalty: on CIFAR-10 the paper has 1 with asymmetric noise, 3 with symmetric noise


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
    """Trained on the most frequent label of each item; ties go to the lowest class, as in the published LabelMe figure."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd, one_hot(majority_vote(crowd), crowd.n_classes))


class SoftMajorityVote(Aggregated):
    """Trained on the label frequencies of each item."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd, soft_vote(crowd))


class MajorityVoteELR(MajorityVote):
    """Cross-entropy against the majority vote plus :data:`ELR_WEIGHT` times the penalty of
    :mod:`lib.losses.early_learning`, mean over items."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd)
        self.early = EarlyLearning(crowd.n_items, crowd.n_classes)

    def loss(self, batch: Batch) -> Tensor:
        logits = self.backbone(batch.x)
        loss = soft_cross_entropy(logits, self.target[batch.items])
        return loss + ELR_WEIGHT * self.early(torch.softmax(logits, dim=1), batch.items)


class MostLikely(Aggregated):
    """Trained on the most likely class of each item under a model of the annotators.

    Args:
        posterior: ``[items, classes]``.
        confusion: ``[annotators, true class, label]``; None where the model has no such matrices.
    """

    def __init__(
        self,
        backbone: Callable[[], Backbone],
        crowd: CrowdLabels,
        posterior: np.ndarray,
        confusion: np.ndarray | None = None,
    ) -> None:
        super().__init__(backbone, crowd, one_hot(posterior.argmax(axis=1), crowd.n_classes))
        matrices = None if confusion is None else torch.as_tensor(confusion, dtype=torch.float32)
        self.register_buffer("_confusion", matrices)

    def confusion(self) -> Tensor | None:
        return self._confusion


class DawidSkene(MostLikely):
    """Dawid & Skene's model: a confusion matrix for each annotator."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels) -> None:
        fitted = dawid_skene(crowd)
        super().__init__(backbone, crowd, fitted.posterior, fitted.confusion)


class GLAD(MostLikely):
    """GLAD: abilities of annotators, difficulties of items."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd, glad(crowd).posterior)


class MACE(MostLikely):
    """MACE: annotators know the class, or spam."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels) -> None:
        check_trainable(crowd)  # the model has no matrices, what a method reports of its annotators has
        fitted = mace(crowd, seed=0)
        super().__init__(backbone, crowd, fitted.posterior, fitted.confusion)
