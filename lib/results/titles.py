"""Methods, cases and papers in words, for tables, figures, pages and the site; needs nothing but the catalogue of methods.

Data sets have their words in their catalogue (``lib.results.tables.dataset_title``), and the same, for the site, in
``data/papers.toml``.
"""

import re
from collections.abc import Mapping

from lib import methods

__all__ = ["case_title", "method_title", "paper_title"]

# Forms of CCC that protocols name; no methods of the catalogue.
CONTROLS = {"ccc-head": "CCC, last layer only", "ccc-own-set": "CCC, each network corrected by its own set"}
# What protocols put behind the name of a method, and the words behind its title; a longer ending before one that it ends with.
ENDINGS = {
    "-pair": ", two networks",
    "+kd+elr": " + KD-Crowd, robust learner on",
    "+kd": " + KD-Crowd",
    "+longer": ", three times as long",
    "+start": ", only started",
}


def method_title(name: str, titles: Mapping[str, str] | None = None) -> str:
    """The caller's title for a method, else the catalogue's or that of a control, else its bare name."""
    titles = CONTROLS | dict(titles or {})
    if name in titles:
        return titles[name]
    for ending, words in ENDINGS.items():
        if name.endswith(ending):
            return method_title(name.removesuffix(ending), titles) + words
    return methods.info(name).title if name in methods.CATALOGUE else name


def case_title(case: str) -> str:
    """A case in words: ``real`` is the published crowd; the others are named in words by their protocols."""
    words = case.replace(" labels=", ", labels per item: ").replace(" groups=", ", groups: ")
    return "as published" if case == "real" else words


def paper_title(entry: Mapping) -> str:
    """A paper of ``data/papers.toml`` by who wrote it and what it proposes: ``"Ibrahim et al. 2023 (GeoCrowdNet)"``."""
    first, *others = re.split(r", | and ", entry["authors"])
    more = " et al." if len(others) > 1 else f" & {others[0].split()[-1]}"
    return f"{first.split()[-1]}{more} {entry['year']} ({entry['name']})"
