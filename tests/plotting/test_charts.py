"""Charts: what is drawn is what the tables say, gaps do not stop them, and what a table lacks is named."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lib.plotting import charts, matrices, scaling, style
from lib.plotting.legibility import faults
from lib.results.rows import summary
from tests.plotting.conftest import legend_of, row, text_of


def test_every_word_of_a_full_chart_can_be_read_and_settings_are_left_alone():
    before = dict(mpl.rcParams)
    names = ["true-labels", "majority-vote", "dawid-skene", "dl-em", "crowdlayer-mw", "crowdlayer-vwb", "ccc", "geocrowdnet-f"]
    rows = [row(name, 0, data) for name in names for data in ("labelme", "music")]
    assert faults(charts.bars(summary(rows), "test_acc_last")[0]) == []
    assert faults(charts.curves(rows)[0]) == []
    assert dict(mpl.rcParams) == before


# ---------------------------------------------------------------------- methods from top to bottom


def test_bars_draw_means_spreads_and_the_paper(save):
    rows = [row("b", seed, test_acc_last=x) for seed, x in enumerate((0.7, 0.8))]
    table = summary([*rows, row("a", 0, test_acc_last=0.6), row("a", 1, test_acc_last=0.6)])
    table = table.assign(paper_mean=[0.72, np.nan], paper_std=[np.nan, np.nan])
    fig, data = charts.bars(table, "test_acc_last", titles={"b": "Second", "a": "First"})
    pd.testing.assert_frame_equal(data, table)
    axes = fig.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Second", "First"]
    assert axes.get_xlabel() == "test accuracy, last epoch (%)"
    assert [float(bar.lines[0].get_xdata()[0]) for bar in axes.containers] == pytest.approx([75.0, 72.0, 60.0])
    segment = axes.containers[0].lines[2][0].get_segments()[0]
    assert segment[:, 0] == pytest.approx([75 - 7.0711, 75 + 7.0711], abs=1e-3)
    assert legend_of(fig) == ["", "ours, mean ± std over 2 seeds", "paper"]
    save(fig, data)


def test_bars_show_what_was_not_run_and_have_a_panel_a_data_set(save):
    table = summary([row("a"), row("a", dataset="music", seed=1)], expected=[row("c")["config"]])
    fig, data = charts.bars(table, "test_acc_last", titles={"music": "Music"}, title="Both")
    assert "not run" in text_of(fig)
    assert [axes.get_title() for axes in fig.axes] == ["LabelMe", "Music"]
    assert legend_of(fig) == ["", "ours, one seed"]
    save(fig, data)
    fig, _ = charts.bars(summary([], ["test_acc_last"], expected=[row()["config"]]), "test_acc_last")
    assert legend_of(fig) == ["", "ours, no runs"]


def test_bars_show_the_metric_that_was_asked_for():
    table = summary([row(test_acc_last=0.5, test_acc_best=0.6)])
    assert charts.bars(table, "test_acc_best")[1]["mean"].tolist() == [0.6]
    with pytest.raises(ValueError, match="the table has no test_f1; found test_acc_last, test_acc_best"):
        charts.bars(table, "test_f1")


def falls(cases=("rec-IND-I",)) -> pd.DataFrame:
    """Two methods; the second has no run, only the paper's number."""
    lines = []
    for case in cases:
        for metric, ours, theirs in (("test_acc_best", 0.6, 0.8), ("test_acc_last", 0.5, 0.7)):
            numbers = {"std": 0.01, "n_seeds": 3, "scale": "quick", "paper_mean": theirs, "paper_std": np.nan}
            head = {"dataset": "fashion_mnist", "case": case, "metric": metric}
            lines.append(head | {"method": "majority-vote", "mean": ours} | numbers)
            lines.append(head | {"method": "ccc", "mean": np.nan} | numbers | {"std": np.nan, "n_seeds": 0})
    return pd.DataFrame(lines)


def test_falls_are_drawn_in_percent_open_and_filled():
    fig, drawn = charts.best_to_last(falls(), {"fashion_mnist": "Fashion-MNIST"})
    (axis,) = fig.axes
    assert axis.get_title() == "Fashion-MNIST, rec-IND-I"
    marks = [line for line in axis.lines if line.get_marker() in "oD" and len(line.get_xdata()) == 1]
    ours, theirs = style.color("majority-vote"), style.PAPER
    faces = {line.get_xdata()[0]: line.get_markerfacecolor() for line in marks if line.get_color() == ours}
    assert faces == {60: "white", 50: ours}
    assert sorted(line.get_xdata()[0] for line in marks if line.get_color() == theirs) == [70, 70, 80, 80]  # of both methods
    assert len(drawn) == 4


def test_many_columns_become_rows_of_panels():
    fig, _ = charts.best_to_last(falls([f"rec-{n}" for n in range(6)]))
    assert [axis.get_visible() for axis in fig.axes] == [True] * 6 + [False] * 2


# ---------------------------------------------------------------------- lines over runs


def test_curves_by_hand(save):
    rows = [row(seed=0, history=(0.5, 0.7)), row(seed=1, history=(0.6, 0.9)), None]
    fig, data = charts.curves(rows, title="Title")
    assert list(data["epoch"]) == [1, 2]
    assert data["mean"].tolist() == pytest.approx([55, 80])
    assert data["std"].tolist() == pytest.approx([7.0711, 14.1421], abs=1e-3)
    assert legend_of(fig)[0] == "mean, band ± std,\n2 seeds"
    assert fig.axes[0].get_ylabel() == "test accuracy (%)"
    assert fig.axes[0].lines[0].get_color() == style.color("majority-vote")
    save(fig, data)


def test_curves_of_one_seed_and_two_data_sets():
    fig, data = charts.curves([row(), row(dataset="music", history=(0.1, 0.2, 0.3))])
    assert data["std"].isna().all()
    assert [axes.get_title() for axes in fig.axes] == ["LabelMe", "Music"]
    assert legend_of(fig) == ["one seed", "Majority vote"]


def test_curves_name_what_is_wrong():
    with pytest.raises(ValueError, match="no run has 'loss' in its history; found test_acc"):
        charts.curves([row()], "loss")
    with pytest.raises(ValueError, match="'majority-vote' on 'labelme' have different numbers of epochs"):
        charts.curves([row(), row(seed=1, history=(0.1, 0.2, 0.3))])


def sizes():
    errors = [0.1, 0.4, 0.6, 0.3]
    return pd.DataFrame({"method": "ccem", "n": [1000, 100, 100, 1000], "seed": [0, 0, 1, 1], "error": errors})


def test_error_lines_by_hand(save):
    fig, data = scaling.error_lines(sizes(), "n", "error", xlabel="labels", ylabel="error (L1)")
    found = data.set_index("n")
    assert found["mean"].to_dict() == pytest.approx({1000: 0.2, 100: 0.5})
    assert found.loc[100, "std"] == pytest.approx(0.141421, abs=1e-5)
    axes = fig.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.lines[0].get_xdata().tolist() == [100, 1000]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.5, 0.2])
    assert legend_of(fig) == ["mean, bar ± std,\n2 seeds", "CCEM"]
    save(fig, data)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "1,000"]


def test_a_logarithmic_axis_needs_positive_numbers():
    with pytest.raises(ValueError, match="positive numbers, found 0 in 'seed'"):
        scaling.error_lines(sizes(), "seed", "error", xlabel="x", ylabel="y")


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


def test_error_grid_shows_mean_and_std_over_seeds(frame, save):
    fig, data = scaling.error_grid(frame, "size", rows=ROWS, column="start", xlabel="items", title="Errors", log="xy")
    assert len(data) == 2 * 2 * 2 * 3
    line = data.iloc[5]
    same = (frame[["metric", "start", "method", "size"]] == line[["metric", "start", "method", "size"]]).all(axis=1)
    values = frame.loc[same, "value"]
    assert_allclose([float(line[name]) for name in ("mean", "std", "n_seeds")], [values.mean(), values.std(ddof=1), 3])
    assert len(fig.axes) == 4
    drawn = fig.axes[0].lines[0].get_ydata()
    first = data[(data["metric"] == "confusion_error") & (data["start"] == "one") & (data["method"] == "ccem")]
    assert_allclose(np.asarray(drawn, dtype=float), first["mean"])
    save(fig, data)


def test_error_grid_without_columns_puts_the_metrics_side_by_side(frame, save):
    single = frame[(frame["start"] == "one") & (frame["seed"] == 0)]  # one seed has no bars to fail on
    fig, data = scaling.error_grid(single, "size", rows=ROWS, xlabel="items")
    assert data["std"].isna().all()
    assert [axis.get_ylabel() for axis in fig.axes] == list(ROWS.values())
    save(fig, data)


def test_error_grid_keeps_all_lines_in_sight(frame):
    """Panels of a row share an axis: its range must come from all of them, not from the first."""
    frame.loc[frame["start"] == "other", "value"] += 5
    fig, data = scaling.error_grid(frame, "size", rows=ROWS, column="start", xlabel="items")
    assert all(axis.get_ylim()[1] > data["mean"].max() for axis in fig.axes[:2])
    assert all(axis.get_ylim()[0] == 0 for axis in fig.axes)


def test_error_grid_shows_shares_in_percent_and_close_up(frame):
    shares = frame.assign(metric=frame["metric"].replace({"posterior_error": "test_acc"}))
    shares.loc[shares["metric"] == "test_acc", "value"] = 0.8 + shares["value"] / 1000
    fig, data = scaling.error_grid(
        shares, "size", rows={"test_acc": "accuracy (%)", "confusion_error": "error"}, xlabel="items"
    )
    assert data.loc[data["metric"] == "test_acc", "mean"].min() > 79
    assert fig.axes[0].get_ylim()[0] > 50
    assert fig.axes[1].get_ylim()[0] == 0


def test_error_grid_needs_the_metrics_it_is_to_show(frame):
    with pytest.raises(ValueError, match=r"no line has the metric 'loss'; found confusion_error, posterior_error"):
        scaling.error_grid(frame, "size", rows={"loss": "loss"}, xlabel="items")


# ---------------------------------------------------------------------- points of a triangle


def test_simplex_puts_certainty_into_the_corners(save):
    posterior, y = np.vstack([np.eye(3), np.full((6, 3), 1 / 3)]), np.array([0, 1, 2] * 3)
    fig, data = matrices.simplex({"all": (posterior, y)}, ("a", "b", "c"), "Points", most=4)
    places = fig.axes[0].collections[0].get_offsets()
    assert_allclose(places[:3], [[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]], atol=1e-12)
    assert_allclose(places[3], places[:3].mean(axis=0))
    assert_allclose(data[["a", "b", "c"]], posterior[:4])
    save(fig, data)
