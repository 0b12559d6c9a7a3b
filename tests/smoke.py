"""Notebooks with other parameters, one after the other in one process that imports torch once.

A kernel each would take longer to start than what a notebook trains at ``smoke``. Figures are saved, but not shown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib import paths

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


def _serve() -> None:
    import matplotlib as mpl
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from matplotlib import pyplot as plt

    from lib.reproduce import notebooks
    from lib.runs import sweep

    mpl.use("agg")
    sweep.processors = lambda: 1  # train here: workers would have to be started for each notebook
    shell, answers = InteractiveShell.instance(), sys.stdout

    def first_failure(path: Path, parameters: dict) -> str | None:
        os.chdir(path.parent)
        shell.reset()
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                source = "".join(line for line in cell.source.splitlines(keepends=True) if not line.startswith("%config"))
                with capture_output():
                    result = shell.run_cell(source)
                if not result.success:
                    return f"{result.error_before_exec or result.error_in_exec!r} in {source}"
                if notebooks.PARAMETERS_TAG in cell.metadata.get("tags", ()):
                    if unknown := set(parameters) - set(shell.user_ns):
                        return f"no parameter {', '.join(sorted(unknown))}"
                    shell.push(parameters)
        return None

    for line in sys.stdin:
        path, parameters, environment = json.loads(line)
        os.environ.update(environment)
        failure = first_failure(Path(path), parameters)
        plt.close("all")
        answers.write(json.dumps(failure) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
