"""Where data cannot be had, what needs them is skipped by name and listed, and the rest runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from lib import paths

NO_NETWORK = """
import sys, types
import lib

lib.datasets = sys.modules["lib.datasets"] = types.SimpleNamespace(
    missing=lambda name: None if name == "digits" else f"no {name} here: get it from there"
)
"""
TESTS = """
import pytest

@pytest.mark.needs_data("labelme", "digits")
@pytest.mark.parametrize("k", [1, 2])
def test_photographs(k):
    raise AssertionError

@pytest.mark.needs_data("digits")
def test_digits():
    pass
"""


def notebook(*data: str) -> str:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": 1, "source": "raise ValueError"}
    cells = [{**cell, "id": "a"}, {**cell, "id": "b"}]
    metadata = {"companion": {"data": list(data)}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture(scope="module", params=[0, 2])
def session(request, tmp_path_factory):
    """A project with this one's conftest, and the output of pytest in it, without and with worker processes."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(paths.ROOT / "conftest.py", folder)
    shutil.copy(paths.ROOT / "pyproject.toml", folder)
    (folder / "no_network.py").write_text(NO_NETWORK)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_any.py").write_text(TESTS)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "23_both.ipynb").write_text(notebook("labelme", "music"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(paths.ROOT)])
    command = [sys.executable, "-m", "pytest", "-p", "no_network", "-n", str(request.param)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_missing_data_fail_nothing(session):
    assert session.returncode == 0, session.stdout
    assert "1 passed, 4 skipped" in session.stdout.splitlines()[-1]


def test_one_table_names_what_was_skipped_and_why(session):
    lines = [" ".join(line.split()) for line in session.stdout.splitlines() if line]
    assert lines[lines.index("data set what was skipped; why, and how to get the data") + 1 : -1] == [
        "labelme notebooks/23_both.ipynb (2)",
        "tests/test_any.py::test_photographs (2)",
        "no labelme here: get it from there",
        "music notebooks/23_both.ipynb (2)",
        "no music here: get it from there",
    ]
