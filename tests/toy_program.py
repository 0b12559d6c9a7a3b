"""The command line on a toy project in another process: ``python -m tests.toy_program ROOT WORDS...``.

A run takes a moment and leaves a line in ``ROOT/trained``: its scale, seed and process. Notebooks are not run where there is
a file ``ROOT/stubbed``.
"""

import os
import sys
import time
from pathlib import Path

from lib import paths, protocols
from lib.reproduce import __main__ as reproduce
from lib.reproduce import execution
from lib.runs import sweep
from tests.toys import toy_grid, toy_row

root = Path(sys.argv[1])


def train(config, device="cpu", progress=False):
    with (root / "trained").open("a") as file:
        file.write(f"{config.scale} {config.seed} {os.getpid()}\n")
    time.sleep(0.1)
    return toy_row(config), None


# At the top level, so that the workers have them too.
paths.NOTEBOOKS = root / "notebooks"
protocols.grid = toy_grid
sweep.train = train
if (root / "stubbed").exists():
    execution.run_notebooks = lambda chosen, workers, **how: iter(())

if __name__ == "__main__":
    sys.exit(reproduce.main(sys.argv[2:]))
