"""Worker processes: how many there may be, and that none outlives the process that started it."""

import atexit
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress

from tqdm import tqdm


def processors() -> int:
    """How many processors this process may use; fewer than the machine has in a container or under a batch system."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class InThisProcess(Executor):
    """Calls at once, in the caller's process: for one job or one worker a pool would only cost its start."""

    _max_workers = 1

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """``fn(*args, **kwargs)`` as a future that is done."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes. Jobs that wait at the block's end are given up; after an exception those under way end at once too,
    since a run may take an hour."""
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context(**_context), initializer=_begin, initargs=(dict(os.environ),)
    )
    try:
        yield pool
    except BaseException:
        _end_server()  # first: a worker that it has yet to fork would look for a pool that is gone, and say so
        for worker in list((pool._processes or {}).values()):  # Python 3.14 has terminate_workers
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def warm_up() -> None:
    """Begin to load what runs need, beside whatever comes next here: workers then start at once. Does nothing where processes
    cannot be forked. From the main thread alone."""
    if sys.platform != "linux":
        return
    from multiprocessing import forkserver

    # Not forked from this process: a fork copies torch's thread pools in an unusable state. But from one that has loaded torch,
    # with what it imports at a first optimizer, and has not used it.
    forkserver.set_forkserver_preload(["lib.runs.sweep", "torch._dynamo", "sklearn.datasets"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in _end_with_parent, while it loads
    with suppress(OSError):  # no folder for its socket can be written
        forkserver.ensure_running()
        _context["method"] = "forkserver"
        atexit.register(_end_server)  # it would see only once it has loaded everything that nobody needs it any more
    signal.signal(signal.SIGINT, before)


_context = {"method": "spawn"}  # everywhere; see warm_up


def _end_server() -> None:
    from multiprocessing import forkserver

    if _context["method"] == "forkserver" and (pid := forkserver._forkserver._forkserver_pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _begin(environment: Mapping[str, str]) -> None:
    """Take over the environment, which may have changed since the first worker; then :func:`_end_with_parent`."""
    os.environ.clear()
    os.environ.update(environment)
    _end_with_parent()


def _end_with_parent() -> None:
    """Let a worker die with the process that started it, and leave Ctrl-C to that process.

    After kill -9 nobody tells the workers to stop: each holds both ends of the pipe that it reads and never sees it closed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; a traceback from each says nothing
    # The bars' own lock is a semaphore among processes: Python warns of it when a worker was ended that held one.
    tqdm.set_lock(threading.RLock())
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        if folder := multiprocessing.current_process()._config.get("tempdir"):  # of the parent: nobody else removes it now
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
