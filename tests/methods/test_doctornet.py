"""DoctorNet: a head an annotator, trained on its own labels, averaged to predict; and the learned average."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from lib.methods import doctornet
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.worked_example import batch_of, build, make, random_example, scramble, small_dataset, surprise


def slow_heads(net, features) -> np.ndarray:
    """``[items, annotators, classes]``, one head of one item at a time."""
    weight, bias = net.head_weight.detach().numpy(), net.head_bias.detach().numpy()
    return np.array([[softmax(weight[r] @ row + bias[r]) for r in range(len(weight))] for row in features.numpy()])


# ------------------------------------------------------------------ DoctorNet


def test_slow_loop(monkeypatch):
    example = random_example()
    method = scramble(build("doctornet", example.crowd))
    prob = slow_heads(method, example.logits)
    expected = surprise(lambda item, r, label: prob[item, r, label], example.crowd)
    assert method.loss(example.batch).item() == pytest.approx(expected, abs=1e-12)
    expected = torch.from_numpy(prob.mean(axis=1))
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
    assert not any(value.requires_grad for value in method.backbone.head.parameters())


def test_start():
    method = build("doctornet", CrowdLabels([0], [3], [1], 1, 400, 3), width=9)
    bound = math.sqrt(6 / (9 + 3))
    assert bound * 0.99 < method.head_weight.abs().max() < bound
    assert method.head_weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not method.head_bias.any()


# ------------------------------------------------------------------ Weighted DoctorNet


def test_weighted_slow_loop():
    example = random_example()
    method = scramble(build("weighted-doctornet", example.crowd))
    mixed = np.einsum("r,irk->ik", softmax(method.weight_logits.detach().numpy()), slow_heads(method.first, example.logits))
    said = [example.crowd.label[example.crowd.item == item] for item in range(6)]
    terms = [-np.mean(np.log(mixed[item, labels])) for item, labels in enumerate(said)]
    assert method.loss(example.batch).item() == pytest.approx(np.mean(terms), abs=1e-12)
    turned = batch_of(example.crowd, example.logits, items=[3, 0, 5])
    assert method.loss(turned).item() == pytest.approx(np.mean([terms[item] for item in (3, 0, 5)]), abs=1e-12)


def trained(name: str, data):
    method = make(name, data, seed=3, sizes={"width": 8})
    fit(method, data, Recipe(epochs=12, batch_size=32, lr=0.03), seed=4)
    return method


def test_second_stage_learns_the_weights_alone():
    data = small_dataset()
    first, second = trained("doctornet", data), trained("weighted-doctornet", data)
    for name, value in first.named_parameters():
        assert torch.equal(second.first.get_parameter(name), value)
    assert not any(value.requires_grad or value.grad is not None for value in second.first.parameters())
    assert second.weight_logits.argmin() == 1  # the one who is right in 20 of 100
    second.train()  # without dropout in the first stage's network
    batch = batch_of(data.crowd, data.x)
    assert torch.equal(second.loss(batch), second.loss(batch))
