"""The pages that are made from claims and tables: README's generated parts, RESULTS.md, notebooks/README.md and each notebook's
first cell. Their words are in ``data/pages``, templates of Jinja; here is what is counted for them, and their tables.

``tests/results/test_pages.py`` fails where a committed page is not what it is made from.
"""

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence

import jinja2

from lib import paths
from lib.results import minutes
from lib.results.claims import counted, holm, shown
from lib.results.project import Project, papers_number, source_of
from lib.results.samples import BOTH
from lib.results.tables import NOTE, Table, markdown, show
from lib.results.titles import paper_title
from lib.results.verdicts import HELD, ORIGINS, VERDICTS, Claim
from lib.storage import write_atomically

__all__ = ["Project", "headers", "pages", "with_header", "write_pages"]

GB, GB_CPU = 7, 2  # in .venv, as the Makefile says before it installs


def pages(project: Project) -> dict[str, str]:
    """Every generated page by its path in the project.

    Raises ValueError for a marker of the README that is missing, stands twice or has no end, and for a text that names a
    number that there is not.
    """
    readme = project.read("README.md")
    for name, made in {"commands": _commands, "status": _status, "findings": _findings, "counts": _counts}.items():
        readme = _between(readme, name, made(project), "README.md")
    return {"README.md": readme, "RESULTS.md": _results(project), "notebooks/README.md": _notebook_map(project)}


def write_pages(project: Project) -> list[str]:
    """Write README's generated parts, RESULTS.md and notebooks/README.md; returns the names of those that changed."""
    changed = [(name, text) for name, text in pages(project).items() if project.read(name) != text]
    for name, text in changed:
        write_atomically(project.root / name, text)
    return [name for name, _ in changed]


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


# ---------------------------------------------------------------------- templates and what they are filled with


def _filled(template: str, project: Project, **parts: object) -> str:
    """A page from its template, which may use everything below and what is given."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.DATA / "pages"), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    known = {"project": project, "took": lambda what: _took(project, what), "claims_table": _claims_table, "anchor": _anchor}
    known |= {"counted": counted, "markdown": markdown, "paper_title": paper_title, "show": show, "shown": shown}
    known |= {"HELD": HELD, "NOTE": NOTE, "ORIGINS": ORIGINS, "VERDICTS": VERDICTS}
    return environment.get_template(template).render(known | parts).strip() + "\n"


def _commands(project: Project) -> str:
    data = sum(file["bytes"] for file in tomllib.loads(paths.SOURCES.read_text(encoding="utf-8"))["file"]) / 1e9
    return _filled("commands.md", project, data=data, gb=GB, gb_cpu=GB_CPU)


def _status(project: Project) -> str:
    lines = []
    for entry in project.texts["papers"].values():
        for number, id in enumerate(entry["headlines"]):
            if id not in project.claims:
                raise ValueError(f"data/papers.toml names the claim {id!r}, which no notebook makes")
            claim = project.claims[id]
            *cells, scale = _cells(claim)
            lines.append(["" if number else _cited(entry), *cells, f"{scale} · {project.link(claim.notebook)}"])
    columns = ["paper", "headline claim", "in the paper", "here [95 %]", "verdict", "scale, seeds · notebook"]
    return markdown(Table(lines, columns=columns))


def _findings(project: Project) -> str:
    return "\n".join(f"{n}. {project.filled(text)}" for n, text in enumerate(project.texts["findings"]["list"], 1))


def _counts(project: Project) -> str:
    """Claims by origin and verdict."""
    lines = []
    for origin in ORIGINS:
        found = Counter(claim.verdict for claim in project.claims.values() if claim.origin == origin)
        lines.append([origin, *(str(found[verdict] or "–") for verdict in VERDICTS), str(found.total())])
    return markdown(Table(lines, columns=["origin", *VERDICTS, "all"]))


def _results(project: Project) -> str:
    """RESULTS.md: a page a paper in the order of a reproducibility report, then every table, then every claim by origin."""
    claims, figures = list(project.claims.values()), project.root / "figures"
    kept = holm(claims)
    overs = Counter(claim.over for claim in claims if claim.low is not None)
    return _filled(
        "RESULTS.md",
        project,
        claims=claims,
        counts=_counts(project),
        tried=sum(claim.kind == "difference" and claim.low is not None for claim in claims),
        kept=kept,
        above=[kept[claim.id] for claim in claims if claim.id in kept and claim.verdict in (*HELD, "direction only")],
        both=overs[BOTH],
        spanned=overs.total(),
        tables=[(stem, table) for stem in project.notebooks if (table := project.table(stem)) is not None],
        digest=lambda stem: hashlib.sha256((figures / stem / "table.csv").read_bytes()).hexdigest()[:16],
        overviews=[(path.parent.name, path.read_text("utf-8")) for path in sorted(figures.glob("*/methods.md"))],
    )


def _notebook_map(project: Project) -> str:
    """notebooks/README.md: which notebook makes which figure or table, all notebooks in order, and the glossary."""
    papers, items, listing = project.texts["papers"], [], []
    for part in project.texts["map"]:
        for item, number, note in part["items"]:
            place = project.link(project.stem(number), "", long=True)
            items.append([_cited(papers[part["paper"]]), item, place, note or "–"])
    for stem, notebook in project.notebooks.items():
        about = _about(notebook)
        paper = paper_title(papers[about["paper"]]) if about.get("paper") else "–"
        what = about.get("reproduces") or about["says"]  # the first two have no table of a paper
        listing.append([project.link(stem, "", long=True), paper, what, _took(project, stem)])
    return _filled(
        "notebooks.md",
        project,
        items=markdown(Table(items, columns=["paper", "figure or table", "notebook", "note"])),
        listing=markdown(Table(listing, columns=["notebook", "paper", "about", "retrained in"])),
    )


def _header(project: Project, stem: str, before: str, after: str) -> str:
    about = _about(project.notebooks[stem])
    heads = [_cells(claim) for claim in project.claims.values() if claim.notebook == stem and claim.headline]
    columns = ["headline claim", "paper", "ours [95 % interval]", "verdict", "scale, seeds"]
    known = (project.texts["data"][name] for name in about.get("data", ()))
    return _filled(
        "header.md",
        project,
        about=about,
        entry=project.texts["papers"].get(about.get("paper", "")),
        heads=markdown(Table(heads, columns=columns)) if heads else "",
        data=dict.fromkeys(f"[{title}]({address})" if address else title for title, address in known),
        stem=stem,
        before=before,
        after=after,
    )


def _about(notebook: Mapping) -> Mapping:
    return notebook["metadata"].get("companion", {})


def _cited(entry: Mapping) -> str:
    return f"[{paper_title(entry)}]({entry['paper']})"


def _took(project: Project, what: str) -> str:
    """How long it took when it was measured: ``"4 minutes (quick, 2 cores)"``."""
    found = [line for line in project.minutes if line.what == what]
    each = [f"{minutes.words(m.minutes)} ({', '.join(filter(None, [m.scale, f'{m.processes} cores']))})" for m in found]
    return ", ".join(each) or "not measured yet"


def _anchor(heading: str) -> str:
    """The anchor of a heading as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _cells(claim: Claim) -> list[str]:
    scale = f"{claim.scale or '–'}, {claim.seeds}" if claim.seeds else claim.scale or "–"
    return [claim.statement, papers_number(claim), shown(claim, unit=True), claim.verdict, scale]


def _claims_table(claims: Sequence[Claim], kept: Mapping[str, bool] | None = None) -> str:
    """Claims with all their numbers, and whether they stay above zero when they are tested together, where that is given."""
    lines = []
    for c in claims:
        seeds = f"{c.seeds or '–'}{' × items' if c.over == BOTH and c.low is not None else ''}"
        numbers = [papers_number(c), shown(c, unit=True), seeds]
        lines.append([c.statement, c.locator or "–", *numbers, c.scale or "–", c.verdict, f"`{c.id}`"])
    table = Table(lines, columns=["claim", "where", "paper", "ours [95 %]", "seeds", "scale", "verdict", "id"])
    if kept is not None:
        table["above zero after Holm"] = [{True: "yes", False: "no", None: "–"}[kept.get(c.id)] for c in claims]
    return markdown(table.folded("where", "scale"))
