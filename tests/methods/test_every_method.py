"""What holds for every method that learns classes: a new one is covered as soon as it is registered."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib import methods, networks
from lib.aggregation import em_steps
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import TrainingData
from lib.datasets.kinds import CrowdDataset
from lib.methods.base import Method
from lib.training import loop
from lib.training.recipe import Recipe
from tests.worked_example import batch_of

# Seven annotators, so that no other axis has their number; the third gave no label.
ITEMS, ANNOTATORS, CLASSES, WIDTH = 40, 7, 3, 5
SILENT = 2
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.01)
every_method = pytest.mark.parametrize("name", methods.names("classification"))


def toy_crowd(items=ITEMS):
    """One to four labels an item, two thirds of them right; the truth."""
    random = np.random.default_rng(0)
    y = np.arange(items) % CLASSES
    labels = np.where(random.random((items, ANNOTATORS)) < 0.67, y[:, None], random.integers(CLASSES, size=(items, 1)))
    given = random.random(labels.shape) < 0.3
    given[np.arange(items), random.choice([0, 1, 3, 4, 5, 6], size=items)] = True
    given[:, SILENT] = False
    return CrowdLabels.from_dense(np.where(given, labels, -1), n_classes=CLASSES), y


def toy_data(unlabeled=0):
    """Features that tell the classes apart, and as many more items that nobody labeled."""
    crowd, y = toy_crowd()
    if unlabeled:
        sizes = (ITEMS + unlabeled, ANNOTATORS, CLASSES)
        crowd = CrowdLabels(crowd.item, crowd.annotator, crowd.label, *sizes)
        y = np.concatenate([y, np.zeros(unlabeled, dtype=np.int64)])
    random = np.random.default_rng(1)
    x = torch.from_numpy(np.eye(WIDTH)[y] + 0.5 * random.normal(size=(len(y), WIDTH))).float()
    truth = torch.from_numpy(y)
    test = {"x_test": x[:ITEMS].clone(), "y_test": truth[:ITEMS]}
    return CrowdDataset("toy", "Toy", x, crowd, truth, class_names=("a", "b", "c"), **test)


def build(name, data, dropout=0.5, seed=0, **options):
    """A method on a small network, its weights from the seed."""
    make = functools.partial(networks.build, "mlp", (WIDTH,), CLASSES, width=8, dropout=dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return methods.build(name, make, data.crowd, truth=data.y, **options)


@functools.cache
def fitted(name, unlabeled=0, seed=0):
    """A trained method and its history; nobody may change it."""
    data = toy_data(unlabeled)
    method = build(name, data, seed=seed)
    return method, loop.fit(method, data, RECIPE, seed=seed).history


def ready(name, data):
    """A method just before its first step. Without dropout, so that a loss is a function of its batch."""
    method = build(name, data, dropout=0.0)
    on_device = TrainingData(data, torch.device("cpu"))
    generator = np.random.default_rng(0)

    def fit(other, data=on_device, **changes):
        return loop._train(other, data, replace(RECIPE, **changes), generator, progress=False)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method.prepare(on_device, fit)
        method.begin_epoch(0, on_device)
    return method.train()


def whole_batch(data):
    """All labeled items."""
    return batch_of(data.crowd, data.x, np.flatnonzero(data.crowd.labels_per_item))


# ------------------------------------------------------------------ training


@every_method
def test_matrices_that_do_not_fit_are_refused_before_they_are_made(name, monkeypatch):
    has_matrices = (ANNOTATORS, CLASSES, CLASSES) in {value.shape for value in build(name, toy_data()).state_dict().values()}
    monkeypatch.setattr(em_steps, "_memory", lambda: 500)
    expected = pytest.raises(MemoryError, match=r"take 1,008 bytes, .* has 500; .*(crowdlayer-vw|one coin)")
    with expected if has_matrices else contextlib.nullcontext():
        build(name, toy_data())


@every_method
def test_trains_to_finite_numbers(name):
    method, history = fitted(name)
    assert all(np.isfinite(values).all() for values in history.values())
    assert len(history["loss"]) == len(history["test_acc"]) == RECIPE.epochs
    assert all(value.isfinite().all() for value in method.state_dict().values())


@every_method
def test_a_step_changes_the_backbone(name):
    data = toy_data()
    method = ready(name, data)
    learning = [value for value in method.backbone.parameters() if value.requires_grad]
    if name == "weighted-doctornet":  # whose last stage only weighs what the first has learned
        learning = [value for value in method.parameters() if value.requires_grad]
    before = [value.detach().clone() for value in learning]
    optimizer = loop._optimizer(method, RECIPE)
    loss = method.step(whole_batch(data), optimizer)
    assert loss.shape == ()
    assert loss.isfinite()
    assert not loss.requires_grad
    assert any((old != new).any() for old, new in zip(before, learning, strict=True))


@every_method
def test_every_parameter_with_a_gradient_is_in_one_group(name):
    data = toy_data()
    method = ready(name, data)
    groups = method.parameter_groups(lr=0.1, weight_decay=0.2)
    grouped = [id(value) for group in groups for value in group["params"]]
    assert len(set(grouped)) == len(grouped)
    method.zero_grad()
    method.loss(whole_batch(data)).backward()
    moved = {key for key, value in method.named_parameters() if value.grad is not None and value.grad.any()}
    assert moved
    assert moved <= {key for key, value in method.named_parameters() if id(value) in grouped}
    assert all(group["lr"] > 0 for group in groups)


@every_method
def test_same_seed_same_bits(name):
    (method, history), (again, repeated) = fitted(name), fitted.__wrapped__(name)
    assert history == repeated
    for key, value in method.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


@every_method
def test_another_seed_trains_another_network(name):
    (method, _), (other, _) = fitted(name), fitted(name, seed=1)
    assert not torch.equal(method.backbone.head.weight, other.backbone.head.weight)


@every_method
def test_unlabeled_items_change_nothing(name):
    (method, history), (other, repeated) = fitted(name), fitted(name, unlabeled=10)
    assert history == repeated
    x = toy_data().x_test
    assert torch.equal(method.predict_proba(x), other.predict_proba(x))


@every_method
def test_truth_plays_no_part(name):
    """Training must be the same whatever the true classes are, those of the test items included."""
    data = toy_data()
    wrong = replace(data, y=data.y.roll(1), y_test=data.y_test.roll(1))
    method = build(name, wrong)
    history = loop.fit(method, wrong, RECIPE).history
    same = history["loss"] == fitted(name)[1]["loss"]
    assert same == (name != "true-labels")


@every_method
def test_trains_without_truth_or_test_items(name):
    if name == "true-labels":
        pytest.skip("is about the truth")
    data = replace(toy_data(), y=None, x_test=None, y_test=None)
    history = loop.fit(build(name, data), data, RECIPE).history
    assert history["loss"] == fitted(name)[1]["loss"]


# ------------------------------------------------------------------ the loss


@every_method
def test_loss_of_one_item(name):
    data = toy_data()
    method = ready(name, data)
    loss = method.loss(batch_of(data.crowd, data.x, items=[4]))
    loss.backward()
    assert loss.isfinite()
    assert all(value.grad is None or value.grad.isfinite().all() for value in method.parameters())


@every_method
def test_order_of_the_items_does_not_matter(name):
    data = toy_data()
    turned = batch_of(data.crowd, data.x, np.arange(ITEMS)[::-1].copy())
    assert_close(ready(name, data).loss(whole_batch(data)), ready(name, data).loss(turned))


@every_method
def test_names_of_the_annotators_do_not_matter(name):
    """The same crowd with its annotators in another order, and every parameter turned along."""
    data = toy_data()
    order = np.random.default_rng(3).permutation(ANNOTATORS)  # the new place of each annotator
    crowd = CrowdLabels(data.crowd.item, order[data.crowd.annotator], data.crowd.label, ITEMS, ANNOTATORS, CLASSES)
    other_data = replace(data, crowd=crowd)
    method = ready(name, data)
    with torch.no_grad():  # the start is the same for all annotators, which would prove nothing
        for value in method.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    same, other = (build(name, given, dropout=0.0).train() for given in (data, other_data))
    same.load_state_dict(method.state_dict())
    other.load_state_dict({key: _turned(value, np.argsort(order)) for key, value in method.state_dict().items()})
    loss = method.loss(whole_batch(data))
    if not torch.allclose(loss, same.loss(whole_batch(data))):
        pytest.skip("knows more than its state says")
    assert_close(loss, other.loss(whole_batch(other_data)))
    if method.confusion() is not None:
        assert_close(method.confusion()[np.argsort(order)], other.confusion())


def _turned(value, order):
    """The axis of the annotators, or of annotators x classes, put into another order."""
    for axis, size in enumerate(value.shape):
        if size == ANNOTATORS:
            return value.index_select(axis, torch.from_numpy(order))
        if size == ANNOTATORS * CLASSES:
            parts = value.unflatten(axis, (ANNOTATORS, CLASSES)).index_select(axis, torch.from_numpy(order))
            return parts.flatten(axis, axis + 1)
    return value


# ------------------------------------------------------------------ what a method tells


@every_method
def test_predicts_probabilities_and_repeats_itself(name):
    method, x = fitted(name)[0], toy_data().x_test
    assert not method.training
    first, second = method.predict_proba(x), method.predict_proba(x)
    assert first.shape == (ITEMS, CLASSES)
    assert (first >= 0).all()
    assert_close(first.sum(dim=1), torch.ones(ITEMS))
    assert torch.equal(first, second)
    assert_close(first[:1], method.predict_proba(x[:1]))


@every_method
@pytest.mark.parametrize("trained", [False, True], ids=["at the start", "trained"])
def test_confusion_is_row_stochastic(name, trained):
    method = fitted(name)[0] if trained else build(name, toy_data())
    confusion = method.confusion()
    if confusion is not None:
        assert confusion.shape == (ANNOTATORS, CLASSES, CLASSES)
        assert (confusion >= 0).all()
        assert_close(confusion.sum(dim=2), torch.ones(ANNOTATORS, CLASSES))
        assert not confusion.requires_grad


@every_method
def test_posterior_is_about_the_training_items(name):
    posterior = fitted(name)[0].posterior()
    if posterior is not None:
        assert posterior.shape == (ITEMS, CLASSES)
        assert_close(posterior.sum(dim=1), torch.ones(ITEMS))


@every_method
def test_set_confusion_is_what_confusion_then_tells(name):
    method = build(name, toy_data())
    generator = torch.Generator().manual_seed(0)
    wanted = torch.softmax(torch.randn(ANNOTATORS, CLASSES, CLASSES, generator=generator), dim=2)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.set_confusion(wanted)
    after = method.state_dict()
    if any(not torch.equal(before[key], after[key]) for key in before):
        assert_close(method.confusion(), wanted)


@every_method
def test_has_a_card(name):
    card = methods.info(name)
    assert card.name == name
    assert card.title
    assert card.paper
    assert card.family
    assert card.revision >= 1
    assert type(build(name, toy_data())).__doc__


@every_method
def test_unknown_option_is_an_error(name):
    with pytest.raises(ValueError, match=f"method '{name}' has no option 'wieght'; it has: "):
        build(name, toy_data(), wieght=0.5)


# ------------------------------------------------------------------ build


def test_unknown_method_is_an_error():
    with pytest.raises(ValueError, match=r"unknown method 'crowdlayer_mw'; did you mean 'crowdlayer-mw'.* Known: ccc, ccem"):
        methods.build("crowdlayer_mw", lambda: None, toy_crowd()[0])
    with pytest.raises(ValueError, match="unknown method 'gold'"):
        methods.info("gold")


def test_a_crowd_without_labels_is_an_error():
    crowd = CrowdLabels([], [], [], 3, 2, CLASSES)
    with pytest.raises(ValueError, match="the crowd gave no label"):
        methods.build("ccem", functools.partial(networks.build, "linear", (WIDTH,), CLASSES), crowd)


def test_a_backbone_of_other_classes_is_an_error():
    with pytest.raises(ValueError, match="the backbone has 4 classes, the labels have 3"):
        methods.build("ccem", functools.partial(networks.build, "linear", (WIDTH,), 4), toy_crowd()[0])


def test_base_class_leaves_the_loss_to_methods():
    data = toy_data()
    method = Method(functools.partial(networks.build, "linear", (WIDTH,), CLASSES), data.crowd)
    with pytest.raises(NotImplementedError):
        method.loss(whole_batch(data))
    assert method.confusion() is None
    assert method.posterior() is None
