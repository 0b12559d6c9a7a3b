"""Notebook 23: CCEM and GeoCrowdNet on LabelMe and Music, beside what they are compared with there."""

from __future__ import annotations

from collections.abc import Sequence

from lib.experiments import real, tuning
from lib.runs import RunConfig

DATASETS = ("labelme", "music")
METHODS = (
    "true-labels",
    "majority-vote",
    "dawid-skene",
    "trace-reg",
    "crowdlayer-mw",
    "ccem",
    "geocrowdnet-f",
    "geocrowdnet-w",
)
TUNING_SEEDS = 3


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method on both data sets, and the choice of the penalties' weights there with the first three seeds."""
    compared = [config for dataset in DATASETS for config in real.runs(dataset, METHODS, scale, seeds)]
    return compared + [config for config in tuning.grid(scale, seeds[:TUNING_SEEDS]) if config.dataset in DATASETS]
