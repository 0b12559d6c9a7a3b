"""Methods that learn from a crowd. One file a method, all with the interface of :class:`Method`; those for another task than
classification derive from that task's own base class and override what is said of classes here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from lib.answers import Answers
from lib.backbones import Backbone
from lib.registry import Registry

if TYPE_CHECKING:
    from lib.datasets import CrowdData
    from lib.training import TrainingData

__all__ = ["Batch", "Info", "Method", "build", "info", "names", "register"]


@dataclass(frozen=True)
class Batch:
    """Some training items with their labels, as flat triples.

    Attributes:
        x: ``[batch, ...]`` inputs.
        items: ``[batch]`` int64, which training items they are.
        position: ``[labels]`` int64, the row of ``x`` that each label is about.
        annotator: ``[labels]`` int64, who gave it.
        label: ``[labels, ...]`` what was said: int64 where it is a class, float32 where it is a number.
    """

    x: Tensor
    items: Tensor
    position: Tensor
    annotator: Tensor
    label: Tensor


class Method(nn.Module):
    """A way to train a backbone from crowd labels.

    Args:
        backbone: makes a fresh, randomly initialized network at each call; most methods need one.
        crowd: the labels that it will be trained on.

    Attributes:
        task: what the method learns, see :attr:`lib.answers.Answers.task`.
        warmup_epochs: epochs at the start that do not count when the best or a validation-selected epoch is sought.
        compilable: whether nothing outside of a backbone looks at the operations inside it.
        n_classes: numbers that the network gives for an item.
    """

    task: ClassVar[str] = "classification"
    warmup_epochs: int = 0
    compilable: bool = True

    def __init__(self, backbone: Callable[[], Backbone], crowd: Answers) -> None:
        super().__init__()
        self.backbone = backbone()
        self.n_annotators = crowd.n_annotators
        self.n_classes = crowd.n_outputs

    def loss(self, batch: Batch) -> Tensor:
        """Scalar in nats, mean over the batch's labels unless the method's paper says otherwise."""
        raise NotImplementedError

    def predict_proba(self, x: Tensor) -> Tensor:
        """``[batch, classes]`` class probabilities, what the paper predicts with at test time."""
        return torch.softmax(self.backbone(x), dim=1)

    def predict(self, x: Tensor) -> Tensor:
        """``[batch, ...]`` what the method is scored by: here the class probabilities."""
        return self.predict_proba(x)

    def evaluate(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Scores on a split, called after every epoch; each becomes ``test_<name>`` and ``valid_<name>`` of the history."""
        from lib import training  # which imports this module

        return {"acc": training.accuracy(self, x, y)}

    def summary(self, data: CrowdData, history: dict[str, list[float]]) -> dict[str, float]:
        """What a finished run's row holds, the method's own :meth:`scores` included. ``data`` holds the truth: for scoring
        only."""
        from lib import scoring  # which imports this module

        return (scoring.classification if data.offsets is None else scoring.tagging)(self, data, history)

    def confusion(self) -> Tensor | None:
        """``[annotators, true class, label]`` with rows that sum to one; None where the method has none."""
        return None

    def posterior(self) -> Tensor | None:
        """``[items, classes]`` the method's belief about the training items' classes; None where it keeps none."""
        return None

    def set_confusion(self, confusion: Tensor) -> None:
        """Start the annotators' part at given matrices, so that :meth:`confusion` returns them until training goes on.

        Nothing happens in a method without a parameter that can hold any such matrices: it starts as it does.

        Args:
            confusion: ``[annotators, true class, label]``, rows sum to one, all entries above zero.
        """

    def scores(self, data: CrowdData) -> dict[str, float]:
        """Measures of the trained method beyond those that every run is scored by; they join the run's row. ``data`` holds
        the truth: for scoring only."""
        return {}

    def prepare(self, data: TrainingData, fit: Callable[..., dict[str, list[float]]]) -> None:
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

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict]:
        """The optimizer's parameter groups; overridden where a part has a rate or decay of its own."""
        return [{"params": list(self.parameters()), "lr": lr, "weight_decay": weight_decay}]


@dataclass(frozen=True)
class Info:
    """What the tables need to know of a method.

    Attributes:
        name: the registry's name.
        title: the name shown in tables.
        paper: authors and year.
        family: methods of a family share a hue in figures.
        revision: raised whenever a code change moves the method's numbers; part of every run's key.
        options: the constructor's options with their defaults.
        task: what it learns, and so which crowds it can learn from.
    """

    name: str
    title: str
    paper: str
    family: str
    revision: int
    options: dict = field(default_factory=dict)
    task: str = "classification"


@dataclass(frozen=True)
class _Entry:
    info: Info
    make: Callable[..., Method]
    preset: dict


_registry: Registry[_Entry] = Registry("method", __name__)


def register(name: str, *, title: str, paper: str, family: str, revision: int = 1, **preset) -> Callable:
    """Give a :class:`Method` class a name; one class may have several, with different preset options."""

    def decorate(make: Callable[..., Method]) -> Callable[..., Method]:
        parameters = list(inspect.signature(make).parameters.values())
        options = {p.name: p.default for p in parameters[2:] if p.name != "truth"} | preset
        _registry.add(name, _Entry(Info(name, title, paper, family, revision, options, make.task), make, preset))
        return make

    return decorate


def names(task: str | None = None) -> list[str]:
    """All methods, or those for one task."""
    return [name for name in _registry.names() if task in (None, info(name).task)]


def info(name: str) -> Info:
    """Title, paper, family, revision and options of a method. Raises ValueError for an unknown name."""
    return _registry.get(name).info


def build(name: str, backbone: Callable[[], Backbone], crowd: Answers, truth: Tensor | None = None, **options) -> Method:
    """A method, ready for :func:`lib.training.fit`; weights come from torch's global generator.

    Args:
        name: one of :func:`names`.
        backbone: makes a fresh backbone at each call.
        crowd: the labels to learn from.
        truth: ``[items]`` true classes, needed by the upper bound ``true-labels`` alone (and its like in other tasks) and
            given to no other method.
        options: the method's own.

    Raises:
        ValueError: unknown name, an option that the method does not have, a crowd that does another task, no labels, or a
            backbone with another number of classes.
    """
    entry = _registry.get(name)
    wrong = [option for option in options if option not in entry.info.options]
    if wrong:
        raise ValueError(f"method {name!r} has no option {wrong[0]!r}; it has: {', '.join(entry.info.options) or 'none'}")
    if entry.info.task != crowd.task:
        raise ValueError(f"method {name!r} is for {entry.info.task}, the crowd was asked for {crowd.task}: {crowd!r}")
    if len(crowd) == 0:
        raise ValueError("there is nothing to learn from: the crowd gave no label")
    if "truth" in inspect.signature(entry.make).parameters:
        options["truth"] = truth
    method = entry.make(backbone, crowd, **(entry.preset | options))
    if method.backbone.n_classes != crowd.n_outputs:
        raise ValueError(f"the backbone has {method.backbone.n_classes} classes, the labels have {crowd.n_outputs}")
    return method
