"""Which run comes next, and how long it will take."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lib.runs import schedule
from lib.runs.config import RunConfig, as_read
from lib.runs.schedule import Queue
from lib.training.recipe import Recipe


def config(method="crowdlayer-mw", seed=0, case="rec-IND-I", dataset="cifar10", backbone="lenet", **changes):
    options = {"n_train": 1000, "crowd": case, "crowd_seed": seed}
    recipe = Recipe(epochs=2, batch_size=100)
    return replace(RunConfig("ccc", dataset, method, backbone, recipe, options, case=case, seed=seed), **changes)


def row(made, seconds, device="cpu"):
    return {"config": as_read(made), "seconds": seconds, "provenance": {"device": device}}


def queue(configs, finished=(), deadline=None):
    return Queue({f"{place}": made for place, made in enumerate(configs)}, finished, deadline)


def order(waiting):
    return [waiting.waiting[key] for key in waiting.fitting()]


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(schedule, "time", SimpleNamespace(time=lambda: now.now))
    return now


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


def test_a_run_of_unknown_length_is_started_while_there_is_time(clock):
    assert order(queue([config()], deadline=clock.now + 1)) == [config()]
    assert order(queue([config()], deadline=clock.now)) == []


def test_a_run_that_would_not_end_in_time_is_left_out(clock):
    grid, finished = [config(), config("ccc")], [row(config(seed=3), 12.0), row(config("ccc", seed=3), 3.0)]
    assert order(queue(grid, finished, clock.now + 5)) == [config("ccc")]


def test_without_a_deadline_the_longest_comes_first_and_the_unknown_before_it():
    finished = [row(config(seed=3), 12.0), row(config("ccc", seed=3), 30.0)]
    grid = [config(), config("ccc"), config("dl-em")]
    assert [made.method for made in order(queue(grid, finished))] == ["dl-em", "ccc", "crowdlayer-mw"]


def test_neither_seed_nor_case_nor_device_of_another_kind_counts():
    waiting = queue([config(), config("ccc")], [row(config(seed=3, case="rec-COR-IV"), 12.0)])
    assert (waiting.seconds("0", -1), waiting.seconds("1", -1)) == (12, -1)
    assert queue([config()], [row(config(), 0.001, device="NVIDIA H200")]).seconds("0", -1) == -1


def test_rows_from_before_a_setting_was_there_count():
    old = row(config(), 12.0)
    for name in ("crop", "flip", "compiled"):
        del old["config"]["recipe"][name]
    assert queue([config(seed=1)], [old]).seconds("0", -1) == 12


def test_what_comes_on_top_of_training_counts_too(clock):
    waiting = queue([config(seed=1)], deadline=clock.now + 8)
    waiting.learn(row(config(), 4.0))
    assert order(waiting) == [config(seed=1)]
    for _ in range(2):
        waiting.learn(row(config(), 4.0), elapsed=9.0)  # five seconds to start a process and load the data
    assert order(waiting) == []
