"""The benchmarks run at tiny sizes, both sides find the same, and what is measured is written. No test looks at a time."""

import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks import bench, figure, peers
from tests.benchmarks.figure import draw_all
from tests.benchmarks.questions import OWN, QUESTIONS, Case, simulated

SIZES = {"what", "size", "size_unit", "peer", "status", "ours_seconds", "peer_seconds", "ratio", "ratio_low", "ratio_high"}
ABOUT = {"load", "idle", "date", "machine", "threads", "python", "numpy", "torch", "ours_version", "peer_version"}


@pytest.fixture(scope="module")
def sides():
    with peers.Sides(limit=60.0) as started:
        yield started


@pytest.fixture
def only_ours(monkeypatch, tmp_path):
    """No peer but those of our own environment."""
    for name in list(os.environ):
        if name.startswith("BENCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CROWDS_BUILD", str(tmp_path / "build"))


@pytest.mark.parametrize("question", [*QUESTIONS, *OWN])
def test_each_question_runs_and_both_sides_agree(question, sides, only_ours, monkeypatch):
    monkeypatch.setattr(bench, "REPEATS", 1)
    rows = [bench.measure(case, sides) for case in (QUESTIONS | OWN)[question](True)]
    table = pd.DataFrame(rows)
    assert set(table) >= SIZES | ABOUT
    assert not table.duplicated(bench.KEY).any()
    assert (table["ours_seconds"] > 0).all(), table["status"].tolist()
    compared = table[table["ratio"].notna()]
    np.testing.assert_allclose(
        compared["ratio"].astype(float), (compared["peer_seconds"] / compared["ours_seconds"]).astype(float)
    )
    assert (compared["equal"].dropna() == True).all(), compared[["what", "peer", "difference"]]  # noqa: E712, they are objects
    beside = table[table["peer"].isin(["crowd-kit", ""]) | table["peer_version"].notna()]
    assert (beside["status"] == bench.MEASURED).all(), beside["status"].tolist()
    elsewhere = table.drop(beside.index)
    assert elsewhere["status"].str.startswith("not installed: set BENCH_").all()
    assert elsewhere["peer_seconds"].isna().all()


def test_a_difference_is_told(tmp_path, capsys, monkeypatch):
    one, five = {"iterations": 1}, {"iterations": 5}
    data = partial(simulated, 30, 12)
    case = Case("Dawid-Skene", 150, "labels", "dawid_skene", data, one, peers.OURS, "more", five, tolerance=1e-6)
    monkeypatch.setattr(bench, "QUESTIONS", {"one": lambda smoke: iter([case])})
    monkeypatch.setattr(bench, "OWN", {})
    assert bench.main(["--out", str(tmp_path / "benchmarks")]) == 1
    (row,) = pd.read_csv(tmp_path / "benchmarks" / "one.csv").to_dict("records")
    assert row["equal"] is False
    assert row["repeats"] == bench.REPEATS
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert "DIFFERENT by" in capsys.readouterr().out


@pytest.mark.parametrize("named", ["/no/such/python", ""])
def test_a_peer_that_is_not_there_is_a_row_that_says_so(named, sides, only_ours, monkeypatch):
    if named:
        monkeypatch.setenv("BENCH_MAML", named)
    case = next(case for case in QUESTIONS["annotators"](True) if case.peer == "maml")
    row = bench.measure(case, sides)
    assert row["status"].startswith("not installed: ")
    assert ("BENCH_MAML names /no/such/python" if named else "set BENCH_MAML to") in row["status"]
    assert (row["peer_seconds"], row["ratio"], row["equal"]) == (None, None, None)
    assert row["ours_seconds"] > 0


def test_a_python_without_the_package_is_named(sides, only_ours, monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_MAML", sys.executable)
    monkeypatch.setenv("BENCH_MAML_CHECKOUT", str(tmp_path))
    case = next(case for case in QUESTIONS["annotators"](True) if case.peer == "maml")
    assert "not installed: No module named" in bench.measure(case, sides)["status"]
    sides.get("maml").close()


def test_a_run_that_takes_too_long_is_stopped(sides):
    case = Case("nothing", 1, "tasks", "nothing", lambda: {"x": np.zeros(1)}, peer=peers.OURS, compared="nothing")
    row = bench.measure(case, sides)
    assert row["ours_seconds"] >= 0.1
    sides.get(peers.OURS, 1).limit = 0.01
    row = bench.measure(case, sides)
    assert row["status"] == "stopped: more than 0 s"
    assert row["ratio"] is None
    assert bench.measure(case, sides)["status"] == bench.MEASURED  # another process


# ------------------------------------------------------------------ the command, with rows that nobody measured


def made_up(case: Case, sides, **changes) -> dict:
    row = dict.fromkeys([*SIZES, "ours_mb", "peer_mb", "limit_seconds", "limit_mb", "equal", "difference"])
    row |= {"what": case.what, "size": case.size, "size_unit": case.size_unit, "peer": peers.PEERS.get(case.peer, "")}
    return row | {"status": bench.MEASURED, "ours_seconds": 2.0, "idle": True, "took": 3.0} | changes


@pytest.fixture
def two_questions(monkeypatch):
    cases = [Case(what, 10, "labels", "nothing", dict, peer=peer) for what, peer in (("a", ""), ("b", "crowdkit"))]
    monkeypatch.setattr(bench, "QUESTIONS", dict.fromkeys(("ccc", "training"), lambda smoke: iter(cases)))
    monkeypatch.setattr(bench, "OWN", {})
    monkeypatch.setattr(figure, "draw_all", lambda folder: [])  # takes longer than the rest


def test_smoke_writes_apart_and_each_row_at_once(two_questions, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CROWDS_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path / "figures"))
    file = tmp_path / "build" / "benchmarks" / "ccc.csv"
    seen = []

    def measured(case, sides, load):
        seen.append(len(pd.read_csv(file)) if file.is_file() else 0)
        return made_up(case, sides)

    assert bench.main(["--smoke", "--only", "ccc"], measured) == 0
    assert seen == [0, 1]
    assert pd.read_csv(file)["what"].tolist() == ["a", "b"]
    assert not (tmp_path / "figures").exists()
    assert "[2/2, about 0 min left] ccc: b, 10 labels beside crowd-kit" in capsys.readouterr().out


def test_resume_leaves_out_what_an_idle_machine_has_measured(two_questions, tmp_path):
    asked = []

    def measured(case, sides, load):
        asked.append(case.what)
        return made_up(case, sides, idle=case.what != "b")

    arguments = ["--only", "ccc", "--out", str(tmp_path / "benchmarks")]
    bench.main(arguments, measured)
    bench.main([*arguments, "--resume"], measured)
    assert asked == ["a", "b", "b"]
    assert len(pd.read_csv(tmp_path / "benchmarks" / "ccc.csv")) == 2


def test_nothing_is_started_after_the_budget(two_questions, tmp_path, capsys):
    def measured(case, sides, load):
        time.sleep(0.05)
        return made_up(case, sides)

    bench.main(["--out", str(tmp_path / "benchmarks"), "--budget", "0.01s"], measured)
    assert "the time is up: 3 rows are left, go on with --resume" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "benchmarks" / "ccc.csv")) == 1


def test_figures_show_what_is_there(two_questions, tmp_path):
    folder = tmp_path / "benchmarks"

    def measured(case, sides, load):
        ratio = {"ratio": 3.0, "ratio_low": 2.5, "ratio_high": 4.0, "peer_seconds": 6.0} if case.peer else {}
        return made_up(case, sides, **ratio, ours_mb=5.0)

    bench.main(["--out", str(folder)], measured)
    assert draw_all(folder) == [folder / "benchmarks.png"]
    assert (folder / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    drawn = pd.read_csv(folder / "benchmarks.csv")
    assert sorted(drawn["question"]) == ["ccc", "ccc", "training", "training"]
    assert (folder / "benchmarks.alt.txt").read_text()


def test_wrong_names_and_times_are_named(capsys):
    wrong = {"--only": ("trainning", "did you mean 'training'"), "--budget": ("soon", "such as 90s, 9m or 1h")}
    for option, (value, words) in wrong.items():
        with pytest.raises(SystemExit) as caught:
            bench.main([option, value])
        assert caught.value.code == 2
        assert words in capsys.readouterr().err


def test_peers_run_in_the_environments_that_are_named(only_ours, monkeypatch, tmp_path):
    assert peers.python_of("crowdkit")[0] == Path(sys.executable)
    folder = tmp_path / "environment"
    python = peers._in(folder)
    python.parent.mkdir(parents=True)
    python.touch()
    monkeypatch.setenv("BENCH_PEERANNOT", str(folder))
    assert peers.python_of("peerannot") == (python, "")
    with pytest.raises(peers.Missing, match="set BENCH_CCC_CHECKOUT to a checkout of Hansong-Zhang/CCC"):
        peers.python_of("ccc")
