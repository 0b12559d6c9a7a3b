"""Tables: rows in, summaries, the papers' numbers beside them, files and ranks."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import paths
from lib.results import papers, ranking, tables
from lib.results.rows import RUN, frame, missing, save_table, show_source, summary
from lib.runs.config import RunConfig
from tests.results.conftest import row

NAMES = {"majority-vote": "DL-MV", "crowdlayer-mw": "DL-CL (MW)", "true-labels": "DL-TRUE"}


def config(method="majority-vote", seed=0):
    return RunConfig("made_up", "labelme", method, case="real", seed=seed)


@pytest.fixture
def printed_numbers(tmp_path, monkeypatch):
    text = """paper,result_id,dataset,case,method,metric,mean,std,source
First (A et al. 2018),Table 1,LabelMe,real,DL-MV,test_acc,0.772,,text
First (A et al. 2018),Table 1,LabelMe,real,DL-CL (MW),test_acc,0.839,,text
First (A et al. 2018),Table 1,LabelMe,real,DL-TRUE,test_acc,0.912,,text
First (A et al. 2018),old,LabelMe,real,DL-MV,test_acc,0.764,,text
Second (B et al. 2024),Table 2,LabelMe,real,MajorVote,test_acc_last_pct,77.19,1.18,text
Second (B et al. 2024),Table 2,CIFAR-10N,IND-I,MajorVote,test_acc_best_pct,81.08,0.05,text
"""
    path = tmp_path / "paper_results.csv"
    path.write_text(text)
    monkeypatch.setattr(paths, "PAPER_RESULTS", path)


def made_up_rows():
    values = {"majority-vote": [0.78, 0.80, 0.79], "crowdlayer-mw": [0.84, 0.85]}
    return [row(method, seed, test_acc_last=x) for method, numbers in values.items() for seed, x in enumerate(numbers)]


# ---------------------------------------------------------------------------------------------- frame, summary, missing


def test_frame_has_one_line_a_run_and_a_metric_that_the_run_defines():
    rows = [row(seed=3, options={"n": 300}, test_acc_last=0.8, label_acc=0.9), None]
    rows += [row(seed=4, options={"n": 50}, test_acc_last=0.7, confusion_error=None, label_acc=math.nan)]
    found = frame(rows, n="dataset_options.n", case=lambda config: f"seed {config['seed']}")
    assert list(found.columns) == [*RUN, "n", "metric", "value", "seed", "scale", "key"]
    assert found[["case", "n", "metric", "value", "seed"]].to_numpy().tolist() == [
        ["seed 3", 300, "test_acc_last", 0.8, 3],
        ["seed 3", 300, "label_acc", 0.9, 3],
        ["seed 4", 50, "test_acc_last", 0.7, 4],
    ]


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([row(test_acc_last=0.5)], {"n": "dataset_options.n_labels"}, "no 'dataset_options.n_labels': KeyError"),
        ([row(test_acc_last=0.5)], {"n": "seed.deeper"}, "no 'seed.deeper': TypeError"),
        ([row(test_acc_last=0.5)], {"metric": "seed"}, "cannot be named 'metric'"),
    ],
)
def test_frame_names_what_is_wrong(rows, columns, message):
    with pytest.raises(ValueError, match=message):
        frame(rows, **columns)


def test_summary_by_hand():
    found = summary([*made_up_rows(), row(scale="paper", test_acc_last=0.9)])
    assert list(found.columns) == ["dataset", "case", "method", "metric", "scale", "mean", "std", "n_seeds"]
    assert found[["method", "scale", "n_seeds"]].to_numpy().tolist() == [
        ["majority-vote", "quick", 3],
        ["crowdlayer-mw", "quick", 2],
        ["majority-vote", "paper", 1],
    ]
    np.testing.assert_allclose(found["mean"], [0.79, 0.845, 0.9])
    np.testing.assert_allclose(found["std"], [0.01, math.sqrt(2) * 0.005, math.nan])  # n - 1 in the denominator


def test_summary_keeps_the_order_of_rows_and_of_the_wanted_metrics():
    rows = [row("b", 0, a=1.0, z=2.0), row("a", 0, z=3.0, a=4.0)]
    found = summary(rows, ["z", "a"])
    assert found[["method", "metric", "mean"]].to_numpy().tolist() == [
        ["b", "z", 2.0], ["b", "a", 1.0], ["a", "z", 3.0], ["a", "a", 4.0],
    ]  # fmt: skip


def test_summary_refuses_to_average_over_different_settings():
    rows = [row(options={"n_labels": n}, test_acc_last=0.5) for n in (300, 1000)]
    with pytest.raises(ValueError, match=r"two values for dataset 'labelme'.*seed 0.*different names"):
        summary(rows)
    named = frame(rows, n_labels="dataset_options.n_labels")
    assert len(summary(named)) == 2
    with pytest.raises(ValueError, match="this table has n_labels too"):
        summary(named, expected=[config()])
    with pytest.raises(ValueError, match="no row has the metric 'test_f1'; found: test_acc_last"):
        summary(rows, ["test_f1"])


def test_summary_shows_what_was_expected_and_not_run():
    wanted = [config(method, seed) for method in ("majority-vote", "dl-em") for seed in (0, 1)]
    found = summary(made_up_rows(), ["test_acc_last"], expected=wanted)
    last = found.iloc[-1]
    assert (len(found), last["method"], last["scale"], last["n_seeds"]) == (3, "dl-em", "quick", 0)
    assert math.isnan(last["mean"])
    found = summary([], ["test_acc_last"], expected=wanted[:1])
    assert tables.show(found).to_numpy().tolist() == [["LabelMe", "Majority vote", "quick", "–"]]
    assert summary([]).empty


def test_missing_lists_seeds():
    wanted = [config(seed=seed) for seed in range(5)]
    rows = [{"key": wanted[seed].key()} for seed in (0, 2)]
    assert missing(wanted, [*rows, None]).to_dict("records") == [
        {"dataset": "labelme", "case": "real", "method": "majority-vote", "scale": "quick", "missing seeds": "1, 3, 4"}
    ]
    assert repr(missing(wanted[:1], rows)) == "(an empty table)"


# ---------------------------------------------------------------------------------------------- the papers' numbers


def test_paper_reads_the_committed_numbers():
    found = papers.paper("CCC", result_id="Table 2", dataset="music", metric="test_acc_last_pct", method=["CCC"])
    assert found[["mean", "std"]].to_numpy().tolist() == [[72.89, 0.68]]


@pytest.mark.usefixtures("printed_numbers")
def test_paper_is_not_particular_about_case_and_hyphens():
    assert papers.paper("second", dataset="cifar10n", case="ind-i")["mean"].tolist() == [81.08]
    assert len(papers.paper("First", result_id=["Table 1", "old"])) == 4


@pytest.mark.usefixtures("printed_numbers")
@pytest.mark.parametrize(
    ("paper", "where", "message"),
    [
        ("Third", {}, r"no paper 'Third' here; they have 'First \(A et al. 2018\)', 'Second"),
        ("First", {"dataset": "music"}, "no dataset 'music' here; they have 'LabelMe'"),
        ("First", {"epoch": "3"}, "cannot be chosen by 'epoch'"),
    ],
)
def test_paper_names_what_there_is(paper, where, message):
    with pytest.raises(ValueError, match=message):
        papers.paper(paper, **where)


@pytest.mark.usefixtures("printed_numbers")
def test_printed_is_one_number_as_shown():
    assert papers.printed("First", result_id="Table 1", method="DL-TRUE") == "91.2"
    assert papers.printed("Second", dataset="LabelMe") == "77.19"
    assert papers.less("77.19", "77.2") == "-0.01"
    with pytest.raises(ValueError, match=r"expected one printed number, found 2: Table 1, LabelMe, real, DL-MV"):
        papers.printed("First", method="DL-MV")


@pytest.mark.usefixtures("printed_numbers")
def test_beside_brings_percent_to_fractions_and_leaves_blank_what_the_paper_does_not_have():
    theirs = papers.paper("Second", dataset="labelme")
    ours = summary([row(test_acc_last=0.8, label_acc=0.7), row("other", test_acc_last=0.6)])
    found = papers.beside(ours, theirs, {"majority-vote": "MajorVote"})
    np.testing.assert_allclose(found[["paper_mean", "paper_std"]], [[0.7719, 0.0118], [math.nan] * 2, [math.nan] * 2])
    assert found["paper"].fillna("").tolist() == ["77.19 ± 1.18", "", ""]


@pytest.mark.usefixtures("printed_numbers")
def test_beside_takes_other_names_of_data_and_case():
    ours = summary([row(dataset="tiny", case="first", test_acc_best=0.8)])
    other = {"datasets": {"tiny": "CIFAR-10N"}, "cases": {"first": "IND-I"}}
    found = papers.beside(ours, papers.paper("Second", dataset="cifar10n"), {"majority-vote": "MajorVote"}, **other)
    assert found["paper_mean"].tolist() == pytest.approx([0.8108])


@pytest.mark.usefixtures("printed_numbers")
def test_beside_refuses_ambiguity_and_unknown_names():
    ours, metrics = summary(made_up_rows()), {"test_acc_last": "test_acc"}
    with pytest.raises(ValueError, match="two numbers for"):
        papers.beside(ours, papers.paper("First"), NAMES, metrics)
    with pytest.raises(ValueError, match="no method 'DL-XX'; it has: DL-MV, DL-CL"):
        papers.beside(ours, papers.paper("First"), {"majority-vote": "DL-XX"}, metrics)


# ---------------------------------------------------------------------------------------------- what is shown and saved


@pytest.mark.usefixtures("printed_numbers")
def test_a_table_is_shown_and_saved_with_the_papers_numbers_beside_ours(figures):
    theirs = papers.paper("First", result_id="Table 1")
    table = papers.beside(summary(made_up_rows()), theirs, NAMES, {"test_acc_last": "test_acc"})
    titles = {"majority-vote": "Vote", "crowdlayer-mw": "Layer", "true-labels": "Truth", "test_acc_last": "accuracy (%)"}
    found = tables.show(table, titles=titles)
    assert list(found.columns) == ["method", "accuracy (%)", "paper: accuracy (%)"]
    assert found.caption == "data: LabelMe; scale: quick"
    assert found.to_numpy().tolist() == [
        ["Vote", "79.0 ± 1.0 (3)", "77.2"],
        ["Layer", "84.5 ± 0.7 (2)", "83.9"],
        ["Truth", "–", "91.2"],  # the paper has it, we did not run it
    ]
    save_table("10_made_up", table)
    lines = (figures / "10_made_up" / "table.csv").read_text().splitlines()
    assert lines[0] == "dataset,case,method,metric,mean,std,n_seeds,scale,paper_mean,paper_std,paper"
    assert lines[1] == "labelme,real,majority-vote,test_acc_last,0.79,0.01,3,quick,0.772,,77.2"
    assert lines[3] == "labelme,real,true-labels,test_acc_last,,,0,quick,0.912,,91.2"
    assert "79.0 ± 1.0 (3) | 77.2 |" in (figures / "10_made_up" / "table.md").read_text()


def test_show_keeps_other_units_and_cases_that_matter():
    rows = [row(case=case, confusion_error=0.1234) for case in ("real", "IND-I")]
    found = tables.show(summary(rows))
    assert list(found["case"]) == ["as published", "IND-I"]
    assert found.iloc[0, -1] == "0.123 (1)"
    assert "paper" not in " ".join(found.columns)


def test_save_table_has_empty_columns_without_a_paper_and_refuses_others(figures):
    save_table("10_made_up", summary([row(test_acc_last=0.5)]))
    assert pd.read_csv(figures / "10_made_up" / "table.csv")["paper_mean"].isna().all()
    table = summary(frame([row(options={"n": 3}, test_acc_last=0.5)], n="dataset_options.n"))
    with pytest.raises(ValueError, match=r"found .*\bn\b.*Put what separates the lines into 'case'"):
        save_table("20_made_up", table)
    assert not (figures / "20_made_up").exists()


def test_a_table_is_whole_plain_and_safe():
    table = tables.Table({"claim": ["a < b " * 40], "n": ["1"]})
    assert "..." not in table._repr_html_()
    assert "a &lt; b" in table._repr_html_()
    with pd.option_context("display.width", 20, "display.max_columns", 1):
        assert "a < b " * 39 in repr(table)
        assert "n" in repr(table).splitlines()[0].split()
    assert tables.markdown(pd.DataFrame({"a|b": ["x\ny", "p|q"], "n": ["1", "–"]})) == (
        "| a\\|b | n |\n| --- | ---: |\n| x y | 1 |\n| p\\|q | – |\n"
    )


def test_a_table_refuses_an_index_or_a_heading_that_readers_would_miss():
    with pytest.raises(ValueError, match=r"shows no index, and this one has a, b, \.\.\.: make it a column"):
        tables.Table(pd.DataFrame({"n": [1, 2]}, index=["a", "b"]))
    with pytest.raises(ValueError, match="shows no index"):
        tables.Table(pd.DataFrame({"n": [1]}, index=pd.Index([0], name="seed")))
    with pytest.raises(ValueError, match="column 0 of the table has no name"):
        tables.Table([["a", 1]], columns=["", "n"])
    assert len(tables.Table(pd.DataFrame({"n": [1, 2, 3]}).iloc[1:])) == 2  # numbers of lines are nobody's names


def test_text_stands_left_and_numbers_right():
    cells = {"method": ["MV", "CL"], "accuracy": ["84.1 ± 0.6 (3)", "–"], "gap": ["-1.2 [-3.0, 0.4]", "2.0"]}
    html = tables.Table(cells)._repr_html_()
    assert '<th scope="col" style="text-align:left">method</th>' in html
    assert '<td style="text-align:right">84.1 ± 0.6 (3)</td>' in html
    assert '<th scope="col" style="text-align:right">gap</th>' in html


def test_what_is_alike_in_all_lines_is_in_the_caption():
    table = tables.Table({"scale": ["quick", "quick"], "n": ["1", "2"]}).folded("scale", "n")
    assert (list(table.columns), table.caption) == (["n"], "scale: quick")
    assert repr(table).splitlines()[0] == "scale: quick"
    assert "<caption" in table._repr_html_()
    assert tables.markdown(table).startswith("scale: quick\n\n| n |\n| ---: |\n")
    assert list(tables.Table({"scale": ["quick"]}).folded("scale").columns) == ["scale"]


def test_facts_are_in_words():
    found = tables.facts({"A": {"valid_items": 500, "label_accuracy": 0.73976, "ratio": math.nan}, "B": {"valid_items": 0}})
    assert found.to_numpy().tolist() == [
        ["validation items", "500", "0"],
        ["share of right labels", "0.7398", "–"],
        ["ratio", "–", "–"],
    ]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    # The first three are one number, from memory and as table.csv and claims.json have it.
    [
        (87.6515, 3, "87.652"),
        (87.6514999, 3, "87.652"),
        (87.65150000001, 3, "87.652"),
        (87.65, 1, "87.7"),
        (-0.04, 1, "0.0"),
        (-0.06, 1, "-0.1"),
        (math.nan, 1, "–"),
        (None, 2, "–"),
    ],
)
def test_number(value, digits, text):
    assert tables.number(value, digits) == text


@pytest.mark.parametrize(
    ("ends", "digits", "text"),
    [
        ((6.44, 3.3, 9.5), 1, "6.4 [3.3, 9.5]"),
        ((-0.52, -1.03495, -0.00504615), 1, "-0.52 [-1.03, -0.01]"),
        ((-0.00224448, -0.00445184, -3.71181e-05), 3, "-0.00224 [-0.00445, -0.00004]"),
        ((1.23334, 0.0328982, 2.43378), 1, "1.23 [0.03, 2.43]"),
        ((0.015, -0.43, 0.46), 1, "0.0 [-0.4, 0.5]"),  # zero is inside, whatever the mean
        ((2.0, 0.0, 4.0), 1, "2.0 [0.0, 4.0]"),
        ((2.0, -1e-15, 4.0), 1, "2.0 [0.0, 4.0]"),
        ((2.0, math.nan, math.nan), 1, "2.0"),
        ((None, None, None), 1, "–"),
    ],
)
def test_an_interval_says_on_which_side_of_zero_it_lies(ends, digits, text):
    assert tables.spanned(*ends, digits) == text


@pytest.mark.parametrize(
    ("metric", "share"),
    [("test_acc_last", True), ("confusion_error", False), ("test_acc_last_pct", False), ("accept", False)],
)
def test_which_metrics_are_shares(metric, share):
    assert tables.is_share(metric) is share


def test_show_source_shows_the_code_and_no_path():
    code = show_source(tables.is_share, docstring=False)
    body = 'not metric.endswith("_pct") and not SHARES.isdisjoint(metric.split("_"))'
    assert code.data == f"def is_share(metric: str) -> bool:\n    return {body}"
    whole = show_source(tables.is_share)
    assert "Whether a metric is a share" in whole.data
    assert str(paths.ROOT) not in whole._repr_html_() + repr(whole)
    assert show_source(tables.Table.__repr__).data.startswith("def __repr__")  # indented in its class


# ---------------------------------------------------------------------------------------------- ranks


def ranked_rows(scores):
    """``scores[method][block]``; even blocks are LabelMe's, odd ones Music's."""
    return [
        row(method, seed=block // 2, dataset=("labelme", "music")[block % 2], test_acc_last=value)
        for method, values in scores.items()
        for block, value in enumerate(values)
    ]


def test_ranks_by_hand():
    scores = {"a": [0.9, 0.8, 0.7, 0.9], "b": [0.8, 0.8, 0.6, 0.5], "c": [0.1, 0.2, 0.9, 0.6]}
    found = ranking.ranks(ranked_rows(scores), "test_acc_last")
    # ranks in the four blocks: a 1, 1.5, 2, 1; b 2, 1.5, 3, 3; c 3, 3, 1, 2
    assert list(found.average.items()) == [("a", 1.375), ("c", 2.25), ("b", 2.375)]
    expected = stats.friedmanchisquare(*scores.values())
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.critical_difference == pytest.approx(2.343 * math.sqrt(3 * 4 / (6 * 4)), abs=1e-3)  # Demšar's table 5a
    assert len(found.blocks) == 4
    assert math.isnan(ranking.ranks(ranked_rows({"a": [0.9, 0.8], "b": [0.8, 0.9]}), "test_acc_last").p_value)  # of two methods


def test_ranks_leave_incomplete_blocks_out_and_refuse_two_values_in_one_place():
    rows = ranked_rows({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.7, 0.6], "c": [0.7, 0.6]})
    found = ranking.ranks(rows, "test_acc_last")
    assert len(found.blocks) == 2
    with pytest.raises(ValueError, match=r"3 methods and 3 blocks, 1 of them complete.*\{'c': 2\}"):
        ranking.ranks([r for r in rows if r["key"] != "labelme-real-c-quick-0"], "test_acc_last")
    with pytest.raises(ValueError, match=r"two values of 'a' in the block \['labelme', 'real', 'quick', 0\]"):
        ranking.ranks([*rows, rows[0]], "test_acc_last")


RAW = re.compile(r"[a-z0-9]+([-+_][a-z0-9]+)+")


@pytest.mark.parametrize("file", sorted((paths.ROOT / "figures").glob("*/table.csv")), ids=lambda file: file.parent.name[:2])
def test_no_committed_table_shows_a_raw_key(file):
    table = pd.read_csv(file, dtype={"paper": str}, keep_default_na=True).fillna({"case": ""})
    assert {name for name in table["metric"] if name.removesuffix("_pct") not in tables.METRICS} == set()
    assert {name for name in map(tables.method_title, table["method"]) if RAW.fullmatch(name)} <= {"cross-entropy"}
    assert {name for name in map(tables.dataset_title, table["dataset"]) if RAW.fullmatch(name)} == set()
