"""Ledger rows that are made up, and a folder of their own for figures."""

import pytest


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


def row(method="majority-vote", seed=0, dataset="labelme", case="real", scale="quick", options=None, **metrics):
    config = {"experiment": "made_up", "dataset": dataset, "case": case, "method": method, "seed": seed, "scale": scale}
    key = f"{dataset}-{case}-{method}-{scale}-{seed}"
    return {"key": key, "config": config | {"dataset_options": options or {}}, "metrics": metrics, "history": {}}
