"""CoNAL (Chu, Ma & Wang, "Learning from crowds by modeling common confusions", AAAI 2021).

A label comes either from a confusion that the whole crowd shares or from the annotator's own; a gate that looks at both
the item and the annotator decides. With class probabilities ``p``, the common matrix ``G[j, k]`` and own ones
``T[r, j, k]``,

    v = normalize(V2 (V1 x + b1) + b2),      u[r] = normalize(U[:, r] + b),       omega = sigmoid(v . u[r])
    a[k] = omega sum_j p[j] G[j, k] + (1 - omega) sum_j p[j] T[r, j, k]

(no nonlinearity in the gate; both vectors have length one, so that ``omega`` lies in 0.269 .. 0.731). As in the authors'
code, which the published numbers come from, ``a`` are logits of the label and the matrices are free; the paper writes
probabilities. A small bonus for the distance between own and common matrices keeps the two apart.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch, TrainingData
from lib.losses.crowd import crowd_layer_logits, label_cross_entropy
from lib.methods.base import MakeBackbone, Method, matrices
from lib.registry import choice

GATE_INPUTS = ("input", "features")
# As in the authors' LabelMe code.
GATE_SIZE = 20  # length of u and v; 80 in their Music code
GATE_WIDTH = 128  # of the gate's inner layer
START = 2.0  # of all matrices, as a multiple of the identity
WEIGHT = 1e-5  # of the distance


class CoNAL(Method):
    """Cross-entropy of the labels under a gated mixture of common and own confusions, mean over labels, minus
    ``WEIGHT * sum over annotators of ||T[r] - G||`` (Frobenius).

    Args:
        gate_input: what the gate reads of an item: ``input``, the flattened input as in the authors' code, or
            ``features``, the classifier's features (for images), with gradient.
    """

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels, gate_input: str = "input") -> None:
        super().__init__(backbone, crowd)
        self.gate_input = choice("gate_input", gate_input, GATE_INPUTS)
        width = self.backbone.n_features if gate_input == "features" else math.prod(self.backbone.x_shape)
        self.item_gate = nn.Sequential(nn.Linear(width, GATE_WIDTH), nn.Linear(GATE_WIDTH, GATE_SIZE))
        self.annotator_gate = nn.Linear(crowd.n_annotators, GATE_SIZE)  # of a one-hot annotator, so its columns are gathered
        self.common = nn.Parameter(START * torch.eye(crowd.n_classes))
        self.own = nn.Parameter(matrices(crowd, on=START))
        # An annotator without labels has no matrix to keep apart: the bonus alone would drive it off without end.
        self.register_buffer("labeled", torch.tensor(crowd.labels_per_annotator > 0))
        self.register_buffer("gate_sum", torch.zeros(crowd.n_annotators), persistent=False)
        self.register_buffer("gate_count", torch.zeros(crowd.n_annotators), persistent=False)

    def gate(self, read: Tensor, position: Tensor, annotator: Tensor) -> Tensor:
        """``[labels]`` the common confusion's share ``omega``, from what the gate reads of the items ``[batch, ...]``."""
        items = F.normalize(self.item_gate(read.flatten(1)), dim=1)
        annotators = F.normalize(self.annotator_gate.weight.T[annotator] + self.annotator_gate.bias, dim=1)
        return torch.sigmoid((items[position] * annotators).sum(dim=1))

    def loss(self, batch: Batch) -> Tensor:
        features = self.backbone.features(batch.x)
        class_prob = torch.softmax(self.backbone.head(features), dim=1)
        read = features if self.gate_input == "features" else self.backbone.inputs(batch.x)
        gate = self.gate(read, batch.position, batch.annotator)
        if self.training:
            self.gate_sum.index_add_(0, batch.annotator, gate.detach())
            self.gate_count.index_add_(0, batch.annotator, torch.ones_like(gate))
        common = (class_prob @ self.common)[batch.position]
        own = crowd_layer_logits(class_prob, self.own, batch.position, batch.annotator)
        apart = torch.linalg.vector_norm((self.own - self.common).flatten(1), dim=1)[self.labeled].sum()
        return label_cross_entropy(own + gate.unsqueeze(1) * (common - own), batch.label) - WEIGHT * apart

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        """Forget the gates of the epoch before."""
        self.gate_sum.zero_()
        self.gate_count.zero_()

    def set_confusion(self, confusion: Tensor) -> None:
        """The common matrix takes the mean of ``log A`` and the own ones what is missing at a gate of one half."""
        with torch.no_grad():
            log_confusion = confusion.log()
            self.common.copy_(log_confusion.mean(dim=0))
            self.own.copy_(2 * log_confusion - self.common)
            self.gate_count.zero_()

    def confusion(self) -> Tensor:
        """The mixture at a certain class, with each annotator's mean gate over its labels in the last epoch of training
        (one half before training and without labels)."""
        with torch.no_grad():
            seen = self.gate_count > 0
            mean = torch.where(seen, self.gate_sum / self.gate_count.clamp_min(1), 0.5)[:, None, None]
            return torch.softmax(mean * self.common + (1 - mean) * self.own, dim=2)

    def annotator_parameters(self) -> list[nn.Parameter]:
        return [self.common, self.own]
