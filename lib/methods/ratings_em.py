"""EM around a network for ratings: annotators with a bias and a precision (Raykar et al. 2010; in Rodrigues & Pereira 2018).

As DL-EM for classes, one epoch of training per round, starting from the mean of the ratings:

    E-step   t_i is Gaussian: precision 1/s2 + sum_r l_r, mean of f(x_i) and the ratings less their bias, so weighted
    M-step   b_r = mean(y_ir - t_i),  1/l_r = mean((y_ir - t_i - b_r)^2 + var t_i),  s2 alike around f;  train f on the means
"""

import numpy as np
import torch
from torch import Tensor

from lib.aggregation import ratings
from lib.crowd.labels import CrowdRatings
from lib.datasets.batches import TrainingData
from lib.methods.base import MakeBackbone
from lib.methods.ratings import MeanRating
from lib.networks.predict import as_numpy
from lib.registry import within


class RatingsEM(MeanRating):
    """Squared error against the posterior means of the true ratings, which are updated at the start of each epoch.

    Args:
        prior: as many more ratings of each annotator, without bias and of average precision: half of the annotators gave
            a handful.
        center, scale: as in :class:`lib.methods.ratings.RatingMethod`.
    """

    def __init__(
        self,
        backbone: MakeBackbone,
        crowd: CrowdRatings,
        prior: float = 2.0,
        center: float | None = None,
        scale: float | None = None,
    ) -> None:
        within("prior", prior, 0)
        super().__init__(backbone, crowd, center, scale)
        self.prior = prior
        # As the last round left them.
        self.annotators = ratings.Annotators(np.zeros(crowd.n_annotators), np.ones(crowd.n_annotators), np.inf)

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        if epoch == 0:  # the mean of the ratings, in the first round's M-step without doubt of it
            return
        prediction = as_numpy(self.predict, data.x, self)
        if epoch == 1:
            mean = self.target.cpu().double().numpy()
            posterior = mean, np.zeros_like(mean)
        else:
            posterior = ratings.e_step(prediction, self.annotators, data.crowd)
        self.annotators = ratings.m_step(prediction, *posterior, data.crowd, self.prior)
        mean, _ = ratings.e_step(prediction, self.annotators, data.crowd)
        self.target.copy_(torch.as_tensor(mean))

    def bias(self) -> Tensor:
        return torch.as_tensor(self.annotators.bias)
