"""Notebook 11: Rodrigues & Pereira's five simulated annotators on cats and dogs.

Sources. Network, Adam at 0.001, 30 epochs, batches of 16, the last epoch: the released notebook. Its photographs are used at
``fast`` and ``paper`` where the user has them (:mod:`lib.datasets.dogs_vs_cats`); else cats and dogs of CIFAR-10, tested on
those among its last 10,000 training images, exact and to be had without the test part. ``quick`` has features of random
patches of these and a hidden layer in place of the network. Batches of 64 there and at ``fast`` are ours, for time.
"""

from __future__ import annotations

from collections.abc import Sequence

from lib.datasets import dogs_vs_cats
from lib.datasets.cifar10_patches import HELD_OUT, N_FILTERS
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

METHODS = (
    "true-labels",
    "majority-vote",
    "dawid-skene",
    "dl-em",
    "dl-em-released",
    "doctornet",
    "weighted-doctornet",
    "crowdlayer-vw",
    "crowdlayer-vwb",
    "crowdlayer-mw",
)
EPOCHS = {"smoke": 1, "quick": 15, "fast": 30, "paper": 30}
BATCH = {"smoke": 64, "quick": 64, "fast": 64, "paper": 16}
CASE = "five annotators"


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method with every seed; a seed has annotators of its own, the same for all methods."""
    data, options, backbone, backbone_options = _setting(scale)
    return [
        RunConfig(
            experiment="cats_dogs",
            dataset=data,
            method=method,
            backbone=backbone,
            recipe=Recipe(epochs=EPOCHS[scale], batch_size=BATCH[scale], lr=1e-3),
            dataset_options=options | {"crowd_seed": seed},
            backbone_options=backbone_options,
            case=CASE,
            scale=scale,
            seed=seed,
        )
        for seed in seeds
        for method in METHODS
    ]


def _setting(scale: str) -> tuple[str, dict, str, dict]:
    """Data set with options, backbone with options."""
    if scale == "smoke":
        return "cats_dogs", {"n_train": 200, "n_test": 100, "test": HELD_OUT, "filters": 4}, "mlp", {}
    if scale == "quick":
        return "cats_dogs", {"test": HELD_OUT, "filters": N_FILTERS}, "mlp", {}
    if (own := dogs_vs_cats.folder()) is not None:
        return "dogs_vs_cats", {"collection": dogs_vs_cats.digest(own)}, "dogs-vs-cats", {}
    return "cats_dogs", {"test": HELD_OUT}, "dogs-vs-cats", {"padding": 1}
