"""A few trials of each kind of damage, so that ``make faults`` itself stays right; passes are killed there alone."""

import random

import pytest

from lib import paths
from tests import faults


@pytest.mark.parametrize("name", [name for name in faults.KINDS if "damaged" in name])
def test_damage_is_survived(name, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOKS", paths.NOTEBOOKS)  # put back what a kind changes
    for variable in faults.MOVED:
        monkeypatch.setenv(f"CROWDS_{variable}", str(tmp_path / variable.lower()))
    kind, times = faults.KINDS[name]
    outcomes = list(kind(times // 30, random.Random(1)))
    assert len(outcomes) == times // 30
    assert [outcome for outcome in outcomes if outcome is not None] == []
