"""Figures of several panels: the numbers drawn are the numbers given, and every axis has a name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lib.plotting import charts, matrices, style

ALT = "A figure drawn for a test: a mark for each number."

ROWS = {"confusion_error": "error of A", "posterior_error": "error of f"}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    lines = [
        {"metric": metric, "method": method, "start": start, "size": size, "seed": seed, "value": rng.random() + 0.1}
        for metric in ROWS
        for method in ("ccem", "geocrowdnet-f")
        for start in ("one", "other")
        for size in (100, 1000, 10_000)
        for seed in range(3)
    ]
    return pd.DataFrame(lines)


def test_error_grid_shows_mean_and_std_over_seeds(frame):
    fig, data = charts.error_grid(frame, "size", rows=ROWS, column="start", xlabel="items", title="Errors", log="xy")
    assert len(data) == 2 * 2 * 2 * 3
    line = data.iloc[5]
    same = (frame[["metric", "start", "method", "size"]] == line[["metric", "start", "method", "size"]]).all(axis=1)
    values = frame.loc[same, "value"]
    assert_allclose([float(line[name]) for name in ("mean", "std", "n_seeds")], [values.mean(), values.std(ddof=1), 3])
    assert len(fig.axes) == 4
    drawn = fig.axes[0].lines[0].get_ydata()
    first = data[(data["metric"] == "confusion_error") & (data["start"] == "one") & (data["method"] == "ccem")]
    assert_allclose(np.asarray(drawn, dtype=float), first["mean"])
    style.save(fig, "test", "grid", data, alt=ALT)


def test_error_grid_without_columns_puts_the_metrics_side_by_side(frame):
    fig, data = charts.error_grid(frame[frame["start"] == "one"], "size", rows=ROWS, xlabel="items")
    assert [axis.get_ylabel() for axis in fig.axes] == list(ROWS.values())
    assert all(axis.get_ylim()[0] == 0 for axis in fig.axes)
    style.save(fig, "test", "side", data, alt=ALT)


def test_error_grid_of_one_seed_has_no_bars_to_fail_on(frame):
    fig, data = charts.error_grid(frame[frame["seed"] == 0], "size", rows=ROWS, column="start", xlabel="items")
    assert data["std"].isna().all()
    style.save(fig, "test", "single", data, alt=ALT)


def test_error_grid_keeps_all_lines_in_sight(frame):
    """Panels of a row share an axis: its range must come from all of them, not from the first."""
    frame.loc[frame["start"] == "other", "value"] += 5
    fig, data = charts.error_grid(frame, "size", rows=ROWS, column="start", xlabel="items")
    assert all(axis.get_ylim()[1] > data["mean"].max() for axis in fig.axes[:2])


def test_error_grid_shows_shares_in_percent_and_close_up(frame):
    shares = frame.assign(metric=frame["metric"].replace({"posterior_error": "test_acc"}))
    shares.loc[shares["metric"] == "test_acc", "value"] = 0.8 + shares["value"] / 1000
    fig, data = charts.error_grid(shares, "size", rows={"test_acc": "accuracy (%)", "confusion_error": "error"}, xlabel="items")
    assert data.loc[data["metric"] == "test_acc", "mean"].min() > 79
    assert fig.axes[0].get_ylim()[0] > 50
    assert fig.axes[1].get_ylim()[0] == 0


def test_what_error_grid_refuses(frame):
    with pytest.raises(ValueError, match=r"needs a column 'labels'; found metric, method"):
        charts.error_grid(frame, "labels", rows=ROWS, xlabel="labels")
    with pytest.raises(ValueError, match=r"no line has the metric 'loss'; found confusion_error, posterior_error"):
        charts.error_grid(frame, "size", rows={"loss": "loss"}, xlabel="items")


def test_heat_writes_each_number_into_its_cell():
    table = pd.DataFrame([[0.1, 0.9], [0.25, 0.5]], index=["a", "b"], columns=["here", "over there"])
    fig, data = matrices.heat({"one": table, "half": table / 2}, [("b", "here")], xlabel="place", ylabel="what")
    assert [text.get_text() for text in fig.axes[0].texts] == ["0.10", "0.90", "0.25", "0.50"]
    assert [len(axis.patches) for axis in fig.axes] == [1, 1]
    wide = data[data["table"] == "half"].pivot_table(index="row", columns="column", values="value")
    assert_allclose(wide.loc[["a", "b"], ["here", "over there"]], table / 2)
    style.save(fig, "test", "heat", data, alt=ALT)


def test_heat_needs_tables_of_one_shape():
    table = pd.DataFrame([[0.1]], index=["a"], columns=["x"])
    with pytest.raises(ValueError, match="the same rows and columns"):
        matrices.heat({"one": table, "other": table.rename(index={"a": "b"})}, xlabel="x", ylabel="y")


def test_simplex_puts_certainty_into_the_corners():
    posterior = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])
    fig, data = charts.simplex({"all": (posterior, np.array([0, 1, 2, 0]))}, ("a", "b", "c"), "Points")
    places = fig.axes[0].collections[0].get_offsets()
    assert_allclose(places[:3], [[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]], atol=1e-12)
    assert_allclose(places[3], places[:3].mean(axis=0))
    assert_allclose(data[["a", "b", "c"]], posterior)
    style.save(fig, "test", "simplex", data, alt=ALT)


def test_simplex_shows_the_first_items_only_and_three_classes_only():
    posterior = np.full((10, 3), 1 / 3)
    _, data = charts.simplex({"all": (posterior, np.zeros(10, dtype=int))}, ("a", "b", "c"), most=4)
    assert len(data) == 4
    with pytest.raises(ValueError, match="three classes, found 2 names"):
        charts.simplex({"all": (posterior[:, :2], np.zeros(10, dtype=int))}, ("a", "b"))
    with pytest.raises(ValueError, match="three classes"):
        charts.simplex({"all": (np.full((10, 4), 0.25), np.zeros(10, dtype=int))}, ("a", "b", "c"))
