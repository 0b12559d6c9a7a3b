"""A toy project for each test."""

import pytest

from lib.reproduce import execution
from tests.toys import toy_project, write_notebook


@pytest.fixture
def project(tmp_path, monkeypatch):
    return toy_project(tmp_path, monkeypatch)


@pytest.fixture
def stubbed(project, monkeypatch):
    """The project with one notebook; notebooks are not really run, which takes seconds each."""
    write_notebook("10_one")
    monkeypatch.setattr(execution, "run_notebooks", project.stubbed)
    return project
