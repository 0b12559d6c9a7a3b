"""CCEM and GeoCrowdNet: the known values, slow loops, what the penalties want, and where they are left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from lib.losses import crowd as losses
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, build, check_gradients, put, random_example, scramble

METHODS = ["ccem", "geocrowdnet-f", "geocrowdnet-w"]
CCEM, F_TERM, W_TERM = 1.0554072140, 6.9463114185, 0.5371439243
RIDGE = 1e-6


def slow_confusion(logits):
    exp = np.exp(logits)
    return exp / exp.sum(axis=2, keepdims=True)


def slow_loss(method, example):
    """Cross-entropy label by label; Gram matrices item by item and annotator by annotator."""
    prob = method.predict_proba(example.logits).detach().numpy()
    confusion = slow_confusion(method.confusion_logits.detach().numpy())
    terms = []
    for item, r, label in zip(example.crowd.item, example.crowd.annotator, example.crowd.label, strict=True):
        terms.append(-math.log(sum(prob[item, j] * confusion[r, j, label] for j in range(4))))
    gram = RIDGE * np.eye(4)
    if method.penalty == "F":
        gram += sum(np.outer(row, row) for row in prob)
    elif method.penalty == "W":
        gram += sum(matrix @ matrix.T for matrix in confusion)
    penalty = 0.0 if method.penalty == "none" else -math.log(np.linalg.det(gram))
    return sum(terms) / len(terms) + method.weight * penalty


# ------------------------------------------------------------------ the loss


@pytest.mark.parametrize(
    ("name", "weight", "value"),
    [
        ("ccem", 0.0, CCEM),
        ("geocrowdnet-f", 0.0, CCEM),
        ("geocrowdnet-f", 0.3, CCEM + 0.3 * F_TERM),
        ("geocrowdnet-w", 0.3, CCEM + 0.3 * W_TERM),
    ],
)
def test_known_values(name, weight, value):
    method = build(name, CROWD, weight=weight)
    put(method.confusion_logits, MATRICES)
    # The known penalties are without the ridge, which adds at most a trace's worth of 1e-6.
    tolerance = 1e-9 if weight == 0 else 0.3 * RIDGE * 4e3
    assert method.loss(batch_of(CROWD, LOGITS)).item() == pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize("name", METHODS)
def test_slow_loop(name):
    example = random_example()
    method = scramble(build(name, example.crowd, weight=0.1))
    assert method.loss(example.batch).item() == pytest.approx(slow_loss(method, example), abs=1e-10)


def test_large_crowds_have_the_same_loss(monkeypatch):
    monkeypatch.setattr(losses, "LARGE", 0)
    example = random_example()
    method = scramble(build("geocrowdnet-w", example.crowd, weight=0.1))
    assert method.loss(example.batch).item() == pytest.approx(slow_loss(method, example), abs=1e-9)
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


@pytest.mark.parametrize("name", METHODS)
def test_gradients_and_batch_of_one(name):
    example = random_example()
    method = scramble(build(name, example.crowd, weight=0.1))
    check_gradients(method, example.batch)
    check_gradients(method, batch_of(example.crowd, example.logits, items=[3]))


def test_annotators_without_a_label_in_the_batch_count_in_the_penalty_w():
    example = random_example()
    method = scramble(build("geocrowdnet-w", example.crowd, weight=0.1))
    before = method.loss(example.batch)
    put(method.confusion_logits, method.confusion_logits.detach().index_fill(0, torch.tensor([2]), 0.0))
    assert (method.loss(example.batch) - before).abs() > 1e-3


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


# ------------------------------------------------------------------ the start


@pytest.mark.parametrize(("classes", "start", "diagonal"), [(8, "identity", 0.280), (10, "identity", 0.232)])
def test_start(classes, start, diagonal):
    confusion = build("ccem", CrowdLabels([0], [0], [0], 1, 1, classes), start=start).confusion()[0]
    assert confusion.diagonal().tolist() == pytest.approx([diagonal] * classes, abs=5e-4)
    assert confusion[0, 1:].tolist() == pytest.approx([(1 - confusion[0, 0].item()) / (classes - 1)] * (classes - 1))


def test_sharp_start():
    confusion = build("ccem", CrowdLabels([0], [0], [0], 1, 1, 8), start="6I-5").confusion()[0]
    assert confusion[0, 0].item() == pytest.approx(math.e / (math.e + 7 * math.exp(-5)))
    assert confusion[0, 0].item() == pytest.approx(0.983, abs=5e-4)


@pytest.mark.parametrize("name", METHODS)
def test_starts_with_finite_gradients(name):
    """With logits of zero all predictions are alike, and their Gram matrix is singular but for the ridge."""
    example = random_example()
    method = build(name, example.crowd)
    batch = batch_of(example.crowd, torch.zeros_like(example.logits))
    method.loss(batch).backward()
    assert all(value.grad.isfinite().all() for value in method.parameters())


# ------------------------------------------------------------------ annotators


def test_silent_annotator_stays_at_its_start():
    example = random_example()
    for name in ("ccem", "geocrowdnet-f"):  # the penalty (W) moves all annotators
        method = build(name, example.crowd, weight=0.1)
        optimizer = torch.optim.Adam(method.parameters(), lr=0.1)
        for _ in range(3):
            method.step(example.batch, optimizer)
        assert torch.equal(method.confusion_logits[2], torch.eye(4, dtype=torch.float64))
        assert not torch.equal(method.confusion_logits[0], torch.eye(4, dtype=torch.float64))


def test_confusion_finds_an_annotator_who_swaps_classes():
    crowd = CrowdLabels(np.repeat(np.arange(3), 2), [0, 1] * 3, [0, 1, 1, 2, 2, 0], 3, 2, 3)
    method = build("ccem", crowd)
    batch = batch_of(crowd, 20 * torch.eye(3, dtype=torch.float64))
    optimizer = torch.optim.Adam([method.confusion_logits], lr=0.1)
    for _ in range(100):
        method.step(batch, optimizer)
    assert method.confusion()[0].argmax(dim=1).tolist() == [0, 1, 2]
    assert method.confusion()[1].argmax(dim=1).tolist() == [1, 2, 0]


def test_no_decay_on_annotators():
    method = build("geocrowdnet-f", CROWD)
    decayed, kept = method.parameter_groups(lr=0.1, weight_decay=0.5)
    assert decayed["weight_decay"] == 0.5
    assert {id(value) for value in decayed["params"]} == {id(value) for value in method.backbone.parameters()}
    assert kept["params"] == [method.confusion_logits]
    assert kept["weight_decay"] == 0.0
    assert decayed["lr"] == kept["lr"] == 0.1


# ------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": "f"}, "penalty must be one of none, F, W, found 'f'"),
        ({"start": "random"}, "start must be one of identity, 6I-5, found 'random'"),
        ({"weight": -0.1}, "weight must not be negative, found -0.1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build("geocrowdnet-f", CROWD, **options)
