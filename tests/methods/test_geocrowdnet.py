"""CCEM and GeoCrowdNet: slow loops, what the penalties want, and where they are left out."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from lib.losses import crowd as losses
from tests import worked_example
from tests.worked_example import batch_of, build, check_gradients, random_example, scramble

RIDGE = 1e-6


def slow_loss(method, example):
    """Cross-entropy label by label; Gram matrices item by item and annotator by annotator."""
    prob = method.predict_proba(example.logits).detach().numpy()
    confusion = softmax(method.confusion_logits.detach().numpy(), axis=2)
    loss = worked_example.surprise(lambda item, r, label: prob[item] @ confusion[r, :, label], example.crowd)
    if method.penalty == "none":
        return loss
    # Of annotators without a label in the batch too.
    parts = [np.outer(row, row) for row in prob] if method.penalty == "F" else [matrix @ matrix.T for matrix in confusion]
    return loss - method.weight * math.log(np.linalg.det(sum(parts) + RIDGE * np.eye(4)))


@pytest.mark.parametrize("name", ["ccem", "geocrowdnet-f", "geocrowdnet-w"])
def test_slow_loop(name, monkeypatch):
    example = random_example()
    method = scramble(build(name, example.crowd, weight=0.1))
    expected = slow_loss(method, example)
    assert method.loss(example.batch).item() == pytest.approx(expected, abs=1e-10)
    monkeypatch.setattr(losses, "LARGE", 0)  # the form of large crowds
    assert method.loss(example.batch).item() == pytest.approx(expected, abs=1e-9)
    check_gradients(method, example.batch)


@pytest.mark.parametrize("name", ["ccem", "geocrowdnet-f"])
def test_only_annotators_of_the_batch_are_looked_at_to_the_same_bits(name):
    """The committed rows were made by normalizing everybody's matrices."""
    random = torch.Generator().manual_seed(0)
    crowd = CrowdLabels(
        np.arange(60).repeat(2), torch.randint(25, (120,), generator=random).numpy() * 2 + [0, 1] * 60, [0] * 120, 60, 50, 8
    )
    method = scramble(build(name, crowd).float())
    logits = torch.randn(60, 8, generator=random)
    batch = batch_of(crowd, logits, items=list(range(20)))
    assert len(batch.annotator.unique()) < 30
    loss = method.loss(batch)
    (gradient,) = torch.autograd.grad(loss, method.confusion_logits)
    log_confusion = method.confusion_logits - method.confusion_logits.logsumexp(dim=2, keepdim=True)
    expected = losses.coupled_cross_entropy(
        method.backbone(batch.x), log_confusion, batch.position, batch.annotator, batch.label
    )
    if name == "geocrowdnet-f":
        expected = expected + method.weight * losses.classifier_volume(method.predict_proba(batch.x))
    assert torch.equal(loss, expected)
    assert torch.equal(gradient, torch.autograd.grad(expected, method.confusion_logits)[0])


def test_a_batch_smaller_than_the_classes_has_no_penalty_f():
    example = random_example()
    few, enough = (batch_of(example.crowd, example.logits, range(items)) for items in (3, 4))
    coupled, regularized = build("ccem", example.crowd), build("geocrowdnet-f", example.crowd, weight=0.1)
    assert_close(coupled.loss(few), regularized.loss(few))
    assert (coupled.loss(enough) - regularized.loss(enough)).abs() > 1e-3


@pytest.mark.parametrize(("name", "what"), [("geocrowdnet-f", "predictions"), ("geocrowdnet-w", "annotators")])
def test_a_large_penalty_makes_its_object_certain(name, what):
    """Maximized determinants: minimizing them would make predictions, or annotators, all alike."""
    example = random_example()
    method = build(name, example.crowd, weight=100.0)

    def certainty():
        table = method.predict_proba(example.logits) if what == "predictions" else method.confusion()
        return table.amax(dim=-1).mean().item()

    before = certainty()
    optimizer = torch.optim.Adam(method.parameters(), lr=0.1)
    for _ in range(20):
        method.step(example.batch, optimizer)
    assert certainty() > before + 0.05
