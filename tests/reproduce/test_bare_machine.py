"""A machine that only trains: no notebook tools, nothing that decodes or draws, no network, no mirror.

What it has: torch, numpy, scipy, pandas, scikit-learn, tqdm, this library, and the decoded images that were handed over.
"""

import json
import os
import subprocess
import sys

import pytest

from lib import datasets, paths
from lib.datasets import image_files, mnist
from lib.runs import ledger

PROGRAM = """
import importlib.abc, sys

ABSENT = '''papermill nbclient nbval nbformat nbconvert ipykernel IPython jupyterlab matplotlib seaborn PIL torchvision pooch
requests crowdkit distributed dask yaml'''.split()

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r} on this machine", name=name)

sys.meta_path.insert(0, Absent())
from lib.reproduce.__main__ import main
from lib.runs.config import RunConfig
from lib.runs.sweep import sweep
from lib.training.recipe import Recipe

out, images = sys.argv[1:]
words = ["--runs-only", "--only", "00", "--scale", "smoke", "--seeds", "0", "--budget", "120s", "--workers", "1", "--out", out]
print(main(words), main(["--merge", out]), main(["--list"]))
if images == "images":
    data = {"n_train": 100, "n_valid": 50, "n_test": 100}
    options = {"majority-vote": {}, "ccc": {"warmup": 0, "groups": 5, "per_class": 5, "gradient": "head"}}
    recipe = Recipe(epochs=1, batch_size=50)
    sweep([RunConfig("bare", "fashion_mnist", method, "lenet", recipe, data, given, scale="smoke")
           for method, given in options.items()], workers=1, progress=False)
try:
    import PIL
except ImportError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The folder of such a machine, on which everything was tried once, and what it said."""
    folder = tmp_path_factory.mktemp("bare")
    images = datasets.missing("fashion_mnist") is None
    if images:
        for piece in (mnist.SETS["fashion_mnist"].train, mnist.SETS["fashion_mnist"].test):
            image_files.read(piece)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CROWDS_", "PYTEST_"))}
    environment |= {
        "CROWDS_MIRROR": str(folder / "nowhere"),
        "CROWDS_RUNS": str(folder / "runs"),
        "CROWDS_REFERENCE": str(folder / "reference"),
        "CROWDS_CACHE": str(paths.cache()),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", PROGRAM, str(folder / "out"), "images" if images else ""]
    done = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_command_line_trains_hands_out_rows_and_merges_them(bare):
    folder, said = bare
    rows = [json.loads(file.read_text()) for file in (folder / "out").glob("*/*.json")]
    assert rows
    assert {row["config"]["scale"] for row in rows} == {"smoke"}
    assert f"Rows added to the reference: {len(rows)}, there already: 0\n" in said
    assert "\n0 0 0\n" in said
    assert said.endswith("No module named 'PIL' on this machine\n")


@pytest.mark.needs_data("fashion_mnist")
def test_images_train_from_what_was_handed_over(bare):
    rows = ledger.own_rows("bare", bare[0] / "runs")
    assert {row["config"]["method"] for row in rows} == {"majority-vote", "ccc"}
    fingerprint = datasets.fingerprint("fashion_mnist", n_train=100, n_valid=50, n_test=100)
    assert {row["provenance"]["data"] for row in rows} == {fingerprint}
