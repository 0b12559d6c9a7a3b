"""Notebook 32: Table 1 of the CCC paper, on reconstructions of its simulated crowds.

At ``quick`` the hardest case of each family, by the paper's majority vote, on Fashion-MNIST; at ``fast`` and ``paper`` all
eight on both data sets.
"""

from __future__ import annotations

from collections.abc import Sequence

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
COLUMNS = {
    "smoke": {"fashion_mnist": ("rec-IND-II",)},
    "quick": FEW,
    "fast": {dataset: tuple(CASES) for dataset in TABLE_1},
    "paper": {dataset: tuple(CASES) for dataset in TABLE_1},
}


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method and the pairs on every column of the table; true labels, which no crowd changes, on one of each data set."""
    configs = []
    for dataset, cases in COLUMNS[scale].items():
        for case in cases:
            names = [*METHODS, *map(pair, PAIRS[scale]), *(["true-labels"] if case == cases[0] else [])]
            configs += ccc_images.runs(dataset, names, scale, seeds, experiment=EXPERIMENT, case=case)
    return configs


def paper_case(case: str) -> str:
    """What the paper calls the case that ours reconstructs."""
    return case.removeprefix("rec-")
