"""Notebook 23: CCEM and GeoCrowdNet on LabelMe and Music, beside what they are compared with there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.protocols import real_crowds, tuning
from lib.runs.config import RunConfig

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
# The matrices' other start: diagonal 0.98 rather than 0.28, annotators who hardly err.
START = "6I-5"
STARTED = ("ccem", "geocrowdnet-f", "geocrowdnet-w")


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method on both data sets; on LabelMe the other start, with the first five seeds; and the choice of the penalties'
    weights with the first three."""
    compared = [config for dataset in DATASETS for config in real_crowds.runs(dataset, METHODS, scale, seeds)]
    compared += [
        replace(config, method_options=config.method_options | {"start": START}, case=f"start {START}")
        for config in real_crowds.runs("labelme", STARTED, scale, seeds[:5])
    ]
    return compared + [config for config in tuning.grid(scale, seeds[:TUNING_SEEDS]) if config.dataset in DATASETS]
