"""Every unit test: no window opens, and the figures of one test are gone in the next."""

import sys

import pytest

from tests import smoke


@pytest.fixture(scope="session", autouse=True)
def _no_windows():
    """Draw into memory. MPLBACKEND would do the same to the kernels that tests start, whose figures must be shown."""
    import matplotlib

    matplotlib.use("Agg")


@pytest.fixture(scope="module")
def run_notebook():
    """Runs notebooks with other parameters, see :func:`tests.smoke.one_process`."""
    with smoke.one_process() as run:
        yield run


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
