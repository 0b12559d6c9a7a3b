"""Verdicts: intervals by hand and by SciPy, the rules one by one, stable files."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
from scipy import stats

from lib.results import claims
from lib.results.claims import Sample
from lib.results.rows import frame


def row(method="a", seed=0, scale="quick", dataset="labelme", **metrics):
    config = {"experiment": "e", "dataset": dataset, "case": "real", "method": method, "seed": seed, "scale": scale}
    return {"key": f"{dataset}{method}{seed}{scale}", "config": config, "metrics": metrics, "history": {}}


def of(*values, scale="quick", unit=""):
    return Sample(dict(enumerate(values)), scale, unit)


# ---------------------------------------------------------------------------------------------- intervals


def test_interval_by_hand():
    # mean 3, std 1.5811, t of 4 degrees of freedom 2.7764: 3 -+ 2.7764 * 1.5811 / sqrt(5)
    mean, low, high = claims.interval([1, 2, 3, 4, 5])
    assert (mean, low, high) == pytest.approx((3, 3 - 1.96324, 3 + 1.96324), abs=1e-5)


def test_interval_is_scipys():
    values = np.random.default_rng(0).normal(size=7)
    found = claims.interval(values)
    assert found[1:] == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval(0.95)))


def test_interval_of_few_or_equal_values():
    assert claims.interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)
    assert claims.interval([2.0])[0] == 2.0
    assert all(math.isnan(end) for end in claims.interval([2.0])[1:])
    assert all(math.isnan(number) for number in claims.interval([]))
    with pytest.raises(ValueError, match="must be finite, found inf"):
        claims.interval([1.0, math.inf])


# ---------------------------------------------------------------------------------------------- samples


def test_sample_is_by_seed_and_in_percent():
    rows = [row("a", 3, test_acc_last=0.8), row("b", 0, test_acc_last=0.1), row("a", 1, test_acc_last=0.7), None]
    found = claims.sample(rows, "test_acc_last", method="a")
    assert found.values == pytest.approx({1: 70.0, 3: 80.0})
    assert (found.scale, found.unit) == ("quick", "%")
    assert claims.sample(frame(rows), "test_acc_last", method="b").values == pytest.approx({0: 10.0})
    assert claims.sample([row(confusion_error=0.2)], "confusion_error").unit == ""


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"method": "c"}, "no runs with method 'c'; found 'a', 'b'"),
        ({"color": "red"}, "cannot be chosen by 'color'"),
        ({}, "one value a seed, found 2 values of 1 seeds.*differ in method"),
    ],
)
def test_sample_names_what_is_wrong(where, message):
    with pytest.raises(ValueError, match=message):
        claims.sample([row("a", m=1.0), row("b", m=2.0)], "m", **where)


def test_sample_does_not_mix_scales_or_unnamed_settings():
    with pytest.raises(ValueError, match="differ in scale"):
        claims.sample([row(seed=0, m=1.0), row(seed=1, scale="paper", m=1.0)], "m")
    with pytest.raises(ValueError, match="settings without a name"):
        claims.sample([row(m=1.0), row(m=2.0)], "m")


def test_an_empty_sample_must_be_asked_for():
    with pytest.raises(ValueError, match="found none at all"):
        claims.sample([], "test_acc_last")
    found = claims.sample([], "test_acc_last", missing_ok=True, method="a", scale="quick")
    assert (dict(found.values), found.scale, found.unit) == ({}, "quick", "%")


# ---------------------------------------------------------------------------------------------- verdicts on values


@pytest.mark.parametrize(
    ("values", "paper_value", "band", "verdict"),
    [
        ((84.0, 84.2, 84.1), 83.9, 1.0, "reproduced"),
        ((86.0, 86.2, 86.1), 83.9, 1.0, "not reproduced"),
        # the interval, 85.05 -+ 0.43, reaches into the band although the mean does not
        ((84.85, 85.05, 85.25), 84.0, 1.0, "reproduced"),
        ((84.9, 85.2, 85.5), 84.0, 0.1, "not reproduced"),
        # in the middle of the band, but the interval is far wider than it
        ((80.0, 88.0, 84.0), 84.0, 1.0, "trend only"),
        # wide, and its middle outside
        ((82.0, 90.0, 86.0), 84.0, 1.0, "not reproduced"),
        ((84.0,), 83.9, 1.0, "trend only"),
        ((80.0,), 83.9, 1.0, "not reproduced"),
        ((84.0, 84.0), 83.9, 1.0, "reproduced"),
    ],
)
def test_verdict_of_a_value(values, paper_value, band, verdict):
    assert claims.value("c", "s", of(*values), paper_value, band).verdict == verdict


def test_a_value_carries_its_numbers_and_unit():
    found = claims.value("MW's accuracy", "Table 1", of(84.0, 84.2, unit="%"), 83.9, 1.0)
    half = stats.t.ppf(0.975, 1) * np.std([84.0, 84.2], ddof=1) / math.sqrt(2)
    assert found.claim == "MW's accuracy (%)"
    assert (found.paper_value, found.n_seeds, found.scale) == (83.9, 2, "quick")
    assert (found.ours, found.ci_low, found.ci_high) == pytest.approx((84.1, 84.1 - half, 84.1 + half))
    assert claims.value("c", "s", of(84.0), 83.9, 1.0).ci_low is None


def test_a_value_checks_its_band_and_the_papers_unit():
    with pytest.raises(ValueError, match=r"must be in percent, found 0\.839"):
        claims.value("c", "s", of(84.0, unit="%"), 0.839, 1.0)
    for band in (0, -1, math.nan):
        with pytest.raises(ValueError, match="band must be positive"):
            claims.value("c", "s", of(84.0), 83.9, band)


# ---------------------------------------------------------------------------------------------- verdicts on differences


def test_a_difference_is_the_paired_t_interval():
    rng = np.random.default_rng(1)
    first, second = rng.normal(1, 1, 8), rng.normal(0, 1, 8)
    found = claims.difference("c", "s", of(*first), of(*second))
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high))
    assert found.ours == pytest.approx((first - second).mean())
    assert found.n_seeds == 8


@pytest.mark.parametrize(
    ("gaps", "paper_value", "band", "verdict"),
    [
        ((4.9, 5.0, 5.1), None, None, "reproduced"),
        ((4.9, 5.0, 5.1), 20.0, None, "reproduced"),  # without a band the paper's size is not judged
        ((4.9, 5.0, 5.1), 6.0, 1.0, "reproduced"),
        ((4.9, 5.0, 5.1), 20.0, 1.0, "trend only"),  # the right sign, another size
        ((-1.0, 5.0, 1.0), None, None, "trend only"),  # above zero on average, the interval includes it
        ((-4.9, -5.0, -5.1), None, None, "not reproduced"),
        ((1.0, -5.0, 1.0), 2.0, 5.0, "not reproduced"),
        ((0.0, 0.0, 0.0), None, None, "not reproduced"),
        ((5.0,), 5.0, 1.0, "trend only"),
        ((-5.0,), 5.0, 1.0, "not reproduced"),
    ],
)
def test_verdict_of_a_difference(gaps, paper_value, band, verdict):
    base = 50.0
    found = claims.difference("c", "s", of(*(base + gap for gap in gaps)), of(*(base for _ in gaps)), paper_value, band)
    assert found.verdict == verdict


def test_errors_are_better_when_lower():
    low, high = of(0.1, 0.2, 0.15), of(0.3, 0.41, 0.36)
    found = claims.difference("c", "s", low, high, lower_is_better=True)
    assert found.ours == pytest.approx((0.2 + 0.21 + 0.21) / 3)
    assert found.verdict == "reproduced"
    assert claims.difference("c", "s", low, high).verdict == "not reproduced"


def test_pairs_are_matched_by_seed(caplog):
    better, worse = Sample({2: 5.0, 1: 3.0, 7: 99.0}, "quick"), Sample({1: 1.0, 2: 2.0}, "quick")
    with caplog.at_level(logging.WARNING):
        found = claims.difference("c", "s", better, worse)
    assert found.n_seeds == 2
    assert found.ours == pytest.approx(2.5)
    assert "of 3 and 2 seeds, 2 in common" in caplog.text


def test_rounding_is_no_difference():
    found = claims.difference("c", "s", of(0.1 + 0.2, 0.1 + 0.2), of(0.3, 0.3))
    assert (found.ours, found.verdict) == (0.0, "not reproduced")


def test_a_difference_checks_its_sides():
    with pytest.raises(ValueError, match=r"no common seed: \[0\] and \[5\]"):
        claims.difference("c", "s", of(1.0), Sample({5: 1.0}, "quick"))
    with pytest.raises(ValueError, match="same scale and unit, found 'quick %' and 'paper %'"):
        claims.difference("c", "s", of(1.0, unit="%"), of(1.0, unit="%", scale="paper"))
    with pytest.raises(ValueError, match="same scale and unit, found 'quick %' and 'quick'"):
        claims.difference("c", "s", of(1.0, unit="%"), of(1.0))
    with pytest.raises(ValueError, match="a band needs the paper's value"):
        claims.difference("c", "s", of(1.0), of(0.5), band=1.0)


def test_a_difference_of_accuracies_is_in_points():
    assert claims.difference("A beats B", "s", of(2.0, unit="%"), of(1.0, unit="%")).claim == "A beats B (points)"


# ---------------------------------------------------------------------------------------------- facts, and chance


@pytest.mark.parametrize(
    ("ours", "band", "verdict"),
    [
        (503, 0, "reproduced"),
        (502, 0, "not reproduced"),
        (503.4, 0.5, "reproduced"),
        (503.6, 0.5, "not reproduced"),
    ],
)
def test_verdict_of_a_fact(ours, band, verdict):
    found = claims.fact("annotators in the first bin", "Figure 1", ours, 503, "quick", band=band)
    assert (found.verdict, found.ours, found.paper_value, found.scale) == (verdict, ours, 503, "quick")
    assert (found.n_seeds, found.ci_low, found.ci_high) == (0, None, None)
    assert claims.table([found])["seeds"].tolist() == ["–"]


def test_a_fact_checks_its_band():
    with pytest.raises(ValueError, match="band must be at least 0, found -1"):
        claims.fact("c", "s", 1, 1, "quick", band=-1)


def test_beyond_chance_is_the_prediction_interval():
    draws = np.random.default_rng(2).normal(3, 1, 9)
    half = stats.t.ppf(0.975, 8) * draws.std(ddof=1) * math.sqrt(1 + 1 / 9)
    found = claims.beyond_chance("c", "s", 10.0, of(*draws))
    assert found.ours == pytest.approx(10 - draws.mean())
    assert (found.ci_low, found.ci_high) == pytest.approx((found.ours - half, found.ours + half))
    assert (found.n_seeds, found.paper_value) == (9, None)


@pytest.mark.parametrize(
    ("ours", "chance", "verdict"),
    [
        (9.0, (1.0, 2.0, 3.0), "reproduced"),
        (4.0, (1.0, 2.0, 3.0), "not reproduced"),  # above all three, but a fourth might reach it
        (0.0, (1.0, 2.0, 3.0), "not reproduced"),
        (4.0, (1.0,), "trend only"),
        (0.5, (1.0,), "not reproduced"),
    ],
)
def test_verdict_beyond_chance(ours, chance, verdict):
    assert claims.beyond_chance("c", "s", ours, of(*chance)).verdict == verdict


def test_beyond_chance_needs_simulations():
    with pytest.raises(ValueError, match="chance needs simulations, found none"):
        claims.beyond_chance("c", "s", 1.0, of())


# ---------------------------------------------------------------------------------------------- scales, caps, gaps


def test_a_claim_may_need_a_larger_scale():
    assert claims.value("c", "s", of(1.0, 1.0), 1.0, 1.0, needs="paper").verdict == "not run at paper scale"
    assert claims.value("c", "s", of(1.0, 1.0, scale="paper"), 1.0, 1.0, needs="paper").verdict == "reproduced"
    assert claims.value("c", "s", of(1.0, 1.0), 1.0, 1.0, needs="quick").verdict == "reproduced"
    smoke = of(1.0, 1.0, scale="smoke")
    assert claims.difference("c", "s", smoke, smoke, needs="quick").verdict == "not run at paper scale"


def test_a_cap_lowers_only_better_verdicts():
    good, bad = of(2.0, 2.0), of(1.0, 1.0)
    assert claims.difference("c", "s", good, bad, best_verdict="trend only").verdict == "trend only"
    assert claims.difference("c", "s", bad, good, best_verdict="trend only").verdict == "not reproduced"


def test_scales_and_caps_are_checked():
    for options in ({"needs": "huge"}, {"best_verdict": "great"}):
        with pytest.raises(ValueError, match=r"expected one of .*; found '(huge|great)'"):
            claims.value("c", "s", of(1.0, 1.0), 1.0, 1.0, **options)
    with pytest.raises(ValueError, match="found 'tiny'"):
        claims.value("c", "s", of(1.0, scale="tiny"), 1.0, 1.0)


@pytest.mark.parametrize("missing", ["better", "worse", "both"])
def test_what_was_not_run_says_so(missing):
    there, gap = of(1.0, 2.0, unit="%"), claims.sample([], "test_acc", missing_ok=True, scale="quick")
    better, worse = (gap if missing in (side, "both") else there for side in ("better", "worse"))
    found = claims.difference("c", "s", better, worse, paper_value=3.0, band=1.0)
    assert (found.verdict, found.n_seeds, found.ours, found.ci_low) == ("not run at paper scale", 0, None, None)
    assert found.scale == "quick"
    assert claims.value("c", "s", gap, 80.0, 1.0).verdict == "not run at paper scale"


# ---------------------------------------------------------------------------------------------- files and tables


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path))
    return tmp_path


def test_saved_claims_have_the_agreed_keys_and_stable_bytes(figures):
    found = [
        claims.value("µ", "s", of(84.123456789, 84.3, unit="%"), 83.9, 1.0),
        claims.difference("d", "s", of(1.0), of(2.0)),
    ]
    claims.save("10_made_up", found)
    path = figures / "10_made_up" / "claims.json"
    first = path.read_bytes()
    claims.save("10_made_up", found)
    assert path.read_bytes() == first
    entries = json.loads(first)
    keys = ["claim", "source", "paper_value", "ours", "ci_low", "ci_high", "n_seeds", "scale", "verdict"]
    assert [list(entry) for entry in entries] == [keys, keys]
    assert entries[0]["claim"] == "µ (%)"
    assert entries[0]["ours"] == 84.2117  # six significant digits
    assert entries[1] == dict(zip(keys, ["d", "s", None, -1.0, None, None, 1, "quick", "not reproduced"], strict=True))
    assert b"\xc2\xb5" in first  # readable as it is
    assert claims.load(path)[1] == found[1]


def test_two_claims_in_the_same_words_are_refused(figures):
    one = claims.value("c", "s", of(1.0), 1.0, 1.0)
    with pytest.raises(ValueError, match="two claims read 'c'"):
        claims.save("10_made_up", [one, one])
    assert not (figures / "10_made_up").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no list of claims"), ('[{"claim": "c"}]', "is no list of claims"), ("3", "is no list of claims")],
)
def test_loading_names_a_file_that_is_none(tmp_path, text, message):
    path = tmp_path / "claims.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"claims\.json {message}"):
        claims.load(path)


def test_loading_knows_the_verdicts(tmp_path):
    path = tmp_path / "claims.json"
    entry = dict.fromkeys(("claim", "source", "paper_value", "ours", "ci_low", "ci_high", "n_seeds", "scale"))
    path.write_text(json.dumps([entry | {"verdict": "sort of"}]))
    with pytest.raises(ValueError, match="the verdict 'sort of'; expected one of reproduced, trend only"):
        claims.load(path)


def test_the_table_of_claims():
    found = claims.table(
        [
            claims.value("accuracy", "Table 1", of(84.0, 84.2, unit="%"), 83.9, 2.0),
            claims.difference("error", "Figure 2", of(0.5), of(0.25)),
            claims.value("not made", "Table 3", Sample({}, ""), 1.0, 1.0),
        ]
    )
    assert list(found.columns) == ["claim", "source", "paper", "ours [95% interval]", "seeds", "scale", "verdict"]
    assert found.to_numpy().tolist() == [
        ["accuracy (%)", "Table 1", "83.9", "84.1 [82.8, 85.4]", "2", "quick", "reproduced"],
        ["error", "Figure 2", "–", "0.250", "1", "quick", "trend only"],
        ["not made", "Table 3", "1.000", "–", "0", "–", "not run at paper scale"],
    ]
