"""Losses by hand, at the edges and in float32; slow loops and gradients are the methods' (``tests/methods``)."""

import math

import pytest
import torch
from torch.testing import assert_close

from lib.losses import crowd as losses
from lib.losses.crowd import (
    annotator_volume,
    classifier_volume,
    coupled_cross_entropy,
    crowd_layer_logits,
    label_cross_entropy,
    log_rows,
    mean_trace,
    rating_loss,
    soft_cross_entropy,
)
from tests.worked_example import LOGITS, MATRICES, random_example

# ------------------------------------------------------------------ cross-entropies


def test_perfect_annotators_make_it_cross_entropy():
    example = random_example()
    position, annotator, label = example.batch.position, example.batch.annotator, example.batch.label
    perfect = torch.eye(4, dtype=torch.float64).expand(5, 4, 4)
    usual = torch.nn.functional.cross_entropy(example.logits[position], label)
    assert_close(coupled_cross_entropy(example.logits, perfect.log(), position, annotator, label), usual)
    one_hot = torch.eye(4, dtype=torch.float64)[label]
    assert_close(soft_cross_entropy(example.logits[position], one_hot), usual)


def test_coupled_cross_entropy_needs_no_clipping():
    # The classifier and the annotator are each certain, of different things: e^-2000 is zero in any float.
    logits, log_confusion = torch.tensor([[1000.0, -1000.0]]), torch.tensor([[[0.0, -1000.0], [-1000.0, 0.0]]])
    logits.requires_grad_()
    first = torch.tensor([0])
    loss = coupled_cross_entropy(logits, log_confusion, first, first, torch.tensor([1]))
    assert loss.item() == pytest.approx(1000.0)
    loss.backward()
    assert logits.grad.isfinite().all()


def test_crowd_layer_ignores_a_constant_in_a_row():
    example = random_example()
    prob = torch.softmax(example.logits, dim=1)
    weight = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    plain, by_class, by_label = (
        label_cross_entropy(
            crowd_layer_logits(prob, weight + shift, example.batch.position, example.batch.annotator), example.batch.label
        )
        for shift in (0, torch.arange(4.0)[:, None], torch.arange(4.0))  # nothing, for each true class, for each label
    )
    assert_close(plain, by_class)
    assert abs(plain - by_label) > 0.01


# ------------------------------------------------------------------ volumes and trace


def test_volumes_by_hand():
    # Two items of each class, one-hot: the Gram matrix is 2 I.
    assert classifier_volume(torch.eye(3).repeat(2, 1), ridge=0.0).item() == pytest.approx(-3 * math.log(2))
    assert classifier_volume(torch.eye(3).repeat(2, 1), ridge=0.5).item() == pytest.approx(-3 * math.log(2.5))
    # A permutation times its transpose is the identity, so five annotators sum to 5 I, the largest volume there is.
    permutations = torch.eye(3)[torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [1, 0, 2]])]
    assert annotator_volume(permutations, ridge=0.0).item() == pytest.approx(-3 * math.log(5), abs=1e-6)
    # Known to ten digits.
    assert classifier_volume(torch.softmax(LOGITS, dim=1), ridge=0.0).item() == pytest.approx(6.9463114185, abs=1e-9)
    assert annotator_volume(torch.softmax(MATRICES, dim=2), ridge=0.0).item() == pytest.approx(0.5371439243, abs=1e-9)
    assert mean_trace(torch.stack([torch.eye(4), torch.full((4, 4), 0.25)])).item() == pytest.approx((4 + 1) / 2)


@pytest.mark.parametrize("classes", [4, 33])
def test_large_crowds_have_the_same_volume(classes, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    # Nearly flat rows, where what tells the annotators apart is small beside what they share.
    logits = (0.1 * torch.randn(30, classes, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    assert_close(log_rows(logits), torch.log_softmax(logits, dim=2))
    expected = annotator_volume(log_rows(logits).exp())
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    monkeypatch.setattr(losses, "LARGE", 0)
    found = annotator_volume(log_rows(logits).exp())
    (gradient,) = torch.autograd.grad(found, logits)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-14)
    single = logits.detach().float().requires_grad_()
    (gradient,) = torch.autograd.grad(annotator_volume(log_rows(single).exp()), single)
    assert (gradient - expected_gradient).abs().max() < 1e-5 * expected_gradient.abs().max()


def test_classifier_volume_is_finite_where_a_class_is_missing():
    prob = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], requires_grad=True)
    volume = classifier_volume(prob)
    assert volume.item() == pytest.approx(-math.log(1 * 2 * 1e-6), abs=1e-4)
    volume.backward()
    assert prob.grad.isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
def test_volume_keeps_its_digits_in_float32(autocast):
    # All predictions nearly alike, as at the start of training: rounded in float32 their Gram matrix is indefinite.
    logits = torch.tensor([0.3, 0.1, 0.2, 0.0]) + 1e-4 * torch.randn(4096, 4, generator=torch.Generator().manual_seed(0))
    prob = torch.softmax(logits, dim=1)
    exact, rounded = prob.double().requires_grad_(), prob.clone().requires_grad_()
    with torch.autocast("cpu", enabled=autocast):
        volume = classifier_volume(rounded)
    assert volume.dtype == torch.float32
    assert volume.item() == pytest.approx(classifier_volume(exact).item(), rel=1e-5)
    volume.backward()
    classifier_volume(exact).backward()
    assert_close(rounded.grad.double(), exact.grad, rtol=1e-3, atol=1e-3 * exact.grad.abs().max().item())


# ------------------------------------------------------------------ what cannot be


def test_refusals():
    none, one, two = (torch.zeros(n, dtype=torch.int64) for n in range(3))
    with pytest.raises(ValueError, match=r"label must be equally long and not empty, found lengths \(0, 0, 0\)"):
        coupled_cross_entropy(torch.zeros(2, 3), torch.zeros(1, 3, 3), none, none, none)
    with pytest.raises(ValueError, match=r"value must be equally long and not empty, found lengths \(1, 1, 2\)"):
        rating_loss(torch.zeros(1), torch.zeros(2), one, one, None, None)
    with pytest.raises(ValueError, match=r"found lengths \(2, 1, 2\)"):
        coupled_cross_entropy(torch.zeros(2, 3), torch.zeros(1, 3, 3), two, one, two)
    with pytest.raises(ValueError, match="at least one label, found none"):
        label_cross_entropy(torch.zeros(0, 3), none)
    with pytest.raises(ValueError, match="at least 4 items, found 3"):
        classifier_volume(torch.full((3, 4), 0.25))
