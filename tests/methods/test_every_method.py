"""What holds for every method: a new one is covered as soon as it is registered."""

import contextlib
import functools
import math
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
from lib.methods import conal
from lib.training import loop
from lib.training.recipe import Recipe
from tests import worked_example
from tests.worked_example import (
    ANNOTATORS,
    CROWD,
    ITEMS,
    LOGITS,
    MATRICES,
    SILENT,
    WIDTH,
    batch_of,
    check_gradients,
    put,
    random_example,
    scramble,
    toy_ratings,
)

CLASSES = 3
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.01)
# A penalty, a normalizer or a mean over all annotators.
MOVES_THE_SILENT = {"geocrowdnet-w", "trace-reg", "unionnet-a", "unionnet-b", "weighted-doctornet"}
WITH_LOGITS = ("ccem", "geocrowdnet-f", "geocrowdnet-w", "max-mig", "unionnet-a", "unionnet-b")
WITHOUT_DECAY = {name: ["confusion_logits"] for name in WITH_LOGITS} | {
    "conal": ["common", "own"],
    "weighted-doctornet": ["weight_logits"],
    "crowdlayer-s": ["raw_scale"],
    "crowdlayer-b": ["raw_bias"],
    "crowdlayer-sb": ["raw_scale", "raw_bias"],
}
every_method = pytest.mark.parametrize("name", methods.names())
every_classifier = pytest.mark.parametrize("name", methods.names("classification"))


def toy_data(name="majority-vote", unlabeled=0):
    """Features that tell what a method learns, one to four labels an item, two thirds of them right, none by annotator SILENT;
    and as many more items that nobody labeled."""
    if methods.info(name).task == "regression":
        return toy_ratings(unlabeled)
    random = np.random.default_rng(0)
    y = np.arange(ITEMS) % CLASSES
    labels = np.where(random.random((ITEMS, ANNOTATORS)) < 0.67, y[:, None], random.integers(CLASSES, size=(ITEMS, 1)))
    given = random.random(labels.shape) < 0.3
    given[np.arange(ITEMS), random.choice([0, 1, 3, 4, 5, 6], size=ITEMS)] = True
    given[:, SILENT] = False
    labels = np.concatenate([np.where(given, labels, -1), np.full((unlabeled, ANNOTATORS), -1)])
    y = np.concatenate([y, np.zeros(unlabeled, dtype=np.int64)])
    random = np.random.default_rng(1)
    x = torch.from_numpy(np.eye(WIDTH)[y] + 0.5 * random.normal(size=(len(y), WIDTH))).float()
    crowd, truth = CrowdLabels.from_dense(labels, n_classes=CLASSES), torch.from_numpy(y)
    test = {"x_test": x[:ITEMS].clone(), "y_test": truth[:ITEMS]}
    return CrowdDataset("toy", "Toy", x, crowd, truth, class_names=("a", "b", "c"), **test)


def build(name, data, dropout=0.5, **options):
    return worked_example.make(name, data, sizes={"width": 8, "dropout": dropout}, **options)


@functools.cache
def fitted(name, unlabeled=0):
    """A trained method and its history; nobody may change it."""
    data = toy_data(name, unlabeled)
    method = build(name, data)
    return method, loop.fit(method, data, RECIPE).history


def ready(name, data):
    """A method just before its first step. Without dropout, so that a loss is a function of its batch."""
    method = build(name, data, dropout=0.0)
    on_device = TrainingData(data, torch.device("cpu"))
    generator = np.random.default_rng(0)

    def fit(other, data=on_device, **changes):
        return loop._train(other, data, replace(RECIPE, **changes), generator, progress=False)[0]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method.prepare(on_device, fit)
        method.begin_epoch(0, on_device)
    return method.train()


def whole_batch(data):
    """All labeled items."""
    return batch_of(data.crowd, data.x, np.flatnonzero(data.crowd.labels_per_item))


# ------------------------------------------------------------------ training


@every_classifier
def test_matrices_that_do_not_fit_are_refused_before_they_are_made(name, monkeypatch):
    has_matrices = (ANNOTATORS, CLASSES, CLASSES) in {value.shape for value in build(name, toy_data()).state_dict().values()}
    has_matrices &= name != "mace"  # which has some to tell of, and learns without
    monkeypatch.setattr(em_steps, "_memory", lambda: 500)
    expected = pytest.raises(MemoryError, match=r"take 1,008 bytes, .* has 500; .*(crowdlayer-vw|one coin)")
    with expected if has_matrices else contextlib.nullcontext():
        build(name, toy_data())


@every_method
def test_a_step_changes_what_learns(name):
    data = toy_data(name)
    method = ready(name, data)
    # The last stage of Weighted DoctorNet only weighs what the first has learned.
    learning = [p for p in (method if name == "weighted-doctornet" else method.backbone).parameters() if p.requires_grad]
    before = [value.detach().clone() for value in learning]
    loss = method.step(whole_batch(data), loop._optimizer(method, RECIPE))
    assert loss.shape == ()
    assert loss.isfinite()
    assert not loss.requires_grad
    assert any((old != new).any() for old, new in zip(before, learning, strict=True))


@every_method
def test_groups_of_parameters(name):
    """Each that has a gradient is in one of them; annotators learn at a rate of their own and without decay."""
    data = toy_data(name)
    method = ready(name, data)
    groups = method.parameter_groups(lr=0.1, weight_decay=0.2)
    settings = {id(value): (group["lr"], group["weight_decay"]) for group in groups for value in group["params"]}
    assert len(settings) == sum(len(group["params"]) for group in groups)
    method.loss(whole_batch(data)).backward()
    assert {id(value) for value in method.parameters() if value.grad is not None and value.grad.any()} <= set(settings)
    for key, value in method.named_parameters():
        apart = key in WITHOUT_DECAY.get(name, ())
        if id(value) in settings:
            assert settings[id(value)] == pytest.approx((0.1 * method.annotator_rate, 0) if apart else (0.1, 0.2))
    assert method.annotator_rate == (0.1 if name == "max-mig" else 1)


@every_method
def test_same_seed_same_bits(name):
    (method, history), (again, repeated) = fitted(name), fitted.__wrapped__(name)
    assert history == repeated
    for key, value in method.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


@every_method
def test_unlabeled_items_change_nothing(name):
    (method, history), (other, repeated) = fitted(name), fitted(name, unlabeled=10)
    assert history == repeated
    x = toy_data(name).x_test
    assert torch.equal(method.predict(x), other.predict(x))


@every_method
def test_truth_plays_no_part(name):
    """Training must be the same whatever the true classes are, those of the test items included, or without any."""
    data = toy_data(name)
    wrong, none = replace(data, y=data.y.roll(1), y_test=data.y_test.roll(1)), replace(data, y=None, x_test=None, y_test=None)
    for other in (wrong,) if name.startswith("true-") else (wrong, none):
        same = loop.fit(build(name, other), other, RECIPE).history["loss"] == fitted(name)[1]["loss"]
        assert same != name.startswith("true-")


# ------------------------------------------------------------------ the loss

BY_CLASS = {
    "weight": torch.tensor([[1 + 0.1 * math.cos(r + k) for k in range(3)] for r in range(3)], dtype=torch.float64),
    "bias": torch.tensor([[0.1 * math.sin(r + 2 * k) for k in range(3)] for r in range(3)], dtype=torch.float64),
}


@pytest.mark.parametrize(
    ("name", "parameters", "options", "expected"),
    [
        ("crowdlayer-mw", {"weight": MATRICES}, {}, 1.0601688757),
        ("crowdlayer-vw", {"weight": BY_CLASS["weight"]}, {}, 1.0639798015),
        ("crowdlayer-vwb", BY_CLASS, {}, 1.0555278646),
        ("ccem", {"confusion_logits": MATRICES}, {}, 1.0554072140),
        ("trace-reg", {"rho": MATRICES}, {"weight": 0.0}, 1.0706469627),
        ("trace-reg", {"rho": MATRICES}, {"weight": 2.0}, 1.0706469627 + 2 * 1.4837097405),
        ("max-mig", {"confusion_logits": MATRICES}, {}, -0.0910179422),
        ("unionnet-a", {"confusion_logits": MATRICES}, {}, 4.8570271360),
        ("unionnet-b", {"confusion_logits": MATRICES}, {}, 2.1399743160),
    ],
)
def test_known_losses(name, parameters, options, expected):
    method = worked_example.build(name, CROWD, **options)
    for key, value in parameters.items():
        put(method.get_parameter(key), value)
    assert method.loss(batch_of(CROWD, LOGITS)).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "classes", "diagonal"),
    [
        ("crowdlayer-mw", {}, 2, 0.731),  # a softmax of probabilities: not even of a certain class can it be certain
        ("crowdlayer-mw", {}, 10, 0.232),
        ("ccem", {}, 8, 0.280),
        ("ccem", {"start": "6I-5"}, 8, 0.983),
        ("trace-reg", {}, 8, 0.965),
        ("trace-reg", {}, 10, 0.956),
    ],
)
def test_known_starts(name, options, classes, diagonal):
    crowd = CrowdLabels([0], [0], [0], 1, 1, classes)
    confusion = worked_example.build(name, crowd, **options).confusion()[0]
    off = (1 - diagonal) / (classes - 1)
    assert_close(confusion, off + (diagonal - off) * torch.eye(classes, dtype=torch.float64), atol=5e-4, rtol=0)


@every_classifier
def test_gradients(name, monkeypatch):
    """Against differences, of all items and of one; and finite at the start, where matrices or predictions are alike."""
    monkeypatch.setattr(conal, "GATE_WIDTH", 2)
    example = random_example()
    truth = {"truth": torch.arange(6) % 4} if name == "true-labels" else {}
    method = worked_example.build(name, example.crowd, **truth).eval()
    if name == "weighted-doctornet":
        method.first.requires_grad_(False)
    method.loss(batch_of(example.crowd, torch.zeros_like(example.logits))).backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in method.parameters())
    scramble(method)
    check_gradients(method, example.batch)
    check_gradients(method, batch_of(example.crowd, example.logits, items=[3]))


@every_method
def test_who_is_silent_stays_at_the_start(name):
    data = toy_data(name)
    method = ready(name, data)
    method.loss(whole_batch(data)).backward()
    moved = {SILENT: False, SILENT + 1: False}
    for value in (p for p in method.parameters() if p.requires_grad):
        for axis in np.flatnonzero(np.array(value.shape) == ANNOTATORS):
            moved = {r: moved[r] or bool(value.grad.select(int(axis), r).any()) for r in moved}
    assert moved[SILENT] == (name in MOVES_THE_SILENT)
    assert moved[SILENT + 1] or not any(ANNOTATORS in value.shape for value in method.parameters())


@every_method
def test_order_of_the_items_does_not_matter(name):
    data = toy_data(name)
    turned = batch_of(data.crowd, data.x, np.arange(ITEMS)[::-1].copy())
    assert_close(ready(name, data).loss(whole_batch(data)), ready(name, data).loss(turned))


@every_method
def test_names_of_the_annotators_do_not_matter(name):
    """The same crowd with its annotators in another order, and every parameter turned along."""
    data = toy_data(name)
    order = np.random.default_rng(3).permutation(ANNOTATORS)  # the new place of each annotator
    other_data = replace(data, crowd=replace(data.crowd, annotator=order[data.crowd.annotator]))
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


@every_classifier
def test_predicts_probabilities_and_repeats_itself(name):
    method, x = fitted(name)[0], toy_data().x_test
    assert not method.training
    first, second = method.predict_proba(x), method.predict_proba(x)
    assert first.shape == (ITEMS, CLASSES)
    assert (first >= 0).all()
    assert_close(first.sum(dim=1), torch.ones(ITEMS))
    assert torch.equal(first, second)
    assert_close(first[:1], method.predict_proba(x[:1]))


@every_classifier
def test_tells_distributions(name):
    for method in (build(name, toy_data()), fitted(name)[0]):
        confusion, posterior = method.confusion(), method.posterior()
        if confusion is not None:
            assert confusion.shape == (ANNOTATORS, CLASSES, CLASSES)
            assert (confusion >= 0).all()
            assert_close(confusion.sum(dim=2), torch.ones(ANNOTATORS, CLASSES))
            assert not confusion.requires_grad
        if posterior is not None:
            assert posterior.shape == (ITEMS, CLASSES)
            assert_close(posterior.sum(dim=1), torch.ones(ITEMS))
    assert confusion is not None or name not in WITHOUT_DECAY or name == "weighted-doctornet"


@every_classifier
def test_set_confusion_is_what_confusion_then_tells(name):
    method = build(name, toy_data())
    generator = torch.Generator().manual_seed(0)
    wanted = torch.softmax(torch.randn(ANNOTATORS, CLASSES, CLASSES, generator=generator), dim=2)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.set_confusion(wanted)
    after = method.state_dict()
    can = name in {*WITH_LOGITS, "ccc", "conal", "crowdlayer-mw", "crowdlayer-mw-ensemble", "ensemble", "kd-crowd", "trace-reg"}
    assert any(not torch.equal(before[key], after[key]) for key in before) == can
    if can:
        assert_close(method.confusion(), wanted)


@pytest.mark.parametrize("name", ["ccem", "crowdlayer-mw", "trace-reg"])
def test_an_annotator_who_swaps_classes_is_found(name):
    """Trained on certain predictions: annotator 1 says the next class, annotator 0 the true one."""
    crowd = CrowdLabels(np.repeat(np.arange(3), 2), [0, 1] * 3, [0, 1, 1, 2, 2, 0], 3, 2, 3)
    method = worked_example.build(name, crowd)
    batch = batch_of(crowd, 20 * torch.eye(3, dtype=torch.float64))
    optimizer = torch.optim.Adam([value for value in method.parameters() if value.shape == (2, 3, 3)], lr=0.1)
    for _ in range(200):
        method.step(batch, optimizer)
    assert method.confusion().argmax(dim=2).tolist() == [[0, 1, 2], [1, 2, 0]]


# ------------------------------------------------------------------ what cannot be built


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("crowdlayer_mw", {}, r"unknown method 'crowdlayer_mw'; did you mean 'crowdlayer-mw'.* Known: ccc, ccem"),
        ("trace-reg", {"wieght": 0.5}, r"option of method 'trace-reg': 'wieght'; did you mean 'weight'\? Known: weight"),
        ("trace-reg", {"weight": -0.01}, r"weight must be finite and at least 0, found -0\.01"),
        ("geocrowdnet-f", {"weight": -0.1}, "weight must be finite and at least 0, found -0.1"),
        ("geocrowdnet-f", {"penalty": "f"}, "penalty must be one of none, F, W, found 'f'"),
        ("geocrowdnet-f", {"start": "random"}, "start must be one of identity, 6I-5, found 'random'"),
        ("crowdlayer-mw", {"variant": "mw"}, r"variant must be one of MW, VW, VW\+B, found 'mw'"),
        ("dl-em", {"variant": "aggnet"}, "variant must be one of paper, released, found 'aggnet'"),
        ("unionnet-b", {"variant": "C"}, "variant must be one of A, B, found 'C'"),
        ("conal", {"gate_input": "image"}, "gate_input must be one of input, features, found 'image'"),
        ("ensemble", {"base": "crowdlayer-nw"}, "unknown method 'crowdlayer-nw'; did you mean 'crowdlayer-"),
        ("ensemble", {"base_options": {"wieght": 1}}, "option of method 'crowdlayer-mw': 'wieght'. Known: variant, pretrain"),
        ("ccc", {"groups": 8}, "groups must lie in 1 .. 7, the number of annotators, found 8"),
        ("ccc", {"groups": 0}, "groups must lie in 1 .. 7"),
        ("ccc", {"gradient": "tail"}, "gradient must be one of full, head, found 'tail'"),
        ("ccc", {"per_class": 0}, "per_class must be finite and at least 1, found 0"),
        ("ccc", {"rate": math.nan}, "rate must be finite and at least 0, found nan"),
        ("ccc", {"warmup": -1}, "warmup must be finite and at least 0, found -1"),
        ("ccc", {"meta_batch": 1}, "meta_batch must be finite and at least 2, found 1"),
        ("kd-crowd", {"base": "ccc"}, "cannot guide 'ccc'"),
        ("kd-crowd", {"base": "kd-crowd"}, "cannot guide 'kd-crowd'"),
        ("kd-crowd", {"weight": -1.0}, "weight must not be negative, or None for a choice, found -1"),
        ("kd-crowd", {"elr_weight": -1.0}, "elr_weight must not be negative, or None for a choice, found -1"),
        ("kd-crowd", {"distillation": "mse"}, "student_distillation must be one of mig, kl, ce, found 'mse'"),
        ("kd-crowd", {"final_distillation": "mse"}, "final_distillation must be one of mig, kl, ce, found 'mse'"),
        ("kd-crowd", {"divergence": "tv"}, "divergence must be one of kl, pearson, js, found 'tv'"),
        ("kd-crowd", {"robust": "mixup"}, "robust must be one of elr, co-teaching, early-stopping, none, found 'mixup'"),
        ("ratings-mean", {"scale": 0.0}, r"scale must be above 0, found 0\.0"),
        ("ratings-em", {"prior": -1}, "prior must be finite and at least 0, found -1"),
        ("crowdlayer-sb", {"variant": "MW"}, r"variant must be one of S, B, S\+B, found 'MW'"),
        ("crowdlayer-sb", {"prior": -1.0}, "expected prior >= 0 and annotator_lr > 0, found -1.0 and 1.0"),
        ("crowdlayer-sb", {"annotator_lr": 0.0}, "expected prior >= 0 and annotator_lr > 0, found 0.0 and 0.0"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, toy_data(name), **options)


def test_crowds_and_networks_that_do_not_fit():
    network = functools.partial(networks.build, "linear", (WIDTH,))
    with pytest.raises(ValueError, match="the crowd gave no label"):
        methods.build("ccem", functools.partial(network, CLASSES), CrowdLabels([], [], [], 3, 2, CLASSES))
    with pytest.raises(ValueError, match="the backbone has 4 classes, the labels have 3"):
        methods.build("ccem", functools.partial(network, 4), toy_data().crowd)
