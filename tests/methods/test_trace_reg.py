"""Trace regularization: the known values, a slow loop, the start, and the sign."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from lib.methods import trace_reg
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, build, check_gradients, put, random_example, scramble


def slow_loss(method, example):
    prob = method.predict_proba(example.logits).detach().numpy()
    soft = np.log1p(np.exp(method.rho.detach().numpy()))
    confusion = soft / soft.sum(axis=2, keepdims=True)
    terms = []
    for item, r, label in zip(example.crowd.item, example.crowd.annotator, example.crowd.label, strict=True):
        terms.append(-math.log(sum(prob[item, j] * confusion[r, j, label] for j in range(4))))
    return sum(terms) / len(terms) + method.weight * sum(np.trace(matrix) for matrix in confusion) / 5


@pytest.mark.parametrize("weight", [0.0, 0.01, 2.0])
def test_known_values(weight):
    method = build("trace-reg", CROWD, weight=weight)
    put(method.rho, MATRICES)
    expected = 1.0706469627 + weight * 1.4837097405
    assert method.loss(batch_of(CROWD, LOGITS)).item() == pytest.approx(expected, abs=1e-9)


def test_slow_loop():
    example = random_example()
    method = scramble(build("trace-reg", example.crowd, weight=0.1))
    assert method.loss(example.batch).item() == pytest.approx(slow_loss(method, example), abs=1e-12)


def test_large_crowds_have_the_same_loss(monkeypatch):
    monkeypatch.setattr(trace_reg, "LARGE", 0)
    example = random_example()
    method = scramble(build("trace-reg", example.crowd, weight=0.1))
    assert method.loss(example.batch).item() == pytest.approx(slow_loss(method, example), abs=1e-12)
    check_gradients(method, example.batch)


def test_gradients_and_batch_of_one():
    example = random_example()
    method = scramble(build("trace-reg", example.crowd, weight=0.1))
    check_gradients(method, example.batch)
    check_gradients(method, batch_of(example.crowd, example.logits, items=[3]))


@pytest.mark.parametrize(("classes", "diagonal"), [(8, 0.965), (10, 0.956)])
def test_starts_nearly_at_the_identity(classes, diagonal):
    confusion = build("trace-reg", CrowdLabels([0], [0], [0], 1, 1, classes)).confusion()[0]
    assert confusion.diagonal().tolist() == pytest.approx([diagonal] * classes, abs=5e-4)
    assert confusion[0, 1:].tolist() == pytest.approx([(1 - diagonal) / (classes - 1)] * (classes - 1), rel=0.02)


def test_the_trace_is_minimized():
    """Noise is to be explained by the annotators, so their diagonals shrink, those of the silent one included."""
    example = random_example()
    light, heavy = (build("trace-reg", example.crowd, weight=weight) for weight in (0.0, 1000.0))
    start = light.confusion()
    for method in (light, heavy):
        optimizer = torch.optim.Adam([method.rho], lr=0.1)
        for _ in range(10):
            method.step(example.batch, optimizer)
    assert torch.equal(light.confusion()[2], start[2])
    assert (heavy.confusion().diagonal(dim1=1, dim2=2) < start.diagonal(dim1=1, dim2=2)).all()


def test_the_weight_is_of_a_mean_over_annotators():
    """Twice as many annotators who say nothing: the same term."""
    few, many = (CrowdLabels([0, 1], [0, 1], [0, 1], 2, annotators, 2) for annotators in (2, 4))
    logits = torch.tensor([[1.0, -1.0], [0.5, 0.0]], dtype=torch.float64)
    losses = [build("trace-reg", crowd, weight=0.5).loss(batch_of(crowd, logits)) for crowd in (few, many)]
    assert_close(losses[0], losses[1])


def test_confusion_finds_an_annotator_who_swaps_classes():
    crowd = CrowdLabels(np.repeat(np.arange(3), 2), [0, 1] * 3, [0, 1, 1, 2, 2, 0], 3, 2, 3)
    method = build("trace-reg", crowd)
    batch = batch_of(crowd, 20 * torch.eye(3, dtype=torch.float64))
    optimizer = torch.optim.Adam([method.rho], lr=0.1)
    for _ in range(200):
        method.step(batch, optimizer)
    assert method.confusion()[0].argmax(dim=1).tolist() == [0, 1, 2]
    assert method.confusion()[1].argmax(dim=1).tolist() == [1, 2, 0]


def test_negative_weight_is_named():
    with pytest.raises(ValueError, match=r"weight must not be negative, found -0\.01"):
        build("trace-reg", CROWD, weight=-0.01)
