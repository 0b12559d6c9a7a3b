"""The training benchmarks compare equal things. No test here looks at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from lib import datasets, paths
from tests.benchmarks import bench, bench_losses


@pytest.mark.parametrize("what", ["coupled", "crowd_layer"])
def test_dense_and_sparse_forms_are_the_same_function(what):
    batch = bench_losses.make_batch(items=6, annotators=9, classes=4, per_item=3, dtype=torch.float64)
    sparse, dense = getattr(bench_losses, what), getattr(bench_losses, f"dense_{what}")
    assert_close(sparse(batch), dense(batch))
    for ours, peer in zip(bench_losses.gradients(sparse, batch), bench_losses.gradients(dense, batch), strict=True):
        assert ours.any()
        assert_close(ours, peer)


def test_gradients_agree_at_full_size():
    batch = bench_losses.make_batch(items=128, annotators=747, classes=10, per_item=3)
    found = bench_losses.gradients(bench_losses.coupled, batch), bench_losses.gradients(bench_losses.dense_coupled, batch)
    for ours, peer in zip(*found, strict=True):
        assert (ours - peer).abs().max() < 1e-6


def test_losses_are_timed_at_any_size():
    table = bench.measure("losses_vs_dense", smoke=True)
    assert len(table) == 2
    assert (table["max_abs_difference"] < 1e-6).all()
    assert (table["ratio"] > 0).all()


def test_the_large_crowd_is_as_it_is_called():
    data = bench_losses.make_crowd(items=50, annotators=12)
    assert (data.crowd.n_items, data.crowd.n_annotators, len(data.crowd)) == (50, 12, 150)
    assert set(data.crowd.labels_per_item) == {3}
    assert bench_losses._epoch_alone("ccem", 50, 12) > 0


def test_runs_of_data_that_is_not_there_are_left_out(monkeypatch):
    monkeypatch.setattr(datasets, "missing", lambda name: None if name == "digits" else "no network")
    monkeypatch.setattr(bench_losses, "RUNS", [(*run[:2], 1, *run[3:]) for run in bench_losses.RUNS])
    table = bench.measure("seconds_a_run")
    assert table["what"].tolist() == ["Crowd Layer (MW), Digits, simulated annotators"]
    assert (table["ours_seconds"] > 0).all()


def test_the_command_knows_the_benchmarks_of_all_modules():
    command = [sys.executable, "-m", "tests.benchmarks.bench", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=paths.ROOT).stdout
    for name in ("dawid_skene_vs_crowdkit", "ccc_step", "losses_vs_dense", "crowd_epoch_memory", "seconds_a_run"):
        assert name in "".join(shown.split())
