"""What has been run of a large table."""

from dataclasses import replace

import pytest

from lib.results.coverage import at_largest, coverage, found, larger, largest
from lib.runs import ledger
from lib.runs.config import RunConfig


@pytest.fixture
def grids(tmp_path, monkeypatch):
    """Two scales; at the larger one, one column has all of its runs and the other one of two."""
    monkeypatch.setenv("CROWDS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("CROWDS_REFERENCE", str(tmp_path / "reference"))
    monkeypatch.delenv("CROWDS_LEDGER", raising=False)
    base = RunConfig("toy", "digits", "majority-vote", case="a")
    quick = [replace(base, seed=seed) for seed in (0, 1)]
    paper = [replace(base, case=case, scale="paper", seed=seed) for case in ("a", "b") for seed in (0, 1)]
    for config in [*quick, *paper[:3]]:
        row = {"key": config.key(), "config": {"experiment": "toy"}, "metrics": {}, "seconds": 1.0}
        ledger.write(row | {"provenance": {}, "history": {}})
    return {"quick": quick, "paper": paper}


def test_found_keeps_the_order(grids):
    assert [row is not None for row in found(grids["paper"])] == [True, True, True, False]


def test_coverage_counts(grids):
    table = coverage(grids, {"digits": "Digits"})
    assert table.to_dict("records") == [
        {"case": "a", "quick": "2", "paper": "2"},
        {"case": "b", "quick": "–", "paper": "1 of 2"},
    ]
    assert table.caption == "data: Digits"


def test_a_column_is_shown_at_the_largest_scale_with_two_complete_seeds(grids):
    assert largest(grids) == {("digits", "a"): ("paper", [0, 1])}  # of "b" one seed is there, which says nothing about noise
    assert largest({"quick": grids["quick"]}) == {("digits", "a"): ("quick", [0, 1])}
    assert largest({"paper": grids["paper"]}) == {("digits", "a"): ("paper", [0, 1]), ("digits", "b"): ("paper", [0])}
    assert largest(grids, column=lambda config: "all") == {"all": ("quick", [0, 1])}
    assert [row["key"] for row in at_largest(grids)] == [config.key() for config in grids["paper"][:2]]


def test_larger_scales():
    assert larger("quick") == ["overnight", "fast", "paper"]
    assert larger("overnight") == ["fast", "paper"]
    assert larger("smoke") == []
