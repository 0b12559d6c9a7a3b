"""Verdicts: intervals by hand and by SciPy, the rules one by one, stable files, and every committed claim made again."""

import dataclasses
import logging
import math

import numpy as np
import pytest
from scipy import stats

from lib import methods, protocols
from lib.results import claims, samples
from lib.results.claims import Book, Sample
from lib.results.rows import frame
from lib.results.verdicts import load
from lib.runs import ledger
from tests.results.conftest import row


def of(*values, scale="quick", unit=""):
    return Sample(dict(enumerate(values)), scale, unit)


@pytest.fixture
def book():
    return Book("10_toy", paper="ccc", locator="Table 1")


# ---------------------------------------------------------------------------------------------- intervals and samples


def test_interval_is_scipys():
    values = np.random.default_rng(0).normal(size=7)
    assert claims.interval(values)[1:] == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval(0.95)))


def test_interval_of_few_or_equal_values():
    assert claims.interval([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)
    assert claims.interval([2.0])[0] == 2.0
    assert all(math.isnan(end) for end in claims.interval([2.0])[1:])
    assert all(math.isnan(number) for number in claims.interval([]))
    with pytest.raises(ValueError, match="must be finite, found inf"):
        claims.interval([1.0, math.inf])


def test_sample_is_by_seed_in_percent_and_knows_its_rows():
    rows = [row("a", 3, test_acc_last=0.8), row("b", 0, test_acc_last=0.1), row("a", 1, test_acc_last=0.7), None]
    found = claims.sample(rows, "test_acc_last", method="a")
    assert found.values == pytest.approx({1: 70.0, 3: 80.0})
    assert (found.scale, found.unit) == ("quick", "%")
    assert found.terms == ((100.0, "test_acc_last", {1: "labelme-real-a-quick-1", 3: "labelme-real-a-quick-3"}),)
    assert found.about == {"dataset": "labelme", "case": "real", "methods": ["a"], "metric": "test_acc_last"}
    assert claims.sample([row(confusion_error=0.2)], "confusion_error").unit == "L1"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"method": "c"}, "no runs with method 'c'; found 'a', 'b', 'd'"),
        ({"color": "red"}, "cannot be chosen by 'color'"),
        ({"seed": 0}, "one value a seed, found 4 values of 1 seeds.*differ in method"),
        ({"method": "b"}, "settings without a name"),
        ({"method": "d"}, "differ in scale"),
    ],
)
def test_sample_names_what_is_wrong(where, message):
    with pytest.raises(ValueError, match=message):
        claims.sample(
            [row("a", m=1.0), row("b", m=2.0), row("b", m=3.0), row("d", m=4.0), row("d", 1, scale="paper", m=5.0)],
            "m",
            **where,
        )


def test_an_empty_sample_must_be_asked_for():
    with pytest.raises(ValueError, match="found none at all"):
        claims.sample([], "test_acc_last")
    found = claims.sample([], "test_acc_last", missing_ok=True, method="a", scale="quick")
    assert (dict(found.values), found.scale, found.unit) == ({}, "quick", "%")


def test_a_difference_pairs_seeds_and_says_so(caplog):
    first, second = Sample({0: 5.0, 1: 6.0, 2: 9.0}, "quick", "%"), Sample({1: 5.0, 0: 5.5}, "quick", "%")
    with caplog.at_level(logging.WARNING):
        found = first - second
    assert (found.values, found.unit) == ({0: -0.5, 1: 1.0}, "points")
    assert "3, 2, 2 in common" in caplog.text.replace("of ", "").replace(" seeds", "")
    assert (of(0.3, 0.1) - of(0.1 + 0.2, 0.1)).values == {0: 0.0, 1: 0.0}  # 0.1 + 0.2 is 0.30000000000000004
    with pytest.raises(ValueError, match="no common seed"):
        Sample({0: 1.0}, "quick") - Sample({1: 1.0}, "quick")
    with pytest.raises(ValueError, match="same scale and unit, found 'paper' and 'quick'"):
        of(1.0) - of(1.0, scale="paper")


# ---------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("values", "paper_value", "band", "verdict"),
    [
        ((84.0, 84.2, 84.1), "83.9", 1.0, "reproduced"),
        ((86.0, 86.2, 86.1), "83.9", 1.0, "contradicted"),
        # the interval, 85.05 -+ 0.5, reaches into the band and out of it: touching is not lying inside
        ((84.85, 85.05, 85.25), "84.0", 1.0, "inconclusive"),
        # in the middle of the band, but noise makes the interval far wider than it
        ((80.0, 88.0, 84.0), "84.0", 1.0, "inconclusive"),
        ((84.0,), "83.9", 1.0, "inconclusive"),
        ((84.0, 84.0), "83.9", 1.0, "reproduced"),
    ],
)
def test_verdict_of_a_value(book, values, paper_value, band, verdict):
    assert book.value("c", "s", of(*values), paper_value, band).verdict == verdict


def test_a_paper_and_a_band_are_checked(book):
    with pytest.raises(ValueError, match=r"found -0\.06: turn the sides round"):
        book.difference("c", "s", of(1.0, 2.0), of(0.0, 1.0), "-0.06")
    with pytest.raises(ValueError, match=r"must be in percent, found 0\.839"):
        book.value("c", "s", of(84.0, unit="%"), "0.839", 1.0)
    for band in (0, -1, math.nan):
        with pytest.raises(ValueError, match="band must be positive"):
            book.value("c", "s", of(84.0), "83.9", band)


@pytest.mark.parametrize(
    ("gaps", "paper_value", "verdict"),
    [
        ((4.9, 5.0, 5.1), None, "reproduced"),  # an order: above zero is all that was said
        ((4.9, 5.0, 5.1), "9.9", "reproduced"),
        ((4.9, 5.0, 5.1), "10.1", "direction only"),  # less than half
        ((0.0005, 0.0006, 0.0007), "0.099", "direction only"),
        ((-1.0, 5.0, 0.1), "1.0", "inconclusive"),
        ((-4.9, -5.0, -5.1), "1.0", "contradicted"),
        ((5.0,), "5.0", "inconclusive"),
    ],
)
def test_verdict_of_a_difference(book, gaps, paper_value, verdict):
    found = book.difference("c", "s", of(*gaps), of(*[0.0] * len(gaps)), paper_value)
    assert found.verdict == verdict
    turned = book.difference("t", "s", of(*[0.0] * len(gaps)), of(*gaps), paper_value, lower_is_better=True)
    assert (turned.ours, turned.verdict) == (found.ours, verdict)


def test_a_difference_is_the_paired_t_interval(book):
    rng = np.random.default_rng(1)
    first, second = rng.normal(1, 1, 8), rng.normal(0, 1, 8)
    found = book.difference("c", "s", of(*first), of(*second))
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-5)
    assert (found.seeds, found.ours) == (8, pytest.approx((first - second).mean(), rel=1e-5))


def test_verdicts_of_facts_of_reconstructions_and_of_what_was_not_run(book):
    assert book.fact("fact", "s", 5.5503, "5.6", band=0.05).verdict == "reproduced"
    assert book.fact("other", "s", 19, "20").verdict == "contradicted"
    ours = {"origin": "reconstruction"}
    assert book.difference("at best", "s", of(5.0, 5.1), of(0.0, 0.0), **ours).verdict == "holds on our reconstruction"
    assert book.difference("at worst", "s", of(-5.0, -5.1), of(0.0, 0.0), **ours).verdict == "contradicted"
    assert book.value("a", "s", of(84.0, 84.1), "84", 3, needs="paper").verdict == "not run at paper scale"
    assert book.value("b", "s", of(84.0, 84.1, scale="paper"), "84", 3, needs="paper").verdict == "reproduced"
    empty = book.difference("c", "s", Sample({}, ""), of(1.0))
    assert (empty.verdict, empty.ours, empty.seeds) == ("not run at paper scale", None, 0)


def test_a_statement_in_parts_holds_when_every_part_does(book):
    gaps = {"up": (5.0, 5.1), "small": (0.1, 0.11), "flat": (-1.0, 1.0), "down": (-5.0, -5.1)}
    parts = {name: book.difference(name, "s", of(*gap), of(0.0, 0.0), "5") for name, gap in gaps.items()}
    verdicts = {
        "reproduced": ["up"],
        "direction only": ["up", "small"],
        "inconclusive": ["up", "small", "flat"],
        "contradicted": ["up", "down", "flat"],
    }
    for verdict, names in verdicts.items():
        found = book.every(f"all-{verdict}", "s", [parts[name] for name in names])
        assert (found.verdict, found.ours, found.paper_value) == (verdict, 1.0, str(len(names)))
        assert found.parts == tuple(f"10-{name}" for name in names)
    small = [book.difference(f"small-{n}", "s", of(5.0, 5.1), of(0.0, 0.0), needs="paper") for n in range(2)]
    unjudged = book.every("unjudged", "s", small)
    assert (unjudged.ours, unjudged.shown, unjudged.verdict) == (None, "–", "not run at paper scale")
    assert book.every("some", "s", [*small, parts["up"]]).shown == "1"
    with pytest.raises(ValueError, match="needs parts"):
        book.every("none", "s", [])


def test_beyond_chance_is_a_prediction_interval():
    chance = of(1.0, 2.0, 3.0, 4.0)
    excess, low, high = claims.beyond_chance(7.0, chance)
    half = stats.t.ppf(0.975, 3) * np.std([1, 2, 3, 4], ddof=1) * math.sqrt(1 + 1 / 4)
    assert (excess, low, high) == pytest.approx((4.5, 4.5 - half, 4.5 + half))
    with pytest.raises(ValueError, match="needs simulations"):
        claims.beyond_chance(1.0, Sample({}, "quick"))


# ---------------------------------------------------------------------------------------------- books, files, rows


def test_ids_begin_with_the_notebook_and_are_unique(book):
    assert book.fact("a", "s", 1, "1").id == "10-a"
    with pytest.raises(ValueError, match=r"two claims of 10_toy are called '10-a'"):
        book.fact("a", "another", 1, "1")
    with pytest.raises(ValueError, match=r"expected one of paper number.*found 'paper'"):
        book.fact("b", "s", 1, "1", origin="paper")


def test_save_and_load_give_the_claims_back(book, figures):
    book.value("a", "s", of(84.0, 84.1, unit="%"), "84.10", 3)
    book.every("b", "s", book.claims, headline=True)
    book.save()
    path = figures / "10_toy" / "claims.json"
    assert load(figures) == {claim.id: claim for claim in book.claims}
    text = path.read_text()
    wrong = {
        text.replace("reproduced", "proved"): "has the verdict 'proved'; expected one of reproduced",
        text.replace("paper number", "hearsay"): "has the origin 'hearsay'; expected one of paper number",
        text.replace("10-b", "10-a"): "the id '10-a' is taken by another claim",
        text.replace("notebook", "place"): "is no list of claims: TypeError",
        text[:-9]: "is no list of claims: JSONDecodeError",
    }
    for found, message in wrong.items():
        path.write_text(found)
        with pytest.raises(ValueError, match=rf"claims\.json:? {message}"):
            load(figures)


def test_a_claim_is_made_again_from_its_rows(book):
    rows = [row("a", s, test_acc_last=0.8 + s / 100, test_acc_best=0.9) for s in range(3)]
    rows += [row("b", s, test_acc_last=0.7, test_acc_best=0.8) for s in range(3)]
    book = Book("10_toy", rows)
    fall = book.of("b", "test_acc_best") - book.of("b")
    cases = [
        book.value("value", "s", book.of("a"), "81", 2),
        book.ahead("ahead", "s", "a", "b", "30"),
        book.difference("fall", "s", claims.constant(20, fall), fall),
        book.difference("mean", "s", claims.mean([book.of("a"), book.of("b")]), book.of("b"), lower_is_better=True),
    ]
    cases.append(book.every("every", "s", cases))
    by_key, known = {r["key"]: r for r in rows}, {claim.id: claim for claim in cases}
    for claim in cases:
        assert claim.keys
        assert claims.recompute(dataclasses.replace(claim, ours=99.0, shown="", verdict="inconclusive"), by_key, known) == claim
    fact = book.fact("fact", "s", 1, "1")
    assert claims.recompute(dataclasses.replace(fact, verdict=""), by_key, known) == fact
    without = {key: r | {"metrics": {}} for key, r in by_key.items()}  # what the notebook took from a row's history
    assert claims.recompute(cases[0], without, known) == cases[0]


def test_every_method_beats_the_vote_on_our_own_simulation():
    """Notebook 91's crowds are ours and no paper claims anything about them, so this is a test and no claim."""
    keys = {config.key() for config in protocols.grid("91_all_methods_embedded", "quick", range(5))}
    rows = [row for row in ledger.reference_rows("all_methods") if row["key"] in keys]
    table = frame(rows)
    names = {name for name in methods.names() if methods.info(name).family not in ("bound", "aggregated")} & set(
        table["method"]
    )
    assert len(names) > 10
    for case in ("independent", "correlated"):
        vote = claims.sample(table, "test_acc_last", method="majority-vote", case=case)
        for name in names:
            gap = claims.sample(table, "test_acc_last", method=name, case=case) - vote
            assert gap.mean > 5, (name, case)


# ---------------------------------------------------------------------------------------------- over test items too


RIGHT = {"a": [[1, 1, 1, 0, 1], [1, 1, 0, 1, 1]], "b": [[1, 0, 1, 0, 0], [1, 0, 0, 1, 1]]}  # [seeds, test items]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two methods, two seeds each, in a ledger of their own with what they got right."""
    monkeypatch.setenv("CROWDS_RUNS", str(tmp_path))
    monkeypatch.setenv("CROWDS_LEDGER", "own")
    made = []
    for method, by_seed in RIGHT.items():
        for seed, right in enumerate(by_seed):
            rest = {"seconds": 1.0, "provenance": {}, "arrays": {"correct_last": np.packbits(right)}}
            made.append(ledger.write(row(method, seed, test_acc_last=sum(right) / len(right)) | rest))
    return made


def test_intervals_are_over_seeds_and_items_where_runs_kept_what_they_got_right(runs):
    book = Book("10_toy", runs)
    claim = book.ahead("above", "s", "a", "b")
    gaps = 100 * (np.array(RIGHT["a"]) - np.array(RIGHT["b"]))

    def half(numbers):
        means = numbers.mean(axis=1), numbers.mean(axis=0)
        return math.hypot(*(stats.t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / math.sqrt(len(v)) for v in means))

    assert claim.over == "seeds and test items"
    assert claim.ours == pytest.approx(gaps.mean())
    assert claim.high - claim.ours == pytest.approx(half(gaps), rel=1e-5)
    assert claims.recompute(claim, {entry["key"]: entry for entry in runs}, {}) == claim
    assert repr(book.table()).startswith("intervals over seeds and test items")
    above = book.difference("constant", "s", book.of("a"), claims.constant(50, book.of("a")))
    assert (above.high - above.low, above.over) == (pytest.approx(2 * half(100 * np.array(RIGHT["a"])), rel=1e-5), claim.over)
    assert claims.recompute(above, {entry["key"]: entry for entry in runs}, {}) == above


def test_a_run_without_its_items_leaves_the_interval_to_the_seeds(runs):
    del runs[0]["arrays"]
    ledger.write(runs[0])
    assert Book("10_toy", runs).ahead("above", "s", "a", "b").over == "seeds"


def test_filling_bits_are_no_items(runs):
    assert samples.per_item(runs[0], "test_acc_last").tolist() == RIGHT["a"][0]
    assert samples.per_item(runs[0], "test_acc_best") is None


# ---------------------------------------------------------------------------------------------- many claims, readers


def test_holm_by_hand(book):
    # p of two seeds: 2 * P(T_1 > mean / half * t); the sizes give p of about .002, .02 and .06
    spread = {"a": 0.003, "b": 0.03, "c": 0.09}
    tests = {name: stats.ttest_1samp([1 - s, 1 + s], 0).pvalue for name, s in spread.items()}
    for name, s in spread.items():
        book.difference(name, "s", of(1 - s, 1 + s), of(0.0, 0.0), headline=True)
    assert tests["a"] < 0.05 / 3
    assert tests["b"] < 0.05 / 2
    assert tests["c"] > 0.05
    counted = book.fact("fact", "s", 1, "1")
    book.every("all", "s", [counted], headline=True)
    assert claims.holm(book.claims) == {"10-a": True, "10-b": True, "10-c": False}  # nothing is tested of a fact
    assert claims.holm([dataclasses.replace(claim, headline=False) for claim in book.claims]) == {}


def test_prose_takes_its_numbers_from_claims(book):
    claim = book.value("a", "s", of(84.04, 84.16, unit="%"), "84.10", 3)
    known, shown = {claim.id: claim}, claims.shown(claim)
    assert shown.startswith("84.1 [")
    text = claims.filled("{10-a:ours} here, {10-a:paper} there: {10-a}.", known)
    assert text == f"84.1 % here, 84.10 % there: {shown} %."
    with pytest.raises(ValueError, match="asks for 'theirs' of a claim; there are ours, paper"):
        claims.filled("{10-a:theirs}", known)
    prose = book.prose("\n**Held.** {10-a:ours}\n")
    assert prose._repr_markdown_() == repr(prose) == "**Held.** 84.1 %"


def test_a_table_opens_the_headlines_and_folds_the_rest(book):
    book.value("a", "MW's accuracy", of(84.0, 84.1, unit="%"), "84.10", 3, headline=True)
    book.difference("b", "MW is above MV", of(5.0, 6.0, unit="%"), of(1.0, 1.0, unit="%"))
    shown = book.table()
    assert "84.10" in repr(shown)
    assert repr(shown).startswith("intervals over seeds; origin: paper number: Table 1; seeds: 2; scale: quick")
    html = shown._repr_html_()
    assert "<details><summary>1 more claim (paper number: 1 inconclusive)</summary>" in html
    assert html.index("MW's accuracy") < html.index("<details>") < html.index("MW is above MV")
    book.fact("c", "as many items", 3, "3", origin="ours")
    words = "2 more claims (paper number: 1 inconclusive; ours: 1 reproduced)"
    assert f"<summary>{words}</summary>" in book.table()._repr_html_()
