"""f-mutual information gain: how much two predictions of the same items agree beyond chance.

Two views of item ``i``, ``p_i`` and ``q_i`` (distributions over classes), and a class prior ``pi`` give for each pair of
items

    m[i, j] = sum_c p_i[c] q_j[c] / pi[c],

which is the density ratio of the joint to the product of the views when both are true posteriors and the views are
independent given the class. With a convex ``f``, ``f(1) = 0``, the variational bound on the f-mutual information is

    J = mean_i a(m[i, i]) - mean_{i != j} b(m[i, j]),      a(t) = f'(t),   b(t) = t f'(t) - f(t),

to be maximized: true posteriors reach the f-mutual information itself and every other prediction stays below it. Items
paired with others of the batch play the part of independent draws.

    divergence    f(t)                              a(t)               b(t)
    kl            t log t                           1 + log t          t
    pearson       (t - 1)^2                         2 (t - 1)          t^2 - 1
    js            t log t - (t + 1) log((t+1)/2)    log(2t / (1+t))    log((1+t) / 2)

All ``n (n - 1)`` pairs are used, and cheaply: ``kl`` needs two sums over the batch, ``pearson`` two second-moment matrices,
``js`` the matrix ``m``. The diagonal is never among them, it would bias the term.

References: Kong & Schoenebeck (arXiv 1802.08887); Cao, Xu, Kong & Wang, "Max-MIG" (ICLR 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.registry import choice

MATCHING = {  # a(m), from log m
    "kl": lambda log_ratio: 1 + log_ratio,
    "pearson": lambda log_ratio: 2 * torch.expm1(log_ratio),
    "js": lambda log_ratio: math.log(2) + F.logsigmoid(log_ratio),
}
CHANCE = {  # b(m), from m
    "kl": lambda ratio: ratio,
    "pearson": lambda ratio: ratio**2 - 1,
    "js": lambda ratio: torch.log1p(ratio) - math.log(2),
}
DIVERGENCES = tuple(MATCHING)
MEMORY = 2000  # rows of the fixed second view that ``js`` is computed with
PSEUDO_COUNT = 1.0  # items added to each class of a prior
FLOOR = 0.1  # least share of a class in a prior, relative to an even share


@dataclass(frozen=True)
class Negatives:
    """What the second term needs of a fixed second view, so that it can run over a whole training set at each step.

    In distillation the teacher does not move. Its means are then known once and for all, and the second term loses most of
    the noise of a batch. Pairs of an item with itself are not told apart: their share is one in the number of items.

    Attributes:
        mean: ``[classes]`` mean of ``q``, for ``kl``.
        second_moment: ``[classes, classes]`` mean of ``q q^T``, for ``pearson``.
        memory: ``[at most 2000, classes]`` some rows of ``q``, for ``js``.
    """

    mean: Tensor
    second_moment: Tensor
    memory: Tensor

    @classmethod
    def of(cls, q: Tensor) -> Negatives:
        """From the second view's predictions ``[items, classes]`` of all items; no gradient goes into them."""
        q = q.detach()
        chosen = torch.randperm(len(q), generator=torch.Generator().manual_seed(0))[:MEMORY].to(q.device)
        return cls(q.mean(dim=0), q.T @ q / len(q), q[chosen])


def class_prior(prob: Tensor) -> Tensor:
    """``[classes]`` class prior from predictions or vote shares ``[items, classes]``, without gradient into them.

    An item is added to each class, and no share is less than a tenth of an even one, because the ratio divides by it.
    """
    items, classes = prob.shape
    prior = (prob.detach().sum(dim=0) + PSEUDO_COUNT) / (items + PSEUDO_COUNT * classes)
    prior = prior.clamp_min(FLOOR / classes)
    return prior / prior.sum()


def information_gain(
    log_p: Tensor, log_q: Tensor, log_prior: Tensor, divergence: str = "kl", negatives: Negatives | None = None
) -> Tensor:
    """f-mutual information gain ``J`` between two views of a batch, to be maximized; see the module's head.

    Matching pairs are taken in log space, so nothing is clipped and a confident disagreement keeps its gradient. A
    ``log_q`` of minus infinity (a hard second view) is allowed as long as ``log_p`` is finite. ``js`` and ``kl`` are in nats.

    Args:
        log_p, log_q: ``[batch, classes]`` log-probabilities, row by row about the same items; ``log_prior`` ``[classes]``.
        negatives: of the fixed second view over all items; by default the pairs inside the batch, which must be two at least.

    Raises:
        ValueError: unknown divergence, views of different shapes, or too small a batch.
    """
    choice("divergence", divergence, DIVERGENCES)
    least = 2 if negatives is None else 1
    if log_p.shape != log_q.shape:
        raise ValueError(f"both views must have one shape, found {tuple(log_p.shape)} and {tuple(log_q.shape)}")
    if len(log_p) < least:
        raise ValueError(f"information gain needs a batch of at least {least} items, found {len(log_p)}")
    # Never under autocast: in half precision the sum over pairs loses the few that matter.
    with torch.autocast(log_p.device.type, enabled=False):
        dtype = torch.promote_types(log_p.dtype, torch.float32)
        log_p, log_q, log_prior = log_p.to(dtype), log_q.to(dtype), log_prior.to(dtype)
        log_ratio = torch.logsumexp(log_p + log_q - log_prior, dim=1)  # log m[i, i]
        p_over_prior = (log_p - log_prior).exp()
        if negatives is None:
            chance = _batch_chance(p_over_prior, log_q.exp(), log_ratio.exp(), divergence)
        else:
            chance = _fixed_chance(p_over_prior, negatives, divergence)
        return MATCHING[divergence](log_ratio).mean() - chance


def perfect_agreement(prior: Tensor, divergence: str = "kl") -> float:
    """``J`` of two views that always agree and are certain, in a population with this class prior ``[classes]``, above zero.

    ``H(pi)`` for ``kl``, ``C - 1`` for ``pearson`` whatever the prior. Raises ValueError for an unknown divergence.
    """
    choice("divergence", divergence, DIVERGENCES)
    prior = prior.cpu().double()
    same = (prior**2).sum()  # two items drawn at random have the same class
    ratio, a, b = 1 / prior, MATCHING[divergence], CHANCE[divergence]
    matching = (prior * a(ratio.log())).sum()
    chance = (prior**2 * b(ratio)).sum() + (1 - same) * b(torch.zeros_like(same))
    return float(matching - chance)


def scale(prior: Tensor, divergence: str = "kl") -> float:
    """Factor that lets every divergence end near ``log C``, so that one weight beside another loss serves them all: 1 for
    ``kl``, ``log C`` over :func:`perfect_agreement` for the others."""
    return 1.0 if divergence == "kl" else math.log(len(prior)) / perfect_agreement(prior, divergence)


def _batch_chance(p_over_prior: Tensor, q: Tensor, matching: Tensor, divergence: str) -> Tensor:
    """Mean of ``b(m[i, j])`` over the pairs of different items of a batch; ``matching`` is ``m[i, i]``."""
    pairs = len(q) * (len(q) - 1)
    if divergence == "kl":
        return (p_over_prior.sum(dim=0) @ q.sum(dim=0) - matching.sum()) / pairs
    if divergence == "pearson":
        everything = ((p_over_prior.T @ p_over_prior) * (q.T @ q)).sum()
        return (everything - (matching**2).sum()) / pairs - 1
    table = CHANCE[divergence](p_over_prior @ q.T)
    return (table.sum() - table.diagonal().sum()) / pairs


def _fixed_chance(p_over_prior: Tensor, negatives: Negatives, divergence: str) -> Tensor:
    """Mean of ``b(m[i, j])`` over the batch's first view and all (or many) rows of the second."""
    if divergence == "kl":
        return (p_over_prior @ negatives.mean.to(p_over_prior)).mean()
    if divergence == "pearson":
        return ((p_over_prior @ negatives.second_moment.to(p_over_prior)) * p_over_prior).sum(dim=1).mean() - 1
    return CHANCE[divergence](p_over_prior @ negatives.memory.to(p_over_prior).T).mean()
