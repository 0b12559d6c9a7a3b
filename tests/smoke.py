"""Notebooks at ``smoke``, one after the other in one process, which imports torch once: ``python -m tests.smoke NOTEBOOK ...``.

Prints what failed, by notebook, as JSON. Nothing is drawn.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import matplotlib as mpl
import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib import pyplot as plt

from lib.reproduce import notebooks


def run(path: Path, shell: InteractiveShell) -> str | None:
    """What the first cell that failed raised."""
    os.chdir(path.parent)
    shell.reset()
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            source = cell.source
            if notebooks.PARAMETERS_TAG in cell.metadata.get("tags", ()):
                source = source.replace('"quick"', '"smoke"')
                assert source != cell.source, f"{path.name} has no scale"
            with capture_output():
                result = shell.run_cell(source)
            if not result.success:
                return f"{result.error_before_exec or result.error_in_exec!r} in {source}"
    plt.close("all")
    return None


if __name__ == "__main__":
    mpl.use("agg")
    shell = InteractiveShell.instance()
    sys.stdout.write(json.dumps({path: told for path in sys.argv[1:] if (told := run(Path(path), shell)) is not None}))
