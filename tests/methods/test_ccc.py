"""CCC: the known values, derivatives against autograd, groups and meta sets by hand, and what it is without corrections."""

import copy
import math
import warnings
from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import TrainingData
from lib.methods import ccc, meta_gradient
from lib.methods.ccc import CrowdDerivatives, crowd_loss, group_annotators, meta_batches, select_confident
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests import worked_example
from tests.benchmarks import ccc_forms
from tests.worked_example import CROWD, LOGITS, MATRICES, batch_of, build, put, random_example, scramble, small_dataset

QUICK = Recipe(epochs=4, batch_size=16, lr=0.01)


def cosines(rows: int, shift: float = 0.0) -> torch.Tensor:
    return torch.tensor([[math.cos(i + d + shift) for d in range(2)] for i in range(rows)], dtype=torch.float64)


META = (cosines(3, -math.pi / 2), torch.arange(3))  # cos(x - pi/2) = sin(x)


@pytest.fixture
def linear_model():
    """The linear model of the check values: two features, three annotators in two groups, three meta items."""
    method = build("ccc", CROWD, width=2, groups=2)
    head = [[math.sin(c + 2 * d) for d in range(2)] for c in range(3)]
    for member in method.members:
        put(member.backbone.head.weight, torch.tensor(head, dtype=torch.float64))
        put(member.weight, MATRICES)
    method.groups, method.meta_sets = [torch.tensor([0, 0, 1])] * 2, [repeat(META)] * 2
    return method


# ------------------------------------------------------------------ the known values


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
        outer, tangent = meta_gradient.look_ahead(backbone, forward, moved, *META, mode)
        assert outer.item() == pytest.approx(0.8117730239, abs=1e-8)
        expected = [[0.0004152422, -0.0005931275, 0.0001778854], [0.0003621226, -0.0003602970, -0.0000018256]]
        assert_rows(-lr * inner.mixed(tangent, groups, 2), expected)
    largest = (MATRICES - lr * inner.matrices).max().item()
    assert largest == pytest.approx(1.1004150213, abs=1e-8)
    correction = linear_model.correction(0, batch, forward, lr)
    assert_rows(correction, [[-0.3851943205, 0.5502075107, -0.1650131903], [-0.3359185910, 0.3342250637, 0.0016935277]])
    linear_model.rate = 0.1
    assert linear_model.correction(0, batch, forward, lr).abs().max().item() == pytest.approx(0.1 * largest)


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


def test_loss():
    """A known value, and a slow loop."""
    batch = batch_of(CROWD, LOGITS)
    value = crowd_loss(LOGITS, MATRICES, batch.position, batch.annotator, batch.label)
    assert value.item() == pytest.approx(1.0601398873, abs=1e-9)
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


@pytest.mark.parametrize("epsilon", [1e-5, 0.3])
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


def test_an_impossible_label_costs_no_more_than_epsilon_allows():
    batch = batch_of(CrowdLabels([0], [0], [0], 1, 1, 2), torch.tensor([[0.0, 5.0]]))
    found = CrowdDerivatives(batch.x, 1e4 * torch.eye(2)[None], batch)
    assert found.loss.item() == pytest.approx(-math.log(1e-5), abs=1e-4)
    assert found.class_logits.abs().max() == 0


# ------------------------------------------------------------------ the correction


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_correction_equals_the_plain_algorithm(kind):
    """As do the forms that the benchmark times."""
    problem = ccc_forms.make_problem(kind, smoke=True, dtype=torch.float64)
    batch = problem.batch
    crowd = CrowdLabels(batch.position, batch.annotator, batch.label, len(batch.x), 6, 3)
    method = build("ccc", crowd, groups=2)
    method.members[1].backbone = copy.deepcopy(problem.network)
    method.groups = [None, problem.groups]
    method.meta_sets = [repeat((problem.x, problem.label)), None]  # network 1 learns from network 0's set

    def ours(problem):
        forward = meta_gradient.training_pass(method.members[1].backbone, batch.x)
        return method.correction(1, batch, forward, ccc_forms.LR)

    results = []
    for step in (ours, ccc_forms.tangent_step, ccc_forms.double_backward_step, ccc_forms.plain_step):
        problem.network.zero_grad()
        torch.manual_seed(1)
        results.append(step(problem))
    assert results[0].abs().max() > 0.4
    for other in results[1:]:
        assert_close(results[0], other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_no_correction_where_there_is_no_usable_gradient(linear_model, value):
    assert (linear_model._normalized(torch.full((2, 3, 3), value), torch.tensor(1.0)) == 0).all()


@pytest.mark.parametrize("coupled", [True, False])
def test_each_network_learns_from_the_other_ones_set(linear_model, coupled):
    taken = []

    def watched(number):
        taken.append(number)
        yield META

    linear_model.coupled = coupled
    linear_model.meta_sets = [watched(0), watched(1)]
    linear_model.step(batch_of(CROWD, cosines(4)), torch.optim.SGD(linear_model.parameters(), lr=0.1))
    assert taken == ([1, 0] if coupled else [0, 1])


# ------------------------------------------------------------------ groups and meta sets


def test_alike_annotators_share_a_group():
    torch.manual_seed(0)
    kinds = torch.stack([torch.eye(3), torch.eye(3).flip(0), torch.full((3, 3), 1 / 3)])
    member_of = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    matrices = kinds[member_of] + 0.01 * torch.randn(7, 3, 3)
    groups = group_annotators(matrices, 3, seed=0)
    assert_close(groups[:, None] == groups[None], member_of[:, None] == member_of[None])
    assert torch.equal(groups, group_annotators(matrices, 3, seed=0))
    with warnings.catch_warnings():  # fewer kinds than groups leave groups empty
        warnings.simplefilter("error")
        assert len(group_annotators(torch.eye(3).repeat(6, 1, 1), 4, seed=0).unique()) == 1


#                        item 0       item 1    item 2  item 3: the network is less and less certain of class 0
CANDIDATES = CrowdLabels([0, 0, 0, 1, 1, 2, 3, 3], [0, 1, 2, 0, 1, 0, 0, 1], [0, 0, 1, 0, 1, 0, 1, 1], 4, 3, 3)
LOG_PROB = np.log([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.6, 0.2]])


@pytest.mark.parametrize(
    ("log_prob", "per_class", "distinct", "expected"),
    [
        # Item 0 comes twice under class 0, since two annotators said so, and once under class 1. Nobody said class 2.
        (LOG_PROB, 3, False, [(0, 0), (0, 0), (1, 0), (3, 1), (3, 1), (1, 1)]),
        (LOG_PROB, 3, True, [(0, 0), (1, 0), (2, 0), (3, 1), (1, 1), (0, 1)]),
        (LOG_PROB, 1, True, [(0, 0), (3, 1)]),
        (LOG_PROB, 100, False, [(0, 0), (0, 0), (1, 0), (2, 0), (3, 1), (3, 1), (1, 1), (0, 1)]),
        (np.zeros((4, 3)), 2, True, [(0, 0), (1, 0), (0, 1), (1, 1)]),  # equally certain items come in order
    ],
)
def test_meta_set_by_hand(log_prob, per_class, distinct, expected):
    item, label = select_confident(log_prob, CANDIDATES, per_class, distinct)
    assert list(zip(item.tolist(), label.tolist(), strict=True)) == expected


def test_meta_batches_go_round():
    data = TrainingData(small_dataset(), torch.device("cpu"))
    item, label = np.array([4, 9, 30, 31, 50, 51, 52]), np.array([0, 1, 2, 0, 1, 2, 0])
    batches, rounds = meta_batches(item, label, data, 3, np.random.default_rng(0)), []
    for _ in range(3):
        x, classes = zip(next(batches), next(batches), strict=True)
        assert [len(part) for part in x] == [3, 4]  # no batch of one, which cannot be normalized
        rounds.append(torch.cat(x))
        found = {(*row.tolist(), int(k)) for row, k in zip(rounds[-1], torch.cat(classes), strict=True)}
        assert found == {(*data.x[i].tolist(), int(k)) for i, k in zip(item, label, strict=True)}
    assert not torch.equal(rounds[0], rounds[1])


# ------------------------------------------------------------------ epochs


def train(method, data, recipe=QUICK):
    return fit(method, data, recipe).history


def make(name, data, dropout=0.5, **options):
    return worked_example.make(name, data, sizes={"width": 8, "dropout": dropout}, **options)


def test_without_correction_it_is_a_pair_of_crowd_layers():
    data = small_dataset()
    # But for the constant inside the logarithm.
    expected = train(make("crowdlayer-mw-ensemble", data), data)["loss"]
    assert train(make("ccc", data, rate=0), data)["loss"] == pytest.approx(expected, abs=1e-3)


def test_with_a_correction_of_zero_it_is_a_pair_of_crowd_layers(monkeypatch):
    """The same through the way that corrected steps take: without dropout, whose masks the meta batches draw too."""
    data = small_dataset()
    for name in ("x", "x_test"):
        object.__setattr__(data, name, getattr(data, name).double())
    pair, method = make("crowdlayer-mw-ensemble", data, dropout=0.0), make("ccc", data, dropout=0.0, warmup=1)
    expected = train(pair.double(), data)
    monkeypatch.setattr(type(method), "_normalized", lambda self, gradient, largest: torch.zeros_like(gradient))
    monkeypatch.setattr(ccc, "EPSILON", 0.0)
    history = train(method.double(), data)
    assert len(method.meta_sets) == 2
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-10)
    for mine, other in zip(method.parameters(), pair.parameters(), strict=True):
        assert_close(mine, other, rtol=1e-6, atol=1e-8)


def test_corrections_make_a_difference_after_the_warm_up():
    data = small_dataset()
    losses, expected = (train(make("ccc", data, **options), data)["loss"] for options in ({"warmup": 2}, {"rate": 0}))
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
    first = [next(batches) for batches in method.meta_sets]
    assert [sorted(label.tolist()) for _, label in first] == [[0] * 5 + [1] * 5 + [2] * 5] * 2
    # Every item was labeled as each of its classes by somebody, and the two networks start apart.
    assert not torch.equal(first[0][0].sort(dim=0).values, first[1][0].sort(dim=0).values)
    method.begin_epoch(1, data)
    assert all(torch.equal(x, next(batches)[0]) for (x, _), batches in zip(first, method.meta_sets, strict=True))
    assert method.training
    method.begin_epoch(0, data)  # a second training begins with its own warm-up
    assert method.meta_sets == []


@pytest.mark.parametrize("gradient", ["full", "head"])
def test_learns_from_annotators_that_err(gradient):
    data = small_dataset()
    method = make("ccc", data, warmup=2, per_class=10, gradient=gradient)
    history = train(method, data, replace(QUICK, epochs=20))
    assert history["test_acc"][-1] > 0.95
    assert method.confusion()[0].diagonal().mean() > method.confusion()[1].diagonal().mean()
    # The meta set of a network that knows is right, though the labels are not.
    method.begin_epoch(2, TrainingData(data, torch.device("cpu")))
    assert (data.crowd.label == data.y.numpy()[data.crowd.item]).mean() < 0.65
    for x, label in map(next, method.meta_sets):
        assert (x[:, :3].argmax(dim=1) == label).double().mean() > 0.95


def test_groups_of_the_paper_or_one_an_annotator():
    assert build("ccc", CROWD).n_groups == 3
    many = CrowdLabels([0] * 40, range(40), [0] * 40, 1, 40, 2)
    assert build("ccc", many).n_groups == 30
