"""The training loop: batches, seeds, schedules, devices, and losses that are not finite."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from lib import methods, networks
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import TrainingData
from lib.methods.base import Method
from lib.networks import predict as in_batches
from lib.networks.predict import predict
from lib.runs import config
from lib.training import loop, scoring
from lib.training.device import check_device
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.strategies import crowds
from tests.worked_example import held, make, small_dataset

CPU = torch.device("cpu")
DATA = small_dataset()


def build(name="crowdlayer-mw", network="mlp"):
    return make(name, DATA, network)


def numbered(crowd):
    """Items of these labels whose single feature is their number."""
    return held(crowd, torch.arange(crowd.n_items, dtype=torch.float32)[:, None])


def state(method):
    return torch.cat([value.double().flatten() for value in method.state_dict().values()])


class Recording(Method):
    """Does nothing but remember what it was asked."""

    def __init__(self, data=DATA):
        super().__init__(functools.partial(networks.build, "linear", tuple(data.x.shape[1:]), 3), data.crowd)
        self.calls, self.sizes, self.rates, self.losses = [], [], [], None

    def prepare(self, data, fit):
        self.calls.append("prepare")

    def begin_epoch(self, epoch, data):
        self.calls.append(f"begin {epoch}")

    def end_epoch(self, epoch, data):
        self.calls.append(f"end {epoch}")

    def step(self, batch, optimizer):
        self.sizes.append(len(batch.x))
        self.rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        return torch.tensor(1.0 if self.losses is None else self.losses.pop(0))


# ------------------------------------------------------------------ batches


@given(crowd=crowds(max_items=30), batch_size=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_pass_shows_every_label_once(crowd, batch_size, seed):
    batches = list(numbered(crowd).batches(batch_size, np.random.default_rng(seed)))
    items = torch.cat([batch.items for batch in batches]).tolist() if batches else []
    assert sorted(items) == np.flatnonzero(crowd.labels_per_item).tolist()  # unlabeled items are passed over
    shown = []
    for batch in batches:
        assert torch.equal(batch.x[:, 0].long(), batch.items)
        shown += zip(batch.items[batch.position].tolist(), batch.annotator.tolist(), batch.label.tolist(), strict=True)
    assert sorted(shown) == list(zip(crowd.item.tolist(), crowd.annotator.tolist(), crowd.label.tolist(), strict=True))


@pytest.mark.parametrize(("items", "sizes"), [(9, [4, 5]), (10, [4, 4, 2]), (8, [4, 4]), (1, [1]), (5, [5]), (3, [3])])
def test_a_last_item_alone_joins_its_neighbors(items, sizes):
    data = numbered(CrowdLabels.from_dense(np.zeros((items, 2), dtype=int), n_classes=2))
    assert [len(batch.x) for batch in data.batches(4, np.random.default_rng(0))] == sizes


def test_every_pass_has_another_order():
    generator = np.random.default_rng(0)
    data = TrainingData(DATA, CPU)
    first, second = (torch.cat([batch.items for batch in data.batches(16, generator)]) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)


# ------------------------------------------------------------------ other labels on the same items


def test_with_crowd_of_other_items_is_an_error():
    with pytest.raises(ValueError, match="about the same 90 items, found 10"):
        TrainingData(DATA, CPU).with_crowd(DATA.crowd.select_items(np.arange(10)))


def test_a_stage_trains_on_the_labels_it_is_given():
    """``prepare`` gets a function that trains another method by the same recipe, with changes."""
    few = DATA.crowd.select_labels(DATA.crowd.item < 6)
    inner = Recording()

    class Staged(Recording):
        def prepare(self, data, fit):
            self.history = fit(inner, data=data.with_crowd(few), epochs=3)

    method = Staged()
    fit(method, DATA, Recipe(epochs=1, batch_size=100))
    assert inner.sizes == [6] * 3  # the other items have no label now
    assert len(method.history["loss"]) == 3
    assert method.sizes == [90]


def test_data_that_do_not_fit_are_errors():
    empty = replace(DATA, crowd=DATA.crowd.select_labels(np.zeros(len(DATA.crowd), dtype=bool)))
    with pytest.raises(ValueError, match="none of the 90 items has a label"):
        fit(build(), empty, Recipe(epochs=1))
    with pytest.raises(ValueError, match=r"built for \(3, 3\) annotators and classes, the data have \(2, 3\)"):
        fit(build(), small_dataset(accuracies=(0.9, 0.8)), Recipe(epochs=1))


# ------------------------------------------------------------------ seeds


def test_the_seed_decides_and_the_callers_random_numbers_are_left_alone():
    recipe, states = Recipe(epochs=2, batch_size=16), []
    for before, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(before)
        expected = torch.Generator().manual_seed(before)
        method = build()
        fit(method, DATA, recipe, seed=seed)
        states.append(state(method))
        assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))
    assert torch.equal(*states[:2])
    assert not torch.equal(states[0], states[2])


# ------------------------------------------------------------------ the order of things


def test_hooks_and_passes_come_in_order():
    method = Recording()
    history = fit(method, DATA, Recipe(epochs=2, batch_size=40, passes=3)).history
    assert method.calls == ["prepare", "begin 0", "end 0", "begin 1", "end 1"]
    assert method.sizes == [40, 40, 10] * 3 * 2
    assert len(history["loss"]) == 2


def test_trains_in_training_mode_scores_in_evaluation_mode():
    modes = []

    class Watching(Recording):
        def step(self, batch, optimizer):
            modes.append(("step", self.training))
            return super().step(batch, optimizer)

        def predict_proba(self, x):
            modes.append(("score", self.training))
            assert not torch.is_grad_enabled()
            return super().predict_proba(x)

    method = Watching().eval()
    fit(method, DATA, Recipe(epochs=2, batch_size=90))
    assert modes == [("step", True), ("score", False)] * 2
    assert not method.training


def test_history_has_the_scores_there_are():
    valid = replace(DATA, x_valid=DATA.x[:9], y_valid=DATA.y[:9])
    without = replace(DATA, x_test=None, y_test=None, y=None)
    expected = {"loss", "test_acc", "valid_acc"}, {"loss", "test_acc"}, {"loss"}
    for data, names in zip((valid, DATA, without), expected, strict=True):
        history = fit(Recording(), data, Recipe(epochs=2, batch_size=90)).history
        assert set(history) == names
        assert all(len(values) == 2 for values in history.values())


def test_accuracy_is_a_share_of_all_items():
    method = Recording()
    method.predict_proba = lambda x: torch.eye(3)[x[:, 0].long()]
    x = torch.tensor([[0.0], [1.0], [2.0], [0.0]])
    scores, right = scoring.evaluate(method, DATA, x, torch.tensor([0, 1, 2, 2]))
    assert scores == {"acc": 0.75}
    assert right.tolist() == [True, True, True, False]


def test_predict_goes_through_large_inputs_in_parts_and_in_evaluation_mode(monkeypatch):
    monkeypatch.setattr(in_batches, "EVALUATION_BATCH", 4)
    sizes, module, x = [], nn.Dropout(), torch.randn(10, 3)
    module.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    assert torch.equal(predict(module, x, module), x)
    assert sizes == [4, 4, 2]
    assert module.training


# ------------------------------------------------------------------ optimizer and schedule


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"optimizer": "adam"}, [1 - 0.1, 1 - 0.2]),  # steps of Adam on an even slope have the size of the rate
        ({"optimizer": "sgd", "momentum": 0.3}, [1 - 0.1 * 2.5, 0.75 - 0.1 * (0.3 * 2.5 + 2.375)]),
    ],
)
def test_optimizers_by_hand(settings, expected):
    """Two steps on one weight with the gradient 2, decay 0.5 on the weight."""
    weight = nn.Parameter(torch.ones(1))
    method = SimpleNamespace(parameter_groups=lambda lr, decay: [{"params": [weight], "lr": lr, "weight_decay": decay}])
    made = loop._optimizer(method, Recipe(lr=0.1, weight_decay=0.5, **settings))
    for value in expected:
        weight.grad = torch.full((1,), 2.0)
        made.step()
        assert weight.item() == pytest.approx(value, abs=2e-3 if settings["optimizer"] == "adam" else 1e-6)


def rates(**settings):
    """The learning rate of each step: four epochs of three batches, the last of 31 items."""
    data = small_dataset(items=91)
    method = Recording(data)
    fit(method, data, Recipe(epochs=4, batch_size=30, lr=0.1, **settings))
    return np.array(method.rates).reshape(4, 3)


def test_schedules():
    assert_close(rates(milestones=(1,)), np.full((4, 3), 0.1))  # which count only with their schedule
    found = rates(schedule="step", milestones=(1, 3), gamma=0.5)
    assert_close(found, 0.1 * np.repeat([[1], [0.5], [0.5], [0.25]], 3, axis=1))
    assert_close(rates(schedule="cosine").ravel(), 0.05 * (1 + np.cos(np.pi * np.arange(12) / 12)))


def test_onecycle_schedule_rises_and_falls_within_training():
    found = rates(schedule="onecycle").ravel()
    assert found[0] == pytest.approx(0.1 / 25)
    assert found.max() == pytest.approx(0.1, rel=0.02)
    assert found.argmax() in (2, 3)  # three tenths of the way
    assert found[-1] == pytest.approx(0.1 / 25 / 1e4, abs=1e-6)


# ------------------------------------------------------------------ recipes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, found 0"),
        ({"batch_size": 2.5}, r"batch_size must be a whole number of at least 1, found 2\.5"),
        ({"passes": 0}, "passes must be a whole number of at least 1, found 0"),
        ({"crop": -1}, "crop must be a whole number of at least 0, found -1"),
        ({"lr": 0.0}, r"lr must be a finite number above 0, found 0\.0"),
        ({"lr": float("nan")}, "lr must be a finite number above 0, found nan"),
        ({"lr": float("inf")}, "lr must be a finite number above 0, found inf"),
        ({"optimizer": "adamw"}, "optimizer must be one of adam, sgd, found 'adamw'"),
        ({"schedule": "linear"}, "schedule must be one of constant, step, cosine, onecycle, found 'linear'"),
        ({"precision": "half"}, "precision must be one of float32, mixed, found 'half'"),
    ],
)
def test_wrong_recipes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**settings)


def test_recipes_can_come_from_a_ledger_row():
    assert Recipe(milestones=[1, 2]) == Recipe(milestones=(1, 2))
    assert hash(Recipe(milestones=[1, 2])) == hash(Recipe(milestones=(1, 2)))
    # Settings that were added since move no key.
    assert config.RunConfig("a", "digits", "majority-vote", recipe=Recipe(epochs=3)).key() == "e71379a11fbdcd6c"


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_a_loss_that_is_not_finite_names_epoch_and_batch(value):
    method = Recording()
    method.losses = [1.0] * 3 + [1.0, value, 1.0]
    with pytest.raises(FloatingPointError, match=rf"the loss is {value} at epoch 1, batch 1 of 3"):
        fit(method, DATA, Recipe(epochs=3, batch_size=30))


def test_a_last_step_that_goes_astray_is_noticed():
    """The one step's loss is finite, the network after it is not."""
    with pytest.raises(FloatingPointError, match=r"the parameter backbone\.\S+ is not finite at the end of training"):
        fit(build("majority-vote"), DATA, Recipe(epochs=1, batch_size=1000, optimizer="sgd", lr=3e38, weight_decay=1e3))


@pytest.mark.parametrize(("name", "there"), [("cuda", 0), ("cuda:2", 2)])
def test_a_device_that_is_not_there(name, there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(ValueError, match=rf"'{name}' was asked for, but torch .* finds {there} CUDA devices"):
        fit(build(), DATA, Recipe(epochs=1), device=name)
    assert there == 0 or check_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(("cuda", "mps", "expected"), [(1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_auto_takes_the_fastest_device_that_is_there(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert check_device("auto") == torch.device(expected)


@pytest.mark.parametrize("device", ["gpu", "meta", ""])
def test_unknown_device_is_named(device):
    with pytest.raises(ValueError, match=f"unknown device '{device}'; expected cpu, cuda, cuda:N, mps or auto"):
        check_device(device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", methods.names("classification"))
def test_the_same_on_cuda(name):
    """Without dropout, whose random numbers are the device's own."""
    results = []
    for device in ("cpu", "cuda"):
        method = build(name, "linear")
        results.append(fit(method, DATA, Recipe(epochs=3, batch_size=30, lr=0.01), device=device).history["loss"])
    assert_close(*map(np.array, results), rtol=1e-3, atol=1e-5)
