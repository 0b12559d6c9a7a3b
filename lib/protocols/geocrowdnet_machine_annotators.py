"""Notebook 21: GeoCrowdNet with machine annotators on MNIST and Fashion-MNIST, experts present and absent.

Sources. Fifteen machines, 1000 items, each label kept with probability 0.1, LeNet, batches of 64, 50 epochs, Adam at 0.001, the
epoch and the weight of a penalty chosen on clean validation images: the released script. Ours: 500 validation images beside the
items instead of 50 of them; no decay; at ``quick``, a hidden layer in place of LeNet in most runs, and scores after every fifth
pass only. Smaller crowds get as many steps as one of 1000 items, larger ones as many passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

DATASETS = ("mnist_machines", "fashion_mnist_machines")
CASES = {True: "experts", False: "no experts"}
PENALTIES = ("geocrowdnet-f", "geocrowdnet-w", "trace-reg")
METHODS = (
    "true-labels", "majority-vote", "dawid-skene", "crowdlayer-mw", "max-mig", "conal", "trace-reg", "ccem",
    "geocrowdnet-f", "geocrowdnet-w",
)  # fmt: skip
SIZED = ("majority-vote", "ccem", "geocrowdnet-f", "geocrowdnet-w")
STARTED = ("ccem", "geocrowdnet-f", "geocrowdnet-w")
# With the script's network at quick, too: its weight, and the one that its CIFAR-10 script has.
LENET = {"majority-vote": (None,), "ccem": (None,), "geocrowdnet-f": (0.001, 0.01), "geocrowdnet-w": (0.001, 0.01)}
WEIGHTS = (0.1, 0.01, 0.001, 0.0001)  # the lists of the released scripts, and the next power of ten
# Chosen on validation images by `chosen` from the family "weight" at quick; a test holds the two together.
CHOSEN = {
    (DATASETS[0], "experts", "geocrowdnet-f"): 0.001,
    (DATASETS[0], "experts", "geocrowdnet-w"): 0.001,
    (DATASETS[0], "experts", "trace-reg"): 0.01,
    (DATASETS[0], "no experts", "geocrowdnet-f"): 0.01,
    (DATASETS[0], "no experts", "geocrowdnet-w"): 0.01,
    (DATASETS[0], "no experts", "trace-reg"): 0.01,
    (DATASETS[1], "experts", "geocrowdnet-f"): 0.01,
    (DATASETS[1], "experts", "geocrowdnet-w"): 0.01,
    (DATASETS[1], "experts", "trace-reg"): 0.0001,
    (DATASETS[1], "no experts", "geocrowdnet-f"): 0.0001,
    (DATASETS[1], "no experts", "geocrowdnet-w"): 0.0001,
    (DATASETS[1], "no experts", "trace-reg"): 0.001,
}
SCRIPT = dict.fromkeys(PENALTIES, 0.001)  # with the script's network and steps: its weight
TUNING_SEEDS = 3

ITEMS, PROBABILITY, PASSES = 1000, 0.1, 50  # the script's
SIZES = {
    "smoke": ((100, 0.2),),
    "quick": ((300, 0.1), (1000, 0.2), (2000, 0.1)),
    "fast": ((1000, 0.2), (5000, 0.1)),
    "paper": ((1000, 0.2), (5000, 0.1), (5000, 0.2), (10_000, 0.1), (10_000, 0.2)),
}
SIZED_DATA = {"smoke": DATASETS[:1], "quick": DATASETS[:1], "fast": DATASETS[:1], "paper": DATASETS}


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All runs of :func:`families`, each once."""
    configs = [config for family in families(scale, seeds).values() for config in family]
    return list({config.key(): config for config in configs}.values())


def families(scale: str, seeds: Sequence[int]) -> dict[str, list[RunConfig]]:
    """The runs, by what is varied; a run may belong to several.

    Returns:
        ``compared``: every method in the script's setting; ``weight``: of each penalty there, with the first seeds; ``start``:
        CCEM and both penalties from matrices near the identity instead of flat ones; ``size``: more and fewer items, and
        labels kept with a higher probability; ``lenet``: the first data set with the script's network (at ``smoke`` with the
        hidden layer), two weights of each penalty and the first seeds.
    """
    settings = list(product(DATASETS, CASES))
    few = list(seeds)[:TUNING_SEEDS]
    return {
        "compared": [_run(scale, *setting, m, seed) for setting in settings for seed in seeds for m in METHODS],
        "weight": [
            _run(scale, *setting, method, seed, weight=weight)
            for setting in settings
            for seed in few
            for method in PENALTIES
            for weight in WEIGHTS
        ],
        "start": [_run(scale, *s, m, seed, start="6I-5") for s in settings for seed in seeds for m in STARTED],
        "size": [
            _run(scale, dataset, experts, method, seed, items=items, probability=probability)
            for dataset in SIZED_DATA[scale]
            for experts in CASES
            for items, probability in ((_items(scale), PROBABILITY), *SIZES[scale])
            for seed in few
            for method in SIZED
        ],
        "lenet": [
            _run(scale, DATASETS[0], experts, method, seed, weight=weight, lenet=True)
            for experts in CASES
            for seed in few
            for method, weights in LENET.items()
            for weight in weights
        ],
    }


def chosen(rows: Sequence[dict]) -> dict[tuple[str, str, str], float]:
    """The weight with the best mean validation accuracy, by (data set, case, method); the smaller one of equals.

    Args:
        rows: ledger rows of the family ``weight``. The epoch is chosen by the same accuracy, as in the script.
    """
    scores: dict[tuple, dict[float, list[float]]] = {}
    for row in rows:
        config = row["config"]
        place = (config["dataset"], config["case"], config["method"])
        by_weight = scores.setdefault(place, {})
        by_weight.setdefault(config["method_options"]["weight"], []).append(row["metrics"]["valid_acc_selected"])
    return {
        place: max(sorted(by_weight), key=lambda weight: round(sum(by_weight[weight]) / len(by_weight[weight]), 6))
        for place, by_weight in scores.items()
    }


def _items(scale: str) -> int:
    return 200 if scale == "smoke" else ITEMS


def _run(
    scale: str,
    dataset: str,
    experts: bool,
    method: str,
    seed: int,
    weight: float | None = None,
    start: str = "identity",
    items: int = 0,
    probability: float = PROBABILITY,
    lenet: bool = False,
) -> RunConfig:
    items, case = items or _items(scale), CASES[experts]
    data = {"experts": experts, "items": items, "probability": probability, "crowd_seed": seed}
    data |= {"smoke": {"sketch": True, "n_valid": 100, "n_test": 200}, "quick": {"n_test": 2000}}.get(scale, {})
    options = {"conal": {"gate_input": "features"}}.get(method, {})  # the gate reads what the network makes of an image
    if method in STARTED:
        options = options | {"start": start}
    if method in PENALTIES:
        usual = CHOSEN[dataset, case, method] if scale in ("smoke", "quick") else SCRIPT[method]
        options = options | {"weight": usual if weight is None else weight}
    return RunConfig(
        experiment="machine_annotators",
        dataset=dataset,
        method=method,
        backbone="mlp" if scale == "smoke" or (scale == "quick" and not lenet) else "lenet",
        recipe=_recipe(scale, items),
        dataset_options=data,
        method_options=options,
        case=case,
        scale=scale,
        seed=seed,
    )


def _recipe(scale: str, items: int) -> Recipe:
    passes = max(1, round(ITEMS / items)) if items < ITEMS else 1
    if scale == "smoke":
        return Recipe(epochs=1, batch_size=64, lr=1e-3)
    if scale == "quick":
        return Recipe(epochs=10, passes=max(PASSES // 10, round(PASSES * ITEMS / (10 * items))), batch_size=64, lr=1e-3)
    return Recipe(epochs=PASSES, passes=passes, batch_size=64, lr=1e-3)
