"""The grids: which runs a notebook needs at a scale, and where each hyper-parameter comes from.

One file a paper, in it a function of (scale, seeds) for each notebook, which returns its runs, or families of them by what is
varied; :data:`GRIDS` names them. Notebooks and the command line both ask here, so that ``--runs-only`` trains exactly what a
notebook will look for.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain

from lib.registry import unknown
from lib.runs.config import RunConfig, each_once
from lib.training.recipe import Recipe

# smoke: seconds, for tests. quick: minutes on two cores, the committed default. fast: the papers' full data, with short
# schedules and small networks, for an hour of a GPU; where quick is the papers' protocol already, nothing but a name.
# paper: the papers' sizes. overnight: hours on two cores: images and crowds of the papers' kind, with networks that a
# processor can train.
SCALES = ("smoke", "quick", "overnight", "fast", "paper")
# Experiments with an `overnight` of their own; for the others, whose `quick` two cores train in minutes, it is `quick`.
OVERNIGHT = (
    "ccc_ablations",
    "ccc_cifar10n",
    "ccc_table1",
    "crowdlayer_simulated_annotators",
    "geocrowdnet_cifar10",
    "leaderboard",
)
STOPPED = (1, 2, 5, 15)  # epochs, of a run that is watched

# By the notebook's name without its number: the file and its function.
GRIDS = {
    "start_here": "overview.start_here",
    "crowdlayer_labelme": "crowd_layer.labelme",
    "crowdlayer_simulated_annotators": "crowd_layer.simulated_annotators",
    "crowdlayer_moviereviews": "crowd_layer.movie_reviews",
    "crowdlayer_ner": "crowd_layer.named_entities",
    "sentiment_from_crowds": "crowd_layer.sentiment",
    "geocrowdnet_identifiability": "geocrowdnet.regime_families",
    "geocrowdnet_machine_annotators": "geocrowdnet.machine_families",
    "geocrowdnet_cifar10": "geocrowdnet.hammer_families",
    "geocrowdnet_real": "geocrowdnet.real",
    "ccc_table1": "ccc.table1",
    "ccc_table2": "ccc.table2",
    "ccc_ablations": "ccc.figure4_families",
    "ccc_cifar10n": "ccc.cifar10n",
    "kdcrowd_lift": "kd_crowd.lift",
    "kdcrowd_distillation_loss": "kd_crowd.distillation_losses",
    "kdcrowd_expertise": "kd_crowd.expertise",
    "leaderboard": "overview.leaderboard",
    "all_methods_embedded": "overview.all_methods",
}


def grid(notebook: str, scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The runs of a notebook (its file's name without ending, with or without its number) at one of :data:`SCALES`, each once;
    none where it trains nothing through the ledger.

    Raises:
        ValueError: an unknown scale, or seeds that are no whole numbers, repeat or are none.
    """
    check_scale(scale)
    seeds = list(seeds)
    if not seeds or len(set(seeds)) != len(seeds) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise ValueError(f"seeds must be distinct whole numbers from 0 on, at least one; found {seeds}")
    name = re.sub(r"^[0-9]+_", "", notebook)
    if name not in GRIDS:
        return []
    if scale == "overnight" and name not in OVERNIGHT:
        scale = "quick"
    module, function = GRIDS[name].split(".")
    found = getattr(importlib.import_module(f"{__name__}.{module}"), function)(scale, seeds)
    configs = chain.from_iterable(found.values()) if isinstance(found, dict) else found
    return list(each_once(configs).values())


def check_scale(scale: str) -> str:
    """The scale itself. Raises ValueError for an unknown one."""
    if scale not in SCALES:
        raise ValueError(unknown("scale", scale, list(SCALES)))
    return scale


def keeping(configs: Iterable[RunConfig], names: tuple[str, ...], wanted: Callable[[RunConfig], bool]) -> list[RunConfig]:
    """The configurations; the wanted ones keep arrays of these names, see :func:`lib.runs.sweep.arrays`."""
    return [replace(config, keep=(*config.keep, *names)) if wanted(config) else config for config in configs]


def watched(config: RunConfig) -> list[RunConfig]:
    """The run stopped after few epochs, as the case says, and the whole: with a constant learning rate each is the beginning of
    the next. All keep their matrices and predictions."""
    whole = replace(config, keep=("confusion", "predictions"))
    case = "" if config.case == "real" else f"{config.case}, "
    few = {n: "1 epoch" if n == 1 else f"{n} epochs" for n in STOPPED if n < config.recipe.epochs}
    stopped = [replace(whole, recipe=replace(config.recipe, epochs=n), case=f"{case}{words}") for n, words in few.items()]
    return [*stopped, whole]


def at_scale(recipe: Recipe, scale: str) -> Recipe:
    """The recipe, cut to two epochs at ``smoke``."""
    return replace(recipe, epochs=2) if scale == "smoke" else recipe
