"""The pages that are made from claims and tables: README's generated parts, notebooks/README.md and each notebook's first cell;
RESULTS.md has a module of its own. ``tests/results/test_pages.py`` fails where a committed page is not what it is made from.
"""

import tomllib
from collections.abc import Mapping

from lib import paths
from lib.results import minutes
from lib.results.claims import shown
from lib.results.project import Project, papers_number, source_of
from lib.results.results_page import counts, results
from lib.results.tables import Table, markdown
from lib.results.titles import paper_title
from lib.results.verdicts import Claim
from lib.storage import write_atomically

__all__ = ["Project", "headers", "pages", "with_header", "write_pages"]

GB, GB_CPU = 7, 2  # in .venv, as the Makefile says before it installs


def pages(project: Project) -> dict[str, str]:
    """Every generated page by its path in the project.

    Raises ValueError for a marker of the README that is missing, stands twice or has no end, and for a text that names a
    number that there is not.
    """
    readme = project.read("README.md")
    for name, made in {"commands": _commands, "status": _status, "findings": _findings, "counts": counts}.items():
        readme = _between(readme, name, made(project), "README.md")
    return {"README.md": readme, "RESULTS.md": results(project), "notebooks/README.md": notebook_map(project)}


def write_pages(project: Project) -> list[str]:
    """Write README's generated parts, RESULTS.md and notebooks/README.md; returns the names of those that changed."""
    changed = [(name, text) for name, text in pages(project).items() if project.read(name) != text]
    for name, text in changed:
        write_atomically(project.root / name, text)
    return [name for name, _ in changed]


def _between(text: str, name: str, made: str, where: str) -> str:
    """A text with another part between the markers of this name."""
    start, end = f"<!-- generated:{name} -->", "<!-- end -->"
    if text.count(start) != 1:
        raise ValueError(f"{where} must have the line {start!r} once, followed by {end!r}; found {text.count(start)}")
    head, rest = text.split(start)
    inside, found, tail = rest.partition(end)
    if not found or "<!-- generated:" in inside:
        raise ValueError(f"{where}: {start!r} has no {end!r} after it")
    return f"{head}{start}\n\n{made.strip()}\n\n{end}{tail}"


def _commands(project: Project) -> str:
    data = sum(file["bytes"] for file in tomllib.loads(paths.SOURCES.read_text(encoding="utf-8"))["file"]) / 1e9
    whole, tests, small = (_took(project, what) for what in (minutes.EVERYTHING, minutes.TESTS, project.stem("10")))
    return f"""```
make reproduce    # {whole}: retrains every run, executes every notebook, reports drift from the committed numbers
make test         # {tests}: checks code, methods against slow references, every notebook and every published number
```

Both first set up `.venv`, once: a few minutes and up to {GB} GB, most of it CUDA for torch (without it {GB_CPU} GB:
`make CPU=1 INDEX=<address of torch's CPU wheels> test`). All data files together are {data:.1f} GB. For a small start,
`make lab` opens the notebooks, which read finished runs in seconds, and `make reproduce ARGS="--only 10"` retrains those
of one notebook: {small}."""


def _took(project: Project, what: str) -> str:
    """How long it took when it was measured: ``"4 minutes (quick, 2 cores)"``."""
    found = [line for line in project.minutes if line.what == what]
    each = [f"{minutes.words(m.minutes)} ({', '.join(filter(None, [m.scale, f'{m.processes} cores']))})" for m in found]
    return ", ".join(each) or "not measured yet"


def _status(project: Project) -> str:
    lines = []
    for entry in project.texts["papers"].values():
        head = f"[{paper_title(entry)}]({entry['paper']})"
        for id in entry["headlines"]:
            if id not in project.claims:
                raise ValueError(f"data/papers.toml names the claim {id!r}, which no notebook makes")
            claim = project.claims[id]
            statement, *numbers, scale = _cells(claim)
            lines.append([head, statement, *numbers, f"{scale} · {project.link(claim.notebook)}"])
            head = ""
    columns = ["paper", "headline claim", "in the paper", "here [95 %]", "verdict", "scale, seeds · notebook"]
    return markdown(Table(lines, columns=columns))


def _cells(claim: Claim) -> list[str]:
    scale = f"{claim.scale or '–'}, {claim.seeds}" if claim.seeds else claim.scale or "–"
    return [claim.statement, papers_number(claim), shown(claim, unit=True), claim.verdict, scale]


def _findings(project: Project) -> str:
    return "\n".join(f"{n}. {project.filled(text)}" for n, text in enumerate(project.texts["findings"]["list"], 1))


def notebook_map(project: Project) -> str:
    """notebooks/README.md: which notebook makes which figure or table, all notebooks in order, and the glossary."""
    lines = []
    for part in project.texts["map"]:
        entry = project.texts["papers"][part["paper"]]
        for item, number, note in part["items"]:
            place = project.link(project.stem(number), "", long=True)
            lines.append([f"[{paper_title(entry)}]({entry['paper']})", item, place, note or "–"])
    items = markdown(Table(lines, columns=["paper", "figure or table", "notebook", "note"]))
    own = []
    for stem, notebook in project.notebooks.items():
        about = _about(notebook)
        entry = project.texts["papers"].get(about.get("paper", ""))
        what = about.get("reproduces") or about["says"]  # the first two have no table of a paper
        own.append([project.link(stem, "", long=True), paper_title(entry) if entry else "–", what, _took(project, stem)])
    listing = markdown(Table(own, columns=["notebook", "paper", "about", "retrained in"]))
    words = "\n".join(f"- **{term}**: {text}" for term, text in project.texts["glossary"].items())
    return f"""# The notebooks

Generated by `python -m lib.reproduce --in-place`. If you are new, [start here](00_start_here.ipynb); if you have labels of
your own, go on with [your own labels](01_your_own_labels.ipynb). All numbers are in [RESULTS](../RESULTS.md).

## Which notebook makes which figure or table

{items}
## All notebooks, in order

{listing}
## Glossary

{words}
"""


def headers(project: Project) -> dict[str, str]:
    """The source of every notebook's first cell, with its generated part rewritten; raises ValueError as :func:`pages`."""
    stems = ["", *project.notebooks, ""]
    made = {}
    for before, stem, after in zip(stems, stems[1:], stems[2:], strict=False):
        source, where = source_of(project.notebooks[stem]["cells"][0]), f"notebooks/{stem}.ipynb, first cell"
        made[stem] = _between(source, "header", _header(project, stem, before, after), where)
    return made


def with_header(notebook: Mapping, source: str) -> dict:
    """A copy of a notebook with another source of its first cell."""
    first = dict(notebook["cells"][0]) | {"source": source.splitlines(keepends=True)}
    return dict(notebook) | {"cells": [first, *notebook["cells"][1:]]}


def _about(notebook: Mapping) -> Mapping:
    return notebook["metadata"].get("companion", {})


def _header(project: Project, stem: str, before: str, after: str) -> str:
    about = _about(project.notebooks[stem])
    entry = project.texts["papers"].get(about.get("paper", ""))
    parts = []
    if entry:
        parts.append(f"**The paper.** {entry['authors']}, [*{entry['title']}*]({entry['paper']}), {entry['venue']}.")
    if text := about.get("says"):
        parts.append(f"**{'It says' if entry else 'The question'}.** {text}")
    heads = [claim for claim in project.claims.values() if claim.notebook == stem and claim.headline]
    if heads:
        columns = ["headline claim", "paper", "ours [95 % interval]", "verdict", "scale, seeds"]
        parts.append(markdown(Table([_cells(claim) for claim in heads], columns=columns)).strip())
    if about.get("takeaways"):
        parts.append("\n".join(f"- {project.filled(text)}" for text in about["takeaways"]))
    known = (project.texts["data"][name] for name in about.get("data", ()))
    data = dict.fromkeys(f"[{title}]({address})" if address else title for title, address in known)
    links = [f"Retrained in: {_took(project, stem)}"]
    links += [f"data: {', '.join(data)}"] if data else []
    links += [f"[authors' code]({entry['code']})"] if entry and entry["code"] else []
    links += [f"previous: {project.link(before, '')}"] if before else []
    links += [f"next: {project.link(after, '')}"] if after else []
    parts.append(" · ".join([*links, "[all notebooks](README.md)", "[all results](../RESULTS.md)"]))
    return "\n\n".join(parts)
