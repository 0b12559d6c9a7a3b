"""A Dask cluster, played by an object that answers as its client would; a real one is in test_reproduce."""

import re
import subprocess
import sys

import pytest

from lib.runs import cluster, ledger
from lib.runs.cluster import Cluster, ClusterError
from lib.runs.sweep import RunFailed, sweep
from lib.runs.workers import InThisProcess
from tests.toys import toy_config as config


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
        self.used.append(workers)
        return InThisProcess()


def run(configs, client, *names):
    return sweep(configs, executor=Cluster(client, names or ["digits"]), progress=False)


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
    assert [row["config"]["seed"] for row in run([config(0), config(1)], client)] == [0, 1]
    assert client.used == [["a"], ["a"]]
    assert client.asked == ["a", "b"]  # once
    assert len(caplog.records) == 1
    assert re.search(problem, caplog.text)


def test_a_run_goes_to_a_worker_that_has_its_data(trained):
    lacking, whole = {"digits": None, "music": "no network"}, {"digits": None, "music": None}
    client = Client(a=(1, {"missing": lacking}), b=(1, {"missing": whole}))
    run([config(0), config(1, dataset="music")], client, "digits", "music")
    assert sorted(client.used) == [["a", "b"], ["b"]]
    client.workers.pop("b")
    with pytest.raises(
        RunFailed, match=r"1 runs failed, the first: .* music .*: no worker can have its data; host-a: no network"
    ):
        run([config(2), config(3, dataset="music")], client, "digits", "music")
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
    with pytest.raises(RunFailed, match="the worker has other code than the machine that sent it toy: majority-vote"):
        sweep([config()], executor=pool, progress=False)
    assert trained == []


def test_a_lost_scheduler_is_said_once(trained, monkeypatch):
    client = Client(a=(1, {}))

    def lose(*words):
        client.status = "closed"
        raise RuntimeError("cancelled")

    monkeypatch.setattr(cluster, "_checked", lose)
    with pytest.raises(ClusterError, match="the Dask scheduler is gone"):
        run([config(seed) for seed in range(5)], client)
    assert ledger.own_rows() == []


def test_what_is_asked_is_sent_as_code():
    """A worker that cannot import the project can still run the question, and says so."""
    cloudpickle = pytest.importorskip("cloudpickle")
    sent = cloudpickle.dumps(cluster._asker(["digits"]))
    script = "import pickle, sys; sys.modules['torch'] = None; print(pickle.loads(bytes.fromhex(sys.argv[1]))()['error'])"
    done = subprocess.run([sys.executable, "-c", script, sent.hex()], cwd="/", capture_output=True, text=True, check=False)
    assert "torch" in done.stdout, done.stderr
