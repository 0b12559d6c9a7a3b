"""Notebook 91: every method on handwritten digits that come with scikit-learn, under two simulated crowds.

Each seed has a crowd of its own, which all methods share. Methods keep their defaults, except where a default is a size
taken from a larger data set.
"""

from __future__ import annotations

from collections.abc import Sequence

from lib import methods
from lib.protocols import at_scale
from lib.protocols.start_here import RECIPE
from lib.runs.config import RunConfig

CROWDS = ("independent", "correlated")
# Five kinds of annotators; a tenth of a class's items; a sixth of the epochs, as in the paper.
OPTIONS = {"ccc": {"groups": 5, "per_class": 10, "warmup": 5}}
# `ensemble` by itself is what `crowdlayer-mw-ensemble` is.
LEFT_OUT = ("ensemble",)


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every registered method for classes under both crowds; ``paper`` is ``quick``, since no paper has these data."""
    return [
        RunConfig(
            experiment="all_methods",
            dataset="digits",
            method=method,
            backbone="mlp-norm",
            recipe=at_scale(RECIPE, scale),
            dataset_options={"crowd": crowd, "crowd_seed": seed},
            method_options=_options(method, scale),
            case=crowd,
            scale=scale,
            seed=seed,
        )
        for crowd in CROWDS
        for method in methods.names("classification")
        if method not in LEFT_OUT
        for seed in seeds
    ]


def _options(method: str, scale: str) -> dict:
    options = OPTIONS.get(method, {})
    return options | {"warmup": 1} if "warmup" in options and scale == "smoke" else options
