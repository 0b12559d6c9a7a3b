"""Notebook 00: one network on the digits, trained on true labels, on votes, on Dawid-Skene's labels and by the Crowd Layer.

Network, optimizer and number of epochs are ours, and the same for every method. Batch normalization is there for the Crowd
Layer, which without it loses one of the digits in some runs (an exercise of the notebook).
"""

from __future__ import annotations

from collections.abc import Sequence

from lib.protocols import at_scale
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

METHODS = ("true-labels", "majority-vote", "dawid-skene", "crowdlayer-mw")
RECIPE = Recipe(epochs=30, batch_size=64, lr=0.01)


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method with every seed; ``paper`` is ``quick``, since no paper has these data."""
    return [
        RunConfig(
            experiment="digits",
            dataset="digits",
            method=method,
            backbone="mlp-norm",
            recipe=at_scale(RECIPE, scale),
            scale=scale,
            seed=seed,
        )
        for method in METHODS
        for seed in seeds
    ]
