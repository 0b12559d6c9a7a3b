"""A machine that only trains: no notebook tools, nothing that decodes or draws, no network, no mirror.

What it has: torch, numpy, scipy, pandas, scikit-learn, tqdm, this library, and the decoded images that were handed over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lib import datasets, paths
from lib.datasets import image_files, mnist
from lib.runs import ledger

ABSENT = (
    "papermill nbclient nbval nbformat nbconvert ipykernel IPython jupyterlab matplotlib seaborn PIL torchvision pooch "
    "requests crowdkit distributed dask yaml"
)
SITE = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT.split():
            raise ModuleNotFoundError(f"No module named {name!r} on this machine", name=name)

sys.meta_path.insert(0, Absent())
"""
TRAIN = """
from lib.runs.config import RunConfig
from lib.runs.sweep import sweep
from lib.training.recipe import Recipe

if __name__ == "__main__":
    data = {"n_train": 100, "n_valid": 50, "n_test": 100}
    configs = [
        RunConfig("bare", "fashion_mnist", method, "lenet", Recipe(epochs=1, batch_size=50), data, options, scale="smoke")
        for method, options in (("majority-vote", {}), ("ccc", {"warmup": 0, "groups": 5, "per_class": 5, "gradient": "head"}))
    ]
    print(sum(row is not None for row in sweep(configs, workers=1, progress=False)))
"""


@pytest.fixture
def bare(tmp_path):
    """Runs Python there; its worker processes lack the same packages."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(f'ABSENT = "{ABSENT}"\n{SITE}')
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CROWDS_", "PYTEST_"))}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(paths.ROOT)]),
        "CROWDS_MIRROR": str(tmp_path / "nowhere"),
        "CROWDS_RUNS": str(tmp_path / "runs"),
        "CROWDS_REFERENCE": str(tmp_path / "reference"),
        "CROWDS_CACHE": str(paths.cache()),
        "OMP_NUM_THREADS": "1",
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_the_packages_are_really_absent(bare):
    assert "No module named 'PIL' on this machine" in bare("-c", "import PIL").stderr


@pytest.mark.needs_data("fashion_mnist")
def test_images_train_from_what_was_handed_over(bare, tmp_path):
    fashion = mnist.SETS["fashion_mnist"]
    for piece in (fashion.train, fashion.test):
        image_files.read(piece)
    (tmp_path / "train.py").write_text(TRAIN)
    done = bare(str(tmp_path / "train.py"))
    assert done.stdout.strip() == "2", done.stderr
    rows = ledger.own_rows(folder=tmp_path / "runs")
    assert {row["config"]["method"] for row in rows} == {"majority-vote", "ccc"}
    assert {row["provenance"]["data"] for row in rows} == {
        datasets.fingerprint("fashion_mnist", n_train=100, n_valid=50, n_test=100)
    }


def test_the_command_line_trains_and_hands_out_rows(bare, tmp_path):
    words = ["--runs-only", "--only", "00", "--scale", "smoke", "--seeds", "0", "--budget", "120s", "--workers", "1"]
    done = bare("-m", "lib.reproduce", *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(file.read_text()) for file in (tmp_path / "out").glob("*/*.json")]
    assert rows
    assert {row["config"]["scale"] for row in rows} == {"smoke"}
    again = bare("-m", "lib.reproduce", "--merge", str(tmp_path / "out"))
    assert f"Rows added to the reference: {len(rows)}, there already: 0" in again.stdout
