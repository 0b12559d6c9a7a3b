"""What a committed notebook looks like, byte for byte: the same cells and outputs always make the same file.

Whoever ran a notebook, when, how long it took and with which Python leaves traces in its JSON; ``normalize`` takes them
out, ``dumps`` gives what is left in one fixed form. Both are pure functions on dictionaries of notebook format 4.5.
"""

from __future__ import annotations

import hashlib
import json

__all__ = ["dumps", "is_complete", "normalize"]

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python", "pygments_lexer": "ipython3"}  # no version: 3.11 and 3.12 write the same file
KEPT_METADATA = ("companion",)
KEPT_CELL_METADATA = ("tags", "jupyter")
INJECTED_TAG = "injected-parameters"


def normalize(notebook: dict) -> dict:
    """A copy without traces of its making; doing it twice changes nothing.

    Papermill's stamps, execution times, injected parameters, widget states and all notebook metadata but ``companion``
    go; the kernel is ``python3``; execution counts are 1..n; stream output that came in pieces is one piece. A cell's
    id is a hash of its source: regenerating a notebook keeps the ids, inserting a cell does not rename the others.

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


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


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
