"""Losses on triples, as the methods compute them, and on one-hot labels of all annotators: the form of released code."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.losses.crowd import coupled_cross_entropy, crowd_layer_logits, label_cross_entropy, log_rows


@dataclass(frozen=True)
class LossBatch:
    """Class logits and annotators' matrices, and labels in both forms."""

    logits: Tensor  # [items, classes]
    matrices: Tensor  # [annotators, classes, classes]
    labels: tuple[Tensor, Tensor, Tensor]  # position, annotator, label
    one_hot: Tensor  # [items, annotators, classes]


def make_batch(data: dict[str, np.ndarray], dtype: torch.dtype = torch.float32) -> LossBatch:
    """Random logits and matrices for the labels of items ``0, 1, ...``."""
    generator = torch.Generator().manual_seed(0)
    labels = tuple(torch.from_numpy(data[name]) for name in ("item", "annotator", "label"))
    annotators, classes = int(data["n_annotators"]), int(data["n_classes"])
    logits = torch.randn(int(labels[0].max()) + 1, classes, dtype=dtype, generator=generator)
    noise = torch.randn(annotators, classes, classes, dtype=dtype, generator=generator)
    one_hot = torch.zeros(len(logits), annotators, classes, dtype=dtype)
    one_hot[labels] = 1
    matrices = torch.eye(classes, dtype=dtype) + 0.1 * noise
    return LossBatch(logits.requires_grad_(), matrices.requires_grad_(), labels, one_hot)


def coupled(batch: LossBatch) -> Tensor:
    """As :class:`lib.methods.geocrowdnet.GeoCrowdNet` does it."""
    return coupled_cross_entropy(batch.logits, log_rows(batch.matrices), *batch.labels)


def dense_coupled(batch: LossBatch) -> Tensor:
    """The same, of every annotator for every item."""
    prob, confusion = torch.softmax(batch.logits, dim=1), torch.softmax(batch.matrices, dim=2)
    said = torch.einsum("ij,rjk->irk", prob, confusion)
    return -(batch.one_hot * said.log()).sum() / batch.one_hot.sum()


def crowd_layer(batch: LossBatch) -> Tensor:
    """As :class:`lib.methods.crowd_layer.CrowdLayer` does it."""
    position, annotator, label = batch.labels
    return label_cross_entropy(
        crowd_layer_logits(torch.softmax(batch.logits, dim=1), batch.matrices, position, annotator), label
    )


def dense_crowd_layer(batch: LossBatch) -> Tensor:
    """The same, of every annotator for every item: the form of the released code."""
    logits = torch.einsum("ij,rjk->irk", torch.softmax(batch.logits, dim=1), batch.matrices)
    return -(batch.one_hot * F.log_softmax(logits, dim=2)).sum() / batch.one_hot.sum()


def gradients(form: Callable[[LossBatch], Tensor], batch: LossBatch, steps: int = 1) -> tuple[Tensor, Tensor]:
    """Of the logits and the matrices, taken ``steps`` times."""
    for _ in range(steps):
        found = torch.autograd.grad(form(batch), (batch.logits, batch.matrices))
    return found
