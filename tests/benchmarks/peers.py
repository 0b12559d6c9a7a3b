"""Where the peers are, and a process of each that answers.

A peer runs in a Python of its own, which an environment variable names, or the folder of its virtual environment:

    crowd-kit   BENCH_CROWDKIT    our own environment by default, which has it
    peerannot   BENCH_PEERANNOT   with the package ``peerannot``
    MaML        BENCH_MAML        with ``lightning``, ``scikit-activeml``, ``omegaconf`` and ``mlflow-skinny``,
                BENCH_MAML_CHECKOUT   a checkout of ies-research/multi-annotator-machine-learning
    CCC         BENCH_CCC         our own environment by default, which has torch,
                BENCH_CCC_CHECKOUT    a checkout of the authors' code, Hansong-Zhang/CCC

``python -m tests.benchmarks.bench --install`` makes environments for peerannot and MaML in ``build/peers``, on top of our own
packages, so that both sides have the same NumPy and torch; they are found there. Nothing of a peer is copied.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from lib import paths

OURS = "ours"
PEERS = {"crowdkit": "crowd-kit", "peerannot": "peerannot", "maml": "MaML", "ccc": "the authors' CCC"}
PACKAGES = {
    "peerannot": [["--no-deps", "peerannot"], ["sparse"]],
    "maml": [["lightning", "scikit-activeml", "omegaconf", "mlflow-skinny"]],
}
CHECKOUTS = {"maml": "ies-research/multi-annotator-machine-learning", "ccc": "Hansong-Zhang/CCC"}
FOLDER = Path(__file__).parent


class Missing(Exception):
    """A peer is not there; the message says how to get it."""


class Stopped(Exception):
    """A run took too long, or ended with an error; the message says which."""


def _home(peer: str) -> Path:
    return paths.build() / "peers" / peer


def _in(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python_of(peer: str) -> tuple[Path, str]:
    """The Python that a side runs in, and the checkout on its path ("" for none). Raises Missing where there is none."""
    if peer == OURS:
        return Path(sys.executable), str(paths.ROOT)
    variable = f"BENCH_{peer.upper()}"
    named = os.environ.get(variable, "")
    if named:
        python = _in(Path(named)) if Path(named).is_dir() else Path(named)
        if not python.is_file():
            raise Missing(f"{variable} names {named}, which is no Python and no virtual environment")
    elif _in(_home(peer)).is_file():
        python = _in(_home(peer))
    elif peer in PACKAGES:
        raise Missing(f"set {variable} to a Python that has it, or make one with --install")
    else:
        python = Path(sys.executable)
    checkout = os.environ.get(f"{variable}_CHECKOUT", "")
    if peer in CHECKOUTS and not Path(checkout or "nowhere").is_dir():
        raise Missing(f"set {variable}_CHECKOUT to a checkout of {CHECKOUTS[peer]}")
    return python, checkout


def install() -> None:
    """Make the environments of peerannot and MaML in ``build/peers``, on top of our own packages."""
    import sysconfig

    for peer, lists in PACKAGES.items():
        subprocess.run([sys.executable, "-m", "venv", "--clear", _home(peer)], check=True)
        python = _in(_home(peer))
        purelib = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        folder = subprocess.run(purelib, check=True, capture_output=True, text=True).stdout.strip()
        (Path(folder) / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
        for packages in lists:
            subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)


class Side:
    """A process of ours or of a peer, whose answers may take ``limit`` seconds by the clock; ``version`` is of what is
    measured, after :meth:`prepare`. Raises Missing where it is not there."""

    def __init__(self, peer: str, limit: float) -> None:
        python, checkout = python_of(peer)
        self.peer, self.limit, self.version, self.dead = peer, limit, "", False
        self._folder = tempfile.TemporaryDirectory()
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        environment = os.environ | threads | {"PYTHONPATH": checkout, "PYTHONWARNINGS": "ignore"}
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115, closed by `close`
        self._process = subprocess.Popen(
            [python, FOLDER / "worker.py", peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            cwd=self._folder.name,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def close(self) -> None:
        """End the process, with the one that it may have left a task to."""
        self.dead = True
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._reader.join()  # at the end of what the process said
        self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def prepare(self, task: str, data: Path, options: dict) -> None:
        """Get a task ready. Raises Missing where a package is not there, Stopped where it cannot be done."""
        answer = self._ask({"task": task, "data": str(data), "options": options}, limit=max(self.limit, 120.0))
        if "missing" in answer:
            raise Missing(f"{answer['missing']}: see tests/benchmarks/peers.py")
        self.version = answer["version"]

    def run(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Run it once: ``cpu``, ``wall`` and ``peak_mb``, and the result. Raises Stopped where it took too long, or failed."""
        file = Path(self._folder.name, "result.npz")
        answer = self._ask({"result": str(file)}, self.limit)
        with np.load(file, allow_pickle=False) as stored:
            return answer, dict(stored)

    def end(self) -> None:
        """Be done with the task."""
        if not self.dead:
            with contextlib.suppress(Stopped):
                self._ask({"end": True}, self.limit)

    def _ask(self, question: dict, limit: float) -> dict:
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self.close()
            raise Stopped(f"more than {limit:.0f} s") from None
        except OSError:
            line = ""
        if not line:
            words = self._last_words()
            self.close()
            raise Stopped(f"the process ended: {words}")
        answer = json.loads(line)
        if "error" in answer:
            raise Stopped(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._log.flush()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return lines[-1] if lines else "without a word"


class Sides:
    """Processes of all sides, each started when it is asked for and again after it was stopped; closed by ``with``."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._sides: dict[tuple[str, int], Side] = {}

    def get(self, peer: str, number: int = 0) -> Side:
        """A side; another ``number`` is another process. Raises Missing where it is not there."""
        side = self._sides.get((peer, number))
        if side is None or side.dead:
            side = self._sides[peer, number] = Side(peer, self.limit)
        return side

    def __enter__(self) -> Sides:
        return self

    def __exit__(self, *_) -> None:
        for side in self._sides.values():
            if not side.dead:
                side.close()
