"""Runs on the workers of a Dask cluster, each asked before its first run whether it is fit for it.

A worker is fit that has this very source code and this version of torch; a run goes to those that can have its data set. The
others are named, with their host and what is wrong. Whoever reaches a scheduler's port can run any code on its workers: keep
it inside a network that you trust, or give it TLS (``tls://HOST:8786``, see Dask's *Security*).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future

import torch

from lib import paths

log = logging.getLogger(__name__)

TIMEOUT = 10  # seconds for a scheduler to answer, for its first worker, and for a lost scheduler to come back


class ClusterError(ConnectionError):
    """No scheduler answers, it is lost, or none of its workers is fit; the message says which."""


@functools.cache
def source_digest() -> str:
    """16 hexadecimal digits over the source of ``lib``: equal on machines that compute the same."""
    digest = hashlib.sha256()
    for file in sorted((paths.ROOT / "lib").rglob("*.py")):
        digest.update(f"{file.relative_to(paths.ROOT).as_posix()}\n".encode())
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def connect(address: str, datasets: Iterable[str]) -> Cluster:
    """A cluster, for runs on some data sets. Raises ClusterError, also where Dask is not installed."""
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise ClusterError("a cluster needs the package distributed (see requirements.txt)") from error

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # we report ourselves
    dask.config.set({"distributed.comm.timeouts.connect": f"{TIMEOUT}s"})
    try:
        client = Client(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        raise ClusterError(f"no Dask scheduler answers at {address} within {TIMEOUT} s") from error
    cluster = Cluster(client, datasets)
    try:
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=TIMEOUT)
        if not client.nthreads():
            raise ClusterError(
                f"the Dask scheduler at {address} has no workers; start some in the project's folder: "
                f"python -m distributed.cli.dask_worker {address} --nthreads 1"
            )
        if not cluster.slots():
            raise ClusterError(f"no worker of the Dask scheduler at {address} is fit: {'; '.join(cluster.unfit.values())}")
    except BaseException:
        cluster.shutdown()
        raise
    return cluster


class Cluster(Executor):
    """An executor, and a context as any, whose size follows the cluster: workers may come and go.

    Attributes:
        unfit: what is wrong with a worker, by its address.
    """

    def __init__(self, client, datasets: Iterable[str]) -> None:
        self.client, self.datasets = client, sorted(set(datasets))
        self.unfit: dict[str, str] = {}
        self._lacks: dict[str, dict[str, str]] = {}  # the data sets that a fit worker cannot have, and why, by its address

    def slots(self) -> int:
        """How many runs can be under way at once."""
        return sum(self._fit().values())

    def submit(self, fn: Callable, /, config, *args, **kwargs) -> Future:
        """``fn(config, ...)`` on a worker that can have the configuration's data set; fails where there is none. Raises
        ClusterError where the scheduler is gone."""
        able = [address for address in self._fit() if config.dataset not in self._lacks[address]]
        if not able:
            reasons = [lacks[config.dataset] for lacks in self._lacks.values() if config.dataset in lacks]
            future: Future = Future()
            future.set_exception(RuntimeError("; ".join(["no worker can have its data", *reasons[:1]])))
            return future
        executor = self.client.get_executor(pure=False, workers=able)  # pure: equal arguments would be one task
        return executor.submit(_checked, source_digest(), config.key(), fn, config, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, which lives on."""
        self.client.close()

    def check(self) -> None:
        """Raises ClusterError where the scheduler is gone."""
        if self.client.status != "running":
            raise ClusterError("the Dask scheduler is gone, or its network")

    def _fit(self) -> dict[str, int]:
        """How many threads each fit worker has; those that are new are asked what they are."""
        self.check()
        threads = self.client.nthreads()
        new = [address for address in threads if address not in self._lacks and address not in self.unfit]
        for address, worker in self.client.run(_asker(self.datasets), workers=new).items() if new else ():
            if problem := _problem(worker):
                self.unfit[address] = f"{worker['host']} ({address}): {problem}"
                log.error("A worker gets no runs: %s", self.unfit[address])
            else:
                self._lacks[address] = {name: f"{worker['host']}: {why}" for name, why in worker["missing"].items() if why}
                for why in self._lacks[address].values():
                    log.warning("A worker gets no runs on a data set: %s", why)
        return {address: count for address, count in threads.items() if address in self._lacks}


def _asker(names: list[str]) -> Callable[[], dict]:
    """A function that a worker can run which cannot import this project: sent as code, since it is inside another."""

    def ask() -> dict:
        import pathlib
        import socket

        worker = {"host": socket.gethostname(), "folder": str(pathlib.Path.cwd())}
        try:
            import torch as there

            from lib import datasets
            from lib.runs import cluster
        except ImportError as error:
            return worker | {"error": str(error)}
        missing = {name: datasets.missing(name) for name in names}
        return worker | {"torch": str(there.__version__), "source": cluster.source_digest(), "missing": missing}

    return ask


def _problem(worker: dict) -> str | None:
    if "error" in worker:
        return f"it cannot import the project ({worker['error']}); start it in the project's folder, not in {worker['folder']}"
    named = {
        "source code of lib": (worker["source"], source_digest()),
        "version of torch": (worker["torch"], str(torch.__version__)),
    }
    for what, (theirs, ours) in named.items():
        if theirs != ours:
            return f"it has another {what} ({theirs}) than this machine ({ours})"
    return None


def _checked(source: str, key: str, fn: Callable, config, *args, **kwargs) -> object:
    """``fn(config, ...)``, unless the code here has changed since this worker was asked."""
    if source_digest() != source or config.key() != key:
        raise ClusterError(f"the worker has other code than the machine that sent it {config.describe()}")
    return fn(config, *args, **kwargs)
