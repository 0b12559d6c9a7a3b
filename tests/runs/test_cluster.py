"""A Dask cluster, played by an object that answers as its client would; a real one is in test_reproduce."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import Executor, Future

import pytest
import torch

from lib import datasets
from lib.runs import cluster, ledger, sweep
from lib.runs.cluster import Cluster, ClusterError
from lib.runs.config import RunConfig, as_read


class Client:
    """Workers by address: threads, and what a worker answers when it is asked (else what a fit one does)."""

    def __init__(self, **workers):
        self.workers, self.asked, self.used, self.status = workers, [], [], "running"

    def nthreads(self):
        return {address: threads for address, (threads, _) in self.workers.items()}

    def run(self, function, workers):
        self.asked += workers
        return {address: function() | {"host": f"host-{address}"} | self.workers[address][1] for address in workers}

    def get_executor(self, pure, workers):
        client = self

        class AtOnce(Executor):
            def submit(self, fn, /, *args, **kwargs):
                client.used.append(workers)
                future = Future()
                try:
                    future.set_result(fn(*args, **kwargs))
                except Exception as error:
                    future.set_exception(error)
                return future

        return AtOnce()


def config(seed=0, dataset="digits"):
    return RunConfig("toy", dataset, "majority-vote", seed=seed)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for variable in ("RUNS", "REFERENCE"):
        monkeypatch.setenv(f"CROWDS_{variable}", str(tmp_path / variable.lower()))
    monkeypatch.setenv("CROWDS_LEDGER", "")


@pytest.fixture
def trained(monkeypatch):
    seeds = []

    def train(given, device="cpu", progress=False):
        seeds.append(given.seed)
        provenance = {"made": "now", "code": "toy", "data": "toy", "torch": "toy"}
        return {"key": given.key(), "config": as_read(given), "metrics": {}, "seconds": 1.0, "provenance": provenance}, None

    monkeypatch.setattr(sweep, "train", train)
    return seeds


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"source": "0" * 16}, r"host-b \(b\): it has another source code of lib \(0000000000000000\) than this machine"),
        ({"torch": "1.0"}, r"host-b \(b\): it has another version of torch \(1\.0\) than this machine"),
        (
            {"error": "No module named 'lib'"},
            r"it cannot import the project \(No module named 'lib'\); start it in the project's",
        ),
    ],
)
def test_a_worker_that_is_not_fit_gets_no_run_and_is_named_with_its_host(trained, caplog, answer, problem):
    client = Client(a=(2, {}), b=(4, answer))
    pool = Cluster(client, ["digits"])
    assert pool.slots() == 2
    assert [row["config"]["seed"] for row in sweep.sweep([config(0), config(1)], executor=pool, progress=False)] == [0, 1]
    assert client.used == [["a"], ["a"]]
    assert client.asked == ["a", "b"]  # once
    assert len(caplog.records) == 1
    assert re.search(problem, caplog.text)


def test_a_run_goes_to_a_worker_that_has_its_data(trained):
    client = Client(
        a=(1, {"missing": {"digits": None, "music": "no network"}}), b=(1, {"missing": {"digits": None, "music": None}})
    )
    sweep.sweep([config(0), config(1, "music")], executor=Cluster(client, ["digits", "music"]), progress=False)
    assert sorted(client.used) == [["a", "b"], ["b"]]
    client.workers.pop("b")
    with pytest.raises(
        sweep.RunFailed, match=r"1 runs failed, the first: .* music .*: no worker can have its data; host-a: no network"
    ):
        sweep.sweep([config(2), config(3, "music")], executor=Cluster(client, ["digits", "music"]), progress=False)
    assert sorted(trained) == [0, 1, 2]


def test_the_window_follows_the_cluster():
    client = Client(a=(2, {}))
    pool = Cluster(client, ["digits"])
    assert pool.slots() == 2
    client.workers["b"] = (8, {})
    assert pool.slots() == 10
    client.workers.pop("a")
    assert pool.slots() == 8


def test_a_row_of_other_code_is_refused(trained, monkeypatch):
    """Of a worker whose code was changed after it had been asked."""
    pool = Cluster(Client(a=(1, {})), ["digits"])
    assert pool.slots() == 1
    digests = iter(["before", "after"])
    monkeypatch.setattr(cluster, "source_digest", lambda: next(digests))
    with pytest.raises(sweep.RunFailed, match="the worker has other code than the machine that sent it toy: majority-vote"):
        sweep.sweep([config()], executor=pool, progress=False)
    assert trained == []


def test_a_lost_scheduler_is_said_once(trained, monkeypatch):
    client = Client(a=(1, {}))

    def lose(*words):
        client.status = "closed"
        raise RuntimeError("cancelled")

    monkeypatch.setattr(cluster, "_checked", lose)
    with pytest.raises(ClusterError, match="the Dask scheduler is gone"):
        sweep.sweep([config(seed) for seed in range(5)], executor=Cluster(client, ["digits"]), progress=False)
    assert ledger.own_rows() == []


def test_what_is_asked_is_sent_as_code(monkeypatch):
    """A worker that cannot import the project can still run the question, and says so."""
    cloudpickle = pytest.importorskip("cloudpickle")
    sent = cloudpickle.dumps(cluster._asker(["digits"]))
    script = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1]))()['error'])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['torch'] = None; {script}", sent.hex()],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "torch" in done.stdout, done.stderr


def test_a_fit_worker_says_what_it_is(monkeypatch):
    monkeypatch.setattr(datasets, "missing", {"digits": None, "music": "no network"}.get)
    found = cluster._asker(["digits", "music"])()
    assert (found["source"], found["torch"]) == (cluster.source_digest(), str(torch.__version__))
    assert found["missing"] == {"digits": None, "music": "no network"}
    assert cluster._problem(found) is None
