"""Information gain: arithmetic, slow loops over all pairs, the known values, and its optimum at the true posteriors."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.losses.information import DIVERGENCES, Negatives, class_prior, information_gain, perfect_agreement, scale

# The generators themselves; slopes are taken from them by automatic differentiation.
GENERATORS = {
    "kl": lambda t: t * t.log(),
    "pearson": lambda t: (t - 1) ** 2,
    "js": lambda t: t * t.log() - (t + 1) * ((t + 1) / 2).log(),
}
PRIOR = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)


def views(items: int = 6, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(2, items, classes, generator=generator, dtype=torch.float64)
    return tuple(torch.log_softmax(logits, dim=2))


def witness(ratio: float, divergence: str) -> tuple[float, float]:
    """``f'(t)`` and ``t f'(t) - f(t)``."""
    t = torch.tensor(ratio, dtype=torch.float64, requires_grad=True)
    value = GENERATORS[divergence](t)
    (slope,) = torch.autograd.grad(value, t)
    return slope.item(), ratio * slope.item() - value.item()


def slow_gain(p, q, prior, divergence, others=None):
    """One pair at a time; ``others`` are the fixed rows of the second view."""
    p, q, prior = p.tolist(), q.tolist(), prior.tolist()

    def ratio(first, second):
        return sum(a * b / c for a, b, c in zip(first, second, prior, strict=True))

    matching = [witness(ratio(p[i], q[i]), divergence)[0] for i in range(len(p))]
    if others is None:
        pairs = [(p[i], q[j]) for i in range(len(p)) for j in range(len(q)) if i != j]
    else:
        pairs = [(first, second) for first in p for second in others.tolist()]
    chance = [witness(ratio(*pair), divergence)[1] for pair in pairs]
    return sum(matching) / len(matching) - sum(chance) / len(chance)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("divergence", "batch", "population"),
    [("kl", 2.776269, 2.302585), ("pearson", 13.736842, 9.0), ("js", 1.164779, 1.051195)],
)
def test_certain_and_agreeing(divergence, batch, population):
    log_p = torch.eye(10, dtype=torch.float64).repeat_interleave(2, dim=0).log()
    prior = torch.full((10,), 0.1, dtype=torch.float64)
    assert information_gain(log_p, log_p, prior.log(), divergence).item() == pytest.approx(batch, abs=1e-6)
    everything = information_gain(log_p, log_p, prior.log(), divergence, Negatives.of(log_p.exp()))
    assert everything.item() == pytest.approx(population, abs=1e-6)
    assert perfect_agreement(prior, divergence) == pytest.approx(population, abs=1e-6)
    factor = 1 if divergence == "kl" else math.log(10) / population
    assert scale(prior, divergence) == pytest.approx(factor, abs=1e-6)
    certain = torch.eye(3, dtype=torch.float64)[[0] * 5 + [1] * 2 + [2] * 3]  # an uneven population
    gain = information_gain(certain.log(), certain.log(), PRIOR.log(), divergence, Negatives.of(certain))
    assert perfect_agreement(PRIOR, divergence) == pytest.approx(gain.item(), abs=1e-12)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_slow_loops(divergence):
    log_p, log_q = views()
    gain = information_gain(log_p, log_q, PRIOR.log(), divergence)
    assert gain.item() == pytest.approx(slow_gain(log_p.exp(), log_q.exp(), PRIOR, divergence), abs=1e-12)
    other = views(items=9, seed=3)[0].exp()
    gain = information_gain(log_p, log_q, PRIOR.log(), divergence, Negatives.of(other))
    assert gain.item() == pytest.approx(slow_gain(log_p.exp(), log_q.exp(), PRIOR, divergence, other), abs=1e-12)
    one = log_p[:1], log_q[:1]  # a batch of one
    gain = information_gain(*one, PRIOR.log(), divergence, Negatives.of(other))
    assert gain.item() == pytest.approx(slow_gain(one[0].exp(), one[1].exp(), PRIOR, divergence, other), abs=1e-12)
    with pytest.raises(ValueError, match="at least 2 items, found 1"):
        information_gain(*one, PRIOR.log(), divergence)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_views_are_interchangeable_and_chance_gains_nothing(divergence):
    log_p, log_q = views()
    there, back = (information_gain(*pair, PRIOR.log(), divergence) for pair in ((log_p, log_q), (log_q, log_p)))
    assert_close(there, back)
    ignorant = PRIOR.log().expand(6, -1)
    assert information_gain(ignorant, ignorant, PRIOR.log(), divergence).item() == pytest.approx(0, abs=1e-12)


# ------------------------------------------------------------------ optimum


def population():
    """512 items whose two views have exactly the shares of a population in which they are independent given the class.

    Returns the posteriors ``[items, classes]`` of both views, the prior, and the views' joint table.
    """
    prior = np.array([2, 1, 1]) / 4
    first = np.array([[4, 2, 1, 1], [1, 5, 1, 1], [1, 1, 2, 4]]) / 8  # p(first view | class)
    second = np.array([[10, 3, 3], [2, 12, 2], [4, 4, 8]]) / 16
    joint = np.einsum("c,ca,cb->ab", prior, first, second)
    counts = (joint * 4 * 8 * 16).round().astype(int)
    a, b = np.repeat(np.indices(joint.shape).reshape(2, -1), counts.ravel(), axis=1)
    posteriors = [(prior[:, None] * table / (prior @ table)).T[view] for table, view in ((first, a), (second, b))]
    return *(torch.from_numpy(posterior) for posterior in posteriors), torch.from_numpy(prior), joint


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_true_posteriors_reach_the_information_and_nothing_passes_it(divergence):
    p, q, prior, joint = population()
    product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    information = (product * GENERATORS[divergence](torch.from_numpy(joint / product)).numpy()).sum()

    logits = p.log().clone().requires_grad_()
    best = information_gain(torch.log_softmax(logits, dim=1), q.log(), prior.log(), divergence, Negatives.of(q))
    assert best.item() == pytest.approx(information, abs=1e-12)
    (slope,) = torch.autograd.grad(best, logits)
    (first, a), (second, b) = (torch.unique(view, dim=0, return_inverse=True) for view in (p, q))
    assert torch.zeros_like(first).index_add(0, a, slope).abs().max() < 1e-12

    # Functions of the views, not of the items: noise that follows an item through both views would be information.
    generator = torch.Generator().manual_seed(0)
    for size in (0.01, 0.1, 1.0, 3.0):
        log_a, log_b = (
            torch.log_softmax(rows.log() + size * torch.randn(rows.shape, generator=generator), dim=1)
            for rows in (first, second)
        )
        for log_p, log_q in ((log_a[a], q.log()), (p.log(), log_b[b]), (log_a[a], log_b[b])):
            worse = information_gain(log_p, log_q, prior.log(), divergence, Negatives.of(log_q.exp()))
            assert worse < best - 1e-8


# ------------------------------------------------------------------ priors and negatives


def test_memory_is_a_repeatable_draw_of_rows():
    q = views(items=2040)[0].exp().requires_grad_()
    kept = Negatives.of(q)
    assert kept.memory.shape == (2000, 3)
    assert len(torch.unique(torch.cat([kept.memory, q.detach()]), dim=0)) == 2040
    assert torch.equal(kept.memory, Negatives.of(q).memory)
    assert_close(kept.mean, q.detach().mean(dim=0))
    assert not any(table.requires_grad for table in (kept.mean, kept.second_moment, kept.memory))


def test_class_prior():
    prob = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    assert_close(class_prior(prob), torch.tensor([3.0, 2, 1, 1]) / 7)
    # Three classes fall to the floor, a tenth of an even share, before all are normalized.
    floored = (torch.tensor([301.0, 1, 1, 1]) / 304).clamp_min(0.025)
    assert_close(class_prior(torch.eye(4)[[0] * 300]), floored / floored.sum())


# ------------------------------------------------------------------ gradients, cost, edges


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_gradients(divergence):
    log_p, log_q = (view.clone().requires_grad_() for view in views(items=4))

    def gain(first, second):
        return information_gain(torch.log_softmax(first, dim=1), torch.log_softmax(second, dim=1), PRIOR.log(), divergence)

    assert torch.autograd.gradcheck(gain, (log_p, log_q))  # with negatives: tests/losses/test_distillation.py


@pytest.mark.parametrize(("divergence", "most"), [("kl", 300), ("pearson", 300), ("js", 100**2)])
def test_all_pairs_are_never_held_where_sums_do(divergence, most):
    log_p, log_q = (view.clone().requires_grad_() for view in views(items=100))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda kept: kept):
        information_gain(log_p, log_q, PRIOR.log(), divergence)
    assert max(kept) == most


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_extreme_logits_stay_finite(divergence):
    logits = torch.tensor([[300.0, 0, -300], [-300, 300, 0], [0, 0, 300]], requires_grad=True)
    log_q = torch.log_softmax(torch.tensor([[-300.0, 0, 300], [300, -300, 0], [0, 0, 300]]), dim=1)
    gain = information_gain(torch.log_softmax(logits, dim=1), log_q, PRIOR.float().log(), divergence)
    (slope,) = torch.autograd.grad(gain, logits)
    assert gain.isfinite()
    assert slope.isfinite().all()


def test_half_precision_is_left_for_the_sums():
    log_p, log_q = (view.float() for view in views(items=64))
    expected = information_gain(log_p, log_q, PRIOR.float().log(), "pearson")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(information_gain(log_p, log_q, PRIOR.float().log(), "pearson"), expected)


def test_refusals():
    log_p, log_q = views()
    for function in (lambda name: information_gain(log_p, log_q, PRIOR.log(), name), lambda name: scale(PRIOR, name)):
        with pytest.raises(ValueError, match=r"must be one of kl, pearson.*found 'hellinger'"):
            function("hellinger")
    with pytest.raises(ValueError, match=r"one shape, found \(6, 3\) and \(5, 3\)"):
        information_gain(log_p, log_q[:5], PRIOR.log())
