"""Crowd Layer: slow loops for every variant, crowd-kit's layer, and what the loss costs."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from tests.worked_example import batch_of, build, random_example, scramble, surprise

every_variant = pytest.mark.parametrize("variant", ["MW", "VW", "VW+B"])


def says(method, prob, r):
    """The annotator's probabilities of labels for one item, written out."""
    weight = method.weight.detach().numpy()[r]
    logits = prob @ weight if method.variant == "MW" else prob * weight
    return softmax(logits + method.bias.detach().numpy()[r] if method.variant == "VW+B" else logits)


@every_variant
def test_slow_loop(variant):
    example = random_example()
    method = scramble(build("crowdlayer-mw", example.crowd, variant=variant))
    prob = method.predict_proba(example.logits).detach().numpy()
    expected = surprise(lambda item, r, label: says(method, prob[item], r)[label], example.crowd)
    assert method.loss(example.batch).item() == pytest.approx(expected, abs=1e-12)
    certain = [[says(method, prob, r) for prob in np.eye(4)] for r in range(5)]  # what an annotator says of a certain class
    assert_close(method.confusion(), torch.from_numpy(np.array(certain)))


@every_variant
def test_logits_agree_with_crowdkit(variant):
    """Their layer takes one (item, annotator) pair a row; for a square matrix it multiplies from the other side."""
    from crowdkit.learning import CrowdLayer

    example = random_example()
    method = scramble(build("crowdlayer-mw", example.crowd, variant=variant))
    layer = CrowdLayer(4, 5, conn_type=variant.lower(), dtype=torch.float64)
    state = {name: value for name, value in method.state_dict().items() if name in ("weight", "bias")}
    if variant == "MW":
        state["weight"] = state["weight"].transpose(1, 2)
    names = {"weight": "scale"} if variant == "VW+B" else {}
    layer.load_state_dict({names.get(name, name): value for name, value in state.items()})
    prob, (position, annotator) = torch.softmax(example.logits, dim=1), (example.batch.position, example.batch.annotator)
    assert_close(method.annotator_logits(prob, position, annotator), layer(prob[position], annotator))


@every_variant
def test_every_variant_starts_as_the_same_function(variant):
    """Annotators repeat the classifier's probabilities, as logits."""
    example = random_example()
    method = build("crowdlayer-mw", example.crowd, variant=variant)
    prob = method.predict_proba(example.logits)[example.batch.position]
    assert_close(method.loss(example.batch), torch.nn.functional.cross_entropy(prob, example.batch.label))


def test_the_loss_costs_what_the_labels_cost():
    """Not items x annotators x classes, nor all matrices, which would be a thousand times as much here."""
    example, kept = random_example(), []
    crowd = CrowdLabels(example.crowd.item, 4000 * example.crowd.annotator, example.crowd.label, 6, 16_001, 4)
    method = build("crowdlayer-mw", crowd)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor):
        method.loss(batch_of(crowd, example.logits))
    assert max(kept) == len(crowd) * 4 * 4
