"""A small part of the grid of own labels: not a point below the vote, near the best, and intervals that hold."""

import numpy as np

from lib import paths
from tests.benchmarks import own_data_grid as grid
from tests.benchmarks import own_data_real


def test_levels_are_drawn_equally_often():
    table = grid.cells(40)
    assert table["classes"].value_counts().tolist() == [10] * 4
    assert table["errors"].value_counts().tolist() == [20] * 2
    assert (table["per_item"] <= table["annotators"]).all()


def test_a_part_of_the_grid(capsys):
    table = grid.main(["--cells", "4"])
    assert len(table) == 4
    assert (table["labels_alone"] >= table["vote"] - 1).all()
    assert (table["with_classifier"] >= table["vote"] - 1).all()
    independent = table[table["errors"] == "independent"]
    best = independent[["vote", "dawid_skene", "one_coin", "glad"]].max(axis=1)
    assert (independent["labels_alone"] >= best - 1.5).all()
    told = table[table["told_apart"]]
    assert (told["wrong_low"] <= told["wrong_middle"]).all()
    assert (told["wrong_middle"] <= told["wrong_high"]).all()
    assert independent["intervals_hold"].sum() >= 0.9 * independent["intervals"].sum()
    assert {path.name for path in paths.figures("benchmarks").iterdir()} >= {"own_data_grid.csv", "own_data_grid.png"}
    assert "within a point of the best" in capsys.readouterr().out


def test_tied_votes_count_in_part():
    crowd = grid.CrowdLabels.from_dense([[0, 1], [1, 1]])
    assert grid.vote_accuracy(crowd, np.array([0, 0])) == 0.25


def test_what_is_said_of_a_crowd_beside_what_is_true():
    cell = grid.cells(72).iloc[10]  # shared errors, three labels per item
    crowd, y, _, _ = grid.crowd_of(cell)
    line = own_data_real.said_and_true(crowd, y, 0)
    assert (line["items"], line["known"]) == (len(y), 0)
    assert line["low"] < line["wrong"] < line["high"]
    assert line["holds"]
    assert own_data_real.said_and_true(crowd, y, 60)["items"] == len(y) - 60
