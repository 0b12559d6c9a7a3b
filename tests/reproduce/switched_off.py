"""Runs committed notebooks in this process, quickly, and tells what came out otherwise than is committed.

A figure's numbers are written but it is not drawn, so that all notebooks take a minute or two. ``test_processors.py`` runs it
with the instruction sets switched off that other processors lack: ``python -m tests.reproduce.switched_off [NUMBER ...]``.
"""

import difflib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from lib import datasets, paths
from lib.reproduce import notebooks
from tests.smoke import executed

# What Intel, AMD and Arm have in common with one another is less than any of them has: as little as the libraries can do with.
NOTHING = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
}
COMMITTED = paths.ROOT / "figures"
KINDS = (".csv", ".json", ".md")
PROMPT = re.compile(r"^Out\[\d+\]: *\n", re.MULTILINE)  # of what is shown as HTML alone
# K-Means ends in another local optimum for two of its 120 simulated crowds; no claim or cell shows them.
APART = {"31_ccc_annotator_similarity/groups.csv"}
# Trains while it is read; its cells print as coarsely as holds everywhere, its files have the last digits of this machine.
APART |= {f"01_your_own_labels/{name}" for name in ("relabeling.csv", "accuracies.csv")}


RULES = re.findall(r"^regex: (.*)$\n^replace: (.*)$", (paths.ROOT / "tests" / "nbval.cfg").read_text(), re.MULTILINE)


def sanitized(text: str) -> str:
    """As nbval does it: the rules of nbval.cfg, in order."""
    for pattern, word in RULES:
        text = re.sub(pattern, word, text)
    return text


def differences(numbers: list[str] | None = None) -> list[str]:
    """Run notebooks; a few lines for each output or file that is not as committed."""
    told = []
    for place, committed, found in outputs(numbers):
        committed, found = sanitized(committed), sanitized(found)
        if committed.strip() != found.strip() and place not in APART:
            lines = difflib.unified_diff(committed.splitlines(), found.splitlines(), n=0, lineterm="")
            told.append("\n".join([place, *(f"    {line[:200]}" for line in list(lines)[2:12])]))
    return told


def outputs(numbers: list[str] | None = None) -> Iterator[tuple[str, str, str]]:
    """Run notebooks; the place, the committed text and the found one of each cell and of each file of numbers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from lib.plotting import style

    Figure.savefig = lambda self, *args, **options: None
    FigureCanvasAgg.draw = lambda self: None
    style.faults = lambda fig: []  # nothing is laid out here
    for notebook in notebooks.select(numbers):
        if any(datasets.missing(name) for name in notebook.data):
            continue
        for _, cell, result, captured in executed(notebook.path):
            result.raise_error()
            shown = [output.data.get("text/plain", "") for output in captured.outputs if "image/png" not in output.data]
            printed = PROMPT.sub("", captured.stdout)
            yield f"{notebook.stem}, In [{cell['execution_count']}]", _texts(cell), printed + "".join(shown)
        made = paths.figures(notebook.stem)
        for path in sorted(path for path in made.rglob("*") if path.suffix in KINDS):
            committed = COMMITTED / notebook.stem / path.relative_to(made)
            before = committed.read_text(encoding="utf-8") if committed.exists() else ""
            yield f"{notebook.stem}/{path.name}", before, path.read_text(encoding="utf-8")


def _texts(cell: dict) -> str:
    """What a cell printed, then what it showed."""
    printed = "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
    data = [output["data"] for output in cell["outputs"] if "data" in output and "image/png" not in output["data"]]
    return printed + "".join("".join(bundle.get("text/plain", "")) for bundle in data)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("CROWDS_FIGURES", folder)
        told = differences(sys.argv[1:] or None)
    sys.stdout.write("\n".join(told))
    sys.exit(bool(told))
