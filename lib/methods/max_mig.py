"""Max-MIG (Cao, Xu, Kong & Wang, "Max-MIG: an information theoretic approach for joint learning from crowds", ICLR 2019).

Two views of an item are trained to agree: the classifier ``p = softmax(h(x))`` sees its input, the aggregator

    g[c]  proportional to  prior[c] exp( sum over the item's labels (r, k) of W[r, c, k] )

its labels. The loss is minus the f-mutual information gain between them (:mod:`lib.losses.information`): agreement on the same
item counts for it, agreement across items of the batch against it. Nothing is assumed about how annotators depend on each
other. ``W[r, c, k]`` plays the part of ``log A[r, c, k]``; a constant in ``W[r, c]`` beside it changes nothing. A permutation
of the classes shared by both views changes nothing either, so it is the start of ``W`` from the soft votes that names them.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.aggregation.confusion import expected_counts
from lib.aggregation.dawid_skene import soft_vote
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses.information import information_gain
from lib.methods.base import MakeBackbone, Method, check_trainable

# Added to the soft-vote confusion matrices whose logarithm starts W: the authors' for LabelMe (elsewhere they have 1e-4, too
# little where annotators gave few labels).
DELTA = 0.01


class MaxMIG(Method):
    """Minus the f-mutual information gain between classifier and aggregator, mean over the batch's items and pairs.

    As in the paper's experiments the divergence is that of Kullback and Leibler, and as in the authors' code the prior of the
    classes is even, and the aggregator learns at a tenth of the classifier's rate (their CIFAR-10; 1 on LabelMe): at a high
    one it can collapse.

    The authors skip batches that are not full; here the last, smaller one is used, since the mean over pairs is unbiased
    for any two items or more. A batch of a single item has no pair: its loss is zero, and so is its gradient. The authors
    add noise of up to 1e-4 inside the logarithm; here it is taken in log space and needs none.
    """

    annotator_rate = 0.1

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd)
        check_trainable(crowd)
        dtype = torch.get_default_dtype()
        # Against the soft votes; zero where no item that the annotator labeled got a vote for the class.
        counts = expected_counts(soft_vote(crowd), crowd)
        totals = counts.sum(axis=2, keepdims=True)
        votes = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
        self.confusion_logits = nn.Parameter(torch.as_tensor(np.log(votes + DELTA), dtype=dtype))
        self.register_buffer("log_prior", torch.full((crowd.n_classes,), -math.log(crowd.n_classes), dtype=dtype))
        for name in ("item", "annotator", "label"):
            self.register_buffer(f"_{name}", torch.tensor(getattr(crowd, name)), persistent=False)
        self.n_items = crowd.n_items

    def aggregator(self, n_items: int, position: Tensor, annotator: Tensor, label: Tensor) -> Tensor:
        """``[n_items, classes]`` the aggregator's log-probabilities from flat triples; the prior for an item without labels."""
        said = self.confusion_logits[annotator, :, label]
        return F.log_softmax(self.log_prior.expand(n_items, -1).index_add(0, position, said), dim=1)

    def loss(self, batch: Batch) -> Tensor:
        log_p = F.log_softmax(self.backbone(batch.x), dim=1)
        log_g = self.aggregator(len(batch.x), batch.position, batch.annotator, batch.label)
        if len(batch.x) < 2:
            return 0 * (log_p.sum() + log_g.sum())
        return -information_gain(log_p, log_g, self.log_prior)

    def posterior(self) -> Tensor:
        """The aggregator ``g`` on the training items: from their labels alone, the classifier's opinion is not in it."""
        with torch.no_grad():
            return self.aggregator(self.n_items, self._item, self._annotator, self._label).exp()
