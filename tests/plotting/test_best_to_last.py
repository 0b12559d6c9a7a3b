"""Figures of CCC's image experiments: what is drawn is what the tables say, and gaps do not stop them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.plotting import charts


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def table(cases=("rec-IND-I",)) -> pd.DataFrame:
    """Two methods; the second has no run, only the paper's number."""
    lines = []
    for case in cases:
        for metric, ours, theirs in (("test_acc_best", 0.6, 0.8), ("test_acc_last", 0.5, 0.7)):
            numbers = {"std": 0.01, "n_seeds": 3, "scale": "quick", "paper_mean": theirs, "paper_std": np.nan}
            head = {"dataset": "fashion_mnist", "case": case, "metric": metric}
            lines.append(head | {"method": "majority-vote", "mean": ours} | numbers)
            lines.append(head | {"method": "ccc", "mean": np.nan} | numbers | {"std": np.nan, "n_seeds": 0})
    return pd.DataFrame(lines)


def positions(axis, color) -> list[float]:
    """Where marks of a color stand on the x axis; error bars and caps left out."""
    marks = [line for line in axis.lines if line.get_color() == color and line.get_marker() in "oD"]
    return sorted(float(x) for line in marks for x in line.get_xdata() if len(line.get_xdata()) == 1)


def test_falls_are_drawn_in_percent_open_and_filled():
    fig, drawn = charts.best_to_last(table(), {"fashion_mnist": "Fashion-MNIST"})
    (axis,) = fig.axes
    assert axis.get_title() == "Fashion-MNIST, rec-IND-I"
    ours = "#8C8C8C"
    assert positions(axis, ours) == [50, 60]
    faces = {line.get_xdata()[0]: line.get_markerfacecolor() for line in axis.lines if line.get_marker() == "o"}
    assert faces == {60: "white", 50: ours}
    assert positions(axis, "#222222") == [70, 70, 80, 80]  # the paper's, of both methods
    assert len(drawn) == 4


def test_many_columns_become_rows_of_panels():
    fig, _ = charts.best_to_last(table([f"rec-{n}" for n in range(6)]))
    assert [axis.get_visible() for axis in fig.axes] == [True] * 6 + [False] * 2


def test_a_table_without_the_two_metrics_is_refused():
    with pytest.raises(ValueError, match="no test_acc_best or test_acc_last; found valid_acc"):
        charts.best_to_last(table().assign(metric="valid_acc"))
