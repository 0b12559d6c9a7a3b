"""CCC: the known values, derivatives against autograd, groups and meta sets by hand, and what it is without corrections."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib import methods, networks
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import TrainingData
from lib.methods import ccc, meta_gradient
from lib.methods.ccc import CrowdDerivatives, MetaSet, crowd_loss, group_annotators, select_confident
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.benchmarks import ccc_forms
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
)

QUICK = Recipe(epochs=4, batch_size=16, lr=0.01)
CLASSES = torch.arange(3)


def cosines(rows: int, shift: float = 0.0) -> torch.Tensor:
    return torch.tensor([[math.cos(i + d + shift) for d in range(2)] for i in range(rows)], dtype=torch.float64)


class GivenMetaSet:
    """Always the same batch."""

    def __init__(self, x, label):
        self.next = lambda: (x, label)


@pytest.fixture
def linear_model():
    """The linear model of the check values: two features, three annotators in two groups, three meta items."""
    method = build("ccc", CROWD, width=2, groups=2)
    head = [[math.sin(c + 2 * d) for d in range(2)] for c in range(3)]
    for member in method.members:
        put(member.backbone.head.weight, torch.tensor(head, dtype=torch.float64))
        put(member.weight, MATRICES)
    method.groups = [torch.tensor([0, 0, 1])] * 2
    method.meta_sets = [GivenMetaSet(cosines(3, -math.pi / 2), CLASSES)] * 2  # cos(x - pi/2) = sin(x)
    return method


# ------------------------------------------------------------------ the known values


def test_known_loss():
    batch = batch_of(CROWD, LOGITS)
    value = crowd_loss(LOGITS, MATRICES, batch.position, batch.annotator, batch.label)
    assert value.item() == pytest.approx(1.0601398873, abs=1e-9)
    assert CrowdDerivatives(LOGITS, MATRICES, batch).loss.item() == pytest.approx(1.0601398873, abs=1e-9)


def assert_rows(value, expected):
    """Row 0 of group 0 and row 2 of group 1."""
    rows = torch.stack([value[0, 0], value[1, 2]])
    assert_close(rows, torch.tensor(expected, dtype=torch.float64), atol=1e-8, rtol=0)


def test_known_meta_step(linear_model):
    backbone, groups, lr = linear_model.members[0].backbone, linear_model.groups[0], 0.1
    batch = batch_of(CROWD, cosines(4))
    forward = meta_gradient.training_pass(backbone, batch.x)
    inner = CrowdDerivatives(forward.logits, MATRICES, batch)
    assert inner.loss.item() == pytest.approx(1.1121716042, abs=1e-8)
    moved = meta_gradient.virtual_step(backbone, forward, inner.class_logits, lr)
    for mode in meta_gradient.MODES:  # all of this model is in its head
        outer, tangent = meta_gradient.look_ahead(backbone, forward, moved, *linear_model.meta_sets[1].next(), mode)
        assert outer.item() == pytest.approx(0.8117730239, abs=1e-8)
        gradient = -lr * inner.mixed(tangent, groups, 2)
        expected = [[0.0004152422, -0.0005931275, 0.0001778854], [0.0003621226, -0.0003602970, -0.0000018256]]
        assert_close(
            torch.stack([gradient[0, 0], gradient[1, 2]]), torch.tensor(expected, dtype=torch.float64), atol=1e-8, rtol=0
        )
    assert (MATRICES - lr * inner.matrices).max().item() == pytest.approx(1.1004150213, abs=1e-8)
    correction = linear_model.correction(0, batch, forward, lr)
    expected = [[-0.3851943205, 0.5502075107, -0.1650131903], [-0.3359185910, 0.3342250637, 0.0016935277]]
    assert_close(
        torch.stack([correction[0, 0], correction[1, 2]]), torch.tensor(expected, dtype=torch.float64), atol=1e-8, rtol=0
    )
    actual = CrowdDerivatives(forward.logits, MATRICES + correction[groups], batch)
    assert actual.loss.item() == pytest.approx(1.0505503171, abs=1e-8)


def test_step_descends_on_the_corrected_loss(linear_model):
    batch = batch_of(CROWD, cosines(4))
    optimizer = torch.optim.SGD(linear_model.parameters(), lr=0.1)
    twin, weight = linear_model.members[0], MATRICES.clone()
    head = twin.backbone.head.weight.detach().clone().requires_grad_()
    correction = linear_model.correction(0, batch, meta_gradient.training_pass(twin.backbone, batch.x), 0.1)
    corrected = (MATRICES + correction[linear_model.groups[0]]).requires_grad_()
    loss = crowd_loss(batch.x @ head.T, corrected, batch.position, batch.annotator, batch.label)
    loss.backward()
    assert linear_model.step(batch, optimizer).item() == pytest.approx(1.0505503171, abs=1e-8)
    assert_close(twin.backbone.head.weight.detach(), head.detach() - 0.1 * head.grad)
    # The correction itself is forgotten: the matrices move by their gradient alone.
    assert_close(twin.weight.detach(), weight - 0.1 * corrected.grad)


# ------------------------------------------------------------------ the loss and its derivatives


def test_loss_by_slow_loop():
    example = random_example()
    method = scramble(build("ccc", example.crowd))
    total = 0.0
    for member in method.members:
        prob = torch.softmax(member.backbone(example.logits), dim=1).detach().numpy()
        matrices = member.weight.detach().numpy()
        for item, annotator, label in zip(example.crowd.item, example.crowd.annotator, example.crowd.label, strict=True):
            scores = [math.exp(sum(prob[item, j] * matrices[annotator, j, k] for j in range(4))) for k in range(4)]
            total -= math.log(scores[label] / sum(scores) + 1e-5)
    assert method.loss(example.batch).item() == pytest.approx(total / 2 / len(example.crowd), abs=1e-12)


@pytest.mark.parametrize("epsilon", [1e-5, 0.3, 0.0])
def test_derivatives_equal_autograd(epsilon, monkeypatch):
    monkeypatch.setattr(ccc, "EPSILON", epsilon)
    example = random_example()
    torch.manual_seed(0)
    matrices = torch.randn(5, 4, 4, dtype=torch.float64, requires_grad=True)
    class_logits = example.logits.clone().requires_grad_()
    variable = torch.zeros(2, 4, 4, dtype=torch.float64, requires_grad=True)
    groups, tangent = torch.tensor([0, 1, 1, 0, 1]), torch.randn(6, 4, dtype=torch.float64)
    triples = (example.batch.position, example.batch.annotator, example.batch.label)
    loss = crowd_loss(class_logits, matrices + variable[groups], *triples)
    delta, matrix_gradient = torch.autograd.grad(loss, (class_logits, matrices), create_graph=True)
    (mixed,) = torch.autograd.grad((delta * tangent).sum(), variable)
    found = CrowdDerivatives(class_logits, matrices, example.batch)
    for value, expected in (
        (found.loss, loss),
        (found.class_logits, delta),
        (found.matrices, matrix_gradient),
        (found.mixed(tangent, groups, 2), mixed),
    ):
        assert_close(value, expected.detach(), rtol=1e-11, atol=1e-14)
    assert (found.matrices[2] == 0).all()  # annotator 2 gave no label
    # The softmax does not see a constant added to a row of a matrix.
    assert found.mixed(tangent, groups, 2).sum(dim=2).abs().max() < 1e-14


def test_an_impossible_label_costs_no_more_than_epsilon_allows():
    batch = batch_of(CrowdLabels([0], [0], [0], 1, 1, 2), torch.tensor([[0.0, 5.0]]))
    found = CrowdDerivatives(batch.x, 1e4 * torch.eye(2)[None], batch)
    assert found.loss.item() == pytest.approx(-math.log(1e-5), abs=1e-4)
    assert found.class_logits.abs().max() == 0


def test_gradients_and_batch_of_one():
    example = random_example()
    method = scramble(build("ccc", example.crowd))
    check_gradients(method, example.batch)
    check_gradients(method, batch_of(example.crowd, example.logits, items=[2]))


# ------------------------------------------------------------------ the correction


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_correction_equals_the_plain_algorithm(kind):
    problem = ccc_forms.make_problem(kind, smoke=True, dtype=torch.float64)
    results = []
    for step in (ccc_forms.tangent_step, ccc_forms.double_backward_step, ccc_forms.plain_step):
        problem.network.zero_grad()
        torch.manual_seed(1)
        results.append(step(problem))
    assert results[0].abs().max() > 0.4
    assert_close(results[0], results[1], rtol=1e-8, atol=1e-12)
    assert_close(results[0], results[2], rtol=1e-8, atol=1e-12)


def test_correction_is_that_of_the_benchmark():
    problem = ccc_forms.make_problem("mlp", smoke=True, dtype=torch.float64)
    crowd = CrowdLabels(problem.batch.position, problem.batch.annotator, problem.batch.label, 8, 6, 3)
    method = methods.build("ccc", lambda: networks.build("mlp", (5,), 3), crowd, groups=2).double()
    method.members[1].backbone.load_state_dict(problem.network.state_dict())
    method.groups = [None, problem.groups]
    method.meta_sets = [GivenMetaSet(problem.x, problem.label), None]  # network 1 learns from network 0's set
    torch.manual_seed(1)
    forward = meta_gradient.training_pass(method.members[1].backbone, problem.batch.x)
    correction = method.correction(1, problem.batch, forward, ccc_forms.LR)
    torch.manual_seed(1)
    assert_close(correction, ccc_forms.plain_step(problem), rtol=1e-8, atol=1e-12)


def test_correction_lowers_the_meta_loss():
    """Moving the matrices a little by the correction, before the virtual step, makes that step a better one."""
    problem = ccc_forms.make_problem("mlp", smoke=True, dtype=torch.float64)
    problem.network.eval()
    correction = ccc_forms.tangent_step(problem)

    def after(change):
        forward = meta_gradient.training_pass(problem.network, problem.batch.x)
        inner = CrowdDerivatives(forward.logits, problem.matrices + change[problem.groups], problem.batch)
        moved = meta_gradient.virtual_step(problem.network, forward, inner.class_logits, ccc_forms.LR)
        return meta_gradient.look_ahead(problem.network, forward, moved, problem.x, problem.label)[0].item()

    nothing = torch.zeros_like(correction)
    assert after(1e-3 * correction) < after(nothing) < after(-1e-3 * correction)


def test_largest_entry_is_a_share_of_the_matrices_largest(linear_model):
    batch = batch_of(CROWD, cosines(4))
    for rate in (0.5, 0.1):
        linear_model.rate = rate
        forward = meta_gradient.training_pass(linear_model.members[0].backbone, batch.x)
        assert linear_model.correction(0, batch, forward, 0.1).abs().max().item() == pytest.approx(rate * 1.1004150213)


@pytest.mark.parametrize("gradient", [torch.zeros(2, 3, 3), torch.full((2, 3, 3), math.nan), torch.full((2, 3, 3), math.inf)])
def test_no_correction_where_there_is_no_usable_gradient(linear_model, gradient):
    assert (linear_model._normalized(gradient, torch.tensor(1.0)) == 0).all()


def test_each_network_learns_from_the_other_ones_set(linear_model):
    taken = []

    def watched(number):
        x, label = cosines(3, -math.pi / 2), CLASSES
        return SimpleNamespace(next=lambda: (taken.append(number), (x, label))[1])

    linear_model.meta_sets = [watched(0), watched(1)]
    linear_model.step(batch_of(CROWD, cosines(4)), torch.optim.SGD(linear_model.parameters(), lr=0.1))
    assert taken == [1, 0]


# ------------------------------------------------------------------ groups and meta sets


def test_alike_annotators_share_a_group():
    torch.manual_seed(0)
    kinds = torch.stack([torch.eye(3), torch.eye(3).flip(0), torch.full((3, 3), 1 / 3)])
    member_of = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    matrices = kinds[member_of] + 0.01 * torch.randn(7, 3, 3)
    groups = group_annotators(matrices, 3, seed=0)
    assert_close(groups[:, None] == groups[None], member_of[:, None] == member_of[None])
    assert torch.equal(groups, group_annotators(matrices, 3, seed=0))
    assert (group_annotators(matrices, 1, seed=0) == 0).all()
    assert group_annotators(matrices, 7, seed=0).unique().tolist() == list(range(7))


def test_fewer_kinds_than_groups_leave_groups_empty():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = group_annotators(torch.eye(3).repeat(6, 1, 1), 4, seed=0)
    assert len(groups.unique()) == 1


#                        item 0       item 1    item 2  item 3: the network is less and less certain of class 0
CANDIDATES = CrowdLabels([0, 0, 0, 1, 1, 2, 3, 3], [0, 1, 2, 0, 1, 0, 0, 1], [0, 0, 1, 0, 1, 0, 1, 1], 4, 3, 3)
LOG_PROB = np.log([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.6, 0.2]])


def test_meta_set_by_hand():
    item, label = select_confident(LOG_PROB, CANDIDATES, per_class=3)
    # Item 0 comes twice under class 0, since two annotators said so, and once under class 1. Nobody said class 2.
    assert list(zip(item.tolist(), label.tolist(), strict=True)) == [(0, 0), (0, 0), (1, 0), (3, 1), (3, 1), (1, 1)]
    item, label = select_confident(LOG_PROB, CANDIDATES, per_class=3, distinct=True)
    assert list(zip(item.tolist(), label.tolist(), strict=True)) == [(0, 0), (1, 0), (2, 0), (3, 1), (1, 1), (0, 1)]
    item, label = select_confident(LOG_PROB, CANDIDATES, per_class=1, distinct=True)
    assert list(zip(item.tolist(), label.tolist(), strict=True)) == [(0, 0), (3, 1)]
    item, _ = select_confident(LOG_PROB, CANDIDATES, per_class=100)
    assert sorted(item.tolist()) == CANDIDATES.item.tolist()


def test_equally_certain_items_come_in_order():
    item, _ = select_confident(np.zeros((4, 3)), CANDIDATES, per_class=2, distinct=True)
    assert item.tolist() == [0, 1, 0, 1]


def test_meta_batches_go_round():
    data = TrainingData(small_dataset(), torch.device("cpu"))
    item, label = np.array([4, 9, 30, 31, 50, 51, 52]), np.array([0, 1, 2, 0, 1, 2, 0])
    meta_set = MetaSet(item, label, data, 3, np.random.default_rng(0))
    rounds = []
    for _ in range(3):
        batches = [meta_set.next() for _ in range(2)]
        assert [len(x) for x, _ in batches] == [3, 4]  # no batch of one, which cannot be normalized
        rounds.append(torch.cat([x for x, _ in batches]))
        found = {(*x.tolist(), int(k)) for part, classes in batches for x, k in zip(part, classes, strict=True)}
        assert found == {(*data.x[i].tolist(), int(k)) for i, k in zip(item, label, strict=True)}
    assert not torch.equal(rounds[0], rounds[1])


# ------------------------------------------------------------------ epochs


def train(method, data, recipe=QUICK, seed=0):
    return fit(method, data, recipe, seed=seed)


def make(name, data, seed=0, dropout=0.5, **options):
    torch.manual_seed(seed)
    return methods.build(name, lambda: networks.build("mlp", (4,), 3, width=8, dropout=dropout), data.crowd, **options)


def test_without_correction_it_is_a_pair_of_crowd_layers():
    data = small_dataset()
    pair, method = make("crowdlayer-mw-ensemble", data), make("ccc", data, rate=0)
    expected = train(pair, data).history
    # But for the constant inside the logarithm.
    assert train(method, data).history["loss"] == pytest.approx(expected["loss"], abs=1e-3)
    assert not torch.equal(method.members[0].weight, pair.members[0].weight)


def test_with_a_correction_of_zero_it_is_a_pair_of_crowd_layers(monkeypatch):
    """The same through the way that corrected steps take: without dropout, whose masks the meta batches draw too."""
    data = small_dataset()
    pair, method = make("crowdlayer-mw-ensemble", data, dropout=0.0), make("ccc", data, dropout=0.0, warmup=1)
    expected = train(pair.double(), as_double(data)).history
    monkeypatch.setattr(type(method), "_normalized", lambda self, gradient, largest: torch.zeros_like(gradient))
    monkeypatch.setattr(ccc, "EPSILON", 0.0)
    history = train(method.double(), as_double(data)).history
    assert len(method.meta_sets) == 2
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-10)
    for mine, other in zip(method.parameters(), pair.parameters(), strict=True):
        assert_close(mine, other, rtol=1e-6, atol=1e-8)


def as_double(data):
    changed = replace(data)
    for name in ("x", "x_test"):
        object.__setattr__(changed, name, getattr(data, name).double())
    return changed


def test_corrections_make_a_difference_after_the_warm_up():
    data = small_dataset()
    with_them, without = make("ccc", data, warmup=2), make("ccc", data, rate=0)
    losses, expected = train(with_them, data).history["loss"], train(without, data).history["loss"]
    assert losses[:2] == expected[:2]
    assert losses[2] != expected[2]


def test_groups_and_meta_sets_are_made_again_each_epoch_after_the_warm_up():
    data = TrainingData(small_dataset(), torch.device("cpu"))
    method = make("ccc", data.dataset, warmup=1, groups=2, per_class=5)
    method.begin_epoch(0, data)
    assert method.groups == method.meta_sets == []
    torch.manual_seed(3)
    before = torch.get_rng_state()
    method.begin_epoch(1, data)
    assert torch.equal(torch.get_rng_state(), before)
    assert [len(meta_set) for meta_set in method.meta_sets] == [15, 15]
    # Every item was labeled as each of its classes by somebody, and the two networks start apart.
    assert not np.array_equal(method.meta_sets[0].item, method.meta_sets[1].item)
    first, again = [meta_set.next()[0] for meta_set in method.meta_sets], None
    method.begin_epoch(1, data)
    again = [meta_set.next()[0] for meta_set in method.meta_sets]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert method.training
    method.begin_epoch(0, data)  # a second training begins with its own warm-up
    assert method.meta_sets == []


def test_meta_set_of_a_network_that_knows_is_right():
    data = small_dataset()
    on_device = TrainingData(data, torch.device("cpu"))
    method = make("ccc", data, warmup=0, per_class=10)
    train(method, data, replace(QUICK, epochs=20))
    method.begin_epoch(1, on_device)
    labels_right = (data.crowd.label == data.y.numpy()[data.crowd.item]).mean()
    assert labels_right < 0.65
    for meta_set in method.meta_sets:
        assert (data.y.numpy()[meta_set.item] == meta_set.label).mean() > 0.95


@pytest.mark.parametrize("gradient", ["full", "head"])
def test_learns_from_annotators_that_err(gradient):
    data = small_dataset()
    method = make("ccc", data, warmup=2, per_class=10, gradient=gradient)
    history = train(method, data, replace(QUICK, epochs=20)).history
    assert history["test_acc"][-1] > 0.95
    assert method.warmup_epochs == 2
    assert_close(method.confusion().sum(dim=2), torch.ones(3, 3))
    assert method.confusion()[0].diagonal().mean() > method.confusion()[1].diagonal().mean()


def test_same_seed_same_bits():
    data = small_dataset()
    first, second, other = (train(make("ccc", data, seed=s, warmup=1), data, seed=s).history for s in (0, 0, 1))
    assert first == second
    assert first != other


def test_prediction_is_the_mean_of_both_networks():
    example = random_example()
    method = scramble(build("ccc", example.crowd))
    expected = sum(torch.softmax(member.backbone(example.logits), dim=1) for member in method.members) / 2
    assert_close(method.predict_proba(example.logits), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 4}, "groups must lie in 1 .. 3, the number of annotators, found 4"),
        ({"groups": 0}, "groups must lie in 1 .. 3"),
        ({"gradient": "tail"}, "gradient must be one of full, head, found 'tail'"),
        ({"per_class": 0}, "per_class must be at least 1, found 0"),
        ({"rate": -0.1}, "rate must be at least 0, found -0.1"),
        ({"rate": math.nan}, "rate must be at least 0, found nan"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"meta_batch": 1}, "meta_batch must be at least 2"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        build("ccc", CROWD, **options)


def test_groups_of_the_paper_or_one_an_annotator():
    assert build("ccc", CROWD).n_groups == 3
    many = CrowdLabels([0] * 40, range(40), [0] * 40, 1, 40, 2)
    assert build("ccc", many).n_groups == 30
