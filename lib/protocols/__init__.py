"""The grids: which runs a notebook needs at a scale, and where each hyper-parameter comes from.

One module a notebook, named as the notebook without its number, with a function ``grid(scale, seeds)``. Notebooks and the
command line both ask here, so that ``--runs-only`` trains exactly what a notebook will look for.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace

from lib.registry import unknown
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

# smoke: seconds, for tests. quick: minutes on two cores, the committed default. fast: the papers' full data, with short
# schedules and small networks, for an hour of a GPU; where quick is the papers' protocol already, nothing but a name.
# paper: the papers' sizes. overnight: hours on two cores: images and crowds of the papers' kind, with networks that a
# processor can train.
SCALES = ("smoke", "quick", "overnight", "fast", "paper")
# Experiments with an `overnight` of their own; for the others, whose `quick` two cores train in minutes, it is `quick`.
OVERNIGHT = ("ccc_ablations", "ccc_cifar10n", "ccc_table1")


def grid(notebook: str, scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The runs of a notebook.

    Args:
        notebook: file name without ending (``10_crowdlayer_labelme``) or the experiment's module (``crowdlayer_labelme``).
        scale: one of :data:`SCALES`.
        seeds: one run each, whole numbers without repeats.

    Returns:
        Configurations; empty for a notebook that trains nothing through the ledger.

    Raises:
        ValueError: an unknown scale, or seeds that are no whole numbers, repeat or are none.
    """
    check_scale(scale)
    seeds = list(seeds)
    if not seeds or len(set(seeds)) != len(seeds) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise ValueError(f"seeds must be distinct whole numbers from 0 on, at least one; found {seeds}")
    name = re.sub(r"^[0-9]+_", "", notebook)
    if importlib.util.find_spec(f"{__name__}.{name}") is None:
        return []
    if scale == "overnight" and name not in OVERNIGHT:
        scale = "quick"
    return importlib.import_module(f"{__name__}.{name}").grid(scale, seeds)


def check_scale(scale: str) -> str:
    """The scale itself. Raises ValueError for an unknown one."""
    if scale not in SCALES:
        raise ValueError(unknown("scale", scale, list(SCALES)))
    return scale


def at_scale(recipe: Recipe, scale: str, smoke_epochs: int = 2) -> Recipe:
    """The recipe, cut to a few epochs at ``smoke``."""
    return replace(recipe, epochs=smoke_epochs) if scale == "smoke" else recipe
