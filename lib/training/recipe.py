"""How to train: epochs, batches, optimizer and schedule."""

import math
from dataclasses import dataclass

from lib.registry import choice


@dataclass(frozen=True)
class Recipe:
    """How to train; part of every run's key. Defaults are never changed: add a field with a neutral default instead.

    Attributes:
        epochs: number of scored epochs.
        batch_size: items in a batch.
        passes: times that an epoch goes through the items (the papers' LabelMe holds each image ten times).
        optimizer: ``adam`` or ``sgd``.
        lr: learning rate (the highest one, with a schedule).
        weight_decay: L2 term added to the gradient.
        momentum: of SGD.
        schedule: ``constant``, ``step`` (times ``gamma`` at each milestone), ``cosine`` or ``onecycle`` (both a step at a
            time, to the end of training).
        milestones: epochs of ``step``.
        gamma: factor of ``step``.
        crop: pixels of black border from which training images are cropped at random, differently each time; 0 for none.
        flip: whether half of the training images are flipped from left to right, others each time.
        precision: ``float32``, or ``mixed``: backbones compute in bfloat16 (see :mod:`lib.training.device`).
        compiled: on CUDA, compile the backbones; pays for long runs only.

    Raises:
        ValueError: a value outside its range.
    """

    epochs: int = 50
    batch_size: int = 64
    passes: int = 1
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    crop: int = 0
    flip: bool = False
    precision: str = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("passes", 1), ("crop", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, found {value!r}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be a finite number above 0, found {self.lr!r}")
        choice("optimizer", self.optimizer, ("adam", "sgd"))
        choice("schedule", self.schedule, ("constant", "step", "cosine", "onecycle"))
        choice("precision", self.precision, ("float32", "mixed"))
        object.__setattr__(self, "milestones", tuple(self.milestones))
