"""Which run comes next, and how long it will take before anything of its kind has been measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch

from lib.runs import schedule
from lib.runs.config import RunConfig
from lib.runs.schedule import Pending, forward_flops, passes, prior
from lib.training.recipe import Recipe


def config(method="crowdlayer-mw", seed=0, case="rec-IND-I", dataset="cifar10", backbone="lenet", **changes):
    options = {"n_train": 1000, "crowd": case, "crowd_seed": seed}
    recipe = Recipe(epochs=2, batch_size=100)
    return replace(RunConfig("ccc", dataset, method, backbone, recipe, options, case=case, seed=seed), **changes)


def row(made, seconds, device="cpu"):
    return {"config": json.loads(json.dumps(asdict(made))), "seconds": seconds, "provenance": {"device": device}}


def queue(configs, stored=(), deadline=None):
    named = {f"{place}": made for place, made in enumerate(configs)}
    return Pending(named, {f"s{place}": made for place, made in enumerate(stored)}, deadline)


def order(waiting):
    found = []
    while (key := waiting.next()) is not None:
        found.append(waiting.configs[key])
    return found


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(schedule, "time", SimpleNamespace(time=lambda: now.now))
    return now


# ---------------------------------------------------------------------- order


def test_a_complete_column_comes_before_a_second_seed_and_before_another_column(clock):
    grid = [
        config(method, seed, case)
        for method in ("majority-vote", "ccc")
        for seed in (0, 1)
        for case in ("rec-IND-I", "rec-COR-I")
    ]
    found = [(made.seed, made.case, made.method) for made in order(queue(grid, deadline=1e9))]
    cases = ("rec-IND-I", "rec-COR-I")
    assert found == [(seed, case, method) for seed in (0, 1) for case in cases for method in ("majority-vote", "ccc")]


def test_runs_of_unknown_length_are_weighed_before_anything_was_measured(clock):
    """An hour of work on the slow side is not begun with five minutes left."""
    long = config(dataset_options={}, backbone="resnet34", recipe=Recipe(epochs=60, batch_size=128))
    short = config()
    assert order(queue([long, short], deadline=clock.now + 300)) == [short]
    assert order(queue([long], deadline=clock.now - 1)) == []


def test_without_a_deadline_the_longest_comes_first():
    grid = [config(), config("ccc"), config("dl-em")]
    assert [made.method for made in order(queue(grid))] == ["ccc", "dl-em", "crowdlayer-mw"]


# ---------------------------------------------------------------------- seconds


def test_neither_seed_nor_case_changes_the_time():
    waiting = queue([config(), config("ccc")], [row(config(seed=3, case="rec-COR-IV"), 12.0)])
    assert waiting.seconds("0") == 12
    # Six passes in the place of one, so about six times as long.
    assert waiting.seconds("1") == pytest.approx(72)


def test_rows_from_before_a_setting_was_there_count():
    old = row(config(), 12.0)
    for name in ("crop", "flip", "precision", "compiled"):
        del old["config"]["recipe"][name]
    assert queue([config(seed=1)], [old]).seconds("0") == 12


def test_how_many_labels_an_item_has_does():
    many = config()
    many = replace(many, dataset_options=many.dataset_options | {"crowd_options": {"labels_per_item": 9}})
    waiting = queue([many], [row(config(), 12.0)])
    assert waiting.seconds("0") == pytest.approx(12)  # reckoned
    waiting.learn(row(many, 20.0))
    assert waiting.seconds("0") == 20  # known


def test_the_slowest_of_the_same_data_and_network_corrects_the_reckoning():
    made = config("max-mig")
    expected = prior(asdict(made), "cpu")
    stored = [row(config(), 2 * expected), row(config("conal"), 3 * expected), row(config(backbone="lenet"), 1e4)]
    assert queue([made], stored).seconds("0") == pytest.approx(3 * expected)


def test_rows_of_another_device_say_nothing():
    waiting = queue([config()], [row(config(), 0.001, device="NVIDIA H200")])
    assert waiting.seconds("0") == prior(asdict(config()), "cpu")


def test_what_comes_on_top_of_training_counts_too(clock):
    waiting = queue([config(seed=seed) for seed in (1, 2)], deadline=clock.now + 10)
    waiting.learn(row(config(), 4.0), elapsed=9.0)  # five seconds to start a process and load the data
    assert waiting.next() is not None
    clock.now += 1.5
    assert waiting.next() is None


def test_rows_of_a_backbone_that_is_no_more_are_passed_over():
    old = row(config(), 5.0)
    old["config"]["backbone"] = "gone"
    assert queue([config()], [old]).seconds("0") == prior(asdict(config()), "cpu")


# ---------------------------------------------------------------------- work


def test_work_by_hand():
    """A linear network of 10 classes on 3 x 32 x 32 numbers: two operations a weight."""
    assert forward_flops("linear", (3, 32, 32), "{}") == (2 * 3072 * 10, 3)
    made = asdict(config(backbone="linear"))
    rate, a_step, a_module = schedule._SPEED["cpu"]
    assert prior(made, "cpu") == pytest.approx(20 * (a_step + 3 * a_module) + 2000 * 3 * 2 * 3072 * 10 / rate)
    made["recipe"]["epochs"] *= 2
    assert prior(made, "cpu") == pytest.approx(2 * prior(asdict(config(backbone="linear")), "cpu"))


def test_flops_are_those_that_are_given_everywhere():
    flops, _ = forward_flops("resnet18", (3, 32, 32), "{}")
    assert flops == pytest.approx(2 * 0.556e9, rel=0.01)  # 0.56 billion multiplications


def test_inputs_that_are_not_known_are_guessed_from_the_network():
    """A data set of somebody's own: features for an MLP, images for a convolutional network."""
    mlp, lenet = (asdict(config(dataset="mine", backbone=backbone)) for backbone in ("mlp", "lenet"))
    assert 0 < prior(mlp, "cpu") < prior(lenet, "cpu")


def test_an_ensemble_takes_as_many_passes_as_it_has_members():
    assert passes("ccc", {}) == 6
    assert passes("crowdlayer-mw-ensemble", {}) == 2
    assert passes("ensemble", {"base": "dl-em", "size": 3}) == 4.5
    assert passes("majority-vote", {}) == 1


def test_a_gpu_is_taken_to_be_faster():
    made = asdict(config(backbone="resnet34"))
    assert prior(made, "cuda:1") == prior(made, "cuda") < prior(made, "cpu")


def test_a_tagger_has_an_estimate_before_anything_has_run():
    """Its network reads indices, which the estimate's numbers are not."""
    from lib.protocols import crowdlayer_ner

    (config,) = crowdlayer_ner.runs(["majority-vote"], "quick", [0])
    assert 1 < schedule.prior(asdict(config), "cpu") < 600


def test_reckoning_leaves_the_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    forward_flops.cache_clear()
    forward_flops("lenet", (1, 28, 28), "{}")
    assert torch.equal(torch.rand(3), expected)


def test_nothing_is_reckoned_where_all_is_known(monkeypatch):
    monkeypatch.setattr(schedule, "prior", lambda config, device: pytest.fail("reckoned"))
    waiting = queue([config(seed=1), config("ccc", seed=2)], [row(config(), 12.0), row(config("ccc"), 70.0)], deadline=1e12)
    assert [made.method for made in order(waiting)] == ["crowdlayer-mw", "ccc"]
