"""Aggregate first, train afterwards: the plain baselines, and the true labels as the upper bound.

Each fixes one target for every item before training: the true class, the majority vote (hard or soft) or the most likely
class of a model of the annotators (Dawid & Skene 1979; GLAD, Whitehill et al. 2009; MACE, Hovy et al. 2013). True labels,
vote and Dawid-Skene stand in every paper as DL-TRUE, DL-MV and DL-DS. The majority vote with early-learning regularization
(Liu, Niles-Weed, Razavian & Fernandez-Granda, NeurIPS 2020) is the control for what KD-Crowd gains beyond a robust learner.
"""

import contextlib

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
from lib.methods.base import MakeBackbone, Method, check_trainable

ELR_WEIGHT = 1.0  # of the penalty: on CIFAR-10 the paper has 1 with asymmetric noise, 3 with symmetric noise


class Aggregated(Method):
    """Cross-entropy against a fixed target for each item, mean over items.

    Args:
        target: ``[items, classes]`` weights, or ``[items]`` classes; those of unlabeled items are never looked at.
        confusion: ``[annotators, true class, label]``, where the target comes from such matrices.
    """

    def __init__(
        self, backbone: MakeBackbone, crowd: CrowdLabels, target: np.ndarray, confusion: np.ndarray | None = None
    ) -> None:
        super().__init__(backbone, crowd)
        if target.ndim == 1:
            target = np.eye(crowd.n_classes)[np.maximum(target, 0)]  # a vote is -1 where there is no label
        self.register_buffer("target", torch.as_tensor(target, dtype=torch.float32))
        matrices = None if confusion is None else torch.as_tensor(confusion, dtype=torch.float32)
        self.register_buffer("_confusion", matrices)

    def loss(self, batch: Batch) -> Tensor:
        return soft_cross_entropy(self.backbone(batch.x), self.target[batch.items])

    def posterior(self) -> Tensor:
        return self.target

    def confusion(self) -> Tensor | None:
        return self._confusion


class TrueLabels(Aggregated):
    """Trained on the truth ``[items]`` of the labeled items: what no crowd method can be expected to surpass."""

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels, truth: Tensor) -> None:
        truth = np.asarray(truth)
        if truth.size and not 0 <= truth.min() <= truth.max() < crowd.n_classes:
            raise ValueError(f"true classes must lie in 0 .. {crowd.n_classes - 1}, found {truth.min()} .. {truth.max()}")
        super().__init__(backbone, crowd, truth)


class MajorityVote(Aggregated):
    """Trained on the most frequent label of each item; ties go to the lowest class, as in the published LabelMe figure."""

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd, majority_vote(crowd))


class SoftMajorityVote(Aggregated):
    """Trained on the label frequencies of each item."""

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd, soft_vote(crowd))


class MajorityVoteELR(MajorityVote):
    """Cross-entropy against the majority vote plus :data:`ELR_WEIGHT` times the penalty of
    :mod:`lib.losses.early_learning`, mean over items."""

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd)
        self.early = EarlyLearning(crowd.n_items, crowd.n_classes)

    def loss(self, batch: Batch) -> Tensor:
        logits = self.backbone(batch.x)
        loss = soft_cross_entropy(logits, self.target[batch.items])
        return loss + ELR_WEIGHT * self.early(torch.softmax(logits, dim=1), batch.items)


class DawidSkene(Aggregated):
    """Trained on the most likely class of each item under Dawid & Skene's model: a confusion matrix for each annotator."""

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        fitted = dawid_skene(crowd)
        super().__init__(backbone, crowd, fitted.posterior.argmax(axis=1), fitted.confusion)


class GLAD(Aggregated):
    """Trained on the most likely class of each item under GLAD: abilities of annotators, difficulties of items."""

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd, glad(crowd).posterior.argmax(axis=1))


class MACE(Aggregated):
    """Trained on the most likely class of each item under MACE: annotators know the class, or spam. The model needs no
    matrices; they are told where this machine can hold them."""

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        fitted, confusion = mace(crowd, seed=0), None
        with contextlib.suppress(MemoryError):
            check_trainable(crowd)
            confusion = fitted.confusion
        super().__init__(backbone, crowd, fitted.posterior.argmax(axis=1), confusion)
