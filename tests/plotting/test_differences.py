"""Paired differences by hand, and figures that show what the table says."""

import math

import pandas as pd
import pytest

from lib.plotting import charts
from lib.results import claims
from lib.results.rows import frame, summary
from tests.plotting.conftest import row


def run(method, seed, acc, dataset="labelme", case="real", error=0.5):
    return row(method, seed, dataset, case, test_acc_last=acc, confusion_error=error)


def added(name):
    return f"{name}+kd"


ROWS = [
    run("ccem", 0, 0.80), run("ccem", 1, 0.70), run("ccem", 2, 0.10),
    run("ccem+kd", 0, 0.81), run("ccem+kd", 1, 0.73), run("ccem+kd", 3, 0.99),
    run("dl-em", 0, 0.60), run("dl-em+kd", 0, 0.50, error=0.2),
    run("ccem", 0, 0.9, "digits", "correlated"), run("ccem+kd", 0, 0.9, "digits", "correlated"),
    run("max-mig", 0, 0.9),
]  # fmt: skip
FRAME = frame(ROWS)


def test_lifts_by_hand():
    table = claims.lifts(FRAME, "test_acc_last", ["dl-em", "ccem", "max-mig"], added)
    assert list(table["method"]) == ["dl-em", "ccem", "ccem"]
    assert list(table["n_seeds"]) == [1, 2, 1]  # only seeds that both sides have; the last on the digits
    assert list(table["mean"]) == pytest.approx([-10, 2, 0], abs=1e-9)
    half = 12.706 * math.sqrt(2) / math.sqrt(2)  # Student's t for one degree of freedom, and the two gaps 1 and 3
    assert table.loc[1, ["ci_low", "ci_high"]].tolist() == pytest.approx([2 - half, 2 + half], abs=1e-3)
    assert math.isnan(table.loc[0, "ci_low"])
    errors = claims.lifts(FRAME, "confusion_error", ["dl-em"], added)
    assert errors["mean"].tolist() == pytest.approx([-0.3])  # no share, so no percent


def test_dots_show_the_table():
    table = claims.lifts(FRAME, "test_acc_last", ["ccem", "dl-em"], added)
    fig, drawn = charts.dots(table, "points gained", titles={"labelme": "LabelMe", "digits, correlated": "Digits"})
    assert drawn is table
    assert [axis.get_title() for axis in fig.axes] == ["LabelMe", "Digits"]
    assert [container[0].get_xdata()[0] for container in fig.axes[0].containers] == pytest.approx([2, -10])
    assert fig.get_supxlabel() == "points gained; bar: 95 % interval, 1 to 2 seeds"
    with pytest.raises(ValueError, match="nothing to draw"):
        charts.dots(table[:0], "points")


def test_dumbbells_show_both_ends_and_the_floor():
    table = summary(FRAME, ["confusion_error"])
    fig, drawn = charts.dumbbells(table, added, {("labelme", "real"): 0.1}, "error", ("alone", "guided", "floor"))
    assert drawn[["method", "without", "added"]].to_numpy().tolist() == [
        ["ccem", 0.5, 0.5], ["dl-em", 0.5, pytest.approx(0.2)], ["ccem", 0.5, 0.5]
    ]  # fmt: skip
    assert drawn["floor"].tolist()[:2] == [0.1, 0.1]
    assert pd.isna(drawn["floor"].iloc[2])
    assert fig.axes[0].lines[-1].get_xdata() == [0.1, 0.1]
    with pytest.raises(ValueError, match="both without and with"):
        charts.dumbbells(table, str.upper, {}, "error", ("a", "b", "c"))
