"""UnionNet (Wei, Xie, Feng, Han & An, "Deep learning from multiple noisy annotators as a union", IEEE TNNLS 2022).

All labels of an item are one target over the union of the annotators' classes, ``R C`` outputs ``(r, k)`` in all. With
class probabilities ``p`` of the item and one matrix ``T[r, j, k]`` an annotator, stacked to ``(R C, C)``,

    A   u[r, k] = sum_j p[j] T[r, j, k],          loss of an item = - sum over its labels of log softmax(u)[r, k]
    B   Theta[(r, k), j] = softmax of T[:, j, :] over all (r, k),   o = Theta p,
                                                  loss of an item = - mean over its labels of log o[r, k]

both a mean over items. The softmax over the whole union also learns how often annotators label each class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.methods.base import Method
from lib.methods.max_mig import vote_confusion
from lib.networks import Backbone

VARIANTS = ("A", "B")
STARTS = ("identity", "votes")
SMALL = 1e-5


class UnionNet(Method):
    """Cross-entropy over the union of all annotators' labels, mean over items.

    The authors skip batches that are not full; here the last, smaller one is used: the loss is a mean over items whatever
    their number. Only the normalizer of variant A takes in all annotators, as one matrix product ``[batch, R C]``.

    Args:
        variant: ``A`` or ``B``.
        start: of ``T``: ``identity`` (off-diagonal entries sum to 1e-5), or ``votes``, the logarithm of the confusion
            matrices against the soft votes plus 1e-5, as the authors start on CIFAR-10 and Music (there transposed by
            mistake, here not).
        divide: variant B: divide an item's loss by its number of labels, as the authors do; other implementations sum.

    Raises:
        ValueError: another variant or start.
    """

    def __init__(
        self,
        backbone: Callable[[], Backbone],
        crowd: CrowdLabels,
        variant: str = "B",
        start: str = "identity",
        divide: bool = True,
    ) -> None:
        super().__init__(backbone, crowd)
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, found {variant!r}")
        if start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, found {start!r}")
        self.variant, self.divide = variant, divide
        if start == "votes":
            weight = torch.as_tensor(np.log(vote_confusion(crowd) + SMALL), dtype=torch.get_default_dtype())
        else:
            off = SMALL / max(crowd.n_classes - 1, 1)
            weight = (off + (1 - SMALL - off) * torch.eye(crowd.n_classes)).repeat(crowd.n_annotators, 1, 1)
        self.weight = nn.Parameter(weight)

    def log_prob(self, class_logits: Tensor, position: Tensor, annotator: Tensor, label: Tensor) -> Tensor:
        """``[labels]`` log-probability of each label among all that anyone could give of the item.

        Args:
            class_logits: ``[batch, classes]``.
            position, annotator, label: ``[labels]`` int64.
        """
        union = self.weight.transpose(0, 1).flatten(1)  # [true class, annotator * n_classes + label]
        if self.variant == "B":
            log_theta = F.log_softmax(union, dim=1)[:, annotator * self.n_classes + label].T
            return torch.logsumexp(F.log_softmax(class_logits, dim=1)[position] + log_theta, dim=1)
        class_prob = torch.softmax(class_logits, dim=1)
        given = (class_prob[position] * self.weight[annotator, :, label]).sum(dim=1)
        return given - torch.logsumexp(class_prob @ union, dim=1)[position]

    def loss(self, batch: Batch) -> Tensor:
        surprise = -self.log_prob(self.backbone(batch.x), batch.position, batch.annotator, batch.label)
        if self.variant == "B" and self.divide:
            # Not by `bincount`, which waits for the device.
            labels = surprise.new_zeros(len(batch.x)).index_add(0, batch.position, torch.ones_like(surprise))
            surprise = surprise / labels[batch.position]
        return surprise.sum() / len(batch.x)

    def set_confusion(self, confusion: Tensor) -> None:
        """``T = log A``: every annotator gets the same share of the union."""
        with torch.no_grad():
            self.weight.copy_(confusion.log())

    def confusion(self) -> Tensor:
        """Softmax over the annotator's own labels, in both variants: within the union, given that the annotator spoke."""
        return torch.softmax(self.weight, dim=2).detach()

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict]:
        """No decay on the annotators' matrices: it would pull every annotator toward guessing."""
        return [
            {"params": list(self.backbone.parameters()), "lr": lr, "weight_decay": weight_decay},
            {"params": [self.weight], "lr": lr, "weight_decay": 0.0},
        ]
