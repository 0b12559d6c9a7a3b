"""The project as its pages see it: notebooks, claims, tables, texts about the papers, and how numbers stand in sentences.

What is said of the four papers stands in ``data/papers.toml``; a text there, or in a notebook's metadata, takes its numbers
from claims by ``{10-mw-above-all}``.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from lib import paths
from lib.results import claims, minutes, verdicts
from lib.results.tables import is_share, spread
from lib.results.verdicts import Claim

__all__ = ["Project", "papers_number", "source_of"]


@dataclass(frozen=True)
class Project:
    """What the pages are made from, in the project's folder ``root``."""

    root: Path = field(default_factory=lambda: paths.README.parent)

    def read(self, name: str) -> str:
        """The text of a file; empty where there is none."""
        path = self.root / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @cached_property
    def texts(self) -> dict:
        """``data/papers.toml``."""
        return tomllib.loads(self.read("data/papers.toml"))

    @cached_property
    def notebooks(self) -> dict[str, dict]:
        """Stem to the notebook as it is in its file, in order."""
        files = sorted((self.root / "notebooks").glob("[0-9]*_*.ipynb"))
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}

    @cached_property
    def claims(self) -> dict[str, Claim]:
        """Every claim by id; raises ValueError as :func:`lib.results.verdicts.load`."""
        return verdicts.load(self.root / "figures")

    @cached_property
    def minutes(self) -> list[minutes.Measured]:
        """``data/reference/minutes.csv``."""
        return minutes.read(self.root / "data" / "reference" / minutes.NAME)

    def table(self, stem: str) -> pd.DataFrame | None:
        """A notebook's ``table.csv``; None where it has none."""
        path = self.root / "figures" / stem / "table.csv"
        if not path.exists():
            return None
        text = dict.fromkeys(("case", "method", "scale", "paper"), str)
        return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])

    def title(self, stem: str) -> str:
        """A notebook's first heading."""
        return source_of(self.notebooks[stem]["cells"][0]).splitlines()[0].removeprefix("# ").strip()

    def stem(self, number: str) -> str:
        """A notebook's name by its number. Raises ValueError for none."""
        for stem in self.notebooks:
            if stem.startswith(f"{number}_"):
                return stem
        raise ValueError(f"there is no notebook {number}; there are {', '.join(self.notebooks)}")

    def link(self, stem: str, folder: str = "notebooks/", long: bool = False) -> str:
        """A Markdown link to a notebook, by its number or (``long``) its title, seen from the parent of ``folder``."""
        return f"[{self.title(stem) if long else stem[:2]}]({folder}{stem}.ipynb)"

    def filled(self, text: str) -> str:
        """A text with numbers from claims, and with ``{00/majority-vote/test_acc_last}`` (and a case, where a table has
        several) from a notebook's ``table.csv``. Raises ValueError for a claim or a line that there is not.
        """

        def fill(match: re.Match) -> str:
            number, method, metric, case = match.groups()
            found = self.table(self.stem(number))
            found = found[(found["method"] == method) & (found["metric"] == metric) & (found["case"] == case if case else True)]
            if len(found) != 1:
                raise ValueError(f"{match[0]} fits {len(found)} lines of the table of notebook {number}")
            factor, unit = (100, " %") if is_share(metric) else (1, "")
            mean, std = (factor * found[name].iloc[0] for name in ("mean", "std"))
            return spread(mean, std, 1) + unit

        return claims.filled(re.sub(r"\{(\d\d)/([^/{}]+)/([^/{}]+)(?:/([^/{}]+))?\}", fill, text), self.claims)


def papers_number(claim: Claim) -> str:
    """The paper's number as printed, with its unit where parts are counted; a dash where it has none."""
    return f"{claim.paper_value} {claim.unit}".strip() if claim.parts else claim.paper_value or "–"


def source_of(cell: Mapping) -> str:
    """A cell's source, which notebooks keep as one string or as lines."""
    return "".join(cell["source"])
