"""Figures of matrices and ranks: every entry is handed back and drawn, and what does not fit is named."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lib.plotting import matrices
from lib.results import ranking
from tests.plotting.conftest import row, text_of


def test_confusions_hand_back_every_entry(save):
    learned, true = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.75, 0.25], [0.0, 0.0]])
    fig, data = matrices.confusions([(learned, true)], ["cat", "dog"], ["Ann"])
    assert list(data.columns) == ["annotator", "matrix", "true_class", "label", "probability"]
    one = data.set_index(["matrix", "true_class", "label"])["probability"]
    assert one["learned", "cat", "dog"] == 0.1  # true class before label
    assert one["learned", "dog", "cat"] == 0.2
    assert [one["true", "cat", label] for label in ("cat", "dog")] == [0.75, 0.25]
    assert np.isnan(one["true", "dog", "dog"])  # Ann saw no dog
    assert "gray: no item of that true class was seen" in text_of(fig)
    assert true[1].tolist() == [0.0, 0.0]  # the caller's matrix is left alone
    save(fig, data)


def test_confusions_share_one_scale_and_leave_empty_places_empty():
    pair = (np.eye(3), np.full((3, 3), 1 / 3))
    fig, _ = matrices.confusions([pair] * 3, list("abc"), ["1", "2", "3"], columns=2)
    panels = [axes for axes in fig.axes if axes.collections and axes.get_label() != "<colorbar>"]
    assert len(panels) == 6
    assert {axes.collections[0].get_clim() for axes in panels} == {(0.0, 1.0)}
    (bar,) = (axes for axes in fig.axes if axes.get_label() == "<colorbar>")
    assert bar.get_ylim() == (0.0, 1.0)
    assert sum(not axes.axison for axes in fig.axes) == 2
    assert "gray" not in text_of(fig)
    assert_array_equal(panels[0].collections[0].get_array().reshape(3, 3), np.eye(3))


def test_heat_writes_each_number_into_its_cell(save):
    table = pd.DataFrame([[0.1, 0.9], [0.25, 0.5]], index=["a", "b"], columns=["here", "over there"])
    fig, data = matrices.heat({"one": table, "half": table / 2}, [("b", "here")], xlabel="place", ylabel="what")
    assert [text.get_text() for text in fig.axes[0].texts] == ["0.10", "0.90", "0.25", "0.50"]
    assert [len(axis.patches) for axis in fig.axes] == [1, 1]
    wide = data[data["table"] == "half"].pivot_table(index="row", columns="column", values="value")
    assert_allclose(wide.loc[["a", "b"], ["here", "over there"]], table / 2)
    save(fig, data)
    with pytest.raises(ValueError, match="the same rows and columns"):
        matrices.heat({"one": table, "other": table.rename(index={"a": "c"})}, xlabel="x", ylabel="y")


@pytest.mark.parametrize("n", [2, 8])
def test_critical_difference_shows_every_method_where_it_ranks(n, save):
    rows = [row(f"m{i}", seed, test_acc_last=0.1 * i + 0.01 * seed) for i in range(n) for seed in range(4)]
    ranks = ranking.ranks(rows, "test_acc_last")
    fig, data = matrices.critical_difference(ranks)
    assert data["method"].tolist() == [f"m{i}" for i in reversed(range(n))]
    assert data["average_rank"].tolist() == list(range(1, n + 1))
    assert data[["n_blocks", "critical_difference"]].drop_duplicates().to_numpy().tolist() == [[4, ranks.critical_difference]]
    drawn = [line.get_xdata()[0] for line in fig.axes[0].lines if line.get_ls() == "-" and len(line.get_xdata()) == 1]
    assert sorted(drawn) == list(range(1, n + 1))
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == [f"m{n - i}  {i:.1f}" for i in range(1, n + 1)]
    assert f"critical difference {ranks.critical_difference:.2f} of the best (Nemenyi, 95%)" in text_of(fig)
    (shade,) = fig.axes[0].patches
    assert shade.get_width() == pytest.approx(ranks.critical_difference)
    save(fig, data)
