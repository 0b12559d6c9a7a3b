"""The command line on toy notebooks and toy runs: a pass, what goes wrong in it, and the committed notebooks."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lib import datasets, experiments, ledger, normalized, notebooks, paths, reproduce, runs

PARAMETERS = 'scale: str = "quick"\nseeds: list = [0, 1]\ndevice: str = "cpu"\nrecompute: bool = False'
# What every notebook does, in short: ask for its rows, show a number, leave a table.
READ = """
from lib import ledger, paths
found = ledger.lookup(["toy"])
rows = [row for row in found.values() if row["config"]["scale"] == scale]
figures = paths.figures("{stem}")
figures.mkdir(parents=True, exist_ok=True)
(figures / "table.csv").write_text(str(sorted(row["metrics"]["test_acc_last"] for row in rows)))
print(len(rows), "rows", seeds)
"""


def write_notebook(stem, *code, data=(), parameters=PARAMETERS):
    """A toy notebook in the notebooks folder."""
    cells = [new_markdown_cell(f"# Toy {stem}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source) for source in code or [READ.replace("{stem}", stem)]]
    companion = {"reproduces": f"Table of {stem}", "data": list(data), "minutes": {"quick": 0.5}}
    nbformat.write(new_notebook(cells=cells, metadata={"companion": companion}), paths.NOTEBOOKS / f"{stem}.ipynb")


def toy_row(config, value=None, age=0):
    """A finished run of some seconds ago that took no time."""
    value = 0.8 + 0.01 * config.seed if value is None else value
    made = datetime.fromtimestamp(time.time() - age, UTC).isoformat(timespec="seconds")
    settings = json.loads(json.dumps(runs.asdict(config)))
    history, metrics = {"test_acc": [value]}, {"test_acc_last": value}
    return {"key": config.key(), "config": settings, "metrics": metrics, "history": history, "seconds": 0.1,
            "provenance": {"made": made}}  # fmt: skip


def toy_grid(stem, scale, seeds):
    """Two notebooks share these runs; a third has none."""
    experiments.check_scale(scale)
    shared = [runs.RunConfig("toy", "digits", "majority-vote", scale=scale, seed=seed) for seed in seeds]
    return {"10_one": shared, "11_two": shared}.get(stem, [])


def write_reference(seeds, value=None, **changes):
    """Committed rows of an hour ago."""
    rows = [toy_row(config, value, age=3600) | changes for config in toy_grid("10_one", "quick", seeds)]
    ledger.write_reference("toy", rows)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project; runs finish at once and are listed in ``project.trained``."""
    for name, folder in {"NOTEBOOKS": "notebooks", "BUILD": "build", "README": "README.md"}.items():
        monkeypatch.setattr(paths, name, tmp_path / folder)
    for name in ("RUNS", "REFERENCE", "FIGURES"):
        monkeypatch.setenv(f"CROWDS_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("CROWDS_LEDGER", "")
    paths.NOTEBOOKS.mkdir()
    monkeypatch.setattr(experiments, "grid", toy_grid)

    class Project:
        root = tmp_path
        trained: list = []  # noqa: RUF012
        failing: set = set()  # noqa: RUF012

        @staticmethod
        def run(*words):
            return reproduce.main([*words, "--workers", "1"])

    def train(config, device="cpu", progress=False):
        if config.seed in Project.failing:
            raise RuntimeError("the loss is NaN")
        Project.trained.append(config.seed)
        return toy_row(config), None

    Project.trained, Project.failing = [], set()
    monkeypatch.setattr(runs, "train", train)
    return Project


def age(seconds=100):
    """Make the user's own rows older."""
    for row in ledger.own_rows():
        made = datetime.fromtimestamp(time.time() - seconds, UTC).isoformat(timespec="seconds")
        ledger.write(row | {"provenance": row["provenance"] | {"made": made}})


# ---------------------------------------------------------------------- a pass


def test_a_pass_trains_the_union_runs_the_notebooks_and_reports_drift(project, capsys):
    write_notebook("00_start", "print('hello')")
    write_notebook("10_one")
    write_notebook("11_two")
    write_reference(range(5))
    assert project.run() == 0
    assert sorted(project.trained) == [0, 1]  # the reference has them, but a pass makes them anew; shared ones once
    printed = capsys.readouterr().out
    assert "3 notebooks at quick: 2 runs, 0 of them done" in printed
    assert "Drift: 1 numbers beside the reference" in printed
    assert (paths.BUILD / "drift.csv").exists()
    for stem in ("00_start", "10_one", "11_two"):
        executed = nbformat.read(paths.BUILD / "notebooks" / f"{stem}.ipynb", 4)
        assert executed.cells[-1].outputs, stem
    assert (paths.figures("11_two") / "table.csv").exists()
    assert sorted(path.name for path in (paths.BUILD / "notebooks").iterdir()) == [
        "00_start.ipynb", "10_one.ipynb", "11_two.ipynb"]  # fmt: skip
    assert list(paths.runs().glob("pass-*")) == []  # complete: the next pass begins anew
    project.trained.clear()
    age()
    assert project.run("--only", "10") == 0
    assert sorted(project.trained) == [0, 1]


def test_notebooks_read_the_fresh_rows_not_the_reference(project):
    write_notebook("10_one")
    write_reference([0, 1], 0.1)
    assert project.run() == 0
    assert (paths.figures("10_one") / "table.csv").read_text() == "[0.8, 0.81]"


def test_drift_outside_its_tolerance_is_told_and_is_no_failure(project, capsys):
    write_notebook("10_one")
    write_reference(range(3), 0.1)
    assert project.run() == 0
    assert "1 of 1 numbers lie outside their tolerance" in capsys.readouterr().out


def test_scale_seeds_and_parameters_reach_grid_and_notebook(project):
    write_notebook("10_one", 'print(scale, seeds, device, word, count)',
                   parameters=PARAMETERS + '\nword: str = "a"\ncount: int = 1')  # fmt: skip
    words = ["--scale", "smoke", "--seeds", "7", "8", "-p", "word=some words", "-p", "count=3"]
    assert project.run(*words) == 0
    assert sorted(project.trained) == [7, 8]
    assert "smoke [7, 8] cpu some words 3" in (paths.BUILD / "notebooks" / "10_one.ipynb").read_text()


def test_smoke_figures_stay_in_the_build_folder(project):
    write_notebook("10_one")
    assert project.run("--scale", "smoke") == 0
    assert (paths.BUILD / "figures" / "10_one" / "table.csv").exists()
    assert not paths.figures().exists()


def test_keep_trains_only_what_is_missing(project):
    write_notebook("10_one")
    write_reference([0])
    assert project.run("--keep") == 0
    assert project.trained == [1]
    assert project.run("--keep") == 0
    assert project.trained == [1]


def test_a_pass_that_stopped_goes_on_and_fresh_begins_again(project, capsys, monkeypatch):
    write_notebook("10_one")

    def interrupted(config, device="cpu", progress=False):
        if config.seed == 1:
            raise KeyboardInterrupt
        return toy_row(config), None

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train", interrupted)
        assert project.run() == 130
    assert "Interrupted" in (told := capsys.readouterr().err)
    assert "to go on from here: python -m lib.reproduce --workers 1" in told
    assert len(ledger.own_rows()) == 1
    assert project.run() == 0
    assert project.trained == [1]
    assert "Going on with the unfinished pass" in capsys.readouterr().out
    # Another interrupted pass, given up for a new one.
    age()
    with monkeypatch.context() as patch:
        patch.setattr(runs, "train", interrupted)
        assert project.run() == 130
    project.trained.clear()
    age()
    assert project.run("--fresh") == 0
    assert sorted(project.trained) == [0, 1]


def test_another_selection_is_another_pass(project, monkeypatch):
    write_notebook("10_one")
    write_notebook("11_two")
    project.failing.add(1)
    assert project.run("--only", "10") == 1  # its stamp stays
    project.failing.clear()
    project.trained.clear()
    age()
    assert project.run() == 0
    assert sorted(project.trained) == [0, 1]


def test_a_damaged_stamp_is_no_stamp(project):
    write_notebook("10_one")
    project.failing.add(0)
    assert project.run() == 1
    (stamp,) = paths.runs().glob("pass-*.json")
    stamp.write_text("{")
    project.failing.clear()
    assert project.run() == 0
    assert not stamp.exists()


# ---------------------------------------------------------------------- what goes wrong in a pass


def test_a_failing_notebook_does_not_stop_the_others(project, capsys):
    write_notebook("10_one", "x = 1", "1 / 0")
    write_notebook("11_two")
    assert project.run() == 1
    printed = capsys.readouterr().out
    assert "10_one: cell In [3] raised ZeroDivisionError: division by zero" in printed
    assert "10_one.partial.ipynb" in printed
    assert (paths.figures("11_two") / "table.csv").exists()
    project.trained.clear()
    assert project.run() == 1
    assert project.trained == []  # rows of the failed pass are fresh still


def test_a_failing_run_is_named_and_only_its_notebooks_are_left_out(project, capsys):
    write_notebook("00_start", "print('hello')")
    write_notebook("10_one")
    project.failing.add(1)
    assert project.run() == 1
    printed = capsys.readouterr().out
    assert "1 runs failed, the first: toy: majority-vote on digits (real, quick, seed 1): the loss is NaN" in printed
    assert "10_one    1 runs missing" in printed
    assert (paths.BUILD / "notebooks" / "00_start.ipynb").exists()
    assert not (paths.BUILD / "notebooks" / "10_one.ipynb").exists()


def test_a_failing_notebook_leaves_its_figures_as_they_were(project):
    write_notebook("10_one", READ.replace("{stem}", "10_one"), "raise ValueError('late')")
    before = paths.figures("10_one") / "table.csv"
    before.parent.mkdir(parents=True)
    before.write_text("before")
    assert project.run() == 1
    assert before.read_text() == "before"


def test_missing_data_skips_by_name_in_one_table_at_the_end(project, capsys, monkeypatch):
    monkeypatch.setattr(datasets, "missing", {"digits": None, "music": "no network; set CROWDS_MIRROR"}.get)
    write_notebook("00_start", "print('hello')", data=["digits"])
    write_notebook("10_one", data=["digits", "music"])
    write_notebook("11_two", data=["music"])
    assert project.run() == 0
    assert project.trained == []
    printed = capsys.readouterr().out
    table = printed[printed.index("Skipped for want of data") :]
    assert "10_one    music" in table
    assert "11_two    music" in table
    assert "music     no network; set CROWDS_MIRROR" in table
    assert "00_start" not in table


def test_budget_leaves_the_rest_for_the_same_command(project, capsys, monkeypatch):
    write_notebook("00_start", "print('hello')")
    write_notebook("10_one")
    write_reference([0, 1], seconds=1000.0)
    assert project.run("--budget", "1m") == 0
    assert project.trained == []
    printed = capsys.readouterr().out
    assert "Not run: the time was up; the same command goes on" in printed
    assert "10_one    2 runs missing" in printed
    assert (paths.BUILD / "notebooks" / "00_start.ipynb").exists()
    assert project.run() == 0
    assert sorted(project.trained) == [0, 1]


# ---------------------------------------------------------------------- bad requests


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "10_oen"], "unknown notebook '10_oen'; did you mean '10_one'"),
        (["--scale", "huge"], "unknown scale 'huge'"),
        (["--seeds", "1", "1"], "--seeds must differ"),
        (["--seeds", "-1"], "expected a whole number from 0 on, found '-1'"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--budget", "9"], "expected a time such as 90s, 9m or 1h, found '9'"),
        (["--workers", "0"], "expected a whole number from 1 on, found '0'"),
        (["-p", "rate"], "expected NAME=VALUE, found 'rate'"),
        (["-p", "scale=quick"], "use --scale for 'scale'"),
        (["-p", "recomptue=True"], "unknown parameter 'recomptue'; did you mean 'recompute'"),
        (["-p", "recompute=3"], "the parameter 'recompute' must be bool, found 3"),
        (["--in-place", "--scale", "paper"], "--in-place does not go with --scale"),
        (["--list", "--fresh"], "--list does not go with --fresh"),
        (["--merge", "x", "--only", "10"], "--merge does not go with --only"),
        (["--runs-only", "--keep"], "--runs-only does not go with --keep"),
        (["--keep", "--fresh"], "--keep does not go with --fresh"),
        (["--list", "--in-place"], "not allowed with argument"),
        (["--merge", "no/such/folder"], "no ledger rows in no/such/folder"),
    ],
)
def test_what_does_not_exist_is_exit_code_2_with_a_message(project, capsys, words, message):
    write_notebook("10_one")
    assert reproduce.main(words) == 2
    assert message in capsys.readouterr().err
    assert not paths.runs().exists()
    assert not paths.BUILD.exists()


def test_cuda_asked_for_and_absent(project, capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    write_notebook("10_one")
    assert reproduce.main(["--device", "cuda"]) == 2
    assert "'cuda' was asked for, but torch" in capsys.readouterr().err


def test_a_notebook_that_names_no_data_set(project, capsys):
    write_notebook("10_one", data=["labelmee"])
    assert reproduce.main([]) == 2
    assert "10_one: unknown data set 'labelmee'" in capsys.readouterr().err


def test_help_is_no_error(capsys):
    assert reproduce.main(["--help"]) == 0
    assert "--in-place" in capsys.readouterr().out


# ---------------------------------------------------------------------- the other modes


def test_list(project, capsys):
    write_notebook("10_one", data=["labelme", "music"])
    write_notebook("11_two")
    paths.figures("10_one").mkdir(parents=True)
    claims = [{"verdict": "reproduced"}, {"verdict": "trend only"}, {"verdict": "reproduced"}]
    (paths.figures("10_one") / "claims.json").write_text(json.dumps(claims))
    assert reproduce.main(["--list"]) == 0
    head, one, two = capsys.readouterr().out.splitlines()
    assert head.split() == ["notebook", "reproduces", "data", "minutes", "last", "verdicts"]
    assert one.split("  ")[0] == "10_one"
    assert "Table of 10_one" in one
    assert "labelme, music" in one
    assert "quick 0.5" in one
    assert one.endswith("2 reproduced, 1 trend only")
    assert two.endswith("-")
    assert reproduce.main(["--list", "--only", "11"]) == 0
    assert "10_one" not in capsys.readouterr().out


def test_runs_only_out_and_merge(project, capsys):
    write_notebook("10_one")
    write_reference([0])
    out = project.root / "out"
    assert project.run("--runs-only", "--out", str(out)) == 0
    assert project.trained == [1]  # the reference has seed 0
    assert not paths.BUILD.exists()
    assert [row["config"]["seed"] for row in ledger.own_rows(folder=out)] == [1]
    # A second command with another folder hands out what is there already.
    other = project.root / "other"
    assert project.run("--runs-only", "--out", str(other)) == 0
    assert project.trained == [1]
    assert [path.name for path in other.rglob("*.json")] == [path.name for path in out.rglob("*.json")]
    capsys.readouterr()
    assert reproduce.main(["--merge", str(out)]) == 0
    assert capsys.readouterr().out == "1 rows added to the reference, 0 were there already\n"
    assert len(ledger.reference_rows("toy")) == 2


def test_rows_are_handed_out_one_by_one(project, monkeypatch):
    write_notebook("10_one")
    out = project.root / "out"

    def second_is_interrupted(config, device="cpu", progress=False):
        if config.seed == 1:
            assert len(ledger.own_rows(folder=out)) <= 1
            raise KeyboardInterrupt
        return toy_row(config), None

    monkeypatch.setattr(runs, "train", second_is_interrupted)
    assert project.run("--runs-only", "--out", str(out), "--budget", "1h") == 130  # a budget starts one after the other
    assert [row["config"]["seed"] for row in ledger.own_rows(folder=out)] == [0]


def test_in_place_makes_the_committed_notebooks_from_reference_rows(project, capsys):
    write_notebook("10_one", *[READ.replace("{stem}", "10_one")])
    write_reference([0, 1], 0.5)
    for config in toy_grid("10_one", "quick", [0, 1, 2]):
        ledger.write(toy_row(config, 0.1))
    stale = paths.figures("10_one") / "old.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of a figure that is made no more")
    paths.README.write_text("# R\n<!-- generated:claims -->\nold\n<!-- end -->\n")
    assert project.run("--in-place") == 0
    first = (paths.NOTEBOOKS / "10_one.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(first)
    assert normalized.dumps(notebooks.normalize(notebook)) == first
    assert normalized.is_complete(notebook)
    assert notebook["cells"][-1]["outputs"][0]["text"] == ["2 rows [0, 1]\n"]
    assert notebook["metadata"]["companion"]["reproduces"] == "Table of 10_one"
    assert (paths.figures("10_one") / "table.csv").read_text() == "[0.5, 0.5]"
    assert not stale.exists()
    assert "old" not in paths.README.read_text()
    assert "README.md: generated parts rewritten" in capsys.readouterr().out
    assert project.trained == []
    assert project.run("--in-place", "--only", "10") == 0
    assert (paths.NOTEBOOKS / "10_one.ipynb").read_text(encoding="utf-8") == first


@pytest.mark.parametrize("last", ["1 / 0", "raise SystemExit"])
def test_in_place_leaves_a_notebook_that_did_not_end(project, capsys, last):
    write_notebook("10_one", READ.replace("{stem}", "10_one"), last, "print('never')")
    before = (paths.NOTEBOOKS / "10_one.ipynb").read_bytes()
    assert project.run("--in-place") == 1
    assert (paths.NOTEBOOKS / "10_one.ipynb").read_bytes() == before
    assert not paths.figures().exists()
    assert "1 failed" in capsys.readouterr().out


# ---------------------------------------------------------------------- on other machines


def test_runs_only_needs_neither_papermill_nor_nbformat(project, tmp_path):
    write_notebook("10_one")
    script = (
        "import sys\n"
        "for name in ('papermill', 'nbformat', 'nbclient', 'nbval', 'pooch', 'distributed', 'torchvision', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"  # importing it raises ImportError
        "import pathlib\n"
        "from lib import paths, reproduce\n"
        f"paths.NOTEBOOKS = pathlib.Path({str(paths.NOTEBOOKS)!r})\n"
        "sys.exit(reproduce.main(['--runs-only']) or reproduce.main(['--list']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 notebooks at quick: 0 runs" in done.stdout


def test_a_dask_cluster_does_the_runs(project, capsys):
    distributed = pytest.importorskip("distributed")
    write_notebook("10_one")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**options, processes=False) as cluster:
        address = cluster.scheduler_address
        assert project.run("--scheduler", address, "--runs-only") == 0
    assert sorted(project.trained) == [0, 1]
    assert len(ledger.own_rows("toy")) == 2


def test_a_scheduler_that_does_not_answer(project, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(reproduce, "CONNECT_TIMEOUT", 1)
    write_notebook("10_one")
    assert project.run("--scheduler", "tcp://127.0.0.1:9", "--runs-only") == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9 within 1 s" in capsys.readouterr().err


TOY_PROJECT = """
import json, os, pathlib, sys, time
sys.path.insert(0, {tests!r})
from lib import experiments, paths, reproduce, runs
from test_reproduce import toy_row

root = pathlib.Path({root!r})
paths.NOTEBOOKS, paths.BUILD = root / "notebooks", root / "build"
experiments.grid = lambda stem, scale, seeds: [
    runs.RunConfig("toy", "digits", "majority-vote", scale=scale, seed=seed) for seed in seeds]

def train(config, device="cpu", progress=False):
    (root / f"worker-{{os.getpid()}}").touch()
    time.sleep(0.4)
    return toy_row(config), None

runs.train = train  # at the top level, so that the workers have it too
if __name__ == "__main__":
    sys.exit(reproduce.main(sys.argv[1:]))
"""


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    try:  # a zombie waits for its parent only
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return True


def wait_for(condition, seconds=60):
    """Poll, for a condition that another process brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_pass_goes_on_without_losing_a_finished_run(project, how):
    write_notebook("10_one")
    script = project.root / "toy.py"
    script.write_text(TOY_PROJECT.format(tests=str(Path(__file__).parent), root=str(project.root)))
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    words = ["--seeds", *map(str, range(12)), "--workers", "2"]
    command = [sys.executable, str(script), *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        wait_for(lambda: len(list(paths.runs().glob("toy/*.json"))) >= 3)
        first.send_signal(how)
        _, told = first.communicate(timeout=60)
    assert first.returncode == (130 if how == signal.SIGINT else -how)
    assert ("to go on from here: python -m lib.reproduce --seeds" in told) == (how == signal.SIGINT)
    assert "Traceback" not in told
    workers = [int(path.name.split("-")[1]) for path in project.root.glob("worker-*")]
    wait_for(lambda: not any(map(is_alive, workers)), 15)  # nobody trains on for nobody
    finished = {path: path.stat().st_mtime_ns for path in paths.runs().glob("toy/*.json")}
    assert 3 <= len(finished) < 12
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"12 runs, {len(finished)} of them done" in done.stdout
    assert f"{12 - len(finished)} runs trained" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(ledger.own_rows("toy")) == 12
