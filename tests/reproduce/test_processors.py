"""What is committed depends on no processor: the notebooks with the instruction sets switched off that some of them lack."""

import os
import subprocess
import sys

from lib import paths
from tests.reproduce.switched_off import NOTHING


def test_committed_notebooks_show_the_same_without_the_larger_instruction_sets(tmp_path):
    environment = os.environ | NOTHING | {"CROWDS_LEDGER": "reference", "CROWDS_FIGURES": str(tmp_path)}
    command = [sys.executable, "-m", "tests.reproduce.switched_off"]
    done = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
