"""One pass over the notebooks: running them, and going on where a killed pass stopped.

What is fresh is in the pass's own ledger folder, ``passes/<hash of what was asked for>`` beside the user's rows. The same
command finds the same folder: after a crash it goes on there, and two at once share the work. When a pass ends, its rows go
to the user's own ledger; when it is complete, the folder goes. No clock has a part in it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from lib import paths
from lib.reproduce import notebooks
from lib.reproduce.notebooks import Notebook, NotebookError, NotebookFailed, dumps, is_complete, normalize
from lib.runs import ledger
from lib.runs.workers import processes, processors
from lib.storage import in_use, locked, remove_unused, write_atomically


class Pass:
    """A fresh pass and its ledger ``folder``; a context in which it is in use. Raises NotWritable.

    Args:
        about: what was asked for; another selection is another pass.
        begin_again: do not go on with a pass that was interrupted.

    Attributes:
        resumed: whether there are rows of an unfinished pass about the same.
        complete: set it when all went well.
    """

    def __init__(self, about: Mapping[str, object], begin_again: bool = False) -> None:
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
        self.folder, self.complete = paths.runs() / "passes" / name, False
        self._lock, self._use, self._time = self.folder.with_suffix(".lock"), ExitStack(), self.folder / "seconds.txt"
        with locked(self._lock):
            if begin_again:
                remove_unused(self.folder)
            self.resumed = any(self.folder.glob("*/*.json"))
            self._use.enter_context(in_use(self.folder))

    def __enter__(self) -> Pass:
        return self

    @contextmanager
    def timed(self, workers: int) -> Iterator[None]:
        """Add what so many processes spend within to the pass's time."""
        began = time.monotonic()
        try:
            yield
        finally:
            with locked(self._lock):
                write_atomically(self._time, f"{self.seconds + workers * (time.monotonic() - began):.1f}\n")

    @property
    def seconds(self) -> float:
        """Of all processes within :meth:`timed` until now, also of commands that were interrupted; a killed one's are lost."""
        try:
            return float(self._time.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0.0

    def __exit__(self, *error) -> None:
        with locked(self._lock):
            self._use.close()
            for row in ledger.own_rows(folder=self.folder):
                ledger.copy(row, self.folder, paths.runs())
            if self.complete:
                remove_unused(self.folder)


def without_data(chosen: Sequence[Notebook]) -> dict[str, list[tuple[str, str]]]:
    """The notebooks whose data cannot be had: stem to pairs of data set and reason. Each data set is tried once.

    Raises:
        NotebookError: a notebook names a data set that does not exist.
    """
    from lib import datasets

    reason, missing = functools.cache(datasets.missing), {}
    for notebook in chosen:
        try:
            pairs = [(name, why) for name in notebook.data if (why := reason(name)) is not None]
        except ValueError as error:
            raise NotebookError(f"{notebook.stem}: {error}") from error
        if pairs:
            missing[notebook.stem] = pairs
    return missing


class Outcome(NamedTuple):
    """How a notebook's run ended: its stem, seconds, and the error message of a failed one."""

    stem: str
    seconds: float
    error: str | None = None


def run_notebooks(chosen: Sequence[Notebook], workers: int | None = None, **how) -> Iterator[Outcome]:
    """Run notebooks in worker processes, in the order given, and tell of each as it ends; a failed one stops no other.

    Each in a process of its own, since papermill changes the folder of the process it runs in, and since one that is killed
    then takes no other with it. When this process ends, in whatever way, they and their kernels end too.
    By default as many at once as there are processors; for ``how`` see :func:`perform`.
    """
    if not chosen:
        return
    with _staging() as staging, ThreadPoolExecutor(min(workers or processors(), len(chosen))) as threads:
        started = {threads.submit(_alone, notebook, staging, how): notebook.stem for notebook in chosen}
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
    with ExitStack() as use:
        with locked(folder.with_suffix(".lock")):
            for old in folder.iterdir():
                remove_unused(old)
            staging = Path(tempfile.mkdtemp(dir=folder))
            use.callback(shutil.rmtree, staging, ignore_errors=True)
            use.enter_context(in_use(staging))
        yield staging


def _alone(notebook: Notebook, staging: Path, how: Mapping) -> Outcome:
    with processes(1) as process:
        return process.submit(perform, notebook, staging, **how).result()


def _words(stem: str, error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return f"{stem}: the process that ran it was killed, or out of memory"
    return str(error) if isinstance(error, NotebookFailed) else f"{stem}: {type(error).__name__}: {error}"


def perform(
    notebook: Notebook,
    staging: Path,
    parameters: Mapping[str, object] | None = None,
    runs: Path | None = None,
    in_place: bool = False,
) -> Outcome:
    """Run one notebook on the rows of a ledger folder, by default the user's own. Its copy and figures go to a folder of the
    pass, and are published together after a complete run. With ``in_place`` it reads the reference alone, and the committed
    notebook and its figures are made again.

    Raises NotebookFailed, see :func:`lib.reproduce.notebooks.execute`; nothing that is committed has then been touched.
    """
    started, stem, parameters = time.monotonic(), notebook.stem, parameters or {}
    made = staging / stem
    output = paths.build() / ("in-place" if in_place else "notebooks") / notebook.path.name
    partial = output.with_name(f"{stem}.partial.ipynb")
    # Smoke numbers mean nothing, so they do not go where the committed figures are.
    figures = paths.build() / "figures" / stem if parameters.get("scale") == "smoke" else paths.figures(stem)
    folders = {
        "FIGURES": made / "figures",
        "RUNS": runs or paths.runs(),
        "REFERENCE": paths.reference(),
        "CACHE": paths.cache(),
    }
    folders |= {"MIRROR": mirror} if (mirror := paths.mirror()) else {}
    # The kernel works in another folder than we do, so a relative path in our environment must not reach it.
    environment = {f"CROWDS_{name}": str(folder.resolve()) for name, folder in folders.items()}
    environment["CROWDS_LEDGER"] = "reference" if in_place else "own"
    copy, clean = made / output.name, {}
    try:
        notebooks.execute(notebook, parameters, copy, environment)
        if in_place:
            clean = normalize(json.loads(copy.read_text(encoding="utf-8")))
            if not is_complete(clean):
                raise NotebookFailed(f"{stem}: it ended before its last cell, so the committed notebook stays as it is")
    except NotebookFailed as error:
        if not (ran := copy.read_bytes()):
            raise
        write_atomically(partial, ran)
        raise NotebookFailed(f"{error}; what ran is in {partial}") from error.__cause__
    with locked(paths.build() / "locks" / f"{stem}.lock"):  # so that files of two passes do not mix
        _publish(made / "figures" / stem, figures, prune=in_place)
        write_atomically(output, copy.read_bytes())
        partial.unlink(missing_ok=True)
        if in_place:
            write_atomically(notebook.path, dumps(clean))
    return Outcome(stem, time.monotonic() - started)


def _publish(made: Path, target: Path, prune: bool) -> None:
    """Put new figures into place one by one; with ``prune`` also remove what the notebook does not make any more."""
    files = [path for path in sorted(made.rglob("*")) if path.is_file()]
    for path in files:
        write_atomically(target / path.relative_to(made), path.read_bytes())
    kept = {path.relative_to(made) for path in files}
    for path in target.rglob("*") if prune and files else ():
        if path.is_file() and path.relative_to(target) not in kept:
            path.unlink()
