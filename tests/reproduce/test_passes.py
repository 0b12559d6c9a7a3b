"""A pass over toy notebooks: what it trains, what it runs, and how it ends when something is missing or fails."""

import nbformat
import pytest

from lib import datasets, paths
from lib.reproduce import notebooks, passes
from lib.runs import ledger
from lib.runs.config import RunConfig
from tests.toys import PARAMETERS, READ, age, toy_project, toy_row, write_notebook, write_reference


@pytest.fixture
def project(tmp_path, monkeypatch):
    return toy_project(tmp_path, monkeypatch)


@pytest.fixture
def stubbed(project, monkeypatch):
    """The project, where notebooks are not really run: that takes seconds each."""
    monkeypatch.setattr(passes, "run_notebooks", project.stubbed)
    return project


def stamps():
    return list(paths.runs().glob("pass-*.json"))


def test_a_pass_trains_the_union_runs_the_notebooks_and_reports_drift(project, capsys):
    write_notebook("00_start", "print('hello')")
    write_notebook("10_one")
    write_notebook("11_two")
    write_reference([0, 1], 0.1)
    assert project.run() == 0
    assert sorted(project.trained) == [0, 1]  # the reference has them, but a pass makes them anew; shared ones once
    printed = capsys.readouterr().out
    assert "Scale quick, notebooks: 3, runs: 2, done before: 0" in printed
    assert "Outside their tolerance: 1 of 1" in printed  # told, and no failure
    assert (paths.BUILD / "drift.csv").exists()
    executed = paths.BUILD / "notebooks"
    assert sorted(path.name for path in executed.iterdir()) == ["00_start.ipynb", "10_one.ipynb", "11_two.ipynb"]
    assert nbformat.read(executed / "00_start.ipynb", 4).cells[-1].outputs[0].text == "hello\n"
    assert (paths.figures("11_two") / "numbers.csv").read_text() == "[0.8, 0.81]"  # fresh rows, not the reference
    assert stamps() == []


def test_a_failing_notebook_is_named_stops_no_other_and_leaves_its_figures(project, capsys):
    write_notebook("10_one", READ.replace("{stem}", "10_one"), "1 / 0")
    write_notebook("11_two")
    before = paths.figures("10_one") / "numbers.csv"
    before.parent.mkdir(parents=True)
    before.write_text("before")
    assert project.run() == 1
    printed = capsys.readouterr().out
    assert "Failed: 1\n  10_one: cell In [4] raised ZeroDivisionError: division by zero" in printed
    assert "10_one.partial.ipynb" in printed
    assert before.read_text() == "before"
    assert (paths.figures("11_two") / "numbers.csv").exists()
    assert len(stamps()) == 1  # the same command goes on: its rows are still fresh


def test_scale_seeds_and_parameters_reach_grid_and_notebook(project):
    parameters = PARAMETERS + '\nword: str = "a"\ncount: int = 1'
    write_notebook("10_one", READ.replace("{stem}", "10_one"), "print(scale, device, word, count)", parameters=parameters)
    words = ["--scale", "smoke", "--seeds", "7", "8", "-p", "word=some words", "-p", "count=3"]
    assert project.run(*words) == 0
    assert sorted(project.trained) == [7, 8]
    executed = (paths.BUILD / "notebooks" / "10_one.ipynb").read_text(encoding="utf-8")
    assert "smoke cpu some words 3" in executed
    assert "2 rows [7, 8]" in executed
    # Smoke numbers mean nothing: they stay away from the committed figures.
    assert (paths.BUILD / "figures" / "10_one" / "numbers.csv").exists()
    assert not paths.figures().exists()


def test_a_relative_folder_in_the_environment_reaches_the_kernel_right(project, monkeypatch):
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("CROWDS_RUNS", "my-runs")
    write_notebook("10_one")
    assert project.run() == 0
    assert (paths.figures("10_one") / "numbers.csv").read_text() == "[0.8, 0.81]"


# ---------------------------------------------------------------------- with stubbed notebooks


def test_a_complete_pass_is_done_the_next_begins_anew(stubbed):
    write_notebook("10_one")
    for _ in range(2):
        stubbed.trained.clear()
        assert stubbed.run() == 0
        assert sorted(stubbed.trained) == [0, 1]
        age()
    assert stubbed.read == ["10_one", "10_one"]


def test_keep_trains_only_what_is_missing(stubbed):
    write_notebook("10_one")
    write_reference([0])
    for _ in range(2):
        assert stubbed.run("--keep") == 0
        assert stubbed.trained == [1]
    assert stamps() == []


def test_a_pass_that_was_interrupted_goes_on(stubbed, capsys):
    write_notebook("10_one")
    stubbed.interrupting.add(1)
    assert stubbed.run() == 130
    told = capsys.readouterr().err
    assert "Interrupted. Finished runs are kept; to go on from here: python -m lib.reproduce --workers 1\n" in told
    stubbed.interrupting.clear()
    assert stubbed.run() == 0
    assert stubbed.trained == [0, 1]  # 0 from before, 1 from now
    assert "Going on with the unfinished pass of" in capsys.readouterr().out
    assert stamps() == []


def test_fresh_gives_an_interrupted_pass_up(stubbed):
    write_notebook("10_one")
    stubbed.interrupting.add(1)
    assert stubbed.run() == 130
    stubbed.interrupting.clear()
    age()
    assert stubbed.run("--fresh") == 0
    assert sorted(stubbed.trained) == [0, 0, 1]


def test_another_selection_is_another_pass(stubbed):
    write_notebook("10_one")
    write_notebook("11_two")
    stubbed.failing.add(1)
    assert stubbed.run("--only", "10") == 1
    assert len(stamps()) == 1
    stubbed.failing.clear()
    age()
    assert stubbed.run() == 0
    assert sorted(stubbed.trained) == [0, 0, 1]
    assert len(stamps()) == 1  # the first pass is unfinished still


def test_a_damaged_stamp_is_no_stamp(stubbed):
    write_notebook("10_one")
    stubbed.failing.add(0)
    assert stubbed.run() == 1
    (stamp,) = stamps()
    stamp.write_text("{")
    stubbed.failing.clear()
    assert stubbed.run() == 0
    assert stamps() == []


def test_a_failing_run_is_named_and_only_its_notebooks_are_left_out(stubbed, capsys):
    write_notebook("00_start")
    write_notebook("10_one")
    stubbed.failing.add(1)
    assert stubbed.run() == 1
    printed = capsys.readouterr().out
    assert "1 runs failed, the first: toy: majority-vote on digits (real, quick, seed 1): the loss is NaN" in printed
    assert "10_one    runs missing: 1" in printed
    assert stubbed.read == ["00_start"]


def test_missing_data_skips_by_name_in_one_table_at_the_end(stubbed, capsys, monkeypatch):
    monkeypatch.setattr(datasets, "missing", {"digits": None, "music": "no network; set CROWDS_MIRROR"}.get)
    write_notebook("00_start", data=["digits"])
    write_notebook("10_one", data=["digits", "music"])
    write_notebook("11_two", data=["music"])
    assert stubbed.run() == 0
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
    write_notebook("10_one")
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


def test_reference_rows_made_after_the_pass_began_are_fresh_too(stubbed):
    write_notebook("10_one")
    stubbed.failing |= {0, 1}
    assert stubbed.run() == 1
    for config in passes.plan(notebooks.select(["10"]), "quick", None)["10_one"]:
        ledger.write(toy_row(config), paths.runs().parent / "arrived")
    ledger.merge(paths.runs().parent / "arrived")
    assert stubbed.run() == 0
    assert stubbed.trained == []
    assert stubbed.read == ["10_one"]


# ---------------------------------------------------------------------- the pieces


def test_plan_takes_the_notebooks_own_seeds_unless_told(project):
    write_notebook("10_one")
    write_notebook("11_two", parameters='scale: str = "quick"')  # no seeds of its own
    chosen = notebooks.select(None)
    grids = passes.plan(chosen, "quick", None)
    assert [config.seed for config in grids["10_one"]] == [0, 1]
    assert [config.seed for config in grids["11_two"]] == [0]
    assert [config.seed for config in passes.plan(chosen, "quick", [4, 5])["10_one"]] == [4, 5]
    assert len(passes.union(grids)) == 2


def test_each_data_set_is_tried_once(project, monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "missing", asked.append)
    for stem in ("10_one", "11_two"):
        write_notebook(stem, data=["music", "labelme"])
    assert passes.without_data(notebooks.select(None)) == {}
    assert asked == ["music", "labelme"]


def test_fresh_rows_are_own_rows_made_since(project):
    old, new = (RunConfig("toy", "digits", "majority-vote", seed=seed) for seed in (0, 1))
    write_reference([0, 1])
    ledger.write(toy_row(old, age=100))
    row = toy_row(new)
    ledger.write(row)
    assert passes.fresh_rows([old, new], ledger.made(row)) == {new.key(): row}
    assert set(passes.fresh_rows([old, new], None)) == {old.key(), new.key()}
    assert passes.fresh_rows([], None) == {}
