"""Notebook 10: Rodrigues & Pereira's LabelMe table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.protocols import real_crowds, shorter
from lib.runs.config import RunConfig, each_once

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
TEN = "ten passes"
TEN_PASSES_SEEDS = 5
STOPPED = (1, 2, 5, 15)  # epochs


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All rows at one pass an epoch; the paper's rows at ten passes, at ``quick`` with the first five seeds; and
    :func:`watched`."""
    few = seeds if scale == "paper" else seeds[:TEN_PASSES_SEEDS]
    methods = METHODS if scale == "paper" else TEN_PASSES
    longer = real_crowds.runs("labelme", methods, scale, few, case=TEN, passes=10)
    configs = real_crowds.runs("labelme", METHODS, scale, seeds) + longer + watched(scale, seeds[0])
    return list(each_once(configs).values())


def watched(scale: str, seed: int) -> list[RunConfig]:
    """The Crowd Layer at ten passes, stopped after few epochs and trained to the end, with its matrices and predictions."""
    (whole,) = real_crowds.runs("labelme", ["crowdlayer-mw"], scale, [seed], case=TEN, passes=10)
    return [replace(config, keep=("confusion", "predictions")) for config in [*shorter(whole, STOPPED), whole]]
