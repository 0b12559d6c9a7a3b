"""The command line on a toy project: bad requests, its other modes, other machines, and a real kill."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib import paths
from lib.reproduce import __main__ as reproduce
from lib.reproduce import notebooks
from lib.results import minutes
from lib.runs import cluster, ledger
from tests.toys import READ, toy_grid, toy_project, toy_row, write_notebook, write_reference


@pytest.fixture
def project(tmp_path, monkeypatch):
    return toy_project(tmp_path, monkeypatch)


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
        (["--runs-only", "--shard", "5/4"], "expected a part such as 1/4 or 4/4, found '5/4'"),
        (["--shard", "1/4"], "--shard goes with --runs-only"),
        (["--merge", "no/such/folder"], "no ledger rows in no/such/folder"),
        (["--merge", "no/such/minutes.csv"], "no/such/minutes.csv does not exist"),
    ],
)
def test_what_does_not_exist_is_exit_code_2_with_a_message(project, capsys, words, message):
    write_notebook("10_one")
    assert reproduce.main(words) == 2
    assert message in capsys.readouterr().err
    assert not paths.runs().exists()
    assert not paths.build().exists()


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
    minutes.take_in([minutes.measured("10_one", "quick", 252.0, 2)])
    assert reproduce.main(["--list"]) == 0
    head, one, two = capsys.readouterr().out.splitlines()
    assert head.split() == ["notebook", "reproduces", "data", "retrained", "in", "last", "verdicts"]
    assert one.split("  ")[0] == "10_one"
    assert "Table of 10_one" in one
    assert "labelme, music" in one
    assert "quick: 4 minutes" in one
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
    assert not paths.build().exists()
    assert [row["config"]["seed"] for row in ledger.own_rows(folder=out)] == [1]
    # A second command with another folder hands out what is there already.
    other = project.root / "other"
    assert project.run("--runs-only", "--out", str(other)) == 0
    assert project.trained == [1]
    assert [path.name for path in other.rglob("*.json")] == [path.name for path in out.rglob("*.json")]
    capsys.readouterr()
    assert reproduce.main(["--merge", str(out)]) == 0
    assert capsys.readouterr().out == "Rows added to the reference: 1, there already: 0\n"
    assert len(ledger.reference_rows("toy")) == 2


def test_rows_are_handed_out_one_by_one(project):
    write_notebook("10_one")
    out = project.root / "out"
    project.interrupting.add(1)
    assert project.run("--runs-only", "--out", str(out), "--budget", "1h") == 130  # a budget starts one after the other
    assert [row["config"]["seed"] for row in ledger.own_rows(folder=out)] == [0]


def test_in_place_makes_the_committed_notebooks_from_reference_rows(project):
    write_notebook("10_one")
    write_reference([0, 1], 0.5)
    for config in toy_grid("10_one", "quick", [0, 1, 2]):
        ledger.write(toy_row(config, 0.1))
    stale = paths.figures("10_one") / "old.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of a figure that is made no more")
    assert project.run("--in-place") == 0
    first = (paths.NOTEBOOKS / "10_one.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(first)
    assert notebooks.dumps(notebooks.normalize(notebook)) == first
    assert notebooks.is_complete(notebook)
    assert notebook["cells"][-1]["outputs"][0]["text"] == ["2 rows [0, 1]\n"]
    assert notebook["metadata"]["companion"]["reproduces"] == "Table of 10_one"
    assert (paths.figures("10_one") / "numbers.csv").read_text() == "[0.5, 0.5]"
    assert not stale.exists()
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
    assert "Failed: 1" in capsys.readouterr().out


# ---------------------------------------------------------------------- on other machines


def test_runs_only_needs_neither_papermill_nor_nbformat(project, tmp_path):
    write_notebook("10_one")
    script = (
        "import sys\n"
        "for name in ('papermill', 'nbformat', 'nbclient', 'nbval', 'pooch', 'distributed', 'torchvision', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"  # importing it raises ImportError
        "import pathlib\n"
        "from lib import paths\n"
        "from lib.reproduce import __main__ as reproduce\n"
        f"paths.NOTEBOOKS = pathlib.Path({str(paths.NOTEBOOKS)!r})\n"
        "sys.exit(reproduce.main(['--runs-only']) or reproduce.main(['--list']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Scale quick, notebooks: 1, runs: 0" in done.stdout


def test_a_dask_cluster_does_the_runs(project, capsys):
    distributed = pytest.importorskip("distributed")
    write_notebook("10_one")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**options, processes=False, protocol="tcp://") as cluster:
        address = cluster.scheduler_address
        assert project.run("--scheduler", address, "--runs-only") == 0
    assert sorted(project.trained) == [0, 1]
    assert len(ledger.own_rows("toy")) == 2


def test_a_scheduler_that_does_not_answer(project, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    write_notebook("10_one")
    assert project.run("--scheduler", "tcp://127.0.0.1:9", "--runs-only") == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9 within 1 s" in capsys.readouterr().err


TOY_PROGRAM = """
import os, pathlib, sys, time
from lib import paths, protocols
from lib.reproduce import __main__ as reproduce
from lib.reproduce import execution
from lib.runs import sweep
from tests.toys import toy_grid, toy_row

root = pathlib.Path({root!r})
paths.NOTEBOOKS = root / "notebooks"
protocols.grid = toy_grid
execution.run_notebooks = lambda orders, workers: iter(())

def train(config, device="cpu", progress=False):
    (root / f"worker-{{os.getpid()}}").touch()
    time.sleep(0.3)
    return toy_row(config), None

sweep.train = train  # at the top level, so that the workers have it too
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


def wait_for(condition, seconds=120):
    """Poll, for a condition that another process brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def stop_a_pass(project, how):
    """Start a pass of 20 runs in 2 workers and send it a signal after the third.

    Returns:
        The command, the exit code, and what it said on stderr, once no worker is left.
    """
    write_notebook("10_one")
    script = project.root / "program.py"
    script.write_text(TOY_PROGRAM.format(root=str(project.root)))
    command = [sys.executable, str(script), "--seeds", *map(str, range(20)), "--workers"]
    with (project.root / "stderr").open("w") as stderr, subprocess.Popen([*command, "2"], stderr=stderr) as process:
        wait_for(lambda: len(list(paths.runs().glob("passes/*/toy/*.json"))) >= 3)
        process.send_signal(how)
        process.wait(60)
    workers = [int(path.name.split("-")[1]) for path in project.root.glob("worker-*")]
    wait_for(lambda: not any(map(is_alive, workers)), 30)  # nobody trains on for nobody
    return command, process.returncode, (project.root / "stderr").read_text()


def test_a_killed_pass_goes_on_without_losing_a_finished_run(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT))
    command, code, _ = stop_a_pass(project, signal.SIGKILL)
    assert code == -signal.SIGKILL
    finished = {path: path.read_bytes() for path in paths.runs().glob("passes/*/toy/*.json")}
    assert 3 <= len(finished) < 20
    done = subprocess.run([*command, "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"runs: 20, done before: {len(finished)}" in done.stdout
    assert f"Runs trained: {20 - len(finished)} " in done.stdout
    assert {paths.runs() / "toy" / path.name: content for path, content in finished.items()}.items() <= {
        path: path.read_bytes() for path in paths.runs().glob("toy/*.json")
    }.items()
    assert len(ledger.own_rows("toy")) == 20
    assert not [path for path in paths.runs().glob("passes/*") if path.is_dir()]


@pytest.mark.parametrize(("how", "code", "word"), [("SIGINT", 130, "Interrupted"), ("SIGTERM", 143, "Terminated")])
def test_a_signal_ends_it_at_once_with_the_command_to_go_on(project, monkeypatch, how, code, word):
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT))
    _, found, told = stop_a_pass(project, getattr(signal, how))
    assert found == code
    assert f"{word}. Finished runs are kept; to go on from here: python -m lib.reproduce --seeds 0 1" in told
    assert "Traceback" not in told


# ---------------------------------------------------------------------- a disk, a pipe


@pytest.fixture
def stubbed(project, monkeypatch):
    monkeypatch.setattr(reproduce.execution, "run_notebooks", project.stubbed)
    write_notebook("10_one")
    return project


@pytest.mark.parametrize("variable", ["CROWDS_RUNS", "CROWDS_BUILD", "CROWDS_REFERENCE"])
def test_a_folder_that_cannot_be_written_is_one_sentence(stubbed, capsys, monkeypatch, variable):
    file = stubbed.root / "file"
    file.write_text("in the way")
    out = stubbed.root / "out"
    ledger.write(toy_row(toy_grid("10_one", "quick", [0])[0]), out)
    monkeypatch.setenv(variable, str(file / "folder"))
    words = ["--merge", str(out)] if variable == "CROWDS_REFERENCE" else ["--workers", "1"]
    assert reproduce.main(words) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: [Errno 20] could not ")
    assert str(file / "folder") in told
    assert "to go on from here: python -m lib.reproduce" in told
    assert len(told.splitlines()) == 1


def test_a_full_disk_stops_a_pass_at_its_first_row(stubbed, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert stubbed.run() == 1
    assert stubbed.trained == [0]
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert len(told.splitlines()) == 1
    assert stubbed.run() == 0


def test_a_reference_row_that_is_damaged_is_one_sentence_with_the_remedy(stubbed, capsys):
    write_reference([0, 1])
    file = paths.reference() / "toy.jsonl"
    file.write_bytes(file.read_bytes().replace(b"0.8", b"0.9", 1))
    assert stubbed.run("--keep") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {file}, line 1: the row is not the one whose digest is in toy.digests; to restore both")
    assert len(told.splitlines()) == 1


def test_a_closed_pipe_is_one_sentence(stubbed, capsys, monkeypatch):
    def closed(*words, **options):
        if options.get("file") is not sys.stderr:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        sys.stderr.write(" ".join(words) + "\n")

    monkeypatch.setattr("builtins.print", closed)
    assert reproduce.main(["--list"]) == 141
    told = capsys.readouterr().err
    assert (
        told
        == "The reader of the output has gone. Finished runs are kept; to go on from here: python -m lib.reproduce --list\n"
    )


# ---------------------------------------------------------------------- parts


def test_shards_are_apart_and_together_all_runs(stubbed, capsys):
    seeds = list(range(12))
    trained = []
    for part in (1, 2, 3):
        stubbed.trained.clear()
        words = ["--shard", f"{part}/3", "--out", str(stubbed.root / "out"), "--seeds", *map(str, seeds)]
        assert stubbed.run("--runs-only", *words) == 0
        trained.append(sorted(stubbed.trained))
    assert sorted(seed for part in trained for seed in part) == seeds
    assert all(trained)
    assert reproduce.main(["--merge", str(stubbed.root / "out")]) == 0
    assert "Rows added to the reference: 12" in capsys.readouterr().out
