"""Losses: arithmetic that a reader can do, known values to ten digits, slow loops, gradients, and the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from lib.losses import crowd as losses
from lib.losses.crowd import (
    annotator_log_prob,
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
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, random_example

KNOWN = batch_of(CROWD, LOGITS)


def triples(batch):
    return batch.position, batch.annotator, batch.label


@pytest.fixture
def example():
    """The small random crowd, with free ``weight`` and stochastic ``confusion``, of which no two rows are alike."""
    found = random_example()
    generator = torch.Generator().manual_seed(3)
    found.weight = torch.randn(5, 4, 4, generator=generator, dtype=torch.float64)
    found.confusion = torch.softmax(2 * found.weight, dim=2)
    found.target = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    return found


def softmax(row):
    """In plain Python, for the loops."""
    exp = [math.exp(value - max(row)) for value in row]
    return [value / sum(exp) for value in exp]


def labels(example):
    """Item, annotator and label of each label, and the probabilities of its item's classes."""
    prob = [softmax(row) for row in example.logits.tolist()]
    rows = zip(example.crowd.item, example.crowd.annotator, example.crowd.label, strict=True)
    return [(item, r, label, prob[item]) for item, r, label in rows]


# ------------------------------------------------------------------ soft and coupled cross-entropy


def test_soft_cross_entropy_slow_loop(example):
    rows = [softmax(row) for row in example.logits.tolist()]
    target = example.target.tolist()
    terms = [-sum(t * math.log(p) for t, p in zip(*pair, strict=True)) for pair in zip(target, rows, strict=True)]
    assert soft_cross_entropy(example.logits, example.target).item() == pytest.approx(sum(terms) / 6, abs=1e-12)


def test_known_values():
    """The specification's, section 15."""
    softplus = torch.nn.functional.softplus(MATRICES)
    trace_form = softplus / softplus.sum(dim=2, keepdim=True)
    layer = crowd_layer_logits(torch.softmax(LOGITS, dim=1), MATRICES, KNOWN.position, KNOWN.annotator)
    found = [
        coupled_cross_entropy(LOGITS, torch.log_softmax(MATRICES, dim=2), *triples(KNOWN)),
        coupled_cross_entropy(LOGITS, trace_form.log(), *triples(KNOWN)),
        mean_trace(trace_form),
        label_cross_entropy(layer, KNOWN.label),
        classifier_volume(torch.softmax(LOGITS, dim=1), ridge=0.0),
        annotator_volume(torch.softmax(MATRICES, dim=2), ridge=0.0),
    ]
    expected = [1.0554072140, 1.0706469627, 1.4837097405, 1.0601688757, 6.9463114185, 0.5371439243]
    assert [value.item() for value in found] == pytest.approx(expected, abs=1e-9)


def test_coupled_cross_entropy_slow_loop(example):
    terms = [-math.log(sum(prob[j] * example.confusion[r, j, k].item() for j in range(4))) for _, r, k, prob in labels(example)]
    log_confusion = example.confusion.log()
    log_prob = annotator_log_prob(example.logits, log_confusion, *triples(example.batch))
    assert_close(log_prob, -torch.tensor(terms, dtype=torch.float64))
    loss = coupled_cross_entropy(example.logits, log_confusion, *triples(example.batch))
    assert loss.item() == pytest.approx(sum(terms) / len(terms), abs=1e-12)
    one = batch_of(example.crowd, example.logits, items=[3])
    assert_close(coupled_cross_entropy(one.x, log_confusion, *triples(one)), -log_prob[example.batch.position == 3].mean())


def test_perfect_annotators_make_it_cross_entropy(example):
    position, _, label = triples(example.batch)
    perfect = torch.eye(4, dtype=torch.float64).expand(5, 4, 4)
    usual = torch.nn.functional.cross_entropy(example.logits[position], label)
    assert_close(coupled_cross_entropy(example.logits, perfect.log(), *triples(example.batch)), usual)
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


# ------------------------------------------------------------------ crowd layer


def test_crowd_layer_slow_loop(example):
    weight, terms = example.weight.tolist(), []
    for _, r, label, prob in labels(example):
        logits = [sum(prob[j] * weight[r][j][k] for j in range(4)) for k in range(4)]
        terms.append(-math.log(softmax(logits)[label]))
    position, annotator, label = triples(example.batch)
    logits = crowd_layer_logits(torch.softmax(example.logits, dim=1), example.weight, position, annotator)
    assert label_cross_entropy(logits, label).item() == pytest.approx(sum(terms) / len(terms), abs=1e-12)


def test_crowd_layer_ignores_a_constant_in_a_row(example):
    position, annotator, label = triples(example.batch)
    prob = torch.softmax(example.logits, dim=1)
    shifts = (0, torch.arange(4.0)[:, None], torch.arange(4.0))  # nothing, for each true class, for each label
    plain, by_class, by_label = (
        label_cross_entropy(crowd_layer_logits(prob, example.weight + shift, position, annotator), label) for shift in shifts
    )
    assert_close(plain, by_class)
    assert abs(plain - by_label) > 0.01


# ------------------------------------------------------------------ gradients


@pytest.mark.parametrize("items", [range(6), [3]], ids=["all", "one"])
def test_gradients(example, items):
    batch = batch_of(example.crowd, example.logits, items)

    def layer(prob, weight):
        return label_cross_entropy(crowd_layer_logits(prob, weight, batch.position, batch.annotator), batch.label)

    def coupled(logits, log_confusion):
        return coupled_cross_entropy(logits, log_confusion, *triples(batch))

    prob = torch.softmax(batch.x, dim=1)
    for loss, inputs in ((layer, (prob, example.weight)), (coupled, (batch.x, example.confusion.log()))):
        inputs = [value.detach().clone().requires_grad_() for value in inputs]
        assert gradcheck(loss, inputs)
        (slope,) = torch.autograd.grad(loss(*inputs), inputs[1:])
        spoke = torch.zeros(5, dtype=torch.bool).index_fill(0, batch.annotator, True)
        assert not spoke[2]
        assert_close((slope != 0).flatten(1).any(dim=1), spoke)
    assert gradcheck(lambda logits: soft_cross_entropy(logits, example.target[batch.items]), batch.x.requires_grad_())


def test_gradients_of_volumes_and_trace(example):
    confusion = example.confusion.clone().requires_grad_()
    assert gradcheck(classifier_volume, (torch.softmax(example.logits, dim=1).requires_grad_(),))
    assert gradcheck(annotator_volume, (confusion,))
    assert gradcheck(mean_trace, (confusion,))


# ------------------------------------------------------------------ volumes and trace


def test_volumes_by_hand():
    # Two items of each class, one-hot: the Gram matrix is 2 I.
    assert classifier_volume(torch.eye(3).repeat(2, 1), ridge=0.0).item() == pytest.approx(-3 * math.log(2))
    assert classifier_volume(torch.eye(3).repeat(2, 1), ridge=0.5).item() == pytest.approx(-3 * math.log(2.5))
    # A permutation times its transpose is the identity, so five annotators sum to 5 I, the largest volume there is.
    permutations = torch.eye(3)[torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [1, 0, 2]])]
    assert annotator_volume(permutations, ridge=0.0).item() == pytest.approx(-3 * math.log(5), abs=1e-6)
    assert mean_trace(torch.stack([torch.eye(4), torch.full((4, 4), 0.25)])).item() == pytest.approx((4 + 1) / 2)


def test_volumes_slow_loop(example):
    prob, confusion = torch.softmax(example.logits, dim=1).numpy(), example.confusion.numpy()
    gram = sum(np.outer(row, row) for row in prob)
    assert classifier_volume(torch.tensor(prob), ridge=0.0).item() == pytest.approx(-math.log(np.linalg.det(gram)), abs=1e-9)
    gram = sum(matrix @ matrix.T for matrix in confusion)
    assert annotator_volume(example.confusion, ridge=0.0).item() == pytest.approx(-math.log(np.linalg.det(gram)), abs=1e-9)


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


# ------------------------------------------------------------------ ratings, and what cannot be


def test_rating_loss_by_hand():
    """Expected: 2 * 1 + 0.5, against 3; 1 * 1, against 2; -1 * 3, against 0."""
    loss = rating_loss(
        torch.tensor([1.0, 3.0]),
        torch.tensor([3.0, 2.0, 0.0]),
        position=torch.tensor([0, 0, 1]),
        annotator=torch.tensor([0, 1, 2]),
        scale=torch.tensor([2.0, 1.0, -1.0]),
        bias=torch.tensor([0.5, 0.0, 0.0]),
    )
    assert loss.item() == pytest.approx((0.25 + 1 + 9) / 3)


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
