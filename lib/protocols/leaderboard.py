"""Notebook 90: every classification method on every real crowd so far."""

from __future__ import annotations

from collections.abc import Sequence

from lib.protocols import real_crowds
from lib.runs.config import RunConfig

# Named one by one: a method that joins needs its reference rows at the same time.
METHODS = (
    "true-labels",
    "majority-vote",
    "soft-majority-vote",
    "dawid-skene",
    "glad",
    "mace",
    "dl-em",
    "dl-em-released",
    "crowdlayer-vw",
    "crowdlayer-vwb",
    "crowdlayer-mw",
    "trace-reg",
    "ccem",
    "geocrowdnet-f",
    "geocrowdnet-w",
    "doctornet",
    "weighted-doctornet",
    "max-mig",
    "conal",
    "unionnet-a",
    "unionnet-b",
    "ccc",
)
SENTIMENT_SEEDS = 5


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All of :data:`METHODS`; the sentiment data, whose runs are the longest, with the first five seeds."""
    return [
        config
        for dataset in real_crowds.SETTINGS
        for config in real_crowds.runs(
            dataset, METHODS, scale, seeds[:SENTIMENT_SEEDS] if dataset == "sentiment_polarity" else seeds
        )
    ]
