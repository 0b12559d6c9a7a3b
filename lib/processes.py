"""Worker processes: how many there may be, and that none outlives the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

__all__ = ["end_with_parent", "processors"]


def processors() -> int:
    """How many processors this process may use; fewer than the machine has in a container or under a batch system."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_parent() -> None:
    """Initializer for a pool: let a worker die with the process that started it, and leave Ctrl-C to that process.

    After kill -9 nobody tells the workers to stop: each holds both ends of the pipe that it reads, so none of them ever
    sees it closed. A thread waits for the parent instead.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; a traceback from each says nothing
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
