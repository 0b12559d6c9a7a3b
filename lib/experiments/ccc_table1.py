"""Notebook 32: Table 1 of the CCC paper, on reconstructions of its simulated crowds.

At ``quick`` the hardest case of each family, by the paper's majority vote, on Fashion-MNIST; at ``fast`` and ``paper`` all
eight on both data sets.

How many meta items a class CCC takes is the paper's at ``fast`` and ``paper``. Of the few items at ``quick`` the paper's share
would be nine a class; more are tried on validation images, with a crowd that no result has, and what was chosen stands in
``ccc_images.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lib.experiments import ccc_images
from lib.experiments.ccc_images import PAIRS
from lib.experiments.ccc_table2 import BASELINES, pair
from lib.runs import RunConfig
from lib.simulators.reconstructed import CASES

EXPERIMENT = "ccc_simulated"
# Our data sets and the paper's names of them.
TABLE_1 = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST"}
METHODS = (*BASELINES, "ccc")
FEW = {"fashion_mnist": ("rec-IND-II", "rec-COR-I")}
FEW_ITEMS = ("smoke", "quick")
COLUMNS = {
    "smoke": {"fashion_mnist": ("rec-IND-II",)},
    "quick": FEW,
    "fast": {dataset: tuple(CASES) for dataset in TABLE_1},
    "paper": {dataset: tuple(CASES) for dataset in TABLE_1},
}
TUNING = "tuning_ccc_images"
TUNED = (9, 20, 40)
TUNING_SEED = 100
JUDGED_EPOCHS = 5


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method and the pairs on every column of the table; true labels, which no crowd changes, on one of each data set;
    then :func:`tuning_grid`."""
    configs = []
    for dataset, cases in COLUMNS[scale].items():
        for case in cases:
            names = [*METHODS, *map(pair, PAIRS[scale]), *(["true-labels"] if case == cases[0] else [])]
            configs += ccc_images.runs(dataset, names, scale, seeds, experiment=EXPERIMENT, case=case)
    return configs + tuning_grid(scale)


def tuning_grid(scale: str) -> list[RunConfig]:
    """CCC with each number of meta items a class, where it is not the paper's."""
    if scale not in FEW_ITEMS:
        return []
    (dataset, cases), *_ = COLUMNS[scale].items()
    return [
        config
        for per_class in TUNED
        for config in ccc_images.runs(
            dataset, ["ccc"], scale, [TUNING_SEED], experiment=TUNING, case=cases[0], options={"per_class": per_class}
        )
    ]


def tuned(rows: Iterable[dict]) -> dict[int, float]:
    """Mean validation accuracy, a share, of the last epochs, by the number of meta items a class.

    Args:
        rows: ledger rows of :func:`tuning_grid`.
    """
    scores: dict[int, list[float]] = {}
    for row in rows:
        scores.setdefault(row["config"]["method_options"]["per_class"], []).extend(row["history"]["valid_acc"][-JUDGED_EPOCHS:])
    return {per_class: round(sum(late) / len(late), 6) for per_class, late in scores.items()}


def chosen(rows: Iterable[dict]) -> int:
    """The number of meta items a class with the best score; the smaller one of equals."""
    scores = tuned(rows)
    return max(sorted(scores), key=scores.get)


def paper_case(case: str) -> str:
    """What the paper calls the case that ours reconstructs."""
    return case.removeprefix("rec-")
