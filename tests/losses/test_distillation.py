"""The distillation loss: slow loops over the fixed teacher set, what its gradient is, and what a teacher can and cannot say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.losses.distillation import Distillation
from lib.losses.information import DIVERGENCES, class_prior

UNITS = {
    "kl": (lambda t: 1 + math.log(t), lambda t: t),
    "pearson": (lambda t: 2 * (t - 1), lambda t: t**2 - 1),
    "js": (lambda t: math.log(2 * t / (1 + t)), lambda t: math.log((1 + t) / 2)),
}


def logits(items=6, classes=3, seed=0, size=1.5):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(items, classes, generator=generator, dtype=torch.float64)


def teacher(items=9, classes=3, seed=1, size=1.5):
    return torch.softmax(logits(items, classes, seed, size), dim=1)


ITEMS = torch.tensor([4, 0, 7, 2, 8, 5])


# ------------------------------------------------------------------ values


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_information_gain_slowly(divergence):
    q, z = teacher(), logits()
    counted = torch.tensor([0, 1, 2, 4, 5, 7, 8])  # items 3 and 6 are in no batch, so they are no negatives
    loss = Distillation(q, counted, divergence=divergence)
    p, rows = torch.softmax(z, dim=1).numpy(), q.numpy()
    prior = (rows[counted].sum(axis=0) + 1) / (7 + 3)
    assert_close(loss.prior, torch.from_numpy(prior))
    assert_close(loss.prior, class_prior(q[counted]))
    matching, chance = UNITS[divergence]
    gain = np.mean([matching(sum(p[b] * rows[i] / prior)) for b, i in enumerate(ITEMS.tolist())])
    gain -= np.mean([chance(sum(p[b] * rows[j] / prior)) for b in range(6) for j in counted.tolist()])
    # So that perfect agreement ends at log C: what a certain pair of views would gain under this prior.
    certain = sum(prior[c] * matching(1 / prior[c]) - prior[c] ** 2 * chance(1 / prior[c]) for c in range(3))
    certain -= (1 - sum(prior**2)) * chance(0)
    factor = 1 if divergence == "kl" else math.log(3) / certain
    assert loss(torch.log_softmax(z, dim=1), ITEMS).item() == pytest.approx(-factor * gain, abs=1e-12)


def test_controls_by_hand():
    q = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], dtype=torch.float64)
    log_p = torch.tensor([[0.25, 0.5, 0.25], [0.2, 0.6, 0.2]], dtype=torch.float64).log()
    items = torch.tensor([0, 1])
    both = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert Distillation(q, loss="kl")(log_p, items).item() == pytest.approx((both - math.log(0.6)) / 2, abs=1e-12)
    assert Distillation(q, loss="ce")(log_p, items).item() == pytest.approx((math.log(4) - math.log(0.6)) / 2, abs=1e-12)
    evidence = [[0.125, 0.125, 0.0625], [0, 0.6, 0]] / Distillation(q).prior.numpy()
    assert Distillation(q, loss="kl").surprise(log_p, items).mean().item() == pytest.approx(
        (both - math.log(0.6)) / 2, abs=1e-12
    )
    assert Distillation(q).surprise(log_p, items).numpy() == pytest.approx(-np.log(np.sum(evidence, axis=1)), abs=1e-12)


# ------------------------------------------------------------------ gradients


@pytest.mark.parametrize(("loss", "divergence"), [*(("mig", name) for name in DIVERGENCES), ("kl", "kl"), ("ce", "kl")])
def test_gradients(loss, divergence):
    distillation = Distillation(teacher(), loss=loss, divergence=divergence)
    z = logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: distillation(torch.log_softmax(z, dim=1), ITEMS), z)
    one = torch.log_softmax(z[:1], dim=1)
    (slope,) = torch.autograd.grad(distillation(one, ITEMS[:1]), z)
    assert torch.isfinite(slope).all()
    assert slope[0].any()


def slope_of(distillation, z, items):
    z = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(distillation(torch.log_softmax(z, dim=1), items), z)
    return slope


def test_the_teacher_is_evidence_beside_the_students_belief():
    """With the teacher's own mean as prior: descent moves p toward p q / pi, where KL moves it toward q."""
    q, z = teacher(), logits()
    p = torch.softmax(z, dim=1)
    prior = q.mean(dim=0)
    target = p * q[ITEMS] / prior
    target = target / target.sum(dim=1, keepdim=True)
    assert_close(slope_of(Distillation(q, prior=prior), z, ITEMS), (p - target) / len(z))
    assert_close(slope_of(Distillation(q, loss="kl"), z, ITEMS), (p - q[ITEMS]) / len(z))


def test_doubtful_teacher_exerts_no_pressure():
    q = teacher()
    q[4] = (q.sum(dim=0) - q[4]) / 8  # the others' mean, and so the mean of all
    prior = q.mean(dim=0)
    assert_close(q[4], prior)
    slopes = slope_of(Distillation(q, prior=prior), logits(), ITEMS)
    assert slopes[0].abs().max() < 1e-12 < 1e-3 < slopes[1].abs().max()
    assert slope_of(Distillation(q, loss="kl"), logits(), ITEMS)[0].abs().max() > 1e-3


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_ignoring_the_item_gains_nothing(divergence):
    q = teacher()
    loss = Distillation(q, divergence=divergence)
    assert loss(loss.prior.log().expand(9, 3), torch.arange(9)).item() == pytest.approx(0, abs=1e-12)
    assert loss(q.log(), torch.arange(9)) < -0.01


# ------------------------------------------------------------------ edges


def test_no_gradient_reaches_the_teacher():
    q = teacher().requires_grad_()
    assert not Distillation(q).teacher.requires_grad
    assert not Distillation(q).prior.requires_grad


def test_refusals():
    with pytest.raises(ValueError, match="one of mig, kl, ce, found 'mse'"):
        Distillation(teacher(), loss="mse")
    with pytest.raises(ValueError, match="one of kl, pearson, js, found 'reverse-kl'"):
        Distillation(teacher(), divergence="reverse-kl")
    with pytest.raises(ValueError, match="at least one item, found none"):
        Distillation(teacher(), torch.tensor([], dtype=torch.int64))
