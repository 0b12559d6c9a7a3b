"""CCC's benchmarks run at tiny sizes, on forms of the step that agree. No test here looks at a time."""

from __future__ import annotations

import pytest

from tests.benchmarks import bench, bench_ccc


def test_forms_agree():
    table = bench.measure("ccc_step", smoke=True)
    compared = table.dropna(subset="max_abs_difference")
    assert len(compared) == 4
    assert (compared["max_abs_difference"] < 1e-4).all()
    assert (table["ours_seconds"] > 0).all()


@pytest.mark.parametrize("form", ["ours", "double backward", "plain form"])
def test_memory_is_measured_on_each_form(form):
    items, seconds = bench_ccc._steps_alone(form, smoke=True)
    assert items == 4
    assert seconds > 0
