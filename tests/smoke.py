"""Notebooks with other parameters, one after the other in one process that imports torch once.

A kernel each would take longer to start than what a notebook trains at ``smoke``. Figures are saved, but not shown.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib import paths
from lib.reproduce.notebooks import PARAMETERS_TAG

RunNotebook = Callable[[Path, dict, dict[str, str]], str | None]


@contextmanager
def one_process() -> Iterator[RunNotebook]:
    """A function of a notebook's path, parameters and environment: what the first cell that failed raised, or None."""
    command = [sys.executable, "-m", "tests.smoke"]
    with subprocess.Popen(command, cwd=paths.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(path: Path, parameters: dict, environment: dict[str, str]) -> str | None:
            process.stdin.write(json.dumps([str(path), parameters, environment]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, f"the process that runs notebooks ended at {path.name}"
            return json.loads(answer)

        yield run
        process.stdin.close()


def executed(path: Path) -> Iterator[tuple]:
    """Run a notebook here, cell by cell: the shell, and of each code cell the cell, its result and its outputs."""
    import matplotlib as mpl
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from matplotlib import pyplot as plt

    mpl.use("agg")
    plt.close("all")
    os.chdir(path.parent)
    shell = InteractiveShell.instance()
    shell.reset()
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(line for line in cell["source"] if not line.startswith("%config"))
            with capture_output() as captured:
                result = shell.run_cell(source, store_history=True)
            yield shell, cell, result, captured


def _first_failure(path: Path, parameters: dict) -> str | None:
    for shell, cell, result, _ in executed(path):
        if not result.success:
            return f"{result.error_before_exec or result.error_in_exec!r} in {''.join(cell['source'])}"
        if PARAMETERS_TAG in cell["metadata"].get("tags", ()):
            if unknown := set(parameters) - set(shell.user_ns):
                return f"no parameter {', '.join(sorted(unknown))}"
            shell.push(parameters)
    return None


def _serve() -> None:
    from lib.runs import sweep

    sweep.processors = lambda: 1  # train here: workers would have to be started for each notebook
    answers = sys.stdout
    for line in sys.stdin:
        path, parameters, environment = json.loads(line)
        os.environ.update(environment)
        failure = _first_failure(Path(path), parameters)
        answers.write(json.dumps(failure) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
