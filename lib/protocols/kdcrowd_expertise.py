"""Notebook 42: what is learned about the annotators, against what their labels could tell anyone who knew the truth.

The simulated crowd of notebook 40 is here with fewer and with more labels an image; the runs of notebook 40 are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lib.aggregation import held_out_labels
from lib.aggregation.confusion import confusion_error
from lib.protocols.kdcrowd_lift import TUNED, base_runs, guided
from lib.runs.config import RunConfig

if TYPE_CHECKING:
    from lib.datasets.kinds import CrowdDataset

CROWD = "independent"  # confusion matrices are known, and are all there is to know
CROWDS = ("independent", "correlated", "labelme", "music")
MATRICES = ("trace-reg", "ccem", "geocrowdnet-f", "dl-em", "max-mig")  # they estimate probabilities
FEWER = ("trace-reg", "dl-em")
USUAL = 3.0
LABELS = (1.0, 2.0, 5.0)  # an image; `USUAL` besides, from notebook 40
# Stage 2 without guidance: what is due to the matrices that it starts at alone.
STARTED, STARTED_ON, STARTED_BASES = "started, not guided", ("labelme", "independent"), ("trace-reg", "ccem")


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Methods with matrices, alone and guided: all on the usual crowds, some with other numbers of labels."""
    configs = []
    for crowd in CROWDS:
        bases = MATRICES if scale != "smoke" or crowd == CROWD else FEWER
        alone = base_runs(crowd, bases, scale, seeds)
        configs += alone + [guided(config, **TUNED[config.dataset]) for config in alone]
    return configs + start_grid(scale, seeds) + size_grid(scale, seeds)


def start_grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Methods that start at the matrices which the student's predictions imply, and are left alone from there."""
    return [
        replace(
            guided(config, **TUNED[config.dataset] | {"weight": 0.0, "warm_confusion": True}),
            experiment="kdcrowd_start",
            case=STARTED,
        )
        for crowd in STARTED_ON
        for config in base_runs(crowd, STARTED_BASES, scale, seeds)
    ]


def size_grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The crowd of :data:`CROWD` with each number of labels of :data:`LABELS`."""
    bases = FEWER if scale != "paper" else MATRICES
    configs = []
    for labels in LABELS:
        for config in base_runs(CROWD, bases, scale, seeds):
            options = config.dataset_options | {"labels_per_item": labels}
            alone = replace(config, experiment="kdcrowd_sizes", dataset_options=options, case=f"{labels:g} labels an image")
            configs += [alone, guided(alone, **TUNED[config.dataset])]
    return configs


def labels_an_item(config: dict) -> float:
    """How many labels an image has on average, from a row's config."""
    return float(config["dataset_options"].get("labels_per_item", USUAL))


def floor(data: CrowdDataset, strength: float = held_out_labels.STRENGTH) -> float:
    """Error of the matrices that somebody who knew every true class would count from these labels: the least to ask for.

    A few labels say little about a row even then. Counting draws a row toward the whole crowd's, with the weight that stage 2
    of KD-Crowd starts with; for a small ``strength`` it is plain counting, which leaves rows without labels to the crowd.

    Args:
        data: a simulated crowd.
        strength: labels of each class that the crowd's average counts for.

    Returns:
        As :func:`lib.aggregation.confusion.confusion_error`, 0 to 2.

    Raises:
        ValueError: the annotators' true matrices are not known.
    """
    if data.true_confusion is None or data.y is None:
        raise ValueError("a floor needs the true classes and the true confusion matrices, which real data do not have")
    truth = np.eye(data.n_classes)[data.y.numpy()]
    return confusion_error(held_out_labels.fit_confusion(truth, data.crowd, strength, rounds=0), data.true_confusion)
