"""A toy project for each test."""

import pytest

from lib.reproduce import execution
from tests.toys import toy_project


@pytest.fixture
def project(tmp_path, monkeypatch):
    return toy_project(tmp_path, monkeypatch)


@pytest.fixture
def stubbed(project, monkeypatch):
    """The project, where notebooks are not really run: that takes seconds each."""
    monkeypatch.setattr(execution, "run_notebooks", project.stubbed)
    return project
