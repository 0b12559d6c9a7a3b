"""Notebook 90: every classification method on every real crowd so far."""

from __future__ import annotations

from collections.abc import Sequence

from lib import methods
from lib.experiments import real
from lib.runs import RunConfig

SENTIMENT_SEEDS = 5


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All methods; the sentiment data, whose runs are the longest, with the first five seeds."""
    return [
        config
        for dataset in real.SETTINGS
        for config in real.runs(
            dataset, methods.names(), scale, seeds[:SENTIMENT_SEEDS] if dataset == "sentiment_polarity" else seeds
        )
    ]
