"""One pass over the notebooks: which runs they need, running them, and going on where a killed pass stopped.

A pass first computes the union of all grids in one pool, so that runs which several notebooks share are made once and
no processor waits for another notebook. Then the notebooks run, each in a process of its own, and read the fresh rows.

**What is fresh is in the pass's own ledger folder**, ``passes/<hash of what was asked for>`` beside the user's rows. The same
command finds the same folder: after a crash it goes on there, and two at once share the work. When a pass ends, its rows go
to the user's own ledger; when it is complete, the folder goes. No clock has a part in it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lib import paths
from lib.reproduce import notebooks
from lib.reproduce.notebooks import Notebook, NotebookError, NotebookFailed, dumps, is_complete, normalize
from lib.runs.workers import processes, processors
from lib.storage import in_use, locked, remove_unused, write_atomically

__all__ = ["Order", "Outcome", "Pass", "in_place", "orders", "plan", "run_notebooks", "union", "without_data"]


# ---------------------------------------------------------------------- what a pass is about


class Pass:
    """A fresh pass and its ledger folder; a context in which it is in use.

    Args:
        about: what was asked for; another selection is another pass.
        begin_again: do not go on with a pass that was interrupted.

    Attributes:
        folder: its ledger.
        resumed: whether there are rows of an unfinished pass about the same.
        complete: set it when all went well.

    Raises:
        NotWritable: the ledger's folder cannot be written.
    """

    def __init__(self, about: Mapping[str, object], begin_again: bool = False) -> None:
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
        self.folder, self.complete = paths.runs() / "passes" / name, False
        self._lock, self._use = self.folder.with_suffix(".lock"), ExitStack()
        with locked(self._lock):
            if begin_again:
                remove_unused(self.folder)
            self.resumed = any(self.folder.glob("*/*.json"))
            self._use.enter_context(in_use(self.folder))

    def __enter__(self) -> Pass:
        return self

    def __exit__(self, *error) -> None:
        with locked(self._lock):
            self._use.close()
            for kind in ("npz", "json"):  # a row says that its arrays are there
                for path in self.folder.glob(f"*/*.{kind}"):
                    write_atomically(paths.runs() / path.relative_to(self.folder), path.read_bytes())
            if self.complete:
                remove_unused(self.folder)


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


def union(grids: Mapping[str, Sequence]) -> dict[str, object]:
    """The runs of all notebooks, each once, by key, with all the arrays that any of them reads."""
    from lib.runs.config import each_once

    return each_once(config for grid in grids.values() for config in grid)


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
        replace: make the committed notebook and its figures folder again from this run.
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
    runs: Path | None = None,
) -> list[Order]:
    """What to run in a pass: rows come from the ledger folder that the pass has just filled.

    Args:
        chosen: the notebooks.
        given: parameters that were asked for; a notebook without one of them is an error.
        scale: injected too where a notebook has it, whatever its default.
        figures: notebook stem to the folder for its figures.
        runs: the pass's ledger folder; by default the user's own.

    Raises:
        NotebookError: an unknown or ill-typed parameter.
    """
    made = []
    for notebook in chosen:
        parameters = dict(given)
        if any(parameter.name == "scale" for parameter in notebook.parameters):
            parameters["scale"] = scale
        notebooks.check_parameters(notebook, parameters)
        output = paths.build() / "notebooks" / notebook.path.name
        made.append(Order(notebook, output, figures(notebook.stem), parameters, _ledgers("own", runs)))
    return made


def in_place(chosen: Sequence[Notebook]) -> list[Order]:
    """What makes the committed notebooks: default parameters, reference rows only."""
    folder, environment = paths.build() / "in-place", _ledgers("reference")
    return [
        Order(notebook, folder / notebook.path.name, paths.figures(notebook.stem), {}, environment, replace=True)
        for notebook in chosen
    ]


def _ledgers(order: str, runs: Path | None = None) -> dict[str, str]:
    # A kernel works in another folder than we do, so a relative path in our environment must not reach it.
    folders = {"CROWDS_RUNS": runs or paths.runs(), "CROWDS_REFERENCE": paths.reference(), "CROWDS_CACHE": paths.cache()}
    if (mirror := paths.mirror()) is not None:
        folders["CROWDS_MIRROR"] = mirror
    return {"CROWDS_LEDGER": order} | {name: str(folder.resolve()) for name, folder in folders.items()}


def run_notebooks(todo: Sequence[Order], workers: int | None = None) -> Iterator[Outcome]:
    """Run notebooks in worker processes, in the order given, and tell of each as it ends; a failed one stops no other.

    Each in a process of its own, since papermill changes the folder of the process it runs in, and since one that is killed
    then takes no other with it. When this process ends, in whatever way, they and their kernels end too.
    """
    if not todo:
        return
    with _staging() as staging, ThreadPoolExecutor(min(workers or processors(), len(todo))) as threads:
        started = {threads.submit(_alone, order, staging): order.notebook.stem for order in todo}
        try:
            for future in as_completed(started):
                error = future.exception()
                yield Outcome(started[future], 0.0, _words(started[future], error)) if error else future.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            while any(future.running() for future in started):
                for child in multiprocessing.active_children():
                    child.terminate()
                time.sleep(0.05)
            raise


@contextmanager
def _staging() -> Iterator[Path]:
    """A folder of this pass, for what is not complete yet; those of passes that were killed are removed."""
    folder = paths.build() / "staging"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        for old in folder.iterdir():
            remove_unused(old)
        staging, use = Path(tempfile.mkdtemp(dir=folder)), ExitStack()
        use.enter_context(in_use(staging))
    try:
        with use:
            yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _alone(order: Order, staging: Path) -> Outcome:
    with processes(1) as process:
        return process.submit(perform, order, staging).result()


def _words(stem: str, error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return f"{stem}: the process that ran it was killed, or out of memory"
    return str(error) if isinstance(error, NotebookFailed) else f"{stem}: {type(error).__name__}: {error}"


def perform(order: Order, staging: Path) -> Outcome:
    """Run one notebook. Its copy and figures go to a folder of the pass, and are published together after a complete run.

    Raises:
        NotebookFailed: see ``notebooks.execute``; nothing that is committed has been touched.
    """
    started, stem = time.monotonic(), order.notebook.stem
    made = staging / stem
    environment = {**order.environment, "CROWDS_FIGURES": str((made / "figures").resolve())}
    output = notebooks.execute(
        order.notebook, order.parameters, made / order.output.name, environment=environment, failed=order.output.parent
    )
    clean = None
    if order.replace:
        clean = normalize(json.loads(output.read_text(encoding="utf-8")))
        if not is_complete(clean):
            raise NotebookFailed(f"{stem}: it ended before its last cell, so the committed notebook stays as it is")
    with locked(paths.build() / "locks" / f"{stem}.lock"):  # so that files of two passes do not mix
        _publish(made / "figures" / stem, order.figures, prune=order.replace)
        write_atomically(order.output, output.read_bytes())
        order.output.with_name(f"{order.output.stem}.partial.ipynb").unlink(missing_ok=True)
        if clean is not None:
            write_atomically(order.notebook.path, dumps(clean))
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
