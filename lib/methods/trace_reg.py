"""Trace-regularized confusion matrices (Tanno et al., "Learning from noisy labels by regularized estimation of annotator
confusion", CVPR 2019).

Coupled cross-entropy plus the mean trace of the confusion matrices, *minimized*: noise is then explained by the annotators
rather than by the classifier. ``A = softplus(rho)`` with normalized rows, started at ``rho = 6 I - 5``, nearly the identity.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.crowd import LARGE, coupled_cross_entropy, mean_trace
from lib.methods.base import MakeBackbone, Method, matrices
from lib.registry import within


class TraceRegularization(Method):
    """Coupled cross-entropy, mean over labels, plus ``weight`` times the mean trace over annotators.

    Args:
        weight: of the trace, the paper's lambda for a *mean* over annotators (a sum would multiply it by their number).
    """

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels, weight: float = 0.01) -> None:
        super().__init__(backbone, crowd)
        within("weight", weight, 0)
        self.weight = weight
        self.rho = nn.Parameter(matrices(crowd, on=1.0, off=-5.0))

    def _confusion(self) -> Tensor:
        return F.normalize(F.softplus(self.rho), p=1, dim=2)

    def confusion(self) -> Tensor:
        return self._confusion().detach()

    def set_confusion(self, confusion: Tensor) -> None:
        """``softplus(rho)`` is the matrix times the row sums of the present one: their size means nothing."""
        with torch.no_grad():
            size = F.softplus(self.rho).sum(dim=2, keepdim=True)
            self.rho.copy_((confusion * size).expm1().log())

    def loss(self, batch: Batch) -> Tensor:
        class_logits = self.backbone(batch.x)
        if self.rho.numel() < LARGE:
            confusion = self._confusion()
            fit = coupled_cross_entropy(class_logits, confusion.log(), batch.position, batch.annotator, batch.label)
            return fit + self.weight * mean_trace(confusion)
        # The same without the matrices themselves: only diagonals and the labels' columns are divided by the rows' sums.
        size = F.softplus(self.rho)
        total = size.sum(dim=2)
        column = size[batch.annotator, :, batch.label].log() - total.index_select(0, batch.annotator).log()
        log_class = F.log_softmax(class_logits, dim=1).index_select(0, batch.position)
        trace = (size.diagonal(dim1=1, dim2=2) / total).sum(dim=1).mean()
        return self.weight * trace - torch.logsumexp(log_class + column, dim=1).mean()
