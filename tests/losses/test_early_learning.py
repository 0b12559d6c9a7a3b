"""Robust learners: values by hand, slow loops, gradients, and which items co-teaching keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.losses.early_learning import MOMENTUM, EarlyLearning, early_learning_penalty, exchange, forget_rate
from lib.methods.aggregated import ELR_WEIGHT
from tests.worked_example import CROWD, LOGITS, batch_of, build, check_gradients, put, random_example, scramble


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
    with pytest.raises(ValueError, match=r"0 \.\. 1, found 1\.2"):
        forget_rate(0, 1.2)


# ------------------------------------------------------------------ majority vote with the penalty


def test_majority_vote_with_penalty_slowly():
    method = scramble(build("majority-vote-elr", CROWD))
    batch = batch_of(CROWD, LOGITS, items=[2, 0, 3])
    p = torch.softmax(method.backbone(batch.x), dim=1).detach().numpy()
    vote = [0, 0, 1]  # ties go to the lower class
    weight, momentum = ELR_WEIGHT, MOMENTUM
    terms = [-math.log(p[i, vote[i]]) + weight * math.log(1 - (1 - momentum) * p[i] @ p[i]) for i in range(3)]
    assert method.loss(batch).item() == pytest.approx(np.mean(terms), abs=1e-12)


def test_majority_vote_gradients():
    example = random_example()
    method = scramble(build("majority-vote-elr", example.crowd))
    put(method.early.target, torch.softmax(example.logits.flip(0), dim=1).to(method.early.target.dtype))
    check_gradients(method.eval(), example.batch)
    one = batch_of(example.crowd, example.logits, items=[3])
    assert torch.isfinite(method.train().loss(one))
