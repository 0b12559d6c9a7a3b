"""DoctorNet and Weighted DoctorNet (Guan, Gulshan, Dai & Hinton, "Who said what: modeling individual labelers improves
classification", AAAI 2018).

Each annotator has a softmax head of its own on shared features, ``P[r] = softmax(U[r] features + c[r])``, trained on that
annotator's labels alone. An item's class is predicted by the mean of all heads, or, in Weighted DoctorNet, by a mean whose
weights ``softmax(omega)`` are learned afterwards, with everything else frozen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.aggregation.dawid_skene import soft_vote
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch, TrainingData
from lib.losses.crowd import label_cross_entropy
from lib.methods.base import Fitting, MakeBackbone, Method

BLOCK = 2**22  # numbers held at once while heads are averaged


class DoctorNet(Method):
    """Cross-entropy of each label under its annotator's head, mean over labels; the mean of the heads predicts.

    Heads start Glorot-uniform with zero bias, as in the LabelMe notebook of Rodrigues & Pereira (2018), and see only the
    labels that were given; all are averaged, as in the paper, also one without labels. (That notebook takes the softmax of
    the heads' softmax in the loss, by mistake.) The backbone's own head has no part in it and does not learn.
    """

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd)
        self.backbone.head.requires_grad_(False)
        width = self.backbone.n_features
        bound = math.sqrt(6 / (width + crowd.n_classes))
        shape = (crowd.n_annotators, crowd.n_classes, width)
        self.head_weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.head_bias = nn.Parameter(torch.zeros(crowd.n_annotators, crowd.n_classes))

    def mixture(self, features: Tensor, weight: Tensor) -> Tensor:
        """``[batch, classes]`` sum of all heads' probabilities, each times its entry of ``weight`` ``[annotators]``."""
        # Some annotators at a time: the table of all heads, [batch, annotators, classes], may not fit.
        size = max(1, BLOCK // (len(features) * self.n_classes))
        total = features.new_zeros(len(features), self.n_classes)
        for first in range(0, self.n_annotators, size):
            part = slice(first, first + size)
            logits = F.linear(features, self.head_weight[part].flatten(0, 1), self.head_bias[part].flatten())
            prob = torch.softmax(logits.unflatten(1, (-1, self.n_classes)), dim=2)
            total = total + torch.einsum("r,brk->bk", weight[part], prob)
        return total

    def loss(self, batch: Batch) -> Tensor:
        features = self.backbone.features(batch.x).index_select(0, batch.position)
        # `index_select` and not brackets: the gradient of the heads is then added up row by row, in half the time.
        weight = self.head_weight.index_select(0, batch.annotator)
        logits = torch.bmm(weight, features.unsqueeze(2)).squeeze(2) + self.head_bias[batch.annotator]
        return label_cross_entropy(logits, batch.label)

    def predict_proba(self, x: Tensor) -> Tensor:
        """Mean of the heads."""
        return self.mixture(self.backbone.features(x), self.head_bias.new_ones(self.n_annotators) / self.n_annotators)


class WeightedDoctorNet(Method):
    """A trained DoctorNet whose heads are averaged with learned weights.

    First stage: DoctorNet, trained by the same recipe before the first epoch. Second stage, the epochs that are scored: its
    network in evaluation mode and frozen, only one number per annotator learns, by cross-entropy of the weighted mean of
    the heads against the item's vote shares, mean over items. This is the second stage of the LabelMe notebook of
    Rodrigues & Pereira (2018), which takes some 16,000 steps: with far fewer the weights hardly leave their even start. The
    paper's own rule for the weights could not be checked.
    """

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        first = DoctorNet(backbone, crowd)
        super().__init__(lambda: first.backbone, crowd)
        self.first = first
        self.weight_logits = nn.Parameter(torch.ones(crowd.n_annotators))
        self.register_buffer("target", torch.as_tensor(soft_vote(crowd), dtype=self.weight_logits.dtype))

    def prepare(self, data: TrainingData, fit: Fitting) -> None:
        fit(self.first)
        self.first.zero_grad()  # the last step's gradients are as large as the network
        self.first.requires_grad_(False)

    def train(self, mode: bool = True) -> WeightedDoctorNet:
        """The first stage's network stays in evaluation mode: only the weights train here."""
        super().train(mode)
        self.first.eval()
        return self

    def loss(self, batch: Batch) -> Tensor:
        """Mean over items, in nats."""
        prob = self.predict_proba(batch.x)
        log_prob = prob.clamp_min(torch.finfo(prob.dtype).tiny).log()
        return -(self.target[batch.items] * log_prob).sum(dim=1).mean()

    def predict_proba(self, x: Tensor) -> Tensor:
        """Mean of the heads, weighted by the softmax of ``weight_logits`` ``[annotators]``."""
        with torch.no_grad():
            features = self.first.backbone.features(x)
        return self.first.mixture(features, torch.softmax(self.weight_logits, dim=0))

    def annotator_parameters(self) -> list[nn.Parameter]:
        """The weights, whose mean is arbitrary; nothing else learns."""
        return [self.weight_logits]
