"""Tests and committed notebooks run against the reference rows, and what lacks its data is skipped by name.

A test says what it needs by ``@pytest.mark.needs_data("labelme")``, a notebook by the list ``data`` in its
``companion`` metadata. What cannot be had is listed in one table after all results, with the reason and how to get it.
"""

import os
import shutil
import tempfile
import textwrap
import time
from collections import Counter, defaultdict
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pytest

MISSING = "missing_data"  # the user property that carries a skip from an xdist worker to the table
SCRATCH = pytest.StashKey[str]()
BEGUN = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment that tests and the kernels of nbval inherit; nothing they write lands in the project."""
    from lib.reproduce import notebooks

    # nbval would read a relative path from the folder that pytest was started in.
    config.option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval.cfg")
    if hasattr(config, "workerinput"):  # an xdist worker inherits what follows
        return
    config.stash[BEGUN] = time.monotonic()
    scratch = config.stash[SCRATCH] = tempfile.mkdtemp(prefix="learning-from-crowds-")
    folders = {f"CROWDS_{name}": str(Path(scratch, name.lower())) for name in ("FIGURES", "RUNS")}
    os.environ.update(notebooks.kernel_environment(CROWDS_LEDGER="reference", **folders))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write down how long all tests took, where all of them ran and passed: the README says it."""
    config = session.config
    if exitstatus != pytest.ExitCode.OK or config.invocation_params.args or BEGUN not in config.stash:
        return
    from lib import paths
    from lib.results import minutes

    seconds = time.monotonic() - config.stash[BEGUN]
    minutes.take_in([minutes.measured(minutes.TESTS, "", seconds, config.option.numprocesses)], paths.build() / minutes.NAME)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the session wrote."""
    if SCRATCH in config.stash:
        shutil.rmtree(config.stash[SCRATCH], ignore_errors=True)


@cache
def _needs(notebook: Path) -> tuple[str, ...]:
    from lib.reproduce import notebooks

    return notebooks.inspect(notebook).data


@cache
def _reason(name: str) -> str | None:
    from lib import datasets

    return datasets.missing(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test or a notebook's cell whose data cannot be had; first, so that no kernel starts for nothing."""
    names = [name for mark in item.iter_markers("needs_data") for name in mark.args]
    names += _needs(item.path) if item.path.suffix == ".ipynb" else ()
    missing = {name: reason for name in names if (reason := _reason(name)) is not None}
    if missing:
        item.user_properties.append((MISSING, list(missing.items())))
        pytest.skip(f"needs the data of {', '.join(missing)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The one table of everything that was skipped for want of data: notebooks and tests, not their cells and cases."""
    skipped: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, str] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        for name, reason in dict(report.user_properties).get(MISSING, ()):
            skipped[name][report.nodeid.split("::" if ".ipynb::" in report.nodeid else "[")[0]] += 1
            reasons[name] = reason
    if not skipped:
        return
    terminalreporter.section("skipped: data that this machine does not have")
    width = max(shutil.get_terminal_size((120, 24)).columns - 22, 40)
    lines = [("data set", "what was skipped; why, and how to get the data")]
    for name in sorted(skipped):
        what = [f"{place} ({count})" if count > 1 else place for place, count in sorted(skipped[name].items())]
        why = textwrap.wrap(reasons[name], width - 2, break_long_words=False, break_on_hyphens=False)
        lines += zip_longest([name], [*what, *(f"  {line}" for line in why)], fillvalue="")
    for label, text in lines:
        terminalreporter.line(f"{label:<20s}  {text}")
