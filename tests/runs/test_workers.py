"""What is left behind by a process with workers that is killed."""

import os
import subprocess
import sys

import pytest

from lib import paths

KILLED = """
import os, signal, time
from multiprocessing import forkserver
from lib.runs import workers

forkserver.ensure_running()  # as in warm_up, but nothing is loaded
workers._context["method"] = "forkserver"
with workers.processes(1) as pool:
    pool.submit(int).result()
    print(os.listdir(os.environ["TMPDIR"]), flush=True)
    pool.submit(time.sleep, 600)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere")
def test_the_folder_of_the_fork_servers_socket_goes_though_the_process_that_made_it_was_killed(tmp_path):
    command, environment = [sys.executable, "-c", KILLED], os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert "pymp-" in done.stdout  # all that held its output have ended: the worker too
    assert not list(tmp_path.iterdir())
