"""Notebook 20: Theorem 1 and the regimes of GeoCrowdNet, on a crowd where everything is known.

Network, optimizer and number of steps are ours, fixed before any error was compared: a small network without dropout, Adam
at 0.01, about a thousand steps whatever the number of items, so that what differs between columns is the data. The weight
0.01 is the value of the paper's CIFAR-10 script.
"""

from __future__ import annotations

from collections.abc import Sequence

from lib.experiments import at_scale
from lib.runs import RunConfig
from lib.training import Recipe

METHODS = ("ccem", "geocrowdnet-f", "geocrowdnet-w")
STARTS = ("identity", "6I-5")
WEIGHT = 0.01
WEIGHTS = (0.001, 0.01, 0.1)
BATCH = 128
STEPS = 1000

LABELS_PER_ITEM = 3.0
ITEMS = (300, 1000, 3000, 10000)
FLAWS = (0.0, 0.2, 0.4, 0.6, 0.8)
BLURS = (0.0, 0.15, 0.3, 0.45, 0.6)
NO_ANCHOR = 0.45  # the largest class probability is then 0.7


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Four families, told apart by ``case``: ``labels``, ``specialist``, ``anchor`` and ``regime``."""
    items = (300,) if scale == "smoke" else ITEMS
    size = 300 if scale == "smoke" else 3000
    configs = []
    for seed in seeds:
        for method in METHODS:
            configs += [_run("labels", method, scale, seed, items=n) for n in items]
            configs += [_run("specialist", method, scale, seed, items=size, flaw=flaw) for flaw in FLAWS]
            configs += [_run("anchor", method, scale, seed, items=size, blur=blur) for blur in BLURS]
            configs += [
                _run("regime", method, scale, seed, weight, start, items=size, specialist=specialist, blur=blur)
                for weight in (WEIGHTS if method != "ccem" else (0.0,))
                for start in STARTS
                for specialist in (True, False)
                for blur in (0.0, NO_ANCHOR)
            ]
    return configs


def _run(
    case: str, method: str, scale: str, seed: int, weight: float = WEIGHT, start: str = "identity", **data
) -> RunConfig:
    steps_per_epoch = -(-data["items"] // BATCH)
    penalty = {"weight": weight} if method != "ccem" else {}
    return RunConfig(
        experiment="identifiability",
        dataset="identifiability",
        method=method,
        backbone="mlp",
        backbone_options={"width": 32, "dropout": 0.0},
        recipe=at_scale(Recipe(epochs=STEPS // steps_per_epoch, batch_size=BATCH, lr=0.01), scale),
        dataset_options={"labels_per_item": LABELS_PER_ITEM, "crowd_seed": seed, **data},
        method_options={"start": start, **penalty},
        case=case,
        scale=scale,
        seed=seed,
    )
