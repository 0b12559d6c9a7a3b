"""Budgets: networks and stages are counted while methods are built, settings in the tuning protocols."""

import io

import pandas as pd

from lib import paths, protocols
from lib.protocols import ccc, real_crowds
from lib.results import budget
from lib.runs.config import RunConfig, as_read
from lib.training.recipe import Recipe


def made(method, **options):
    config = RunConfig("e", "labelme", method, recipe=Recipe(epochs=7), method_options=options)
    return {"config": as_read(config)}


def test_networks_and_stages_are_counted():
    rows = [made("majority-vote"), made("ccc"), made("weighted-doctornet"), made("kd-crowd"), made("crowdlayer-mw", pretrain=3)]
    rows.append(made("ensemble", base="max-mig"))
    found = budget.budgets([None, *rows]).set_index("method")
    assert found["networks"].to_dict() == {
        "majority-vote": 1, "ccc": 2, "weighted-doctornet": 1, "kd-crowd": 3, "crowdlayer-mw": 1, "ensemble": 2
    }  # fmt: skip
    assert found["epochs"].tolist() == [7, 7, 14, 21, 10, 7]
    assert found["settings"].sum() == 0


def test_each_setting_counts_once_whatever_its_seeds():
    trials = [
        RunConfig("e", "labelme", "geocrowdnet-f", method_options={"weight": w}, seed=s) for w in (0.1, 0.01) for s in (0, 1)
    ]
    assert budget.budgets([made("geocrowdnet-f")], trials)["settings"].tolist() == [2]


def test_a_reader_sees_slashes_where_data_sets_differ():
    table = pd.DataFrame(
        [["labelme", "ccc", 2, 60, 12], ["music", "ccc", 2, 110, 9], ["labelme", "glad", 1, 50, 0]], columns=budget.COLUMNS
    )
    shown = budget.show(table)
    assert shown.to_numpy().tolist() == [
        ["CCC", "2", "60 / 110", "12 / 9"],
        ["GLAD, then train", "1 / –", "50 / –", "0 / –"],
    ]
    assert shown.caption == "where data sets differ: LabelMe / Music"


def test_the_leaderboards_budget_is_that_of_its_runs():
    seeds = range(10)
    rows = [{"config": as_read(config)} for config in protocols.grid("90_leaderboard", "quick", seeds)]
    trials = [*real_crowds.tuning("quick", seeds), *ccc.table2_tuning("quick")]
    stored = pd.read_csv(io.StringIO((paths.ROOT / "figures" / "90_leaderboard" / "budget.csv").read_text("utf-8")))
    pd.testing.assert_frame_equal(stored, budget.budgets(rows, trials))
