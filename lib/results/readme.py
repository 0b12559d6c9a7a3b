"""The README's generated parts, made from what the notebooks left in ``figures/``: misses included."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lib import paths
from lib.results import claims
from lib.results.tables import COLUMNS, markdown, show
from lib.storage import write_atomically

__all__ = ["readme_sections", "update_readme"]

END = "<!-- end -->"


def readme_sections(figures_folder: Path | None = None) -> dict[str, str]:
    """Markdown tables of all notebooks.

    Args:
        figures_folder: one folder a notebook in it; by default the project's.

    Returns:
        ``"claims"``: how many claims came to which verdict, by notebook, and every claim, folded; ``"results"``: every
        notebook's table, folded; ``"methods"``: the ``methods.md`` that notebooks left.

    Raises:
        ValueError: a ``claims.json`` or ``table.csv`` that is not one.
    """
    folder = paths.figures() if figures_folder is None else Path(figures_folder)
    return {"claims": _claims(folder), "results": _results(folder), "methods": _methods(folder)}


def update_readme(
    path: Path = paths.README, sections: Sequence[str] = ("claims", "results", "methods"), figures_folder: Path | None = None
) -> bool:
    """Put the generated parts between ``<!-- generated:NAME -->`` and ``<!-- end -->``; the rest stays as it is.

    Args:
        path: the README.
        sections: the parts that it must have.
        figures_folder: as in :func:`readme_sections`.

    Returns:
        Whether anything changed.

    Raises:
        ValueError: a marker is missing, or stands twice, or has no end.
    """
    before = text = Path(path).read_text(encoding="utf-8")
    made = readme_sections(figures_folder)
    for name in sections:
        if name not in made:
            raise ValueError(f"there is no generated part {name!r}; there are {', '.join(made)}")
        start = f"<!-- generated:{name} -->"
        if text.count(start) != 1:
            raise ValueError(f"{path} must have the line {start!r} once, followed by {END!r}; found {text.count(start)}")
        head, rest = text.split(start)
        inside, end, tail = rest.partition(END)
        if not end or "<!-- generated:" in inside:
            raise ValueError(f"{path}: {start!r} has no {END!r} after it")
        text = f"{head}{start}\n\n{made[name].strip()}\n\n{END}{tail}"
    if text != before:
        write_atomically(path, text)
    return text != before


def _claims(folder: Path) -> str:
    found = {path.parent.name: claims.load(path) for path in sorted(folder.glob("*/claims.json"))}
    found = {notebook: entries for notebook, entries in found.items() if entries}
    if not found:
        return "No claims yet."
    verdicts = {notebook: Counter(claim.verdict for claim in entries) for notebook, entries in found.items()}
    total = sum(verdicts.values(), Counter())
    counts = ", ".join(f"{total[verdict]} {verdict}" for verdict in claims.VERDICTS)
    lines = [[_link(notebook), *(count[verdict] or "" for verdict in claims.VERDICTS)] for notebook, count in verdicts.items()]
    overview = markdown(pd.DataFrame(lines, columns=["notebook", *claims.VERDICTS]))
    every = [_folded(notebook, markdown(claims.table(entries))) for notebook, entries in found.items()]
    return f"{total.total()} claims: {counts}.\n\n{overview}\n\nEvery claim:\n\n" + "\n".join(every)


def _results(folder: Path) -> str:
    parts = []
    for path in sorted(folder.glob("*/table.csv")):
        table = pd.read_csv(path, dtype={"case": str, "method": str, "scale": str}, keep_default_na=False, na_values=[""])
        if list(table.columns) != COLUMNS:
            raise ValueError(f"{path} must have the columns {', '.join(COLUMNS)}; found {', '.join(table.columns)}")
        parts.append(_folded(path.parent.name, markdown(show(table))))
    return "\n".join(parts) or "No results yet."


def _methods(folder: Path) -> str:
    parts = [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("*/methods.md"))]
    return "\n\n".join(parts) or "No methods yet."


def _folded(notebook: str, table: str) -> str:
    return f"<details><summary>{notebook.replace('_', ' ')}</summary>\n\n{_link(notebook)}\n\n{table}\n</details>\n"


def _link(notebook: str) -> str:
    text = re.sub(r"^(\d+)_", r"\1 ", notebook).replace("_", " ")
    return f"[{text}](notebooks/{notebook}.ipynb)"
