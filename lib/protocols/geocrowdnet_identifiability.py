"""Notebook 20: Theorem 1 and the regimes of GeoCrowdNet, on a crowd where everything is known.

Network and recipe are ours: the paper's script for this check was not released. A small network without dropout; Adam with
the one-cycle schedule of the released CIFAR-10 script; about 800 steps whatever the number of items, so that what differs
between columns is the data. That is as few as bring CCEM to equal *training losses* from both starts; rate, batch and steps
are the same for all methods. The weight 0.01 is the value of the released CIFAR-10 script.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.aggregation.confusion import alignment, confusion_error
from lib.datasets.kinds import CrowdDataset
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

METHODS = ("ccem", "geocrowdnet-f", "geocrowdnet-w")
STARTS = ("identity", "6I-5")
WEIGHT = 0.01
WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)

BATCH = 256
EPOCH = 40  # steps, about
# "fast" is for images: nothing here gains from a GPU.
STEPS = {"smoke": 20, "quick": 800, "fast": 800, "paper": 3200}
ANNOTATORS = 5  # as in the released CIFAR-10 script, which has one expert among five, too
LABELS_PER_ITEM = 3.0
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


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All runs of :func:`families`, each once."""
    configs = [config for family in families(scale, seeds).values() for config in family]
    return list({config.key(): config for config in configs}.values())


def families(scale: str, seeds: Sequence[int]) -> dict[str, list[RunConfig]]:
    """The runs, by what is varied; a run may belong to several.

    Returns:
        ``labels``: how many items have labels; ``specialist``: how flawed the best is, and none; ``anchor``: how far the best
        is from certain; ``regime``: specialist or not, anchors or not; ``weight``: of each penalty, in the regime that it is
        made for; ``control``: CCEM with more and with fewer labels, where at most one of the two is missing.
    """
    runs = [(method, start, seed) for seed in seeds for method in METHODS for start in STARTS]
    released = [(method, start, seed) for method, start, seed in runs if start == "identity"]
    levels = [{"flaw": flaw} for flaw in FLAWS] + [{"specialist": False}]
    return {
        "labels": [_run(scale, *run, items=n) for run in released for n in SIZES[scale]],
        "specialist": [_run(scale, *run, **level) for run in runs for level in levels],
        "anchor": [_run(scale, *run, blur=blur) for run in runs for blur in BLURS],
        "regime": [_run(scale, *run, **data) for run in runs for data in REGIMES.values()],
        "weight": [
            _run(scale, *run, weight=weight, **REGIMES[MADE_FOR[run[0]]])
            for run in runs
            for weight in (WEIGHTS if run[0] in MADE_FOR else ())
        ],
        "control": [
            _run(scale, *run, items=n, **REGIMES[name])
            for run in runs
            for name in (REGIMES if run[0] == "ccem" else ())
            if name != "neither"
            for n in (ITEMS[scale] // 10, ITEMS[scale], 3 * ITEMS[scale])
        ],
    }


def regime_of(config: dict) -> str:
    """The regime (a name of :data:`REGIMES`) that a run's data belong to; empty for what lies between them.

    Args:
        config: of a ledger row.
    """
    options = config["dataset_options"]
    return next((name for name, wanted in REGIMES.items() if wanted.items() <= options.items()), "")


def _run(scale: str, method: str, start: str, seed: int, weight: float = WEIGHT, items: int = 0, **data) -> RunConfig:
    items = items or ITEMS[scale]
    batches = -(-items // BATCH)
    # Scoring after every pass over 300 items would take longer than training.
    passes = max(1, round(min(EPOCH, STEPS[scale] / 2) / batches))
    epochs = max(1, round(STEPS[scale] / (passes * batches)))
    return RunConfig(
        experiment="identifiability",
        dataset="identifiability",
        method=method,
        backbone="mlp",
        backbone_options={"width": 32, "dropout": 0.0},
        recipe=Recipe(epochs=epochs, passes=passes, batch_size=BATCH, lr=0.06, schedule="onecycle"),
        dataset_options={
            "items": items,
            "labels_per_item": LABELS_PER_ITEM,
            "annotators": ANNOTATORS,
            "crowd_seed": seed,
            **(PLAIN | data),
        },
        method_options={"start": start} | ({} if method == "ccem" else {"weight": weight}),
        case="simulated",
        scale=scale,
        seed=seed,
    )


def judge(data: CrowdDataset, posterior: np.ndarray, posterior_test: np.ndarray, confusion: np.ndarray) -> dict[str, float]:
    """How well a solution explains the labels, and how far it is from the truth.

    Args:
        data: this data set.
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
