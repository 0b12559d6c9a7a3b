"""Early-learning regularization on the majority vote: a robust learner without annotators, the control for what KD-Crowd
gains beyond it (Liu, Niles-Weed, Razavian & Fernandez-Granda, NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.crowd import soft_cross_entropy
from lib.losses.early_learning import EarlyLearning
from lib.methods.aggregated import MajorityVote
from lib.networks import Backbone


class MajorityVoteELR(MajorityVote):
    """Cross-entropy against the majority vote plus ``weight`` times the penalty of :mod:`lib.losses.early_learning`, mean over
    items.

    Args:
        weight: of the penalty; 3 on CIFAR-10 with symmetric noise in the paper, 1 with asymmetric noise.
        momentum: of the running means.
        ties, seed: as of :class:`lib.methods.aggregated.MajorityVote`.

    Raises:
        ValueError: a negative weight, a momentum outside 0 .. 1 (1 excluded), or another rule for ties.
    """

    def __init__(
        self,
        backbone: Callable[[], Backbone],
        crowd: CrowdLabels,
        weight: float = 1.0,
        momentum: float = 0.7,
        ties: str = "lowest",
        seed: int = 0,
    ) -> None:
        super().__init__(backbone, crowd, ties=ties, seed=seed)
        if not weight >= 0:
            raise ValueError(f"weight must not be negative, found {weight}")
        self.weight = weight
        self.early = EarlyLearning(crowd.n_items, crowd.n_classes, momentum)

    def loss(self, batch: Batch) -> Tensor:
        logits = self.backbone(batch.x)
        loss = soft_cross_entropy(logits, self.target[batch.items])
        return loss + self.weight * self.early(torch.softmax(logits, dim=1), batch.items)
