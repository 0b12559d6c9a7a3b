"""The command line on a toy project: bad requests, its other modes, other machines, and a real kill."""

import contextlib
import errno
import os
import subprocess
import sys
import time

import psutil
import pytest

from lib import paths
from lib.reproduce import __main__ as reproduce
from lib.results import minutes
from lib.results.claims import Book
from lib.runs import cluster, ledger
from tests.toys import toy_grid, toy_row, write_notebook, write_reference

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
    book = Book("10_one")
    for ours, headline in ((1, True), (1, False), (2, True)):
        book.fact(f"{ours}-{headline}", "s", ours, "1", headline=headline)
    book.save()
    minutes.take_in([minutes.measured("10_one", "quick", 252.0, 2)])
    assert reproduce.main(["--list"]) == 0
    head, one, two = capsys.readouterr().out.splitlines()
    assert head.split() == ["notebook", "reproduces", "data", "retrained", "in", "headline", "claims"]
    assert one.split("  ")[0] == "10_one"
    assert "Table of 10_one" in one
    assert "labelme, music" in one
    assert "quick: 4 minutes" in one
    assert one.endswith("  reproduced, contradicted")
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


# ---------------------------------------------------------------------- on other machines


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


def wait_for(condition, seconds=120):
    """Poll, for a condition that another process brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def is_alive(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # nobody may be there to collect it
    return False


def test_a_killed_pass_goes_on_without_losing_a_finished_run(stubbed, capsys):
    """Started with two workers and ended by kill -9 after three rows; given again it ends well."""
    (stubbed.root / "stubbed").touch()
    words = ["--seeds", *map(str, range(20))]

    def finished():
        return {path.name: path.read_bytes() for path in paths.runs().glob("passes/*/toy/*.json")}

    command = [sys.executable, "-m", "tests.toy_program", str(stubbed.root), *words, "--workers", "2"]
    with subprocess.Popen(command, cwd=paths.ROOT) as process:
        wait_for(lambda: len(finished()) >= 3)
        process.kill()
    workers = {int(line.split()[-1]) for line in (stubbed.root / "trained").read_text().splitlines()}
    wait_for(lambda: not any(map(is_alive, workers)), 30)  # nobody trains on for nobody
    kept = finished()
    assert stubbed.run(*words) == 0
    printed = capsys.readouterr().out
    assert f"runs: 20, done before: {len(kept)}" in printed
    assert f"Runs trained: {20 - len(kept)} " in printed
    own = {path.name: path.read_bytes() for path in paths.runs().glob("toy/*.json")}
    assert len(own) == 20
    assert kept.items() <= own.items()
    assert not [path for path in paths.runs().glob("passes/*") if path.is_dir()]


# ---------------------------------------------------------------------- a disk, a pipe


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


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_pass_with_closed_standard_files_goes_as_well_as_any(project):
    """Its workers and the kernel would take a pipe or a socket for standard error."""
    write_notebook("10_one")
    command = [sys.executable, "-m", "tests.toy_program", str(project.root), "--workers", "2"]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], cwd=paths.ROOT, check=False)
    assert done.returncode == 0
    assert (paths.figures("10_one") / "numbers.csv").read_text() == "[0.8, 0.81]"


# ---------------------------------------------------------------------- parts


def test_shards_are_apart_and_together_all_runs(stubbed, capsys):
    seeds, trained = list(range(12)), []
    for part in (1, 2, 3):
        stubbed.trained.clear()
        words = ["--shard", f"{part}/3", "--out", str(stubbed.root / "out"), "--seeds", *map(str, seeds)]
        assert stubbed.run("--runs-only", *words) == 0
        trained.append(sorted(stubbed.trained))
    assert sorted(seed for part in trained for seed in part) == seeds
    assert all(trained)
    assert reproduce.main(["--merge", str(stubbed.root / "out")]) == 0
    assert "Rows added to the reference: 12" in capsys.readouterr().out
