"""The benchmarks run at tiny sizes, and what they write is what was measured. No test here looks at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks import bench


def test_smoke_runs_every_benchmark_and_draws(tmp_path, capsys):
    assert bench.main(["--smoke", "--out", str(tmp_path)]) == 0
    assert {path.stem for path in tmp_path.glob("*.csv")} == set(bench.BENCHMARKS)
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    for name in bench.BENCHMARKS:
        table = pd.read_csv(tmp_path / f"{name}.csv")
        assert {"what", "size", "ours_seconds", "peer_seconds", "ratio", "peer", "peak_memory_mb"} <= set(table.columns)
        assert {"threads", "python", "numpy", "scipy", "torch"} <= set(table.columns)
        assert len(table) > 0
        compared = table.dropna(subset="peer_seconds")
        np.testing.assert_allclose(compared["ratio"], compared["peer_seconds"] / compared["ours_seconds"], rtol=1e-4)
        assert name in printed


def test_dawid_skene_benchmark_compares_equal_results():
    table = bench.measure("dawid_skene_vs_crowdkit", smoke=True)
    assert (table["max_abs_difference"] < 1e-5).all()
    assert table["peer"].str.startswith("crowd-kit ").all()


def test_smoke_writes_apart_from_measured_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setattr(
        bench, "BENCHMARKS", {"nothing": lambda smoke: [bench.Measurement("x", 1, "labels", 2.0, 4.0, "p 1.0")]}
    )
    bench.main(["--smoke"])
    assert (tmp_path / "build" / "benchmarks" / "nothing.csv").is_file()
    assert not (tmp_path / "figures").exists()
    bench.main([])
    assert pd.read_csv(tmp_path / "figures" / "benchmarks" / "nothing.csv")["ratio"].tolist() == [2.0]


def test_take_turns_alternates():
    calls = []
    candidates = {"a": lambda: calls.append("a") or len(calls), "b": lambda: calls.append("b")}
    seconds, results = bench.take_turns(candidates, repeats=2)
    assert calls == ["a", "b", "a", "b"]
    assert results["a"] == 3
    assert seconds.keys() == {"a", "b"}


def _hold(mebibytes: int) -> int:
    return int(np.ones(mebibytes * 2**17).sum())


def test_peak_memory_is_that_of_the_fresh_process():
    ballast = np.ones(400 * 2**17)  # 400 MiB here must not count there
    (small, low), (large, high) = bench.fresh_process(_hold, 1), bench.fresh_process(_hold, 200)
    assert (small, large) == (2**17, 200 * 2**17)
    assert low < 400 * ballast[0]
    assert 190 < high - low < 260


def test_unknown_benchmark_is_named(capsys):
    with pytest.raises(ValueError, match="unknown benchmark 'dawid_skene_memry'; did you mean 'dawid_skene_memory'"):
        bench.measure("dawid_skene_memry")
    with pytest.raises(SystemExit) as caught:
        bench.main(["nothing"])
    assert caught.value.code == 2
    assert "unknown benchmark 'nothing'" in capsys.readouterr().err


def test_drawing_needs_measurements(tmp_path):
    with pytest.raises(ValueError, match="no measurements"):
        bench.draw(tmp_path)
