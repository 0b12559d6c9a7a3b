"""Max-MIG: the known values, slow loops, and that the truth is where its loss is least."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from lib.losses.information import DIVERGENCES
from lib.methods.max_mig import vote_confusion
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, build, check_gradients, put, random_example, scramble

UNITS = {
    "kl": (lambda t: 1 + math.log(t), lambda t: t),
    "pearson": (lambda t: 2 * (t - 1), lambda t: t**2 - 1),
    "js": (lambda t: math.log(2 * t / (1 + t)), lambda t: math.log((1 + t) / 2)),
    "squared-hellinger": (lambda t: 1 - t**-0.5, lambda t: t**0.5 - 1),
    "reverse-kl": (lambda t: -1 / t, lambda t: math.log(t) - 1),
}


def slow_aggregator(method, crowd) -> np.ndarray:
    weight, log_prior = method.weight.detach().numpy(), method.log_prior.numpy()
    rows = []
    for item in range(crowd.n_items):
        score = log_prior.copy()
        for row in np.flatnonzero(crowd.item == item):
            for c in range(crowd.n_classes):
                score[c] += weight[crowd.annotator[row], c, crowd.label[row]]
        rows.append(np.exp(score) / np.exp(score).sum())
    return np.array(rows)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(("divergence", "expected"), [("kl", -0.0910179422), ("pearson", -0.1874176568), ("js", -0.0450870232)])
def test_known_loss(divergence, expected):
    method = build("max-mig", CROWD, divergence=divergence)
    put(method.weight, MATRICES)
    assert method.loss(batch_of(CROWD, LOGITS)).item() == pytest.approx(expected, abs=1e-9)
    assert method.posterior()[0].tolist() == pytest.approx([0.4258896196, 0.4343918083, 0.1397185721], abs=1e-9)


def test_known_start():
    estimate = vote_confusion(CROWD)
    assert estimate[0] == pytest.approx(np.array([[0.6, 0.4, 0], [3 / 7, 4 / 7, 0], [0, 0, 1]]))
    method = build("max-mig", CROWD, delta=0.02)
    assert_close(method.weight.detach(), torch.from_numpy(np.log(estimate + 0.02)))
    assert_close(method.log_prior.exp(), torch.full((3,), 1 / 3, dtype=torch.float64))
    voted = build("max-mig", CROWD, prior="votes")
    # Vote shares (1/2, 1/2, 0), (0, 0, 1), (1/2, 1/2, 0), (1/3, 2/3, 0) and one item more of each class.
    assert_close(voted.log_prior.exp(), torch.tensor([7 / 3, 8 / 3, 2], dtype=torch.float64) / 7)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_slow_loop(divergence):
    example = random_example()
    method = scramble(build("max-mig", example.crowd, divergence=divergence, prior="votes"))
    p = torch.softmax(method.backbone(example.logits), dim=1).detach().numpy()
    g, prior = slow_aggregator(method, example.crowd), np.exp(method.log_prior.numpy())
    ratio = [[sum(p[i] * g[j] / prior) for j in range(6)] for i in range(6)]
    matching, chance = UNITS[divergence]
    gain = np.mean([matching(ratio[i][i]) for i in range(6)])
    gain -= np.mean([chance(ratio[i][j]) for i in range(6) for j in range(6) if i != j])
    assert method.loss(example.batch).item() == pytest.approx(-gain, abs=1e-12)
    assert_close(method.posterior(), torch.from_numpy(g))


def test_forecaster():
    example = random_example()
    method = scramble(build("max-mig", example.crowd, prior="votes"))
    p = method.predict_proba(example.logits).detach().numpy()
    product = p * slow_aggregator(method, example.crowd) / np.exp(method.log_prior.numpy())
    batch = example.batch
    forecast = method.forecast(batch.x, batch.position, batch.annotator, batch.label)
    assert_close(forecast.detach(), torch.from_numpy(product / product.sum(axis=1, keepdims=True)))
    nobody = torch.zeros(0, dtype=torch.int64)
    assert_close(method.forecast(batch.x, nobody, nobody, nobody).detach(), torch.from_numpy(p))


# ------------------------------------------------------------------ the optimum


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


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_the_truth_is_where_the_loss_is_least(divergence):
    x, crowd, log_by_class, log_confusion = independent_views()
    method = build("max-mig", crowd, width=3, divergence=divergence)
    put(method.backbone.head.weight, log_by_class)
    put(method.weight, log_confusion)
    truth = {name: value.clone() for name, value in method.state_dict().items()}
    batch = batch_of(crowd, x)
    best = method.loss(batch)
    best.backward()
    # The pairs inside a batch leave out 1 in 1536 of the population, which moves the optimum by as much.
    for parameter in (method.backbone.head.weight, method.weight):
        assert parameter.grad.abs().max() < 2e-3
    with torch.no_grad():
        for seed in range(12):
            size = (0.1, 0.5, 2.0)[seed % 3]
            method.load_state_dict(truth)
            assert scramble(method, seed=seed, size=size).loss(batch) > best + 1e-4


def test_confusion_from_log_matrices():
    confusion = torch.softmax(3 * MATRICES, dim=2)
    method = build("max-mig", CROWD)
    put(method.weight, confusion.log() + 5 * LOGITS[:3, :, None])  # a constant a row is invisible
    assert_close(method.confusion(), confusion)
    other = build("max-mig", CROWD)
    other.set_confusion(confusion)
    assert_close(other.confusion(), confusion)


# ------------------------------------------------------------------ gradients, edges


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_gradients(divergence):
    example = random_example()
    check_gradients(scramble(build("max-mig", example.crowd, divergence=divergence)), example.batch)


def test_silent_annotator():
    example = random_example()
    method = build("max-mig", example.crowd)
    assert_close(method.weight[2].detach(), torch.full((4, 4), math.log(0.01), dtype=torch.float64))
    method.loss(example.batch).backward()
    assert not method.weight.grad[2].any()
    assert all(method.weight.grad[r].any() for r in (0, 1, 3, 4))
    assert_close(method.confusion()[2], torch.full((4, 4), 0.25, dtype=torch.float64))


def test_order_of_items_does_not_matter():
    example = random_example()
    method = scramble(build("max-mig", example.crowd))
    turned = batch_of(example.crowd, example.logits, items=[3, 0, 5, 1, 4, 2])
    assert_close(method.loss(turned), method.loss(example.batch))


def test_batch_of_one_teaches_nothing():
    example = random_example()
    method = scramble(build("max-mig", example.crowd))
    before = {name: value.clone() for name, value in method.named_parameters()}
    loss = method.step(batch_of(example.crowd, example.logits, items=[2]), torch.optim.SGD(method.parameters(), lr=1.0))
    assert loss == 0
    for name, value in method.named_parameters():
        assert_close(value, before[name], rtol=0, atol=0)


def test_the_aggregator_has_its_own_rate():
    method = build("max-mig", CROWD, aggregator_rate=0.25)
    network, aggregator = method.parameter_groups(0.1, 0.5)
    assert (network["lr"], network["weight_decay"]) == (0.1, 0.5)
    assert (aggregator["lr"], aggregator["weight_decay"]) == (0.025, 0)
    assert len(network["params"] + aggregator["params"]) == len(list(method.parameters()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divergence": "tv"}, "one of kl, pearson.*found 'tv'"),
        ({"prior": "truth"}, "uniform, votes, found 'truth'"),
        ({"delta": 0}, "above 0, found 0 and 0.1"),
        ({"aggregator_rate": -1}, "above 0, found 0.01 and -1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        build("max-mig", CROWD, **options)
