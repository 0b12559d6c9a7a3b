"""CCEM and GeoCrowdNet (Ibrahim, Nguyen & Fu, ICLR 2023).

Coupled cross-entropy: a classifier ``p`` and row-stochastic confusion matrices ``A`` explain each label together,

    q(k | x, r) = sum_j p(j | x) A[r, j, k],        loss = - mean log q  (+ weight * volume penalty).

Alone (CCEM, their Eq. 6) it identifies both only where some annotator is nearly perfect at each class *and* some items
are nearly certain. GeoCrowdNet(F) adds ``-log det`` of the classifier's Gram matrix on the batch (Eq. 8), which makes
predictions spread over the simplex; GeoCrowdNet(W) adds ``-log det`` of the annotators' (Eq. 9). The paper's ``A_m`` is the
transpose of ``A[m]``.
"""

import torch
from torch import Tensor, nn

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.crowd import annotator_volume, classifier_volume, coupled_cross_entropy, log_rows
from lib.methods.base import MakeBackbone, Method, matrices
from lib.registry import choice, within

PENALTIES = ("none", "F", "W")
STARTS = {"identity": (1.0, 0.0), "6I-5": (1.0, -5.0)}  # logits on and off the diagonal


class GeoCrowdNet(Method):
    """Coupled cross-entropy with an optional volume penalty.

    Args:
        penalty: ``none`` (CCEM), ``F`` (classifier) or ``W`` (annotators).
        weight: of the penalty, the paper's lambda.
        start: ``identity`` logits as released (a nearly flat ``A``: diagonal 0.23 at 10 classes), or ``6I-5``.
    """

    def __init__(
        self, backbone: MakeBackbone, crowd: CrowdLabels, penalty: str = "none", weight: float = 0.01, start: str = "identity"
    ) -> None:
        super().__init__(backbone, crowd)
        within("weight", weight, 0)
        self.penalty, self.weight = choice("penalty", penalty, PENALTIES), weight
        on, off = STARTS[choice("start", start, STARTS)]
        self.confusion_logits = nn.Parameter(matrices(crowd, on, off))

    def loss(self, batch: Batch) -> Tensor:
        class_logits = self.backbone(batch.x)
        if self.penalty == "W":
            log_confusion, row = log_rows(self.confusion_logits), batch.annotator
        else:  # only those who labeled something in the batch
            seen, row = torch.unique(batch.annotator, return_inverse=True)
            log_confusion = log_rows(self.confusion_logits.index_select(0, seen))
        loss = coupled_cross_entropy(class_logits, log_confusion, batch.position, row, batch.label)
        if self.penalty == "W":
            return loss + self.weight * annotator_volume(log_confusion.exp())
        # A batch with fewer items than classes (the last of an epoch) has no volume whatever the predictions.
        if self.penalty == "F" and len(class_logits) >= self.n_classes:
            return loss + self.weight * classifier_volume(torch.softmax(class_logits, dim=1))
        return loss
