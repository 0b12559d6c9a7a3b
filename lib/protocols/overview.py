"""The runs across papers: notebook 00 on the digits, 90 on the real crowds, 91 with every method.

**The digits** come with scikit-learn. Network, optimizer and number of epochs are ours, and the same for every method; no
paper has these data, so ``paper`` is ``quick``. Batch normalization is there for the Crowd Layer, which without it loses one
of the digits in some runs (an exercise of the notebook).

**The leaderboard** (90) gives every method one recipe; besides, weights or sizes were chosen for some. ``overnight`` has the
same number of trials for all, nested: every learning rate of :data:`RATES` on LabelMe and Music, and for each seed the one that
is best on validation labels, which neither training nor the reported score has seen. Options are the methods' defaults, except
where a default is a size taken from a larger data set.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

from lib import methods
from lib.protocols import at_scale, keeping, real_crowds, selection
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

RECIPE = Recipe(epochs=30, batch_size=64, lr=0.01)


def _digits(experiment: str, method: str, scale: str, seed: int, case: str = "real", **options) -> RunConfig:
    recipe = at_scale(RECIPE, scale)
    return RunConfig(experiment, "digits", method, "mlp-norm", recipe, case=case, scale=scale, seed=seed, **options)


# ---------------------------------------------------------------------- 00: start here


def start_here(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """One network trained on true labels, on votes, on Dawid-Skene's labels and by the Crowd Layer, whose first run keeps its
    matrices."""
    names = ("true-labels", "majority-vote", "dawid-skene", "crowdlayer-mw")
    configs = [_digits("digits", method, scale, seed) for method in names for seed in seeds]
    return keeping(configs, ("confusion",), lambda config: (config.method, config.seed) == ("crowdlayer-mw", seeds[0]))


# ---------------------------------------------------------------------- 90: the leaderboard

# Named one by one: a method that joins needs its reference rows at the same time.
METHODS = (
    "true-labels", "majority-vote", "soft-majority-vote", "dawid-skene", "glad", "mace", "dl-em", "dl-em-released",
    "crowdlayer-vw", "crowdlayer-vwb", "crowdlayer-mw", "trace-reg", "ccem", "geocrowdnet-f", "geocrowdnet-w", "doctornet",
    "weighted-doctornet", "max-mig", "conal", "unionnet-a", "unionnet-b", "ccc",
)  # fmt: skip
SENTIMENT_SEEDS = 5
RATES = (3e-4, 1e-3, 3e-3, 1e-2)  # the recipe's own among them
TRIALS_ON, TRIAL_SEEDS = ("labelme", "music"), 5
SIZES = {"ccc": {"groups": 5, "per_class": 10}}


def leaderboard(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All of :data:`METHODS` on every real crowd; the sentiment data, whose runs are the longest, with the first five seeds. At
    ``overnight`` the :func:`trials`, with five seeds."""
    if scale == "overnight":
        return trials(seeds[:TRIAL_SEEDS])
    return [
        config
        for dataset in real_crowds.SETTINGS
        for config in real_crowds.runs(
            dataset, METHODS, scale, seeds[:SENTIMENT_SEEDS] if dataset == "sentiment_polarity" else seeds
        )
    ]


def trials(seeds: Sequence[int]) -> list[RunConfig]:
    """Every method with every learning rate, with validation items of its own for each seed: a fifth of Music's training items;
    LabelMe has a validation split."""
    return [
        replace(
            config,
            experiment="equal_trials",
            recipe=replace(config.recipe, lr=rate),
            dataset_options={} if dataset == "labelme" else {"validation": 0.2, "seed": config.seed},
            method_options=SIZES.get(config.method, {}),
            case=f"rate {rate:g}",
            scale="overnight",
        )
        for dataset in TRIALS_ON
        for config in real_crowds.runs(dataset, METHODS, "quick", seeds)
        for rate in RATES
    ]


def nested(rows: Iterable[dict]) -> list[dict]:
    """Of each method's trials with a seed the one with the highest validation accuracy after the last epoch; of equals the one
    with the smaller rate."""
    best: dict[tuple, dict] = {}
    for row in sorted(rows, key=lambda row: row["config"]["recipe"]["lr"]):
        config = row["config"]
        place = config["dataset"], config["method"], config["seed"]
        if place not in best or selection.late(row, "valid_acc") > selection.late(best[place], "valid_acc"):
            best[place] = row
    return list(best.values())


# ---------------------------------------------------------------------- 91: every method

CROWDS = ("independent", "correlated")


def all_methods(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method for classes under two simulated crowds."""
    names = [name for name in methods.names("classification") if name != "ensemble"]  # which is `crowdlayer-mw-ensemble`
    return [config for crowd in CROWDS for config in on_digits(crowd, names, scale, seeds)]


def on_digits(crowd: str, names: Iterable[str], scale: str, seeds: Iterable[int]) -> list[RunConfig]:
    """Methods with every seed under a simulated crowd. Each seed has a crowd of its own, which all methods share. Methods keep
    their defaults, except where a default is a size taken from a larger data set."""
    # Five kinds of annotators; a tenth of a class's items; a sixth of the epochs, as in the paper.
    options = {"ccc": SIZES["ccc"] | {"warmup": 1 if scale == "smoke" else 5}}
    configs = []
    for method, seed in product(names, seeds):
        own = {"dataset_options": {"crowd": crowd, "crowd_seed": seed}, "method_options": options.get(method, {})}
        configs.append(_digits("all_methods", method, scale, seed, case=crowd, **own))
    return configs
