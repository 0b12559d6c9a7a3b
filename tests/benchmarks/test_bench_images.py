"""The image benchmarks run at tiny sizes. No test here looks at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.benchmarks import bench_images

CPU = torch.device("cpu")


def test_steps_are_rated():
    table = pd.DataFrame([vars(row) for row in bench_images.image_steps(smoke=True)])
    assert set(table["what"]) == {"crowdlayer-mw, lenet", "ccc, lenet"}
    np.testing.assert_allclose(table["images_per_second"], table["size"] / table["ours_seconds"])
    assert set(table["limit"]) <= {"calls", "arithmetic", "memory"}
    assert (table["share_of_peak"] > 0).all()


@pytest.mark.parametrize(
    ("seconds", "size", "limit"),
    [
        ({8: 1.0, 16: 1.1}, 8, "calls"),
        ({8: 1.0, 16: 2.0}, 8, "arithmetic"),
        ({8: 1.0, 16: 2.0}, 16, "arithmetic"),
        ({8: 4.0, 16: 8.0}, 8, "memory"),
    ],
)
def test_what_limits_a_step(seconds, size, limit):
    flops, _ = bench_images.forward_flops("lenet", (1, 28, 28), "{}")
    peak = 3 * flops * 8 / 0.9  # reached to nine tenths by eight images a second
    assert bench_images._row("any", "lenet", size, seconds, peak, CPU).limit == limit


def test_stacked_networks_take_the_same_step():
    (row,) = bench_images.image_seeds(smoke=True)
    assert row.max_abs_difference < 1e-5


def test_a_step_of_ccc_is_one_with_corrections():
    run = bench_images.Steps("ccc", "lenet", 8, CPU)
    run(1)
    assert len(run.method.meta_sets) == 2
    assert run.method.gradient == "head"


def test_command_line_writes_a_table_for_the_device(tmp_path):
    assert bench_images.main(["--smoke", "--out", str(tmp_path), "--only", "image_seeds"]) == 0
    table = pd.read_csv(tmp_path / "image_seeds_cpu.csv")
    assert table["peer"].tolist() == ["stacked (vmap)"]
    assert table["device"].tolist() == ["cpu"]
