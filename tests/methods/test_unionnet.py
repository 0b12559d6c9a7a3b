"""UnionNet: the known values, slow loops over the union, and what it comes to with a single annotator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from lib.losses.crowd import coupled_cross_entropy, crowd_layer_logits, label_cross_entropy
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, build, check_gradients, put, random_example, scramble

BOTH = pytest.mark.parametrize("name", ["unionnet-a", "unionnet-b"])


def slow_loss(variant: str, class_prob, weight, crowd) -> float:
    """All outputs of the union of one item at a time."""
    class_prob, weight = class_prob.detach().numpy(), weight.detach().numpy()
    union = [(r, k) for r in range(crowd.n_annotators) for k in range(crowd.n_classes)]
    classes = range(crowd.n_classes)
    total = 0.0
    for item, p in enumerate(class_prob):
        if variant == "A":
            scores = {(r, k): math.exp(sum(p[j] * weight[r, j, k] for j in classes)) for r, k in union}
            whole = sum(scores.values())
            prob = {output: score / whole for output, score in scores.items()}
        else:
            columns = [sum(math.exp(weight[r, j, k]) for r, k in union) for j in classes]
            prob = {(r, k): sum(p[j] * math.exp(weight[r, j, k]) / columns[j] for j in classes) for r, k in union}
        rows = np.flatnonzero(crowd.item == item)
        surprise = -sum(math.log(prob[crowd.annotator[row], crowd.label[row]]) for row in rows)
        total += surprise / len(rows) if variant == "B" else surprise
    return total / len(class_prob)


@pytest.mark.parametrize(("name", "expected"), [("unionnet-a", 4.8570271360), ("unionnet-b", 2.1399743160)])
def test_known_loss(name, expected):
    method = build(name, CROWD)
    put(method.weight, MATRICES)
    assert method.loss(batch_of(CROWD, LOGITS)).item() == pytest.approx(expected, abs=1e-9)


@BOTH
def test_slow_loop(name):
    example = random_example()
    method = scramble(build(name, example.crowd), size=1.0)
    class_prob = method.predict_proba(example.logits)
    expected = slow_loss(name[-1].upper(), class_prob, method.weight, example.crowd)
    assert method.loss(example.batch).item() == pytest.approx(expected, abs=1e-12)


@BOTH
def test_probabilities_of_the_union_sum_to_one(name):
    example = random_example()
    method = scramble(build(name, example.crowd))
    annotator, label = torch.cartesian_prod(torch.arange(5), torch.arange(4)).T
    for item in range(6):
        prob = method.log_prob(example.logits, torch.full_like(label, item), annotator, label).exp()
        assert prob.sum().item() == pytest.approx(1, abs=1e-12)


def test_alone_an_annotator_has_a_crowd_layer_or_a_confusion_matrix():
    crowd = CrowdLabels([0, 1, 2], [0, 0, 0], [1, 1, 2], 3, 1, 3)
    batch = batch_of(crowd, LOGITS[:3])
    triples = (batch.position, batch.annotator, batch.label)
    for name in ("unionnet-a", "unionnet-b"):
        method = build(name, crowd)
        put(method.weight, MATRICES[:1])
        if name == "unionnet-a":
            logits = crowd_layer_logits(torch.softmax(batch.x, dim=1), MATRICES[:1], *triples[:2])
            expected = label_cross_entropy(logits, batch.label)
        else:
            expected = coupled_cross_entropy(batch.x, torch.log_softmax(MATRICES[:1], dim=2), *triples)
        assert_close(method.loss(batch), expected)


@BOTH
def test_start(name):
    method = build(name, CROWD)
    assert method.weight[1, 2].tolist() == pytest.approx([5e-6, 5e-6, 1 - 1e-5], abs=1e-15)


@BOTH
def test_confusion(name):
    method = build(name, CROWD)
    put(method.weight, MATRICES)
    theta = torch.softmax(MATRICES.transpose(0, 1).flatten(1), dim=1).unflatten(1, (3, 3)).transpose(0, 1)
    assert_close(method.confusion(), theta / theta.sum(dim=2, keepdim=True))
    given = torch.softmax(3 * MATRICES, dim=2)
    method.set_confusion(given)
    assert_close(method.confusion(), given)


@BOTH
def test_gradients_and_batch_of_one(name):
    example = random_example()
    method = scramble(build(name, example.crowd))
    check_gradients(method, example.batch)
    single = batch_of(example.crowd, example.logits, items=[2])
    check_gradients(method, single)
    crowd = example.crowd.select_items([2])
    class_prob = method.predict_proba(single.x)
    expected = slow_loss(name[-1].upper(), class_prob, method.weight, crowd)
    assert method.loss(single).item() == pytest.approx(expected, abs=1e-12)


@BOTH
def test_silent_annotator_is_only_pushed_down(name):
    example = random_example()
    method = build(name, example.crowd)
    method.loss(example.batch).backward()
    assert (method.weight.grad[2] > 0).all()
    assert method.weight.grad.isfinite().all()
    assert_close(method.confusion().sum(dim=2), torch.ones(5, 4, dtype=torch.float64))


@BOTH
def test_order_of_items_does_not_matter(name):
    example = random_example()
    method = scramble(build(name, example.crowd))
    turned = batch_of(example.crowd, example.logits, items=[3, 0, 5, 1, 4, 2])
    assert_close(method.loss(turned), method.loss(example.batch))


def test_refusals_and_groups():
    with pytest.raises(ValueError, match="variant must be one of A, B, found 'C'"):
        build("unionnet-b", CROWD, variant="C")
    network, matrices = build("unionnet-a", CROWD).parameter_groups(0.1, 0.5)
    assert (network["weight_decay"], matrices["weight_decay"]) == (0.5, 0)
