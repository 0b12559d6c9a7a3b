"""UnionNet: slow loops over the union, and what it comes to with a single annotator."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from lib.losses.crowd import coupled_cross_entropy, crowd_layer_logits, label_cross_entropy
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, build, put, random_example, scramble


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


@pytest.mark.parametrize("name", ["unionnet-a", "unionnet-b"])
def test_slow_loop(name):
    assert build(name, CROWD).confusion_logits[1, 2].tolist() == pytest.approx([5e-6, 5e-6, 1 - 1e-5], abs=1e-15)
    example = random_example()
    method = scramble(build(name, example.crowd), size=1.0)
    for items in (range(6), [2]):
        batch, crowd = batch_of(example.crowd, example.logits, items), example.crowd.select_items(np.array(items))
        expected = slow_loss(name[-1].upper(), method.predict_proba(batch.x), method.confusion_logits, crowd)
        assert method.loss(batch).item() == pytest.approx(expected, abs=1e-12)


def test_alone_an_annotator_has_a_crowd_layer_or_a_confusion_matrix():
    crowd = CrowdLabels([0, 1, 2], [0, 0, 0], [1, 1, 2], 3, 1, 3)
    batch = batch_of(crowd, LOGITS[:3])
    triples = (batch.position, batch.annotator, batch.label)
    logits = crowd_layer_logits(torch.softmax(batch.x, dim=1), MATRICES[:1], *triples[:2])
    expected = {
        "unionnet-a": label_cross_entropy(logits, batch.label),
        "unionnet-b": coupled_cross_entropy(batch.x, torch.log_softmax(MATRICES[:1], dim=2), *triples),
    }
    for name, value in expected.items():
        method = build(name, crowd)
        put(method.confusion_logits, MATRICES[:1])
        assert_close(method.loss(batch), value)


def test_confusion_is_the_unions_given_that_the_annotator_spoke():
    method = build("unionnet-b", CROWD)
    put(method.confusion_logits, MATRICES)
    theta = torch.softmax(MATRICES.transpose(0, 1).flatten(1), dim=1).unflatten(1, (3, 3)).transpose(0, 1)
    assert_close(method.confusion(), theta / theta.sum(dim=2, keepdim=True))
