"""The house style, and what can be saved: files that are equal when figures are, words that can be read."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib import methods, paths
from lib.plotting import style
from lib.plotting.legibility import faults


def simple_figure(xlabel="size", ylabel="error"):
    style.style()
    fig, axes = plt.subplots()
    axes.plot([1, 2], [3, 4])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return fig, pd.DataFrame({"size": [1, 2], "error": [3.0, 4.123456789]})


def test_every_method_has_looks_of_its_own():
    # Among the methods of a task, that is: those of two tasks never meet in a figure.
    for task in {methods.info(name).task for name in style.METHODS}:
        looks = [look for name, look in style.METHODS.items() if methods.info(name).task == task]
        assert len({color for color, _, _ in looks}) == len(looks)


def test_unknown_methods_look_the_same_in_every_process():
    assert style.look("a method of tomorrow") == ("#E69F00", "X", "-")  # Python's own hash() would differ
    assert style.look("ccem+kd") == (style.color("ccem"), "*", (0, (1, 1)))


def test_equal_figures_are_equal_files(figures, save):
    contents = []
    for _ in range(2):
        fig, data = simple_figure()
        save(fig, data.set_index("size"), "lines", "One line that rises\n    from left to right.")
        contents.append({path.name: path.read_bytes() for path in (figures / "10_made_up").iterdir()})
        assert plt.fignum_exists(fig.number)  # still there to be shown
    assert contents[0] == contents[1]
    image = contents[0].pop("lines.png")
    assert image.startswith(b"\x89PNG")
    assert b"tEXt" not in image  # the chunk that holds software and dates
    alt, table = b"One line that rises from left to right.\n", b"size,error\n1,3\n2,4.12346\n"
    assert contents[0] == {"lines.csv": table, "lines.alt.txt": alt}


def test_what_is_only_rounding_is_saved_as_zero(figures, save):
    data = pd.DataFrame({"a": [1.0, -2e-17, -0.0], "tiny": [1e-20, np.nan, 2e-20], "wide": [1e-3, np.inf, 1.0], "n": [0, 1, 2]})
    save(simple_figure()[0], data)
    text = (figures / "10_made_up" / "drawn.csv").read_text()
    assert text == "a,tiny,wide,n\n1,1e-20,0.001,0\n0,,inf,1\n0,2e-20,1,2\n"
    assert data["a"][1] == -2e-17


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "table"}, "a figure's name has lower case letters"),
        ({"name": "../up"}, "a figure's name has lower case letters"),
        ({"data": None}, "needs a DataFrame of the numbers it shows, found NoneType"),
        ({"data": pd.DataFrame()}, "needs a DataFrame of the numbers it shows"),
        ({"alt": "curves"}, "figure 'drawn' needs alt=, one to three sentences"),
    ],
)
def test_what_is_not_saved(figures, save, changed, message):
    fig, data = simple_figure()
    with pytest.raises(ValueError, match=message):
        save(**{"fig": fig, "data": data} | changed)
    assert not (figures / "10_made_up").exists()


def test_axes_without_a_name_are_refused(save):
    fig, data = simple_figure("", "")
    with pytest.raises(ValueError, match="'drawn' has axes without a name: x axis of panel 1, y axis of panel 1"):
        save(fig, data)
    save(fig, data, allow_unlabeled=True)


def test_axes_that_show_no_ticks_need_no_name(save):
    fig, axes = plt.subplots(2, 2, sharex=True, sharey=True)
    fig.supxlabel("size")
    axes[0, 0].set_ylabel("error")
    axes[1, 0].set_yticks([])  # and inner panels of shared axes have no tick labels
    axes[1, 1].set_axis_off()
    save(fig, simple_figure()[1])


def test_a_color_bar_needs_a_name(save):
    fig, axes = plt.subplots()
    bar = fig.colorbar(axes.imshow(np.eye(2)))
    axes.set(xlabel="label", ylabel="class", title="one")
    with pytest.raises(ValueError, match="y axis of panel 2"):
        save(fig, simple_figure()[1])
    bar.set_label("probability")
    save(fig, simple_figure()[1])


def test_every_committed_figure_has_its_alt_text():
    committed = paths.ROOT / "figures"
    drawn = {file.with_suffix("") for file in committed.glob("*/*.png")}
    assert drawn
    assert drawn == {file.with_name(file.name.removesuffix(".alt.txt")) for file in committed.glob("*/*.alt.txt")}


def test_no_committed_line_over_epochs_has_two_points_at_one_epoch():
    """Two runs that share a line are joined into zigzags."""
    drawn = [pd.read_csv(file) for file in sorted((paths.ROOT / "figures").glob("*/*.csv"))]
    drawn = [table for table in drawn if "epoch" in table and pd.api.types.is_integer_dtype(table["epoch"])]
    assert len(drawn) > 10
    for table in drawn:
        words = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
        assert not table.duplicated([*words, "epoch"]).any(), list(table)


# ---------------------------------------------------------------------- words that cannot be read


@pytest.fixture
def axes():
    return plt.subplots(figsize=(4, 3))[1]


def test_words_on_top_of_each_other_are_found_unless_at_a_slant(axes):
    axes.text(0.5, 0.5, "first")
    axes.text(0.52, 0.5, "second")
    axes.text(0.1, 0.1, "up the hill", rotation=45)
    axes.text(0.2, 0.1, "up the hill again", rotation=45)
    assert faults(axes.figure) == ["overlap: 'first' and 'second'"]


def test_words_beyond_an_edge_are_found(axes):
    axes.text(0.9, 0.5, "a rather long line of words")
    axes.add_patch(mpl.patches.FancyBboxPatch((0.4, 0.4), 0.2, 0.2, boxstyle="round,pad=0"))
    axes.text(0.5, 0.5, "much wider than its box", ha="center", va="top")
    found = faults(axes.figure)
    assert found == ["cut off: 'a rather long line of words'", "sticks out of its box: 'much wider than its box'"]


def test_crowded_tick_labels_are_found_and_undrawn_ones_are_not(save):
    fig, data = simple_figure()
    assert faults(fig) == []
    fig.axes[0].set_xticks([1.0, 1.01], ["the first tick", "the second tick"])
    with pytest.raises(ValueError, match="words that cannot be read: overlap: 'the first tick' and 'the second tick'"):
        save(fig, data)
    fig.axes[0].xaxis.set_visible(False)
    assert faults(fig) == []
