"""CoNAL (Chu, Ma & Wang, "Learning from crowds by modeling common confusions", AAAI 2021).

A label comes either from a confusion that the whole crowd shares or from the annotator's own; a gate that looks at both
the item and the annotator decides. With class probabilities ``p``, the common matrix ``G[j, k]`` and own ones
``T[r, j, k]``,

    v = normalize(V2 (V1 x + b1) + b2),      u[r] = normalize(U[:, r] + b),       omega = sigmoid(v . u[r])
    a[k] = omega sum_j p[j] G[j, k] + (1 - omega) sum_j p[j] T[r, j, k]

(no nonlinearity in the gate; both vectors have length one, so that ``omega`` lies in 0.269 .. 0.731). The authors' code
takes ``a`` as logits of the label and leaves the matrices free. A small bonus for the distance between own and common
matrices keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.crowd import crowd_layer_logits, label_cross_entropy
from lib.methods.base import Method
from lib.networks import Backbone, flat_width

if TYPE_CHECKING:
    from lib.datasets.batches import TrainingData

GATE_INPUTS = ("input", "features")
MIXES = ("logits", "probabilities")


class CoNAL(Method):
    """Cross-entropy of the labels under a gated mixture of common and own confusions, mean over labels, minus
    ``weight * sum over annotators of ||T[r] - G||`` (Frobenius).

    Args:
        mix: ``logits``: what the authors' code mixes and the published numbers come from, matrices free, softmax on the
            mixture; or ``probabilities``: what the paper writes, both matrices row-stochastic (here by a softmax of their
            rows, also in the distance) and a mixture of the two label distributions.
        gate_input: what the gate reads of an item: ``input``, the flattened input as in the authors' code, or
            ``features``, the classifier's features (for images), with gradient.
        gate_size: length of ``u`` and ``v``; 20 on LabelMe, 80 on Music in the authors' code.
        gate_width: width of the gate's inner layer.
        normalize_items: give ``v`` the length one; the authors' Music code does not.
        start: both matrices start at this multiple of the identity.
        weight: of the distance.
        reset_adam: forget the optimizer's moments at every epoch, as the authors' code does.

    Raises:
        ValueError: another mix or gate input, a size below 1, or a negative weight.
    """

    def __init__(
        self,
        backbone: Callable[[], Backbone],
        crowd: CrowdLabels,
        mix: str = "logits",
        gate_input: str = "input",
        gate_size: int = 20,
        gate_width: int = 128,
        normalize_items: bool = True,
        start: float = 2.0,
        weight: float = 1e-5,
        reset_adam: bool = False,
    ) -> None:
        super().__init__(backbone, crowd)
        if mix not in MIXES:
            raise ValueError(f"mix must be one of {', '.join(MIXES)}, found {mix!r}")
        if gate_input not in GATE_INPUTS:
            raise ValueError(f"gate_input must be one of {', '.join(GATE_INPUTS)}, found {gate_input!r}")
        if min(gate_size, gate_width) < 1 or weight < 0:
            found = f"found {gate_size}, {gate_width} and {weight}"
            raise ValueError(f"gate_size and gate_width must be at least 1 and weight at least 0, {found}")
        self.mix, self.gate_input, self.normalize_items = mix, gate_input, normalize_items
        self.weight, self.reset_adam, self._reset_now = weight, reset_adam, False
        width = self.backbone.n_features if gate_input == "features" else flat_width(self.backbone.x_shape)
        self.item_gate = nn.Sequential(nn.Linear(width, gate_width), nn.Linear(gate_width, gate_size))
        self.annotator_gate = nn.Linear(crowd.n_annotators, gate_size)  # of a one-hot annotator, so its columns are gathered
        self.common = nn.Parameter(start * torch.eye(crowd.n_classes))
        self.own = nn.Parameter((start * torch.eye(crowd.n_classes)).repeat(crowd.n_annotators, 1, 1))
        # An annotator without labels has no matrix to keep apart: the bonus alone would drive it off without end.
        self.register_buffer("labeled", torch.tensor(crowd.labels_per_annotator > 0))
        self.register_buffer("gate_sum", torch.zeros(crowd.n_annotators), persistent=False)
        self.register_buffer("gate_count", torch.zeros(crowd.n_annotators), persistent=False)

    def gate(self, read: Tensor, position: Tensor, annotator: Tensor) -> Tensor:
        """``[labels]`` the common confusion's share ``omega``, from what the gate reads of the items ``[batch, ...]``."""
        items = self.item_gate(read.flatten(1))
        if self.normalize_items:
            items = F.normalize(items, dim=1)
        annotators = F.normalize(self.annotator_gate.weight.T[annotator] + self.annotator_gate.bias, dim=1)
        return torch.sigmoid((items[position] * annotators).sum(dim=1))

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The common matrix ``[classes, classes]`` and the own ones ``[annotators, classes, classes]``."""
        if self.mix == "logits":
            return self.common, self.own
        return torch.softmax(self.common, dim=1), torch.softmax(self.own, dim=2)

    def cross_entropy(self, class_prob: Tensor, gate: Tensor, position: Tensor, annotator: Tensor, label: Tensor) -> Tensor:
        """Of the labels, mean over labels, from class probabilities ``[batch, classes]`` and gates ``[labels]``."""
        common, own = self.matrices()
        common_part = (class_prob @ common)[position]
        own_part = crowd_layer_logits(class_prob, own, position, annotator)
        mixed = own_part + gate.unsqueeze(1) * (common_part - own_part)
        if self.mix == "probabilities":
            mixed = mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()
        return label_cross_entropy(mixed, label)

    def distance(self) -> Tensor:
        """Sum over annotators with labels of the Frobenius distance between own and common matrix."""
        common, own = self.matrices()
        return torch.linalg.vector_norm((own - common).flatten(1), dim=1)[self.labeled].sum()

    def loss(self, batch: Batch) -> Tensor:
        features = self.backbone.features(batch.x)
        class_prob = torch.softmax(self.backbone.head(features), dim=1)
        triples = (batch.position, batch.annotator, batch.label)
        gate = self.gate(features if self.gate_input == "features" else self.backbone.inputs(batch.x), *triples[:2])
        if self.training:
            self.gate_sum.index_add_(0, batch.annotator, gate.detach())
            self.gate_count.index_add_(0, batch.annotator, torch.ones_like(gate))
        return self.cross_entropy(class_prob, gate, *triples) - self.weight * self.distance()

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        self._forget_gates()
        self._reset_now = self.reset_adam

    def _forget_gates(self) -> None:
        self.gate_sum.zero_()
        self.gate_count.zero_()

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
        if self._reset_now:
            optimizer.state.clear()
            self._reset_now = False
        return super().step(batch, optimizer)

    def set_confusion(self, confusion: Tensor) -> None:
        """The common matrix takes the mean of ``log A`` and the own ones what is missing at a gate of one half. A mixture of
        probabilities starts as it does: not any matrices have a common part that leaves something for everyone."""
        if self.mix == "logits":
            with torch.no_grad():
                log_confusion = confusion.log()
                self.common.copy_(log_confusion.mean(dim=0))
                self.own.copy_(2 * log_confusion - self.common)
            self._forget_gates()

    def confusion(self) -> Tensor:
        """The mixture at a certain class, with each annotator's mean gate over its labels in the last epoch of training
        (one half before training and without labels)."""
        with torch.no_grad():
            seen = self.gate_count > 0
            mean = torch.where(seen, self.gate_sum / self.gate_count.clamp_min(1), 0.5)[:, None, None]
            common, own = self.matrices()
            mixed = mean * common + (1 - mean) * own
            return torch.softmax(mixed, dim=2) if self.mix == "logits" else mixed

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict]:
        """No decay on the matrices: it would pull every annotator toward guessing."""
        matrices = [self.common, self.own]
        networks = [*self.backbone.parameters(), *self.item_gate.parameters(), *self.annotator_gate.parameters()]
        return [
            {"params": networks, "lr": lr, "weight_decay": weight_decay},
            {"params": matrices, "lr": lr, "weight_decay": 0.0},
        ]
