"""DL-EM (Rodrigues & Pereira, AAAI 2018; the same idea as AggNet, Albarqouni et al. 2016).

Dawid & Skene's EM with the network's output in place of the class prior, one epoch of training per round:

    E-step   mu[i, j]  proportional to  p(j | x_i)  prod over i's labels of A[r, j, k]
    M-step   A[r, j, k] proportional to  smoothing + sum over r's labels k of mu[i, j];  train p on the targets mu

starting from the hard majority vote.
"""

import numpy as np
import torch
from torch import Tensor

from lib.aggregation.confusion import expected_counts
from lib.aggregation.em_steps import e_step, m_step
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import TrainingData
from lib.methods.aggregated import MajorityVote
from lib.methods.base import MakeBackbone, check_trainable
from lib.networks.predict import as_numpy
from lib.registry import choice

VARIANTS = ("paper", "released")


class DLEM(MajorityVote):
    """EM over the items' classes and the annotators' matrices around a network.

    Args:
        variant: ``paper``, or ``released``, which keeps what the authors' class does: posteriors that are not normalized
            (so an item's weight is the evidence of its labels), matrices from the network's predictions alone, and a
            constant of one added to the counts but not to their total.
    """

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels, variant: str = "paper") -> None:
        super().__init__(backbone, crowd)
        self.variant = choice("variant", variant, VARIANTS)
        check_trainable(crowd)
        self._confusion = torch.full((crowd.n_annotators, crowd.n_classes, crowd.n_classes), 1 / crowd.n_classes)

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        if self.variant == "paper":
            self._em_round(epoch, data)
        elif epoch > 0:
            self._released_round(data)

    def _em_round(self, epoch: int, data: TrainingData) -> None:
        target = self.target.cpu().double().numpy()
        if epoch > 0:
            log_prob = as_numpy(lambda x: torch.log_softmax(self.backbone(x), dim=1), data.x, self)
            target, _ = e_step(log_prob, self._confusion.cpu().double().numpy(), data.crowd)
            self.target.copy_(torch.as_tensor(target))
        self._confusion.copy_(torch.as_tensor(m_step(target, data.crowd)))

    def _released_round(self, data: TrainingData) -> None:
        prob = as_numpy(self.predict_proba, data.x, self)
        counts = expected_counts(prob, data.crowd)
        # The released code divides by zero for an annotator without labels; one keeps such a matrix out of every product.
        total = counts.sum(axis=2, keepdims=True)
        confusion = (1 + counts) / np.where(total > 0, total, 1)
        evidence = np.exp(data.crowd.incidence @ np.log(confusion).transpose(0, 2, 1).reshape(-1, self.n_classes))
        self.target.copy_(torch.as_tensor(prob * evidence))
        self._confusion.copy_(torch.as_tensor(confusion))

    def confusion(self) -> Tensor:
        return self._confusion / self._confusion.sum(dim=2, keepdim=True)

    def posterior(self) -> Tensor:
        return self.target / self.target.sum(dim=1, keepdim=True)
