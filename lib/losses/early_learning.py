"""Learners that withstand wrong targets without a model of the noise.

A network learns what is consistent before it memorizes what is wrong. Early-learning regularization holds on to the first
phase: with ``t_i`` the running mean of an item's own predictions,

    penalty = mean_i log(1 - <t_i, p_i>)        to be *minimized*: predictions stay where they were early on,

even where the target says otherwise. Co-teaching trains two networks, each on the items of the batch that the *other* one
finds easy, since wrong targets cost more than right ones while they are not yet memorized.

References: Liu, Niles-Weed, Razavian & Fernandez-Granda, "Early-learning regularization prevents memorization of noisy
labels" (NeurIPS 2020); Han et al., "Co-teaching" (NeurIPS 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST = 1e-4  # predictions are kept this far from 0 and 1, as in the released code: the penalty has no lower bound at 1


def early_learning_penalty(prob: Tensor, target: Tensor) -> Tensor:
    """``mean_i log(1 - <t_i, p_i>)`` in nats, at most 0.

    Args:
        prob: ``[batch, classes]`` predictions; clipped to ``1e-4 .. 1 - 1e-4``, without gradient beyond.
        target: ``[batch, classes]`` running means of earlier ones; no gradient goes into them.
    """
    agreement = (target.detach() * prob.clamp(LEAST, 1 - LEAST)).sum(dim=1)
    return torch.log1p(-agreement).mean()


class EarlyLearning(nn.Module):
    """The penalty with its table of running means, ``t = momentum * t + (1 - momentum) * p``, started at zero.

    In training mode a call first updates the rows of the batch's items and then takes the penalty, as in the released code;
    in evaluation mode the table stays as it is.

    Args:
        n_items, n_classes: size of the table: it has a row for each training item.
        momentum: 0.7 on CIFAR-10 with symmetric noise, 0.9 with asymmetric noise in the paper.

    Raises:
        ValueError: a momentum outside 0 .. 1 (1 excluded).
    """

    def __init__(self, n_items: int, n_classes: int, momentum: float = 0.7) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, found {momentum}")
        self.momentum = momentum
        self.register_buffer("target", torch.zeros(n_items, n_classes))

    def forward(self, prob: Tensor, items: Tensor) -> Tensor:
        """Scalar in nats.

        Args:
            prob: ``[batch, classes]`` predictions.
            items: ``[batch]`` int64, distinct training items.
        """
        if self.training:
            seen = prob.detach().clamp(LEAST, 1 - LEAST).to(self.target.dtype)
            seen = seen / seen.sum(dim=1, keepdim=True)
            self.target[items] = self.momentum * self.target[items] + (1 - self.momentum) * seen
        return early_learning_penalty(prob, self.target[items].to(prob.dtype))


def forget_rate(epoch: int, noise: float, ramp: int = 10) -> float:
    """Co-teaching's share of a batch to leave out: from 0 in epoch 0 evenly up to ``noise`` in epoch ``ramp``.

    Raises:
        ValueError: noise outside 0 .. 1 or a ramp below 1.
    """
    if not 0 <= noise <= 1 or ramp < 1:
        raise ValueError(f"need noise in 0 .. 1 and a ramp of at least 1 epoch, found {noise} and {ramp}")
    return noise * min(epoch / ramp, 1.0)


def small_losses(losses: Tensor, forget: float) -> Tensor:
    """``[kept]`` int64: the items of a batch with the smallest losses, all but the share ``forget``; at least one.

    Args:
        losses: ``[batch]``, at least one.
        forget: share to leave out, 0 .. 1; the number kept is rounded to the nearest whole.
    """
    kept = max(1, round((1 - forget) * len(losses)))
    return torch.argsort(losses.detach(), stable=True)[:kept]


def exchange(first: Tensor, second: Tensor, forget: float) -> tuple[Tensor, Tensor]:
    """Co-teaching's exchange: what the first network learns from (the second's easy items), and what the second does.

    Args:
        first, second: ``[batch]`` losses of the two networks, item by item.
        forget: share to leave out.

    Returns:
        Two vectors ``[kept]`` of positions in the batch.
    """
    return small_losses(second, forget), small_losses(first, forget)
