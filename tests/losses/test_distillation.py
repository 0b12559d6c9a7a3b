"""The distillation loss: values by hand, what its gradient is, and what a teacher can and cannot say."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.losses.distillation import Distillation
from lib.losses.information import DIVERGENCES, Negatives, class_prior, information_gain, scale

ITEMS = torch.tensor([4, 0, 7, 2, 8, 5])


def logits(items=6, seed=0):
    return 1.5 * torch.randn(items, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def teacher():
    return torch.softmax(logits(9, seed=1), dim=1)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_mig_is_the_scaled_gain_over_all_items_that_count(divergence):
    q, log_p = teacher(), torch.log_softmax(logits(), dim=1)
    counted = torch.tensor([0, 1, 2, 4, 5, 7, 8])  # items 3 and 6 are in no batch, so they are no negatives
    prior = class_prior(q[counted])
    gain = information_gain(log_p, q[ITEMS].log(), prior.log(), divergence, Negatives.of(q[counted]))
    assert_close(Distillation(q, counted, divergence=divergence)(log_p, ITEMS), -scale(prior, divergence) * gain)


def test_controls_by_hand():
    q = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], dtype=torch.float64)
    log_p = torch.tensor([[0.25, 0.5, 0.25], [0.2, 0.6, 0.2]], dtype=torch.float64).log()
    items = torch.tensor([0, 1])
    both = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert Distillation(q, loss="kl")(log_p, items).item() == pytest.approx((both - math.log(0.6)) / 2, abs=1e-12)
    assert Distillation(q, loss="ce")(log_p, items).item() == pytest.approx((math.log(4) - math.log(0.6)) / 2, abs=1e-12)
    evidence = [[0.125, 0.125, 0.0625], [0, 0.6, 0]] / Distillation(q).prior.numpy()
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


def slope_of(distillation, z):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(distillation(torch.log_softmax(z, dim=1), ITEMS), z)[0]


def test_the_teacher_is_evidence_beside_the_students_belief():
    """With the teacher's own mean as prior: descent moves p toward p q / pi, where KL moves it toward q."""
    q, z = teacher(), logits()
    p = torch.softmax(z, dim=1)
    prior = q.mean(dim=0)
    target = p * q[ITEMS] / prior
    target = target / target.sum(dim=1, keepdim=True)
    assert_close(slope_of(Distillation(q, prior=prior), z), (p - target) / len(z))
    assert_close(slope_of(Distillation(q, loss="kl"), z), (p - q[ITEMS]) / len(z))


def test_doubtful_teacher_exerts_no_pressure():
    q = teacher()
    q[4] = (q.sum(dim=0) - q[4]) / 8  # the others' mean, and so the mean of all
    prior = q.mean(dim=0)
    assert_close(q[4], prior)
    slopes = slope_of(Distillation(q, prior=prior), logits())
    assert slopes[0].abs().max() < 1e-12 < 1e-3 < slopes[1].abs().max()
    assert slope_of(Distillation(q, loss="kl"), logits())[0].abs().max() > 1e-3


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_ignoring_the_item_gains_nothing(divergence):
    q = teacher()
    loss = Distillation(q, divergence=divergence)
    assert loss(loss.prior.log().expand(9, 3), torch.arange(9)).item() == pytest.approx(0, abs=1e-12)
    assert loss(q.log(), torch.arange(9)) < -0.01


# ------------------------------------------------------------------ edges


def test_no_gradient_reaches_the_teacher():
    assert not Distillation(teacher().requires_grad_()).teacher.requires_grad


def test_refusals():
    with pytest.raises(ValueError, match="one of mig, kl, ce, found 'mse'"):
        Distillation(teacher(), loss="mse")
    with pytest.raises(ValueError, match="one of kl, pearson, js, found 'reverse-kl'"):
        Distillation(teacher(), divergence="reverse-kl")
    with pytest.raises(ValueError, match="at least one item, found none"):
        Distillation(teacher(), torch.tensor([], dtype=torch.int64))
