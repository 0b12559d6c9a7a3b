"""CCC, coupled confusion correction (Zhang, Li, Zeng, Yan & Ge, AAAI 2024).

Two crowd layers (matrices ``T``, free, started at the identity) with the loss of the released code,

    loss(z, T) = - mean over labels log(softmax(p @ T[r])[k] + 1e-5),        p = softmax(z),

where 1e-5 keeps a label that the model thinks impossible from dominating.

After a warm-up, every step first corrects each network's matrices by what would help the *other* network's idea of clean
data. At the start of an epoch, annotators with similar matrices are put into groups ``g`` (K-Means), and each network
picks a meta set: for each class, among the items to which some annotator gave it, those that fit it best. Then, a batch:

    virtual   w' = w - lr * d loss(z, T + V[g]) / dw            a correction V for each group, at V = 0
    meta      D = d CE(meta batch of the other network; w') / dV
    correct   V = - rate * (max T' / max |D|) * D               a step whose largest entry is a share of T's
    actual    one optimizer step for w and T on loss(z, T + V[g]), after which V is forgotten

The virtual and the actual step share one forward pass; how ``D`` is computed is in :mod:`lib.methods.meta_gradient`. The
prediction is the mean of both networks' class probabilities.
"""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch, TrainingData, edges_of
from lib.losses.crowd import crowd_layer_logits
from lib.methods import meta_gradient
from lib.methods.base import MakeBackbone
from lib.methods.crowd_layer import CrowdLayer
from lib.methods.ensemble import Ensemble
from lib.networks.predict import as_numpy
from lib.registry import choice, within

PAPER_GROUPS = 30
EPSILON = 1e-5  # inside the logarithm of the loss


def crowd_loss(class_logits: Tensor, matrices: Tensor, position: Tensor, annotator: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of the crowd layer's softmax with :data:`EPSILON` inside the logarithm, mean over labels, in nats.

    Args:
        class_logits: ``[batch, classes]``.
        matrices: ``[annotators, true class, label]``, free.
        position, annotator, label: ``[labels]`` int64.
    """
    # Under autocast the network may answer in half precision, in which the matrices' small corrections would drown.
    with torch.autocast(class_logits.device.type, enabled=False):
        class_logits = class_logits.to(torch.promote_types(class_logits.dtype, torch.float32))
        logits = crowd_layer_logits(torch.softmax(class_logits, dim=1), matrices, position, annotator)
        prob = torch.softmax(logits, dim=1).gather(1, label.unsqueeze(1))
        return -(prob + EPSILON).log().mean()


class CrowdDerivatives:
    """:func:`crowd_loss` of a batch's labels with its first derivatives, and the second ones that the meta-gradient needs.

    Written out: going back and forth through a graph of them would take longer than a small network takes. For a label ``k``
    and ``q = softmax(a)``, ``a = p @ T[r]``, the gradient of ``-log(q[k] + 1e-5)`` for ``a`` is ``w (q - e_k)`` with
    ``w = q[k] / (q[k] + 1e-5)``; the rest is the chain rule.

    Attributes:
        loss: scalar in nats.
        class_logits: ``[batch, classes]`` gradient of the loss.
        matrices: ``[annotators, classes, classes]`` gradient of the loss.
    """

    def __init__(self, class_logits: Tensor, matrices: Tensor, batch: Batch) -> None:
        # As in `crowd_loss`, not in half precision; and no function here is one that autocast would touch.
        class_logits = class_logits.detach().to(torch.promote_types(class_logits.dtype, torch.float32))
        matrices = matrices.detach()
        self.batch = batch
        self._chosen = matrices.index_select(0, batch.annotator)  # [labels, classes, classes]
        self._class_prob = torch.softmax(class_logits, dim=1)
        self._seen = self._class_prob.index_select(0, batch.position)  # [labels, classes]
        logits = (self._seen.unsqueeze(2) * self._chosen).sum(dim=1)
        self._label_prob = torch.softmax(logits, dim=1)
        self._label = batch.label.unsqueeze(1)
        hit = self._label_prob.gather(1, self._label)
        self._hit = hit + EPSILON
        self._excess = self._label_prob.scatter_add(1, self._label, -torch.ones_like(hit))
        self._share = hit / self._hit / len(hit)
        self._gradient = self._share * self._excess  # [labels, classes], for the annotators' logits

        self.loss = -self._hit.log().mean()
        through = (self._chosen * self._gradient.unsqueeze(1)).sum(dim=2)
        class_gradient = torch.zeros_like(class_logits).index_add_(0, batch.position, through)
        self.class_logits = _through_softmax(self._class_prob, class_gradient)
        products = self._seen.unsqueeze(2) * self._gradient.unsqueeze(1)
        self.matrices = torch.zeros_like(matrices).index_add_(0, batch.annotator, products)

    def mixed(self, tangent: Tensor, groups: Tensor, n_groups: int) -> Tensor:
        """``d/dV <d loss / d class_logits, tangent>`` ``[groups, classes, classes]``, the matrices being ``T + V[groups]``: how
        the gradient for ``V`` changes as the logits move along a tangent ``[batch, classes]``; groups are ``[annotators]``."""
        seen = _through_softmax(self._class_prob, tangent.to(self._class_prob.dtype)).index_select(0, self.batch.position)
        logits = (seen.unsqueeze(2) * self._chosen).sum(dim=1)
        label_prob = _through_softmax(self._label_prob, logits)
        share = label_prob.gather(1, self._label) * (EPSILON / self._hit.square() / len(self._hit))
        gradient = share * self._excess + self._share * label_prob
        products = seen.unsqueeze(2) * self._gradient.unsqueeze(1) + self._seen.unsqueeze(2) * gradient.unsqueeze(1)
        mixed = products.new_zeros(n_groups, *products.shape[1:])
        return mixed.index_add_(0, groups.index_select(0, self.batch.annotator), products)


def _through_softmax(prob: Tensor, change: Tensor) -> Tensor:
    """The softmax's derivative, which is its own transpose: ``prob * (change - <prob, change>)``, row by row."""
    return prob * (change - (prob * change).sum(dim=1, keepdim=True))


def group_annotators(matrices: Tensor, n_groups: int, seed: int) -> Tensor:
    """``[annotators]`` int64 groups by K-Means on flattened ``[annotators, classes, classes]`` matrices, one run from k-means++
    with this seed. A group's number means nothing across calls; groups stay empty where fewer matrices differ."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    points = matrices.detach().to("cpu", torch.float32, copy=True).flatten(1).numpy()
    with warnings.catch_warnings():
        # Annotators without labels in common have equal matrices at first; empty groups do no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        groups = KMeans(n_groups, n_init=1, max_iter=100, random_state=seed).fit_predict(points)
    return torch.as_tensor(groups, dtype=torch.int64, device=matrices.device)


def select_confident(
    log_prob: np.ndarray, crowd: CrowdLabels, per_class: int, distinct: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """For each class, the items with the least cross-entropy among those that some annotator put into it.

    Args:
        log_prob: ``[items, classes]`` of a network.
        per_class: items to take of each class, fewer where there are fewer.
        distinct: an item once per class. Otherwise once for each annotator who said so, as in the released code: repeats
            stand in for other items and favor those that annotators agree on.

    Returns:
        ``[meta items]`` items and ``[meta items]`` classes, class by class. An item may come under two classes.
    """
    item, label = crowd.item, crowd.label
    if distinct:
        item, label = np.unique(np.stack([item, label]), axis=1)
    order = np.lexsort((-log_prob[item, label], label))  # by class, then loss, then item
    ordered = label[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    chosen = order[rank < per_class]
    return item[chosen], label[chosen]


def meta_batches(
    item: np.ndarray, label: np.ndarray, data: TrainingData, batch_size: int, generator: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """``[batch, ...]`` inputs and ``[batch]`` classes of some items of the data, in shuffled batches without end. The last of
    a round may be smaller, though not a single item, which batch normalization could not take."""
    x = data.x[torch.as_tensor(item, device=data.device)]
    classes = torch.as_tensor(label, device=data.device)
    sizes = np.diff(edges_of(len(item), batch_size)).tolist()
    while True:
        for chosen in torch.from_numpy(generator.permutation(len(item))).to(data.device).split(sizes):
            yield x.index_select(0, chosen), classes[chosen]


class CCC(Ensemble):
    """Two crowd layers that correct each other's confusion matrices.

    Args:
        groups: of annotators; None for the paper's 30, or one per annotator where there are fewer than 30.
        per_class: items of each class in a meta set (the paper's 1000 in all are 100 per class).
        rate: largest correction, as a share of the largest entry of ``T``; 0 leaves a pair of crowd layers.
        warmup: epochs without correction.
        meta_batch: items in a meta batch.
        gradient: ``full``, the paper's, through all parameters; ``head``, the released code's on images, through the last
            linear layer only, which needs neither a backward pass of the meta batch through the trunk nor a second pass of
            the batch.
        coupled: whether each network is corrected by the other's meta set, as in the paper; else by its own, a control.

    Attributes:
        groups: ``[annotators]`` group of each, for each network; empty in the warm-up.
        meta_sets: batches of the set that each network picked (and the other is corrected by); empty in the warm-up.
    """

    def __init__(
        self,
        backbone: MakeBackbone,
        crowd: CrowdLabels,
        groups: int | None = None,
        per_class: int = 100,
        rate: float = 0.5,
        warmup: int = 10,
        meta_batch: int = 128,
        gradient: str = "full",
        coupled: bool = True,
    ) -> None:
        n_groups = min(PAPER_GROUPS, crowd.n_annotators) if groups is None else groups
        if not 1 <= n_groups <= crowd.n_annotators:
            raise ValueError(f"groups must lie in 1 .. {crowd.n_annotators}, the number of annotators, found {groups}")
        choice("gradient", gradient, meta_gradient.MODES)
        within("per_class", per_class, 1)
        within("rate", rate, 0)
        within("warmup", warmup, 0)
        within("meta_batch", meta_batch, 2)
        super().__init__(backbone, crowd, base="crowdlayer-mw")
        self.n_groups, self.per_class, self.rate, self.warmup_epochs = n_groups, per_class, rate, warmup
        self.meta_batch, self.gradient, self.coupled = meta_batch, gradient, coupled
        self.compilable = gradient == "head"  # a compiled network cannot be differentiated twice
        self.groups: list[Tensor] = []
        self.meta_sets: list[Iterator[tuple[Tensor, Tensor]]] = []

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        """Groups and meta sets of the epoch. Their generator is not torch's, so that a rate of 0 draws the same dropout
        masks as a pair of crowd layers."""
        self.groups, self.meta_sets = [], []
        if epoch < self.warmup_epochs or self.rate == 0:
            return
        generator = np.random.default_rng([torch.initial_seed(), epoch])
        for member in self.members:
            self.groups.append(group_annotators(member.weight, self.n_groups, int(generator.integers(2**31))))
            log_prob = as_numpy(lambda x, member=member: torch.log_softmax(member.backbone(x), dim=1), data.x, member)
            item, label = select_confident(log_prob, data.crowd, self.per_class)
            self.meta_sets.append(meta_batches(item, label, data, self.meta_batch, generator))

    def loss(self, batch: Batch) -> Tensor:
        """Mean of both networks' losses without corrections, each in nats and a mean over labels."""
        return torch.stack([self._loss(member, batch) for member in self.members]).mean()

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
        """One update of both networks; the mean of their losses, at the corrected matrices."""
        optimizer.zero_grad(set_to_none=True)
        lr = optimizer.param_groups[0]["lr"]
        losses = [self._differentiate(network, batch, lr) for network in range(len(self.members))]
        optimizer.step()
        return torch.stack(losses).mean()

    def _differentiate(self, network: int, batch: Batch, lr: float) -> Tensor:
        """Gradients of a network's loss into its parameters; the loss."""
        member = self.members[network]
        if not self.meta_sets:
            loss = self._loss(member, batch)
            loss.backward()
            return loss.detach()
        forward = meta_gradient.training_pass(member.backbone, batch.x, self.gradient)
        corrected = member.weight.detach() + self.correction(network, batch, forward, lr)[self.groups[network]]
        actual = CrowdDerivatives(forward.logits, corrected, batch)
        forward.logits.backward(actual.class_logits.to(forward.logits.dtype))
        member.weight.grad = actual.matrices
        return actual.loss

    def correction(self, network: int, batch: Batch, forward: meta_gradient.TrainingPass, lr: float) -> Tensor:
        """``[groups, classes, classes]``: what to add to the matrices of a network (0 or 1) for a training batch, from its pass
        on that batch and its next meta batch; ``lr`` is of the virtual step. No graph."""
        backbone, matrices = self.members[network].backbone, self.members[network].weight.detach()
        inner = CrowdDerivatives(forward.logits, matrices, batch)
        moved = meta_gradient.virtual_step(backbone, forward, inner.class_logits.to(forward.logits.dtype), lr)
        x, label = next(self.meta_sets[1 - network if self.coupled else network])
        _, tangent = meta_gradient.look_ahead(backbone, forward, moved, x, label, self.gradient)
        gradient = -lr * inner.mixed(tangent, self.groups[network], self.n_groups)
        return self._normalized(gradient, (matrices - lr * inner.matrices).max())

    def _normalized(self, gradient: Tensor, largest_entry: Tensor) -> Tensor:
        """A step against the gradient whose largest entry is ``rate * largest_entry``; none where there is no gradient."""
        largest = gradient.abs().max()
        usable = torch.isfinite(largest) & (largest > 0)
        return torch.where(usable, -self.rate * largest_entry / largest * gradient, 0.0)

    def _loss(self, member: CrowdLayer, batch: Batch) -> Tensor:
        return crowd_loss(member.backbone(batch.x), member.weight, batch.position, batch.annotator, batch.label)
