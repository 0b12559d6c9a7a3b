"""Crowd Layer (Rodrigues & Pereira, "Deep Learning from Crowds", AAAI 2018).

A cheap map for each annotator sits on the network's softmax output; network and maps are trained together by
backpropagation on all labels, and the maps are thrown away at test time. With ``p`` the class probabilities of an item,
annotator ``r``'s logits are

    MW    a[k] = sum_j p[j] T[r, j, k]     a full matrix, started at the identity
    VW    a[k] = w[r, k] p[k]              a weight for each class, started at one
    VW+B  a[k] = w[r, k] p[k] + b[r, k]    and a bias, started at zero

and the label's distribution is ``softmax(a)``: linear in probabilities, otherwise unconstrained. A constant added to a
row of ``T`` changes nothing, so only differences inside a row mean anything.
"""

import torch
from torch import Tensor, nn

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch, TrainingData
from lib.losses.crowd import crowd_layer_logits, label_cross_entropy
from lib.methods.aggregated import MajorityVote
from lib.methods.base import Fitting, MakeBackbone, Method, matrices
from lib.registry import choice

VARIANTS = ("MW", "VW", "VW+B")


class CrowdLayer(Method):
    """Cross-entropy of the annotators' softmax, mean over labels.

    Args:
        variant: ``MW``, ``VW`` or ``VW+B``.
        pretrain: epochs that the network is first trained for on the majority vote, without the annotators' maps, as the
            authors do for named entities, where the start at the identity alone is slow to leave the most frequent class.
    """

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels, variant: str = "MW", pretrain: int = 0) -> None:
        super().__init__(backbone, crowd)
        self.variant, self.pretrain = choice("variant", variant, VARIANTS), pretrain
        sizes = (crowd.n_annotators, crowd.n_classes)
        self.weight = nn.Parameter(matrices(crowd, on=1.0) if variant == "MW" else torch.ones(sizes))
        if variant == "VW+B":
            self.bias = nn.Parameter(torch.zeros(sizes))

    def annotator_logits(self, class_prob: Tensor, position: Tensor, annotator: Tensor) -> Tensor:
        """``[labels, classes]`` from ``[batch, classes]`` class probabilities, for the given labels only."""
        if self.variant == "MW":
            return crowd_layer_logits(class_prob, self.weight, position, annotator)
        logits = class_prob[position] * self.weight[annotator]
        return logits + self.bias[annotator] if self.variant == "VW+B" else logits

    def prepare(self, data: TrainingData, fit: Fitting) -> None:
        if self.pretrain:
            fit(MajorityVote(lambda: self.backbone, data.crowd), epochs=self.pretrain)

    def set_confusion(self, confusion: Tensor) -> None:
        """``T = log A`` in the variant MW; the others cannot hold any matrix."""
        if self.variant == "MW":
            with torch.no_grad():
                self.weight.copy_(confusion.log())

    def loss(self, batch: Batch) -> Tensor:
        class_prob = torch.softmax(self.backbone(batch.x), dim=1)
        logits = self.annotator_logits(class_prob, batch.position, batch.annotator)
        return label_cross_entropy(logits, batch.label)

    def confusion(self) -> Tensor:
        """What each annotator would say of an item whose class is certain: ``softmax`` of the logits at a one-hot ``p``."""
        logits = self.weight if self.variant == "MW" else torch.diag_embed(self.weight)
        if self.variant == "VW+B":
            logits = logits + self.bias.unsqueeze(1)
        return torch.softmax(logits, dim=2).detach()
