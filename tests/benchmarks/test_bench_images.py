"""The image benchmarks run at tiny sizes. No test here looks at a time."""

import pandas as pd
import torch
from numpy.testing import assert_allclose

from tests.benchmarks import bench_images

CPU = torch.device("cpu")


def test_a_step_of_ccc_is_one_with_corrections():
    run = bench_images.Steps("ccc", "lenet", 8, CPU)
    run(1)
    assert len(run.method.meta_sets) == 2
    assert run.method.gradient == "head"


def test_the_command_writes_a_table_for_the_device(tmp_path):
    assert bench_images.main(["--smoke", "--out", str(tmp_path)]) == 0
    steps, seeds, processes = (pd.read_csv(tmp_path / f"image_{name}_cpu.csv") for name in ("steps", "seeds", "processes"))
    assert set(steps["what"]) == {"crowdlayer-mw, lenet", "ccc, lenet"}
    assert_allclose(steps["images_per_second"], steps["size"] / steps["ours_seconds"], rtol=1e-4)
    assert seeds["max_abs_difference"].item() < 1e-5  # stacked networks take the same step
    assert processes["what"].tolist() == ["1 run at once"]
    assert seeds["device"].tolist() == ["cpu"]
