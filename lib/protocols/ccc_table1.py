"""Notebook 32: Table 1 of the CCC paper, on reconstructions of its simulated crowds.

At ``quick`` the hardest case of each family, by the paper's majority vote, on Fashion-MNIST; at the larger scales all eight
on both data sets.

How many meta items a class CCC takes, and how large its corrections are, is the paper's at ``fast`` and ``paper``. Of the few
items at ``quick`` the paper's share would be nine a class, and a batch a fourth as large makes noisier corrections; so both
are chosen there on validation images, with a crowd that no result has. What was chosen stands in ``ccc_images.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from lib.protocols import ccc_images
from lib.protocols.ccc_images import OWN_SETS, PAIRS, PAPER_RATE
from lib.protocols.ccc_table2 import BASELINES, pair
from lib.runs.config import RunConfig
from lib.simulation.ccc import CASES

EXPERIMENT = "ccc_simulated"
# Our data sets and the paper's names of them.
TABLE_1 = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST"}
METHODS = (*BASELINES, "ccc")
FEW = {"fashion_mnist": ("rec-IND-II", "rec-COR-I")}
FEW_ITEMS = ("smoke", "quick")
COLUMNS = {
    "smoke": {"fashion_mnist": ("rec-IND-II",)},
    "quick": FEW,
    "overnight": {dataset: tuple(CASES) for dataset in TABLE_1},
    "fast": {dataset: tuple(CASES) for dataset in TABLE_1},
    "paper": {dataset: tuple(CASES) for dataset in TABLE_1},
}
TUNING = "tuning_ccc_images"
TUNED = {"per_class": (9, 20, 40), "rate": (0.1, 0.5)}
TUNING_SEED = 100
JUDGED_EPOCHS = 5


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method and the pairs on every column of the table; true labels, which no crowd changes, on one of each data set;
    then :func:`tuning_grid`."""
    configs = []
    for dataset, cases in COLUMNS[scale].items():
        for case in cases:
            names = [*METHODS, *map(pair, PAIRS[scale]), *OWN_SETS[scale], *(["true-labels"] if case == cases[0] else [])]
            configs += ccc_images.runs(dataset, names, scale, seeds, experiment=EXPERIMENT, case=case)
    return configs + tuning_grid(scale)


def tuning_grid(scale: str) -> list[RunConfig]:
    """CCC with each number of meta items a class and each rate, where they are not the paper's."""
    if scale not in FEW_ITEMS:
        return []
    (dataset, cases), *_ = COLUMNS[scale].items()
    return [
        config
        for values in itertools.product(*TUNED.values())
        for config in ccc_images.runs(
            dataset,
            ["ccc"],
            scale,
            [TUNING_SEED],
            experiment=TUNING,
            case=cases[0],
            options=dict(zip(TUNED, values, strict=True)),
        )
    ]


def tuned(rows: Iterable[dict]) -> dict[tuple[int, float], float]:
    """Validation accuracy, a share, averaged over the last epochs, by meta items a class and rate.

    Args:
        rows: ledger rows of :func:`tuning_grid`.
    """
    scores = {}
    for row in rows:
        options, late = row["config"]["method_options"], row["history"]["valid_acc"][-JUDGED_EPOCHS:]
        scores[options["per_class"], options.get("rate", PAPER_RATE)] = round(sum(late) / len(late), 6)
    return scores


def chosen(rows: Iterable[dict]) -> tuple[int, float]:
    """Meta items a class and rate with the best score; the smaller ones of equals."""
    scores = tuned(rows)
    return max(sorted(scores), key=scores.get)


def paper_case(case: str) -> str:
    """What the paper calls the case that ours reconstructs."""
    return case.removeprefix("rec-")
