"""Learners that withstand wrong targets without a model of the noise.

A network learns what is consistent before it memorizes what is wrong. Early-learning regularization holds on to the first
phase: with ``t_i`` the running mean of an item's own predictions,

    penalty = mean_i log(1 - <t_i, p_i>)        to be *minimized*: predictions stay where they were early on,

even where the target says otherwise. Co-teaching trains two networks, each on the items of the batch that the *other* one
finds easy, since wrong targets cost more than right ones while they are not yet memorized.

References: Liu, Niles-Weed, Razavian & Fernandez-Granda, "Early-learning regularization prevents memorization of noisy
labels" (NeurIPS 2020); Han et al., "Co-teaching" (NeurIPS 2018).
"""

import torch
from torch import Tensor, nn

from lib.registry import within

LEAST = 1e-4  # predictions are kept this far from 0 and 1, as in the released code: the penalty has no lower bound at 1
MOMENTUM = 0.7  # the paper's on CIFAR-10 with symmetric noise
RAMP = 10  # epochs after which co-teaching leaves out as much as is noise


def early_learning_penalty(prob: Tensor, target: Tensor) -> Tensor:
    """``mean_i log(1 - <t_i, p_i>)`` in nats, at most 0, of predictions and running means ``[batch, classes]``.

    Predictions are clipped to ``1e-4 .. 1 - 1e-4``, without gradient beyond; no gradient goes into the running means.
    """
    agreement = (target.detach() * prob.clamp(LEAST, 1 - LEAST)).sum(dim=1)
    return torch.log1p(-agreement).mean()


class EarlyLearning(nn.Module):
    """The penalty with its table ``target`` ``[items, classes]`` of running means, ``t = 0.7 t + 0.3 p``, started at zero.

    In training mode a call first updates the rows of the batch's items and then takes the penalty, as in the released code;
    in evaluation mode the table stays as it is.
    """

    def __init__(self, n_items: int, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("target", torch.zeros(n_items, n_classes))

    def forward(self, prob: Tensor, items: Tensor) -> Tensor:
        """Scalar in nats, of predictions ``[batch, classes]`` for distinct training items ``[batch]`` (int64)."""
        if self.training:
            seen = prob.detach().clamp(LEAST, 1 - LEAST).to(self.target.dtype)
            seen = seen / seen.sum(dim=1, keepdim=True)
            self.target[items] = MOMENTUM * self.target[items] + (1 - MOMENTUM) * seen
        return early_learning_penalty(prob, self.target[items].to(prob.dtype))


def forget_rate(epoch: int, noise: float) -> float:
    """Co-teaching's share of a batch to leave out: from 0 in epoch 0 evenly up to ``noise`` in epoch 10.

    Raises:
        ValueError: noise outside 0 .. 1.
    """
    within("noise", noise, 0, 1)
    return noise * min(epoch / RAMP, 1.0)


def exchange(first: Tensor, second: Tensor, forget: float) -> tuple[Tensor, Tensor]:
    """Co-teaching's exchange, from two networks' losses of the same items ``[batch]``: the positions from which the first
    network learns (the items that are easy for the second), and those from which the second does.

    All but the share ``forget`` (0 to 1), rounded to the nearest whole, and at least one.
    """
    kept = max(1, round((1 - forget) * len(first)))
    for_first, for_second = (torch.argsort(losses.detach(), stable=True)[:kept] for losses in (second, first))
    return for_first, for_second
