"""Methods that learn from a crowd. One file a method, all with the interface of :class:`Method`; those for another task than
classification derive from that task's own base class and override what is said of classes here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from lib.crowd.answers import Answers
from lib.methods.base import Method
from lib.networks import Backbone
from lib.registry import Registry

if TYPE_CHECKING:
    from lib.datasets.batches import TrainingData
    from lib.datasets.kinds import CrowdData

__all__ = ["Batch", "Info", "Method", "build", "info", "names", "register"]


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
    """A method, ready for :func:`lib.training.loop.fit`; weights come from torch's global generator.

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
