"""GLAD or MACE first, train afterwards: two aggregations between majority vote and Dawid-Skene."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib.aggregation.glad import glad
from lib.aggregation.mace import mace
from lib.crowd.labels import CrowdLabels
from lib.methods.aggregated import Aggregated, one_hot
from lib.networks import Backbone


class GladThenTrain(Aggregated):
    """Trained on the most likely class of each item under GLAD: abilities of annotators, difficulties of items."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels) -> None:
        super().__init__(backbone, crowd, one_hot(glad(crowd).posterior.argmax(axis=1), crowd.n_classes))


class MaceThenTrain(Aggregated):
    """Trained on the most likely class of each item under MACE: annotators know the class, or spam."""

    def __init__(self, backbone: Callable[[], Backbone], crowd: CrowdLabels, seed: int = 0) -> None:
        fitted = mace(crowd, seed=seed)
        super().__init__(backbone, crowd, one_hot(fitted.posterior.argmax(axis=1), crowd.n_classes))
        self.register_buffer("_confusion", torch.as_tensor(fitted.confusion, dtype=torch.float32))

    def confusion(self) -> Tensor:
        return self._confusion
