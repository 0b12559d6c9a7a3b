"""Robust learners: values by hand, gradients, and which items co-teaching keeps."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.losses.early_learning import EarlyLearning, early_learning_penalty, exchange, forget_rate
from tests.worked_example import LOGITS


def table():
    return EarlyLearning(4, 3).double()


# ------------------------------------------------------------------ early-learning regularization


def test_running_means_by_hand():
    early = table()
    prob = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], dtype=torch.float64)
    items = torch.tensor([3, 1])
    first = early(prob, items)
    assert_close(early.target[3], 0.3 * prob[0])  # the table is updated first, as in the released code
    assert first.item() == pytest.approx(np.mean(np.log(1 - 0.3 * (prob**2).sum(dim=1).numpy())), abs=1e-12)
    early(prob.flip(0), items)
    assert_close(early.target[3], 0.7 * 0.3 * prob[0] + 0.3 * prob[1])
    assert_close(early.target[1], 0.7 * 0.3 * prob[1] + 0.3 * prob[0])
    assert not early.target[[0, 2]].any()


def test_evaluation_leaves_the_table():
    early = table().eval()
    early.target[:] = 1 / 3
    before = early.target.clone()
    prob = torch.softmax(LOGITS, dim=1)
    assert_close(early(prob, torch.arange(4)), torch.tensor(math.log(2 / 3), dtype=torch.float64))
    assert torch.equal(early.target, before)


def test_penalty_gradient():
    target = torch.softmax(LOGITS.flip(0), dim=1)
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: early_learning_penalty(torch.softmax(z, dim=1), target), logits)
    (slope,) = torch.autograd.grad(early_learning_penalty(torch.softmax(logits, dim=1), target), logits)
    p = torch.softmax(LOGITS, dim=1)
    inner = (p * target).sum(dim=1, keepdim=True)
    assert_close(slope, -p * (target - inner) / (1 - inner) / 4)  # the paper's Lemma, and mean over four items


def test_certain_predictions_stay_finite():
    prob = torch.eye(3, dtype=torch.float64).requires_grad_()
    penalty = early_learning_penalty(prob, prob)
    penalty.backward()
    assert penalty.item() == pytest.approx(math.log(1e-4))
    assert torch.isfinite(prob.grad).all()


def test_no_gradient_through_the_table():
    early = table()
    prob = torch.softmax(LOGITS, dim=1).requires_grad_()
    (slope,) = torch.autograd.grad(early(prob, torch.arange(4)), prob)
    inner = (early.target * prob).sum(dim=1, keepdim=True)
    assert_close(slope, (-early.target / (1 - inner) / 4).detach())
    early(prob, torch.arange(4))  # a second pass does not reach into the first one's graph
    assert not early.target.requires_grad


# ------------------------------------------------------------------ co-teaching


def test_exchange_hands_over_what_the_other_finds_easy():
    first, second = torch.tensor([3.0, 1.0, 2.0, 1.0, 5.0]), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    for forget, easy, hard in ((0.4, [0, 1, 2], [1, 3, 2]), (0.0, [0, 1, 2, 3, 4], [1, 3, 2, 0, 4]), (1.0, [0], [1])):
        for_first, for_second = exchange(first, second, forget)
        assert (for_first.tolist(), for_second.tolist()) == (easy, hard)


def test_forget_rate():
    assert [forget_rate(epoch, 0.4) for epoch in (0, 5, 10, 60)] == pytest.approx([0, 0.2, 0.4, 0.4])
    with pytest.raises(ValueError, match=r"noise must lie between 0 and 1, found 1\.2"):
        forget_rate(0, 1.2)
