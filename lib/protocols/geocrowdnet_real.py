"""Notebook 23: CCEM and GeoCrowdNet on LabelMe and Music, beside what they are compared with there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.protocols import real_crowds, shorter, tuning
from lib.runs.config import RunConfig, each_once

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
STOPPED = (1, 2, 5, 15)  # epochs


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method on both data sets; on LabelMe the other start, with the first five seeds; the choice of the penalties'
    weights with the first three; and :func:`watched`."""
    compared = [config for dataset in DATASETS for config in real_crowds.runs(dataset, METHODS, scale, seeds)]
    compared += [
        replace(config, method_options=config.method_options | {"start": START}, case=f"start {START}")
        for config in real_crowds.runs("labelme", STARTED, scale, seeds[:5])
    ]
    tuned = [config for config in tuning.grid(scale, seeds[:TUNING_SEEDS]) if config.dataset in DATASETS]
    return list(each_once([*compared, *tuned, *watched(scale, seeds[0])]).values())


def watched(scale: str, seed: int) -> list[RunConfig]:
    """CCEM and its penalties, stopped after few epochs and trained to the end, with their matrices and predictions."""
    wholes = [config for dataset in DATASETS for config in real_crowds.runs(dataset, STARTED, scale, [seed])]
    configs = [config for whole in wholes for config in (*shorter(whole, STOPPED), whole)]
    return [replace(config, keep=("confusion", "predictions")) for config in configs]
