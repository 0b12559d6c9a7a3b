"""Where data cannot be had, what needs them is skipped by name and listed, and the rest runs."""

import json
import os
import shutil
from unittest import mock

import execnet
import pytest

from lib import datasets, paths

pytest_plugins = ["pytester"]

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


class Travel:
    """Every report arrives as those of worker processes do."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        sent = execnet.dumps(item.config.hook.pytest_report_to_serializable(config=item.config, report=report))
        return item.config.hook.pytest_report_from_serializable(config=item.config, data=execnet.loads(sent))


def test_missing_data_fail_nothing_and_one_table_names_what_was_skipped_and_why(pytester, monkeypatch):
    """In a project with this one's conftest."""
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(paths.ROOT / name, pytester.path)
    for folder in ("tests", "notebooks"):
        (pytester.path / folder).mkdir()
    (pytester.path / "tests" / "test_any.py").write_text(TESTS)
    (pytester.path / "notebooks" / "23_both.ipynb").write_text(notebook("labelme", "music"))
    monkeypatch.setattr(datasets, "missing", lambda name: None if name == "digits" else f"no {name} here: get it from there")
    with mock.patch.dict(os.environ):  # where the copied conftest writes folders of its own
        session = pytester.runpytest_inprocess("-n", "0", plugins=[Travel()])
    assert session.ret == 0
    session.assert_outcomes(passed=1, skipped=4)
    lines = [" ".join(line.split()) for line in session.outlines if line]
    assert lines[lines.index("data set what was skipped; why, and how to get the data") + 1 : -1] == [
        "labelme notebooks/23_both.ipynb (2)",
        "tests/test_any.py::test_photographs (2)",
        "no labelme here: get it from there",
        "music notebooks/23_both.ipynb (2)",
        "no music here: get it from there",
    ]
