"""Whether every number in README, RESULTS.md, ``claims.json`` and a notebook agrees with what it is made from."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from lib.results import claim_files, claim_tables
from lib.results.pages import headers, pages
from lib.results.project import Project, source_of
from lib.results.verdicts import Claim, judge

__all__ = ["disagreements"]


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
        made = pages(project) | {f"notebooks/{stem}.ipynb, first cell": text for stem, text in headers(project).items()}
    except ValueError as error:
        return [str(error)]
    for name, text in made.items():
        path = name.removesuffix(", first cell")
        if path != name:
            there = source_of(project.notebooks[Path(path).stem]["cells"][0])
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
        found += claim_files.misprinted(project.root / "figures" / stem / "claims.json")
    for claim in project.claims.values():
        place = f"figures/{claim.notebook}/claims.json, claim {claim.id!r}"
        if lost := [key for key in claim.keys if key not in rows]:
            found.append(f"{place}: no ledger row has the key {lost[0]}")
            continue
        again = claim_files.recompute(claim, rows, project.claims) or claim
        again = dataclasses.replace(again, verdict=judge(again, [project.claims[name] for name in claim.parts]))
        found += [
            f"{place}: {name} is {getattr(claim, name)!r}, its rows say {getattr(again, name)!r}"
            for name in ("ours", "low", "high", "seeds", "verdict")
            if getattr(claim, name) != getattr(again, name)
        ]
        if not any(_is_line_of(claim, line) for line in shown.get(claim.notebook, ())):
            wanted = f"{claim.statement!r} with {claim_tables.shown(claim)} and {claim.verdict!r}"
            found.append(f"{place}: notebooks/{claim.notebook}.ipynb shows no line {wanted}")
    return found


def _is_line_of(claim: Claim, line: str) -> bool:
    return (
        claim.statement in line
        and _has(line, claim_tables.shown(claim))
        and (claim.paper_value is None or _has(line, claim.paper_value))
        and line.endswith(claim.verdict)
    )


def _has(line: str, number: str) -> bool:
    """Whether a number stands in a line, as a whole: 84.9 is not in "84.2 [83.5, 84.9]"."""
    return re.search(rf"(?<!\S){re.escape(number)}(?!\S)", line) is not None


def _shown_lines(notebook: Mapping) -> list[str]:
    """The lines of text that a notebook's outputs show."""
    lines = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            text = output.get("data", {}).get("text/plain", "")
            lines += [line.strip() for line in (text if isinstance(text, str) else "".join(text)).splitlines()]
    return lines
