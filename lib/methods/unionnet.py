"""UnionNet (Wei, Xie, Feng, Han & An, "Deep learning from multiple noisy annotators as a union", IEEE TNNLS 2022).

All labels of an item are one target over the union of the annotators' classes, ``R C`` outputs ``(r, k)`` in all. With
class probabilities ``p`` of the item and one matrix ``T[r, j, k]`` per annotator, stacked to ``(R C, C)``,

    A   u[r, k] = sum_j p[j] T[r, j, k],          loss of an item = - sum over its labels of log softmax(u)[r, k]
    B   Theta[(r, k), j] = softmax of T[:, j, :] over all (r, k),   o = Theta p,
                                                  loss of an item = - mean over its labels of log o[r, k]

both a mean over items (other implementations of B sum over an item's labels). ``T`` starts near the identity; the authors
start it at the votes on CIFAR-10 and Music. The softmax over the whole union also learns how often annotators label each class.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.methods.base import MakeBackbone, Method, matrices
from lib.registry import choice

VARIANTS = ("A", "B")
SMALL = 1e-5  # sum of the off-diagonal entries of a row of T at the start


class UnionNet(Method):
    """Cross-entropy over the union of all annotators' labels, mean over items.

    The authors skip batches that are not full; here the last, smaller one is used: the loss is a mean over items whatever
    their number. Only the normalizer of variant A takes in all annotators, as one matrix product ``[batch, R C]``.
    An annotator's matrix is the softmax of ``T`` over its own labels: what it says within the union, given that it spoke.

    Args:
        variant: ``A`` or ``B``.
    """

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels, variant: str = "B") -> None:
        super().__init__(backbone, crowd)
        self.variant = choice("variant", variant, VARIANTS)
        off = SMALL / max(crowd.n_classes - 1, 1)
        self.confusion_logits = nn.Parameter(matrices(crowd, on=1 - SMALL, off=off))

    def loss(self, batch: Batch) -> Tensor:
        class_logits, position = self.backbone(batch.x), batch.position
        union = self.confusion_logits.transpose(0, 1).flatten(1)  # [true class, annotator * n_classes + label]
        if self.variant == "A":
            class_prob = torch.softmax(class_logits, dim=1)
            given = (class_prob[position] * self.confusion_logits[batch.annotator, :, batch.label]).sum(dim=1)
            surprise = torch.logsumexp(class_prob @ union, dim=1)[position] - given
        else:
            log_theta = F.log_softmax(union, dim=1)[:, batch.annotator * self.n_classes + batch.label].T
            surprise = -torch.logsumexp(F.log_softmax(class_logits, dim=1)[position] + log_theta, dim=1)
            # Not by `bincount`, which waits for the device.
            labels = surprise.new_zeros(len(batch.x)).index_add(0, position, torch.ones_like(surprise))
            surprise = surprise / labels[position]
        return surprise.sum() / len(batch.x)
