"""Ensembles: independently started networks of one method, trained side by side.

CCC (Zhang et al. 2024) predicts with two networks and is compared with single ones. A pair of any other method on the same
batches, which predicts in the same way, shows how much of the margin is the second network: the control that the paper
lacks.
"""

import torch
from torch import Tensor, nn

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch, TrainingData
from lib.datasets.kinds import CrowdDataset
from lib.methods import build
from lib.methods.base import Fitting, MakeBackbone, Method


class Ensemble(Method):
    """Networks that share nothing but the batches: each is updated exactly as it would be alone.

    Args:
        base: the method of every member.
        base_options: the members' options; None for the method's own defaults.
    """

    size: int = 2  # members, as CCC has

    def __init__(
        self, backbone: MakeBackbone, crowd: CrowdLabels, base: str = "crowdlayer-mw", base_options: dict | None = None
    ) -> None:
        members = [build(base, backbone, crowd, **(base_options or {})) for _ in range(self.size)]
        super().__init__(lambda: members[0].backbone, crowd)
        self.members = nn.ModuleList(members)
        self.warmup_epochs = members[0].warmup_epochs

    def loss(self, batch: Batch) -> Tensor:
        """Mean of the members' losses."""
        return torch.stack([member.loss(batch) for member in self.members]).mean()

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
        """A step of each member in turn; the mean of their losses. Members that wait have no gradient, and an optimizer
        passes over what has none, so each parameter moves once."""
        return torch.stack([member.step(batch, optimizer) for member in self.members]).mean()

    def predict_proba(self, x: Tensor) -> Tensor:
        """Mean of the members' class probabilities."""
        return torch.stack([member.predict_proba(x) for member in self.members]).mean(dim=0)

    def confusion(self) -> Tensor | None:
        """Mean of the members' matrices: what an annotator says of a class, by a member drawn at random."""
        return _mean([member.confusion() for member in self.members])

    def posterior(self) -> Tensor | None:
        """Mean of the members' beliefs."""
        return _mean([member.posterior() for member in self.members])

    def set_confusion(self, confusion: Tensor) -> None:
        for member in self.members:
            member.set_confusion(confusion)

    def scores(self, data: CrowdDataset) -> dict[str, float]:
        """Means over the members."""
        scores = [member.scores(data) for member in self.members]
        return {name: sum(score[name] for score in scores) / len(scores) for name in scores[0]}

    def prepare(self, data: TrainingData, fit: Fitting) -> None:
        for member in self.members:
            member.prepare(data, fit)

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        for member in self.members:
            member.begin_epoch(epoch, data)

    def end_epoch(self, epoch: int, data: TrainingData) -> None:
        for member in self.members:
            member.end_epoch(epoch, data)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict]:
        """The members' groups, one after the other."""
        return [group for member in self.members for group in member.parameter_groups(lr, weight_decay)]


def _mean(parts: list[Tensor | None]) -> Tensor | None:
    return None if parts[0] is None else torch.stack(parts).mean(dim=0)
