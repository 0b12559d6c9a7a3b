"""The project's notebooks: find them, check their parameters, run them through papermill, normalize what is committed.

A notebook is found, never listed: every ``notebooks/NN_<paper>_<result>.ipynb``. What it reproduces and needs
stands in its own metadata under ``companion``, its parameters in the cell tagged ``parameters``, one literal per line::

    scale: str = "quick"  # smoke, quick or paper

Finding and inspecting need nothing but Python, so that a machine without papermill can still train the runs.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib import paths
from lib.registry import unknown
from lib.storage import write_atomically

__all__ = [
    "Notebook",
    "NotebookError",
    "NotebookFailed",
    "Parameter",
    "check_parameters",
    "discover",
    "dumps",
    "execute",
    "inspect",
    "is_complete",
    "kernel_environment",
    "normalize",
    "select",
]

PARAMETERS_TAG = "parameters"
CELL_TYPES = ("code", "markdown", "raw")
START_TIMEOUT = 180  # seconds for a kernel to answer: a cold disk and a busy machine make it slow, not wrong


class NotebookError(ValueError):
    """Something was asked of a notebook that it does not have: an unknown name, an unknown or ill-typed parameter."""


class NotebookFailed(RuntimeError):
    """A notebook stopped before its end; the message says where, why, and where the partial copy is."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: ``name: annotation = default  # help``."""

    name: str
    annotation: str
    default: object
    help: str = ""


@dataclass(frozen=True)
class Notebook:
    """What is known about a notebook without running it.

    Args:
        stem: the file name without ``.ipynb``, such as ``10_crowdlayer_labelme``.
        number: the digits in front, such as ``10``.
        path: the file.
        title: its first heading.
        reproduces: the paper's table or figure, empty for a notebook that reproduces none.
        data: names of the data sets it needs.
        parameters: its parameters, in order.
    """

    stem: str
    number: str
    path: Path
    title: str
    reproduces: str = ""
    data: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    def default(self, name: str) -> object:
        """The default of a parameter; None where the notebook has no such parameter."""
        return next((parameter.default for parameter in self.parameters if parameter.name == name), None)


# ---------------------------------------------------------------------- finding and inspecting


def discover() -> list[Notebook]:
    """Every committed notebook, sorted by name; files that do not start with digits are none of ours.

    Raises:
        NotebookError: a file that is no notebook, or a parameters cell with something other than literals.
    """
    return [inspect(path) for path in sorted(paths.NOTEBOOKS.glob("[0-9]*_*.ipynb"))]


def inspect(path: Path) -> Notebook:
    """Read one notebook's title, metadata and parameters.

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
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotebookError(f"{path.name} is no notebook of format 4: {error!r}") from error
    return Notebook(
        stem=path.stem,
        number=path.stem.split("_")[0],
        path=path,
        title=_title(cells) or path.stem,
        reproduces=companion.get("reproduces") or "",
        data=data,
        parameters=tuple(_parameters(cells, path.name)),
    )


def select(patterns: Iterable[str] | None) -> list[Notebook]:
    """The notebooks asked for, by number (``10``) or full name (``10_crowdlayer_labelme``); all of them for None.

    Raises:
        NotebookError: a pattern that fits no notebook; the message names the closest and lists all.
    """
    every = discover()
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
    known = {parameter.name: parameter for parameter in notebook.parameters}
    for name, value in values.items():
        if name not in known:
            raise NotebookError(f"{notebook.stem}: {unknown('parameter', name, list(known))}")
        annotation = known[name].annotation
        if not _fits(value, ast.parse(annotation, mode="eval").body):
            found = f"{value!r} ({type(value).__name__})"
            raise NotebookError(f"{notebook.stem}: the parameter {name!r} must be {annotation}, found {found}")


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def _title(cells: list[dict]) -> str:
    lines = (line for cell in cells if cell["cell_type"] == "markdown" for line in _text(cell.get("source", "")).splitlines())
    return next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), "")


def _parameters(cells: list[dict], name: str) -> Iterator[Parameter]:
    for cell in cells:
        if cell["cell_type"] != "code" or PARAMETERS_TAG not in cell.get("metadata", {}).get("tags", ()):
            continue
        source = _text(cell.get("source", ""))
        try:
            statements = ast.parse(source).body
        except SyntaxError as error:
            raise NotebookError(f"{name}: the parameters cell is no Python: {error}") from error
        for statement in statements:
            yield _parameter(statement, source, name)


def _parameter(statement: ast.stmt, source: str, name: str) -> Parameter:
    target = statement.target if isinstance(statement, ast.AnnAssign) else None
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    try:
        if not isinstance(target, ast.Name):
            raise ValueError("expected `name: type = literal`")
        default = ast.literal_eval(statement.value)
    except (ValueError, TypeError) as error:
        found = ast.get_source_segment(source, statement)
        # Values are injected after the cell, so anything computed in it would keep its default unnoticed.
        raise NotebookError(f"{name}: the parameters cell may hold literals only, found {found!r}: {error}") from error
    annotated = isinstance(statement, ast.AnnAssign)
    annotation = ast.unparse(statement.annotation) if annotated else type(default).__name__
    # The column counts bytes, so the line is cut as bytes.
    rest = source.splitlines()[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode()
    return Parameter(target.id, annotation, default, rest.strip().removeprefix("#").strip())


_TYPES = {
    "str": str,
    "bool": bool,
    "int": int,
    "float": (int, float),
    "list": (list, tuple),
    "tuple": (list, tuple),
    "dict": dict,
    "None": type(None),
    "NoneType": type(None),
}


def _fits(value: object, annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.BinOp):  # a union: str | None
        return _fits(value, annotation.left) or _fits(value, annotation.right)
    if isinstance(annotation, ast.Subscript):  # list[int]: the items are checked too where there is one type for them
        items = value if isinstance(value, list | tuple) and isinstance(annotation.slice, ast.Name) else ()
        return _fits(value, annotation.value) and all(_fits(item, annotation.slice) for item in items)
    expected = _TYPES.get(ast.unparse(annotation), object)
    if isinstance(value, bool):  # in Python a bool is an int; here True is no number of seeds
        return expected in (bool, object)
    return isinstance(value, expected)


# ---------------------------------------------------------------------- running


def kernel_environment(**more: str) -> dict[str, str | None]:
    """The environment in which kernels run, the same for everyone; None takes a variable away.

    One thread a kernel and a fixed hash seed keep outputs equal from run to run. No progress bars, since stderr is an
    output too. ``lib`` is importable from everywhere. IPython gets a folder of its own, so that neither a user's
    start-up files nor ipykernel's notice about its TCP transport end up in a notebook.
    """
    build = paths.build().resolve()
    ipython = build / "ipython"
    config = ipython / "profile_default" / "ipython_kernel_config.py"
    text = "c = get_config()\nc.IPKernelApp.log_level = 50\nc.HistoryManager.enabled = False\n"
    if not config.exists() or config.read_text() != text:
        write_atomically(config, text)
    inherited = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    search = dict.fromkeys([str(paths.ROOT), *inherited])  # each once: workers of a pool inherit what we set here
    return {
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
        "MPLBACKEND": None,  # ipykernel then chooses its inline backend
        "PYTHONPATH": os.pathsep.join(search),
        # Where there is no home folder, or a full or read-only one, these would be missed.
        "IPYTHONDIR": str(ipython),
        "JUPYTER_RUNTIME_DIR": str(build / "jupyter"),
        "MPLCONFIGDIR": str(build / "matplotlib"),
        "CROWDS_BUILD": str(build),
        "JUPYTER_PREFER_ENV_PATH": "1",  # python3 is the kernel of this environment, not one that a user registered
        **more,
    }


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}

    def put(mapping: Mapping[str, str | None]) -> None:
        for name, value in mapping.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    put(values)
    try:
        yield
    finally:
        put(before)


def execute(
    notebook: Notebook,
    parameters: Mapping[str, object] | None = None,
    output: Path | None = None,
    timeout: float | None = None,
    environment: Mapping[str, str | None] | None = None,
    failed: Path | None = None,
) -> Path:
    """Run a notebook from top to bottom in a fresh kernel, with ``notebooks/`` as its working folder.

    Args:
        notebook: what to run; its file is only read.
        parameters: values for its parameters cell, checked by name and type before anything starts.
        output: where the executed copy goes (default ``build/notebooks/``), only after a complete run. While it runs,
            the copy is beside it as ``<name>.partial.ipynb``.
        timeout: seconds that one cell may take (default: no limit).
        environment: variables for the kernel beside or instead of those of ``kernel_environment``; None removes one.
        failed: the folder for the partial copy of a run that fails (default: where it is).

    Returns:
        The path of the executed copy.

    Raises:
        NotebookError: an unknown or ill-typed parameter.
        NotebookFailed: a cell raised, ran out of time, or the kernel died; says where the partial copy is.
        NotWritable: the build folder is full or read-only.
    """
    parameters = dict(parameters or {})
    check_parameters(notebook, parameters)
    output = output or paths.build() / "notebooks" / notebook.path.name
    partial = output.with_name(f"{output.stem}.partial.ipynb")
    write_atomically(partial, "")
    try:
        with _environment({**kernel_environment(), **(environment or {})}):
            _papermill(notebook, parameters, partial, timeout)
    except NotebookFailed as error:
        if not (ran := partial.read_bytes()):
            partial.unlink()
            raise
        kept = (failed or output.parent) / partial.name
        write_atomically(kept, ran)
        raise NotebookFailed(f"{error}; what ran before it is in {kept}") from error.__cause__
    partial.replace(output)
    return output


def _papermill(notebook: Notebook, parameters: dict, output: Path, timeout: float | None) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            notebook.path,
            output,
            parameters=parameters,
            cwd=notebook.path.parent,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            start_timeout=START_TIMEOUT,
            execution_timeout=timeout,
        )
    except PapermillExecutionError as error:
        raise NotebookFailed(f"{notebook.stem}: cell In [{error.exec_count}] raised {error.ename}: {error.evalue}") from error
    except Exception as error:  # a kernel that does not start or dies, a cell out of time, a full disk
        raise NotebookFailed(f"{notebook.stem}: {type(error).__name__}: {str(error).strip() or 'no message'}") from error


# ---------------------------------------------------------------------- what a committed notebook looks like

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python", "pygments_lexer": "ipython3"}  # no version: 3.11 and 3.12 write the same file
KEPT_METADATA = ("companion",)
KEPT_CELL_METADATA = ("tags", "jupyter", "slideshow")
INJECTED_TAG = "injected-parameters"


def normalize(notebook: dict) -> dict:
    """A copy without traces of its making; doing it twice changes nothing.

    Papermill's stamps, execution times, injected parameters, widget states and all notebook metadata but ``companion``
    go; a cell keeps its tags, its folding and its place among slides. The kernel is ``python3``; execution counts are
    1..n; stream output that came in pieces is one piece. A cell's id is a hash of its source: regenerating a notebook
    keeps the ids, inserting a cell does not rename the others.

    Args:
        notebook: notebook of format 4 as a dictionary (an ``nbformat.NotebookNode`` is one); it is not changed.

    Returns:
        A plain dictionary of format 4.5.
    """
    source = json.loads(json.dumps(notebook))
    kept = [cell for cell in source["cells"] if INJECTED_TAG not in cell.get("metadata", {}).get("tags", ())]
    cells, seen, count = [], {}, 0
    for cell in kept:
        text = _text(cell.get("source", ""))
        if cell["cell_type"] == "code" and text.strip():
            count += 1
        clean = _clean_cell(cell, text, count)
        digest = hashlib.sha256(f"{cell['cell_type']}\n{text}".encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        clean["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cells.append(clean)
    metadata = {name: source["metadata"][name] for name in KEPT_METADATA if name in source["metadata"]}
    metadata |= {"kernelspec": dict(KERNELSPEC), "language_info": dict(LANGUAGE_INFO)}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


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
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and _text(cell["source"]).strip()]
    raised = any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    return not raised and [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


def _clean_cell(cell: dict, text: str, count: int) -> dict:
    metadata = {name: cell["metadata"][name] for name in KEPT_CELL_METADATA if cell.get("metadata", {}).get(name)}
    clean = {"cell_type": cell["cell_type"], "metadata": metadata, "source": text}
    if "attachments" in cell:
        clean["attachments"] = cell["attachments"]
    if cell["cell_type"] == "code":
        ran = bool(text.strip()) and cell.get("execution_count") is not None
        clean["execution_count"] = count if ran else None
        clean["outputs"] = _clean_outputs(cell.get("outputs", []), clean["execution_count"])
    return clean


def _clean_outputs(outputs: list[dict], count: int | None) -> list[dict]:
    """Merge neighboring pieces of one stream: where the kernel cut them depends on timing."""
    clean: list[dict] = []
    for output in outputs:
        output = dict(output)
        if "text" in output:
            output["text"] = _text(output["text"])
        if "data" in output:
            output["data"] = {
                kind: _text(value) if isinstance(value, list) and not kind.endswith("json") else value
                for kind, value in output["data"].items()
            }
        if output["output_type"] == "execute_result":
            output["execution_count"] = count
        before = clean[-1] if clean else {}
        if output["output_type"] == "stream" and before.get("name") == output["name"]:
            before["text"] += output["text"]
        else:
            clean.append(output)
    return clean
