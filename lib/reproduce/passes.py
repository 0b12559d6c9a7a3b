"""One pass over the notebooks: which runs they need, running them, and going on where a killed pass stopped.

A pass first computes the union of all grids in one pool, so that runs which several notebooks share are made once and
no processor waits for another notebook. Then the notebooks run, each in a process of its own, and read the fresh rows.
The ledger remembers finished runs; a small stamp beside it remembers when the pass began, so that the same command,
given again after a crash, knows which rows are fresh.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from lib import paths
from lib.reproduce import notebooks
from lib.reproduce.normalized import dumps, is_complete, normalize
from lib.reproduce.notebooks import Notebook, NotebookError, NotebookFailed
from lib.runs import ledger
from lib.runs.workers import end_with_parent, processors
from lib.storage import write_atomically

__all__ = [
    "Order",
    "Outcome",
    "Stamp",
    "fresh_rows",
    "in_place",
    "orders",
    "plan",
    "run_notebooks",
    "union",
    "without_data",
]


# ---------------------------------------------------------------------- what a pass is about


@dataclass(frozen=True)
class Stamp:
    """When an unfinished pass began, kept beside the ledger until the pass ends.

    Args:
        path: the file; its name is a hash of what the pass is about, so a different selection is a different pass.
        started: UNIX time in whole seconds, as precise as a row's own time.
        resumed: whether the file was there already.
    """

    path: Path
    started: int
    resumed: bool

    @classmethod
    def begin(cls, about: Mapping[str, object], fresh: bool = False) -> Stamp:
        """Take up the unfinished pass about the same selection, or begin a new one (always with ``fresh``)."""
        text = json.dumps(about, sort_keys=True)
        path = paths.runs() / f"pass-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        if not fresh:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # no stamp, or none that can be read
                return cls(path, int(json.loads(path.read_text(encoding="utf-8"))["started"]), resumed=True)
        started = int(time.time())
        write_atomically(path, json.dumps({"started": started, "about": about}) + "\n")
        return cls(path, started, resumed=False)

    def end(self) -> None:
        """Forget the pass: it is complete."""
        self.path.unlink(missing_ok=True)


def without_data(chosen: Sequence[Notebook]) -> dict[str, list[tuple[str, str]]]:
    """The notebooks whose data cannot be had: stem to pairs of data set and reason. Each data set is tried once.

    Raises:
        NotebookError: a notebook names a data set that does not exist.
    """
    from lib import datasets

    reasons: dict[str, str | None] = {}
    for notebook in chosen:
        for name in notebook.data:
            if name not in reasons:
                try:
                    reasons[name] = datasets.missing(name)
                except ValueError as error:
                    raise NotebookError(f"{notebook.stem}: {error}") from error
    missing = {n.stem: [(name, reasons[name]) for name in n.data if reasons[name] is not None] for n in chosen}
    return {stem: pairs for stem, pairs in missing.items() if pairs}


def plan(chosen: Sequence[Notebook], scale: str, seeds: Sequence[int] | None) -> dict[str, list]:
    """The runs that each notebook will ask for: stem to RunConfigs; seeds default to those of the notebook."""
    from lib import protocols

    grids = {}
    for notebook in chosen:
        own_seeds = notebook.default("seeds") if seeds is None else seeds
        grids[notebook.stem] = protocols.grid(notebook.stem, scale, list(own_seeds or [0]))
    return grids


def union(grids: Mapping[str, Sequence]) -> list:
    """The runs of all notebooks, each once."""
    return list({config.key(): config for grid in grids.values() for config in grid}.values())


def fresh_rows(configs: Sequence, started: float | None) -> dict[str, dict]:
    """The user's own rows for some configurations, by key: those made since ``started``, or all of them for None."""
    experiments = sorted({config.experiment for config in configs})
    rows = {row["key"]: row for experiment in experiments for row in ledger.own_rows(experiment)}
    wanted = {config.key() for config in configs} & rows.keys()
    return {key: rows[key] for key in wanted if started is None or ledger.made(rows[key]) >= started}


# ---------------------------------------------------------------------- running notebooks


@dataclass(frozen=True)
class Order:
    """One notebook to run in a worker process.

    Args:
        notebook: what to run.
        output: where the executed copy goes.
        figures: where its figures and tables go, once all of it ran.
        parameters: what to inject.
        environment: variables for its kernel.
        replace: make the committed notebook and its figures folder anew from this run.
    """

    notebook: Notebook
    output: Path
    figures: Path
    parameters: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    replace: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a notebook's run ended: its stem, seconds, and the error message of a failed one."""

    stem: str
    seconds: float
    error: str | None = None


def orders(
    chosen: Sequence[Notebook],
    given: Mapping[str, object],
    scale: str,
    figures: Callable[[str], Path] = paths.figures,
) -> list[Order]:
    """What to run in a pass: rows come from the user's own ledger, which the pass has just filled.

    Args:
        chosen: the notebooks.
        given: parameters that were asked for; a notebook without one of them is an error.
        scale: injected too where a notebook has it, whatever its default.
        figures: notebook stem to the folder for its figures.

    Raises:
        NotebookError: an unknown or ill-typed parameter.
    """
    made = []
    for notebook in chosen:
        parameters = dict(given)
        if any(parameter.name == "scale" for parameter in notebook.parameters):
            parameters["scale"] = scale
        notebooks.check_parameters(notebook, parameters)
        output = paths.BUILD / "notebooks" / notebook.path.name
        made.append(Order(notebook, output, figures(notebook.stem), parameters, _ledger("own")))
    return sorted(made, key=lambda order: -order.notebook.minutes.get(scale, float("inf")))


def in_place(chosen: Sequence[Notebook]) -> list[Order]:
    """What makes the committed notebooks: default parameters, reference rows only."""
    folder = paths.BUILD / "in-place"
    environment = _ledger("reference")
    return [
        Order(notebook, folder / notebook.path.name, paths.figures(notebook.stem), {}, environment, replace=True)
        for notebook in chosen
    ]


def _ledger(order: str) -> dict[str, str]:
    # A kernel works in another folder than we do, so a relative path in our environment must not reach it.
    folders = {"CROWDS_RUNS": paths.runs(), "CROWDS_REFERENCE": paths.reference(), "CROWDS_CACHE": paths.cache()}
    if (mirror := paths.mirror()) is not None:
        folders["CROWDS_MIRROR"] = mirror
    return {"CROWDS_LEDGER": order} | {name: str(folder.resolve()) for name, folder in folders.items()}


def run_notebooks(todo: Sequence[Order], workers: int | None = None) -> Iterator[Outcome]:
    """Run notebooks in worker processes, in the order given, and tell of each as it ends; a failed one stops no other.

    Processes, since papermill changes the folder of the process it runs in. When this process ends, in whatever way,
    its workers and their kernels end too.
    """
    if not todo:
        return
    pool = ProcessPoolExecutor(
        max_workers=min(workers or processors(), len(todo)),
        mp_context=multiprocessing.get_context("spawn"),  # a forked copy of a process that has trained may hang
        initializer=end_with_parent,
    )
    complete = False
    try:
        started = {pool.submit(perform, order): order.notebook.stem for order in todo}
        for future in as_completed(started):
            error = future.exception()
            outcome = Outcome(started[future], 0.0, _words(started[future], error)) if error else future.result()
            yield outcome
        complete = True
    finally:
        if not complete:
            for child in multiprocessing.active_children():
                child.terminate()
        pool.shutdown(wait=complete, cancel_futures=True)


def _words(stem: str, error: BaseException) -> str:
    return str(error) if isinstance(error, NotebookFailed) else f"{stem}: {type(error).__name__}: {error}"


def perform(order: Order) -> Outcome:
    """Run one notebook. Figures are written to a folder of its own and published only after a complete run.

    Raises:
        NotebookFailed: see ``notebooks.execute``; nothing that is committed has been touched.
    """
    started = time.monotonic()
    stem = order.notebook.stem
    staging = order.output.parent / f"{stem}.figures"
    shutil.rmtree(staging, ignore_errors=True)
    environment = {**order.environment, "CROWDS_FIGURES": str(staging.resolve())}
    output = notebooks.execute(order.notebook, order.parameters, order.output, environment=environment)
    if order.replace:
        clean = normalize(json.loads(output.read_text(encoding="utf-8")))
        if not is_complete(clean):
            raise NotebookFailed(f"{stem}: it ended before its last cell, so the committed notebook stays as it is")
        _publish(staging / stem, order.figures, prune=True)
        write_atomically(order.notebook.path, dumps(clean))
    else:
        _publish(staging / stem, order.figures)
    shutil.rmtree(staging, ignore_errors=True)
    return Outcome(stem, time.monotonic() - started)


def _publish(made: Path, target: Path, prune: bool = False) -> None:
    """Put new figures into place one by one; with ``prune`` also remove what the notebook does not make any more."""
    files = [path for path in sorted(made.rglob("*")) if path.is_file()] if made.is_dir() else []
    for path in files:
        write_atomically(target / path.relative_to(made), path.read_bytes())
    kept = {path.relative_to(made) for path in files}
    for path in target.rglob("*") if prune and files else ():
        if path.is_file() and path.relative_to(target) not in kept:
            path.unlink()
