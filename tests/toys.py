"""A toy project for the tests of the command line: notebooks of three cells, runs that take no time."""

import signal

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lib import paths, protocols
from lib.reproduce import __main__ as reproduce
from lib.reproduce import execution
from lib.runs import ledger, sweep
from lib.runs.config import RunConfig, as_read

PARAMETERS = 'scale: str = "quick"\nseeds: list = [0, 1]\ndevice: str = "cpu"\nrecompute: bool = False'
# What every notebook does, in short: ask for its rows, show a number, leave a table.
READ = """
from lib import paths
from lib.runs import ledger
found = ledger.lookup(["toy"])
rows = [row for row in found.values() if row["config"]["scale"] == scale]
figures = paths.figures("{stem}")
figures.mkdir(parents=True, exist_ok=True)
(figures / "numbers.csv").write_text(str(sorted(row["metrics"]["test_acc_last"] for row in rows)))
print(len(rows), "rows", seeds)
"""
MADE = "2026-01-02T03:04:05+00:00"  # what a row says of when it was made


def write_notebook(stem, *code, data=(), parameters=PARAMETERS):
    """A toy notebook in the notebooks folder: a title, its parameters cell, then one cell for each text in ``code``."""
    cells = [new_markdown_cell(f"# Toy {stem}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source) for source in code or [READ.replace("{stem}", stem)]]
    companion = {"reproduces": f"Table of {stem}", "data": list(data)}
    path = paths.NOTEBOOKS / f"{stem}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"companion": companion}), path)
    return path


def toy_config(seed=0, method="majority-vote", experiment="toy", dataset="digits", **changes):
    """A run that nobody has to train."""
    return RunConfig(experiment, dataset, method, seed=seed, **changes)


def toy_row(config, value=None):
    """A finished run that took no time."""
    value = 0.8 + 0.01 * config.seed if value is None else value
    made = {"made": MADE, "code": "toy", "data": "toy", "torch": "toy"}
    history, metrics = {"test_acc": [value]}, {"test_acc_last": value}
    return {"key": config.key(), "config": as_read(config), "metrics": metrics, "history": history, "seconds": 0.1,
            "provenance": made}  # fmt: skip


def toy_grid(stem, scale, seeds):
    """Two notebooks share these runs; a third has none."""
    protocols.check_scale(scale)
    shared = [toy_config(seed, scale=scale) for seed in seeds]
    return {"10_one": shared, "11_two": shared}.get(stem, [])


def write_reference(seeds, value=None, **changes):
    """Committed rows."""
    rows = [toy_row(config, value) | changes for config in toy_grid("10_one", "quick", seeds)]
    ledger.write_reference("toy", rows)


class Project:
    """A toy project in a temporary folder, and the command line on it.

    Attributes:
        root: the folder.
        trained: the seeds of the runs that were trained.
        failing: seeds whose runs raise.
        interrupting: seeds at whose runs somebody presses Ctrl-C, or sends ``signal``.
        read: stems of the notebooks that were run, where they are stubbed.
    """

    def __init__(self, root):
        self.root = root
        self.trained, self.failing, self.interrupting, self.read = [], set(), set(), []
        self.signal = signal.SIGINT

    def run(self, *words):
        return reproduce.main([*words, "--workers", "1"])

    def train(self, config, device="cpu", progress=False):
        if config.seed in self.failing:
            raise RuntimeError("the loss is NaN")
        if config.seed in self.interrupting:
            signal.raise_signal(self.signal)
        self.trained.append(config.seed)
        return toy_row(config), None

    def stubbed(self, chosen, workers=None, **how):
        """In place of running notebooks, which takes seconds each."""
        for notebook in chosen:
            self.read.append(notebook.stem)
            yield execution.Outcome(notebook.stem, 0.0)


def toy_project(root, monkeypatch):
    """An empty project in ``root``; its runs finish at once."""
    monkeypatch.setattr(paths, "NOTEBOOKS", root / "notebooks")
    monkeypatch.setattr(reproduce, "_write_pages", list)  # it has none
    for name in ("RUNS", "REFERENCE", "FIGURES", "BUILD"):
        monkeypatch.setenv(f"CROWDS_{name}", str(root / name.lower()))
    monkeypatch.setenv("CROWDS_LEDGER", "")
    paths.NOTEBOOKS.mkdir()
    project = Project(root)
    monkeypatch.setattr(protocols, "grid", toy_grid)
    monkeypatch.setattr(sweep, "train", project.train)
    return project
