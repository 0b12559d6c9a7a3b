"""Empty ledgers of our own in the default order, and runs that take no time."""

import pytest

from lib.runs import sweep
from tests.toys import toy_row


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for variable in ("RUNS", "REFERENCE"):
        monkeypatch.setenv(f"CROWDS_{variable}", str(tmp_path / variable.lower()))
    monkeypatch.setenv("CROWDS_LEDGER", "")
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """The list of seeds that were trained. A seed in ``trained.failing`` raises."""

    class Trained(list):
        failing = frozenset()

    seeds = Trained()

    def train(config, device="cpu", progress=False):
        if config.seed in seeds.failing:
            raise ValueError(f"no luck with {config.seed}")
        seeds.append(config.seed)
        return toy_row(config), None

    monkeypatch.setattr(sweep, "train", train)
    return seeds
