"""One side of a benchmark: a process that prepares a task, runs it when told to, and says what that took.

It runs in the Python of whoever is measured, so it needs nothing but the standard library and NumPy:

    python worker.py crowdkit

``side_<name>.py`` beside it holds what that side can do: functions ``task(data, **options)`` that return a function without
arguments, whose time is taken and whose result, arrays by name, is compared; and ``version()``. Questions come in and answers
go out as lines of JSON; arrays go through files.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np

STATUS = Path("/proc/self/status")


def memory(field: str) -> float | None:
    """``VmRSS`` or ``VmHWM`` of this process in MiB; None where there is no /proc."""
    if not STATUS.is_file():
        return None
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Let ``VmHWM`` begin at what is held now."""
    if STATUS.is_file():
        Path("/proc/self/clear_refs").write_text("5")


def prepare(side, asked: dict):
    """The function to be timed."""
    with np.load(asked["data"], allow_pickle=False) as stored:
        data = dict(stored)
    return getattr(side, asked["task"])(data, **asked["options"])


def run(function, asked: dict) -> dict:
    """Seconds of the processor and by the clock, MiB beyond what was held before, and the result in a file."""
    forget_peak()
    before = memory("VmRSS")
    clock, processor = time.perf_counter(), time.process_time()
    result = function()
    answer = {"cpu": time.process_time() - processor, "wall": time.perf_counter() - clock, "peak_mb": None}
    if before is not None:
        answer["peak_mb"] = max(memory("VmHWM") - before, 0.0)
    np.savez(asked["result"], **result)
    return answer


def main(name: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    function, inside = None, False  # whether this is the child of a task
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        try:
            if "task" in asked:
                side = importlib.import_module(f"side_{name}")
                if in_child(asked, answers):
                    continue
                inside = hasattr(os, "fork")
                function = prepare(side, asked)
                answer = {"version": side.version()}
            elif "end" in asked:
                print("{}", file=answers)  # before it, nothing else is asked: a child that ends takes with it what it has read
                if inside:
                    os._exit(0)
                continue
            else:
                answer = run(function, asked)
        except ImportError as error:
            answer = {"missing": str(error)}
        except Exception as error:  # whatever a library raises becomes a row that says so
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


def in_child(asked: dict, answers) -> bool:
    """Leave a task to a child, until the line ``end``; False in the child, and where there are none.

    So no task finds memory that another has left, and what a side imports is imported once.
    """
    if not hasattr(os, "fork") or (child := os.fork()) == 0:
        return False
    _, status = os.waitpid(child, 0)
    if status:  # of a child that was killed
        print(json.dumps({"error": f"ended with status {status} (out of memory?) in {asked['task']}"}), file=answers)
    return True


if __name__ == "__main__":
    main(sys.argv[1])
