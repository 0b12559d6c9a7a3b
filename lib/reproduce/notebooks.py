"""The project's notebooks: find them, check their parameters, run them through papermill, normalize what is committed.

A notebook is found, never listed: every ``notebooks/NN_<paper>_<result>.ipynb``. What it reproduces and needs
stands in its own metadata under ``companion``, its parameters in the cell tagged ``parameters``, one literal per line::

    scale: str = "quick"  # smoke, quick or paper

Finding and inspecting need nothing but Python, so that a machine without papermill can still train the runs.
"""

import ast
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib import paths
from lib.registry import unknown
from lib.storage import write_atomically

PARAMETERS_TAG = "parameters"
CELL_TYPES = ("code", "markdown", "raw")
START_TIMEOUT = 180  # seconds for a kernel to answer: a cold disk and a busy machine make it slow, not wrong


class NotebookError(ValueError):
    """Something was asked of a notebook that it does not have: an unknown name, an unknown or ill-typed parameter."""


class NotebookFailed(RuntimeError):
    """A notebook stopped before its end; the message says where, why, and where the partial copy is."""


@dataclass(frozen=True)
class Notebook:
    """What is known about a notebook without running it; ``reproduces`` is the paper's table or figure, empty for none."""

    path: Path
    reproduces: str
    data: tuple[str, ...]  # names of the data sets it needs
    types: dict[str, str]  # of its parameters, as written there
    defaults: dict[str, object]

    @property
    def stem(self) -> str:
        """The file name without ``.ipynb``, such as ``10_crowdlayer_labelme``."""
        return self.path.stem

    @property
    def number(self) -> str:
        """The digits in front, such as ``10``."""
        return self.stem.split("_")[0]


# ---------------------------------------------------------------------- finding and inspecting


def inspect(path: Path) -> Notebook:
    """Read one notebook's metadata and parameters.

    Raises:
        NotebookError: the file is no notebook, or its parameters cell holds something other than literals.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells, companion = content["cells"], content["metadata"].get("companion", {})
        data = tuple(companion.get("data", ()))
        if not all(cell["cell_type"] in CELL_TYPES for cell in cells):
            raise ValueError(f"cell_type must be one of {', '.join(CELL_TYPES)}")
        if not all(isinstance(name, str) for name in data):
            raise ValueError(f"data must be names, found {data}")
        declared = list(_parameters(cells, path.name))
        types = {name: annotation for name, annotation, _ in declared}
        defaults = {name: default for name, _, default in declared}
        return Notebook(path, companion.get("reproduces") or "", data, types, defaults)
    except NotebookError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotebookError(f"{path.name} is no notebook of format 4: {error!r}") from error


def select(patterns: Iterable[str] | None = None) -> list[Notebook]:
    """The committed notebooks asked for, by number (``10``) or full name (``10_crowdlayer_labelme``), by default all; sorted by
    name. Files that do not start with digits are none of ours.

    Raises:
        NotebookError: as :func:`inspect`; or a pattern that fits no notebook: the message names the closest and lists all.
    """
    every = [inspect(path) for path in sorted(paths.NOTEBOOKS.glob("[0-9]*_*.ipynb"))]
    if patterns is None:
        return every
    chosen = set()
    for pattern in map(str, patterns):
        name = pattern.rsplit("/", 1)[-1].removesuffix(".ipynb")
        fitting = [notebook.stem for notebook in every if name in (notebook.number, notebook.stem)]
        if not fitting:
            raise NotebookError(unknown("notebook", name, [notebook.stem for notebook in every]))
        chosen.update(fitting)
    return [notebook for notebook in every if notebook.stem in chosen]


def check_parameters(notebook: Notebook, values: Mapping[str, object]) -> None:
    """Refuse what papermill would only warn about.

    Raises:
        NotebookError: a name that the notebook has not, or a value that does not fit the type declared there.
    """
    known = notebook.types
    for name, value in values.items():
        if name not in known:
            raise NotebookError(f"{notebook.stem}: {unknown('parameter', name, list(known))}")
        expected = _TYPES.get(known[name], object)
        boolean = isinstance(value, bool)  # in Python a bool is an int; here True is no number of seeds
        if not isinstance(value, expected) or (boolean and expected not in (bool, object)):
            found = f"{value!r} ({type(value).__name__})"
            raise NotebookError(f"{notebook.stem}: the parameter {name!r} must be {known[name]}, found {found}")


_TYPES = {"str": str, "bool": bool, "int": int, "float": (int, float), "list": (list, tuple)}  # others are not checked


def _parameters(cells: list[dict], name: str) -> Iterator[tuple[str, str, object]]:
    """Name, type and default of each."""
    for cell in cells:
        if cell["cell_type"] == "code" and PARAMETERS_TAG in cell.get("metadata", {}).get("tags", ()):
            source = "".join(cell["source"])
            try:
                for line in ast.parse(source).body:
                    yield ast.unparse(line.target), ast.unparse(line.annotation), ast.literal_eval(line.value)
            except (SyntaxError, ValueError, AttributeError) as error:
                # Values are injected after the cell, so anything computed in it would keep its default unnoticed.
                raise NotebookError(
                    f"{name}: the parameters cell may hold lines `name: type = literal` only, found {source!r}"
                ) from error


# ---------------------------------------------------------------------- running


def kernel_environment(**more: str) -> dict[str, str]:
    """The environment in which kernels run, the same for everyone, and ``more``.

    One thread a kernel and a fixed hash seed keep outputs equal from run to run. No progress bars, since stderr is an
    output too. ``lib`` is importable from everywhere. IPython gets a folder of its own, so that neither a user's
    start-up files nor ipykernel's notice about its TCP transport end up in a notebook.
    """
    build = paths.build().resolve()
    config = build / "ipython" / "profile_default" / "ipython_kernel_config.py"
    text = "c = get_config()\nc.IPKernelApp.log_level = 50\nc.HistoryManager.enabled = False\n"
    if not config.exists() or config.read_text() != text:
        write_atomically(config, text)
    inherited = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    search = dict.fromkeys([str(paths.ROOT), *inherited])  # each once: workers of a pool inherit what we set here
    return {
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
        "MPLBACKEND": "",  # ipykernel then chooses its inline backend
        "PYTHONPATH": os.pathsep.join(search),
        # Where there is no home folder, or a full or read-only one, these would be missed.
        "IPYTHONDIR": str(build / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(build / "jupyter"),
        "MPLCONFIGDIR": str(build / "matplotlib"),
        "CROWDS_BUILD": str(build),
        "JUPYTER_PREFER_ENV_PATH": "1",  # python3 is the kernel of this environment, not one that a user registered
        **more,
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = os.environ.copy()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def execute(notebook: Notebook, parameters: Mapping[str, object], output: Path, environment: Mapping[str, str]) -> None:
    """Run a notebook from top to bottom in a fresh kernel, with ``notebooks/`` as its working folder. The executed copy is
    ``output``, written cell by cell, empty after a failure before the first; ``environment`` has variables for the kernel
    beside or instead of those of :func:`kernel_environment`.

    Raises:
        NotebookFailed: a cell raised, or the kernel died.
        NotWritable: the folder of ``output`` is full or read-only.
    """
    # With this package jsonschema, which nbformat needs, makes a parser of a grammar that nobody here asks for, for seconds.
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill
    from papermill.exceptions import PapermillExecutionError

    write_atomically(output, "")
    try:
        with _environment(kernel_environment(**environment)):
            papermill.execute_notebook(
                notebook.path,
                output,
                parameters=dict(parameters),
                cwd=notebook.path.parent,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=START_TIMEOUT,
                shutdown_kernel="immediate",  # all is said, and to unload torch takes a second
            )
    except PapermillExecutionError as error:
        raise NotebookFailed(f"{notebook.stem}: cell In [{error.exec_count}] raised {error.ename}: {error.evalue}") from error
    except Exception as error:  # a kernel that does not start or dies, a full disk
        raise NotebookFailed(f"{notebook.stem}: {type(error).__name__}: {str(error).strip() or 'no message'}") from error


# ---------------------------------------------------------------------- what a committed notebook looks like

KEPT_CELL_METADATA = ("tags", "jupyter", "slideshow")
INJECTED_TAG = "injected-parameters"


def normalize(notebook: dict) -> dict:
    """A copy of a notebook of format 4, without traces of its making; doing it twice changes nothing.

    Papermill's stamps, execution times, injected parameters, widget states and all notebook metadata but ``companion``
    go; a cell keeps its tags, its folding and its place among slides. The kernel is ``python3``, without a version, so that
    all Pythons write the same file; execution counts are 1..n; stream output that came in pieces is one piece. A cell's id is
    a hash of its source: regenerating a notebook keeps the ids, inserting a cell does not rename the others.
    """
    import nbformat.v4

    source = nbformat.v4.reads(json.dumps(notebook))  # a copy, texts joined from their lines
    cells, seen, count = [], Counter(), 0
    for cell in source.cells:
        if INJECTED_TAG in cell.metadata.get("tags", ()):
            continue
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[digest] += 1
        clean = {
            "cell_type": cell.cell_type,
            "id": digest if seen[digest] == 1 else f"{digest}-{seen[digest]}",
            "metadata": {name: cell.metadata[name] for name in KEPT_CELL_METADATA if cell.metadata.get(name)},
            "source": cell.source,
        }
        if "attachments" in cell:
            clean["attachments"] = cell.attachments
        if cell.cell_type == "code":
            filled = bool(cell.source.strip())
            count += filled
            clean["execution_count"] = count if filled and cell.execution_count is not None else None
            clean["outputs"] = _clean_outputs(cell.outputs, clean["execution_count"])
        cells.append(clean)
    metadata = {name: kept for name, kept in source.metadata.items() if name == "companion"}
    metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _clean_outputs(outputs: list[dict], count: int | None) -> list[dict]:
    """Merge neighboring pieces of one stream: where the kernel cut them depends on timing."""
    clean: list[dict] = []
    for output in outputs:
        before = clean[-1] if clean else {}
        if output["output_type"] == "execute_result":
            output["execution_count"] = count
        if output["output_type"] == "stream" and before.get("name") == output["name"]:
            before["text"] += output["text"]
        else:
            clean.append(output)
    return clean


def dumps(notebook: dict) -> str:
    """The text of the file as nbformat writes it: sorted keys, one space of indentation, a newline at the end.

    Raises:
        nbformat.ValidationError: this is no notebook of format 4.5.
    """
    import nbformat

    node = nbformat.from_dict(notebook)
    nbformat.validate(node)
    return nbformat.writes(node, version=4).rstrip("\n") + "\n"


def is_complete(notebook: dict) -> bool:
    """Whether every code cell that is not empty ran, once and in order, and none of them raised."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    raised = any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    return not raised and [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
