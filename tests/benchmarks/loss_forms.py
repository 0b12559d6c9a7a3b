"""Losses on triples, as the methods compute them, and on one-hot labels of all annotators: the form of released code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.losses.crowd import coupled_cross_entropy, crowd_layer_logits, label_cross_entropy, log_rows

__all__ = ["LossBatch", "coupled", "crowd_layer", "dense_coupled", "dense_crowd_layer", "gradients", "make_batch"]


class LossBatch:
    """Class logits ``[items, classes]``, annotators' matrices ``[annotators, classes, classes]``, and labels in both forms.

    Attributes:
        position, annotator, label: ``[labels]``.
        one_hot: ``[items, annotators, classes]``.
    """

    def __init__(self, logits: Tensor, matrices: Tensor, position: Tensor, annotator: Tensor, label: Tensor) -> None:
        self.logits, self.matrices = logits.requires_grad_(), matrices.requires_grad_()
        self.position, self.annotator, self.label = position, annotator, label
        self.one_hot = torch.zeros(len(logits), len(matrices), matrices.shape[2], dtype=logits.dtype)
        self.one_hot[position, annotator, label] = 1


def make_batch(
    item: np.ndarray,
    annotator: np.ndarray,
    label: np.ndarray,
    annotators: int,
    classes: int,
    dtype: torch.dtype = torch.float32,
) -> LossBatch:
    """Random logits and matrices for labels of items ``0, 1, ...``."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(int(item.max()) + 1, classes, dtype=dtype, generator=generator)
    noise = torch.randn(annotators, classes, classes, dtype=dtype, generator=generator)
    triples = (torch.from_numpy(part) for part in (item, annotator, label))
    return LossBatch(logits, torch.eye(classes, dtype=dtype) + 0.1 * noise, *triples)


def coupled(batch: LossBatch) -> Tensor:
    """As :class:`lib.methods.geocrowdnet.GeoCrowdNet` does it."""
    return coupled_cross_entropy(batch.logits, log_rows(batch.matrices), batch.position, batch.annotator, batch.label)


def dense_coupled(batch: LossBatch) -> Tensor:
    """The same, of every annotator for every item."""
    prob, confusion = torch.softmax(batch.logits, dim=1), torch.softmax(batch.matrices, dim=2)
    said = torch.einsum("ij,rjk->irk", prob, confusion)
    return -(batch.one_hot * said.log()).sum() / len(batch.label)


def crowd_layer(batch: LossBatch) -> Tensor:
    """As :class:`lib.methods.crowd_layer.CrowdLayer` does it."""
    logits = crowd_layer_logits(torch.softmax(batch.logits, dim=1), batch.matrices, batch.position, batch.annotator)
    return label_cross_entropy(logits, batch.label)


def dense_crowd_layer(batch: LossBatch) -> Tensor:
    """The same, of every annotator for every item: the form of the released code."""
    logits = torch.einsum("ij,rjk->irk", torch.softmax(batch.logits, dim=1), batch.matrices)
    return -(batch.one_hot * F.log_softmax(logits, dim=2)).sum() / len(batch.label)


def gradients(form: Callable[[LossBatch], Tensor], batch: LossBatch, steps: int = 1) -> tuple[Tensor, Tensor]:
    """Of the logits and the matrices, taken ``steps`` times."""
    for _ in range(steps):
        found = torch.autograd.grad(form(batch), (batch.logits, batch.matrices))
    return found
