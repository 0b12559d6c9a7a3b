"""A pass over toy notebooks: what it trains, what it runs, and how it ends when something is missing or fails."""

import io
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import nbformat
import pytest

from lib import datasets, paths
from lib.reproduce import __main__ as reproduce
from lib.reproduce import execution, notebooks
from lib.results import minutes
from lib.runs import ledger, sweep
from lib.storage import write_atomically
from tests import toys
from tests.toys import PARAMETERS, READ, toy_config, toy_project, toy_row, write_notebook, write_reference


def unfinished():
    """The ledger folders of passes that are not complete."""
    return [folder for folder in (paths.runs() / "passes").glob("*") if folder.is_dir()]


# ---------------------------------------------------------------------- one pass, with kernels


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    """A pass over notebooks that end in all ways there are; ``.code``, ``.printed``, and what it left in ``.root``.

    The folder of the ledger is relative, which a kernel, at work in another folder, must not take for its own.
    """
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        project = toy_project(tmp_path_factory.mktemp("pass"), patch)
        patch.chdir(project.root)
        patch.setenv("CROWDS_RUNS", "my-runs")
        write_notebook("00_start", "print('hello')")
        write_notebook("10_one")
        write_notebook("11_two", READ.replace("{stem}", "11_two"), "1 / 0")
        write_notebook("12_dead", "import os\nos._exit(3)")
        write_notebook("13_killed", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
        (paths.figures("11_two")).mkdir(parents=True)
        (paths.figures("11_two") / "numbers.csv").write_text("before")
        write_reference([0, 1], 0.1)
        project.code = project.run()
    project.printed = out.getvalue()
    return project


def test_a_pass_trains_the_union_runs_the_notebooks_and_reports_drift(passed):
    assert sorted(passed.trained) == [0, 1]  # the reference has them, but a pass makes them anew; shared ones once
    assert "Scale quick, notebooks: 5, runs: 2, done before: 0" in passed.printed
    assert "Outside their tolerance: 1 of 1" in passed.printed  # told, and no failure
    assert (passed.root / "build" / "drift.csv").exists()
    executed = passed.root / "build" / "notebooks"
    assert nbformat.read(executed / "00_start.ipynb", 4).cells[-1].outputs[0].text == "hello\n"
    numbers = passed.root / "figures" / "10_one" / "numbers.csv"
    assert numbers.read_text() == "[0.8, 0.81]"  # fresh rows, not the reference


def test_a_notebook_that_fails_is_named_stops_no_other_and_leaves_its_figures(passed):
    assert passed.code == 1
    assert "Failed: 3\n" in passed.printed
    assert "  11_two: cell In [4] raised ZeroDivisionError: division by zero; what ran is in" in passed.printed
    partial = passed.root / "build" / "notebooks" / "11_two.partial.ipynb"
    assert str(partial) in passed.printed
    assert "2 rows [0, 1]" in partial.read_text()
    assert (passed.root / "figures" / "11_two" / "numbers.csv").read_text() == "before"
    assert "  12_dead: DeadKernelError" in passed.printed
    assert "  13_killed: the process that ran it was killed, or out of memory" in passed.printed
    complete = {"00_start.ipynb", "10_one.ipynb"}
    assert {path.name for path in partial.parent.glob("*.ipynb") if ".partial." not in path.name} == complete
    assert len(list((passed.root / "my-runs" / "passes").glob("*/toy"))) == 1  # the same command goes on: rows are still fresh


def test_scale_seeds_and_parameters_reach_grid_and_notebook(project):
    parameters = PARAMETERS + '\nword: str = "a"\ncount: int = 1'
    write_notebook("10_one", READ.replace("{stem}", "10_one"), "print(scale, device, word, count)", parameters=parameters)
    words = ["--scale", "smoke", "--seeds", "7", "8", "-p", "word=some words", "-p", "count=3"]
    assert project.run(*words) == 0
    assert sorted(project.trained) == [7, 8]
    executed = (paths.build() / "notebooks" / "10_one.ipynb").read_text(encoding="utf-8")
    assert "smoke cpu some words 3" in executed
    assert "2 rows [7, 8]" in executed
    # Smoke numbers mean nothing: they stay away from the committed figures.
    assert (paths.build() / "figures" / "10_one" / "numbers.csv").exists()
    assert not paths.figures().exists()
    assert unfinished() == []


def test_in_place_makes_the_committed_notebooks_from_reference_rows(project, capsys):
    write_notebook("10_one", READ.replace("{stem}", "10_one"), "print({'a', 'b'})\nprint(1)")
    before = write_notebook("11_two", READ.replace("{stem}", "11_two"), "raise SystemExit", "print('never')").read_bytes()
    write_reference([0, 1], 0.5)
    for seed in range(3):
        ledger.write(toy_row(toy_config(seed), 0.1))
    stale = paths.figures("10_one") / "old.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of a figure that is made no more")
    assert project.run("--in-place") == 1
    assert "Failed: 1\n  11_two: it ended before its last cell" in capsys.readouterr().out
    assert (paths.NOTEBOOKS / "11_two.ipynb").read_bytes() == before
    assert not paths.figures("11_two").exists()
    first = (paths.NOTEBOOKS / "10_one.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(first)
    assert notebooks.dumps(notebooks.normalize(notebook)) == first
    assert notebooks.is_complete(notebook)
    assert notebook["cells"][-2]["outputs"][0]["text"] == ["2 rows [0, 1]\n"]
    assert notebook["metadata"]["companion"]["reproduces"] == "Table of 10_one"
    assert (paths.figures("10_one") / "numbers.csv").read_text() == "[0.5, 0.5]"
    assert not stale.exists()
    assert project.trained == []
    assert project.run("--in-place", "--only", "10") == 0
    assert (paths.NOTEBOOKS / "10_one.ipynb").read_text(encoding="utf-8") == first


# ---------------------------------------------------------------------- with stubbed notebooks


def test_a_pass_writes_down_its_minutes_and_merge_takes_them_in(stubbed, capsys):
    for stem in ("00_start", "10_one", "11_two"):
        write_notebook(stem)
    assert stubbed.run() == 0
    took = {line.what: line for line in minutes.read(paths.build() / "minutes.csv")}
    assert set(took) == {"00_start", "10_one", "11_two", "make reproduce"}
    assert {(line.scale, line.processes) for line in took.values()} == {("quick", 1)}
    assert reproduce.main(["--merge", str(paths.build() / "minutes.csv")]) == 0
    assert "Measured minutes taken in: 4" in capsys.readouterr().out
    assert minutes.read() == sorted(took.values(), key=lambda line: line.what)


@pytest.mark.parametrize("words", [["--keep"], ["--seeds", "7"], ["--only", "10"]])
def test_only_a_pass_over_all_notebooks_is_measured_as_a_whole(stubbed, words):
    assert stubbed.run(*words) == 0
    took = [line.what for line in minutes.read(paths.build() / "minutes.csv")]
    assert took == (["10_one"] if words[0] == "--only" else [])


def test_a_notebook_takes_the_seconds_of_its_runs_shared_by_the_workers(stubbed, monkeypatch):
    monkeypatch.setattr(sweep, "train", lambda config, *_, **__: (toy_row(config) | {"seconds": 120.0}, None))
    assert stubbed.run() == 0
    took = {line.what: line.minutes for line in minutes.read(paths.build() / "minutes.csv")}
    assert took == {"10_one": 4.0, "make reproduce": 4.0}


def test_a_complete_pass_is_done_the_next_begins_anew(stubbed):
    for _ in range(2):
        stubbed.trained.clear()
        assert stubbed.run() == 0
        assert sorted(stubbed.trained) == [0, 1]
    assert stubbed.read == ["10_one", "10_one"]


def test_keep_trains_only_what_is_missing(stubbed):
    write_reference([0])
    for _ in range(2):
        assert stubbed.run("--keep") == 0
        assert stubbed.trained == [1]
    assert unfinished() == []


@pytest.mark.parametrize(("how", "code", "word"), [("SIGINT", 130, "Interrupted"), ("SIGTERM", 143, "Terminated")])
def test_a_pass_that_was_interrupted_goes_on_whatever_clocks_say(stubbed, capsys, monkeypatch, how, code, word):
    """Set back by years in the middle, or a worker's behind: it trains nothing twice. Its rows are the user's own at once."""
    write_reference([0, 1], 0.1)
    stubbed.interrupting.add(1)
    stubbed.signal = getattr(signal, how)
    assert stubbed.run() == code
    told = capsys.readouterr().err
    assert told == f"\n{word}. Finished runs are kept; to go on from here: python -m lib.reproduce --workers 1\n"
    assert [row["config"]["seed"] for row in ledger.own_rows("toy")] == [0]
    (spent,) = (paths.runs() / "passes").glob("*/seconds.txt")
    assert float(spent.read_text()) < 60
    spent.write_text("720.0")  # as if its runs had waited for data
    stubbed.interrupting.clear()
    monkeypatch.setattr(toys, "MADE", "1999-01-01T00:00:00+00:00")
    assert stubbed.run() == 0
    assert stubbed.trained == [0, 1]  # 0 from before, 1 from now
    assert "Going on with the unfinished pass in" in capsys.readouterr().out
    assert sorted(row["config"]["seed"] for row in ledger.own_rows("toy")) == [0, 1]
    assert unfinished() == []
    took = {line.what: line.minutes for line in minutes.read(paths.build() / minutes.NAME)}
    assert 12 <= took[minutes.EVERYTHING] < 13  # both parts together


def test_fresh_gives_an_interrupted_pass_up(stubbed):
    stubbed.interrupting.add(1)
    assert stubbed.run() == 130
    stubbed.interrupting.clear()
    assert stubbed.run("--fresh") == 0
    assert sorted(stubbed.trained) == [0, 0, 1]


def test_another_selection_is_another_pass(stubbed):
    write_notebook("11_two")
    stubbed.failing.add(1)
    assert stubbed.run("--only", "10") == 1
    assert len(unfinished()) == 1
    stubbed.failing.clear()
    assert stubbed.run() == 0
    assert sorted(stubbed.trained) == [0, 0, 1]
    assert len(unfinished()) == 1  # the first pass is unfinished still


def test_a_broken_row_of_an_unfinished_pass_is_trained_again(stubbed):
    stubbed.failing.add(1)
    assert stubbed.run() == 1
    (file,) = unfinished()[0].glob("toy/*.json")
    file.write_bytes(file.read_bytes().replace(b"0.8", b"0.9"))
    stubbed.failing.clear()
    assert stubbed.run() == 0
    assert stubbed.trained == [0, 0, 1]


def test_the_same_pass_twice_at_once_is_one_pass(project):
    """The second finds what the first has trained; the folder goes with the last of the two, and not before."""
    with execution.Pass({"scale": "quick"}) as first:
        ledger.write(toy_row(toy_config()), first.folder)
        with execution.Pass({"scale": "quick"}) as second:
            assert (second.folder, second.resumed, first.resumed) == (first.folder, True, False)
            second.complete = True
        assert first.folder.exists()
        with execution.Pass({"scale": "quick"}, begin_again=True) as third:  # not while somebody is at work there
            assert third.resumed
        first.complete = True
    assert unfinished() == []
    assert len(ledger.own_rows("toy")) == 1


def test_a_failing_run_is_named_and_only_its_notebooks_are_left_out(stubbed, capsys):
    write_notebook("00_start")
    stubbed.failing.add(1)
    assert stubbed.run() == 1
    printed = capsys.readouterr().out
    assert "1 runs failed, the first: toy: majority-vote on digits (real, quick, seed 1): the loss is NaN" in printed
    assert "10_one    runs missing: 1" in printed
    assert stubbed.read == ["00_start"]


def test_missing_data_skips_by_name_in_one_table_at_the_end(stubbed, capsys, monkeypatch):
    asked = []

    def missing(name):
        asked.append(name)
        return {"digits": None, "music": "no network; set CROWDS_MIRROR"}[name]

    monkeypatch.setattr(datasets, "missing", missing)
    write_notebook("00_start", data=["digits"])
    write_notebook("10_one", data=["digits", "music"])
    write_notebook("11_two", data=["music"])
    assert stubbed.run() == 0
    assert asked == ["digits", "music"]  # once
    assert stubbed.trained == []
    assert stubbed.read == ["00_start"]
    printed = capsys.readouterr().out
    table = printed[printed.index("Skipped for want of data") :]
    assert "10_one    music\n" in table
    assert "11_two    music\n" in table
    assert "music     no network; set CROWDS_MIRROR\n" in table
    assert "00_start" not in table


def test_budget_leaves_the_rest_for_the_same_command(stubbed, capsys):
    write_notebook("00_start")
    write_reference([0, 1], seconds=1000.0)
    assert stubbed.run("--budget", "1m") == 0
    assert stubbed.trained == []
    printed = capsys.readouterr().out
    assert "Not run: the time was up; the same command goes on" in printed
    assert "10_one    runs missing: 2" in printed
    assert stubbed.read == ["00_start"]
    assert stubbed.run() == 0
    assert sorted(stubbed.trained) == [0, 1]


def test_no_notebook_is_started_after_the_time_is_up(stubbed, capsys):
    write_notebook("00_start")
    assert stubbed.run("--budget", "0s") == 0
    assert stubbed.read == []
    assert "00_start  runs complete" in capsys.readouterr().out


# ---------------------------------------------------------------------- two at once


def test_two_passes_of_one_notebook_stage_apart_and_publish_whole(project, monkeypatch):
    """Each publishes all of its files before the other does; what one had staged, the other never sees."""
    write_notebook("10_one")
    published, (notebook,) = [], notebooks.select(["10"])

    def execute(notebook, parameters, output, environment):
        made = Path(environment["CROWDS_FIGURES"]) / notebook.stem
        made.mkdir(parents=True)
        for name in range(10):
            (made / f"{name}.csv").write_text(parameters["word"])
        output.write_text(parameters["word"])
        both.wait()

    def write(path, content):
        published.append(threading.get_ident())
        time.sleep(0.005)
        write_atomically(path, content)

    both = threading.Barrier(2)
    monkeypatch.setattr(notebooks, "execute", execute)
    monkeypatch.setattr(execution, "write_atomically", write)
    with ThreadPoolExecutor(2) as pool:
        for word in ("a", "b"):
            pool.submit(execution.perform, notebook, project.root / word, {"word": word})
    assert len(published) == 22
    assert len(set(published[:11])) == len(set(published[11:])) == 1
    made = [*paths.figures("10_one").iterdir(), paths.build() / "notebooks" / "10_one.ipynb"]
    assert len({path.read_text() for path in made}) == 1


def test_staging_folders_of_killed_passes_are_removed(project):
    old = paths.build() / "staging" / "old"
    old.mkdir(parents=True)
    (old / "figure.png").write_bytes(b"half")
    with execution._staging() as staging:
        assert not old.exists()
        with execution._staging() as other:
            assert staging.exists()
            assert other != staging
    assert list((paths.build() / "staging").iterdir()) == []
