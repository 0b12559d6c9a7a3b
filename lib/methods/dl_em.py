"""DL-EM (Rodrigues & Pereira, AAAI 2018; the same idea as AggNet, Albarqouni et al. 2016).

Dawid & Skene's EM with the network's output in place of the class prior, one epoch of training per round:

    E-step   mu[i, j]  proportional to  p(j | x_i)  prod over i's labels of A[r, j, k]
    M-step   A[r, j, k] proportional to  smoothing + sum over r's labels k of mu[i, j];  train p on the targets mu

starting from the hard majority vote.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lib.aggregation.confusion import expected_counts
from lib.aggregation.dawid_skene import majority_vote
from lib.aggregation.em_steps import e_step, m_step
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.crowd import soft_cross_entropy
from lib.methods.base import Method, check_trainable
from lib.networks import Backbone
from lib.registry import choice

if TYPE_CHECKING:
    from lib.datasets.batches import TrainingData

VARIANTS = ("paper", "released")


class DLEM(Method):
    """EM over the items' classes and the annotators' matrices around a network.

    Args:
        variant: ``paper``, or ``released``, which keeps what the authors' class does: posteriors that are not normalized
            (so an item's weight is the evidence of its labels), matrices from the network's predictions alone, and a
            constant of one added to the counts but not to their total.

    Raises:
        ValueError: another variant.
    """

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels, variant: str = "paper") -> None:
        super().__init__(backbone, crowd)
        self.variant = choice("variant", variant, VARIANTS)
        check_trainable(crowd)
        vote = np.eye(crowd.n_classes)[np.maximum(majority_vote(crowd), 0)]
        self.register_buffer("target", torch.as_tensor(vote, dtype=torch.float32))
        uniform = torch.full((crowd.n_annotators, crowd.n_classes, crowd.n_classes), 1 / crowd.n_classes)
        self.register_buffer("_confusion", uniform)

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        if self.variant == "paper":
            self._em_round(epoch, data)
        elif epoch > 0:
            self._released_round(data)

    def _em_round(self, epoch: int, data: TrainingData) -> None:
        target = self.target.double().cpu().numpy()
        if epoch > 0:
            log_prob = data.predict(lambda x: torch.log_softmax(self.backbone(x), dim=1), self)
            confusion = self._confusion.double().cpu().numpy()
            target, _ = e_step(log_prob.double().cpu().numpy(), confusion, data.crowd)
            self.target.copy_(torch.as_tensor(target))
        self._confusion.copy_(torch.as_tensor(m_step(target, data.crowd)))

    def _released_round(self, data: TrainingData) -> None:
        prob = data.predict(self.predict_proba, self).double().cpu().numpy()
        counts = expected_counts(prob, data.crowd)
        # The released code divides by zero for an annotator without labels; one keeps such a matrix out of every product.
        total = counts.sum(axis=2, keepdims=True)
        confusion = (1 + counts) / np.where(total > 0, total, 1)
        evidence = np.exp(data.crowd.incidence @ np.log(confusion).transpose(0, 2, 1).reshape(-1, self.n_classes))
        self.target.copy_(torch.as_tensor(prob * evidence))
        self._confusion.copy_(torch.as_tensor(confusion))

    def loss(self, batch: Batch) -> Tensor:
        """Mean over items, in nats."""
        return soft_cross_entropy(self.backbone(batch.x), self.target[batch.items])

    def confusion(self) -> Tensor:
        return self._confusion / self._confusion.sum(dim=2, keepdim=True)

    def posterior(self) -> Tensor:
        return self.target / self.target.sum(dim=1, keepdim=True)
