"""The project as its pages see it: notebooks, claims, tables, texts about the papers, and how numbers stand in sentences.

What is said of the four papers stands in ``data/papers.toml``; a text there, or in a notebook's metadata, takes its numbers
from claims by ``{10-mw-above-all}``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from lib import paths
from lib.results import claim_files, claim_tables, minutes
from lib.results.tables import COLUMNS, is_share, spread
from lib.results.verdicts import Claim

__all__ = [
    "Project", "anchor", "claim_of", "filled", "folded", "link", "number_of", "one_line", "ours", "papers_number", "scale_of",
    "short", "source_of",
]  # fmt: skip


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
            for claim in claim_files.load(path):
                if claim.id in found:
                    raise ValueError(f"{path}: the id {claim.id!r} is taken by another claim")
                found[claim.id] = claim
        return found

    @cached_property
    def minutes(self) -> list[minutes.Measured]:
        """``data/reference/minutes.csv``."""
        return minutes.read(self.root / "data" / "reference" / minutes.NAME)

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
        first = source_of(self.notebooks[stem]["cells"][0]).splitlines()[0]
        return first.removeprefix("# ").strip()

    def stem(self, number: str) -> str:
        """A notebook's name by its number. Raises ValueError for none."""
        for stem in self.notebooks:
            if stem.startswith(f"{number}_"):
                return stem
        raise ValueError(f"there is no notebook {number}; there are {', '.join(self.notebooks)}")


def filled(project: Project, text: str) -> str:
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

    return claim_tables.filled(re.sub(r"\{(\d\d)/([^/{}]+)/([^/{}]+)(?:/([^/{}]+))?\}", fill, text), project.claims)


def claim_of(project: Project, id: str) -> Claim:
    """A claim by its id. Raises ValueError for one that no notebook makes."""
    if id not in project.claims:
        raise ValueError(f"data/papers.toml names the claim {id!r}, which no notebook makes")
    return project.claims[id]


def papers_number(claim: Claim) -> str:
    """The paper's number as printed, with its unit where parts are counted; a dash where it has none."""
    return f"{claim.paper_value} {claim.unit}".strip() if claim.parts else claim.paper_value or "–"


def ours(claim: Claim) -> str:
    """Our number with its interval and unit."""
    return claim_tables.shown(claim, unit=True)


def scale_of(claim: Claim) -> str:
    """The scale and the number of seeds: ``"quick, 5"``."""
    return f"{claim.scale or '–'}, {claim.seeds}" if claim.seeds else claim.scale or "–"


def short(entry: Mapping) -> str:
    """How a paper is cited in a sentence: ``"Ibrahim et al. 2023"``."""
    first = entry["authors"].split(",")[0].split(" and ")[0].split()[-1]
    return (
        f"{first} et al. {entry['year']}"
        if entry["authors"].count(",")
        else f"{first} & {entry['authors'].split()[-1]} {entry['year']}"
    )


def link(project: Project, stem: str, folder: str = "notebooks", long: bool = False) -> str:
    """A Markdown link to a notebook, by its number or (``long``) its title, seen from ``folder``'s parent."""
    place = f"{stem}.ipynb" if folder == "." else f"{folder}/{stem}.ipynb"
    return f"[{project.title(stem) if long else number_of(stem)}]({place})"


def number_of(stem: str) -> str:
    """``"10"`` of ``"10_crowdlayer_labelme"``."""
    return stem.split("_")[0]


def anchor(heading: str) -> str:
    """Where a link to a heading of the same page leads, as GitHub and MyST make it: ``"#every-claim-by-origin"``."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def folded(title: str, text: str) -> str:
    """Markdown that a click on its title opens."""
    return f"<details><summary>{title}</summary>\n\n{text.strip()}\n\n</details>\n"


def source_of(cell: Mapping) -> str:
    """A cell's source, which notebooks keep as one string or as lines."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)
