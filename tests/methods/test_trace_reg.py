"""Trace regularization: a slow loop, and the sign."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.methods import trace_reg
from tests import worked_example
from tests.worked_example import CROWD, build, check_gradients, random_example, scramble


def slow_loss(method, example):
    prob = method.predict_proba(example.logits).detach().numpy()
    soft = np.log1p(np.exp(method.rho.detach().numpy()))
    confusion = soft / soft.sum(axis=2, keepdims=True)
    fit = worked_example.surprise(lambda item, r, label: prob[item] @ confusion[r, :, label], example.crowd)
    return fit + method.weight * np.mean([np.trace(matrix) for matrix in confusion])


def test_slow_loop(monkeypatch):
    example = random_example()
    method = scramble(build("trace-reg", example.crowd, weight=0.1))
    assert method.loss(example.batch).item() == pytest.approx(slow_loss(method, example), abs=1e-12)
    monkeypatch.setattr(trace_reg, "LARGE", 0)  # the form of large crowds
    assert method.loss(example.batch).item() == pytest.approx(slow_loss(method, example), abs=1e-12)
    check_gradients(method, example.batch)


def test_the_trace_is_minimized():
    """Noise is to be explained by the annotators, so their diagonals shrink, those of the silent one included."""
    example = random_example()
    method = build("trace-reg", example.crowd, weight=1000.0)
    start = method.confusion().diagonal(dim1=1, dim2=2)
    optimizer = torch.optim.Adam([method.rho], lr=0.1)
    for _ in range(10):
        method.step(example.batch, optimizer)
    assert (method.confusion().diagonal(dim1=1, dim2=2) < start).all()


def test_set_confusion_keeps_the_size():
    method = build("trace-reg", CROWD)
    before = torch.nn.functional.softplus(method.rho).sum(dim=2)
    method.set_confusion(torch.full((3, 3, 3), 1 / 3, dtype=torch.float64))
    assert_close(torch.nn.functional.softplus(method.rho).sum(dim=2), before)
