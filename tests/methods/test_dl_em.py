"""DL-EM: each round against slow loops, and what the released variant does differently."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.aggregation.dawid_skene import majority_vote
from lib.crowd.labels import CrowdLabels
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.worked_example import batch_of, build, held, random_example, scramble, small_dataset


def method_and_data(**options):
    """In float64 throughout; the network's class probabilities of the items."""
    example = random_example()
    method = scramble(build("dl-em", example.crowd, **options)).double()
    prob = method.predict_proba(example.logits).detach().numpy()
    return method, held(example.crowd, example.logits), prob


def slow_e_step(prob, confusion, crowd):
    target = prob.copy()
    for item, r, label in zip(crowd.item, crowd.annotator, crowd.label, strict=True):
        target[item] *= confusion[r, :, label]
    return target


def slow_counts(target, crowd):
    counts = np.zeros((crowd.n_annotators, crowd.n_classes, crowd.n_classes))
    for item, r, label in zip(crowd.item, crowd.annotator, crowd.label, strict=True):
        counts[r, :, label] += target[item]
    return counts


def test_rounds_slow_loop():
    """The first is the majority vote."""
    method, data, prob = method_and_data()
    target = np.eye(4)[majority_vote(data.crowd)]
    for epoch in (0, 1, 2):
        if epoch > 0:
            target = slow_e_step(prob, method.confusion().numpy(), data.crowd)
            target /= target.sum(axis=1, keepdims=True)
        counts = slow_counts(target, data.crowd) + 0.01
        method.begin_epoch(epoch, data)
        assert_close(method.posterior(), torch.from_numpy(target))
        assert_close(method.confusion(), torch.from_numpy(counts / counts.sum(axis=2, keepdims=True)))
        expected = -(target * np.log(prob)).sum(axis=1).mean()
        assert method.loss(batch_of(data.crowd, data.x)).item() == pytest.approx(expected, abs=1e-12)


def test_unlabeled_item_keeps_the_networks_belief():
    logits = torch.tensor([[1.0, 0.0], [0.3, 0.6]], dtype=torch.float64)
    crowd = CrowdLabels([0], [0], [0], 2, 1, 2)
    method = build("dl-em", crowd).double()
    for epoch in (0, 1):
        method.begin_epoch(epoch, held(crowd, logits))
    assert_close(method.posterior()[1], torch.softmax(logits[1], dim=0))
    assert not torch.allclose(method.posterior()[0], torch.softmax(logits[0], dim=0), atol=1e-3)


def test_better_than_the_votes_it_starts_from():
    """Annotator 1 is mostly wrong and annotator 2 often; rounds find out."""
    data = small_dataset(accuracies=(0.95, 0.2, 0.3))
    method = build("dl-em", data.crowd, width=4).float()
    fit(method, data, Recipe(epochs=20, batch_size=16, lr=0.05))

    def right(posterior):
        return (posterior.argmax(dim=1) == data.y).double().mean().item()

    vote = torch.from_numpy(majority_vote(data.crowd))
    assert right(method.posterior()) > (vote == data.y).double().mean().item() + 0.1
    diagonal = method.confusion().diagonal(dim1=1, dim2=2).mean(dim=1)
    assert diagonal.argmax() == 0


def test_released_rounds_slow_loop():
    """Matrices from the network alone, with one added to the counts but not to their total; targets not normalized."""
    method, data, prob = method_and_data(variant="released")
    counts = slow_counts(prob, data.crowd)
    spoke = [0, 1, 3, 4]  # annotator 2 gave no label
    confusion = np.ones_like(counts)
    confusion[spoke] = (1 + counts[spoke]) / counts[spoke].sum(axis=2, keepdims=True)
    target = slow_e_step(prob, confusion, data.crowd)
    method.begin_epoch(0, data)
    assert_close(method.target, torch.eye(4, dtype=torch.float64)[majority_vote(data.crowd)])
    method.begin_epoch(1, data)
    assert_close(method.target, torch.from_numpy(target))
    assert (method.target.sum(dim=1) - 1).abs().min() > 1e-3
    assert_close(method._confusion[spoke], torch.from_numpy(confusion[spoke]))
    # What it tells is normalized nonetheless.
    assert_close(method.confusion().sum(dim=2), torch.ones(5, 4, dtype=torch.float64))
    assert_close(method.posterior(), torch.from_numpy(target / target.sum(axis=1, keepdims=True)))
    # An item weighs as much as its labels are evident.
    expected = -(target * np.log(prob)).sum() / 6
    assert method.loss(batch_of(data.crowd, data.x)).item() == pytest.approx(expected, abs=1e-12)


def test_a_certain_network_does_not_break_the_e_step():
    """The network rules out what both annotators say."""
    logits = torch.tensor([[800.0, 0.0]], dtype=torch.float64)
    crowd = CrowdLabels([0, 0], [0, 1], [1, 1], 1, 2, 2)
    method = build("dl-em", crowd).double()
    for epoch in range(3):
        method.begin_epoch(epoch, held(crowd, logits))
        assert method.posterior().isfinite().all()
        assert math.isfinite(method.loss(batch_of(crowd, logits)).item())
