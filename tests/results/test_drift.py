"""Drift: tolerances by hand, and every verdict."""

import math
from statistics import stdev

import numpy as np
import pandas as pd
import pytest

from lib.results import drift


def rows(values, metric="test_acc_last", **config):
    """One row a seed, as the ledger has them."""
    config = {"experiment": "e", "dataset": "d", "case": "real", "method": "m", "scale": "quick"} | config
    return [{"config": config | {"seed": seed}, "metrics": {metric: value}} for seed, value in enumerate(values)]


def verdicts(fresh, reference):
    return drift.compare(fresh, reference)["verdict"].tolist()


@pytest.mark.parametrize(
    ("method", "options", "given", "default", "other"),
    [
        ("m", "recipe", {"epochs": 5}, {"crop": 0, "flip": False}, {"crop": 4}),
        ("ccc", "method_options", {"groups": 5}, {"rate": 0.5}, {"rate": 0.1}),
    ],
)
def test_a_default_may_be_written_out_or_not_and_other_settings_are_kept_apart(method, options, given, default, other):
    old = rows([0.8, 0.9], method=method, **{options: given})
    assert verdicts(rows([0.8, 0.9], method=method, **{options: given | default}), old) == ["identical"]
    assert verdicts(rows([0.8, 0.9], method=method, **{options: given | other}), old) == ["no reference"]


def test_tolerance_by_hand():
    # Student's t for 99 % and 2 degrees of freedom is 9.9248 (any printed table).
    values = [0.80, 0.82, 0.84]
    expected = 9.9248 * stdev(values) * math.sqrt(1 / 5 + 1 / 3) + 0.002 * 0.82
    assert drift.tolerance(values, 5) == pytest.approx(expected, rel=1e-5)
    assert drift.tolerance([0.5, 0.5], 1) == drift.LAST_DECIMAL  # what no seed moves is exact
    assert math.isnan(drift.tolerance([0.5], 3))


def test_the_spread_of_like_numbers_is_pooled_by_hand():
    # Sums of squares 0.02 (mean 0.2) and 0.06 (mean 0.5), degrees of freedom 1 and 2; one value says nothing.
    like = drift.spread([[0.1, 0.3], [0.3, 0.5, 0.7], [0.9]])
    assert like == (pytest.approx(math.sqrt((0.02 + 0.08) / 3)), 3)
    # Student's t for 99 % and 3 degrees of freedom is 5.8409.
    expected = 5.8409 * like[0] * math.sqrt(1 / 2 + 1) + 0.002 * 0.4
    assert drift.tolerance([0.4], 2, like) == pytest.approx(expected, rel=1e-4)
    assert drift.tolerance([0.4, 0.4], 2, like) > drift.LAST_DECIMAL  # equal by chance: its like does move
    own = drift.tolerance([0.4, 0.5], 2)
    assert drift.tolerance([0.4, 0.5], 2, like) == own  # a number with a spread of its own borrows none
    assert drift.spread([[0.1 + 0.2, 0.1 + 0.2, 0.1 + 0.2]])[0] == 0


def test_a_number_with_one_seed_borrows_from_the_nearest_like_that_has_several():
    settled = rows([0.50, 0.52, 0.51], case="a")
    wild = rows([0.1, 0.9, 0.5], method="other")
    once = rows([0.6], case="b")
    frame = drift.compare(rows([0.63], case="b"), [*settled, *wild, *once])
    by_hand = drift.tolerance([0.6], 1, drift.spread([[0.50, 0.52, 0.51]]))
    assert frame["verdict"].tolist() == ["within"]
    assert frame["tolerance"][0] == pytest.approx(by_hand)
    assert verdicts(rows([0.9], case="b"), [*settled, *wild, *once]) == ["outside"]
    # Without its method's spread, that of the same data set.
    assert verdicts(rows([0.9], case="b"), [*wild, *once]) == ["within"]
    # Another metric is no like.
    assert verdicts(rows([0.9], case="b"), [*once, *rows([0.1, 0.2], metric="loss")]) == ["no tolerance"]


def test_what_no_seed_moves_stays_exact():
    fixed = rows([0.76, 0.76, 0.76], metric="label_acc")
    assert verdicts(rows([0.760001] * 3, metric="label_acc"), fixed) == ["within"]  # the last decimal
    assert verdicts(rows([0.761] * 3, metric="label_acc"), fixed) == ["outside"]
    # One seed, of a metric that moves in no like run.
    once = rows([0.7], metric="label_acc", case="b")
    assert verdicts(rows([0.701], metric="label_acc", case="b"), [*fixed, *once]) == ["outside"]


def test_seeds_of_crowds_and_splits_are_seeds():
    def crowds(values, name):
        return [
            row | {"config": row["config"] | {"dataset_options": {"items": 10, name: seed}}}
            for seed, row in enumerate(rows(values))
        ]

    for name in drift.SEEDS:
        frame = drift.compare(crowds([0.8, 0.9], name), crowds([0.81, 0.88], name))
        assert frame["n_reference"].tolist() == [2]
        assert frame["verdict"].tolist() == ["within"]


def made_by(found, **provenance):
    machine = {"processor": "one", "device": "cpu", "torch": "2", "numpy": "2"} | provenance
    return [row | {"provenance": machine} for row in found]


def test_on_the_same_processor_every_number_must_be_the_same():
    reference = made_by(rows([0.80, 0.82, 0.84]))
    near = rows([0.80, 0.82, 0.8400001])
    assert verdicts(made_by(rows([0.80, 0.82, 0.84])), reference) == ["identical"]
    assert verdicts(made_by(near), reference) == ["changed"]
    for other in ({"processor": "two"}, {"torch": "3"}, {"numpy": "3"}, {"device": "cuda"}, {"processor": None}):
        assert verdicts(made_by(near, **other), reference) == ["within"], other
    assert verdicts(near, rows([0.80, 0.82, 0.84])) == ["within"]  # rows that do not say where they were made
    # Other seeds are judged by tolerance wherever they were made.
    assert verdicts(made_by(rows([0.80, 0.82, 0.84, 0.85])), reference) == ["within"]
    text = drift.summary(drift.compare(made_by(near), reference))
    assert "1 CHANGED on the processor that made the reference" in text
    assert "the code changed them" in text


def test_the_tolerance_holds_new_seeds_as_often_as_it_says():
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(2000):
        reference, fresh = rng.normal(0, 1, 5), rng.normal(0, 1, 3)  # mean 0: the floor adds next to nothing
        outside += abs(fresh.mean() - reference.mean()) > drift.tolerance(reference, 3)
    assert 0.005 < outside / 2000 < 0.015


def test_each_verdict():
    reference = rows([0.80, 0.82, 0.84])
    assert verdicts(rows([0.80, 0.82, 0.84]), reference) == ["identical"]
    assert verdicts(rows([0.84, 0.80, 0.82 + 1e-12]), reference) == ["identical"]  # the mean is what is compared
    assert verdicts(rows([0.83, 0.83, 0.83]), reference) == ["within"]
    assert verdicts(rows([0.2, 0.3, 0.2]), reference) == ["outside"]
    assert verdicts(rows([0.1, 0.9, 0.1]), reference) == ["outside"]  # a wild fresh run does not widen its own tolerance
    assert verdicts(rows([0.8], method="new"), reference) == ["no reference"]
    assert verdicts(rows([0.8]), rows([0.7])) == ["no tolerance"]
    assert verdicts(rows([0.7]), rows([0.7])) == ["identical"]


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_number_that_became_nan_or_vanished_is_outside(value):
    reference = rows([0.5, 0.6])
    assert verdicts(rows([0.5, value]), reference) == ["outside"]
    assert verdicts(rows([value, value]), rows([value, value])) == ["identical"]
    frame = drift.compare(rows([0.3], metric="other"), reference)
    assert dict(zip(frame["metric"], frame["verdict"], strict=True)) == {
        "test_acc_last": "outside",
        "other": "no reference",
    }
    assert frame["metric"][0] == "test_acc_last"


def test_the_largest_deviation_comes_first_in_units_of_its_tolerance():
    reference = [*rows([0.1, 0.9], method="noisy"), *rows([0.80, 0.81], method="steady"), *rows([1.0, 1.0], method="same")]
    fresh = [*rows([0.5, 0.1], method="noisy"), *rows([0.90, 0.91], method="steady"), *rows([1.0, 1.0], method="same")]
    frame = drift.compare(fresh, reference)
    assert frame["method"].tolist() == ["steady", "noisy", "same"]


def test_the_report_counts_and_shows_what_differs_and_the_csv_holds_everything(tmp_path):
    reference = rows([0.80, 0.82, 0.81])
    same, none = drift.compare(reference, reference), drift.compare([], reference)
    assert (drift.summary(same), drift.table(same)) == ("Drift from the reference: 1 identical.", "")
    assert (drift.summary(none), drift.table(none)) == ("Drift from the reference: nothing to compare.", "")
    frame = drift.compare([*rows([0.1, 0.1]), *rows([0.2], method="new")], reference)
    assert "1 OUTSIDE, 1 without a reference.\nOutside their tolerance: 1 of 2" in drift.summary(frame)
    (line,) = drift.table(frame).splitlines()[1:]
    assert line.split()[4:7] == ["test_acc_last", "2/3", "0.1"]
    drift.write(frame, tmp_path / "build" / "drift.csv")
    back = pd.read_csv(tmp_path / "build" / "drift.csv")
    assert list(back.columns) == drift.COLUMNS
    assert back[["n_fresh", "n_reference", "verdict"]].to_numpy().tolist() == [[2, 3, "outside"], [1, 0, "no reference"]]
    assert back["difference"][0] == pytest.approx(0.1 - 0.81)
    sides = ([row for i in range(15) for row in rows(values, method=f"m{i}")] for values in ([0.1], [0.8, 0.9]))
    assert len(drift.table(drift.compare(*sides)).splitlines()) == 13  # with the heading
