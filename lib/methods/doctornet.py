"""DoctorNet and Weighted DoctorNet (Guan, Gulshan, Dai & Hinton, "Who said what: modeling individual labelers improves
classification", AAAI 2018).

Each annotator has a softmax head of its own on shared features, ``P[r] = softmax(U[r] features + c[r])``, trained on that
annotator's labels alone. An item's class is predicted by the mean of all heads, or, in Weighted DoctorNet, by a mean whose
weights ``softmax(omega)`` are learned afterwards, with everything else frozen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.aggregation.dawid_skene import soft_vote
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.crowd import label_cross_entropy
from lib.methods.base import Method
from lib.networks import Backbone

if TYPE_CHECKING:
    from lib.datasets.batches import TrainingData

HEADS = ("all", "labeled")
BLOCK = 2**22  # numbers held at once while heads are averaged


class DoctorNet(Method):
    """Cross-entropy of each label under its annotator's head, mean over labels; the mean of the heads predicts.

    Heads start Glorot-uniform with zero bias, as in the LabelMe notebook of Rodrigues & Pereira (2018), and see only the
    labels that were given. The backbone's own head has no part in it and does not learn.

    Args:
        heads: which heads are averaged: ``all``, as in the paper, or only those of annotators who gave a ``labeled`` item
            (a head without labels says something arbitrary).
        double_softmax: take the softmax of the heads' softmax in the loss, as that notebook does by mistake.

    Raises:
        ValueError: another choice of heads.
    """

    def __init__(
        self,
        backbone: Callable[[], Backbone],
        crowd: CrowdLabels,
        heads: str = "all",
        double_softmax: bool = False,
    ) -> None:
        super().__init__(backbone, crowd)
        if heads not in HEADS:
            raise ValueError(f"heads must be one of {', '.join(HEADS)}, found {heads!r}")
        self.double_softmax = double_softmax
        self.backbone.head.requires_grad_(False)
        width = self.backbone.n_features
        bound = math.sqrt(6 / (width + crowd.n_classes))
        shape = (crowd.n_annotators, crowd.n_classes, width)
        self.head_weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.head_bias = nn.Parameter(torch.zeros(crowd.n_annotators, crowd.n_classes))
        averaged = torch.tensor(crowd.labels_per_annotator > 0) | (heads == "all")
        self.register_buffer("averaged", averaged)

    def head_logits(self, features: Tensor, position: Tensor, annotator: Tensor) -> Tensor:
        """``[labels, classes]`` from ``[batch, n_features]`` features, for the given labels' heads only."""
        # `index_select` and not brackets: the gradient of the heads is then added up row by row, in half the time.
        weight = self.head_weight.index_select(0, annotator)
        products = torch.bmm(weight, features.index_select(0, position).unsqueeze(2)).squeeze(2)
        return products + self.head_bias[annotator]

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
        logits = self.head_logits(self.backbone.features(batch.x), batch.position, batch.annotator)
        return label_cross_entropy(torch.softmax(logits, dim=1) if self.double_softmax else logits, batch.label)

    def predict_proba(self, x: Tensor) -> Tensor:
        """Mean of the heads."""
        weight = self.averaged.to(self.head_bias.dtype)
        return self.mixture(self.backbone.features(x), weight / weight.sum())


class WeightedDoctorNet(Method):
    """A trained DoctorNet whose heads are averaged with learned weights.

    First stage: DoctorNet, trained by the same recipe before the first epoch. Second stage, the epochs that are scored: its
    network in evaluation mode and frozen, only one number an annotator learns, by cross-entropy of the weighted mean of
    the heads against the item's vote shares, mean over items. This is the second stage of the LabelMe notebook of
    Rodrigues & Pereira (2018); the paper's own rule for the weights could not be checked. The heads' probabilities are
    computed anew for each batch: kept for all items they would take items x annotators x classes numbers.

    Args:
        heads, double_softmax: as in :class:`DoctorNet`.
        first_epochs: epochs of the first stage; None: as many as of the second.
        weight_rate: learning rate of the weights relative to the recipe's. The notebook has 1 and some 16,000 steps; with
            far fewer the weights hardly leave their even start.

    Raises:
        ValueError: another choice of heads, or a rate that is not above 0.
    """

    def __init__(
        self,
        backbone: Callable[[], Backbone],
        crowd: CrowdLabels,
        heads: str = "all",
        double_softmax: bool = False,
        first_epochs: int | None = None,
        weight_rate: float = 1.0,
    ) -> None:
        first = DoctorNet(backbone, crowd, heads=heads, double_softmax=double_softmax)
        super().__init__(lambda: first.backbone, crowd)
        if not weight_rate > 0:
            raise ValueError(f"weight_rate must be above 0, found {weight_rate}")
        self.first = first
        self.first_epochs, self.weight_rate = first_epochs, weight_rate
        self.weight_logits = nn.Parameter(torch.ones(crowd.n_annotators))
        self.register_buffer("target", torch.as_tensor(soft_vote(crowd), dtype=self.weight_logits.dtype))

    def prepare(self, data: TrainingData, fit: Callable[..., dict[str, list[float]]]) -> None:
        fit(self.first, **({} if self.first_epochs is None else {"epochs": self.first_epochs}))
        self.first.zero_grad()  # the last step's gradients are as large as the network
        self.first.requires_grad_(False)

    def train(self, mode: bool = True) -> WeightedDoctorNet:
        """The first stage's network stays in evaluation mode: only the weights train here."""
        super().train(mode)
        self.first.eval()
        return self

    def head_weights(self) -> Tensor:
        """``[annotators]``, sums to one; zero for a head that is not averaged."""
        return torch.softmax(self.weight_logits.masked_fill(~self.first.averaged, -torch.inf), dim=0)

    def loss(self, batch: Batch) -> Tensor:
        """Mean over items, in nats."""
        with torch.no_grad():
            features = self.first.backbone.features(batch.x)
        prob = self.first.mixture(features, self.head_weights())
        log_prob = prob.clamp_min(torch.finfo(prob.dtype).tiny).log()
        return -(self.target[batch.items] * log_prob).sum(dim=1).mean()

    def predict_proba(self, x: Tensor) -> Tensor:
        """Weighted mean of the heads."""
        return self.first.mixture(self.first.backbone.features(x), self.head_weights())

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict]:
        """The weights alone, without decay: their mean is arbitrary."""
        return [{"params": [self.weight_logits], "lr": lr * self.weight_rate, "weight_decay": 0.0}]
