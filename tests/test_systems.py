"""Other machines than the one this was written on, as far as that can be tried here: one without ``fcntl`` and ``fork``, as
Windows is, and without the notebook tools, as a machine that only trains."""

import subprocess
import sys

from lib import paths

# filelock, which we lock with, has its own way on Windows, and is imported first.
EVERY_MODULE = """
import importlib, multiprocessing, os, pkgutil, signal, sys
import filelock, torch, asyncio, subprocess, tempfile, matplotlib.pyplot
for name in ("fcntl", "pwd", "grp", "resource", "termios"):
    sys.modules[name] = None  # importing it raises ImportError
for name in "papermill nbclient nbval nbformat nbconvert pooch requests crowdkit distributed dask torchvision IPython".split():
    assert name not in sys.modules
    sys.modules[name] = None
for name in ("fork", "sched_getaffinity", "getuid", "WNOHANG"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGALRM"):
    delattr(signal, name)
import lib
found = [module.name for module in pkgutil.walk_packages(lib.__path__, "lib.") if not module.name.endswith("__main__")]
found = [name for name in found if not name.startswith("lib.site")]  # has a lock of its own
for name in [*found, "lib.reproduce.__main__"]:
    importlib.import_module(name)
from lib.runs.workers import processors
print(len(found), processors() > 0)
"""


def test_every_module_imports_without_what_windows_or_a_training_machine_lacks():
    done = subprocess.run([sys.executable, "-c", EVERY_MODULE], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, processors = done.stdout.split()
    assert int(count) > 60
    assert processors == "True"


def test_nobody_joins_paths_by_hand_or_forks():
    for file in (paths.ROOT / "lib").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for what in ("import fcntl", "os.fork", "os.path.join", '"fork"', "/tmp"):
            assert what not in text, f"{file.relative_to(paths.ROOT)} has {what}"
