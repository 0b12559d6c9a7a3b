"""Methods in words, for tables, figures and the site; needs nothing but the catalogue of methods."""

from __future__ import annotations

from collections.abc import Mapping

from lib import methods

__all__ = ["method_title"]

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
