"""Figures: the numbers they hand back, what they refuse, and files that are equal when figures are."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib import methods, paths
from lib.plotting import charts, matrices, style
from lib.plotting import style as house
from lib.plotting.legibility import faults
from lib.results import ranking
from lib.results.rows import summary

ALT = "A figure drawn for a test: a mark for each number."


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path))
    with mpl.rc_context():
        yield tmp_path


def row(method="majority-vote", seed=0, dataset="labelme", history=(0.5, 0.7), **metrics):
    config = {"experiment": "e", "dataset": dataset, "case": "real", "method": method, "seed": seed, "scale": "quick"}
    metrics = metrics or {"test_acc_last": history[-1]}
    return {"key": f"{dataset}{method}{seed}", "config": config, "metrics": metrics, "history": {"test_acc": list(history)}}


def simple_figure(xlabel="size", ylabel="error"):
    style.style()
    fig, axes = plt.subplots()
    axes.plot([1, 2], [3, 4])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return fig, pd.DataFrame({"size": [1, 2], "error": [3.0, 4.123456789]})


def text_of(fig) -> str:
    return "\n".join(text.get_text() for text in fig.findobj(mpl.text.Text))


def legend_of(fig) -> list[str]:
    (legend,) = fig.legends
    return [legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())]


# ---------------------------------------------------------------------------------------------- style


def test_every_method_has_looks_of_its_own():
    # Among the methods of a task, that is: those of two tasks never meet in a figure.
    for task in {methods.info(name).task for name in house.METHODS}:
        looks = [look for name, look in house.METHODS.items() if methods.info(name).task == task]
        assert len({color for color, _, _ in looks}) == len(looks)
        assert len(set(looks)) == len(looks)


def test_members_of_a_family_differ_by_marker():
    for family in (["majority-vote", "soft-majority-vote"], ["crowdlayer-mw", "crowdlayer-vw", "crowdlayer-vwb"]):
        assert len({style.marker(name) for name in family}) == len(family)


def test_type_can_be_read_at_half_size():
    sizes = [value for name, value in house.STYLE.items() if name.endswith(("labelsize", "titlesize", "fontsize", ".size"))]
    assert min(sizes) >= 12
    assert house.STYLE["figure.figsize"] == (8.0, 4.5)
    assert house.STYLE["figure.dpi"] == 120


def test_unknown_methods_look_the_same_in_every_process():
    name = "a method of tomorrow"
    here = [style.color(name), style.marker(name), str(house.line(name))]
    code = (
        f"from lib.plotting import style; print(style.color({name!r}), style.marker({name!r}), style.line({name!r}), sep='|')"
    )
    there = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert there.stdout.strip().split("|") == here


def test_drawing_leaves_the_readers_settings_alone():
    before = dict(mpl.rcParams)
    charts.bars(summary([row()]))
    assert dict(mpl.rcParams) == before


# ---------------------------------------------------------------------------------------------- saving


def test_saving_twice_gives_the_same_bytes(figures):
    contents = []
    for _ in range(2):
        fig, data = simple_figure()
        style.save(fig, "10_made_up", "lines", data, alt=ALT)
        contents.append({path.name: path.read_bytes() for path in (figures / "10_made_up").iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"lines.png", "lines.csv", "lines.alt.txt"}
    assert contents[0]["lines.csv"] == b"size,error\n1,3\n2,4.12346\n"


def test_what_is_only_rounding_is_saved_as_zero(figures):
    fig, _ = simple_figure()
    data = pd.DataFrame({"a": [1.0, -2e-17, -0.0], "tiny": [1e-20, np.nan, 2e-20], "wide": [1e-3, np.inf, 1.0], "n": [0, 1, 2]})
    style.save(fig, "10_made_up", "lines", data, alt=ALT)
    text = (figures / "10_made_up" / "lines.csv").read_text()
    assert text == "a,tiny,wide,n\n1,1e-20,0.001,0\n0,,inf,1\n0,2e-20,1,2\n"
    assert data["a"][1] == -2e-17


def test_a_saved_image_says_nothing_of_software(figures):
    fig, data = simple_figure()
    style.save(fig, "10_made_up", "lines", data, alt=ALT)
    image = (figures / "10_made_up" / "lines.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert b"tEXt" not in image  # the chunk that holds software and dates
    assert plt.fignum_exists(fig.number)  # still there to be shown


def test_a_named_index_is_saved_too(figures):
    fig, data = simple_figure()
    style.save(fig, "10_made_up", "lines", data.set_index("size"), alt=ALT)
    assert (figures / "10_made_up" / "lines.csv").read_text().startswith("size,error\n")


@pytest.mark.parametrize(
    ("xlabel", "ylabel", "message"),
    [("", "error", "x axis of panel 1"), ("size", "", "y axis of panel 1"), ("", "", "x axis of panel 1, y axis of panel 1")],
)
def test_axes_without_a_name_are_refused(figures, xlabel, ylabel, message):
    fig, data = simple_figure(xlabel, ylabel)
    with pytest.raises(ValueError, match=f"figure 'lines' has axes without a name: {message}"):
        style.save(fig, "10_made_up", "lines", data, alt=ALT)
    assert not (figures / "10_made_up").exists()
    style.save(fig, "10_made_up", "lines", data, allow_unlabeled=True, alt=ALT)


def test_axes_that_show_no_ticks_need_no_name():
    _, data = simple_figure()
    fig, axes = plt.subplots(2, 2, sharex=True, sharey=True)
    fig.supxlabel("size")
    axes[0, 0].set_ylabel("error")
    axes[1, 0].set_yticks([])
    style.save(fig, "10_made_up", "grid", data, alt=ALT)  # inner panels of shared axes have no tick labels
    fig, axes = plt.subplots()
    axes.imshow(np.eye(2))
    axes.set_axis_off()
    style.save(fig, "10_made_up", "image", data, alt=ALT)


def test_a_color_bar_needs_a_name():
    _, data = simple_figure()
    fig, axes = plt.subplots()
    bar = fig.colorbar(axes.imshow(np.eye(2)))
    axes.set(xlabel="label", ylabel="class", title="one")
    with pytest.raises(ValueError, match="y axis of panel 2"):
        style.save(fig, "10_made_up", "image", data, alt=ALT)
    bar.set_label("probability")
    style.save(fig, "10_made_up", "image", data, alt=ALT)


@pytest.mark.parametrize("name", ["table", "Two Words", "../up", "a.png", ""])
def test_names_of_figures_are_checked(name):
    fig, data = simple_figure()
    with pytest.raises(ValueError, match="a figure's name has lower case letters"):
        style.save(fig, "10_made_up", name, data, alt=ALT)


@pytest.mark.parametrize("data", [None, pd.DataFrame()])
def test_a_figure_comes_with_its_numbers(data):
    with pytest.raises(ValueError, match="needs a DataFrame of the numbers it shows"):
        style.save(simple_figure()[0], "10_made_up", "lines", data, alt=ALT)


# ---------------------------------------------------------------------------------------------- bars


def test_bars_draw_means_spreads_and_the_paper():
    rows = [row("b", seed, test_acc_last=x) for seed, x in enumerate((0.7, 0.8))]
    table = summary([*rows, row("a", 0, test_acc_last=0.6), row("a", 1, test_acc_last=0.6)])
    table = table.assign(paper_mean=[0.72, np.nan], paper_std=[np.nan, np.nan])
    fig, data = charts.bars(table, titles={"b": "Second", "a": "First"})
    pd.testing.assert_frame_equal(data, table)
    axes = fig.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Second", "First"]
    assert axes.get_xlabel() == "test accuracy, last epoch (%)"
    assert [float(bar.lines[0].get_xdata()[0]) for bar in axes.containers] == pytest.approx([75.0, 72.0, 60.0])
    segment = axes.containers[0].lines[2][0].get_segments()[0]
    assert segment[:, 0] == pytest.approx([75 - 7.0711, 75 + 7.0711], abs=1e-3)
    assert legend_of(fig) == ["", "ours, mean ± std over 2 seeds", "paper"]
    style.save(fig, "10_made_up", "accuracy", data, alt=ALT)


def test_bars_show_what_was_not_run_and_have_a_panel_a_data_set():
    wanted = [row("c")["config"]]
    table = summary([row("a"), row("a", dataset="music", seed=1)], expected=wanted)
    fig, _ = charts.bars(table, titles={"music": "Music"}, title="Both")
    assert "not run" in text_of(fig)
    assert [axes.get_title() for axes in fig.axes] == ["LabelMe", "Music"]
    assert legend_of(fig) == ["", "ours, one seed"]
    _, data = simple_figure()
    style.save(fig, "10_made_up", "accuracy", data, alt=ALT)  # all axes have names


def test_bars_of_runs_that_have_not_been_made():
    fig, _ = charts.bars(summary([], ["test_acc_last"], expected=[row()["config"]]))
    assert legend_of(fig) == ["", "ours, no runs"]


def test_bars_want_one_metric():
    table = summary([row(test_acc_last=0.5, test_acc_best=0.6)])
    with pytest.raises(ValueError, match="choose one metric of the table; found test_acc_last, test_acc_best"):
        charts.bars(table)
    with pytest.raises(ValueError, match="asked for 'test_f1'"):
        charts.bars(table, "test_f1")
    assert charts.bars(table, "test_acc_best")[1]["mean"].tolist() == [0.6]


# ---------------------------------------------------------------------------------------------- curves


def test_curves_by_hand():
    rows = [row(seed=0, history=(0.5, 0.7)), row(seed=1, history=(0.6, 0.9)), None]
    fig, data = charts.curves(rows, title="Title")
    assert list(data["epoch"]) == [1, 2]
    assert data["mean"].tolist() == pytest.approx([55, 80])
    assert data["std"].tolist() == pytest.approx([7.0711, 14.1421], abs=1e-3)
    assert legend_of(fig)[0] == "mean, band ± std,\n2 seeds"
    assert fig.axes[0].get_ylabel() == "test accuracy (%)"
    assert fig.axes[0].lines[0].get_color() == style.color("majority-vote")
    style.save(fig, "10_made_up", "curves", data, alt=ALT)


def test_curves_of_one_seed_and_two_data_sets():
    fig, data = charts.curves([row(), row(dataset="music", history=(0.1, 0.2, 0.3))])
    assert data["std"].isna().all()
    assert [axes.get_title() for axes in fig.axes] == ["LabelMe", "Music genre"]
    assert legend_of(fig) == ["one seed", "Majority vote"]


def test_curves_name_what_is_wrong():
    with pytest.raises(ValueError, match="no run has 'loss' in its history; found test_acc"):
        charts.curves([row()], "loss")
    with pytest.raises(ValueError, match=r"'majority-vote' on 'labelme' have different numbers of epochs: \[2, 3\]"):
        charts.curves([row(), row(seed=1, history=(0.1, 0.2, 0.3))])


# ---------------------------------------------------------------------------------------------- error lines


def sizes():
    return pd.DataFrame(
        {"method": ["ccem"] * 4, "n": [1000, 100, 100, 1000], "seed": [0, 0, 1, 1], "error": [0.1, 0.4, 0.6, 0.3]}
    )


def test_error_lines_by_hand():
    fig, data = charts.error_lines(sizes(), "n", "error", xlabel="labels", ylabel="error (L1)", slope=-0.5)
    found = data.set_index("n")
    assert found["mean"].to_dict() == pytest.approx({1000: 0.2, 100: 0.5})
    assert found.loc[100, "std"] == pytest.approx(0.141421, abs=1e-5)
    axes = fig.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    mean, guide = (next(line for line in axes.lines if line.get_linestyle() == look) for look in ("-", ":"))
    assert mean.get_xdata().tolist() == [100, 1000]
    assert mean.get_ydata().tolist() == pytest.approx([0.5, 0.2])
    assert guide.get_ydata().tolist() == pytest.approx([0.5, 0.5 / np.sqrt(10)])
    assert legend_of(fig) == ["mean, bar ± std,\n2 seeds", "CCEM", "slope −0.5"]
    fig.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "1,000"]
    style.save(fig, "10_made_up", "errors", data, alt=ALT)


def test_error_lines_may_be_linear():
    fig, _ = charts.error_lines(sizes(), "n", "error", xlabel="labels", ylabel="error", log="")
    assert (fig.axes[0].get_xscale(), fig.axes[0].get_yscale()) == ("linear", "linear")


def test_error_lines_name_what_is_wrong():
    labels = {"xlabel": "x", "ylabel": "y"}
    with pytest.raises(ValueError, match="needs a column 'loss'; found method, n, seed, error"):
        charts.error_lines(sizes(), "n", "loss", **labels)
    with pytest.raises(ValueError, match="positive numbers, found 0 in 'seed'"):
        charts.error_lines(sizes(), "seed", "error", **labels)
    with pytest.raises(ValueError, match="nothing to draw"):
        charts.error_lines(sizes().iloc[:0], "n", "error", **labels)


# ---------------------------------------------------------------------------------------------- matrices


def test_confusions_hand_back_every_entry():
    learned, true = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.75, 0.25], [0.0, 0.0]])
    fig, data = matrices.confusions([(learned, true)], ["cat", "dog"], ["Ann"])
    assert list(data.columns) == ["annotator", "matrix", "true_class", "label", "probability"]
    one = data.set_index(["matrix", "true_class", "label"])["probability"]
    assert one["learned", "cat", "dog"] == 0.1  # true class before label
    assert one["learned", "dog", "cat"] == 0.2
    assert [one["true", "cat", label] for label in ("cat", "dog")] == [0.75, 0.25]
    assert np.isnan(one["true", "dog", "dog"])  # Ann saw no dog
    assert "gray: no item of that true class was seen" in " ".join(text_of(fig).split())
    assert true[1].tolist() == [0.0, 0.0]  # the caller's matrix is left alone
    style.save(fig, "10_made_up", "confusions", data, alt=ALT)


def test_confusions_share_one_scale_and_leave_empty_places_empty():
    pair = (np.eye(3), np.full((3, 3), 1 / 3))
    fig, data = matrices.confusions([pair] * 3, list("abc"), ["1", "2", "3"], columns=2)
    panels = [axes for axes in fig.axes if axes.collections and axes.get_label() != "<colorbar>"]
    assert len(panels) == 6
    assert {axes.collections[0].get_clim() for axes in panels} == {(0.0, 1.0)}
    (bar,) = (axes for axes in fig.axes if axes.get_label() == "<colorbar>")
    assert bar.get_ylim() == (0.0, 1.0)
    assert sum(not axes.axison for axes in fig.axes) == 2
    assert "gray" not in text_of(fig)
    np.testing.assert_array_equal(panels[0].collections[0].get_array().reshape(3, 3), np.eye(3))
    style.save(fig, "10_made_up", "confusions", data, alt=ALT)


def test_confusions_name_what_does_not_fit():
    pair = (np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="found 1 and 2"):
        matrices.confusions([pair], ["a", "b"], ["1", "2"])
    with pytest.raises(ValueError, match="found 0 and 0"):
        matrices.confusions([], ["a", "b"], [])
    with pytest.raises(ValueError, match=r"3 classes has the shape \(3, 3\), found \(2, 2\)"):
        matrices.confusions([pair], ["a", "b", "c"], ["1"])


# ---------------------------------------------------------------------------------------------- ranks


@pytest.mark.parametrize("n", [2, 3, 8])
def test_critical_difference_shows_every_method_where_it_ranks(n):
    rows = [row(f"m{i}", seed, test_acc_last=0.1 * i + 0.01 * seed) for i in range(n) for seed in range(4)]
    ranks = ranking.ranks(rows, "test_acc_last")
    fig, data = matrices.critical_difference(ranks, titles={f"m{i}": f"Method {i}" for i in range(n)})
    assert data["method"].tolist() == [f"m{i}" for i in reversed(range(n))]
    assert data["average_rank"].tolist() == list(range(1, n + 1))
    assert set(data["n_blocks"]) == {4}
    assert set(data["critical_difference"]) == {ranks.critical_difference}
    drawn = sorted(
        line.get_xdata()[0] for line in fig.axes[0].lines if line.get_marker() in "osD^vPX<>" and len(line.get_xdata()) == 1
    )
    assert drawn == list(range(1, n + 1))
    shown = text_of(fig)
    assert all(f"Method {i}" in shown for i in range(n))
    assert f"critical difference {ranks.critical_difference:.2f} of the best (Nemenyi, 95%)" in shown
    assert faults(fig) == []
    (shade,) = fig.axes[0].patches
    assert shade.get_width() == pytest.approx(ranks.critical_difference)
    style.save(fig, "90_made_up", "ranks", data, alt=ALT)


# ---------------------------------------------------------------------- alt texts


@pytest.mark.parametrize("alt", ["", "   ", "curves"])
def test_a_figure_without_alt_text_is_refused(alt):
    fig, data = simple_figure()
    with pytest.raises(ValueError, match="figure 'lines' needs alt=, one to three sentences"):
        style.save(fig, "10_made_up", "lines", data, alt=alt)


def test_the_alt_text_is_kept_beside_the_figure(figures):
    fig, data = simple_figure()
    style.save(fig, "10_made_up", "lines", data, alt="One line that rises\n    from left to right.")
    assert (figures / "10_made_up" / "lines.alt.txt").read_text() == "One line that rises from left to right.\n"


def test_every_committed_figure_has_its_alt_text():
    committed = paths.ROOT / "figures"
    drawn = {file.with_suffix("") for file in committed.glob("*/*.png")}
    told = {file.with_name(file.name.removesuffix(".alt.txt")) for file in committed.glob("*/*.alt.txt")}
    assert drawn
    assert drawn == told


def test_every_word_of_a_full_chart_can_be_read():
    names = ["true-labels", "majority-vote", "dawid-skene", "dl-em", "crowdlayer-mw", "crowdlayer-vwb", "ccc", "geocrowdnet-f"]
    rows = [row(name, seed, data, history=(0.5, 0.7)) for name in names for seed in range(3) for data in ("labelme", "music")]
    assert faults(charts.bars(summary(rows, ["test_acc_last"]))[0]) == []
    assert faults(charts.curves(rows)[0]) == []
    places = ["highway", "insidecity", "tallbuilding", "street", "forest", "coast", "mountain", "opencountry"]
    pairs = [(np.eye(8), np.full((8, 8), 1 / 8))] * 6
    assert faults(matrices.confusions(pairs, places, [f"{r}: 120 labels" for r in range(6)])[0]) == []
