"""Max-MIG: the known values, slow loops, and that the truth is where its loss is least."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, build, put, random_example, scramble


def slow_aggregator(method, crowd) -> np.ndarray:
    weight, log_prior = method.confusion_logits.detach().numpy(), method.log_prior.numpy()
    rows = []
    for item in range(crowd.n_items):
        score = log_prior.copy()
        for row in np.flatnonzero(crowd.item == item):
            for c in range(crowd.n_classes):
                score[c] += weight[crowd.annotator[row], c, crowd.label[row]]
        rows.append(np.exp(score) / np.exp(score).sum())
    return np.array(rows)


def test_known_values():
    method = build("max-mig", CROWD)
    put(method.confusion_logits, MATRICES)
    assert method.posterior()[0].tolist() == pytest.approx([0.4258896196, 0.4343918083, 0.1397185721], abs=1e-9)
    method = build("max-mig", CROWD)  # and its start
    estimate = torch.tensor([[0.6, 0.4, 0], [3 / 7, 4 / 7, 0], [0, 0, 1]], dtype=torch.float64)
    assert_close(method.confusion_logits[0].detach(), (estimate + 0.01).log())
    assert_close(method.log_prior.exp(), torch.full((3,), 1 / 3, dtype=torch.float64))
    silent = build("max-mig", random_example().crowd)
    assert_close(silent.confusion_logits[2].detach(), torch.full((4, 4), math.log(0.01), dtype=torch.float64))


def test_slow_loop():
    example = random_example()
    method = scramble(build("max-mig", example.crowd))
    p = torch.softmax(method.backbone(example.logits), dim=1).detach().numpy()
    g, prior = slow_aggregator(method, example.crowd), np.exp(method.log_prior.numpy())
    ratio = [[sum(p[i] * g[j] / prior) for j in range(6)] for i in range(6)]
    gain = np.mean([1 + math.log(ratio[i][i]) for i in range(6)])
    gain -= np.mean([ratio[i][j] for i in range(6) for j in range(6) if i != j])
    assert method.loss(example.batch).item() == pytest.approx(-gain, abs=1e-12)
    assert_close(method.posterior(), torch.from_numpy(g))


def independent_views(repeats: int = 3):
    """Items of two even classes whose input (one of three, one-hot) and two annotators' labels are independent given the
    class, with exactly the shares of the population; and the true parameters."""
    by_class = np.array([[2, 1, 1], [0.5, 1.5, 2]]) / 4
    annotators = np.array([[[3, 1], [2, 2]], [[3, 1], [0.5, 3.5]]]) / 4
    joint = np.einsum("cx,ca,cb->xab", by_class / 2, annotators[0], annotators[1])
    counts = (joint * 512 * repeats).round().astype(int)
    cells = np.repeat(np.indices(joint.shape).reshape(3, -1), counts.ravel(), axis=1)
    x = torch.eye(3, dtype=torch.float64)[torch.from_numpy(cells[0])]
    crowd = CrowdLabels.from_dense(cells[1:].T, n_classes=2)
    return x, crowd, torch.from_numpy(np.log(by_class)), torch.from_numpy(np.log(annotators))


def test_the_truth_is_where_the_loss_is_least():
    x, crowd, log_by_class, log_confusion = independent_views()
    method = build("max-mig", crowd, width=3)
    put(method.backbone.head.weight, log_by_class)
    put(method.confusion_logits, log_confusion)
    truth = {name: value.clone() for name, value in method.state_dict().items()}
    batch = batch_of(crowd, x)
    best = method.loss(batch)
    best.backward()
    # The pairs inside a batch leave out 1 in 1536 of the population, which moves the optimum by as much.
    for parameter in (method.backbone.head.weight, method.confusion_logits):
        assert parameter.grad.abs().max() < 2e-3
    with torch.no_grad():
        for seed in range(12):
            size = (0.1, 0.5, 2.0)[seed % 3]
            method.load_state_dict(truth)
            assert scramble(method, seed=seed, size=size).loss(batch) > best + 1e-4


def test_a_constant_a_row_is_invisible():
    confusion = torch.softmax(3 * MATRICES, dim=2)
    method = build("max-mig", CROWD)
    put(method.confusion_logits, confusion.log() + 5 * LOGITS[:3, :, None])
    assert_close(method.confusion(), confusion)


def test_batch_of_one_teaches_nothing():
    example = random_example()
    method = scramble(build("max-mig", example.crowd))
    before = {name: value.clone() for name, value in method.named_parameters()}
    loss = method.step(batch_of(example.crowd, example.logits, items=[2]), torch.optim.SGD(method.parameters(), lr=1.0))
    assert loss == 0
    for name, value in method.named_parameters():
        assert torch.equal(value, before[name])
