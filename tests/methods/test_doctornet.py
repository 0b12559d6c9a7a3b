"""DoctorNet: a head an annotator, trained on its own labels, averaged to predict; and the learned average."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib import methods, networks
from lib.crowd.labels import CrowdLabels
from lib.methods import doctornet
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.worked_example import CROWD, LOGITS, batch_of, build, check_gradients, put, random_example, scramble, small_dataset


def two_heads(name: str = "doctornet", **options):
    """One feature ``log 3``. Head 0 says 3/4 and 1/4, head 1 says 1/7 and 6/7."""
    crowd = CrowdLabels([0, 0], [0, 1], [0, 0], 1, 2, 2)
    method = build(name, crowd, width=1, **options)
    net = method if name == "doctornet" else method.first
    put(net.head_weight, torch.tensor([[[1.0], [0]], [[0], [1]]], dtype=torch.float64))
    put(net.head_bias, torch.tensor([[0, 0], [0, math.log(2)]], dtype=torch.float64))
    x = torch.tensor([[math.log(3)]], dtype=torch.float64)
    return method, batch_of(crowd, x)


def softmax(values) -> np.ndarray:
    exponents = np.exp(np.asarray(values))
    return exponents / exponents.sum()


def slow_heads(net, features) -> np.ndarray:
    """``[items, annotators, classes]``, one head of one item at a time."""
    weight, bias = net.head_weight.detach().numpy(), net.head_bias.detach().numpy()
    return np.array([[softmax(weight[r] @ row + bias[r]) for r in range(len(weight))] for row in features.numpy()])


# ------------------------------------------------------------------ DoctorNet


def test_by_hand():
    method, batch = two_heads()
    assert method.loss(batch).item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 7)) / 2, abs=1e-12)
    expected = [(3 / 4 + 1 / 7) / 2, (1 / 4 + 6 / 7) / 2]
    assert_close(method.predict_proba(batch.x), torch.tensor([expected], dtype=torch.float64))


def test_slow_loop():
    example = random_example()
    method = scramble(build("doctornet", example.crowd))
    prob = slow_heads(method, example.logits)
    terms = []
    for item, annotator, label in zip(example.crowd.item, example.crowd.annotator, example.crowd.label, strict=True):
        terms.append(-np.log(prob[item, annotator, label]))
    assert method.loss(example.batch).item() == pytest.approx(np.mean(terms), abs=1e-12)


def test_prediction_averages_the_heads(monkeypatch):
    example = random_example()
    method = scramble(build("doctornet", example.crowd))
    expected = torch.from_numpy(slow_heads(method, example.logits).mean(axis=1))
    assert_close(method.predict_proba(example.logits), expected)
    monkeypatch.setattr(doctornet, "BLOCK", 2 * expected.numel())  # two annotators at a time, the last alone
    assert_close(method.predict_proba(example.logits), expected)


def test_a_head_learns_from_its_own_labels_alone():
    example = random_example()
    method = build("doctornet", example.crowd)
    batch = batch_of(example.crowd, example.logits, items=[1, 4])
    method.loss(batch).backward()
    moved = (method.head_weight.grad.abs().sum(dim=(1, 2)) > 0) & (method.head_bias.grad.abs().sum(dim=1) > 0)
    assert moved.nonzero().flatten().tolist() == sorted(set(batch.annotator.tolist()))
    assert not moved[2]
    assert not any(value.requires_grad for value in method.backbone.head.parameters())
    assert method.confusion() is None


def test_order_of_items_does_not_matter():
    example = random_example()
    method = scramble(build("doctornet", example.crowd))
    turned = batch_of(example.crowd, example.logits, items=[3, 0, 5, 1, 4, 2])
    assert_close(method.loss(turned), method.loss(example.batch))


def test_batch_of_one():
    method = scramble(build("doctornet", CROWD))
    single = method.loss(batch_of(CROWD, LOGITS, items=[2]))
    prob = slow_heads(method, LOGITS[2:3])[0]
    assert single.item() == pytest.approx(-(np.log(prob[1, 0]) + np.log(prob[2, 1])) / 2, abs=1e-12)


def test_gradients():
    example = random_example()
    check_gradients(scramble(build("doctornet", example.crowd)), example.batch)


def test_start():
    crowd = CrowdLabels([0], [3], [1], 1, 400, 3)
    method = build("doctornet", crowd, width=9)
    bound = math.sqrt(6 / (9 + 3))
    assert bound * 0.99 < method.head_weight.abs().max() < bound
    assert method.head_weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not method.head_bias.any()


# ------------------------------------------------------------------ Weighted DoctorNet


def test_weighted_by_hand():
    method, batch = two_heads("weighted-doctornet")
    put(method.weight_logits, torch.tensor([math.log(3), 0], dtype=torch.float64))  # weights 3/4 and 1/4
    expected = 3 / 4 * 3 / 4 + 1 / 4 * 1 / 7
    assert method.predict_proba(batch.x)[0, 0].item() == pytest.approx(expected, abs=1e-12)
    assert method.loss(batch).item() == pytest.approx(-math.log(expected), abs=1e-12)  # both labels are 0


def test_weighted_slow_loop():
    example = random_example()
    method = scramble(build("weighted-doctornet", example.crowd))
    weight = softmax(method.weight_logits.detach().numpy())
    prob = slow_heads(method.first, example.logits)
    terms = []
    for item in range(6):
        mixed = sum(w * head for w, head in zip(weight, prob[item], strict=True))
        said = example.crowd.label[example.crowd.item == item]
        terms.append(-np.mean([np.log(mixed[label]) for label in said]))
    assert method.loss(example.batch).item() == pytest.approx(np.mean(terms), abs=1e-12)
    turned = batch_of(example.crowd, example.logits, items=[3, 0, 5])
    assert method.loss(turned).item() == pytest.approx(np.mean([terms[item] for item in (3, 0, 5)]), abs=1e-12)
    assert method.head_weights().sum().item() == pytest.approx(1)


def test_weighted_gradients_and_batch_of_one():
    example = random_example()
    method = scramble(build("weighted-doctornet", example.crowd))
    method.first.requires_grad_(False)
    check_gradients(method, example.batch)
    check_gradients(method, batch_of(example.crowd, example.logits, items=[3]))


def trained(name: str, data, **options):
    torch.manual_seed(3)
    make = functools.partial(networks.build, "mlp", (4,), 3, width=8)
    method = methods.build(name, make, data.crowd, **options)
    fit(method, data, Recipe(epochs=12, batch_size=32, lr=0.03), seed=4)
    return method


def test_second_stage_learns_the_weights_alone():
    data = small_dataset()
    first, second = trained("doctornet", data), trained("weighted-doctornet", data)
    for name, value in first.named_parameters():
        assert_close(second.first.get_parameter(name), value, rtol=0, atol=0)
    assert not any(value.requires_grad or value.grad is not None for value in second.first.parameters())
    weights = second.head_weights()
    assert weights.argmin() == 1  # the one who is right in 20 of 100


def test_second_stage_sees_no_dropout():
    data = small_dataset(items=8)
    method = trained("weighted-doctornet", data)
    method.train()
    batch = batch_of(data.crowd, data.x)
    assert_close(method.loss(batch), method.loss(batch), rtol=0, atol=0)
    (group,) = method.parameter_groups(0.1, 0.5)
    assert group["params"] == [method.weight_logits]
    assert (group["lr"], group["weight_decay"]) == (0.1, 0)
