"""Crowd Layer for ratings (Rodrigues & Pereira, "Deep Learning from Crowds", AAAI 2018).

The network's number ``f(x)`` passes through each annotator's own line, and both are trained together on all ratings:

    S     s[r] f(x)            a scale, started at one
    B     f(x) + b[r]          a bias, started at zero
    S+B   s[r] f(x) + b[r]

The ratings leave two things open: a constant can move between ``f`` and all biases, a factor between ``f`` and all scales.
The authors leave both to the start. Here the mean of the biases over the ratings is zero and that of the scales one: the
parameters are free, and the layer uses them less what is common to all. So ``f`` keeps mean and scale of the crowd as a whole.
"""

import torch
from torch import Tensor, nn

from lib.aggregation import ratings
from lib.crowd.labels import CrowdRatings
from lib.datasets.batches import Batch
from lib.losses.crowd import rating_loss
from lib.methods.base import MakeBackbone
from lib.methods.ratings import RatingMethod
from lib.registry import choice

VARIANTS = ("S", "B", "S+B")


class RatingLayer(RatingMethod):
    """Squared error of the annotators' lines, mean over ratings.

    Args:
        variant: ``S``, ``B`` or ``S+B``.
        prior: as many more ratings of each annotator, without bias and with the scale one: pulls those who said little
            toward the others.
        annotator_lr: learning rate of scales and biases as a multiple of the network's.
        free: leave constant and factor to the start, as the authors do.
        center, scale: as in :class:`lib.methods.ratings.RatingMethod`.
    """

    def __init__(
        self,
        backbone: MakeBackbone,
        crowd: CrowdRatings,
        variant: str = "S+B",
        prior: float = 0.0,
        annotator_lr: float = 1.0,
        free: bool = False,
        center: float | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__(backbone, crowd, center, scale)
        if not prior >= 0 or not annotator_lr > 0:
            raise ValueError(f"expected prior >= 0 and annotator_lr > 0, found {prior!r} and {annotator_lr!r}")
        self.variant, self.prior, self.free = choice("variant", variant, VARIANTS), prior, free
        self.annotator_rate = annotator_lr
        self.n_ratings = len(crowd)
        self.register_buffer("share", torch.as_tensor(ratings.weights(crowd)).to(torch.get_default_dtype()))
        self.raw_scale = nn.Parameter(torch.ones(crowd.n_annotators)) if "S" in variant else None
        self.raw_bias = nn.Parameter(torch.zeros(crowd.n_annotators)) if "B" in variant else None

    def lines(self) -> tuple[Tensor | None, Tensor | None]:
        """``[annotators]`` scales and ``[annotators]`` biases, standardized; None where the variant has none."""
        return self._fixed(self.raw_scale, 1.0), self._fixed(self.raw_bias, 0.0)

    def _fixed(self, raw: Tensor | None, mean: float) -> Tensor | None:
        # By a shift, for scales too: a division could meet a mean of zero.
        return raw if raw is None or self.free else raw - self.share @ raw + mean

    def loss(self, batch: Batch) -> Tensor:
        """Mean over ratings, of standardized ratings; the prior's part is the same in every batch."""
        scale, bias = self.lines()
        value = self.standardized(batch.label)
        loss = rating_loss(self.output(batch.x), value, batch.position, batch.annotator, scale, bias)
        if self.prior:
            deviation = [(line - start).square().sum() for line, start in ((scale, 1.0), (bias, 0.0)) if line is not None]
            loss = loss + self.prior / self.n_ratings * sum(deviation)
        return loss

    def bias(self) -> Tensor | None:
        _, bias = self.lines()
        return None if bias is None else ((bias - self.share @ bias) * self.scale).detach()

    def annotator_parameters(self) -> list[nn.Parameter]:
        return [line for line in (self.raw_scale, self.raw_bias) if line is not None]
