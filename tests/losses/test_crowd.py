"""Losses: arithmetic that a reader can do, known values to ten digits, slow loops, gradients, and the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
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
    soft_cross_entropy,
)
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, random_example

KNOWN = batch_of(CROWD, LOGITS)


def triples(batch):
    return batch.position, batch.annotator, batch.label


def stochastic(logits):
    """Rows that sum to one; with random logits no two rows are alike, so that a turned matrix is noticed."""
    return torch.softmax(logits, dim=2)


@pytest.fixture
def example():
    """The small random crowd, with free matrices ``weight`` and stochastic ones ``confusion``."""
    found = random_example()
    generator = torch.Generator().manual_seed(3)
    found.weight = torch.randn(5, 4, 4, generator=generator, dtype=torch.float64)
    found.confusion = stochastic(2 * found.weight)
    return found


def softmax(row):
    """In plain Python, for the loops."""
    exp = [math.exp(value - max(row)) for value in row]
    return [value / sum(exp) for value in exp]


# ------------------------------------------------------------------ soft cross-entropy


def test_soft_cross_entropy_by_hand():
    logits = torch.tensor([[0.8, 0.2], [0.5, 0.5]]).log()
    target = torch.tensor([[0.25, 0.75], [2.0, 0.0]])  # the second item counts twice
    expected = (-(0.25 * math.log(0.8) + 0.75 * math.log(0.2)) - 2 * math.log(0.5)) / 2
    assert soft_cross_entropy(logits, target).item() == pytest.approx(expected)


def test_soft_cross_entropy_slow_loop(example):
    target = torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = [softmax(row) for row in example.logits.tolist()]
    terms = [-sum(t * math.log(p) for t, p in zip(*pair, strict=True)) for pair in zip(target.tolist(), rows, strict=True)]
    assert soft_cross_entropy(example.logits, target).item() == pytest.approx(sum(terms) / 6, abs=1e-12)


def test_soft_cross_entropy_with_one_hot_targets_is_the_usual_one(example):
    label = torch.tensor([0, 3, 1, 2, 2, 0])
    usual = torch.nn.functional.cross_entropy(example.logits, label)
    assert_close(soft_cross_entropy(example.logits, torch.eye(4, dtype=torch.float64)[label]), usual)


def test_soft_cross_entropy_gradient_and_batch_of_one(example):
    target = torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for rows in (slice(0, 6), slice(2, 3)):
        logits = example.logits[rows].clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda value, rows=rows: soft_cross_entropy(value, target[rows]), (logits,))


# ------------------------------------------------------------------ coupled cross-entropy


def test_coupled_cross_entropy_by_hand():
    logits = torch.tensor([[0.8, 0.2]]).log()
    confusion = torch.tensor([[[0.9, 0.1], [0.3, 0.7]]])
    first = torch.tensor([0])
    says_first = coupled_cross_entropy(logits, confusion.log(), first, first, torch.tensor([0]))
    says_second = coupled_cross_entropy(logits, confusion.log(), first, first, torch.tensor([1]))
    assert says_first.item() == pytest.approx(-math.log(0.8 * 0.9 + 0.2 * 0.3))
    assert says_second.item() == pytest.approx(-math.log(0.8 * 0.1 + 0.2 * 0.7))


def test_coupled_cross_entropy_known_value():
    loss = coupled_cross_entropy(LOGITS, torch.log_softmax(MATRICES, dim=2), *triples(KNOWN))
    assert loss.item() == pytest.approx(1.0554072140, abs=1e-9)


def test_trace_regularized_known_values():
    softplus = torch.nn.functional.softplus(MATRICES)
    confusion = softplus / softplus.sum(dim=2, keepdim=True)
    assert coupled_cross_entropy(LOGITS, confusion.log(), *triples(KNOWN)).item() == pytest.approx(1.0706469627, abs=1e-9)
    assert mean_trace(confusion).item() == pytest.approx(1.4837097405, abs=1e-9)


def test_coupled_cross_entropy_slow_loop(example):
    prob = [softmax(row) for row in example.logits.tolist()]
    terms = []
    for item, r, label in zip(example.crowd.item, example.crowd.annotator, example.crowd.label, strict=True):
        terms.append(-math.log(sum(prob[item][j] * example.confusion[r, j, label].item() for j in range(4))))
    log_prob = annotator_log_prob(example.logits, example.confusion.log(), *triples(example.batch))
    assert_close(log_prob, -torch.tensor(terms, dtype=torch.float64))
    loss = coupled_cross_entropy(example.logits, example.confusion.log(), *triples(example.batch))
    assert loss.item() == pytest.approx(sum(terms) / len(terms), abs=1e-12)


def test_annotator_log_prob_is_a_distribution_over_labels(example):
    item, annotator = example.batch.position[:1].repeat(4), example.batch.annotator[:1].repeat(4)
    log_prob = annotator_log_prob(example.logits, example.confusion.log(), item, annotator, torch.arange(4))
    assert log_prob.exp().sum().item() == pytest.approx(1.0)


def test_coupled_cross_entropy_with_perfect_annotators_is_cross_entropy(example):
    position, _, label = triples(example.batch)
    perfect = torch.eye(4, dtype=torch.float64).expand(5, 4, 4)
    usual = torch.nn.functional.cross_entropy(example.logits[position], label)
    assert_close(coupled_cross_entropy(example.logits, perfect.log(), *triples(example.batch)), usual)


def test_coupled_cross_entropy_gradient(example):
    logits, log_confusion = example.logits.clone().requires_grad_(), example.confusion.log().requires_grad_()
    inputs = (logits, log_confusion, *triples(example.batch))
    assert torch.autograd.gradcheck(coupled_cross_entropy, inputs)
    coupled_cross_entropy(*inputs).backward()
    assert (log_confusion.grad[2] == 0).all()  # gave no label
    assert (log_confusion.grad[[0, 1, 3, 4]] != 0).flatten(1).any(dim=1).all()


def test_coupled_cross_entropy_batch_of_one(example):
    batch = batch_of(example.crowd, example.logits, items=[3])
    inputs = (batch.x.clone().requires_grad_(), example.confusion.log().requires_grad_(), *triples(batch))
    assert torch.autograd.gradcheck(coupled_cross_entropy, inputs)
    shares = -annotator_log_prob(example.logits, example.confusion.log(), *triples(example.batch))
    assert_close(coupled_cross_entropy(*inputs), shares[example.batch.position == 3].mean())


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


def test_crowd_layer_by_hand():
    prob = torch.tensor([[0.8, 0.2]])
    weight = torch.tensor([[[3.0, 1.0], [2.0, 5.0]]])
    first = torch.tensor([0])
    logits = crowd_layer_logits(prob, weight, first, first)
    assert_close(logits, torch.tensor([[0.8 * 3 + 0.2 * 2, 0.8 * 1 + 0.2 * 5]]))
    assert label_cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(math.log(1 + math.exp(2.8 - 1.8)))


def test_crowd_layer_known_value():
    logits = crowd_layer_logits(torch.softmax(LOGITS, dim=1), MATRICES, KNOWN.position, KNOWN.annotator)
    assert label_cross_entropy(logits, KNOWN.label).item() == pytest.approx(1.0601688757, abs=1e-9)


def test_crowd_layer_slow_loop(example):
    prob, weight = [softmax(row) for row in example.logits.tolist()], example.weight.tolist()
    terms = []
    for item, r, label in zip(example.crowd.item, example.crowd.annotator, example.crowd.label, strict=True):
        logits = [sum(prob[item][j] * weight[r][j][k] for j in range(4)) for k in range(4)]
        terms.append(-math.log(softmax(logits)[label]))
    position, annotator, label = triples(example.batch)
    logits = crowd_layer_logits(torch.softmax(example.logits, dim=1), example.weight, position, annotator)
    assert label_cross_entropy(logits, label).item() == pytest.approx(sum(terms) / len(terms), abs=1e-12)


def test_crowd_layer_equals_the_dense_form(example):
    """As in the released code: one-hot labels ``[items, annotators, classes]``, zero where there is none."""
    one_hot = np.zeros((6, 5, 4))
    one_hot[example.crowd.item, example.crowd.annotator, example.crowd.label] = 1
    dense = torch.einsum("ij,rjk->irk", torch.softmax(example.logits, dim=1), example.weight)
    expected = -(torch.from_numpy(one_hot) * torch.log_softmax(dense, dim=2)).sum() / len(example.crowd)
    position, annotator, label = triples(example.batch)
    logits = crowd_layer_logits(torch.softmax(example.logits, dim=1), example.weight, position, annotator)
    assert_close(label_cross_entropy(logits, label), expected)


@pytest.mark.parametrize("items", [range(6), [3]], ids=["all", "one"])
def test_crowd_layer_gradient(example, items):
    batch = batch_of(example.crowd, example.logits, items)

    def loss(prob, weight):
        return label_cross_entropy(crowd_layer_logits(prob, weight, batch.position, batch.annotator), batch.label)

    prob = torch.softmax(batch.x, dim=1).requires_grad_()
    weight = example.weight.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (prob, weight))
    loss(prob, weight).backward()
    silent = sorted(set(range(5)) - set(batch.annotator.tolist()))
    assert 2 in silent
    assert (weight.grad[silent] == 0).all()


def test_crowd_layer_ignores_a_constant_in_a_row(example):
    position, annotator, label = triples(example.batch)
    prob = torch.softmax(example.logits, dim=1)
    shifted = example.weight + torch.arange(4.0)[:, None]  # one constant for each true class
    losses = [
        label_cross_entropy(crowd_layer_logits(prob, weight, position, annotator), label)
        for weight in (example.weight, shifted, example.weight + torch.arange(4.0))
    ]
    assert_close(losses[0], losses[1])
    assert abs(losses[0] - losses[2]) > 0.01  # a constant for each label does matter


# ------------------------------------------------------------------ volumes and trace


def test_volumes_known_values():
    assert classifier_volume(torch.softmax(LOGITS, dim=1), ridge=0.0).item() == pytest.approx(6.9463114185, abs=1e-9)
    assert annotator_volume(stochastic(MATRICES), ridge=0.0).item() == pytest.approx(0.5371439243, abs=1e-9)


def test_classifier_volume_by_hand():
    # Two items of each class, one-hot: the Gram matrix is 2 I.
    assert classifier_volume(torch.eye(3).repeat(2, 1), ridge=0.0).item() == pytest.approx(-3 * math.log(2))
    assert classifier_volume(torch.eye(3).repeat(2, 1), ridge=0.5).item() == pytest.approx(-3 * math.log(2.5))
    assert classifier_volume(torch.eye(10).repeat(40, 1), ridge=0.0).item() == pytest.approx(-36.8888, abs=1e-4)


def test_annotator_volume_by_hand():
    # A permutation times its transpose is the identity, so five annotators sum to 5 I, the largest volume there is.
    permutations = torch.eye(3)[torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [1, 0, 2]])]
    assert annotator_volume(permutations, ridge=0.0).item() == pytest.approx(-3 * math.log(5), abs=1e-6)
    start = stochastic(torch.eye(10, dtype=torch.float64).expand(5, 10, 10))
    assert annotator_volume(start, ridge=0.0).item() == pytest.approx(18.46, abs=0.005)


def determinant(matrix):
    """By expansion along the first row."""
    if len(matrix) == 1:
        return matrix[0][0]
    minors = ([row[:j] + row[j + 1 :] for row in matrix[1:]] for j in range(len(matrix)))
    return sum((-1) ** j * matrix[0][j] * determinant(minor) for j, minor in enumerate(minors))


def test_volumes_slow_loop(example):
    prob, confusion = torch.softmax(example.logits, dim=1), example.confusion
    gram = [[sum(prob[i, j] * prob[i, k] for i in range(6)).item() for k in range(4)] for j in range(4)]
    assert classifier_volume(prob, ridge=0.0).item() == pytest.approx(-math.log(determinant(gram)), abs=1e-9)
    gram = [
        [sum(confusion[r, j, k] * confusion[r, i, k] for r in range(5) for k in range(4)).item() for i in range(4)]
        for j in range(4)
    ]
    assert annotator_volume(confusion, ridge=0.0).item() == pytest.approx(-math.log(determinant(gram)), abs=1e-9)


def test_volume_gradients(example):
    assert torch.autograd.gradcheck(classifier_volume, (torch.softmax(example.logits, dim=1).requires_grad_(),))
    assert torch.autograd.gradcheck(annotator_volume, (example.confusion.clone().requires_grad_(),))


@pytest.mark.parametrize("classes", [4, 33])
def test_large_crowds_have_the_same_volume(classes, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    # Nearly flat rows, where what tells the annotators apart is small beside what they share.
    logits = (0.1 * torch.randn(30, classes, classes, generator=generator, dtype=torch.float64)).requires_grad_()
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


@pytest.mark.parametrize("classes", [3, 40])
def test_log_rows(classes):
    logits = torch.randn(5, classes, classes, dtype=torch.float64)
    assert_close(log_rows(logits), torch.log_softmax(logits, dim=2))


def test_volumes_prefer_certain_classifiers_and_annotators(example):
    vague, certain = torch.softmax(0.1 * example.logits, dim=1), torch.softmax(10 * example.logits, dim=1)
    assert classifier_volume(certain) < classifier_volume(vague)
    assert annotator_volume(stochastic(10 * example.weight)) < annotator_volume(stochastic(0.1 * example.weight))


def test_classifier_volume_is_finite_where_a_class_is_missing():
    prob = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], requires_grad=True)
    volume = classifier_volume(prob, ridge=1e-6)
    assert volume.item() == pytest.approx(-math.log(1 * 2 * 1e-6), abs=1e-4)
    volume.backward()
    assert prob.grad.isfinite().all()


def test_classifier_volume_needs_as_many_items_as_classes():
    with pytest.raises(ValueError, match="at least 4 items, found 3"):
        classifier_volume(torch.full((3, 4), 0.25))


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


def test_mean_trace_by_hand():
    confusion = torch.stack([torch.eye(4), torch.full((4, 4), 0.25)])
    assert mean_trace(confusion).item() == pytest.approx((4 + 1) / 2)


def test_mean_trace_slow_loop_and_gradient(example):
    traces = [sum(example.confusion[r, j, j].item() for j in range(4)) for r in range(5)]
    assert mean_trace(example.confusion).item() == pytest.approx(sum(traces) / 5, abs=1e-12)
    assert torch.autograd.gradcheck(mean_trace, (example.confusion.clone().requires_grad_(),))


# ------------------------------------------------------------------ what cannot be


def test_no_labels_is_an_error():
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"not empty, found lengths \(0, 0, 0\)"):
        coupled_cross_entropy(torch.zeros(2, 3), torch.zeros(1, 3, 3), none, none, none)
    with pytest.raises(ValueError, match="at least one label, found none"):
        label_cross_entropy(torch.zeros(0, 3), none)


def test_triples_of_different_lengths_are_an_error():
    one, two = torch.tensor([0]), torch.tensor([0, 0])
    with pytest.raises(ValueError, match=r"equally long and not empty, found lengths \(2, 1, 2\)"):
        coupled_cross_entropy(torch.zeros(2, 3), torch.zeros(1, 3, 3), two, one, two)
