"""Ibrahim, Nguyen & Fu, *Deep Learning From Crowdsourced Labels* (ICLR 2023): the runs of notebooks 20 to 23.

**Identifiability** (20): Theorem 1 and the regimes, on a crowd where everything is known. Network and recipe are ours, since
the paper's script was not released; weight and schedule are those of its CIFAR-10 script. About 800 steps whatever the number
of items, so that what differs between columns is the data: as few as bring CCEM to equal *training losses* from both starts.

**Machine annotators** (21) on MNIST and Fashion-MNIST, experts present and absent: the released script. Ours: 500 validation
images beside the items instead of 50 of them; no decay; at ``quick``, a hidden layer in place of LeNet in most runs, and
scores after every fifth pass only. Smaller crowds get as many steps as one of 1000 items, larger ones as many passes.

**One hammer among four spammers** (22) on CIFAR-10, one label per item: the released script. Ours: no decay on the
annotators' part, and bfloat16 inside the network on CUDA. ``fast`` has a fifth of the script's steps, and the rate is that
much higher, so that matrices can move as far from where they start. ``quick`` and ``overnight`` have a head on frozen
features (:mod:`lib.datasets.image_features`) in place of ResNet-9, no crops and flips, and test on the last images of the
training part, which nothing is trained on; ``quick`` has an eighth of the steps at eight times the rate.

**Real crowds** (23): the settings of :mod:`lib.protocols.real_crowds`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, product

import numpy as np

from lib.aggregation.confusion import alignment, confusion_error
from lib.datasets import image_features
from lib.datasets.cifar10 import HELD_OUT
from lib.datasets.kinds import CrowdDataset
from lib.protocols import keeping, real_crowds, selection, watched
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

PENALTIES = ("geocrowdnet-f", "geocrowdnet-w", "trace-reg")
STARTED = ("ccem", "geocrowdnet-f", "geocrowdnet-w")  # methods whose matrices start where an option says
STARTS = ("identity", "6I-5")  # flat matrices, and annotators who hardly err
WEIGHTS = (0.1, 0.01, 0.001, 0.0001)  # of a penalty: the lists of the released scripts, and the next power of ten
TUNING_SEEDS = 3


def weight_of(config: dict) -> float:
    """The weight of a configuration's penalty; 0 is CCEM."""
    return config["method_options"].get("weight", 0.0)


def chosen(rows: Sequence[dict]) -> dict[tuple[str, str, str], float]:
    """The weight with the best mean validation accuracy in rows of a family ``weight``, by (data set, case, method); the
    smaller one of equals. The epoch is chosen by the same accuracy, as in the script."""
    by_place = selection.scores(
        ((config["dataset"], config["case"], config["method"]), weight_of(config), row["metrics"]["valid_acc_selected"])
        for row in rows
        for config in [row["config"]]
    )
    return {place: selection.best(by_weight) for place, by_weight in by_place.items()}


def _options(method: str, start: str, weight: float) -> dict[str, str | float]:
    """What of the two the method has."""
    return ({"start": start} if method in STARTED else {}) | ({"weight": weight} if method in PENALTIES else {})


# ---------------------------------------------------------------------- 20: identifiability

WEIGHT = 0.01
REGIME_WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)
BATCH = 256
EPOCH = 40  # steps, about
# "fast" is for images: nothing here gains from a GPU.
STEPS = {"smoke": 20, "quick": 800, "fast": 800, "paper": 3200}
ITEMS = {"smoke": 300, "quick": 10_000, "fast": 10_000, "paper": 10_000}
_QUICK = (300, 1000, 3000, 10_000, 30_000)
SIZES = {"smoke": (150, 300), "quick": _QUICK, "fast": _QUICK, "paper": (*_QUICK, 100_000)}
FLAWS = (0.0, 0.2, 0.4)
BLURS = (0.0, 0.15, 0.3, 0.45)
NO_ANCHOR = 0.45  # the largest class probability is then 0.7
PLAIN = {"flaw": 0.0, "blur": 0.0, "specialist": True}
REGIMES = {
    "specialist and anchors": PLAIN,
    "anchors only": PLAIN | {"specialist": False},
    "specialist only": PLAIN | {"blur": NO_ANCHOR},
    "neither": PLAIN | {"specialist": False, "blur": NO_ANCHOR},
}
# The regime that the theory makes each penalty for.
MADE_FOR = {"geocrowdnet-f": "anchors only", "geocrowdnet-w": "specialist only"}
# Methods and starts whose solutions are drawn, where one of the two assumptions is missing.
SOLUTIONS = {
    "specialist only": (("ccem", "identity"), ("ccem", "6I-5"), ("geocrowdnet-w", "identity")),
    "anchors only": (("ccem", "identity"), ("ccem", "6I-5"), ("geocrowdnet-f", "6I-5")),
}


def regime_families(scale: str, seeds: Sequence[int]) -> dict[str, list[RunConfig]]:
    """The runs, by what is varied; a run may belong to several. Those of :data:`SOLUTIONS` with the first seed keep what they
    believe.

    ``labels``: how many items have labels; ``specialist``: how flawed the best is, and none; ``anchor``: how far the best is
    from certain; ``regime``: specialist or not, anchors or not; ``weight``: of each penalty, in the regime that it is made for;
    ``control``: CCEM with more and with fewer labels, where at most one of the two is missing.
    """

    def every(levels: Iterable[dict], methods: Sequence[str] = STARTED, starts: Sequence[str] = STARTS) -> list[RunConfig]:
        runs = product(seeds, methods, starts, levels)
        return [_regime(scale, method, start, seed, **level) for seed, method, start, level in runs]

    def drawn(config: RunConfig) -> bool:
        usual = config.seed == seeds[0] and config.dataset_options["items"] == ITEMS[scale]
        options = {"weight": WEIGHT} | config.method_options
        solutions = SOLUTIONS.get(regime_of(vars(config)), ())
        return usual and options["weight"] == WEIGHT and (config.method, options["start"]) in solutions

    control = product((regime for name, regime in REGIMES.items() if name != "neither"), (0.1, 1, 3))
    families = {
        "labels": every([{"items": items} for items in SIZES[scale]], starts=STARTS[:1]),
        "specialist": every([*({"flaw": flaw} for flaw in FLAWS), {"specialist": False}]),
        "anchor": every([{"blur": blur} for blur in BLURS]),
        "regime": every(REGIMES.values()),
        "weight": [
            _regime(scale, method, start, seed, weight=weight, **REGIMES[MADE_FOR[method]])
            for seed, method, start, weight in product(seeds, MADE_FOR, STARTS, REGIME_WEIGHTS)
        ],
        "control": every([regime | {"items": round(part * ITEMS[scale])} for regime, part in control], ["ccem"]),
    }
    return {name: keeping(configs, ("confusion", "predictions"), drawn) for name, configs in families.items()}


def regime_of(config: dict) -> str:
    """The regime (a name of :data:`REGIMES`) that the data of a row's config belong to; empty for what lies between them."""
    options = config["dataset_options"].items()
    return next((name for name, wanted in REGIMES.items() if wanted.items() <= options), "")


def _regime(scale: str, method: str, start: str, seed: int, weight: float = WEIGHT, items: int = 0, **data) -> RunConfig:
    items = items or ITEMS[scale]
    batches = -(-items // BATCH)
    # Scoring after every pass over 300 items would take longer than training.
    passes = max(1, round(min(EPOCH, STEPS[scale] / 2) / batches))
    epochs = max(1, round(STEPS[scale] / (passes * batches)))
    crowd = {"items": items, "labels_per_item": 3.0, "annotators": 5, "crowd_seed": seed}  # one expert among five: the script
    recipe = Recipe(epochs=epochs, passes=passes, batch_size=BATCH, lr=0.06, schedule="onecycle")
    about = {"backbone_options": {"width": 32, "dropout": 0.0}, "case": "simulated", "scale": scale, "seed": seed}
    data, options = crowd | PLAIN | data, _options(method, start, weight)
    return RunConfig("identifiability", "identifiability", method, "mlp", recipe, data, options, **about)


def judge(data: CrowdDataset, posterior: np.ndarray, posterior_test: np.ndarray, confusion: np.ndarray) -> dict[str, float]:
    """How well a solution of this data set explains the labels, and how far it is from the truth.

    Args:
        data: the data set.
        posterior, posterior_test: ``[items, classes]`` class probabilities of the training and of the test items.
        confusion: ``[annotators, true class, label]``.

    Returns:
        ``loss``, the coupled cross-entropy of the crowd's labels in nats, without any penalty; ``posterior_error``, mean L1
        distance to the true posterior of the test items, and ``confusion_error``, as in :mod:`lib.aggregation.confusion`:
        both 0 to 2, after one order of the classes for all annotators.
    """
    said = np.einsum("ij,rjk->irk", posterior, confusion)[data.crowd.item, data.crowd.annotator, data.crowd.label]
    order = alignment(confusion, data.true_confusion)
    return {
        "loss": float(-np.log(said).mean()),
        "posterior_error": float(np.abs(posterior_test[:, order] - data.true_posterior_test).sum(axis=1).mean()),
        "confusion_error": confusion_error(confusion[:, order], data.true_confusion),
    }


# ---------------------------------------------------------------------- 21: machine annotators

MACHINES = ("mnist_machines", "fashion_mnist_machines")
CASES = {True: "experts", False: "no experts"}
MACHINE_METHODS = (
    "true-labels", "majority-vote", "dawid-skene", "crowdlayer-mw", "max-mig", "conal", "trace-reg", "ccem",
    "geocrowdnet-f", "geocrowdnet-w",
)  # fmt: skip
SIZED = ("majority-vote", "ccem", "geocrowdnet-f", "geocrowdnet-w")
LENET_WEIGHTS = (0.001, 0.01)  # with the script's network at quick, too: its weight, and that of its CIFAR-10 script
# Chosen on validation images by `chosen` from the family "weight" at quick, in the order of PENALTIES.
MACHINE_WEIGHTS = {
    ("mnist_machines", "experts"): (0.001, 0.001, 0.01),
    ("mnist_machines", "no experts"): (0.01, 0.01, 0.01),
    ("fashion_mnist_machines", "experts"): (0.01, 0.01, 0.0001),
    ("fashion_mnist_machines", "no experts"): (0.0001, 0.0001, 0.001),
}
SCRIPT_WEIGHT = 0.001  # with the script's network and steps

PASSES, MACHINE_ITEMS, PROBABILITY = 50, 1000, 0.1  # the script's; at smoke, 200 items
# Items and probabilities, the usual ones first.
_SCRIPT = (MACHINE_ITEMS, PROBABILITY)
MACHINE_SIZES = {
    "smoke": ((200, PROBABILITY), (100, 0.2)),
    "quick": (_SCRIPT, (300, 0.1), (1000, 0.2), (2000, 0.1)),
    "fast": (_SCRIPT, (1000, 0.2), (5000, 0.1)),
    "paper": (_SCRIPT, (1000, 0.2), (5000, 0.1), (5000, 0.2), (10_000, 0.1), (10_000, 0.2)),
}


def machine_families(scale: str, seeds: Sequence[int]) -> dict[str, list[RunConfig]]:
    """The runs, by what is varied; a run may belong to several.

    ``compared``: every method in the script's setting; ``weight``: of each penalty there, with the first seeds; ``start``: CCEM
    and both penalties from matrices near the identity instead of flat ones; ``size``: more and fewer items, and labels kept
    with a higher probability; ``lenet``: the first data set with the script's network (at ``smoke`` with the hidden layer), two
    weights of each penalty and the first seeds.
    """
    few = list(seeds)[:TUNING_SEEDS]

    def every(datasets: Sequence[str], methods: Sequence[str], seeds: Sequence[int], levels: Sequence[dict]) -> list[RunConfig]:
        runs = product(datasets, CASES, seeds, methods, levels)
        return [_machine(scale, data, experts, method, seed, **level) for data, experts, seed, method, level in runs]

    larger = MACHINES if scale == "paper" else MACHINES[:1]
    return {
        "compared": every(MACHINES, MACHINE_METHODS, seeds, [{}]),
        "weight": every(MACHINES, PENALTIES, few, [{"weight": weight} for weight in WEIGHTS]),
        "start": every(MACHINES, STARTED, seeds, [{"start": STARTS[1]}]),
        "size": [
            _machine(scale, dataset, experts, method, seed, items=items, probability=probability)
            for dataset, experts, (items, probability), seed, method in product(larger, CASES, MACHINE_SIZES[scale], few, SIZED)
        ],
        "lenet": [
            _machine(scale, MACHINES[0], experts, method, seed, weight=weight, lenet=True)
            for experts, seed, method in product(CASES, few, SIZED)
            for weight in (LENET_WEIGHTS if method in PENALTIES else LENET_WEIGHTS[:1])
        ],
    }


def _machine(
    scale: str,
    dataset: str,
    experts: bool,
    method: str,
    seed: int,
    weight: float | None = None,
    start: str = STARTS[0],
    items: int = 0,
    probability: float = PROBABILITY,
    lenet: bool = False,
) -> RunConfig:
    items, case = items or MACHINE_SIZES[scale][0][0], CASES[experts]
    data = {"experts": experts, "items": items, "probability": probability, "crowd_seed": seed}
    data |= {"smoke": {"sketch": True, "n_valid": 100, "n_test": 200}, "quick": {"n_test": 2000}}.get(scale, {})
    options = {"conal": {"gate_input": "features"}}.get(method, {})  # the gate reads what the network makes of an image
    if weight is None:
        tuned = dict(zip(PENALTIES, MACHINE_WEIGHTS[dataset, case], strict=True))
        weight = tuned.get(method) if scale in ("smoke", "quick") else SCRIPT_WEIGHT
    options = options | _options(method, start, weight)
    epochs, passes = PASSES, max(1, round(MACHINE_ITEMS / items))
    if scale == "smoke":
        epochs, passes = 1, 1
    elif scale == "quick":
        epochs, passes = 10, max(PASSES // 10, round(PASSES * MACHINE_ITEMS / (10 * items)))
    backbone = "mlp" if scale == "smoke" or (scale == "quick" and not lenet) else "lenet"
    recipe = Recipe(epochs=epochs, passes=passes, batch_size=64, lr=1e-3)
    about = {"case": case, "scale": scale, "seed": seed}
    return RunConfig("machine_annotators", dataset, method, backbone, recipe, data, options, **about)


# ---------------------------------------------------------------------- 22: one hammer among spammers

GAMMAS = (0.01, 0.1, 0.3)
HAMMER_METHODS = (
    "true-labels", "majority-vote", "crowdlayer-mw", "max-mig", "trace-reg", "ccem", "geocrowdnet-f", "geocrowdnet-w"
)  # fmt: skip
HAMMERS_SHOWN = ("crowdlayer-mw", "trace-reg", "ccem", "geocrowdnet-f")  # whose idea of the annotators is drawn
TUNED_AT = 0.01  # the script's gamma; the weights serve for the others too
# Chosen on validation images by `chosen` from the family "weight" at quick.
HAMMER_WEIGHTS = {"geocrowdnet-f": 0.01, "geocrowdnet-w": 0.0001, "trace-reg": 0.001}
HAMMER_SCRIPT_WEIGHT = 0.01  # with the script's network and steps

_HEAD = {"test": HELD_OUT, "features": image_features.NAME}
_HAMMER_DATA = {
    "smoke": {"n_train": 400, "n_valid": 100, "n_test": 100} | _HEAD,
    "quick": {"n_train": 10_000, "n_valid": 2500, "n_test": 4000} | _HEAD,
    "overnight": {"n_valid": 2500} | _HEAD,
    "fast": {"n_valid": 2500, "test": "all"},
    "paper": {"n_valid": 2500, "test": "all"},
}
_MIXED = {"weight_decay": 1e-4, "schedule": "onecycle", "precision": "mixed"}
_IMAGES = _MIXED | {"crop": 4, "flip": True}
_HAMMER_RECIPES = {
    "smoke": Recipe(epochs=1, batch_size=100, lr=8e-3, weight_decay=1e-4, schedule="onecycle"),
    "quick": Recipe(epochs=15, batch_size=125, lr=8e-3, weight_decay=1e-4, schedule="onecycle"),
    "overnight": Recipe(epochs=80, batch_size=400, lr=1e-3, **_MIXED),
    "fast": Recipe(epochs=16, batch_size=400, lr=5e-3, **_IMAGES),
    "paper": Recipe(epochs=80, batch_size=400, lr=1e-3, **_IMAGES),
}


def case_of(gamma: float) -> str:
    """The case's name in tables."""
    return f"gamma {gamma:g}"


def hammer_families(scale: str, seeds: Sequence[int]) -> dict[str, list[RunConfig]]:
    """The runs, by what is varied; a run may belong to several.

    ``compared``: every method at every gamma; :data:`HAMMERS_SHOWN` at the script's with the first seed keep their matrices;
    ``weight``: of each penalty, at the script's gamma with the first seeds;
    ``start``: CCEM and both of its penalties there, from matrices near the identity instead of flat ones.
    """
    at, first = TUNED_AT, (case_of(TUNED_AT), seeds[0])
    weighted = product(list(seeds)[:TUNING_SEEDS], PENALTIES, WEIGHTS)
    compared = [_hammer(scale, gamma, name, seed) for gamma, seed, name in product(GAMMAS, seeds, HAMMER_METHODS)]
    return {
        "compared": keeping(compared, ("confusion",), lambda c: (c.case, c.seed) == first and c.method in HAMMERS_SHOWN),
        "weight": [_hammer(scale, at, method, seed, weight) for seed, method, weight in weighted],
        "start": [_hammer(scale, at, method, seed, start=STARTS[1]) for seed, method in product(seeds, STARTED)],
    }


def _hammer(scale: str, gamma: float, method: str, seed: int, weight: float | None = None, start: str = STARTS[0]) -> RunConfig:
    if weight is None:
        tuned = HAMMER_WEIGHTS if scale in ("smoke", "quick") else {}
        weight = tuned.get(method, HAMMER_SCRIPT_WEIGHT)
    crowd = {"crowd": "geo-separable-and-uniform", "crowd_options": {"gamma": gamma}, "crowd_seed": seed}
    backbone = "mlp-bn" if "features" in _HAMMER_DATA[scale] else "resnet9"
    data, options = _HAMMER_DATA[scale] | crowd, _options(method, start, weight)
    about = {"case": case_of(gamma), "scale": scale, "seed": seed}
    return RunConfig("cifar10_hammer", "cifar10", method, backbone, _HAMMER_RECIPES[scale], data, options, **about)


# ---------------------------------------------------------------------- 23: real crowds

REAL = ("labelme", "music")
REAL_METHODS = (
    "true-labels", "majority-vote", "dawid-skene", "trace-reg", "crowdlayer-mw", "ccem", "geocrowdnet-f", "geocrowdnet-w"
)  # fmt: skip


def real(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method on both data sets; on LabelMe the other start, with the first five seeds; and the choice of the penalties'
    weights with the first three. One run of CCEM and of each penalty keeps its matrices and predictions, and is also stopped
    after few epochs."""
    compared = [config for dataset in REAL for config in real_crowds.runs(dataset, REAL_METHODS, scale, seeds)]
    restarted = [
        replace(config, method_options=config.method_options | {"start": STARTS[1]}, case=f"start {STARTS[1]}")
        for config in real_crowds.runs("labelme", STARTED, scale, seeds[:5])
    ]
    tuned = [config for config in real_crowds.tuning(scale, seeds[:TUNING_SEEDS]) if config.dataset in REAL]
    wholes = [config for dataset in REAL for config in real_crowds.runs(dataset, STARTED, scale, seeds[:1])]
    return [*compared, *restarted, *tuned, *chain.from_iterable(map(watched, wholes))]
