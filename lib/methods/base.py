"""The interface of all methods, which is all that the training loop and the scores know of them."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from lib.aggregation.em_steps import check_memory
from lib.crowd.triples import Triples
from lib.datasets.batches import Batch, TrainingData
from lib.datasets.kinds import CrowdData
from lib.networks import Backbone

MakeBackbone = Callable[[], Backbone]  # a fresh, randomly initialized network at each call
Fitting = Callable[..., dict[str, list[float]]]  # see `Method.prepare`


def matrices(crowd: Triples, on: float, off: float = 0.0) -> Tensor:
    """``[annotators, true class, label]``: for all annotators alike ``on`` on the diagonal and ``off`` beside it.

    Raises MemoryError where this machine cannot train so many; names the bytes.
    """
    check_trainable(crowd)
    return (off + (on - off) * torch.eye(crowd.n_outputs)).repeat(crowd.n_annotators, 1, 1)


def check_trainable(crowd: Triples) -> None:
    """Raises MemoryError where a matrix for each annotator is more than this machine can train; names the bytes."""
    four_of_float32 = 2  # parameters, gradients and two moments, in arrays of float64
    less = "of the methods, crowdlayer-vw and crowdlayer-vwb have a weight for each class instead, and majority-vote has none"
    check_memory(crowd.n_annotators, crowd.n_outputs, four_of_float32, less)


class Method(nn.Module):
    """A way to train a backbone from crowd labels.

    Attributes:
        task: what the method learns, see :attr:`lib.crowd.triples.Triples.task`.
        warmup_epochs: epochs at the start that do not count when the best or a validation-selected epoch is sought.
        compilable: whether its networks may be compiled, and so are differentiated only once.
        annotator_rate: learning rate of the annotators' parameters relative to the network's.
        n_classes: numbers that the network gives for an item.
        confusion_logits: ``[annotators, true class, label]``, the annotators' matrices before the softmax over labels; None
            in a method that has them in another form, or not at all.
    """

    task: ClassVar[str] = "classification"
    warmup_epochs: int = 0
    compilable: bool = True
    annotator_rate: float = 1.0

    def __init__(self, backbone: MakeBackbone, crowd: Triples) -> None:
        super().__init__()
        self.backbone = backbone()
        self.n_annotators, self.n_classes = crowd.n_annotators, crowd.n_outputs
        self.register_parameter("confusion_logits", None)

    def loss(self, batch: Batch) -> Tensor:
        """Scalar in nats, mean over the batch's labels unless the method's paper says otherwise."""
        raise NotImplementedError

    def predict_proba(self, x: Tensor) -> Tensor:
        """``[batch, classes]`` class probabilities, what the paper predicts with at test time."""
        return torch.softmax(self.backbone(x), dim=1)

    def predict(self, x: Tensor) -> Tensor:
        """``[batch, ...]`` what the method is scored by: here the class probabilities."""
        return self.predict_proba(x)

    def confusion(self) -> Tensor | None:
        """``[annotators, true class, label]`` with rows that sum to one; None where the method has none."""
        return None if self.confusion_logits is None else torch.softmax(self.confusion_logits, dim=2).detach()

    def posterior(self) -> Tensor | None:
        """``[items, classes]`` the method's belief about the training items' classes; None where it keeps none."""
        return None

    def set_confusion(self, confusion: Tensor) -> None:
        """Start the annotators' part at ``[annotators, true class, label]`` matrices (rows sum to one, entries above zero), so
        that :meth:`confusion` returns them. A method without a parameter that can hold any such matrices starts as it does."""
        if self.confusion_logits is not None:
            with torch.no_grad():
                self.confusion_logits.copy_(confusion.log())

    def scores(self, data: CrowdData) -> dict[str, float]:
        """Measures of the trained method beyond those that every run is scored by; they join the run's row. ``data`` holds
        the truth: for scoring only."""
        return {}

    def prepare(self, data: TrainingData, fit: Fitting) -> None:
        """Called once, before the optimizer is made: for methods of several stages. ``fit(method, data=data, **changes)``
        trains another method first, by the same recipe with ``changes``, and returns its history."""

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        """Called before each epoch, counted from 0: E-steps, clustering, meta sets."""

    def end_epoch(self, epoch: int, data: TrainingData) -> None:
        """Called after each epoch, before it is scored."""

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
        """One update; returns the detached loss. Overridden only by a method with an inner loop of its own."""
        optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def annotator_parameters(self) -> list[nn.Parameter]:
        """Those that say who the annotators are: they learn at ``annotator_rate`` times the rate, and without decay, which
        would pull every annotator toward guessing."""
        return [] if self.confusion_logits is None else [self.confusion_logits]

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict]:
        """The optimizer's parameter groups: what learns of the networks, and the annotators' parameters."""
        annotators = self.annotator_parameters()
        apart = {id(p) for p in annotators}
        networks = [p for p in self.parameters() if p.requires_grad and id(p) not in apart]
        groups = [
            {"params": networks, "lr": lr, "weight_decay": weight_decay},
            {"params": annotators, "lr": lr * self.annotator_rate, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]
