"""Figures of tests are saved in a folder of their own and closed; settings stay as they were."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from lib.plotting import style


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path))
    with mpl.rc_context():
        yield tmp_path
    plt.close("all")


@pytest.fixture
def save():
    """Saves a figure, which needs names at its axes and words that can be read."""

    def saved(fig, data, name="drawn", alt="A figure drawn for a test: a mark for each number.", **options):
        style.save(fig, "10_made_up", name, data, alt, **options)

    return saved
