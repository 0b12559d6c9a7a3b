"""Regression from a crowd's ratings: what its methods share, and the plain ones: the mean of the ratings, and the truth.

A network gives one number for an item. Ratings are standardized before training by the mean and standard deviation of the
ratings that were given, and predictions are turned back, so errors are in the ratings' unit. The authors' notebook takes both
numbers from the *true* ratings, which a crowd does not tell; the options ``center`` and ``scale`` can say such numbers.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lib.aggregation import ratings
from lib.crowd.labels import CrowdRatings
from lib.datasets.batches import Batch
from lib.methods.base import MakeBackbone, Method


class RatingMethod(Method):
    """A network with one output, which learns ``(rating - center) / scale``: None for mean and standard deviation of the
    ratings."""

    task: ClassVar[str] = "regression"

    def __init__(
        self, backbone: MakeBackbone, crowd: CrowdRatings, center: float | None = None, scale: float | None = None
    ) -> None:
        super().__init__(backbone, crowd)
        center = float(crowd.value.mean()) if center is None else center
        # Ratings that are all the same leave nothing to scale.
        scale = float(crowd.value.std()) or 1.0 if scale is None else scale
        if not scale > 0:
            raise ValueError(f"scale must be above 0, found {scale!r}")
        self.center, self.scale = float(center), float(scale)

    def standardized(self, value: Tensor) -> Tensor:
        """Ratings in the network's unit."""
        return (value - self.center) / self.scale

    def output(self, x: Tensor) -> Tensor:
        """``[batch]`` the network's number for each item, standardized."""
        return self.backbone(x).squeeze(1)

    def predict(self, x: Tensor) -> Tensor:
        """``[batch]`` ratings."""
        return self.center + self.scale * self.output(x)

    def predict_proba(self, x: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} predicts ratings, not classes: use predict")

    def estimate(self) -> Tensor | None:
        """``[items]`` the method's belief about the training items' true ratings; None where it keeps none."""
        return None

    def bias(self) -> Tensor | None:
        """``[annotators]`` what each adds to an average item, in the ratings' unit and with the mean zero over the ratings;
        None where the method has no such thing."""
        return None


class MeanRating(RatingMethod):
    """Squared error against a fixed number for each item: here the mean of its ratings."""

    def __init__(
        self, backbone: MakeBackbone, crowd: CrowdRatings, center: float | None = None, scale: float | None = None
    ) -> None:
        super().__init__(backbone, crowd, center, scale)
        mean = np.nan_to_num(ratings.mean_rating(crowd))  # items that nobody rated are never looked at
        self.register_buffer("target", torch.as_tensor(mean).to(torch.get_default_dtype()))

    def loss(self, batch: Batch) -> Tensor:
        """Mean over items, of standardized ratings."""
        return torch.mean((self.output(batch.x) - self.standardized(self.target[batch.items])) ** 2)

    def estimate(self) -> Tensor:
        return self.target


class TrueRatings(MeanRating):
    """Trained on the truth ``[items]`` of the rated items: what no crowd method can be expected to surpass."""

    def __init__(
        self,
        backbone: MakeBackbone,
        crowd: CrowdRatings,
        truth: Tensor,
        center: float | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__(backbone, crowd, center, scale)
        self.target.copy_(torch.as_tensor(truth))
