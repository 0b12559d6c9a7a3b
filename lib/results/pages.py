"""The pages that are made from claims and tables: README's generated parts, RESULTS.md, notebooks/README.md, each notebook's
first cell; and :func:`disagreements`, which says where a committed one differs from what it is made from.

What is said of the four papers in words stands in ``data/papers.toml``; a text there, or in a notebook's metadata, takes its
numbers from claims by ``{10-mw-above-all}``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from lib import paths
from lib.results import claims
from lib.results.claims import ORIGINS, VERDICTS, Claim
from lib.results.tables import COLUMNS, Table, is_share, markdown, show, spread
from lib.storage import write_atomically

__all__ = ["Project", "disagreements", "headers", "with_header", "write_pages"]

START, END = "<!-- generated:{} -->", "<!-- end -->"
WORDS = {
    "reproduced": "as the paper says, with the interval and the size that the rules ask for",
    "direction only": "the right sign for certain, less than half of the paper's size",
    "inconclusive": "the interval holds zero, or reaches out of the band",
    "contradicted": "certain, and not as the paper says",
    "not run at paper scale": "no runs, or smaller ones than the claim needs",
    "holds on our reconstruction": "what would be reproduced if crowd, method and scale were the paper's",
}


@dataclass(frozen=True)
class Project:
    """What the pages are made from.

    Attributes:
        root: the project's folder.
    """

    root: Path = field(default_factory=lambda: paths.README.parent)

    @cached_property
    def texts(self) -> dict:
        """``data/papers.toml``."""
        return tomllib.loads((self.root / "data" / "papers.toml").read_text(encoding="utf-8"))

    @cached_property
    def notebooks(self) -> dict[str, dict]:
        """Stem to the notebook as it is in its file, in order."""
        files = sorted((self.root / "notebooks").glob("[0-9]*_*.ipynb"))
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}

    @cached_property
    def claims(self) -> dict[str, Claim]:
        """Every claim by id.

        Raises:
            ValueError: a ``claims.json`` that is not one, or two claims with one id.
        """
        found: dict[str, Claim] = {}
        for path in sorted((self.root / "figures").glob("*/claims.json")):
            for claim in claims.load(path):
                if claim.id in found:
                    raise ValueError(f"{path}: the id {claim.id!r} is taken by another claim")
                found[claim.id] = claim
        return found

    def table(self, stem: str) -> pd.DataFrame | None:
        """A notebook's ``table.csv``; None where it has none. Raises ValueError for other columns."""
        path = self.root / "figures" / stem / "table.csv"
        if not path.exists():
            return None
        text = dict.fromkeys(("case", "method", "scale", "paper"), str)
        found = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])
        if list(found.columns) != COLUMNS:
            raise ValueError(f"{path} must have the columns {', '.join(COLUMNS)}; found {', '.join(found.columns)}")
        return found

    def title(self, stem: str) -> str:
        """A notebook's first heading."""
        first = _source(self.notebooks[stem]["cells"][0]).splitlines()[0]
        return first.removeprefix("# ").strip()

    def stem(self, number: str) -> str:
        """A notebook's name by its number. Raises ValueError for none."""
        for stem in self.notebooks:
            if stem.startswith(f"{number}_"):
                return stem
        raise ValueError(f"there is no notebook {number}; there are {', '.join(self.notebooks)}")


# ---------------------------------------------------------------------- README


def readme(project: Project) -> str:
    """The README with its generated parts made anew; what is between the markers is replaced, the rest stays.

    Raises:
        ValueError: a marker is missing, stands twice, or has no end.
    """
    text = (project.root / "README.md").read_text(encoding="utf-8")
    for name, made in {"status": _status(project), "findings": _findings(project), "counts": _counts(project)}.items():
        text = _between(text, name, made, "README.md")
    return text


def _between(text: str, name: str, made: str, where: str) -> str:
    start = START.format(name)
    if text.count(start) != 1:
        raise ValueError(f"{where} must have the line {start!r} once, followed by {END!r}; found {text.count(start)}")
    head, rest = text.split(start)
    inside, end, tail = rest.partition(END)
    if not end or "<!-- generated:" in inside:
        raise ValueError(f"{where}: {start!r} has no {END!r} after it")
    return f"{head}{start}\n\n{made.strip()}\n\n{END}{tail}"


def _status(project: Project) -> str:
    lines = []
    for entry in project.texts["papers"].values():
        head = f"[{_short(entry)}]({entry['paper']})"
        for id in entry["headlines"]:
            claim = _claim(project, id)
            link = _link(project, claim.notebook)
            lines.append([head, claim.statement, _paper(claim), _ours(claim), claim.verdict, f"{_scale(claim)} · {link}"])
            head = ""
    return markdown(
        Table(lines, columns=["paper", "headline claim", "in the paper", "here [95 %]", "verdict", "scale · notebook"])
    )


def _findings(project: Project) -> str:
    lines = [_filled(project, text) for text in project.texts["findings"]["list"]]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _counts(project: Project) -> str:
    by_origin = {origin: Counter(c.verdict for c in project.claims.values() if c.origin == origin) for origin in ORIGINS}
    lines = [
        [origin, *(str(by_origin[origin][verdict] or "–") for verdict in VERDICTS), str(by_origin[origin].total())]
        for origin in ORIGINS
    ]
    return markdown(Table(lines, columns=["origin", *VERDICTS, "all"]))


# ---------------------------------------------------------------------- RESULTS.md


def results(project: Project) -> str:
    """RESULTS.md: a page a paper, then every table, then every claim by origin."""
    parts = [_intro(project)]
    parts += [_paper_page(project, slug) for slug in project.texts["papers"]]
    parts.append(
        "## Every table\n\nMean ± standard deviation over seeds, the number of seeds in parentheses.\n\n" + _tables(project)
    )
    parts.append("## Every claim, by origin\n\n" + _claims_by_origin(project))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _intro(project: Project) -> str:
    tried, by_chance = claims.chance(project.claims.values())
    heads = [claim for claim in project.claims.values() if claim.headline]
    kept = claims.holm(project.claims.values())
    good = ("reproduced", "holds on our reconstruction", "direction only")
    tested = [c for c in heads if c.verdict in good and (c.kind == "difference" or c.parts)]
    rules = "\n".join(f"- **{verdict}**: {words}." for verdict, words in WORDS.items())
    stay = sum(claim.id in kept for claim in tested)
    return f"""# Results

Generated by `python -m lib.reproduce --in-place` from the notebooks' [claims and tables](figures); a test fails when a
digit here differs from them. In words and with pictures: the [notebooks](notebooks/README.md). The rules for a verdict are
in [`lib/results/claims.py`](lib/results/claims.py):

{rules}

{_counts(project)}
Counts of different origins are never added up. **How much of this is luck?** {tried} differences have an interval over
seeds; noise alone would put {by_chance:.0f} of them above zero for certain. Of the {len(tested)} headline statements about
differences that came out above zero, {stay} stay so when a notebook's headline claims are tested together (Holm, 5 %).
Intervals are over seeds, on one crowd and one set of test items: they say what another seed would do, not another crowd."""


def _paper_page(project: Project, slug: str) -> str:
    entry = project.texts["papers"][slug]
    own = [claim for claim in project.claims.values() if claim.paper == slug]
    heads = [claim for claim in own if claim.headline]
    links = [f"[paper]({entry['paper']})"]
    links += [f"[proceedings]({entry['doi']})"] if entry["doi"] not in ("", entry["paper"]) else []
    links += [f"[authors' code]({entry['code']})"] if entry["code"] else ["no code released that we know of"]
    notebooks = ", ".join(_link(project, project.stem(number), long=True) for number in entry["notebooks"])
    held = [c for c in heads if c.verdict in ("reproduced", "holds on our reconstruction")]
    failed = [c for c in heads if c not in held]
    left = "\n".join(f"- {text}" for text in entry["left"])
    return f"""## {_short(entry)}: {entry["title"]}

{entry["authors"]}, {entry["venue"]} · {" · ".join(links)} · notebooks {notebooks}

**Scope.** {_one_line(entry["scope"])}

**Method.** {_one_line(entry["method"])}

**What held.** {_bullets(project, held)}

**What did not.** {_bullets(project, failed)}

**What was easy.** {_filled(project, entry["easy"])}

**What was hard.** {_filled(project, entry["hard"])}

**Not claimed, and why.**

{left}

**All headline claims.**

{markdown(_claims_table(project, heads)) if heads else "None."}"""


def _bullets(project: Project, found: Sequence[Claim]) -> str:
    if not found:
        return "Nothing of the headline claims."
    lines = [f"- {c.statement}: {_ours(c)}{_against(c)}, *{c.verdict}* ({_link(project, c.notebook)})" for c in found]
    return "\n\n" + "\n".join(lines)


def _against(claim: Claim) -> str:
    return "" if claim.paper_value is None or claim.parts else f" (paper: {claim.paper_value})"


def _tables(project: Project) -> str:
    parts = []
    for stem in project.notebooks:
        table = project.table(stem)
        if table is not None:
            path = project.root / "figures" / stem / "table.csv"
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            source = (
                f"From [`figures/{stem}/table.csv`](figures/{stem}/table.csv) (SHA-256 {digest}…) of {_link(project, stem)}."
            )
            parts.append(_folded(project.title(stem), f"{source}\n\n{markdown(show(table))}"))
    for path in sorted((project.root / "figures").glob("*/methods.md")):
        title = (
            f"Every method on every real crowd, last epoch (%), and whether it is above majority vote: {path.parent.name[:2]}"
        )
        parts.append(_folded(title, path.read_text(encoding="utf-8")))
    return "\n".join(parts)


def _claims_by_origin(project: Project) -> str:
    parts = []
    for origin in ORIGINS:
        found = [claim for claim in project.claims.values() if claim.origin == origin]
        counts = Counter(claim.verdict for claim in found)
        words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
        note = " Of these, *reproduced* means that the answer is yes." if origin == "ours" else ""
        parts.append(f"### {origin[0].upper()}{origin[1:]}\n\n{len(found)} claims: {words}.{note}\n")
        for stem in project.notebooks:
            own = [claim for claim in found if claim.notebook == stem]
            if own:
                parts.append(_folded(f"{project.title(stem)}: {len(own)} claims", markdown(_claims_table(project, own))))
    return "\n".join(parts)


def _claims_table(project: Project, found: Sequence[Claim]) -> Table:
    lines = [
        [c.statement, c.locator or "–", _paper(c), _ours(c), str(c.seeds or "–"), c.scale or "–", c.verdict, f"`{c.id}`"]
        for c in found
    ]
    return Table(lines, columns=["claim", "where", "paper", "ours [95 %]", "seeds", "scale", "verdict", "id"])


# ---------------------------------------------------------------------- notebooks/README.md


def notebook_map(project: Project) -> str:
    """notebooks/README.md: which notebook makes which figure or table, all notebooks in order, and the glossary."""
    lines = []
    for part in project.texts["map"]:
        entry = project.texts["papers"][part["paper"]]
        for item, number, note in part["items"]:
            lines.append(
                [f"[{_short(entry)}]({entry['paper']})", item, _link(project, project.stem(number), ".", True), note or "–"]
            )
    items = markdown(Table(lines, columns=["paper", "figure or table", "notebook", "note"]))
    own = []
    for stem, notebook in project.notebooks.items():
        companion = notebook["metadata"].get("companion", {})
        minutes = ", ".join(f"{scale} {value:g}" for scale, value in sorted(companion.get("minutes", {}).items()))
        own.append([_link(project, stem, ".", True), companion.get("reproduces") or "–", minutes or "–"])
    listing = markdown(Table(own, columns=["notebook", "about", "minutes on two CPU cores (fast, paper: a GPU)"]))
    words = "\n".join(f"- **{term}**: {text}" for term, text in project.texts["glossary"].items())
    return f"""# The notebooks

Generated by `python -m lib.reproduce --in-place`. [Start here](00_start_here.ipynb) if you are new, with
[your own labels](01_your_own_labels.ipynb) if you have some; all numbers: [RESULTS](../RESULTS.md).

## Which notebook makes which figure or table

{items}
## All notebooks, in order

{listing}
## Glossary

{words}
"""


# ---------------------------------------------------------------------- a notebook's first cell


def headers(project: Project) -> dict[str, str]:
    """The source of every notebook's first cell, with its generated part made anew."""
    stems = list(project.notebooks)
    made = {}
    for place, stem in enumerate(stems):
        near = [stems[place - 1] if place else None, stems[place + 1] if place + 1 < len(stems) else None]
        source = _source(project.notebooks[stem]["cells"][0])
        made[stem] = _between(source, "header", _header(project, stem, *near), f"notebooks/{stem}.ipynb, first cell")
    return made


def with_header(notebook: Mapping, source: str) -> dict:
    """A copy of a notebook with another source of its first cell."""
    first = dict(notebook["cells"][0]) | {"source": source.splitlines(keepends=True)}
    return dict(notebook) | {"cells": [first, *notebook["cells"][1:]]}


def _header(project: Project, stem: str, before: str | None, after: str | None) -> str:
    companion = project.notebooks[stem]["metadata"].get("companion", {})
    entry = project.texts["papers"].get(companion.get("paper", ""))
    parts = []
    if entry:
        parts.append(f"**The paper.** {entry['authors']}, [*{entry['title']}*]({entry['paper']}), {entry['venue']}.")
    if text := companion.get("says"):
        parts.append(f"**{'It says' if entry else 'The question'}.** {text}")
    heads = [claim for claim in project.claims.values() if claim.notebook == stem and claim.headline]
    if heads:
        lines = [[c.statement, _paper(c), _ours(c), c.verdict, _scale(c)] for c in heads]
        columns = ["what came out here", "paper", "ours [95 % interval]", "verdict", "scale, seeds"]
        parts.append(markdown(Table(lines, columns=columns)).strip())
    if companion.get("takeaways"):
        parts.append("\n".join(f"- {_filled(project, text)}" for text in companion["takeaways"]))
    parts.append(_links(project, stem, companion, entry, before, after))
    return "\n\n".join(parts)


def _links(project: Project, stem: str, companion: Mapping, entry: Mapping | None, before, after) -> str:
    minutes = [f"`{scale}` {value:g}" for scale, value in sorted(companion.get("minutes", {}).items())]
    known = project.texts["data"]
    data = list(dict.fromkeys(f"[{known[name][0]}]({known[name][1]})" for name in companion.get("data", ()) if name in known))
    links = [f"Minutes when everything is retrained: {', '.join(minutes)}"] if minutes else []
    links += [f"data: {', '.join(data)}"] if data else []
    links += [f"[authors' code]({entry['code']})"] if entry and entry["code"] else []
    links += [f"previous: [{_number(before)}]({before}.ipynb)"] if before else []
    links += [f"next: [{_number(after)}]({after}.ipynb)"] if after else []
    return " · ".join([*links, "[all notebooks](README.md)", "[all results](../RESULTS.md)"])


# ---------------------------------------------------------------------- writing and checking


def write_pages(project: Project) -> list[str]:
    """Write README's generated parts, RESULTS.md and notebooks/README.md; returns the names of those that changed."""
    changed = []
    for name, text in _pages(project).items():
        path = project.root / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)
            changed.append(name)
    return changed


def _pages(project: Project) -> dict[str, str]:
    return {"README.md": readme(project), "RESULTS.md": results(project), "notebooks/README.md": notebook_map(project)}


def disagreements(project: Project, rows: Mapping[str, Mapping]) -> list[str]:
    """Where something committed is not what it is made from, one line each; empty when all agree.

    A claim is made again from its rows; README, RESULTS.md, notebooks/README.md and the notebooks' first cells from claims
    and tables; and a notebook must show each of its claims as ``claims.json`` has it.

    Args:
        project: where to look.
        rows: ledger rows by key.
    """
    try:
        found = _wrong_claims(project, rows)
        made = _pages(project) | {f"notebooks/{stem}.ipynb, first cell": text for stem, text in headers(project).items()}
    except ValueError as error:
        return [str(error)]
    for name, text in made.items():
        path = name.removesuffix(", first cell")
        if path != name:
            there = _source(project.notebooks[Path(path).stem]["cells"][0])
        else:
            there = (project.root / name).read_text(encoding="utf-8") if (project.root / name).exists() else ""
        found += _first_difference(name, there, text)
    return found


def _first_difference(name: str, there: str, made: str) -> list[str]:
    if there == made:
        return []
    lines, wanted = there.splitlines(), made.splitlines()
    for number, (line, expected) in enumerate(zip(lines, wanted, strict=False), 1):
        if line != expected:
            return [f"{name}, line {number}: found {_around(line, expected)}, expected {_around(expected, line)}"]
    return [f"{name}: found {len(lines)} lines, expected {len(wanted)}"]


def _around(line: str, other: str) -> str:
    """The part of a line where it begins to differ from another."""
    at = next((n for n, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), min(len(line), len(other)))
    return repr(line[max(at - 60, 0) : at + 60])


def _wrong_claims(project: Project, rows: Mapping[str, Mapping]) -> list[str]:
    found, shown = [], {stem: _shown_lines(notebook) for stem, notebook in project.notebooks.items()}
    for stem in dict.fromkeys(claim.notebook for claim in project.claims.values()):
        found += claims.misprinted(project.root / "figures" / stem / "claims.json")
    for claim in project.claims.values():
        place = f"figures/{claim.notebook}/claims.json, claim {claim.id!r}"
        if lost := [key for key in claim.keys if key not in rows]:
            found.append(f"{place}: no ledger row has the key {lost[0]}")
            continue
        again = claims.recompute(claim, rows, project.claims) or claim
        again = dataclasses.replace(again, verdict=claims.judge(again, [project.claims[name] for name in claim.parts]))
        found += [
            f"{place}: {name} is {getattr(claim, name)!r}, its rows say {getattr(again, name)!r}"
            for name in ("ours", "low", "high", "seeds", "verdict")
            if getattr(claim, name) != getattr(again, name)
        ]
        if not any(_is_line_of(claim, line) for line in shown.get(claim.notebook, ())):
            wanted = f"{claim.statement!r} with {claims.shown(claim)} and {claim.verdict!r}"
            found.append(f"notebooks/{claim.notebook}.ipynb shows no line {wanted}")
    return found


def _is_line_of(claim: Claim, line: str) -> bool:
    return (
        claim.statement in line
        and claims.shown(claim) in line
        and (claim.paper_value or "") in line
        and line.endswith(claim.verdict)
    )


def _shown_lines(notebook: Mapping) -> list[str]:
    """The lines of text that a notebook's outputs show."""
    lines = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            text = output.get("data", {}).get("text/plain", "")
            lines += [line.strip() for line in (text if isinstance(text, str) else "".join(text)).splitlines()]
    return lines


# ---------------------------------------------------------------------- words


def _filled(project: Project, text: str) -> str:
    """A text with numbers from claims, and with ``{00/majority-vote/test_acc_last}`` (and a case, where a table has several)
    from a notebook's ``table.csv``.

    Raises:
        ValueError: a claim or a line that there is not.
    """

    def fill(match: re.Match) -> str:
        number, method, metric, case = match.groups()
        found = project.table(project.stem(number))
        found = found[(found["method"] == method) & (found["metric"] == metric) & (found["case"] == case if case else True)]
        if len(found) != 1:
            raise ValueError(f"{match[0]} fits {len(found)} lines of the table of notebook {number}")
        factor, unit = (100, " %") if is_share(metric) else (1, "")
        mean, std = (factor * found[name].iloc[0] for name in ("mean", "std"))
        return spread(mean, std, 1) + unit

    return claims.filled(re.sub(r"\{(\d\d)/([^/{}]+)/([^/{}]+)(?:/([^/{}]+))?\}", fill, text), project.claims)


def _claim(project: Project, id: str) -> Claim:
    if id not in project.claims:
        raise ValueError(f"data/papers.toml names the claim {id!r}, which no notebook makes")
    return project.claims[id]


def _paper(claim: Claim) -> str:
    return f"{claim.paper_value} {claim.unit}".strip() if claim.parts else claim.paper_value or "–"


def _ours(claim: Claim) -> str:
    return claims.shown(claim, unit=True)


def _scale(claim: Claim) -> str:
    return f"{claim.scale or '–'}, {claim.seeds}" if claim.seeds else claim.scale or "–"


def _short(entry: Mapping) -> str:
    first = entry["authors"].split(",")[0].split(" and ")[0].split()[-1]
    return (
        f"{first} et al. {entry['year']}"
        if entry["authors"].count(",")
        else f"{first} & {entry['authors'].split()[-1]} {entry['year']}"
    )


def _link(project: Project, stem: str, folder: str = "notebooks", long: bool = False) -> str:
    place = f"{stem}.ipynb" if folder == "." else f"{folder}/{stem}.ipynb"
    return f"[{project.title(stem) if long else _number(stem)}]({place})"


def _number(stem: str) -> str:
    return stem.split("_")[0]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text.strip()}\n\n</details>\n"


def _source(cell: Mapping) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)
