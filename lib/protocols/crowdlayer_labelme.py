"""Notebook 10: Rodrigues & Pereira's LabelMe table."""

from __future__ import annotations

from collections.abc import Sequence

from lib.protocols import real_crowds
from lib.runs.config import RunConfig

METHODS = (
    "true-labels",
    "majority-vote",
    "dawid-skene",
    "dl-em",
    "dl-em-released",
    "crowdlayer-vw",
    "crowdlayer-vwb",
    "crowdlayer-mw",
)
# As many gradient steps as the paper, whose images are stored ten times over.
TEN_PASSES = ("true-labels", "majority-vote", "dawid-skene", "dl-em", "dl-em-released", "crowdlayer-mw")
TEN_PASSES_SEEDS = 5


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All rows at one pass an epoch; the paper's rows at ten passes, at ``quick`` with the first five seeds."""
    few = seeds if scale == "paper" else seeds[:TEN_PASSES_SEEDS]
    methods = METHODS if scale == "paper" else TEN_PASSES
    return real_crowds.runs("labelme", METHODS, scale, seeds) + real_crowds.runs(
        "labelme", methods, scale, few, case="ten passes", passes=10
    )
