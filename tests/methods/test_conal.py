"""CoNAL: the known values, slow loops over labels, and a gate that looks at item and annotator."""

import functools
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.testing import assert_close

from lib import methods
from lib import networks as backbones
from lib.methods import conal
from tests.worked_example import (
    CROWD,
    LOGITS,
    MATRICES,
    batch_of,
    build,
    check_gradients,
    put,
    random_example,
    scramble,
    small_dataset,
    surprise,
)

COMMON = torch.tensor([[(j == k) + 0.05 * np.sin(j + 2 * k) for k in range(3)] for j in range(3)], dtype=torch.float64)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector**2).sum())


@pytest.fixture
def small(monkeypatch):
    """A gate of few numbers, so that differences are quickly taken, and a distance that counts."""
    for name, value in {"GATE_SIZE": 3, "GATE_WIDTH": 2, "WEIGHT": 0.1}.items():
        monkeypatch.setattr(conal, name, value)
    return functools.partial(build, "conal")


def slow_gate(method, x: np.ndarray, annotator: int) -> float:
    (inner, inner_bias), (outer, outer_bias) = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in method.item_gate
    )
    items = outer @ (inner @ x + inner_bias) + outer_bias
    one_hot = np.eye(method.n_annotators)[annotator]
    people = unit(method.annotator_gate.weight.detach().numpy() @ one_hot + method.annotator_gate.bias.detach().numpy())
    return 1 / (1 + math.exp(-unit(items) @ people))


def slow_loss(method, example) -> float:
    prob = method.predict_proba(example.logits).detach().numpy()
    common, own = method.common.detach().numpy(), method.own.detach().numpy()

    def says(item, r, label):
        omega = slow_gate(method, example.logits[item].numpy(), r)
        return softmax(prob[item] @ (omega * common + (1 - omega) * own[r]))[label]

    apart = sum(math.sqrt(((own[r] - common) ** 2).sum()) for r in (0, 1, 3, 4))  # annotator 2 gave no label
    return surprise(says, example.crowd) - conal.WEIGHT * apart


def test_known_value():
    method = build("conal", CROWD)
    put(method.own, MATRICES)
    put(method.common, COMMON)
    batch = batch_of(CROWD, LOGITS)
    omega = torch.sigmoid(0.5 * torch.cos((batch.position + batch.annotator).double()))
    method.gate = lambda read, position, annotator: omega
    assert method.loss(batch).item() == pytest.approx(1.0585388069, abs=1e-9)


def test_slow_loop(small):
    example = random_example()
    method = scramble(small(example.crowd))
    assert method.loss(example.batch).item() == pytest.approx(slow_loss(method, example), abs=1e-12)


def test_at_the_start_the_gate_does_not_matter():
    example = random_example()
    loss, other = (build("conal", example.crowd, seed=seed).loss(example.batch) for seed in (0, 1))
    assert_close(loss, other)
    expected = torch.nn.functional.cross_entropy(
        2 * torch.softmax(example.logits, dim=1)[example.batch.position], example.batch.label
    )
    assert_close(loss, expected)


def test_gradients_of_a_gate_that_reads_features(small):
    example = random_example()
    check_gradients(scramble(small(example.crowd, gate_input="features")).eval(), example.batch)


def test_gate_reads_flattened_input_or_features():
    data = small_dataset(items=5)
    x = data.x.reshape(5, 2, 2)
    make = functools.partial(backbones.build, "mlp", (2, 2), 3, width=7, dropout=0.0)
    reads_input, reads_features = (methods.build("conal", make, data.crowd, gate_input=read) for read in ("input", "features"))
    assert (reads_input.item_gate[0].in_features, reads_features.item_gate[0].in_features) == (4, 7)
    for method, reaches in ((reads_input, False), (reads_features, True)):
        seen = {}
        gate = method.gate
        method.gate = lambda *arguments, gate=gate, seen=seen: seen.setdefault("gate", gate(*arguments))
        method.loss(batch_of(data.crowd, x))
        slopes = torch.autograd.grad(seen["gate"].sum(), list(method.backbone.trunk.parameters()), allow_unused=True)
        assert all((slope is not None) == reaches for slope in slopes)


def test_confusion_uses_the_mean_gate_of_training(small):
    example = random_example()
    method = scramble(small(example.crowd))
    common, own = method.common.detach(), method.own.detach()

    def expected(gate):
        return torch.softmax(gate[:, None, None] * common + (1 - gate)[:, None, None] * own, dim=2)

    gate = torch.full((5,), 0.5, dtype=torch.float64)
    assert_close(method.confusion(), expected(gate))
    first, second = (batch_of(example.crowd, example.logits, items=part) for part in ([0, 1, 2], [3, 4, 5]))
    method.loss(first)  # of an earlier epoch
    method.begin_epoch(1, None)
    method.loss(first)
    method.loss(second)
    method.eval()
    method.loss(first)  # only training counts
    pairs = list(zip(example.crowd.item, example.crowd.annotator, strict=True))
    for r in (0, 1, 3, 4):
        gate[r] = np.mean([slow_gate(method, example.logits[i].numpy(), a) for i, a in pairs if a == r])
    assert_close(method.confusion(), expected(gate))
    wanted = torch.softmax(own, dim=2)
    method.set_confusion(wanted)  # at a gate of one half again
    assert_close(method.confusion(), wanted)
    assert_close(torch.softmax(method.common, dim=1), torch.softmax(wanted.log().mean(dim=0), dim=1))
